// SPDX-License-Identifier: Apache-2.0

package rehearsal

import (
	"time"

	"github.com/seguemta/segue/mta/simulate"
	"github.com/seguemta/segue/queue/schedule"
	"github.com/seguemta/segue/reputation/warmup"
	"github.com/seguemta/segue/segment/tier"
)

// Names and figures of the sending side; ages and delays are the engine's defaults.
const (
	source = "a1"
	pool   = "main"
	maxAge = 7 * 24 * time.Hour

	tick  = time.Minute     // how often the machine is asked
	pause = 5 * time.Minute // how often breakers look at what was observed
)

func retries() []time.Duration {
	return []time.Duration{5 * time.Minute, 15 * time.Minute, 30 * time.Minute, time.Hour, 2 * time.Hour, 4 * time.Hour}
}

// standing is what becomes of a message.
type standing uint8

const (
	waiting standing = iota // with the machine
	parked                  // held by a breaker or a canary
	ended
)

// mail is one message to one contact.
type mail struct {
	contact  int
	campaign string // segment and day, for chance
	class    schedule.ClassID
	standing standing
	item     schedule.Item
	first    time.Time  // first attempt
	tried    warmup.Day // the day on which an attempt was counted as evidence
	trials   []string   // that it was let go for
}

// world is one arm being played: the engine's machines, and who receives.
type world struct {
	o        *Options
	arm      Arm
	now      time.Time
	end      time.Time
	machine  *schedule.Machine
	ready    schedule.Ready
	contacts []contact
	members  []int             // of each segment
	homes    map[string]string // domain to provider
	opinions map[string]*simulate.Reputation
	rules    tier.Rules
	retry    []time.Duration

	mails   []mail
	oldest  int          // the first message that may not have ended
	later   [][]reaction // by minutes since the beginning: what people do
	ramp    *climb
	guard   *guard
	figures []Figures // by segment
	refused map[string]map[warmup.Day]bool
}

func newWorld(o *Options, a Arm, people *simulate.Population) *world {
	w := &world{
		o: o, arm: a, now: begins(), end: begins().AddDate(0, 0, o.Days), contacts: newList(o.Seed, people),
		// All mail that waits is in the machine's memory: there is no disk to read it from.
		machine: schedule.New(schedule.Options{Window: 1 << 24, MaxWindow: 1 << 28}),
		homes:   make(map[string]string), opinions: simulate.Reputations(), rules: tier.Default(), retry: retries(),
		later: make([][]reaction, o.Days*int(24*time.Hour/tick)), figures: make([]Figures, len(segments())),
		refused: make(map[string]map[warmup.Day]bool),
	}
	for _, d := range people.Domains {
		w.homes[d.Name] = d.Provider
	}
	w.members = make([]int, len(segments()))
	for i := range w.contacts {
		w.members[w.contacts[i].segment]++
	}
	w.mails = make([]mail, 0, len(w.contacts)*(1+o.Days*2/7))
	w.ramp, w.guard = newClimb(o, a), newGuard(a)
	w.define()
	return w
}

// define tells the machine of the source, the pool, the providers and the lanes.
func (w *world) define() {
	w.step(schedule.DefineSource{Name: source, Budgeted: true})
	w.step(schedule.DefinePool{Name: pool, Members: []schedule.Member{{Source: source, Weight: 1}}, Excess: schedule.ExcessHold})
	w.step(schedule.DefineProvider{})
	for _, p := range named() {
		w.step(schedule.DefineProvider{Name: p})
	}
	for i, name := range segments() {
		for _, t := range tier.All() {
			c := schedule.Class{Stream: "marketing", Segment: name, Pool: pool, Weight: 1}
			if w.arm.Tiers {
				c.Tier, c.Rank = t.String(), t.Rank()
			}
			w.step(schedule.DefineClass{ID: class(i, t), Class: c})
		}
	}
}

// class is the lane of a segment's tier.
func class(segment int, t tier.Tier) schedule.ClassID {
	return schedule.ClassID(1 + segment*tier.Count + int(t)) //nolint:gosec // some dozens
}

// lane is the class of a contact's mail now: where tiers do not count, the first of its segment.
func (w *world) lane(c *contact) schedule.ClassID {
	if !w.arm.Tiers {
		return class(c.segment, tier.New)
	}
	return class(c.segment, w.rules.Of(c.state, w.now))
}

// tier is the tier of a message's lane, "" where tiers do not count.
func (w *world) tier(m *mail) string {
	if !w.arm.Tiers {
		return ""
	}
	return tier.Tier((int(m.class) - 1) % tier.Count).String() //nolint:gosec // one of six
}

