// SPDX-License-Identifier: Apache-2.0

package rule

import "testing"

// TestEventsOfAnySpelling holds that a rule finds an event that Segue acts on
// however the rule and the program spell it, and that other names are exact.
func TestEventsOfAnySpelling(t *testing.T) {
	set := testSchema(t).CompileSet([]Definition{
		{Name: "a", Where: `events("user signed up").count() > 0`},
		{Name: "b", Where: `events("Signed Up").count() >= 2`},
		{Name: "c", Where: `events("report viewed").count() > 0`},
		{Name: "d", Where: `events("Report Viewed").count() > 0`},
	})
	specs := set.Series()
	if len(specs) != 3 {
		t.Fatalf("%d series, want one for both spellings of Signed Up and two others", len(specs))
	}
	for name, want := range map[string]int{"User Signed Up": 1, "SIGNED UP": 1, "Report Viewed": 1, "REPORT VIEWED": 0} {
		got := 0
		for i := range specs {
			if _, ok := specs[i].Entry(&Event{Name: CanonicalEvent(name), Time: 1, Message: "m"}); ok {
				got++
			}
		}
		if got != want {
			t.Errorf("%s belongs to %d series, want %d", name, got, want)
		}
	}
}
