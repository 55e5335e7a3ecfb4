// SPDX-License-Identifier: Apache-2.0

package schedule

import (
	"fmt"
	"time"
)

// Why says what a waiting recipient waits for, asking the predicates that the
// decision asks. it is the recipient as it stands on disk. Until and Expected
// are estimates from what is known now. Why changes nothing, but it must not run
// beside Step or Take.
func (m *Machine) Why(now time.Time, domain string, class ClassID, it Item) Reason {
	m.now = now.Round(0)
	if fl := m.flights[it.ID]; fl != nil && fl.to == nil {
		return m.whyFlying(fl)
	}
	key := backlogKey{domain, class}
	switch {
	case m.isHeld(key):
		return Reason{Code: WhyHeld, Text: "held by an operator until released"}
	case it.Due.After(now):
		return Reason{
			Code: WhyDue, Text: dueText(it),
			Until: it.Due, Expected: it.Due,
		}
	case it.expired(m):
		return Reason{Code: WhyNext, Text: "expired at " + clock(it.Expires) + " and is about to leave the queue"}
	}
	b := m.backlogs[key]
	if b != nil && m.isHeldAt(b) { // before the domain, which nothing looks up while its mail is held
		site := b.domain.site
		return Reason{
			Code: WhyHeld, Site: site.key.name, Provider: site.key.provider,
			Text: fmt.Sprintf("the mail of its lane is held at %s, from every source: %s", providerName(site), showProvider(site)),
		}
	}
	looked, bad := m.whyDomain(domain)
	if bad && (b == nil || b.domain.state != domainOK || b.domain.site == nil) {
		return looked
	}
	if b == nil {
		return Reason{Code: WhyNext, Text: "nothing is in the way"}
	}
	r := m.whySite(b, &it)
	if bad && (r.Code == WhyNext || r.Code == WhyAhead) {
		return looked // otherwise something else is in the way, for which nobody looks the domain up
	}
	return r
}

// whySite says what a recipient of a domain waits for whose site is known.
func (m *Machine) whySite(b *backlog, it *Item) Reason {
	site := b.domain.site
	l := m.lanes[laneKey{site, b.class, m.pinOf(b, it)}]
	if l == nil {
		return Reason{Code: WhyNext, Text: "nothing is in the way", Site: site.key.name, Provider: site.key.provider}
	}
	r := m.whyLane(l, it)
	r.Site, r.Provider = site.key.name, site.key.provider
	if l.key.pin != nil {
		r.Text += fmt.Sprintf("; it keeps source %s until %s", l.key.pin.name, clock(it.PinUntil))
	}
	return r
}

func clock(t time.Time) string { return t.Format("2006-01-02 15:04 MST") }

func (m *Machine) whyFlying(fl *flight) Reason {
	switch fl.state {
	case flightAsked:
		return Reason{Code: WhyNext, Text: "is leaving this lane: no source of its pool may send it today, or its domain takes no mail"}
	case flightExpired:
		return Reason{Code: WhyNext, Text: "expired and is about to leave the queue"}
	case flightSending:
	}
	s := fl.conn.path.site
	return Reason{
		Code: WhyInFlight, Source: fl.conn.path.source.name, Site: s.key.name, Provider: s.key.provider,
		Text: fmt.Sprintf("is being sent from %s to %s", fl.conn.path.source.name, s.key.name),
	}
}

func (m *Machine) whyDomain(name string) (Reason, bool) {
	d := m.domains[name]
	if d == nil {
		return Reason{Code: WhyResolving, Text: "the mail exchangers of " + name + " are not looked up yet"}, true
	}
	valid := d.until.IsZero() || d.until.After(m.now)
	switch {
	case d.state == domainOK && d.site != nil && valid:
		return Reason{}, false
	case d.state == domainFailed && valid:
		text := fmt.Sprintf("the lookup of %s's mail exchangers failed, tried again at %s", name, clock(d.until))
		if d.failure != "" {
			text += ": " + d.failure
		}
		return Reason{Code: WhyDNS, Until: d.until, Expected: d.until, Text: text}, true
	case d.state == domainPermanent && valid:
		return Reason{Code: WhyDNS, Text: name + " takes no mail: it is about to bounce"}, true
	}
	return Reason{Code: WhyResolving, Text: "the mail exchangers of " + name + " are being looked up"}, true
}

