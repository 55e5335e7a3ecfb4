// SPDX-License-Identifier: Apache-2.0

package mta

import (
	"slices"
	"strings"
	"testing"

	"github.com/seguemta/segue/config"
)

func TestCheckWarnsOfWindowsBeyondTheRetention(t *testing.T) {
	c, problems := config.Parse("segue.toml", []byte(`[events]
retention = "60d"
[[segment]]
name = "long"
where = 'events("Order").between(days(90), days(61)).count() > 0'
[[segment]]
name = "short"
where = 'events("Order").within(days(60)).count() > 0 && events("Order").count() > 3'
`))
	var got []string
	for _, p := range c.Sort(append(problems, Check(c)...)) {
		if strings.HasPrefix(p.Key, "segment") {
			got = append(got, p.String())
		}
	}
	want := []string{"segue.toml:5: segment[long].where: warning: it looks back 90d, and events are kept for 60d: a segment that is defined anew knows no older ones (make [events] retention as long, or the window shorter)"}
	if !slices.Equal(got, want) {
		t.Errorf("problems %q", got)
	}
}
