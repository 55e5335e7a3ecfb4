// SPDX-License-Identifier: Apache-2.0

package rule

import (
	"slices"
	"testing"
)

func TestLevels(t *testing.T) {
	for _, x := range []struct {
		where  string
		want   []float64
		others bool
	}{
		{`contact.visits > 3`, nil, false},
		{`account_score >= 80 && !(50.5 > account_score)`, []float64{80, 50.5}, false},
		{`account_score in [1, 2] || has(account_score)`, []float64{1, 2}, false},
		{`any_contact(account_score < 7 || score > 9)`, []float64{7}, false},
		{`contacts(account_score == 3) > 4`, []float64{3}, false},
		{`account_score > 1 && account_score > contact.visits`, []float64{1}, true},
		{`contact.visits < account_score`, nil, true},
	} {
		set := testSchema(t).CompileSet([]Definition{{Name: "a", Where: x.where}, {Name: "broken", Where: `account_score > "x"`}})
		if set.Err(0) != nil {
			t.Fatal(set.Err(0))
		}
		if levels, others := set.Levels("account_score"); !slices.Equal(levels, x.want) || others != x.others {
			t.Errorf("%s: %v, %v", x.where, levels, others)
		}
	}
}
