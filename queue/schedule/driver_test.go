// SPDX-License-Identifier: Apache-2.0

package schedule

import (
	"slices"
	"time"
)

// driver is a chaos in which everything takes its time, as it does in package queue: what
// reaches the disk is told later, and answers come when other things have happened.
type driver struct {
	*chaos
	where   map[ID]spot   // on disk
	parked  map[ID]spot   // under a hold
	waiting map[ID]func() // acts on mail in flight
	landing map[Conn]bool // the conclusion is on disk
	letters []func()      // of the last turn: they come before any answer
	later   []func()      // answers to come, in any order
	leased  []func()      // of them, those of leases
	ended   int
}

// spot is where a recipient is on disk.
type spot struct {
	backlogKey
	Item
}

// act is what becomes of a recipient: where it is afterwards, nil = it has ended.
type act func(spot) *spot

func newDriver(c *chaos) *driver {
	d := &driver{chaos: c, where: map[ID]spot{}, parked: map[ID]spot{}, waiting: map[ID]func(){}, landing: map[Conn]bool{}}
	c.changed = map[ID]bool{}
	c.left = func(backlogKey, ID) {} // not when the disk has changed, but when that is told
	for k, list := range c.disk {
		for _, it := range list {
			d.where[it.ID] = spot{k, it}
		}
	}
	return d
}

func (d *driver) post(f func()) { d.later = append(d.later, f) }

func (d *driver) on(p spot)  { d.where[p.ID] = p; d.store(p.domain, p.class, p.Item) }
func (d *driver) off(p spot) { delete(d.where, p.ID); d.erase(p.domain, p.class, p.Item) }

// tell ends a change: the machine hears where the recipient is now.
func (d *driver) tell(old spot, next *spot) {
	delete(d.changed, old.ID)
	d.leave(old.backlogKey, old.ID)
	if next != nil {
		d.step(Queued{Domain: next.domain, Class: next.class, Item: next.Item})
	}
}

// turn reads the letters, asks the machine, and begins to carry out what it decided.
func (d *driver) turn() {
	letters := d.letters
	d.letters = nil
	for _, f := range letters {
		f()
	}
	d.take()
	r := d.world.r
	for _, l := range r.Load {
		d.ask(l)
	}
	for _, l := range r.Lease {
		d.lease(l)
	}
	for _, name := range r.Resolve {
		d.post(func() { d.resolve(name) })
	}
	for _, mv := range r.Move {
		d.decided(backlogKey{mv.Domain, mv.Class}, mv.Item.ID)
	}
	for _, f := range r.Fail {
		d.decided(backlogKey{f.Domain, f.Class}, f.Item.ID)
	}
	for _, c := range r.Close {
		d.closing[c] = true
		d.post(func() { d.step(&ConnDown{Conn: c}) })
	}
	for _, t := range r.Dial {
		d.begin(t.Conn, t.Transaction)
	}
	for _, t := range r.Send {
		d.begin(t.Conn, t.Transaction)
	}
}

// rests reports whether the last Take asked for nothing.
func (d *driver) rests() bool {
	r := d.world.r
	return len(r.Load)+len(r.Lease)+len(r.Resolve)+len(r.Move)+len(r.Fail)+len(r.Close)+len(r.Dial)+len(r.Send) == 0
}

func (d *driver) resolve(name string) {
	f, ok := d.sites[name]
	if !ok {
		f = Resolved{Domain: name, Site: "mx." + name}
	}
	d.step(f)
}

func (d *driver) lease(l Lease) {
	done := false
	f := func() {
		if c := d.world.caps[l.Key]; !done && c != nil && c.Day == l.Day {
			d.leases[l.Key] = l.Total
		}
		if !done {
			d.step(Leased(l))
		}
		done = true
	}
	d.post(f)
	d.leased = append(d.leased, f)
}

// decided carries out a Move or a Fail, for which somebody else may have been faster.
func (d *driver) decided(k backlogKey, id ID) {
	d.letters = append(d.letters, func() {
		if d.r.IntN(4) == 0 {
			d.apply(id, d.someAct())
		}
		if _, ok := d.where[id]; !ok && !d.flying[id] && !d.changed[id] {
			d.step(Gone{Domain: k.domain, Class: k.class, ID: id})
			return
		}
		d.apply(id, d.someAct())
	})
}

// someAct is an operator's, a policy's, or the outcome of a decision.
func (d *driver) someAct() act {
	kind, cl, wait := d.r.IntN(8), ClassID(1+d.r.IntN(12)), time.Duration(d.r.IntN(3600))*time.Second
	return func(p spot) *spot {
		switch kind {
		case 0, 1:
			p.class = cl
		case 2:
			p.Due = p.Due.Add(wait)
		case 3:
			p.Due = d.now
		case 4: // nothing to do
		case 5:
			d.parked[p.ID] = p
			return nil
		default:
			d.ended++
			return nil
		}
		return &p
	}
}

