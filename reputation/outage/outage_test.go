// SPDX-License-Identifier: Apache-2.0

package outage

import (
	"reflect"
	"testing"
	"time"
)

// hours sends to a provider, each hour attempted recipients of whom unknown do not
// exist, spread over it. It returns the verdicts on the unknown and the changes.
type hours struct {
	g       *Guard
	now     time.Time
	changes []Change
}

func newHours() *hours {
	return &hours{g: New(Default()), now: time.Date(2026, 11, 23, 0, 0, 0, 0, time.UTC)}
}

func (h *hours) send(provider string, n, attempted, unknown int) (doubted int) {
	for range n {
		for i := range attempted {
			at := h.now.Add(time.Hour * time.Duration(i) / time.Duration(attempted))
			v, change := h.g.Take(Fact{Time: at, Provider: provider, Attempted: true, Unknown: i*unknown/attempted != (i+1)*unknown/attempted})
			if change != nil {
				h.changes = append(h.changes, *change)
			}
			if !v.Until.IsZero() {
				doubted++
			}
		}
		h.now = h.now.Add(time.Hour)
	}
	return doubted
}

// TestOutage: a provider that says of everybody that they do not exist is not believed,
// and is believed again once it is itself.
func TestOutage(t *testing.T) {
	h := newHours()
	if n := h.send("google", 48, 1000, 10); n != 0 || len(h.changes) != 0 {
		t.Fatalf("one in a hundred: %d in doubt, %v", n, h.changes)
	}
	n := h.send("google", 3, 1000, 900)
	if n < 2500 || n > 2650 { // all but the first hundred
		t.Errorf("%d of 2700 in doubt", n)
	}
	if len(h.changes) != 1 || !h.changes[0].Doubt || h.changes[0].Provider != "google" {
		t.Fatalf("%+v", h.changes)
	}
	began := time.Date(2026, 11, 25, 0, 0, 0, 0, time.UTC)
	if since := h.changes[0].Since; since.After(began) || began.Sub(since) > time.Hour {
		t.Errorf("in doubt since %v: the outage began at %v", since, began)
	}
	if got := h.g.Doubts(); len(got) != 1 || got[0] != h.changes[0] {
		t.Errorf("doubts %+v", got)
	}
	h.send("google", 3, 1000, 10)
	if len(h.changes) != 2 || h.changes[1].Doubt || h.changes[1].Since != h.changes[0].Since || len(h.g.Doubts()) != 0 {
		t.Fatalf("afterwards: %+v", h.changes)
	}
	if n := h.send("google", 3, 1000, 10); n != 0 {
		t.Errorf("%d in doubt when it is over", n)
	}
	if usual := h.g.providers["google"].usual(); usual > 0.015 {
		t.Errorf("the baseline learned %.3f from the outage", usual)
	}
}

// TestBounds: five times the baseline and a hundred, both more than just met.
func TestBounds(t *testing.T) {
	for _, tt := range []struct {
		name                      string
		hours, attempted, unknown int // before
		outage, outageUnknown     int
		doubt                     bool
	}{
		{name: "99 unknown of 99", hours: 48, attempted: 1000, unknown: 10, outage: 99, outageUnknown: 99},
		{name: "100 unknown of 100", hours: 48, attempted: 1000, unknown: 10, outage: 110, outageUnknown: 110, doubt: true},
		{name: "four times the usual", hours: 200, attempted: 2000, unknown: 40, outage: 2000, outageUnknown: 160},
		{name: "six times the usual", hours: 200, attempted: 2000, unknown: 40, outage: 2000, outageUnknown: 240, doubt: true},
		{name: "a list nobody knows, bad as many are", outage: 3000, outageUnknown: 240},
		{name: "a list nobody knows, impossibly bad", outage: 1000, outageUnknown: 300, doubt: true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			h := newHours()
			if tt.hours > 0 {
				h.send("yahoo", tt.hours, tt.attempted, tt.unknown)
			}
			h.now = h.now.Add(2 * time.Hour)
			h.send("google", 1, 100, 1)
			n := h.send("yahoo", 1, tt.outage, tt.outageUnknown)
			if (n > 0) != tt.doubt {
				t.Errorf("%d in doubt", n)
			}
			if m := h.send("google", 1, 100, 2); m != 0 {
				t.Errorf("%d of a neighbour in doubt", m)
			}
		})
	}
}

