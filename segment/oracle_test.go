// SPDX-License-Identifier: Apache-2.0

package segment

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/seguemta/segue/mta/event"
	"github.com/seguemta/segue/mta/mtatest"
	"github.com/seguemta/segue/segment/tier"
)

// person is a contact as the slow evaluator keeps it: plain values, and every
// event that ever happened to it.
type person struct {
	status  string
	score   float64
	signed  time.Time // zero = missing
	account string    // "" = none
	events  []event.Event
	acts    []act
}

// world is the slow, obvious second implementation: it keeps everything, and
// asks every rule of every person each time.
type world struct {
	people map[string]*person
	plans  map[string]string // of accounts
	visits map[string][]act  // of people without a name, by anonymous id
	named  map[string]string // addresses by anonymous id
	now    time.Time
	seq    uint64
}

// person is who has an address from now on.
func (w *world) person(address string) *person {
	if w.people[address] == nil {
		w.people[address] = &person{}
	}
	return w.people[address]
}

func (w *world) tier(p *person) string {
	m := model{"": p.events}
	return m.tier(tier.Default(), "", event.Event{Time: w.now})
}

// condition is a rule twice: as text, and as what it means.
type condition struct {
	text   string
	paired bool // it speaks of an account: events of others do not count
	holds  func(w *world, p *person, paired bool) bool
}

// has asks a whole rule.
func (c *condition) has(w *world, p *person) bool { return c.holds(w, p, c.paired) }

// randomCondition makes a rule of some depth.
func randomCondition(rng *rand.Rand, depth int) condition {
	if depth > 0 && rng.IntN(3) > 0 {
		a, b := randomCondition(rng, depth-1), randomCondition(rng, depth-1)
		switch rng.IntN(3) {
		case 0:
			return condition{text: "(" + a.text + " && " + b.text + ")", holds: func(w *world, p *person, paired bool) bool { return a.holds(w, p, paired) && b.holds(w, p, paired) }}
		case 1:
			return condition{text: "(" + a.text + " || " + b.text + ")", holds: func(w *world, p *person, paired bool) bool { return a.holds(w, p, paired) || b.holds(w, p, paired) }}
		default:
			return condition{text: "!(" + a.text + ")", holds: func(w *world, p *person, paired bool) bool { return !a.holds(w, p, paired) }}
		}
	}
	n := 1 + rng.IntN(60)
	switch rng.IntN(11) {
	case 0:
		name := tier.Tier(rng.IntN(tier.Count)).String()
		return condition{text: fmt.Sprintf("tier == %q", name), holds: func(w *world, p *person, _ bool) bool { return w.tier(p) == name }}
	case 1:
		s := randomStatus(rng)
		return condition{text: fmt.Sprintf("contact.status != %q", s), holds: func(_ *world, p *person, _ bool) bool { return p.status != s }}
	case 2:
		return condition{text: fmt.Sprintf("contact.score >= %d", n), holds: func(_ *world, p *person, _ bool) bool { return p.score >= float64(n) }}
	case 3:
		return condition{text: fmt.Sprintf("now - contact.signed_up < days(%d)", n), holds: func(w *world, p *person, _ bool) bool {
			return !p.signed.IsZero() && w.now.Sub(p.signed) < time.Duration(n)*tier.Day
		}}
	case 4:
		s := randomStatus(rng)
		return condition{text: fmt.Sprintf("account.plan == %q", s), holds: func(w *world, p *person, _ bool) bool { return p.account != "" && w.plans[p.account] == s }}
	case 5: // entered by silence
		return condition{text: fmt.Sprintf("contact.signed_up <= now - days(%d)", n), holds: func(w *world, p *person, _ bool) bool {
			return !p.signed.IsZero() && w.now.Sub(p.signed) >= time.Duration(n)*tier.Day
		}}
	default:
		return randomEventCondition(rng)
	}
}

func randomStatus(rng *rand.Rand) string { return string(rune('a' + rng.IntN(3))) }

// trial is one random life of a database beside its slow twin.
type trial struct {
	t    *testing.T
	rng  *rand.Rand
	fs   *vfs.MemFS
	d    *DB
	w    *world
	live map[string]condition // what mail goes by
	next map[string]condition // what is configured
	file int
}

func (x *trial) options() Options {
	o := testOptions(x.t, x.fs)
	o.Segments = nil
	for name, c := range x.next {
		o.Segments = append(o.Segments, Definition{Name: name, Where: c.text})
	}
	o.Now = func() time.Time { return x.w.now }
	o.VerifyEvery = time.Minute
	o.private.buildLater, o.private.window = true, 8
	return o
}

// check compares every membership. A segment that was defined anew has those of
// its old rule until the build is through, which is when all are swapped.
func (x *trial) check(what string) {
	x.t.Helper()
	building := x.d.live.next != nil
	if !building {
		x.live = x.next
	}
	var want []string
	for name := range x.next {
		c, ok := x.live[name]
		if !ok {
			continue
		}
		for address, p := range x.w.people {
			if c.has(x.w, p) {
				want = append(want, "member of "+name+" "+address)
			}
		}
	}
	slices.Sort(want)
	if got := members(x.t, x.d); !slices.Equal(got, want) {
		same(x.t, what, strings.Join(got, "\n"), strings.Join(want, "\n"))
		x.t.Fatalf("%s, rules %v", what, x.live)
	}
	if n := testutil.ToFloat64(x.d.metrics.disagreements); n != 0 {
		x.t.Fatalf("%s: the verifier found %v disagreements", what, n)
	}
	for address, p := range x.w.people {
		if v, err := x.d.Look(addr(x.t, address), Mail{Stream: "marketing", Domain: "example.com"}, x.w.now); err != nil || v.Tier != x.w.tier(p) || len(v.Segments) != x.count(p) {
			x.t.Fatalf("%s: look at %s: %+v, %v", what, address, v, err)
		}
	}
}

