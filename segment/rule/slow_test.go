// SPDX-License-Identifier: Apache-2.0

package rule

import (
	"cmp"
	"maps"
	"math"
	"slices"
	"strings"
	"time"
)

// slow is the second implementation: for every question it walks the tree and
// the raw history again. It knows no series, no windows as ranges, no sets.
type slow struct {
	defs   map[string]Definition
	trees  map[string]Node // of Where
	people []*person
	now    time.Time
}

// member reports whether a contact is in a segment.
func (w *slow) member(name string, p *person) bool {
	if len(p.accounts) == 0 {
		return w.holds(name, p, 0)
	}
	return slices.ContainsFunc(p.accounts, func(account uint64) bool { return w.holds(name, p, account) })
}

func (w *slow) holds(name string, p *person, account uint64) bool {
	d := w.defs[name]
	listed := func(lists []string) bool {
		return slices.ContainsFunc(lists, func(l string) bool { return slices.Contains(p.values["lists"].List(), l) })
	}
	text := w.trees[name]
	q := question{w, p, account, w.speaksOfAccounts(text)}
	return (q.ask(text) || listed(d.Include)) && !listed(d.Exclude)
}

// speaksOfAccounts looks for what makes a rule one about pairs, in its text.
func (w *slow) speaksOfAccounts(n Node) bool {
	text, err := n.Print()
	if err != nil {
		panic(err)
	}
	return strings.Contains(text, "account.") || strings.Contains(text, "role ") || strings.Contains(text, "account_score") ||
		strings.Contains(text, "contact(") || strings.Contains(text, "contacts(")
}

// question is one contact, seen as a member of one account.
type question struct {
	*slow
	me      *person
	account uint64
	pair    bool
}

func (q question) ask(n Node) bool {
	switch n.Kind {
	case KindConst:
		return n.Value
	case KindNot:
		return !q.ask(n.Nodes[0])
	case KindAll:
		return !slices.ContainsFunc(n.Nodes, func(c Node) bool { return !q.ask(c) })
	case KindAny:
		return slices.ContainsFunc(n.Nodes, q.ask)
	case KindSegment:
		return q.member(n.Segment, q.me)
	case KindTest:
	}
	switch n.Op {
	case OpAnyContact:
		yes, _ := q.colleagues(n.Left.Contacts)
		return yes > 0
	case OpAllContacts:
		yes, of := q.colleagues(n.Left.Contacts)
		return of > 0 && yes == of
	default:
		return leaf(n, q.look)
	}
}

// leaf is a condition with two sides.
func leaf(n Node, look func(o *Operand) any) bool {
	left := look(n.Left)
	if left == nil {
		return false
	}
	if n.Op == OpHas {
		return true
	}
	if n.Op == OpIs {
		return left == true
	}
	return relate(n.Op, left, look(n.Right))
}

// colleagues counts the contacts of the account for which a condition holds.
func (q question) colleagues(n *Node) (yes, of int) {
	if q.account == 0 {
		return 0, 0
	}
	for _, p := range q.people {
		if slices.Contains(p.accounts, q.account) {
			of++
			if (question{q.slow, p, q.account, true}).ask(*n) {
				yes++
			}
		}
	}
	return yes, of
}

// look is what an operand stands for as a plain Go value, nil where missing.
func (q question) look(o *Operand) any {
	switch {
	case o.Events != nil:
		x := q.aggregate(o.Events)
		if t, ok := x.(time.Time); ok {
			return t.Add(time.Duration(o.Offset))
		}
		return x
	case o.Bucket != "":
		return bucketOf(seedOf(o.Bucket), q.me.id) // TestBucket says what it is
	case o.Contacts != nil:
		yes, _ := q.colleagues(o.Contacts)
		return float64(yes)
	}
	if k := slices.Index(decayNames(), o.Attr); k >= 0 {
		if d := q.me.decays[k]; d.HalfLife > 0 {
			return slowDecay(d, q.now)
		}
	}
	values := map[string]Value{}
	for _, from := range []map[string]Value{q.me.values, q.me.of[q.account]} {
		maps.Copy(values, from)
	}
	return look(o, values, q.now)
}

