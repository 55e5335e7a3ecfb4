// SPDX-License-Identifier: Apache-2.0

package rehearsal

import (
	"time"

	"github.com/seguemta/segue/mta/event"
	"github.com/seguemta/segue/mta/simulate"
	"github.com/seguemta/segue/queue/schedule"
	"github.com/seguemta/segue/reputation/bounce"
	"github.com/seguemta/segue/reputation/evidence"
	"github.com/seguemta/segue/reputation/warmup"
)

// serve does what the machine asks until nothing more can leave now.
func (w *world) serve() {
	for {
		w.machine.Take(w.now, &w.ready)
		r := &w.ready
		for _, l := range r.Lease {
			w.step(schedule.Leased(l))
		}
		for _, d := range r.Resolve {
			w.step(w.resolve(d))
		}
		for _, c := range r.Close {
			w.step(&schedule.ConnDown{Conn: c})
		}
		for i := range r.Dial {
			w.step(&schedule.ConnUp{Conn: r.Dial[i].Conn})
			w.transact(r.Dial[i].Conn, &r.Dial[i].Transaction)
		}
		for i := range r.Send {
			w.transact(r.Send[i].Conn, &r.Send[i].Transaction)
		}
		if len(r.Lease)+len(r.Resolve)+len(r.Close)+len(r.Dial)+len(r.Send) == 0 {
			return
		}
	}
}

// resolve says where a domain's mail goes: a large provider is one site, a small
// company at the mail host is one of its own.
func (w *world) resolve(domain string) schedule.Resolved {
	home := w.homes[domain]
	if home == simulate.Mailhost {
		return schedule.Resolved{Domain: domain, Site: "mx." + domain, Until: w.end}
	}
	return schedule.Resolved{Domain: domain, Site: "mx." + home, Provider: home, Until: w.end}
}

// transact carries out a transaction as package queue does: a last look at each
// recipient, the attempt, and what becomes of it.
func (w *world) transact(conn schedule.Conn, t *schedule.Transaction) {
	refunded, deferred := 0, false
	for i := range t.Items {
		m := &w.mails[t.Items[i].ID.Message]
		m.item = t.Items[i]
		if w.passes(m) {
			deferred = w.attempt(m, t) || deferred
		} else if m.item.Charged != (schedule.Charge{Source: t.Source, Day: t.Day}) {
			refunded++
		}
	}
	w.step(&schedule.Concluded{Conn: conn, Refunded: refunded, Usable: !deferred})
	if deferred {
		w.step(&schedule.ConnDown{Conn: conn, Failed: true})
	}
}

// passes asks once more whether a message may leave, and puts it elsewhere if not.
func (w *world) passes(m *mail) bool {
	c := &w.contacts[m.contact]
	if c.suppressed {
		w.figures[c.segment].Suppressed++
		w.guard.lost(c.segment, w.now, m)
		w.finish(m)
		return false
	}
	if to := w.lane(c); to != m.class {
		m.class = to
		w.wait(m)
		return false
	}
	a := w.guard.asks(c.segment, w.now, m, c)
	if !a.Go {
		m.standing = parked
		w.guard.park(c.segment)
		return false
	}
	if a.Sample {
		w.guard.admitted(c.segment, w.now, m)
	}
	return true
}

// attempt is what the provider makes of a message. It reports whether the provider
// deferred it and cut the connection.
func (w *world) attempt(m *mail, t *schedule.Transaction) bool {
	c := &w.contacts[m.contact]
	today := warmup.DayOf(w.now, time.UTC)
	again := m.tried == today
	m.tried = today
	if m.first.IsZero() {
		m.first = w.now
	}
	if charge := (schedule.Charge{Source: t.Source, Day: t.Day}); m.item.Charged != charge {
		m.item.Charged = charge
		w.ramp.charge(t, w.now)
	}
	opinion := w.opinions[w.homes[c.domain]]
	counts := evidence.Counts{Attempted: 1}
	if again { // only a deferral is tried twice
		counts.Attempted = 0
	}
	if !opinion.Admits() {
		if !again {
			counts.Deferred = 1
		}
		w.ramp.count(t.Provider, today, counts)
		w.postpone(m, today)
		return true
	}
	f := &w.figures[c.segment]
	e := event.Event{Kind: event.Delivered, Code: 250, Tier: w.tier(m)}
	if c.dead {
		opinion.Refused()
		counts.Bounced = 1
		e.Kind, e.Code, e.Verdict = event.Bounced, 550, string(bounce.Suppress)
		c.suppressed = true
		f.Bounced++
	} else {
		counts.Delivered = 1
		w.deliver(m, opinion)
	}
	w.ramp.count(t.Provider, today, counts)
	w.guard.observe(c.segment, m, seen{e, today, reports(t.Provider)})
	w.finish(m)
	return false
}

