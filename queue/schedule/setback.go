// SPDX-License-Identifier: Apache-2.0

package schedule

import (
	"slices"
	"time"
)

// setBack follows a clock that was set back: what the machine measured from its
// own now (back-off, rates, idle connections, lookups) goes on as long as it
// would have. What is a date stays: pauses, suspensions, budget days and the due times of mail.
func (m *Machine) setBack(f *SetBack) {
	for _, t := range m.timers {
		t.at = t.at.Add(-f.By) // all alike, so the heap keeps its order; who is woken early looks again
	}
	for _, s := range m.sites {
		for _, p := range s.paths {
			p.until = before(p.until, f.By)
		}
		if s.prov.scope == nil {
			s.scope.setBack(f.By)
		}
	}
	for _, p := range m.providers {
		if p.scope != nil {
			p.scope.setBack(f.By)
		}
	}
	for _, d := range m.domains {
		d.until = before(d.until, f.By)
	}
	for _, c := range m.conns {
		c.since = before(c.since, f.By)
	}
	for _, s := range m.sourceList {
		m.refreshSource(s) // a pause that was over may not be over now, and must end once more
	}
	m.unexpire()
}

// unexpire gives back to their backlogs those that have not expired by the new clock:
// nobody else does before they have.
func (m *Machine) unexpire() {
	var list []ID
	for id, fl := range m.flights {
		if fl.state == flightExpired && fl.to == nil && !fl.item.expired(m) {
			list = append(list, id)
		}
	}
	slices.SortFunc(list, func(a, b ID) int {
		if a.before(b) {
			return -1
		}
		return 1 // no two are the same
	})
	for _, id := range list {
		fl := m.flights[id]
		b, it := fl.b, fl.item
		m.land(id, fl)
		m.put(b, &it)
	}
}

func (s *scope) setBack(by time.Duration) {
	for _, g := range s.gates {
		g.tat = before(g.tat, by)
	}
}

// before is t earlier by d; the zero time means none and stays.
func before(t time.Time, d time.Duration) time.Time {
	if t.IsZero() {
		return t
	}
	return t.Add(-d)
}
