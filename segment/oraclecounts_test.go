// SPDX-License-Identifier: Apache-2.0

package segment

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/seguemta/segue/mta/event"
	"github.com/seguemta/segue/segment/score"
	"github.com/seguemta/segue/segment/tier"
)

// office is the slow twin of a database whose rules ask about colleagues.
type office struct {
	people map[string]*worker
	plans  map[string]string
	rules  map[string]clause
	now    time.Time

	known map[string]map[*worker]bool // answers at this moment
	most  int                         // of how many contacts the score of an account is made; 0 = nobody has a score
}

type worker struct {
	status string
	signed time.Time
	roles  map[string]string // by account
	events []event.Event
	limit  float64
	acts   []act
}

// clause is a rule as text, and as what it means for a contact in an account, ""
// for none.
type clause struct {
	text  string
	holds func(o *office, p *worker, account string) bool
}

func (o *office) member(name string, p *worker) bool {
	if in, ok := o.known[name][p]; ok {
		return in
	}
	in := len(p.roles) == 0 && o.rules[name].holds(o, p, "")
	for account := range p.roles {
		in = in || o.rules[name].holds(o, p, account)
	}
	if o.known[name] == nil {
		o.known[name] = map[*worker]bool{}
	}
	o.known[name][p] = in
	return in
}

func (c clause) and(b clause) clause {
	return clause{"(" + c.text + " && " + b.text + ")", func(o *office, p *worker, a string) bool { return c.holds(o, p, a) && b.holds(o, p, a) }}
}

func (c clause) or(b clause) clause {
	return clause{"(" + c.text + " || " + b.text + ")", func(o *office, p *worker, a string) bool { return c.holds(o, p, a) || b.holds(o, p, a) }}
}

func (c clause) not() clause {
	return clause{"!(" + c.text + ")", func(o *office, p *worker, a string) bool { return !c.holds(o, p, a) }}
}

// plainClause asks one thing of the contact itself.
func plainClause(rng dice) clause {
	if rng.scored && rng.IntN(3) > 0 {
		return scoreClause(rng)
	}
	s, n := randomStatus(rng.Rand), 1+rng.IntN(60)
	switch rng.IntN(6) {
	case 0:
		return clause{fmt.Sprintf("contact.status == %q", s), func(_ *office, p *worker, _ string) bool { return p.status == s }}
	case 1:
		return clause{fmt.Sprintf("account.plan == %q", s), func(o *office, _ *worker, a string) bool { return a != "" && o.plans[a] == s }}
	case 2:
		return clause{fmt.Sprintf("role == %q", s), func(_ *office, p *worker, a string) bool { return a != "" && p.roles[a] == s }}
	case 3:
		name := tier.Tier(rng.IntN(tier.Count)).String()
		return clause{fmt.Sprintf("tier == %q", name), func(o *office, p *worker, _ string) bool {
			m := model{"": p.events}
			return m.tier(tier.Default(), "", event.Event{Time: o.now}) == name
		}}
	case 4:
		return clause{fmt.Sprintf("now - contact.signed_up < days(%d)", n), func(o *office, p *worker, _ string) bool {
			return !p.signed.IsZero() && o.now.Sub(p.signed) < time.Duration(n)*tier.Day
		}}
	default:
		return clause{fmt.Sprintf("contact.signed_up <= now - days(%d)", n), func(o *office, p *worker, _ string) bool {
			return !p.signed.IsZero() && o.now.Sub(p.signed) >= time.Duration(n)*tier.Day
		}}
	}
}

// countClause asks about the colleagues, some of it by way of a segment.
func countClause(rng dice, segments []string) clause {
	inner := plainClause(rng)
	if rng.IntN(2) == 0 {
		inner = inner.or(plainClause(rng))
	}
	if len(segments) > 0 && rng.IntN(2) == 0 {
		name := segments[rng.IntN(len(segments))]
		inner = clause{fmt.Sprintf("segment(%q)", name), func(o *office, p *worker, _ string) bool { return o.member(name, p) }}
		if rng.IntN(2) == 0 {
			inner = inner.and(plainClause(rng))
		}
	}
	count := func(o *office, a string) (yes, all int) {
		for _, p := range o.people {
			if _, ok := p.roles[a]; ok {
				if all++; inner.holds(o, p, a) {
					yes++
				}
			}
		}
		return yes, all
	}
	n := 1 + rng.IntN(4)
	switch rng.IntN(5) {
	case 0:
		return clause{"any_contact(" + inner.text + ")", func(o *office, _ *worker, a string) bool { yes, _ := count(o, a); return yes > 0 }}
	case 1:
		return clause{"all_contacts(" + inner.text + ")", func(o *office, _ *worker, a string) bool { yes, all := count(o, a); return all > 0 && yes == all }}
	case 2:
		return clause{"no_contact(" + inner.text + ")", func(o *office, _ *worker, a string) bool { yes, _ := count(o, a); return yes == 0 }}
	case 3:
		return clause{fmt.Sprintf("contacts(%s) >= %d", inner.text, n), func(o *office, _ *worker, a string) bool { yes, _ := count(o, a); return yes >= n }}
	default:
		return clause{fmt.Sprintf("contacts(%s) == %d", inner.text, n), func(o *office, _ *worker, a string) bool { yes, _ := count(o, a); return yes == n }}
	}
}

