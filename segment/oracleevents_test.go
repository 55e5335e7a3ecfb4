// SPDX-License-Identifier: Apache-2.0

package segment

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"time"

	"github.com/seguemta/segue/mta/event"
	"github.com/seguemta/segue/segment/tier"
)

// act is one event as the slow evaluator keeps it.
type act struct {
	name    string
	at      time.Time
	message string
	account string // "" = of none
	total   float64
	valued  bool // total is a number
	plan    string
}

// window is which events count: of a name, of an age, that pass a test.
type window struct {
	name           string
	older, younger int // days; older 0 = ever
	test           func(*act) bool
}

// of returns what counts, oldest or newest in no order.
func (x *window) of(w *world, p *person, paired bool) (list []*act) {
	for i := range p.acts {
		a := &p.acts[i]
		age := w.now.Sub(a.at)
		switch {
		case a.name != x.name, age < 0, age < time.Duration(x.younger)*tier.Day:
		case x.older > 0 && age >= time.Duration(x.older)*tier.Day:
		case x.test != nil && !x.test(a):
		case paired && a.account != "" && a.account != p.account:
		default:
			list = append(list, a)
		}
	}
	return list
}

// randomWindow makes a window, and its text.
func randomWindow(rng *rand.Rand) (*window, string) {
	x := &window{name: []string{"Order", "Visit", EventEmailDelivered}[rng.IntN(3)]}
	text := fmt.Sprintf("events(%q)", x.name)
	switch rng.IntN(4) {
	case 0:
	case 1:
		x.younger = 1 + rng.IntN(20)
		x.older = x.younger + 1 + rng.IntN(40)
		text += fmt.Sprintf(".between(days(%d), days(%d))", x.older, x.younger)
	default:
		x.older = 1 + rng.IntN(60)
		text += fmt.Sprintf(".within(days(%d))", x.older)
	}
	switch rng.IntN(4) {
	case 0:
		least := float64(rng.IntN(100))
		x.test = func(a *act) bool { return a.valued && a.total > least }
		text += fmt.Sprintf(".where(property.total > %v)", least)
	case 1:
		plan := randomStatus(rng)
		x.test = func(a *act) bool { return a.plan != plan }
		text += fmt.Sprintf(".where(property.plan != %q)", plan)
	}
	return x, text
}

// randomEventCondition makes a condition on events.
func randomEventCondition(rng *rand.Rand) condition {
	x, text := randomWindow(rng)
	n := rng.IntN(4)
	number := func(what string, of func([]*act) (float64, bool), least float64) condition {
		return condition{text: fmt.Sprintf("%s%s >= %v", text, what, least), holds: func(w *world, p *person, paired bool) bool {
			got, ok := of(x.of(w, p, paired))
			return ok && got >= least
		}}
	}
	valued := func(list []*act) (sum, least, most float64, n int) {
		for _, a := range list {
			if !a.valued {
				continue
			}
			if n++; n == 1 {
				least, most = a.total, a.total
			}
			sum, least, most = sum+a.total, min(least, a.total), max(most, a.total)
		}
		return sum, least, most, n
	}
	switch rng.IntN(8) {
	case 0: // entered by silence
		return condition{text: text + ".count() == 0", holds: func(w *world, p *person, paired bool) bool { return len(x.of(w, p, paired)) == 0 }}
	case 1:
		return number(`.sum("total")`, func(list []*act) (float64, bool) { s, _, _, _ := valued(list); return s, true }, float64(n*50))
	case 2:
		return number(`.min("total")`, func(list []*act) (float64, bool) { _, s, _, n := valued(list); return s, n > 0 }, float64(n*20))
	case 3:
		return number(`.max("total")`, func(list []*act) (float64, bool) { _, _, s, n := valued(list); return s, n > 0 }, float64(n*20))
	case 4:
		return number(".distinct_days()", func(list []*act) (float64, bool) {
			days := map[int64]bool{}
			for _, a := range list {
				days[a.at.Unix()/(24*3600)] = true
			}
			return float64(len(days)), true
		}, float64(n))
	case 5:
		ago := 1 + rng.IntN(30)
		return condition{text: fmt.Sprintf("%s.last() <= now - days(%d)", text, ago), holds: func(w *world, p *person, paired bool) bool {
			var last time.Time
			for _, a := range x.of(w, p, paired) {
				if a.at.After(last) {
					last = a.at
				}
			}
			return !last.IsZero() && w.now.Sub(last) >= time.Duration(ago)*tier.Day
		}}
	default:
		return number(".count()", func(list []*act) (float64, bool) { return float64(len(list)), true }, float64(n))
	}
}

