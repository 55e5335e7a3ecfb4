// SPDX-License-Identifier: Apache-2.0

package rule

import (
	"slices"
	"testing"
)

func TestNestingOfCounts(t *testing.T) {
	s, err := NewSchema([]Attribute{{Name: "contact.plan", Type: Text}, {Name: "account.seats", Type: Number}})
	if err != nil {
		t.Fatal(err)
	}
	set := s.CompileSet([]Definition{
		{Name: "above", Where: `any_contact(segment("near")) && tier == "active"`},
		{Name: "near", Where: `contacts(role == "buyer") >= 3 || segment("plain")`},
		{Name: "plain", Where: `contact.plan == "paid"`},
		{Name: "beside", Where: `all_contacts(role == "buyer")`},
		{Name: "full", Where: `contacts(segment("plain")) > account.seats`},
		{Name: "broken", Where: `any_contact(role == 1)`},
	})
	for i, want := range []int{2, 1, 0, 1, 1, 0} {
		if got := set.Level(i); got != want {
			t.Errorf("rule %d has level %d, want %d", i, got, want)
		}
	}
	number := func(text string) int {
		return slices.IndexFunc(set.Counted(), func(c Counted) bool { return c.Text() == text })
	}
	buyer, near, plain := number(`role == "buyer"`), number(`segment("near")`), number(`segment("plain")`)
	if set.CountedLevel(buyer) != 0 || set.CountedLevel(near) != 1 || set.CountedLevel(plain) != 0 {
		t.Errorf("levels %d %d %d", set.CountedLevel(buyer), set.CountedLevel(near), set.CountedLevel(plain))
	}
	for i, want := range [][]int{{near}, {buyer}, nil, nil, {plain}, nil} {
		if got := set.First(i); !slices.Equal(got, want) {
			t.Errorf("rule %d is the first to read %v, want %v", i, got, want)
		}
	}
	if got := set.Counted()[buyer].Reads(); !slices.Equal(got, []string{"role"}) {
		t.Errorf("reads %v", got)
	}
	for _, c := range []struct {
		k    int
		a, b Count
		want bool
	}{
		{buyer, Count{2, 5}, Count{3, 5}, true},
		{buyer, Count{3, 5}, Count{4, 5}, true}, // >= 3 and > 3 are looked at alike
		{buyer, Count{4, 6}, Count{5, 6}, false},
		{buyer, Count{5, 6}, Count{5, 5}, true},
		{buyer, Count{0, 0}, Count{0, 1}, false},
		{near, Count{0, 4}, Count{1, 4}, true},
		{near, Count{1, 4}, Count{4, 4}, false},
		{near, Count{1, 4}, Count{1, 5}, false},
		{plain, Count{7, 9}, Count{8, 9}, true},
		{plain, Count{7, 9}, Count{7, 10}, false},
	} {
		if got := set.Tells(c.k, c.a, c.b); got != c.want {
			t.Errorf("condition %d tells %v from %v: %v", c.k, c.a, c.b, got)
		}
	}
}