func randomClause(rng dice, segments []string) clause {
	c := countClause(rng, segments)
	if rng.scored && rng.IntN(2) == 0 {
		c = plainClause(rng)
	}
	for range rng.IntN(3) {
		b := plainClause(rng)
		if rng.IntN(3) == 0 {
			b = countClause(rng, segments)
		}
		if rng.IntN(2) == 0 {
			c = c.and(b)
		} else {
			c = c.or(b)
		}
	}
	if rng.IntN(4) == 0 {
		c = c.not()
	}
	return c
}

// officeLife is one random life of both.
type officeLife struct {
	t    *testing.T
	rng  *rand.Rand
	fs   *vfs.MemFS
	d    *DB
	o    *office
	next map[string]clause
	n    int // of files and messages
	seq  uint64

	scores *score.Model
}

func (x *officeLife) redefine() {
	x.next = maps.Clone(x.next)
	if x.next == nil {
		x.next = map[string]clause{}
	}
	below := []string{}
	for _, name := range []string{"a", "b", "c", "d", "e"} {
		if _, ok := x.next[name]; !ok || x.rng.IntN(3) == 0 {
			x.next[name] = randomClause(dice{x.rng, x.scores != nil}, below)
		}
		below = append(below, name)
	}
}

func (x *officeLife) open() {
	o := testOptions(x.t, x.fs)
	o.Segments = nil
	for name, c := range x.next {
		o.Segments = append(o.Segments, Definition{Name: name, Where: c.text})
	}
	o.Scores, o.Now = x.scores, func() time.Time { return x.o.now }
	o.VerifyEvery = time.Minute
	o.private.buildLater, o.private.window = true, 8
	x.d = open(x.t, o)
}

func (x *officeLife) worker() (string, *worker) {
	address := fmt.Sprintf("u%d@example.com", x.rng.IntN(20))
	if x.o.people[address] == nil {
		x.o.people[address] = &worker{roles: map[string]string{}}
	}
	return address, x.o.people[address]
}

// rows imports some rows in one commit: attributes, and where somebody works.
func (x *officeLife) rows() {
	text := "email,contact.status,contact.score,contact.signed_up,account,group_id,account.plan\n"
	for range 1 + x.rng.IntN(4) {
		address, p := x.worker()
		p.status, p.limit = randomStatus(x.rng), float64(x.rng.IntN(90))+0.37
		p.signed = x.o.now.Add(-time.Duration(x.rng.IntN(80*24)) * time.Hour).Truncate(time.Second)
		account := fmt.Sprintf("acme%d", x.rng.IntN(3))
		if _, ok := p.roles[account]; !ok {
			p.roles[account] = ""
		}
		x.o.plans[account] = randomStatus(x.rng)
		text += fmt.Sprintf("%s,%s,%v,%s,%s,%s,%s\n", address, p.status, p.limit, p.signed.Format(time.RFC3339), account, account, x.o.plans[account])
	}
	x.n++
	if _, _, err := load(x.t, x.d, fmt.Sprintf("%d.csv", x.n), text); err != nil {
		x.t.Fatal(err)
	}
}

// calls has somebody join an account, or take another role there, leave it, or the
// account end.
func (x *officeLife) calls() {
	var list []Call
	for range 1 + x.rng.IntN(3) {
		address, p := x.worker()
		account, role := fmt.Sprintf("acme%d", x.rng.IntN(3)), randomStatus(x.rng)
		x.n++
		call := Call{
			Kind: CallTrack, Email: address, Event: EventAccountAddedUser, Time: x.o.now, MessageID: fmt.Sprint("m", x.n),
			Context: CallContext{GroupID: account}, Properties: map[string]any{"role": role},
		}
		switch x.rng.IntN(8) {
		case 0:
			call.Event, call.Properties = EventAccountDeleted, nil
			for _, q := range x.o.people {
				delete(q.roles, account)
			}
			list = append(list, call)
			x.ingest(list)
			x.o.now = x.o.now.Add(2 * time.Second) // nobody joins what is deleted in that second
			x.sweep()
			return
		case 1, 2, 3:
			call.Event, call.Properties = EventAccountRemovedUser, nil
			delete(p.roles, account)
		default:
			p.roles[account] = role
		}
		list = append(list, call)
	}
	x.ingest(list)
}

func (x *officeLife) ingest(list []Call) {
	errs, err := x.d.Ingest(context.Background(), list)
	if err != nil {
		x.t.Fatal(err)
	}
	for _, err := range errs {
		if err != nil {
			x.t.Fatal(err)
		}
	}
}