func slowDecay(d Decay, now time.Time) float64 {
	halves := float64(now.UnixMicro()-d.At) / float64(d.HalfLife.Microseconds())
	x := d.Value * math.Exp2(-halves)
	if x < 0 {
		x = 0
	}
	if x > d.Max {
		x = d.Max
	}
	return d.Base + x
}

// aggregate goes through the history, as it came.
func (q question) aggregate(e *Events) any {
	var all []Event
	for _, x := range q.me.events {
		if x.Name != e.Name || e.Where != nil && !keeps(*e.Where, x) {
			continue
		}
		if x.Properties[e.Property].Type() != Number && e.Property != "" {
			continue
		}
		if !slices.ContainsFunc(all, func(y Event) bool { return y.Time == x.Time && y.Message == x.Message }) {
			all = append(all, x)
		}
	}
	slices.SortFunc(all, func(a, b Event) int {
		return cmp.Or(cmp.Compare(a.Time, b.Time), cmp.Compare(hashMessage(a.Message), hashMessage(b.Message)))
	})
	if len(all) > MaxEntries && (e.Older != 0 || e.Aggregate == DistinctDays) {
		all = all[len(all)-MaxEntries:]
	}
	all = slices.DeleteFunc(all, func(x Event) bool {
		age := q.now.Sub(time.UnixMicro(x.Time))
		other := q.pair && x.Account != 0 && x.Account != q.account
		return other || age < time.Duration(e.Younger) || e.Older != 0 && age >= time.Duration(e.Older)
	})
	return fold(e, all)
}

func fold(e *Events, all []Event) any {
	sum, days := 0.0, map[string]bool{}
	var numbers []float64
	for _, x := range all {
		n := x.Properties[e.Property].Number()
		sum += n
		numbers = append(numbers, n)
		days[time.UnixMicro(x.Time).UTC().Format(time.DateOnly)] = true
	}
	switch {
	case e.Aggregate == Counting:
		return float64(len(all))
	case e.Aggregate == Sum:
		return sum
	case e.Aggregate == DistinctDays:
		return float64(len(days))
	case len(all) == 0:
		return nil
	case e.Aggregate == Avg:
		return sum / float64(len(all))
	case e.Aggregate == Min:
		return slices.Min(numbers)
	case e.Aggregate == Max:
		return slices.Max(numbers)
	case e.Aggregate == First:
		return time.UnixMicro(all[0].Time).UTC()
	default:
		return time.UnixMicro(all[len(all)-1].Time).UTC()
	}
}

// keeps is the filter of events.
func keeps(n Node, e Event) bool {
	switch n.Kind {
	case KindConst:
		return n.Value
	case KindNot:
		return !keeps(n.Nodes[0], e)
	case KindAll:
		return !slices.ContainsFunc(n.Nodes, func(c Node) bool { return !keeps(c, e) })
	case KindAny:
		return slices.ContainsFunc(n.Nodes, func(c Node) bool { return keeps(c, e) })
	default:
	}
	return leaf(n, func(o *Operand) any {
		if o == nil || o.Property == "" {
			return look(o, nil, time.Time{})
		}
		x := e.Properties[o.Property]
		y := look(&Operand{Attr: "x"}, map[string]Value{"x": x}, time.Time{})
		if n.Right == nil {
			return y
		}
		switch n.Right != nil {
		case n.Right.Time != nil && x.Type() == Text:
			t, err := time.Parse(time.RFC3339, x.Text())
			if err != nil {
				if t, err = time.Parse(time.DateOnly, x.Text()); err != nil {
					return nil
				}
			}
			return t
		case n.Right.Time != nil && x.Type() != Time,
			(n.Right.Number != nil || n.Right.Numbers != nil) && x.Type() != Number,
			(n.Right.Text != nil || n.Right.Texts != nil) && x.Type() != Text,
			n.Right.Boolean != nil && x.Type() != Boolean:
			return nil
		}
		return y
	})
}
