// SPDX-License-Identifier: Apache-2.0

package simulate

import (
	"math"
	"testing"
)

// day sends n messages and ends the day: so many shares of them are unknown, and of those in
// the inbox so many engage and complain.
func day(r *Reputation, n int, unknown, engage, complain float64) {
	refused := int(math.Round(float64(n) * unknown))
	for range refused {
		r.Refused()
	}
	inbox := int(math.Round(float64(n-refused) * r.Score()))
	for i := range n - refused {
		r.Took(i < inbox)
	}
	for range int(math.Round(float64(inbox) * engage)) {
		r.Engaged()
	}
	for range int(math.Round(float64(inbox) * complain)) {
		r.Complained()
	}
	r.NextDay()
}

// TestSimulateReputation tells a month of several senders.
func TestSimulateReputation(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name                      string
		n                         int
		unknown, engage, complain float64
		low, high                 float64
	}{
		{"nobody knows who sends nothing", 0, 0, 0, 0, 0.25, 0.25},
		{"wanted mail", 2000, 0.005, 0.30, 0.0005, 0.85, 1},
		{"little of it is not enough to be known", 10, 0, 0.30, 0, 0.25, 0.35},
		{"hardly read", 2000, 0, 0.12, 0, 0.13, 0.25},
		{"read by nobody", 2000, 0, 0.05, 0, 0, 0.06},
		{"one address of fifty unknown", 2000, 0.02, 0.30, 0, 0.75, 0.90},
		{"one address of five unknown", 2000, 0.20, 0.30, 0, 0, 0.06},
		{"two complaints of a thousand", 5000, 0, 0.30, 0.002, 0.40, 0.65},
		{"five complaints of a thousand", 5000, 0, 0.30, 0.005, 0, 0.06},
	} {
		var r Reputation
		for range 30 {
			day(&r, c.n, c.unknown, c.engage, c.complain)
		}
		if got := r.Score(); got < c.low || got > c.high {
			t.Errorf("%s: %.3f, want %.2f to %.2f", c.name, got, c.low, c.high)
		}
	}
}

// TestSimulateMemory: a bad day is forgotten in about a month, and so is a good month.
func TestSimulateMemory(t *testing.T) {
	t.Parallel()
	var r Reputation
	for range 30 {
		day(&r, 2000, 0, 0.30, 0)
	}
	good := r.Score()
	day(&r, 2000, 0.20, 0.05, 0)
	bad := r.Score()
	for range 30 {
		day(&r, 2000, 0, 0.30, 0)
	}
	if again := r.Score(); bad > good-0.1 || again < good-0.02 {
		t.Errorf("%.3f, after a bad day %.3f, a month later %.3f", good, bad, again)
	}
	for range 60 {
		day(&r, 0, 0, 0, 0)
	}
	if idle := r.Score(); math.Abs(idle-newcomer) > 0.02 {
		t.Errorf("after two months without mail %.3f, want about that of a newcomer", idle)
	}
}

// TestSimulateQuota: what is taken in a day follows the reputation.
func TestSimulateQuota(t *testing.T) {
	t.Parallel()
	take := func(r *Reputation) (n int) {
		for r.Admits() && n < 10_000 {
			r.Took(false)
			n++
		}
		return n
	}
	r := Reputation{Quota: 100}
	if n := take(&r); n < 90 || n > 100 {
		t.Errorf("%d of a newcomer, want about 100", n)
	}
	r = Reputation{Quota: 100}
	for range 30 {
		day(&r, 5000, 0, 0.30, 0)
	}
	if n := take(&r); n < 350 || n > 400 {
		t.Errorf("%d of a good sender, want about four times that", n)
	}
	if r.Admits() {
		t.Error("a day's quota is spent, and another is let in")
	}
	r.NextDay()
	if !r.Admits() {
		t.Error("the next day nobody is let in")
	}
	if n := take(&Reputation{}); n != 10_000 {
		t.Errorf("without a quota %d are taken", n)
	}
	for name, r := range Reputations() {
		if r.Quota == 0 {
			t.Errorf("%s has no quota", name)
		}
	}
}

// TestSimulateTemperaments holds what the comment says of a list's mixture.
func TestSimulateTemperaments(t *testing.T) {
	t.Parallel()
	var engage, complain float64
	for _, h := range habits() {
		x, ok := Temperaments()[h.tier]
		if !ok {
			t.Errorf("nobody knows what people of tier %s do", h.tier)
		}
		engage += h.share * x.Engage
		complain += h.share * x.Complain
	}
	if math.Abs(engage-0.19) > 0.005 || math.Abs(complain-0.001) > 0.0001 {
		t.Errorf("%.3f engage and %.4f complain", engage, complain)
	}
}
