// SPDX-License-Identifier: Apache-2.0

package schedule

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

// TestChaosOfASlowDriver is TestChaos with a driver that takes its time, with acts of
// all kinds on all mail, pools that change and a clock that is set back. After every
// step the windows are held against the disk; now and then the machine is made to look at
// everything again, and finds nothing that it could have sent.
func TestChaosOfASlowDriver(t *testing.T) {
	t.Parallel()
	for seed := range uint64(20) {
		if !t.Run(fmt.Sprint(seed), func(t *testing.T) { slowRun(t, seed) }) {
			return
		}
	}
}

func slowRun(t *testing.T, seed uint64) {
	t.Helper()
	r := rand.New(rand.NewPCG(seed, 7))
	c := &chaos{world: newWorld(t, Options{
		Window: 1 + r.IntN(10), MaxWindow: 1 + r.IntN(200), MaxConnections: 3 + r.IntN(20), MaxLoads: 1 + r.IntN(4),
		MaxMoves: 1 + r.IntN(10), Rand: rand.New(rand.NewPCG(seed, 3)),
	}), r: r}
	c.configure()
	c.caps()
	c.stock()
	d := newDriver(c)
	for range 900 {
		d.event()
		d.turn()
		d.checkConnections()
		d.checkRest()
		d.checkWindows()
		d.checkExpired()
		if w := c.world.r.Wake; !w.IsZero() && w.Before(c.now) {
			t.Fatalf("wake %s is in the past at %s", w, c.now)
		}
		if r.IntN(5) == 0 {
			d.lookAgain()
		}
	}
	d.end()
}

func (d *driver) event() {
	r := d.r
	switch n := r.IntN(60); {
	case n < 5:
		d.arrive(backlogKey{fmt.Sprintf("d%d", r.IntN(9)), ClassID(1 + r.IntN(12))})
	case n < 16:
		d.finishOne()
	case n < 30:
		for range 1 + r.IntN(5) {
			d.answerOne()
		}
	case n < 38:
		d.turnPage()
	case n < 42:
		for range 1 + r.IntN(4) {
			if p, ok := d.someone(d.where, func(spot) bool { return true }); ok {
				d.apply(p.ID, d.someAct())
			}
		}
	case n < 44:
		if p, ok := d.someone(d.parked, func(spot) bool { return true }); ok {
			d.release(p)
		}
	case n == 44:
		old := func(p spot) bool {
			return !p.Expires.IsZero() && !p.Expires.After(d.now) && !d.changed[p.ID] && !d.flying[p.ID]
		}
		for p, ok := d.someone(d.where, old); ok; p, ok = d.someone(d.where, old) {
			d.apply(p.ID, func(spot) *spot { d.ended++; return nil })
		}
	case n == 45:
		d.setBack(time.Duration(r.IntN(1800)) * time.Second)
	case n == 46:
		m := []Member{{"a1", r.IntN(2)}, {"a2", r.IntN(2)}, {"w1", r.IntN(2)}}
		d.step(DefinePool{Name: []string{"cold", "mixed", "warm"}[r.IntN(3)], Members: m[r.IntN(3):]})
	default:
		d.outside()
	}
}

// outside is an event that has nothing to do with a message: one of TestChaos.
func (d *driver) outside() {
	list := []int{4, 5, 5, 6, 7, 8, 11, 12, 13, 14}
	d.chaosEvent(list[d.r.IntN(len(list))])
}

func (d *driver) setBack(by time.Duration) {
	if d.now.Add(-by).Truncate(24*time.Hour) != d.now.Truncate(24*time.Hour) {
		return
	}
	d.now, d.back = d.now.Add(-by), d.back+by
	d.step(SetBack{By: by})
}

// someone is a random recipient, the same for the same seed.
func (d *driver) someone(m map[ID]spot, match func(spot) bool) (spot, bool) {
	var list []spot
	for _, p := range m {
		if match(p) {
			list = append(list, p)
		}
	}
	if len(list) == 0 {
		return spot{}, false
	}
	slices.SortFunc(list, func(a, b spot) int {
		if a.ID.before(b.ID) {
			return -1
		}
		return 1
	})
	return list[d.r.IntN(len(list))], true
}

func (d *driver) answerOne() {
	if len(d.later) == 0 {
		return
	}
	i := d.r.IntN(len(d.later))
	f := d.later[i]
	d.later = slices.Delete(d.later, i, i+1)
	f()
}

// checkExpired checks that nobody is kept aside as expired who is not.
func (d *driver) checkExpired() {
	for id, fl := range d.m.flights {
		if p, ok := d.where[id]; fl.state == flightExpired && ok && !d.changed[id] && p.Expires.After(d.now) {
			d.t.Fatalf("%v counts as expired and expires at %s", id, d.at(p.Expires))
		}
	}
}

// lookAgain makes the machine look at everything when it has come to rest. Whatever it sends
// then, it had forgotten, but for what spends a budget: how much of that others could use, and
// so claim, is known as of when they were last asked.
func (d *driver) lookAgain() {
	m := d.m
	for range 1000 {
		for _, f := range d.leased {
			f()
		}
		d.leased = nil
		if d.turn(); d.rests() {
			break
		}
	}
	for _, s := range m.sourceList {
		m.refreshSource(s)
	}
	for _, l := range m.laneList {
		m.markLane(l)
	}
	for _, b := range slices.Clone(m.backlogList) {
		if dom := b.domain; dom.state == domainOK && (dom.until.IsZero() || dom.until.After(m.now)) {
			m.settleAll(b)
		}
	}
	dry := map[backlogKey]bool{}
	for k, b := range m.backlogs {
		dry[k] = b.main.len() == 0
	}
	d.turn()
	r := d.world.r
	for _, t := range r.Dial {
		d.checkForgotten(t.Transaction)
	}
	for _, t := range r.Send {
		d.checkForgotten(t.Transaction)
	}
	if len(r.Fail) > 0 {
		d.t.Fatalf("forgotten was %v", r.Fail)
	}
	for _, l := range r.Load {
		if dry[backlogKey{l.Domain, l.Class}] {
			d.t.Fatalf("forgotten was %v", l)
		}
	}
}

func (d *driver) checkForgotten(t Transaction) {
	if len(t.Charges) == 0 {
		d.t.Fatalf("forgotten was %v", t)
	}
}

// end brings what is under way to its end, and lets the chaos drain.
func (d *driver) end() {
	for {
		for len(d.letters)+len(d.later)+len(d.reading)+len(d.trans) > 0 {
			letters := d.letters
			d.letters = nil
			for _, f := range letters {
				f()
			}
			d.answerOne()
			d.turnPage()
			d.finishOne()
		}
		if len(d.parked) == 0 {
			break
		}
		p, _ := d.someone(d.parked, func(spot) bool { return true })
		d.release(p)
	}
	d.gone, d.left = d.ended, d.leave
	d.configure()
	d.drain()
}
