// SPDX-License-Identifier: Apache-2.0

package schedule

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

// TestChaos throws everything at the machine in random order (arrivals, refused dials,
// deferrals with and without pins, 421s, holds, pauses, caps that change, expiry,
// operators' moves, new configurations) and then lets it drain. The world checks every
// transaction: due, not expired, never twice in flight, within budget and lease. In
// the end nothing is lost and the machine remembers nothing.
func TestChaos(t *testing.T) {
	for seed := range uint64(20) {
		if !t.Run(fmt.Sprint(seed), func(t *testing.T) { chaosRun(t, seed) }) {
			return
		}
	}
}

type chaos struct {
	*world
	pages
	r    *rand.Rand
	next uint64
	in   int
	gone int
	last []Item
}

func chaosRun(t *testing.T, seed uint64) {
	t.Helper()
	r := rand.New(rand.NewPCG(seed, 2))
	c := &chaos{world: newWorld(t, Options{
		Window: 1 + r.IntN(10), MaxWindow: 20 + r.IntN(200), MaxConnections: 3 + r.IntN(20), MaxLoads: 1 + r.IntN(4),
		MaxMoves: 1 + r.IntN(10), Rand: rand.New(rand.NewPCG(seed, 3)),
	}), r: r}
	c.load, c.left = c.ask, c.leave
	c.configure()
	c.caps()
	c.stock()
	for range 600 {
		c.event()
		c.take()
		c.answer()
		c.checkConnections()
		c.checkRest()
		c.checkWindows()
		if w := c.world.r.Wake; !w.IsZero() && w.Before(c.now) {
			t.Fatalf("wake %s is in the past at %s", w, c.now)
		}
	}
	c.drain()
}

func (c *chaos) configure() {
	for _, s := range []string{"a1", "a2", "w1"} {
		c.step(DefineSource{Name: s, Budgeted: s != "w1"})
	}
	m := []Member{{"a1", 1 + c.r.IntN(3)}, {"a2", c.r.IntN(2)}}
	c.step(DefinePool{Name: "cold", Members: m})
	c.step(DefinePool{Name: "mixed", Members: append(slices.Clone(m), Member{"w1", 1})})
	c.step(DefinePool{Name: "over", Members: m, Excess: ExcessOverflow, Overflow: "warm"})
	c.step(DefinePool{Name: "strict", Members: m, Excess: ExcessRefuse})
	c.step(DefinePool{Name: "warm", Members: []Member{{"w1", 1}}})
	pools := []string{"cold", "mixed", "over", "strict", "warm"}
	for id := range ClassID(12) {
		c.step(DefineClass{ID: id + 1, Class: Class{
			Segment: "s", Tier: []string{"active", "new", "dormant"}[id%3], Pool: pools[int(id)%5], Rank: int(id % 4),
			Weight: int(id), Transactional: id == 10 || id == 11, Plan: []string{"", "gentle"}[id%2],
		}})
	}
	c.step(DefineProvider{Name: "google", Connections: 1 + c.r.IntN(4), TotalConnections: c.r.IntN(6), PerConnection: c.r.IntN(4), Rate: float64(c.r.IntN(3))})
	c.step(DefineProvider{Name: "", Connections: 1 + c.r.IntN(3)})
	for i := range 9 {
		d := fmt.Sprintf("d%d", i)
		c.sites[d] = Resolved{Domain: d, Site: fmt.Sprint("mx", i%5), Provider: []string{"google", ""}[i%2], Until: c.now.Add(time.Duration(c.r.IntN(100)) * time.Hour)}
	}
}

// stock is what lies on disk at start.
func (c *chaos) stock() {
	for i := range 6 {
		d, cl := fmt.Sprintf("d%d", i), ClassID(1+c.r.IntN(12))
		k := backlogKey{d, cl}
		for range c.r.IntN(60) {
			c.store(d, cl, c.item())
		}
		if list := c.disk[k]; len(list) > 0 {
			c.step(Counted{Domain: d, Class: cl, Count: len(list), Head: list[0].Due})
		}
	}
}

func (c *chaos) item() Item {
	c.next++
	c.in++
	it := Item{ID: ID{c.next / 3, uint32(c.next % 3)}, Due: c.now.Add(time.Duration(c.r.IntN(600)-500) * time.Second), Queued: c.now.Add(-time.Duration(c.r.IntN(5000)) * time.Second)}
	if c.r.IntN(4) == 0 {
		it.Expires = c.now.Add(time.Duration(c.r.IntN(36)) * time.Hour)
	}
	if c.r.IntN(8) == 0 {
		it.Pin, it.PinUntil = []string{"a1", "w1", "nobody"}[c.r.IntN(3)], c.now.Add(time.Duration(c.r.IntN(9000))*time.Second)
	}
	return it
}