// named are the providers with a policy of their own; a small company's exchanger
// belongs to none.
func named() []string {
	return []string{simulate.Google, simulate.Microsoft, simulate.Yahoo, simulate.Apple}
}

func (w *world) step(f schedule.Fact) { w.machine.Step(w.now, f) }

// run plays the days.
func (w *world) run() {
	wake := w.now
	for minute := 0; w.now.Before(w.end); minute, w.now = minute+1, w.now.Add(tick) {
		day, clock := minute/int(24*time.Hour/tick), w.now.Sub(w.now.Truncate(24*time.Hour))
		moved := false
		if clock == 0 {
			w.midnight()
			moved = true
		}
		if clock == sendAt {
			w.campaigns(day)
			moved = true
		}
		moved = w.expire() || moved
		for _, m := range w.later[minute] {
			w.hear(m)
		}
		w.later[minute] = nil
		if w.now.Sub(begins())%pause == 0 {
			moved = w.look() || moved
		}
		if moved || !wake.IsZero() && !wake.After(w.now) {
			w.serve()
			wake = w.ready.Wake
		}
	}
	w.count()
}

// midnight judges the day that ended and gives out the next one's budgets.
func (w *world) midnight() {
	if w.now.After(begins()) {
		w.count()
		for _, r := range w.opinions {
			r.NextDay()
		}
	}
	for _, c := range w.ramp.midnight(w.now) {
		w.step(c)
	}
}

// count ends a day for those whose mail is held.
func (w *world) count() {
	for i := range w.figures {
		if w.guard.parked(i) > 0 {
			w.figures[i].HeldDays++
		}
	}
}

// campaigns queues a message to each contact of the segments that are mailed today.
func (w *world) campaigns(day int) {
	for s, name := range segments() {
		if !mailed(s, day) {
			continue
		}
		campaign := name + " " + warmup.DayOf(w.now, time.UTC).String()
		for i := range w.contacts {
			if c := &w.contacts[i]; c.segment == s && !c.suppressed {
				w.queue(i, campaign)
			}
		}
		w.guard.resize(s, w.now, w.unproven(s))
	}
}

// unproven is how many contacts of a segment have mail waiting: nobody is proven
// before the whole segment is.
func (w *world) unproven(segment int) int { return min(w.figures[segment].Waiting, w.members[segment]) }

func (w *world) queue(to int, campaign string) {
	c := &w.contacts[to]
	id := schedule.ID{Message: uint64(len(w.mails))}
	w.mails = append(w.mails, mail{
		contact: to, campaign: campaign, class: w.lane(c),
		item: schedule.Item{ID: id, Due: w.now, Queued: w.now, Expires: w.now.Add(maxAge)},
	})
	w.figures[c.segment].Queued++
	w.figures[c.segment].Waiting++
	w.wait(&w.mails[id.Message])
}

// wait gives a message to the machine.
func (w *world) wait(m *mail) {
	m.standing = waiting
	w.step(&schedule.Queued{Domain: w.contacts[m.contact].domain, Class: m.class, Item: m.item})
}

// finish ends a message.
func (w *world) finish(m *mail) {
	m.standing = ended
	w.figures[w.contacts[m.contact].segment].Waiting--
}

// expire ends what is too old. Messages are as old as their numbers.
func (w *world) expire() bool {
	moved := false
	for ; w.oldest < len(w.mails); w.oldest++ {
		m := &w.mails[w.oldest]
		if m.standing == ended {
			continue
		}
		if m.item.Expires.After(w.now) {
			break
		}
		c := &w.contacts[m.contact]
		if m.standing == waiting {
			w.step(&schedule.Gone{Domain: c.domain, Class: m.class, ID: m.item.ID})
		} else {
			w.guard.gone(c.segment)
		}
		w.figures[c.segment].Expired++
		w.guard.lost(c.segment, w.now, m)
		w.finish(m)
		moved = true
	}
	return moved
}

// look lets breakers decide, and gives back what they let go.
func (w *world) look() bool {
	moved := false
	for s := range w.figures {
		if w.guard.tick(s, w.now, w.unproven(s)) {
			moved = w.release(s) || moved
		}
	}
	return moved
}

// release walks what is parked and gives back whoever may go now.
func (w *world) release(segment int) bool {
	moved := false
	for i := w.oldest; i < len(w.mails); i++ {
		m := &w.mails[i]
		if m.standing != parked || w.contacts[m.contact].segment != segment || !w.guard.asks(segment, w.now, m, &w.contacts[m.contact]).Go {
			continue
		}
		w.guard.gone(segment)
		w.wait(m)
		moved = true
	}
	return moved
}
