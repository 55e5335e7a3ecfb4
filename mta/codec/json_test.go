// SPDX-License-Identifier: Apache-2.0

package codec_test

import (
	"strings"
	"testing"

	"github.com/seguemta/segue/mta/codec"
)

func TestJSON(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		`{"version":3,"name":"a","later":1}`: "",
		`{"version":4,"name":"a"}`:           "version 4, this program reads 3",
		`{"name":"a"}`:                       "version 0, this program reads 3",
		`{"version":3,"name":1}`:             "cannot unmarshal number",
		`{"version":3`:                       "unexpected end",
		strings.Repeat(" ", 65):              "65 octets, at most 64",
	} {
		var v struct{ Name string }
		err := codec.JSON([]byte(text), 64, 3, &v)
		if want == "" {
			if err != nil || v.Name != "a" {
				t.Errorf("%s: %+v, %v", text, v, err)
			}
		} else if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", text, err)
		}
	}
}
