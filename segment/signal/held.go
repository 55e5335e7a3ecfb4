// SPDX-License-Identifier: Apache-2.0

package signal

import (
	"slices"
	"time"
)

// Held is what is held, and remembered, of one message to one recipient. The
// zero Held is a message that nobody has touched. Not safe for concurrent use.
type Held struct {
	// When the receiver took the mail, zero while that is not known: a gateway is
	// sometimes faster than our own log. Set it before [Held.Due] is asked.
	Delivered time.Time
	// How many different links the message has, 0 if that is not known.
	Links int

	hits  []Hit    // by time, then as they came; those before judged only give context
	done  int      // so many of hits are judged
	lost  uint32   // hits beyond MaxHits since something was held
	seen  []uint64 // requesters that gave themselves away, oldest first
	swept bool     // the domain has learned from this message already
}

// Hit holds a hit, and returns when [Held.Due] has something to say. A hit that
// is older than one already judged is judged at the next occasion.
func (m *Held) Hit(r *Rules, h Hit) time.Time {
	h.At = h.At.Truncate(time.Microsecond)
	h.Addr = h.Addr.WithZone("")
	if len(h.Agent) > MaxAgent {
		h.Agent = h.Agent[:MaxAgent]
	}
	if len(m.hits) >= MaxHits {
		m.lost++
		until, _ := m.Until(r)
		return until
	}
	i := m.done
	for i < len(m.hits) && !h.At.Before(m.hits[i].At) {
		i++
	}
	m.hits = slices.Insert(m.hits, i, h)
	until, _ := m.Until(r)
	return until
}

// Until returns when the first held hit is due; false where none is held.
func (m *Held) Until(r *Rules) (time.Time, bool) {
	if m.done == len(m.hits) {
		return time.Time{}, false
	}
	return m.hits[m.done].At.Add(r.Hold), true
}

// Idle reports whether nothing is held and nothing worth remembering is known: a
// new Held would judge what comes next just as well.
func (m *Held) Idle() bool { return len(m.hits) == 0 && len(m.seen) == 0 && !m.swept }

// Due judges the hits whose hold is over, each exactly once and with sight of
// everything that came within the hold after it. The domain, which may be nil,
// speaks and learns; a caller stores it where it changed, beside what is left of
// the Held. Nil means that nothing is due.
func (m *Held) Due(r *Rules, d *Domain, now time.Time) []Verdict {
	end := m.done
	for end < len(m.hits) && !now.Before(m.hits[end].At.Add(r.Hold)) {
		end++
	}
	if end == m.done {
		return nil
	}
	j := judge{rules: r, held: m, domain: d}
	verdicts := j.judge(end)
	m.done = end
	m.forget(r)
	return verdicts
}

// forget drops judged hits that no held one can be in a burst with. What comes
// later is further away than a burst is long: the hold is longer than that.
func (m *Held) forget(r *Rules) {
	if m.done == len(m.hits) {
		m.hits, m.done, m.lost = nil, 0, 0
		return
	}
	oldest := m.hits[m.done].At.Add(-r.LinksWithin)
	n := 0
	for n < m.done && m.hits[n].At.Before(oldest) {
		n++
	}
	m.hits = slices.Delete(m.hits, 0, n)
	m.done -= n
}

// remember notes a requester that gave itself away.
func (m *Held) remember(requester uint64) {
	if slices.Contains(m.seen, requester) {
		return
	}
	if len(m.seen) >= maxSeen {
		m.seen = slices.Delete(m.seen, 0, 1)
	}
	m.seen = append(m.seen, requester)
}
