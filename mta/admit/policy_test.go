// SPDX-License-Identifier: Apache-2.0

package admit

import (
	"fmt"
	"testing"
	"time"

	"github.com/seguemta/segue/mta/rfc5321"
	"github.com/seguemta/segue/queue"
)

// member of a segment with a policy; it lives in New York, where the desk's 09:00
// UTC is 04:00.
func (d *desk) member(t testing.TB, local string, id uint64, policy Assignment) {
	t.Helper()
	zone, err := time.LoadLocation("America/New_York")
	if err != nil {
		t.Fatal(err)
	}
	d.o.Segments["bound"] = policy
	d.people[local] = Contact{ID: id, Tier: "active", Zone: zone, Segments: []Segment{{Name: "bound", Version: 1}, {Name: "all", Version: 2}}}
}

func TestWindowDecidesWhenMailIsDue(t *testing.T) {
	for _, x := range []struct{ header, due, base, wait string }{
		{"", "13:00", "09:00", "waits for its send window, opens at 08:00 America/New_York on 2026-11-23 (open 08:00-20:00)"},
		{"X-Segue-Not-Before: 2026-11-23T12:00:00Z\r\n", "13:00", "12:00", "waits for its send window, opens at 08:00 America/New_York on 2026-11-23 (open 08:00-20:00)"},
		{"X-Segue-Not-Before: 2026-11-23T14:00:00Z\r\n", "14:00", "", ""},
		{"X-Segue-Stream: transactional\r\n", "", "", ""},
		{"X-Segue-Segment: all\r\n", "", "", ""}, // which has no window
	} {
		d := newDesk(t)
		d.member(t, "ann", 1, Assignment{Window: queue.Window{From: 8 * time.Hour, Until: 20 * time.Hour}})
		if err := d.admit(x.header+plain, "ann"); err != nil {
			t.Fatal(err)
		}
		r := d.got.Recipients[0]
		if clock(r.Due) != x.due || clock(r.Base) != x.base || r.Wait != x.wait {
			t.Errorf("%q: due %v, base %v: %s", x.header, r.Due, r.Base, r.Wait)
		}
	}
}

func clock(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format("15:04")
}

// The share held back is near what was asked for, the same for every message, and
// another one in another segment.
func TestHoldbackIsAStableShareOfContacts(t *testing.T) {
	d := newDesk(t)
	const contacts = 4000
	held := func(segment string) map[int]bool {
		out := map[int]bool{}
		for i := range contacts {
			r := queue.Recipient{Address: rfc5321.Address{Local: fmt.Sprint("c", i), Domain: "dest.example"}}
			r.Class.Segment = segment
			Assignment{Holdback: 0.05}.obey(&r, &Contact{ID: uint64(i + 1)}, d.o.Now())
			switch r.Dropped {
			case "holdback":
				out[i] = true
			case "":
			default:
				t.Fatalf("dropped: %s", r.Dropped)
			}
		}
		return out
	}
	spring, again, other := held("spring"), held("spring"), held("summer")
	if n := len(spring); n < contacts/20-60 || n > contacts/20+60 {
		t.Errorf("%d of %d are held back, 5 %% were asked for", n, contacts)
	}
	both := 0
	for i := range spring {
		if !again[i] {
			t.Errorf("contact %d is held back once only", i)
		}
		if other[i] {
			both++
		}
	}
	if both > len(spring)/2 {
		t.Errorf("%d of %d are held back in both segments", both, len(spring))
	}
}

func TestHoldbackIsForMarketingOfTheDecidingSegment(t *testing.T) {
	d := newDesk(t)
	d.member(t, "ann", 1, Assignment{Holdback: 1})
	for header, want := range map[string]string{"": "holdback", "X-Segue-Stream: transactional\r\n": "", "X-Segue-Segment: all\r\n": ""} {
		if err := d.admit(header+plain, "ann"); err != nil {
			t.Fatal(err)
		}
		if got := d.got.Recipients[0].Dropped; got != want {
			t.Errorf("%q: dropped %q, not %q", header, got, want)
		}
	}
	share := func(local string) float64 {
		return share(&queue.Recipient{Address: rfc5321.Address{Local: local, Domain: "dest.example"}})
	}
	if share("ann") == share("bob") || share("ANN") != share("ann") {
		t.Error("who is held back is not decided by the address")
	}
}