// postpone puts a deferred message back for a later attempt.
func (w *world) postpone(m *mail, today warmup.Day) {
	c := &w.contacts[m.contact]
	w.figures[c.segment].Deferred++
	home := w.homes[c.domain]
	if w.refused[home] == nil {
		w.refused[home] = make(map[warmup.Day]bool)
	}
	w.refused[home][today] = true
	m.item.Due = w.now.Add(w.retry[min(m.item.Attempts, len(w.retry)-1)])
	m.item.Attempts++
	w.wait(m)
}

// deliver puts a message into the inbox or among the spam. What people do with it they do
// within a day.
func (w *world) deliver(m *mail, opinion *simulate.Reputation) {
	c := &w.contacts[m.contact]
	f := &w.figures[c.segment]
	inbox := w.chance(opinion.Score(), "inbox", m)
	opinion.Took(inbox)
	f.Delivered++
	if c.engaged {
		f.Engaged++
	}
	c.state.Sends++
	c.state.SendsSinceEngagement++
	c.state.LastSent = w.now
	if c.state.FirstSent.IsZero() {
		c.state.FirstSent = w.now
	}
	if !inbox {
		return
	}
	f.Inbox++
	if c.engaged {
		f.EngagedInbox++
	}
	for _, act := range []struct {
		kind  event.Kind
		share float64
	}{{event.Engaged, c.temper.Engage}, {event.Complained, c.temper.Complain}, {event.Unsubscribed, c.temper.Unsubscribe}} {
		if w.chance(act.share, string(act.kind), m) {
			w.hearLater(reaction{act.kind, m.item.ID.Message, warmup.DayOf(w.now, time.UTC)}, m)
		}
	}
}

// chance decides something about a contact and a campaign: the same in every arm.
func (w *world) chance(share float64, what string, m *mail) bool {
	return simulate.Chance(share, w.o.Seed, what, w.contacts[m.contact].address, m.campaign)
}

// reaction is what somebody did with a message of a day.
type reaction struct {
	kind event.Kind
	mail uint64
	day  warmup.Day
}

// hearLater puts what somebody does at an hour of the following day, the same in every arm.
func (w *world) hearLater(x reaction, m *mail) {
	hour := 1
	for hour < 24 && !simulate.Chance(0.25, w.o.Seed, "hour", string(x.kind), w.contacts[m.contact].address, m.campaign, string(rune('a'+hour))) {
		hour++
	}
	if minute := int(w.now.Sub(begins())/tick) + hour*int(time.Hour/tick); minute < len(w.later) {
		w.later[minute] = append(w.later[minute], x)
	}
}

// hear is what the provider, the gate and the breaker learn of what somebody did.
func (w *world) hear(x reaction) {
	m := &w.mails[x.mail]
	c := &w.contacts[m.contact]
	home := w.homes[c.domain]
	provider := w.resolve(c.domain).Provider
	switch x.kind {
	case event.Engaged:
		w.opinions[home].Engaged()
		c.state.LastEngaged, c.state.SendsSinceEngagement = w.now, 0
		return
	case event.Complained:
		w.opinions[home].Complained()
		w.figures[c.segment].Complained++
		if !reports(provider) {
			return // nobody tells the sender
		}
		w.ramp.count(provider, x.day, evidence.Counts{Complained: 1})
	default:
		w.figures[c.segment].Unsubscribed++
		w.ramp.count(provider, x.day, evidence.Counts{Unsubscribed: 1})
	}
	c.suppressed = true
	w.guard.observe(c.segment, m, seen{event.Event{Kind: x.kind, Tier: w.tier(m)}, x.day, reports(provider)})
}

// reports reports whether a provider sends reports of complaints.
func reports(provider string) bool {
	return provider == simulate.Microsoft || provider == simulate.Yahoo
}
