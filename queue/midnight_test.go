// SPDX-License-Identifier: Apache-2.0

package queue

import (
	"context"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/seguemta/segue/mta/rfc5321"
	"github.com/seguemta/segue/queue/schedule"
	"github.com/seguemta/segue/queue/store"
	"github.com/seguemta/segue/reputation/warmup"
)

// books are what a provider counts: how often each recipient was offered with
// MAIL on each of its days, but for second attempts of those who were deferred
// on that day before. What a power cut repeats is counted again.
type books struct {
	w    *world
	zone *time.Location
	mu   sync.Mutex
	dead bool // the power is gone: what is sent now is sent by nobody
	sent map[schedule.Day]map[store.ID]int
}

func newBooks(w *world, zone *time.Location) *books {
	b := &books{w: w, zone: zone, sent: map[schedule.Day]map[store.ID]int{}}
	w.mail = b.note
	return b
}

// power cuts the power with f, or brings it back.
func (b *books) power(off bool, f func()) {
	b.mu.Lock()
	defer b.mu.Unlock()
	f()
	b.dead = off
}

func (b *books) note(job *Job) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.dead {
		return
	}
	day := schedule.Day(warmup.DayOf(b.w.clock.now(), b.zone))
	if b.sent[day] == nil {
		b.sent[day] = map[store.ID]int{}
	}
	for i := range job.Recipients {
		e := &job.Recipients[i]
		if again := e.Charged == job.Source && schedule.Day(e.ChargeDay) == day && b.sent[day][e.ID] > 0; !again {
			b.sent[day][e.ID]++
		}
	}
}

func (b *books) perDay() map[schedule.Day]int {
	b.mu.Lock()
	defer b.mu.Unlock()
	m := map[schedule.Day]int{}
	for day, set := range b.sent {
		for _, n := range set {
			m[day] += n
		}
	}
	return m
}

// zoneCap is a budget of n recipients for source a1 on now's day in a zone.
func zoneCap(n int, zone *time.Location) func(now time.Time) []schedule.Cap {
	return func(now time.Time) []schedule.Cap {
		day := warmup.DayOf(now, zone)
		first, end := warmup.DayBounds(day, zone)
		return []schedule.Cap{{
			Key: schedule.BudgetKey{Source: "a1", Provider: schedule.Other}, Day: schedule.Day(day),
			Start: first, End: end, Open: first, Close: end, Allowed: n,
		}}
	}
}

// charged are the durable counters by day.
func (r *running) charged() map[schedule.Day]store.Counter {
	r.t.Helper()
	m := map[schedule.Day]store.Counter{}
	err := r.st.Commit(context.Background(), func(tx *store.Tx) error {
		tx.Counters(func(name string, c store.Counter) {
			if key, day, ok := parseCounter(name); ok && key.Source == "a1" {
				m[day] = c
			}
		})
		return nil
	})
	if err != nil {
		r.t.Fatal(err)
	}
	return m
}

// nights are midnights of a budget zone, also those on which its clocks change:
// in Beirut midnight itself is skipped, in Havana the first hour comes twice.
func nights(t testing.TB) []time.Time {
	t.Helper()
	var list []time.Time
	for _, n := range []struct {
		zone string
		day  time.Time
	}{
		{"UTC", time.Date(2026, 3, 10, 0, 0, 0, 0, time.UTC)},
		{"Asia/Beirut", time.Date(2026, 3, 29, 0, 0, 0, 0, time.UTC)},
		{"America/Havana", time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)},
		{"Europe/Berlin", time.Date(2026, 10, 25, 0, 0, 0, 0, time.UTC)},
		{"Australia/Lord_Howe", time.Date(2026, 4, 5, 0, 0, 0, 0, time.UTC)},
	} {
		zone, err := time.LoadLocation(n.zone)
		if err != nil {
			t.Fatal(err)
		}
		first, _ := warmup.DayBounds(warmup.Day(n.day.Unix()/86400), zone)
		list = append(list, first.In(zone))
	}
	return list
}

const (
	nightCap  = 20 // of a day
	nightMail = 70
)