func (c *chaos) caps() {
	day := c.now.Truncate(24 * time.Hour)
	give := func(k BudgetKey) {
		cp := Cap{
			Key: k, Day: c.day(), Start: day, End: day.Add(24 * time.Hour), Open: day, Close: day.Add(24 * time.Hour),
			Allowed: c.r.IntN(300), Pace: c.r.IntN(2) == 0, Reserved: c.r.IntN(10),
		}
		if c.r.IntN(4) == 0 {
			cp.Admit = []string{"active", "new"}
		}
		if old := c.world.caps[k]; old != nil && old.Day == cp.Day {
			cp.Allowed = max(cp.Allowed, c.charge[k])
			cp.Used, cp.Leased = c.charge[k], c.leases[k]
		}
		c.step(cp)
	}
	for _, s := range []string{"a1", "a2"} {
		for _, p := range []string{"google", Other, Total} {
			give(BudgetKey{Source: s, Provider: p})
		}
	}
	for _, tier := range []string{"new", "dormant"} {
		for _, p := range []string{"google", Other, Total} {
			k := BudgetKey{Plan: "gentle", Segment: "s", Tier: tier, Provider: p}
			if c.world.caps[k] != nil || c.r.IntN(4) == 0 { // once limited, limited every day
				give(k)
			}
		}
	}
}

func (c *chaos) event() { c.chaosEvent(c.r.IntN(28)) }

func (c *chaos) chaosEvent(kind int) {
	r := c.r
	switch kind {
	case 0, 1, 2, 3:
		d, cl := fmt.Sprintf("d%d", r.IntN(9)), ClassID(1+r.IntN(12))
		for range 1 + r.IntN(30) {
			c.queue(d, cl, c.item())
		}
	case 4:
		old := c.day()
		c.now = c.now.Add(time.Duration(r.IntN(7200)) * time.Second)
		if c.day() != old {
			c.caps()
		}
	case 5:
		if w := c.world.r.Wake; w.After(c.now) && w.Sub(c.now) < time.Hour {
			old := c.day()
			if c.now = w; c.day() != old {
				c.caps()
			}
		}
	case 6:
		c.step(Hold{Domain: []string{"", "d1", "d2"}[r.IntN(3)], Class: ClassID(r.IntN(4)), Off: r.IntN(3) > 0})
	case 7:
		c.step(Paused{Source: []string{"a1", "w1"}[r.IntN(2)], Provider: []string{"", "google", Other}[r.IntN(3)], Until: c.now.Add(time.Duration(r.IntN(3600)) * time.Second)})
	case 8:
		c.caps()
	case 13:
		c.limit()
	case 14:
		c.step(Hold{Domain: []string{"", "d1", "d2"}[r.IntN(3)], Class: ClassID(r.IntN(12)), Provider: []string{"google", Other}[r.IntN(2)], Off: r.IntN(2) > 0})
	case 9:
		c.expire()
	case 10:
		c.takeAway()
	case 11:
		if r.IntN(5) == 0 {
			c.configure()
		}
	case 12:
		d := fmt.Sprintf("d%d", r.IntN(9))
		f := c.sites[d]
		f.Site, f.Permanent = fmt.Sprint("mx", r.IntN(5)), r.IntN(20) == 0
		if r.IntN(4) == 0 || f.Permanent {
			f.Site = ""
		}
		f.Until = c.now.Add(time.Duration(r.IntN(7200)) * time.Second)
		c.sites[d] = f
	case 15, 16, 17, 18:
		c.turnPage()
	default:
		c.finish()
	}
}

// limit limits a source at a provider in some ways, or no more.
func (c *chaos) limit() {
	r := c.r
	l := Limit{Source: []string{"a1", "a2", "w1"}[r.IntN(3)], Provider: []string{"google", Other}[r.IntN(2)]}
	if r.IntN(3) == 0 {
		l.Suspended = true
		if r.IntN(4) > 0 {
			l.Until = c.now.Add(time.Duration(r.IntN(3600)) * time.Second)
		}
	}
	if r.IntN(2) == 0 {
		l.Rate = []float64{0.02, 0.5, 3, 40}[r.IntN(4)]
	}
	if r.IntN(2) == 0 {
		l.Connections, l.PerConnection = 1+r.IntN(6), r.IntN(4)
	}
	c.step(l)
}

// pick is a random connection with a transaction, the same for the same seed.
func (c *chaos) pick() (Conn, bool) {
	var list []Conn
	for id := range c.trans {
		list = append(list, id)
	}
	if len(list) == 0 {
		return 0, false
	}
	slices.Sort(list)
	return list[c.r.IntN(len(list))], true
}

func (c *chaos) finish() {
	id, ok := c.pick()
	if !ok {
		return
	}
	retry := time.Time{}
	if c.r.IntN(3) == 0 {
		retry = c.now.Add(time.Duration(c.r.IntN(900)) * time.Second)
	}
	switch c.r.IntN(6) {
	case 0:
		c.conclude(id, Concluded{Refunded: len(c.trans[id].Items)}, c.now.Add(time.Minute), false)
		c.step(ConnDown{Conn: id, Failed: true})
	case 1: // the driver hears of the connection's end first
		c.step(&ConnDown{Conn: id, Failed: c.r.IntN(2) == 0})
		c.conclude(id, Concluded{}, retry, c.r.IntN(2) == 0)
	default:
		c.step(ConnUp{Conn: id})
		c.conclude(id, Concluded{Usable: true}, retry, c.r.IntN(2) == 0)
	}
}

