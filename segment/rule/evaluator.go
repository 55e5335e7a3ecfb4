// SPDX-License-Identifier: Apache-2.0

package rule

import (
	"math/bits"
	"slices"
	"time"
)

// Evaluator asks many rules of a [Set] of one contact at once. It says what
// [Rule.Match] says of each of them, one by one in [Set.Order], for much less:
// what a value of one attribute excludes is looked up for all rules together, see
// sieve, and a condition that rules share is asked once. Reuse it from contact to
// contact; it is not safe for concurrent use.
type Evaluator struct {
	set   *Set
	pairs []*Values
	in    Bits   // by number: the answers
	open  []Bits // by pair, of rules by place: nothing that stays the same excludes them
	left  []Bits // the same: nothing that was asked excludes them
	held  []Bits // by pair, of conditions: they were asked, and hold
}

// Selection is some rules of a [Set], for [Evaluator.Ask].
type Selection struct{ places Bits }

// Select selects rules by number.
func (t *Set) Select(numbers []int) Selection {
	s := Selection{make(Bits, words(len(t.rules)))}
	for _, i := range numbers {
		s.places.Set(t.place[i], t.rules[i] != nil)
	}
	return s
}

// NewEvaluator returns an evaluator for the rules of the set.
func (t *Set) NewEvaluator() *Evaluator {
	return &Evaluator{set: t, in: make(Bits, words(len(t.rules)))}
}

// Ask asks the selected rules of a contact, once for each of its accounts where a
// rule is [Rule.Paired]. The values are from [Set.NewValues]. count is called for
// each number of [Set.Counted] before the first rule that reads it, with the answers
// of all rules before that one in Members, and sets Counts. Members of the selected
// rules that others refer to are set here. The answers, by number, are valid until
// the next call.
func (e *Evaluator) Ask(pairs []*Values, which Selection, count func(k int)) Bits {
	e.begin(pairs, which)
	for _, r := range e.set.together.runs {
		for _, k := range r.first {
			count(k)
		}
		e.run(r.from, r.to)
	}
	return e.in
}

// NextChange returns the first instant after now at which time alone changes one
// of the answers that Ask gave for a pair; see [Rule.NextChange].
func (e *Evaluator) NextChange() (time.Time, bool) {
	var next time.Time
	found := false
	for n, v := range e.pairs {
		for w, word := range e.set.together.timed {
			for word &= e.open[n][w]; word != 0; word &= word - 1 {
				r := e.set.rules[e.set.order[w<<6+bits.TrailingZeros64(word)]]
				if at, ok := r.NextChange(v); ok && (!found || at.Before(next)) {
					next, found = at, true
				}
			}
		}
	}
	return next, found
}

// begin forgets the last contact, and sifts the rules.
func (e *Evaluator) begin(pairs []*Values, which Selection) {
	t := e.set
	e.pairs = pairs
	clear(e.in)
	for _, place := range t.together.referred {
		for _, v := range pairs {
			if which.places.Has(place) {
				v.Members.Set(t.order[place], false)
			}
		}
	}
	t.setStages(pairs)
	for len(e.open) < len(pairs) {
		e.open = append(e.open, make(Bits, len(e.in)))
		e.left = append(e.left, make(Bits, len(e.in)))
		e.held = append(e.held, make(Bits, words(len(t.together.conditions))))
	}
	for n, v := range pairs {
		open := e.open[n]
		copy(open, which.places)
		if n > 0 {
			open.and(t.together.paired)
		}
		for i := range t.together.sieves {
			x := &t.together.sieves[i]
			open.and(x.passes(&v.Slots[x.slot]))
		}
		copy(e.left[n], open)
		clear(e.held[n])
	}
}

// run asks the rules from one place up to another.
func (e *Evaluator) run(from, to int) {
	for w := from >> 6; w<<6 < to; w++ {
		word := uint64(0)
		for n := range e.pairs {
			word |= e.left[n][w]
		}
		if w == from>>6 {
			word &= ^uint64(0) << (from & 63)
		}
		for ; word != 0; word &= word - 1 {
			place := w<<6 + bits.TrailingZeros64(word)
			if place >= to {
				break
			}
			e.ask(place)
		}
	}
}

