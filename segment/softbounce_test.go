// SPDX-License-Identifier: Apache-2.0

package segment

import (
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/seguemta/segue/mta/event"
	"github.com/seguemta/segue/segment/store"
)

// happened is an event about ann some days after the first.
func happened(kind event.Kind, day float64, verdict string) event.Event {
	return event.Event{
		Kind: kind, Address: "ann@dest.example", Stream: "news", Verdict: verdict, Message: 1, Code: 452, Enhanced: "4.2.2", Reply: "mailbox full",
		Time: t0().Add(time.Duration(day * 24 * float64(time.Hour))),
	}
}

func TestSoftBouncesSuppressForAWhile(t *testing.T) {
	const count = "count"
	daily := func(n int, from float64) (list []event.Event) {
		for i := range n {
			list = append(list, happened(event.Bounced, from+float64(i), count))
		}
		return list
	}
	for _, c := range []struct {
		name   string
		events []event.Event
		want   string
	}{
		{"four are too few", daily(4, 0), ""},
		{"five fade below five", daily(5, 0), ""},
		{"six are enough", daily(6, 0), "stream:marketing=soft_bounce stream:news=soft_bounce"},
		{"twenty of one day are one", func() (list []event.Event) {
			for i := range 20 {
				list = append(list, happened(event.Bounced, float64(i)/24, count))
			}
			return list
		}(), ""},
		{"a delivery ends the run", append(append(daily(5, 0), happened(event.Delivered, 5, "")), daily(5, 6)...), ""},
		{"so does a click", append(append(daily(5, 0), happened(event.Engaged, 5, "")), daily(5, 6)...), ""},
		{"other verdicts do not count", append(daily(4, 0), happened(event.Bounced, 5, "reputation"), happened(event.Bounced, 6, "ignore")), ""},
		{"rare ones fade", func() (list []event.Event) {
			for i := range 30 {
				list = append(list, happened(event.Bounced, float64(i)*30, count))
			}
			return list
		}(), ""},
		{"mail that expired full", func() (list []event.Event) {
			for i := range 6 {
				list = append(list, happened(event.Deferred, float64(i), count), happened(event.Expired, float64(i)+0.1, ""))
			}
			return list
		}(), "stream:marketing=soft_bounce stream:news=soft_bounce"},
		{"mail that expired for another reason", func() (list []event.Event) {
			for i := range 6 {
				list = append(list, happened(event.Deferred, float64(i), "infrastructure"), happened(event.Expired, float64(i)+0.1, ""))
			}
			return list
		}(), ""},
		{"a deferral alone", func() (list []event.Event) {
			for i := range 20 {
				list = append(list, happened(event.Deferred, float64(i), count))
			}
			return list
		}(), ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := mem(t)
			apply(t, d, log(append([]event.Event{happened(event.Accepted, 0, "")}, c.events...)...))
			if got := suppressedAs(t, d); got != c.want {
				t.Errorf("suppressed %q, not %q", got, c.want)
			}
			if c.want == "" {
				return
			}
			at := c.events[len(c.events)-1].Time
			for stream, want := range map[string]string{"marketing": ReasonSoftBounce, "news": ReasonSoftBounce, "transactional": ""} {
				if _, s, err := d.Check(1, addr(t, "ann@dest.example"), Mail{Stream: stream}, at); err != nil || reasonOf(s) != want {
					t.Errorf("%s: %v, %v", stream, s, err)
				}
			}
			if _, s, err := d.Check(1, addr(t, "ann@dest.example"), Mail{Stream: "news"}, at.Add(91*24*time.Hour)); err != nil || s != nil {
				t.Errorf("91 days later: %v, %v", s, err)
			}
		})
	}
}

// The run survives a restart after every event, and a replay counts nothing twice.
func TestSoftBouncesAreCountedOnce(t *testing.T) {
	fs := vfs.NewMem()
	list := []event.Event{happened(event.Accepted, 0, "")}
	for i := range 6 {
		list = append(list, happened(event.Deferred, float64(i), "count"), happened(event.Bounced, float64(i)+0.1, "count"))
	}
	list = log(list...)
	for n := range list {
		d := open(t, testOptions(t, fs))
		apply(t, d, list[:n+1])
		apply(t, d, list[:n+1])
		want := ""
		if n == len(list)-1 {
			want = "stream:marketing=soft_bounce stream:news=soft_bounce"
		}
		if got := suppressedAs(t, d); got != want {
			t.Errorf("after %d events: %q, not %q", n+1, got, want)
		}
		if err := d.Close(); err != nil {
			t.Fatal(err)
		}
	}
	d := open(t, testOptions(t, fs))
	defer d.Close()
	if n := len(d.mem.soft); n != 0 {
		t.Errorf("%d runs are left behind the suppression", n)
	}
}

// An erased person leaves no run.
func TestSoftBouncesAreErased(t *testing.T) {
	d := mem(t)
	apply(t, d, log(happened(event.Accepted, 0, ""), happened(event.Bounced, 0, "count")))
	if len(d.mem.soft) != 1 {
		t.Fatal("no run")
	}
	if _, err := d.Erase("ann@dest.example"); err != nil {
		t.Fatal(err)
	}
	n := 0
	err := d.store.EachSoftBounces(func(uint64, store.SoftBounces) error { n++; return nil })
	if err != nil || n+len(d.mem.soft) != 0 {
		t.Errorf("%d stored, %d in memory, %v", n, len(d.mem.soft), err)
	}
}

// A rule with score 0 never suppresses.
func TestSoftBouncesCanBeOff(t *testing.T) {
	o := testOptions(t, vfs.NewMem())
	o.SoftBounces = SoftBounceRule{HalfLife: time.Hour, Over: time.Hour, Expires: time.Hour}
	d := open(t, o)
	defer d.Close()
	list := []event.Event{happened(event.Accepted, 0, "")}
	for i := range 50 {
		list = append(list, happened(event.Bounced, float64(i), "count"))
	}
	apply(t, d, log(list...))
	if got := suppressedAs(t, d); got != "" {
		t.Error(got)
	}
}

// TestSoftBouncesAreOfTheAddress: who has a new address begins without the failures
// of the old mailbox.
func TestSoftBouncesAreOfTheAddress(t *testing.T) {
	h := &hand{t0()}
	o := testOptions(t, vfs.NewMem())
	o.Now = h.Now
	d := open(t, o)
	defer d.Close()
	ingest(t, d, []Call{{Kind: CallIdentify, UserID: "u1", Traits: map[string]any{"email": "old@dest.example"}, Time: t0()}})
	var list []event.Event
	for i := range 6 {
		e := happened(event.Bounced, float64(i), "count")
		if e.Address = "old@dest.example"; i == 5 {
			e.Address = "ann@dest.example"
		}
		list = append(list, e)
	}
	list = log(list...)
	apply(t, d, list[:5])
	h.turn(5 * 24 * time.Hour)
	ingest(t, d, []Call{{Kind: CallIdentify, UserID: "u1", Traits: map[string]any{"email": "ann@dest.example"}, Time: h.now}})
	apply(t, d, list)
	if got := suppressedAs(t, d); got != "" {
		t.Errorf("suppressed %q by one bounce of the new address", got)
	}
}