// whyLane asks every source that the lane may use and reports the obstacle that ends first.
func (m *Machine) whyLane(l *lane, it *Item) Reason {
	ahead := m.ahead(l, it)
	if len(l.claims) == 0 {
		return Reason{Code: WhyPaused, Ahead: ahead, Text: fmt.Sprintf("pool %q has no source", l.key.class.def.Pool)}
	}
	best, found := Reason{}, false
	for i := range l.claims {
		c := &l.claims[i]
		r := m.whyClaim(c, it, ahead)
		r.Source, r.Ahead = c.path.source.name, ahead
		if !found || sooner(&r, &best) {
			best, found = r, true
		}
	}
	return best
}

// sooner orders obstacles: none at all first, then those that end, then those
// nobody knows the end of.
func sooner(a, b *Reason) bool {
	rank := func(r *Reason) int {
		switch {
		case r.Code == WhyNext || r.Code == WhyAhead:
			return 0
		case r.Code == WhyConnections || r.Code == WhyRate:
			return 1
		case !r.Until.IsZero():
			return 2
		}
		return 3
	}
	if x, y := rank(a), rank(b); x != y {
		return x < y
	}
	return a.Until.Before(b.Until)
}

func (m *Machine) whyClaim(c *claim, it *Item, ahead int) Reason {
	p, src := c.path, c.path.source
	at := p.site.key.name
	if r, rests := p.resting(m.now); rests {
		if r.until.After(m.now.Add(forever)) {
			r.until = time.Time{}
		}
		return Reason{Code: WhyPaused, Until: r.until, Expected: r.until, Text: whyRests(p, r)}
	}
	if !src.defined {
		return Reason{Code: WhyPaused, Text: fmt.Sprintf("source %s is not configured", src.name)}
	}
	if !m.pathUsable(p) || len(p.idle) == 0 && p.until.After(m.now) {
		return Reason{
			Code: WhyUnreachable, Until: p.until, Expected: p.until,
			Text: fmt.Sprintf("%s refused %s from source %s, next one at %s", at, count(p.failures, "connection"), src.name, clock(p.until)),
		}
	}
	if c.limited() && !c.lane.transactional() && !m.isFree(c, it) {
		if level := m.refusedAt(c); level < levels {
			return m.whyBudget(c, level, ahead)
		}
		if b := c.unleased(); b != nil {
			return Reason{
				Code: WhyBudget, Budget: b.key, Expected: m.now,
				Text: fmt.Sprintf("waits for %s: %d of %d used today, the next lease is being written", b.name(c), b.used, b.cap.Allowed),
			}
		}
	}
	switch {
	case !m.rateReady(p, false):
		next := p.gate.rateAt()
		return Reason{
			Code: WhyRate, Until: next, Expected: next.Add(time.Duration(ahead) * p.gate.interval()),
			Text: whyRate(p),
		}
	case len(p.idle) == 0 && !m.canDial(p, false):
		return Reason{Code: WhyConnections, Text: m.whyConnections(p)}
	case ahead > 0:
		return Reason{Code: WhyAhead, Text: fmt.Sprintf("%s of its lane %s first", count(ahead, "recipient"), isAre(ahead))}
	}
	return Reason{Code: WhyNext, Text: "nothing is in the way", Expected: m.now}
}

func count(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}

func isAre(n int) string {
	if n == 1 {
		return "is"
	}
	return "are"
}

// ahead counts the recipients known to leave before one: in its own queue, and
// older ones in the other queues of its lane.
func (m *Machine) ahead(l *lane, it *Item) int {
	n := 0
	pos := position(it)
	for _, q := range l.ready {
		own := q.b.domain != nil && m.holdsItem(q, it)
		for i := range q.due {
			o := q.at(i)
			if own && position(o).before(pos) || !own && older(o.Queued, o.ID, it.Queued, it.ID) {
				n++
			} else if own {
				break
			}
		}
	}
	return n
}

// holdsItem reports whether the item stands in a queue or behind its window.
func (m *Machine) holdsItem(q *queue, it *Item) bool {
	for i := range q.len() {
		if q.at(i).ID == it.ID {
			return true
		}
	}
	return q.pin == nil && !q.b.complete && q.b.last.before(position(it))
}

// dueText says when a recipient may leave: a retry, or mail that was sent ahead
// of its time.
func dueText(it Item) string {
	if it.Attempts == 0 {
		return "it may not leave before " + clock(it.Due)
	}
	return "its next attempt is due at " + clock(it.Due)
}
