// SPDX-License-Identifier: Apache-2.0

package queue

import (
	"strings"
	"testing"
)

// What a counter's key says is the budget that is charged: nothing may be read
// as another budget than it is written back as.
func FuzzParseCounter(f *testing.F) {
	f.Add("a1/////20413")
	f.Add("/gentle/newsletter/dormant/other/20413")
	f.Add("a1////google/-1")
	f.Add("a1/////20413/")
	f.Add("a1/////99999999999")
	f.Fuzz(func(t *testing.T, name string) {
		key, day, ok := parseCounter(name)
		if !ok {
			return
		}
		written := counterName(key, day)
		if again, d, ok := parseCounter(written); !ok || again != key || d != day {
			t.Errorf("%q is %+v of day %d, written as %q and read back as %+v of day %d", name, key, day, written, again, d)
		}
		if prefix, _, _ := strings.Cut(name, "/"); prefix != key.Source {
			t.Errorf("%q charges the source %q", name, key.Source)
		}
	})
}
