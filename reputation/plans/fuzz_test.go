// SPDX-License-Identifier: Apache-2.0

package plans

import "testing"

// FuzzParse: whatever a file says, it is refused or every schedule in it has
// stages, each with figures that are not negative.
func FuzzParse(f *testing.F) {
	f.Add(published)
	f.Add("plan a\nfrom b\nunit c\ntiers 2 active new\ntotal 2x5 ~7\ngoogle 3\n")
	f.Fuzz(func(t *testing.T, text string) {
		list, err := parse(text)
		if err != nil {
			return
		}
		for _, p := range list {
			if len(p.Stages) == 0 || len(p.Stages) > maxStages {
				t.Fatalf("%d stages", len(p.Stages))
			}
			plan := p.Plan()
			if err := plan.Validate(); err != nil {
				t.Fatal(err)
			}
		}
	})
}
