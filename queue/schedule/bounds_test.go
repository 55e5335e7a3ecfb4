// SPDX-License-Identifier: Apache-2.0

package schedule

import (
	"cmp"
	"time"
)

// bounds is what a world knows of limits and holds at providers, in the obvious
// form: it counts connections and transactions, and remembers every recipient that a
// rate has let pass.
type bounds struct {
	providers map[string]DefineProvider
	classes   map[ClassID]Class
	limits    map[pair]Limit
	holds     map[Hold]bool
	open      map[Conn]*opened
	closing   map[Conn]bool        // asked to close
	passed    map[gateID][]passing // since the gate's rate last changed
}

type pair struct{ source, provider string }

// gateID names a gate; a site that was forgotten and came again has another scope.
type gateID struct {
	pair
	scope *scope
}

type opened struct {
	gate    gateID
	sent    int
	earlier bool // than the provider's present definition
}

type passing struct {
	at time.Time
	n  int
}

func newBounds() *bounds {
	return &bounds{
		providers: map[string]DefineProvider{}, classes: map[ClassID]Class{}, limits: map[pair]Limit{},
		holds: map[Hold]bool{}, open: map[Conn]*opened{}, closing: map[Conn]bool{}, passed: map[gateID][]passing{},
	}
}

func (b *bounds) step(now time.Time, f Fact) {
	switch f := f.(type) {
	case DefineClass:
		b.classes[f.ID] = f.Class
	case DefineProvider:
		b.providers[siteProvider(f.Name)] = f
		clear(b.passed)
		for _, c := range b.open {
			c.earlier = true
		}
	case Limit:
		b.limit(now, f)
	case Hold:
		k := f
		k.Off, k.Provider = false, siteProvider(f.Provider)
		if f.Provider != "" {
			b.holds[k] = !f.Off
		}
	case SetBack:
		clear(b.passed)
	case ConnDown:
		delete(b.open, f.Conn)
		delete(b.closing, f.Conn)
	case *ConnDown:
		delete(b.open, f.Conn)
		delete(b.closing, f.Conn)
	}
}

// limit is followed by who has passed at once: a lower rate begins with a whole interval.
func (b *bounds) limit(now time.Time, f Limit) {
	f.Provider = siteProvider(f.Provider)
	p := pair{f.Source, f.Provider}
	old := b.figures(p).Rate
	b.limits[p] = f
	rate := b.figures(p).Rate
	if rate == old {
		return
	}
	for g := range b.passed {
		if g.pair == p {
			b.passed[g] = b.passed[g][:0]
			if rate > 0 && (old == 0 || rate < old) {
				b.passed[g] = append(b.passed[g], passing{now, 1})
			}
		}
	}
}

// figures are those in force for a pair.
func (b *bounds) figures(p pair) Limit {
	l, d := b.limits[p], b.providers[p.provider]
	l.Rate = cmp.Or(l.Rate, d.Rate)
	l.Connections = cmp.Or(l.Connections, d.Connections)
	l.PerConnection = cmp.Or(l.PerConnection, d.PerConnection)
	return l
}

// isHeld reports whether mail waits at a provider.
func (b *bounds) isHeld(domain string, cl ClassID, provider string) bool {
	for _, k := range []Hold{{}, {Domain: domain}, {Class: cl}, {Domain: domain, Class: cl}} {
		if k.Provider = provider; b.holds[k] && !b.classes[cl].Transactional {
			return true
		}
	}
	return false
}

func (b *bounds) isSuspended(now time.Time, p pair) bool {
	l := b.limits[p]
	return l.Suspended && (l.Until.IsZero() || l.Until.After(now))
}

// checkBounds checks what limits and holds say of a transaction that begins.
func (w *world) checkBounds(c Conn, t Transaction) {
	b := w.bounds
	g := gateID{pair: pair{t.Source, t.Provider}, scope: w.m.sites[siteKey{t.Site, t.Provider}].scope}
	l := b.figures(g.pair)
	if b.isSuspended(w.now, g.pair) {
		w.t.Fatalf("%v leaves from %s, which is suspended at %q", t.Items[0].ID, t.Source, t.Provider)
	}
	if b.isHeld(t.Domain, t.Class, t.Provider) {
		w.t.Fatalf("%v leaves, class %d is held at %q", t.Items[0].ID, t.Class, t.Provider)
	}
	o := b.open[c]
	if o == nil {
		o = &opened{gate: g}
		b.open[c] = o
		if n := w.connections(g); n > cmp.Or(l.Connections, w.m.o.Connections) {
			w.t.Fatalf("connection %d is the %dth of %s at %q, %d are allowed", c, n, t.Source, t.Provider, l.Connections)
		}
	}
	o.sent++
	if most := cmp.Or(l.PerConnection, w.m.o.PerConnection); o.sent > most && (!o.earlier || b.limits[g.pair].PerConnection > 0) {
		w.t.Fatalf("connection %d carries its transaction %d of %d", c, o.sent, most)
	}
	w.checkRate(g, l.Rate, len(t.Items))
}

// checkRate asks for every earlier recipient how many have passed since. Whatever leaves last
// may be a batch, which passes at once; among those of one moment that may have been any.
func (w *world) checkRate(g gateID, rate float64, n int) {
	if rate <= 0 {
		w.passed[g] = w.passed[g][:0]
	}
	list := append(w.passed[g], passing{w.now, n})
	w.passed[g] = list
	for i, sum, last := len(list)-1, 0, 0; i >= 0 && rate > 0; i-- {
		sum += list[i].n
		if list[i].at.Equal(w.now) {
			last = max(last, list[i].n)
		}
		if most := w.now.Sub(list[i].at).Seconds()*rate + max(0, rate/10-1); float64(sum-last) > most+0.001 {
			w.t.Fatalf("%d recipients of %s at %q have passed since %s, %d too many: %g a second allow %g",
				sum-last, g.source, g.provider, w.at(list[i].at), last, rate, most)
		}
	}
}

// connections counts those of a gate that are not down.
func (w *world) connections(g gateID) int {
	n := 0
	for _, o := range w.open {
		if o.gate == g {
			n++
		}
	}
	return n
}

// checkRest checks that no connection rests above the number that a limit allows.
func (w *world) checkRest() {
	closing := map[gateID]int{}
	for c := range w.closing {
		if o := w.open[c]; o != nil {
			closing[o.gate]++
		}
	}
	for c, o := range w.open {
		most := w.limits[o.gate.pair].Connections
		if _, busy := w.trans[c]; !busy && !w.closing[c] && most > 0 && w.connections(o.gate)-closing[o.gate] > most {
			w.t.Fatalf("connection %d of %s at %q rests, %d are open and %d allowed", c, o.gate.source, o.gate.provider, w.connections(o.gate), most)
		}
	}
}