// TestVerdict: how long a suppression holds, and why.
func TestVerdict(t *testing.T) {
	g := New(Default())
	now := time.Date(2026, 11, 23, 10, 0, 0, 0, time.UTC)
	var v Verdict
	var change *Change
	for range 100 {
		v, change = g.Take(Fact{Time: now, Unknown: true, Attempted: true})
	}
	if change == nil || change.Provider != Other || !v.Until.Equal(now.Add(7*24*time.Hour)) {
		t.Fatalf("%+v, %+v", v, change)
	}
	if want := "other said of 100 of 100 recipients within an hour that they do not exist (100.0 %), which is usually 2.0 %"; v.Evidence != want {
		t.Errorf("%s", v.Evidence)
	}
	if v, _ := g.Take(Fact{Time: now, Attempted: true}); !v.Until.IsZero() {
		t.Errorf("one that was delivered: %+v", v)
	}
}

// TestBounceMail: unknown users that come by bounce mail count, and are no attempts.
func TestBounceMail(t *testing.T) {
	h := newHours()
	h.send("google", 2, 1000, 0)
	doubted := 0
	for range 400 {
		if v, _ := h.g.Take(Fact{Time: h.now, Provider: "google", Unknown: true}); !v.Until.IsZero() {
			doubted++
		}
	}
	if doubted == 0 {
		t.Error("400 bounce mails in a moment raise no doubt")
	}
}

// TestClock: a clock that goes back, or far ahead, breaks nothing.
func TestClock(t *testing.T) {
	h := newHours()
	h.send("google", 1, 500, 5)
	for _, by := range []time.Duration{-48 * time.Hour, 90 * 24 * time.Hour, -time.Hour, time.Hour} {
		h.now = h.now.Add(by)
		h.send("google", 1, 500, 5)
	}
	if len(h.changes) != 0 {
		t.Errorf("%+v", h.changes)
	}
	if sum := h.g.providers["google"].sum(); sum.Attempted > 2500 || sum.Attempted < 500 {
		t.Errorf("%+v in the window", sum)
	}
}

// TestState: a copy changes by itself, and what is stored comes back.
func TestState(t *testing.T) {
	h := newHours()
	h.send("google", 2, 500, 5)
	h.send("", 1, 500, 400)
	b, err := h.g.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	again, err := Restore(Default(), b)
	if err != nil || !reflect.DeepEqual(again, h.g) {
		t.Fatalf("%v\n%+v\n%+v", err, again, h.g)
	}
	c := h.g.Clone()
	h.send("google", 1, 500, 400)
	if !reflect.DeepEqual(c, again) {
		t.Error("the copy changed")
	}
	if _, err := Restore(Default(), []byte(`{"version":9}`)); err == nil {
		t.Error("a version of the future is read")
	}
}

// TestMaxProviders: the state is bounded whatever names come.
func TestMaxProviders(t *testing.T) {
	g := New(Default())
	for i := range 3 * MaxProviders {
		g.Take(Fact{Time: time.Unix(int64(i), 0), Provider: string(rune('a'+i%26)) + string(rune('a'+i/26)), Attempted: true})
	}
	if len(g.providers) > MaxProviders+1 {
		t.Errorf("%d providers", len(g.providers))
	}
}

// FuzzRestore: no stored state makes a guard that fails.
func FuzzRestore(f *testing.F) {
	f.Add([]byte(`{"version":1,"providers":{"google":{"At":5935392,"Window":[{"Attempted":9,"Unknown":8}],"Baseline":{"At":5935000},"Doubt":3}}}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		g, err := Restore(Default(), b)
		if err != nil {
			return
		}
		for i := range 3 {
			g.Take(Fact{Time: time.Unix(int64(i)*1e9, 0), Provider: "google", Attempted: true, Unknown: true})
		}
		g.Doubts()
		g.Clone()
	})
}