func (x *trial) count(p *person) (n int) {
	for name := range x.next {
		if c, ok := x.live[name]; ok && c.has(x.w, p) {
			n++
		}
	}
	return n
}

// tend lets the database catch up with time, and with builds if all is set.
func (x *trial) tend(all bool) {
	x.t.Helper()
	for more := true; more; {
		var err error
		if more, err = x.d.sweep(); err == nil && all {
			more, err = x.d.Tend(context.Background())
		}
		if err != nil {
			x.t.Fatal(err)
		}
	}
}

// event applies one event, sometimes with others that were applied before.
func (x *trial) event() {
	address := fmt.Sprintf("u%d@example.com", x.rng.IntN(25))
	p := x.w.person(address)
	kinds := []event.Event{{Kind: event.Accepted}, {Kind: event.Delivered}, {Kind: event.Delivered}, {Kind: event.Engaged}}
	e := kinds[x.rng.IntN(len(kinds))]
	x.w.seq++
	e.Sequence, e.Address, e.Time = x.w.seq, address, x.w.now.Add(-time.Duration(x.rng.IntN(2)*x.rng.IntN(3000))*time.Hour)
	for _, other := range p.events { // the slow twin of tiers knows no order within one second
		if other.Time.Equal(e.Time) || other.Time.After(e.Time) {
			e.Time = x.w.now
		}
	}
	p.events = append(p.events, e)
	p.acted(&e)
	apply(x.t, x.d, []event.Event{e})
	if x.rng.IntN(4) == 0 {
		before := len(told(x.t, x.d))
		apply(x.t, x.d, []event.Event{e})
		if len(told(x.t, x.d)) != before {
			x.t.Fatal("an event counted twice")
		}
	}
}

// row imports one row: a contact's attributes, its account, or the account's plan.
func (x *trial) row() {
	address := fmt.Sprintf("u%d@example.com", x.rng.IntN(25))
	p := x.w.person(address)
	p.status, p.score = randomStatus(x.rng), float64(x.rng.IntN(60))
	p.signed = x.w.now.Add(-time.Duration(x.rng.IntN(80*24)) * time.Hour).Truncate(time.Second)
	if p.account == "" {
		p.account = fmt.Sprintf("acme%d", x.rng.IntN(3))
	}
	plan := randomStatus(x.rng)
	x.w.plans[p.account] = plan
	x.file++
	text := fmt.Sprintf("email,contact.status,contact.score,contact.signed_up,account,group_id,account.plan\n%s,%s,%v,%s,%s,%s,%s\n",
		address, p.status, p.score, p.signed.Format(time.RFC3339), p.account, p.account, plan)
	if _, _, err := load(x.t, x.d, fmt.Sprintf("%d.csv", x.file), text); err != nil {
		x.t.Fatal(err)
	}
}

// reopen closes the database, or cuts its power, and sometimes gives it other rules.
func (x *trial) reopen() {
	if x.rng.IntN(2) == 0 {
		left := x.fs.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: x.rng.IntN(101), RNG: x.rng})
		if err := x.d.Close(); err != nil {
			x.t.Fatal(err)
		}
		x.fs = left
	} else if err := x.d.Close(); err != nil {
		x.t.Fatal(err)
	}
	if x.rng.IntN(3) == 0 {
		x.redefine()
	}
	x.d = open(x.t, x.options())
}

func (x *trial) redefine() {
	next := map[string]condition{}
	for name, c := range x.next {
		if x.rng.IntN(4) > 0 {
			next[name] = c
		}
	}
	for range 1 + x.rng.IntN(3) {
		c := randomCondition(x.rng, 2)
		c.paired = strings.Contains(c.text, "account.")
		next[fmt.Sprintf("s%d", x.rng.IntN(6))] = c
	}
	x.next = next
}

// lives is how many random lives a test goes through: a few, since Pebble checks
// itself under the race detector; LIVES=5 makes it five times as many.
func lives(t *testing.T, few int) uint64 {
	t.Helper()
	return uint64(few * mtatest.EnvNumber(t, "LIVES", 1))
}

// TestOracle holds that after every event, row, pause, restart, power cut and
// change of rules the members are those that the slow twin finds, and that the
// verifier never finds a difference.
func TestOracle(t *testing.T) {
	for seed := range lives(t, 4) {
		rng := rand.New(rand.NewPCG(seed, 4))
		x := &trial{t: t, rng: rng, fs: vfs.NewCrashableMem(), w: &world{people: map[string]*person{}, plans: map[string]string{}, visits: map[string][]act{}, named: map[string]string{}, now: t0()}}
		x.redefine()
		x.d = open(t, x.options())
		for step := range 120 {
			var what string
			switch n := rng.IntN(23); {
			case n < 4:
				what = "event"
				x.event()
			case n < 9:
				what = "act"
				x.track()
			case n < 12:
				what = "row"
				x.row()
			case n < 16:
				what = "time"
				x.w.now = x.w.now.Add(time.Duration(rng.IntN(1+rng.IntN(40*24*3600))) * time.Second)
				x.tend(false)
			case n < 19:
				what = "one step"
				if _, err := x.d.Tend(context.Background()); err != nil {
					t.Fatal(err)
				}
				x.tend(false)
			case n < 21:
				what = "tending"
				x.tend(true)
			default:
				what = "reopening"
				x.reopen()
				x.tend(false)
			}
			x.check(fmt.Sprintf("seed %d, step %d, %s", seed, step, what))
		}
		if err := x.d.Close(); err != nil {
			t.Fatal(err)
		}
	}
}