func (x *officeLife) mail() {
	var list []event.Event
	for range 1 + x.rng.IntN(3) {
		address, p := x.worker()
		x.seq++
		e := event.Event{Kind: []event.Kind{event.Delivered, event.Engaged}[x.rng.IntN(2)], Sequence: x.seq, Address: address, Time: x.o.now}
		if len(p.events) > 0 && p.events[len(p.events)-1].Time.Equal(e.Time) {
			x.seq--
			continue // the slow twin of tiers knows no order within one second
		}
		p.events = append(p.events, e)
		list = append(list, e)
	}
	apply(x.t, x.d, list)
}

func (x *officeLife) sweep() {
	for more := true; more; {
		var err error
		if more, err = x.d.sweep(); err != nil {
			x.t.Fatal(err)
		}
	}
}

func (x *officeLife) reopen() {
	if x.rng.IntN(2) == 0 {
		if x.rng.IntN(2) == 0 {
			if err := x.d.checkpoint(); err != nil {
				x.t.Fatal(err)
			}
			x.rows()
		}
		left := x.fs.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: x.rng.IntN(101), RNG: x.rng})
		if err := x.d.Close(); err != nil {
			x.t.Fatal(err)
		}
		x.fs = left
	} else if err := x.d.Close(); err != nil {
		x.t.Fatal(err)
	}
	if x.rng.IntN(2) == 0 {
		x.redefine()
	}
	x.open()
	x.sweep()
}

func (x *officeLife) step() string {
	switch n := x.rng.IntN(20); {
	case x.scores != nil && x.rng.IntN(4) == 0:
		x.visits()
		return "visits"
	case n < 5:
		x.rows()
		return "rows"
	case n < 9:
		x.calls()
		return "calls"
	case n < 11:
		x.mail()
		return "mail"
	case n < 14:
		x.o.now = x.o.now.Add(time.Duration(x.rng.IntN(1+x.rng.IntN(40*24*3600))) * time.Second)
		x.sweep()
		return "time"
	case n < 17:
		if _, err := x.d.Tend(context.Background()); err != nil {
			x.t.Fatal(err)
		}
		return "one step"
	case n < 19:
		settle(x.t, x.d)
		return "tending"
	default:
		x.reopen()
		return "reopening"
	}
}

// check compares all members with the twin's, and all counts with the bits.
func (x *officeLife) check(what string) {
	x.t.Helper()
	if x.d.live.next == nil {
		x.o.rules = x.next
	}
	x.o.known = map[string]map[*worker]bool{}
	var want []string
	for name := range x.o.rules {
		for address, p := range x.o.people {
			if x.o.member(name, p) {
				want = append(want, "member of "+name+" "+address)
			}
		}
	}
	slices.Sort(want)
	if got := members(x.t, x.d); !slices.Equal(got, want) {
		same(x.t, what, strings.Join(got, "\n"), strings.Join(want, "\n"))
		for name, c := range x.o.rules {
			x.t.Logf("%s: %s", name, c.text)
		}
		x.t.FailNow()
	}
	for address, p := range x.o.people {
		n := 0
		for name := range x.o.rules {
			if x.o.member(name, p) {
				n++
			}
		}
		if v, err := x.d.Look(addr(x.t, address), Mail{Stream: "marketing", Domain: "example.com"}, x.o.now); err != nil || len(v.Segments) != n {
			x.t.Fatalf("%s: look at %s: %+v, %v; want %d segments", what, address, v, err, n)
		}
	}
	if n := testutil.ToFloat64(x.d.metrics.disagreements); n != 0 {
		x.t.Fatalf("%s: the verifier found %v disagreements", what, n)
	}
	for id := uint64(1); id < x.d.write.contacts.next; id++ {
		if wrong, err := x.d.disagrees(id, x.o.now); err != nil || wrong != "" {
			x.t.Fatalf("%s: contact %d: %s, %v", what, id, wrong, err)
		}
	}
	recounted(x.t, x.d, what)
}

// TestOracleOfColleagues is TestOracle for rules that ask about the contacts of an
// account, also by way of segments that do.
func TestOracleOfColleagues(t *testing.T) {
	for seed := range lives(t, 2) {
		x := &officeLife{t: t, rng: rand.New(rand.NewPCG(seed, 5)), o: &office{}}
		x.live(seed)
	}
}

func (x *officeLife) live(seed uint64) {
	x.fs = vfs.NewCrashableMem()
	x.o.people, x.o.plans, x.o.now = map[string]*worker{}, map[string]string{}, t0()
	x.redefine()
	x.open()
	settle(x.t, x.d)
	x.o.rules = x.next // also where the first step defines others
	for step := range 120 {
		x.check(fmt.Sprintf("seed %d, step %d, %s", seed, step, x.step()))
	}
	if err := x.d.Close(); err != nil {
		x.t.Fatal(err)
	}
}