// night sends through a midnight to a peer that takes its time, cuts the power
// at a random moment around it where cut is set, and goes on with what is left.
// It returns what the provider saw and what was charged.
func night(t testing.TB, seed uint64, at time.Time, cut, forgetful bool) (seen map[schedule.Day]int, charged map[schedule.Day]store.Counter) {
	t.Helper()
	rng := rand.New(rand.NewPCG(seed, 11))
	mem := vfs.NewCrashableMem()
	w := newWorld()
	w.forgetful = forgetful
	w.caps = zoneCap(nightCap, at.Location())
	w.clock.set(time.Until(at.Add(-time.Duration(2+rng.IntN(8)) * time.Second)))
	b := newBooks(w, at.Location())
	roll := dice(rng)
	w.pause = func(context.Context) { <-time.After(time.Duration(roll(4000)) * time.Millisecond) }
	w.answer = func(*store.Entry) Outcome {
		switch roll(4) {
		case 0:
			return deferred("later")
		case 1:
			return Outcome{Kind: Bounced, Reply: rfc5321.Reply{Code: 550}}
		}
		return Outcome{Kind: Delivered, Reply: rfc5321.Reply{Code: 250}}
	}
	w.dial = func(job *Job) *Result {
		if roll(10) == 0 {
			return DeferAll(job, "refused")
		}
		return nil
	}
	fast := func(o *Options) { o.Retry = []time.Duration{3 * time.Second} }
	r := startWith(t, mem, w, fast)
	for i := range nightMail {
		s := r.message(name(i), "active")
		s.Recipients[0].Expires = w.clock.now().Add(1000 * time.Hour)
		r.enqueue(s)
	}
	if cut {
		time.Sleep(time.Duration(roll(15000)) * time.Millisecond)
		var left *vfs.MemFS
		b.power(true, func() {
			left = mem.CrashClone(vfs.CrashCloneCfg{RNG: rand.New(rand.NewPCG(seed, 12)), UnsyncedDataPercent: roll(101)})
		})
		r.stop()
		b.power(false, func() {})
		r = startWith(t, left, w, fast)
	}
	time.Sleep(5 * time.Minute) // all retries, and a back-off after refused connections
	synctest.Wait()
	r.verify()
	seen, charged = b.perDay(), r.charged()
	r.stop()
	return seen, charged
}

func TestRaceConcludingAtMidnightChargesTheDayOfTheMail(t *testing.T) {
	t.Parallel()
	for _, at := range nights(t) {
		for seed := range uint64(4) {
			synctest.Test(t, func(t *testing.T) {
				seen, charged := night(t, seed, at, false, false)
				if len(seen) != 2 {
					t.Fatalf("%v seed %d: mail was sent on %d days, not on two", at, seed, len(seen))
				}
				for day, n := range seen {
					c := charged[day]
					if n > nightCap || c.Used != n {
						t.Errorf("%v seed %d: on day %d the provider saw %d recipients, %d were charged, %d are allowed", at, seed, day, n, c.Used, nightCap)
					}
					sum := 0
					for _, h := range c.Hours {
						sum += h
					}
					if sum != n {
						t.Errorf("%v seed %d: the hours of day %d hold %d, not %d", at, seed, day, sum, n)
					}
					if day == schedule.Day(warmup.DayOf(at, at.Location()))-1 && c.Hours[23] != n {
						t.Errorf("%v seed %d: all %d left in the last hour, which holds %d: %v", at, seed, n, c.Hours[23], c.Hours)
					}
				}
			})
		}
	}
}

func TestRaceAPowerCutAtMidnightExceedsNoCap(t *testing.T) {
	t.Parallel()
	cuts := 0
	for i, at := range nights(t) {
		for seed := range uint64(8) {
			synctest.Test(t, func(t *testing.T) {
				seen, charged := night(t, seed+100*uint64(i), at, true, false)
				for day, n := range seen {
					c := charged[day]
					if n > nightCap || c.Used > nightCap || c.Used < n {
						t.Errorf("%v seed %d: on day %d the provider saw %d recipients, %d were charged, %d are allowed", at, seed, day, n, c.Used, nightCap)
					}
					if c.Used > n {
						cuts++
					}
					if c.Used > n+leaseAhead {
						t.Errorf("%v seed %d: on day %d %d were charged for %d recipients; a lease explains %d", at, seed, day, c.Used, n, leaseAhead)
					}
				}
			})
		}
	}
	if cuts == 0 {
		t.Error("no cut found a lease ahead of what was used: the test does not see leases")
	}
}

// leaseAhead is how far the durable lease of nightCap can be ahead of what was
// offered: a step, and what was leased for the connections of a site that were then refused.
const leaseAhead = 1 + 5

// The control: budgets that forget over a power cut what was used must be seen.
func TestRaceControlForgottenBudgetsExceedTheCap(t *testing.T) {
	t.Parallel()
	most := 0
	for seed := range uint64(12) {
		synctest.Test(t, func(t *testing.T) {
			seen, _ := night(silent{t}, seed, nights(t)[0], true, true)
			for _, n := range seen {
				most = max(most, n)
			}
		})
	}
	if most <= nightCap {
		t.Errorf("at most %d recipients a day although nobody remembered the budget: the oracle sees nothing", most)
	}
}
