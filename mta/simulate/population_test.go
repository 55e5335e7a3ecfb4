// SPDX-License-Identifier: Apache-2.0

package simulate

import (
	"bytes"
	"encoding/csv"
	"reflect"
	"testing"
	"time"

	"github.com/seguemta/segue/mta/rfc5321"
	"github.com/seguemta/segue/segment/tier"
)

func noon() time.Time { return time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC) }

func TestPopulationRepeats(t *testing.T) {
	t.Parallel()
	a, b := NewPopulation(7, 3000, noon()), NewPopulation(7, 3000, noon())
	if !reflect.DeepEqual(a, b) {
		t.Error("the same seed made other people")
	}
	if c := NewPopulation(8, 3000, noon()); reflect.DeepEqual(a.People, c.People) {
		t.Error("another seed made the same people")
	}
}

// TestPopulationHasItsTiers asks the rules of the engine for the tier of each, on
// the day of the run and on the next.
func TestPopulationHasItsTiers(t *testing.T) {
	t.Parallel()
	const n = 5000
	p := NewPopulation(1, n, noon())
	if p.Contacts() != n {
		t.Fatalf("%d contacts, want %d", p.Contacts(), n)
	}
	rules := tier.Default()
	count, dead := map[string]int{}, map[string]int{}
	for i := range p.People {
		x := &p.People[i]
		if _, err := rfc5321.ParseAddress(x.Address); err != nil {
			t.Errorf("%q is no address: %v", x.Address, err)
		}
		if got := p.Find(x.Address); got != x {
			t.Fatalf("%s is not found under its address", x.Address)
		}
		if !x.Imported {
			continue
		}
		count[x.Tier]++
		if x.Dead {
			dead[x.Tier]++
		}
		state := tier.State{FirstSent: x.FirstSent, LastSent: x.LastSent, LastEngaged: x.LastEngaged, SendsSinceEngagement: uint32(x.Unanswered)}
		for _, at := range []time.Time{noon(), noon().Add(20 * time.Hour)} {
			if got := rules.Of(state, at).String(); got != x.Tier {
				t.Errorf("%+v is %s at %s, and was made for %s", state, got, at, x.Tier)
			}
		}
	}
	for _, h := range habits() {
		if want := int(h.share * n); count[h.tier] < want*8/10 || count[h.tier] > want*12/10 {
			t.Errorf("%d are %s, want about %d", count[h.tier], h.tier, want)
		}
	}
	if dead["dead"] < 10*max(1, dead["active"]) {
		t.Errorf("dead addresses by tier: %v; silence should tell them", dead)
	}
}

func TestPopulationAsCSV(t *testing.T) {
	t.Parallel()
	p := NewPopulation(1, 300, noon())
	var b bytes.Buffer
	if err := p.WriteCSV(&b); err != nil {
		t.Fatal(err)
	}
	rows, err := csv.NewReader(&b).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	if len(rows) != 301 {
		t.Fatalf("%d rows, want a head and 300", len(rows))
	}
	for _, r := range rows[1:] {
		if x := p.Find(r[0]); x == nil || !x.Imported {
			t.Fatalf("row %q is about nobody", r)
		}
	}
}
