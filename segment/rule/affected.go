// SPDX-License-Identifier: Apache-2.0

package rule

import (
	"slices"
	"time"
)

// Change is what may make rules answer differently.
type Change struct {
	Slots    []int // of the contact, of an account, of an edge: numbers of [Schema.Slot]
	Series   []int // numbers of [Set.Series]
	Counted  []int // numbers of [Set.Counted] of which a count changed
	Segments []int // rules whose answer changed
	Pairs    bool  // the contact has another account, or one less
	Time     bool  // time went on
}

// index leads from what changed to the rules that read it.
type index struct {
	slots, series, counted, segments [][]int
	paired, timed                    []int

	countedBySlot, countedBySeries, countedBySegment [][]int
	countedTimed                                     []int
}

func (t *Set) newIndex() index {
	x := index{
		slots: make([][]int, t.schema.Len()), series: make([][]int, len(t.series)), counted: make([][]int, len(t.counted)), segments: make([][]int, t.Len()),
		countedBySlot: make([][]int, t.schema.Len()), countedBySeries: make([][]int, len(t.series)), countedBySegment: make([][]int, t.Len()),
	}
	put := func(in [][]int, keys []int, n int) {
		for _, key := range keys {
			in[key] = append(in[key], n)
		}
	}
	for i, r := range t.rules {
		if r == nil {
			continue
		}
		for _, name := range r.reads {
			put(x.slots, []int{t.schema.slots[name]}, i)
		}
		put(x.series, r.uses.series, i)
		put(x.counted, r.uses.counted, i)
		put(x.segments, r.uses.segments, i)
		if r.paired {
			x.paired = append(x.paired, i)
		}
		if r.TimeDependent() {
			x.timed = append(x.timed, i)
		}
	}
	for i := range t.counted {
		c := &t.counted[i]
		for name := range c.reads {
			put(x.countedBySlot, []int{t.schema.slots[name]}, i)
		}
		put(x.countedBySeries, c.uses.series, i)
		put(x.countedBySegment, c.uses.segments, i)
		if len(c.tickers) > 0 {
			x.countedTimed = append(x.countedTimed, i)
		}
	}
	return x
}

// Affected returns the rules that may answer differently, in the order of
// [Set.Order], those included that refer to one of them. A change of a contact
// reaches counts of its accounts by way of [Set.AffectedCounted]: where a
// condition's answer changed, so did a count, for all contacts of that account.
func (t *Set) Affected(what Change) []int {
	var out []int
	marked := make(Bits, (t.Len()+63)/64)
	mark := func(rules []int) {
		for _, i := range rules {
			if !marked.Has(i) {
				marked.Set(i, true)
				out = append(out, i)
			}
		}
	}
	of := func(lists [][]int, keys []int) {
		for _, key := range keys {
			mark(lists[key])
		}
	}
	of(t.index.slots, what.Slots)
	of(t.index.series, what.Series)
	of(t.index.counted, what.Counted)
	of(t.index.segments, what.Segments)
	if what.Pairs {
		mark(t.index.paired)
	}
	if what.Time {
		mark(t.index.timed)
	}
	for i := 0; i < len(out); i++ { // grows: those that refer to it, and so on
		mark(t.index.segments[out[i]])
	}
	slices.SortFunc(out, func(a, b int) int { return t.place[a] - t.place[b] })
	return out
}

// AffectedCounted returns the conditions about contacts whose answer for the
// changed contact may be another one; Segments are those that it entered or left.
func (t *Set) AffectedCounted(what Change) []int {
	var out []int
	of := func(lists [][]int, keys []int) {
		for _, key := range keys {
			out = append(out, lists[key]...)
		}
	}
	of(t.index.countedBySlot, what.Slots)
	of(t.index.countedBySeries, what.Series)
	of(t.index.countedBySegment, what.Segments)
	if what.Time {
		out = append(out, t.index.countedTimed...)
	}
	if what.Pairs {
		for i := range t.counted {
			out = append(out, i)
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// SeriesSpec is which events an event condition counts: their name, a filter of
// their properties, and the property that is summed.
type SeriesSpec struct {
	Event    string
	Filter   *Node  // nil = all
	Property string // "" = none is needed

	key  [16]byte
	keep eventTest // nil = all
}

// Key is the identity under which a series is stored.
func (sp *SeriesSpec) Key() [16]byte { return sp.key }

// Entry returns what the event leaves in the series, false if it does not belong
// there: it has another name, the filter does not hold, or the property is no number.
func (sp *SeriesSpec) Entry(e *Event) (Entry, bool) {
	if e.Name != sp.Event || sp.keep != nil && !sp.keep(e) {
		return Entry{}, false
	}
	out := Entry{Time: e.Time, Hash: hashMessage(e.Message), Account: e.Account}
	if sp.Property != "" {
		x := e.Properties[sp.Property]
		if x.kind != Number {
			return Entry{}, false
		}
		out.Value = x.Number()
	}
	return out, true
}

// Counted is one condition that rules ask of an account's contacts. Ask it of
// each contact with the values of its pair with that account, Members included.
type Counted struct {
	set     *Set
	text    string
	key     [16]byte
	match   predicate
	reads   map[string]bool
	uses    uses
	room    room
	tickers []ticker
}

// Key is the identity under which counts are stored. It changes with the
// segments that the condition refers to.
func (c *Counted) Key() [16]byte { return c.key }

// Text is the condition as canonical text.
func (c *Counted) Text() string { return c.text }

// Match reports whether the condition holds for one contact.
func (c *Counted) Match(v *Values) bool { return c.room.fits(v) && c.match(v) }

// NextChange is [Rule.NextChange] for the condition.
func (c *Counted) NextChange(v *Values) (time.Time, bool) {
	if !c.room.fits(v) {
		return time.Time{}, false
	}
	return nextChange(c.match, c.tickers, v)
}

// Count is of how many contacts of an account a condition holds.
type Count struct{ True, Of uint64 }

// Bits is a set of small numbers.
type Bits []uint64

// Has reports whether n is in the set.
func (b Bits) Has(n int) bool { return n>>6 < len(b) && b[n>>6]>>(n&63)&1 == 1 }

// Set puts n in or takes it out; n must be within the room of the set.
func (b Bits) Set(n int, in bool) {
	if in {
		b[n>>6] |= 1 << (n & 63)
	} else {
		b[n>>6] &^= 1 << (n & 63)
	}
}