// expire does what the driver's expiry index does.
func (c *chaos) expire() {
	c.sweep(func(it Item) bool { return !it.Expires.IsZero() && !it.Expires.After(c.now) })
}

// takeAway is an operator who drops mail, or says "retry now".
func (c *chaos) takeAway() {
	c.sweep(func(Item) bool { return c.r.IntN(20) == 0 })
	for range c.last {
		it := c.last[len(c.last)-1]
		c.last = c.last[:len(c.last)-1]
		it.Due = c.now
		c.queue(fmt.Sprintf("d%d", c.r.IntN(9)), ClassID(1+c.r.IntN(12)), it)
		c.gone--
	}
}

func (c *chaos) sweep(match func(Item) bool) {
	var keys []backlogKey
	for k := range c.disk {
		keys = append(keys, k)
	}
	slices.SortFunc(keys, func(a, b backlogKey) int {
		if a.domain != b.domain {
			return int(a.domain[1]) - int(b.domain[1])
		}
		return int(a.class) - int(b.class)
	})
	c.last = c.last[:0]
	for _, k := range keys {
		for _, it := range slices.Clone(c.disk[k]) {
			if c.flying[it.ID] || !match(it) {
				continue
			}
			c.erase(k.domain, k.class, it)
			c.step(&Gone{Domain: k.domain, Class: k.class, ID: it.ID})
			c.gone++
			if it.Expires.IsZero() {
				c.last = append(c.last, it)
			}
		}
	}
}

func (c *chaos) checkConnections() {
	n := map[pair]int{}
	for _, co := range c.m.conns {
		if !co.down {
			n[pair{co.path.source.name, co.path.site.key.provider}]++
		}
	}
	for p, k := range n {
		if p.provider == "google" && k > 6 {
			c.t.Fatalf("%d connections from %s to google", k, p.source)
		}
	}
	if c.m.open > c.m.o.MaxConnections {
		c.t.Fatalf("%d connections of %d", c.m.open, c.m.o.MaxConnections)
	}
}

// drain lifts every obstacle and counts what came out.
func (c *chaos) drain() {
	for len(c.reading) > 0 {
		c.turnPage()
	}
	c.load = func(l Load) { c.step(c.page(l)) }
	for _, d := range []string{"", "d1", "d2"} {
		for cl := range ClassID(4) {
			c.step(Hold{Domain: d, Class: cl, Off: true})
		}
	}
	for k, on := range c.holds {
		if on {
			k.Provider, k.Off = cmp.Or(k.Provider, Other), true
			c.step(k)
		}
	}
	for _, s := range []string{"a1", "a2", "w1"} {
		for _, p := range []string{"", "google", Other} {
			c.step(Paused{Source: s, Provider: p})
			c.step(Limit{Source: s, Provider: p})
		}
	}
	for d, f := range c.sites {
		f.Permanent, f.Until = false, time.Time{}
		if f.Site == "" {
			f.Site = "mx"
		}
		c.sites[d] = f
	}
	for id, ok := c.pick(); ok; id, ok = c.pick() {
		c.step(ConnUp{Conn: id})
		c.conclude(id, Concluded{Usable: true}, time.Time{}, false)
	}
	for day := 0; day < 60 && len(c.disk) > 0; day++ {
		c.now = c.now.Truncate(24 * time.Hour).Add(24 * time.Hour)
		c.caps()
		for range 200 {
			c.expire()
			c.deliver()
			w := c.world.r.Wake
			if w.IsZero() || w.Sub(c.now) > 12*time.Hour || c.day() != Day(w.Unix()/86400) {
				break
			}
			c.now = w
		}
	}
	sent := 0
	for _, tr := range c.sent {
		sent += len(tr.Items)
	}
	if out := sent + c.gone + len(c.moved) + len(c.failed); out != c.in || len(c.disk) > 0 {
		for k, list := range c.disk {
			c.t.Logf("%v: %d on disk, %+v", k, len(list), c.m.Why(c.now, k.domain, k.class, list[0]))
		}
		c.t.Fatalf("%d came in, %d out: %d sent, %d gone, %d moved, %d failed", c.in, out, sent, c.gone, len(c.moved), len(c.failed))
	}
	c.t.Logf("%d in: %d sent, %d gone, %d moved, %d failed", c.in, sent, c.gone, len(c.moved), len(c.failed))
	c.now = c.now.Add(time.Hour)
	c.deliver()
	if n := len(c.m.backlogs) + len(c.m.lanes) + len(c.m.conns) + len(c.m.flights) + c.m.loaded + c.m.loads + c.m.open; n != 0 {
		c.t.Fatalf("the machine remembers: %d backlogs %d lanes %d conns %d flights %d loaded %d loads %d open",
			len(c.m.backlogs), len(c.m.lanes), len(c.m.conns), len(c.m.flights), c.m.loaded, c.m.loads, c.m.open)
	}
}
