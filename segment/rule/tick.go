// SPDX-License-Identifier: Apache-2.0

package rule

import (
	"math"
	"slices"
	"time"
)

// never is after every instant.
const never = math.MaxInt64

// tick is the first instant after v.Now at which something changes by time
// alone, or may change; never if nothing does. One of a few for each condition.
type tick func(v *Values) int64

// ticker is a condition whose answer may change by time alone.
type ticker struct {
	test  predicate
	ticks []tick
	jump  tick // the same as next, where there is a faster way
}

// next is the first instant after v.Now at which the condition's own answer
// changes. It moves v.Now.
func (t *ticker) next(v *Values) int64 {
	if t.jump != nil {
		return t.jump(v)
	}
	answer := t.test(v)
	for {
		at := int64(never)
		for _, tick := range t.ticks {
			at = min(at, tick(v))
		}
		if at == never {
			return never
		}
		v.Now = time.UnixMicro(at).UTC()
		if t.test(v) != answer {
			return at
		}
	}
}

// NextChange returns the first instant after v.Now at which time alone changes
// the rule's answer for these values; false if none ever does. The answer is
// constant until the microsecond before. The built-in tier, segments and counts
// of contacts change by time as well; whoever sets them knows when. Meanwhile v is
// moved through time: nobody else may look at it.
func (r *Rule) NextChange(v *Values) (time.Time, bool) {
	if r == nil || len(r.tickers) == 0 || !r.room.fits(v) {
		return time.Time{}, false
	}
	return nextChange(r.match, r.tickers, v)
}

func nextChange(match predicate, tickers []ticker, v *Values) (time.Time, bool) {
	if len(tickers) == 0 {
		return time.Time{}, false
	}
	asked := v.Now
	defer func() { v.Now = asked }()
	answer := match(v)
	var room [8]int64 // most rules have few
	due := append(room[:0], make([]int64, len(tickers))...)
	for i := range tickers { // each moves v as it looks ahead
		due[i] = tickers[i].next(v)
		v.Now = asked
	}
	for {
		now := slices.Min(due)
		if now == never {
			return time.Time{}, false
		}
		v.Now = time.UnixMicro(now).UTC()
		if match(v) != answer {
			return v.Now, true
		}
		for i := range tickers {
			if due[i] == now {
				due[i] = tickers[i].next(v)
				v.Now = time.UnixMicro(now).UTC()
			}
		}
	}
}

// tick notes by which instants a condition may change.
func (c *compiler) tick(n Node, test predicate) {
	var ticks []tick
	for _, side := range [...]*Operand{n.Left, n.Right} {
		if side == nil {
			continue
		}
		if side.Events != nil {
			ticks = append(ticks, c.eventTicks(side, n)...)
		}
		if k := slices.Index(decayNames(), side.Attr); k >= 0 && n.Op != OpHas {
			ticks = append(ticks, c.decayTick(k, n))
		}
		if side.Now {
			ticks = append(ticks, c.nowTicks(n)...)
		}
	}
	if len(ticks) > 0 {
		c.tickers = append(c.tickers, ticker{test, ticks, c.countJump(n)})
	}
}

// nowTicks are where both sides are equal, and the microsecond after it.
func (c *compiler) nowTicks(n Node) []tick {
	other, offset := n.Left, micros(n.Right.Offset)
	if n.Left.Now {
		other, offset = n.Right, 0
	}
	if other.Events != nil {
		return nil // see eventTicks
	}
	return []tick{equality(c.instant(other), offset)}
}

// countJump follows a count against a number without asking anew at each step:
// two marks move over the entries, one for those that enter the window and one
// for those that leave it.
func (c *compiler) countJump(n Node) tick {
	if n.Left.Events == nil || n.Left.Events.Aggregate != Counting || n.Right == nil || n.Right.Number == nil {
		return nil
	}
	g, r, literal := c.gauge(n.Left.Events), relationOf(n.Op), *n.Right.Number
	return func(v *Values) int64 {
		entries, now, count := v.Series[g.series].Entries, v.Now.UnixMicro(), g.count(v)
		answer := compare(r, count, literal)
		enter, leave := upTo(entries, now-g.younger), len(entries)
		if !g.ever {
			leave = upTo(entries, now-g.older)
		}
		for enter < len(entries) || leave < len(entries) {
			at := int64(never)
			if enter < len(entries) {
				at = entries[enter].Time + g.younger
			}
			if leave < len(entries) {
				at = min(at, entries[leave].Time+g.older)
			}
			for ; enter < len(entries) && entries[enter].Time+g.younger == at; enter++ {
				count += g.one(entries[enter].Account, v)
			}
			for ; leave < len(entries) && entries[leave].Time+g.older == at; leave++ {
				count -= g.one(entries[leave].Account, v)
			}
			if compare(r, count, literal) != answer {
				return at
			}
		}
		return never
	}
}

// one is what an entry adds to a count.
func (g *gauge) one(account uint64, v *Values) float64 {
	if g.counts(account, v) {
		return 1
	}
	return 0
}

// eventTicks are where entries enter and leave a window, and, where the time of
// one is compared with now, where both are equal, and the microsecond after.
func (c *compiler) eventTicks(o *Operand, n Node) []tick {
	g := c.gauge(o.Events)
	shifts := []int64{g.younger}
	if !g.ever {
		shifts = append(shifts, g.older)
	}
	ticks := []tick{func(v *Values) int64 {
		s, now, next := &v.Series[g.series], v.Now.UnixMicro(), int64(never)
		for _, shift := range shifts {
			if i := upTo(s.Entries, now-shift); i < len(s.Entries) {
				next = min(next, s.Entries[i].Time+shift)
			}
		}
		return next
	}}
	if n.Right != nil && n.Right.Now {
		ticks = append(ticks, equality(g.instant, micros(n.Right.Offset)))
	}
	return ticks
}

// equality is where a time is equal to now + offset, and the microsecond after.
func equality(get func(v *Values) (int64, bool), offset int64) tick {
	return func(v *Values) int64 {
		now := v.Now.UnixMicro()
		switch at, ok := get(v); {
		case !ok:
			return never
		case at-offset > now:
			return at - offset
		case at-offset == now:
			return now + 1
		default:
			return never
		}
	}
}

// decayTick is where a decaying score crosses what it is compared with, which
// itself stays the same until its own next tick.
func (c *compiler) decayTick(k int, n Node) tick {
	cross := func(v *Values, level float64, next int64) int64 {
		d := &v.Decays[k]
		if d.HalfLife <= 0 {
			return next
		}
		for _, reached := range [...]bool{true, false} {
			if at, ok := d.Cross(level, reached, v.Now.UnixMicro()); ok {
				next = min(next, at)
			}
		}
		return next
	}
	if n.Op == OpIn {
		levels := n.Right.Numbers
		return func(v *Values) int64 {
			next := int64(never)
			for _, level := range levels {
				next = cross(v, level, next)
			}
			return next
		}
	}
	other := n.Right
	if !decaying(n.Left) {
		other = n.Left
	}
	get := c.number(other)
	return func(v *Values) int64 {
		if level, ok := get(v); ok {
			return cross(v, level, never)
		}
		return never
	}
}
