// SPDX-License-Identifier: Apache-2.0

package schedule

import "time"

// idleDomains is how many answers are remembered for domains without mail.
const idleDomains = 10_000

func (m *Machine) domain(name string) *domain {
	d := m.domains[name]
	if d == nil {
		d = &domain{name: name}
		d.timer = timer{kind: timerDomain, owner: d}
		m.domains[name] = d
	}
	return d
}

// restDomain remembers a domain without mail for a while.
func (m *Machine) restDomain(d *domain) {
	if d.resting {
		return
	}
	d.resting = true
	m.resting.push(d)
	for m.resting.len() > idleDomains {
		o, _ := m.resting.pop()
		o.resting = false
		if len(o.backlogs) > 0 {
			continue
		}
		m.set(&o.timer, time.Time{})
		m.leaveSite(o)
		delete(m.domains, o.name)
	}
}

// domainReady reports whether a domain's site is known, and asks for it otherwise.
func (m *Machine) domainReady(d *domain) bool {
	valid := d.until.IsZero() || d.until.After(m.now)
	switch d.state {
	case domainOK:
		if valid {
			return true
		}
	case domainPending:
		return false
	case domainFailed, domainPermanent:
		if valid {
			return false
		}
	case domainUnknown:
	}
	d.state = domainPending
	m.set(&d.timer, time.Time{})
	m.resolves.push(d)
	return false
}

func (m *Machine) resolved(f *Resolved) {
	d := m.domains[f.Domain]
	if d == nil {
		return
	}
	d.until, d.failure = f.Until, f.Failure
	switch {
	case f.Site != "":
		d.state = domainOK
		m.joinSite(d, siteKey{f.Site, f.Provider})
	case f.Permanent:
		d.state = domainPermanent
	default:
		d.state = domainFailed
		if !f.Until.After(m.now) {
			d.until = m.now.Add(time.Minute)
		}
	}
	if d.state != domainOK {
		m.set(&d.timer, d.until)
	}
	m.settleDomain(d)
}

// settleDomain follows a new answer, or the end of one: whoever has due mail
// finds its lane, or leaves it and asks again.
func (m *Machine) settleDomain(d *domain) {
	for i := 0; i < len(d.backlogs); {
		b := d.backlogs[i]
		m.settleAll(b)
		if i < len(d.backlogs) && d.backlogs[i] == b {
			i++ // it was not released
		}
	}
}