// ask asks one rule: it holds when it does for one of the pairs.
func (e *Evaluator) ask(place int) {
	t := e.set
	for n := range e.pairs {
		if !e.left[n].Has(place) || !e.holds(n, t.together.rest[place]) {
			continue
		}
		i := t.order[place]
		e.in.Set(i, true)
		if t.Referred(i) {
			t.Refer(e.pairs, i, true)
		}
		return
	}
}

// holds asks those conditions of a pair that were not asked before. One that does
// not hold excludes all rules that need it.
func (e *Evaluator) holds(n int, list []int) bool {
	for _, k := range list {
		if e.held[n].Has(k) {
			continue
		}
		c := &e.set.together.conditions[k]
		if c.test(e.pairs[n]) {
			e.held[n].Set(k, true)
			continue
		}
		e.left[n].without(c.users)
		if c.lasting {
			e.open[n].without(c.users)
		}
		return false
	}
	return true
}

// together is what a set needs for an [Evaluator]. Rules are seen by their place in
// the order of the set.
type together struct {
	conditions []condition
	parts      [][]int // by number of the rule: the conditions that must all hold
	sieves     []sieve
	rest       [][]int // by place: those of the conditions that no sieve decides
	timed      Bits    // by place: rules whose answer may change by time alone
	paired     Bits    // by place
	referred   []int   // places of rules whose answer other rules or conditions about contacts read
	runs       []run
	known      map[string]int // conditions by text, while the set is compiled
}

// condition is a part of a rule that must hold for the rule to hold.
type condition struct {
	test    predicate
	node    *Node
	users   Bits // by place: the rules of which it is a part
	lasting bool // time alone does not change its answer
}

// run is rules next to each other in the order of the set that are asked without a
// count in between.
type run struct {
	from, to int
	first    []int // conditions about contacts to ask before
}

// conjunction compiles a tree, and returns the conditions that must all hold.
func (c *compiler) conjunction(n *Node) (predicate, []condition) {
	nodes := []Node{*n}
	if n.Kind == KindAll {
		nodes = n.Nodes
	}
	list, tests := make([]condition, len(nodes)), make([]predicate, len(nodes))
	for i := range nodes {
		before := len(c.tickers)
		tests[i] = c.node(nodes[i])
		list[i] = condition{test: tests[i], node: &nodes[i], lasting: len(c.tickers) == before}
	}
	if len(tests) == 1 {
		return tests[0], list
	}
	return all(tests), list
}

// share notes the conditions of a rule: equal ones of several rules are one. Rules
// that are asked of accounts count events otherwise than the others.
func (t *Set) share(number int, pair bool, list []condition) {
	x := &t.together
	for i := range list {
		text, err := list[i].node.Print()
		if pair {
			text = "pair " + text
		}
		k, ok := x.known[text]
		if !ok || err != nil {
			k = len(x.conditions)
			x.known[text] = k
			list[i].users = make(Bits, words(len(t.rules)))
			x.conditions = append(x.conditions, list[i])
		}
		x.conditions[k].users.Set(t.place[number], true)
		if !slices.Contains(x.parts[number], k) {
			x.parts[number] = append(x.parts[number], k)
		}
	}
}

// newTogether prepares [Evaluator], when everything else is compiled.
func (t *Set) newTogether() {
	x := &t.together
	x.known = nil
	decided := t.newSieves()
	n := words(len(t.rules))
	x.rest, x.timed, x.paired = make([][]int, len(t.rules)), make(Bits, n), make(Bits, n)
	x.runs = []run{{}}
	for place, i := range t.order {
		if t.Referred(i) {
			x.referred = append(x.referred, place)
		}
		if first := t.First(i); len(first) > 0 {
			x.runs = append(x.runs, run{from: place, first: first})
		}
		x.runs[len(x.runs)-1].to = place + 1
		r := t.rules[i]
		if r == nil {
			continue
		}
		x.timed.Set(place, r.TimeDependent())
		x.paired.Set(place, r.paired)
		for _, k := range x.parts[i] {
			if !decided.Has(k) {
				x.rest[place] = append(x.rest[place], k)
			}
		}
	}
}

// words is the length of [Bits] that have room for n.
func words(n int) int { return (n + 63) / 64 }

// and takes out what is not in the other set, which is as long.
func (b Bits) and(o Bits) {
	for w := range b {
		b[w] &= o[w]
	}
}

// without takes out what is in the other set.
func (b Bits) without(o Bits) {
	for w := range b {
		b[w] &^= o[w]
	}
}