// apply is the driver's act on a recipient: the machine lets go of it, the disk
// changes, and the machine hears of it. One in ten fails.
func (d *driver) apply(id ID, a act) {
	if d.flying[id] {
		d.waiting[id] = func() { d.apply(id, a) }
		return
	}
	p, ok := d.where[id]
	if !ok || d.changed[id] {
		return
	}
	d.changed[id] = true
	d.step(Gone{Domain: p.domain, Class: p.class, ID: id})
	d.leave(p.backlogKey, id)
	d.post(func() {
		next := &p
		if d.r.IntN(10) > 0 {
			d.off(p)
			if next = a(p); next != nil {
				d.on(*next)
			}
		}
		d.post(func() { d.tell(p, next) })
	})
}

// arrive is new mail, which may be on disk before it is told.
func (d *driver) arrive(k backlogKey) {
	for range 1 + d.r.IntN(30) {
		p := spot{k, d.item()}
		d.on(p)
		d.changed[p.ID] = true
		d.post(func() { d.tell(spot{Item: p.Item}, &p) })
	}
}

// release gives parked mail back.
func (d *driver) release(p spot) {
	if d.changed[p.ID] {
		return
	}
	d.changed[p.ID] = true
	d.post(func() {
		delete(d.parked, p.ID)
		if d.r.IntN(2) == 0 {
			p.Due = d.now
		}
		d.on(p)
		d.post(func() { d.tell(p, &p) })
	})
}

// outcome is how a transaction ends.
type outcome struct {
	Concluded
	down, first, failed bool // the connection ends, before the conclusion is told, and it failed
	kind                int
	retry               time.Time // zero = delivered
	pin                 bool
}

// finishOne ends a random transaction: the disk first, and then the machine.
func (d *driver) finishOne() {
	var list []Conn
	for id := range d.trans {
		if !d.landing[id] {
			list = append(list, id)
		}
	}
	if len(list) == 0 {
		return
	}
	slices.Sort(list)
	id := list[d.r.IntN(len(list))]
	o := outcome{Concluded: Concluded{Conn: id}, kind: d.r.IntN(6), pin: d.r.IntN(2) == 0}
	if d.r.IntN(2) == 0 {
		o.retry = d.now.Add(time.Duration(d.r.IntN(1800)) * time.Second)
	}
	switch d.r.IntN(6) {
	case 0:
		o.retry, o.pin, o.down, o.failed = d.now.Add(time.Minute), false, true, true
		for _, it := range d.trans[id].Items {
			if t := d.trans[id]; len(t.Charges) > 0 && it.Charged != (Charge{t.Source, t.Day}) {
				o.Refunded++
			}
		}
	case 1:
		o.down, o.first, o.failed = true, true, d.r.IntN(2) == 0
	default:
		d.step(ConnUp{Conn: id})
		o.Usable = true
	}
	d.land(o)
}

// land writes what became of a transaction. Of some kinds nothing is written, the mail
// changes its class, or it rests for a while.
func (d *driver) land(o outcome) {
	t := d.trans[o.Conn]
	d.landing[o.Conn] = true
	next := make([]*spot, len(t.Items))
	for i, it := range t.Items {
		p, ok := d.where[it.ID]
		if !ok || p.backlogKey != (backlogKey{t.Domain, t.Class}) {
			d.t.Fatalf("%v flies from %s and is at %v %v", it.ID, t.Domain, p, ok)
		}
		if o.kind == 0 {
			next[i] = &p
			continue
		}
		if d.off(p); o.retry.IsZero() {
			d.ended++
			continue
		}
		p.Due = o.retry
		if o.pin {
			p.Pin, p.PinUntil = t.Source, d.now.Add(4*time.Hour)
		}
		if t.Day != 0 && o.Refunded == 0 {
			p.Charged = Charge{t.Source, t.Day}
		}
		if o.kind == 1 {
			p.class = ClassID(1 + d.r.IntN(12))
		}
		d.on(p)
		next[i] = &p
	}
	d.post(func() { d.landed(o, t, next) })
}

func (d *driver) landed(o outcome, t Transaction, next []*spot) {
	old := backlogKey{t.Domain, t.Class}
	for i, it := range t.Items {
		delete(d.flying, it.ID)
		from, to := spot{old, it}, next[i]
		if d.tell(from, nil); to != nil && o.kind == 2 {
			d.changed[it.ID] = true
			d.post(func() { d.tell(from, to) })
		} else if to != nil {
			d.tell(from, to)
		}
		if w := d.waiting[it.ID]; w != nil {
			delete(d.waiting, it.ID)
			d.post(w)
		}
	}
	for _, k := range t.Charges {
		if c := d.world.caps[k]; c != nil && c.Day == t.Day {
			d.charge[k] -= o.Refunded
		}
	}
	delete(d.trans, o.Conn)
	delete(d.landing, o.Conn)
	if o.first {
		d.step(&ConnDown{Conn: o.Conn, Failed: o.failed})
	}
	d.step(&o.Concluded)
	if o.down && !o.first {
		d.step(&ConnDown{Conn: o.Conn, Failed: o.failed})
	}
}