// track has a person do something, by a call or by a row of a file, late or not,
// and sometimes again. Some have no name yet, some get one.
func (x *trial) track() {
	x.file++
	a := act{name: []string{"Order", "Visit"}[x.rng.IntN(2)], message: fmt.Sprint("m", x.file)}
	a.at = x.w.now.Add(-time.Duration(x.rng.IntN(2)*x.rng.IntN(80*24*3600)) * time.Second).Truncate(time.Microsecond)
	c := Call{Kind: CallTrack, MessageID: a.message, Event: a.name, Time: a.at, Properties: map[string]any{}}
	if x.rng.IntN(4) > 0 {
		a.total, a.valued = float64(x.rng.IntN(150)), true
		c.Properties["total"] = a.total
	}
	if x.rng.IntN(2) > 0 {
		a.plan = randomStatus(x.rng)
		c.Properties["plan"] = a.plan
	}
	if x.rng.IntN(3) == 0 {
		a.account = fmt.Sprintf("acme%d", x.rng.IntN(3))
		c.Context.GroupID = a.account
	}
	address := fmt.Sprintf("u%d@example.com", x.rng.IntN(25))
	if x.rng.IntN(4) == 0 {
		c.Anonymous = fmt.Sprint("anon", x.rng.IntN(5))
		if owner := x.w.named[c.Anonymous]; owner != "" {
			p := x.w.person(owner)
			p.acts = append(p.acts, a)
		} else {
			x.w.visits[c.Anonymous] = append(x.w.visits[c.Anonymous], a)
		}
		x.ingest(c)
		if x.rng.IntN(3) == 0 {
			x.name(c.Anonymous, address)
		}
		return
	}
	c.Email = address
	p := x.w.person(address)
	p.acts = append(p.acts, a)
	if x.rng.IntN(4) == 0 {
		x.importEvent(&c, &a)
	} else {
		x.ingest(c)
	}
}

// name tells whose an anonymous id is.
func (x *trial) name(anonymous, address string) {
	p := x.w.person(address)
	p.acts = append(p.acts, x.w.visits[anonymous]...)
	delete(x.w.visits, anonymous)
	x.w.named[anonymous] = address
	x.file++
	x.ingest(Call{Kind: CallIdentify, MessageID: fmt.Sprint("m", x.file), Anonymous: anonymous, Email: address, Time: x.w.now})
}

// ingest makes a call; one that comes again changes nothing.
func (x *trial) ingest(c Call) {
	x.t.Helper()
	for again := range 1 + x.rng.IntN(2) {
		before := x.d.LastFlip()
		errs, err := x.d.Ingest(context.Background(), []Call{c})
		if err != nil || errs[0] != nil {
			x.t.Fatal(errs, err)
		}
		if again > 0 && x.d.LastFlip() != before {
			x.t.Fatal("a call counted twice")
		}
	}
}

func (x *trial) importEvent(c *Call, a *act) {
	x.t.Helper()
	columns, cells := []string{"email", "event", "time", "message_id", "group_id"}, []string{c.Email, a.name, a.at.Format(time.RFC3339Nano), a.message, a.account}
	if a.valued {
		columns, cells = append(columns, "prop.total"), append(cells, fmt.Sprint(a.total))
	}
	if a.plan != "" {
		columns, cells = append(columns, "prop.plan"), append(cells, a.plan)
	}
	for range 1 + x.rng.IntN(2) {
		x.file++
		text := strings.Join(columns, ",") + "\n" + strings.Join(cells, ",") + "\n"
		if r, bad, err := load(x.t, x.d, fmt.Sprintf("%d.csv", x.file), text); err != nil || bad != "" {
			x.t.Fatal(r, bad, err)
		}
	}
}

// acted is a mail event in a person's log.
func (p *person) acted(e *event.Event) {
	if name := mailEventName(e.Kind); name != "" {
		p.acts = append(p.acts, act{name: name, at: e.Time})
	}
}
