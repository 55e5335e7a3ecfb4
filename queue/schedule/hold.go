// SPDX-License-Identifier: Apache-2.0

package schedule

// hold stops or releases a class, a domain, both, or everything; everywhere or at
// a provider. The backlogs follow at the next Take, together where several came.
func (m *Machine) hold(f *Hold) {
	set, k := m.holds, holdKey{domain: f.Domain, class: f.Class}
	if f.Provider != "" {
		set, k.provider = m.holdsAt, siteProvider(f.Provider)
	}
	if _, on := set[k]; on != f.Off {
		return
	}
	if f.Off {
		delete(set, k)
	} else {
		set[k] = struct{}{}
	}
	m.reheld = append(m.reheld, k)
}

// followHolds looks again at every backlog that a hold which came or went could
// mean. That is rare, so all are looked through, but once for any number of holds.
func (m *Machine) followHolds() {
	if len(m.reheld) == 0 {
		return
	}
	classes := map[ClassID]bool{}
	for _, k := range m.reheld {
		if k.domain == "" {
			classes[k.class] = true
		} else if d := m.domains[k.domain]; d != nil {
			for i := 0; i < len(d.backlogs); {
				b := d.backlogs[i]
				m.rehold(b)
				if i < len(d.backlogs) && d.backlogs[i] == b {
					i++ // it was not released
				}
			}
		}
	}
	m.reheld = m.reheld[:0]
	if len(classes) == 0 {
		return
	}
	for i := 0; i < len(m.backlogList); {
		b := m.backlogList[i]
		if classes[0] || classes[b.key.class] {
			m.rehold(b)
		}
		if i < len(m.backlogList) && m.backlogList[i] == b {
			i++
		}
	}
}

func (m *Machine) rehold(b *backlog) {
	held, at := m.isHeld(b.key), m.isHeldAt(b)
	if held != b.held || at != b.heldAt {
		b.held, b.heldAt = held, at
		m.settleAll(b)
	}
}

// isHeld reports whether a backlog waits wherever its mail goes.
func (m *Machine) isHeld(k backlogKey) bool {
	return len(m.holds) > 0 && hasHold(m.holds, k, "")
}

// isHeldAt reports whether a backlog waits at the provider where its mail goes. As
// long as its domain was never looked up, it does not. It asks for no lookup while it
// waits: where its domain moves meanwhile, the next mail or the release finds out.
func (m *Machine) isHeldAt(b *backlog) bool {
	site := b.domain.site
	return len(m.holdsAt) > 0 && site != nil && !b.class.def.Transactional && hasHold(m.holdsAt, b.key, site.key.provider)
}

func hasHold(set map[holdKey]struct{}, k backlogKey, provider string) bool {
	for _, h := range [...]holdKey{{}, {domain: k.domain}, {class: k.class}, {domain: k.domain, class: k.class}} {
		h.provider = provider
		if _, ok := set[h]; ok {
			return true
		}
	}
	return false
}
