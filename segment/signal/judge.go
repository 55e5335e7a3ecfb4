// SPDX-License-Identifier: Apache-2.0

package signal

import (
	"cmp"
	"slices"
	"time"
)

// judge is one look at what is held of a message.
type judge struct {
	rules  *Rules
	held   *Held
	domain *Domain
	bursts [MaxHits]burst
	agents [MaxHits]*Agent // what is known of each hit's agent
}

// burst is the largest number of different links around a hit.
type burst struct {
	links int
	span  time.Duration
}

// judge returns the verdicts of the hits up to end.
func (j *judge) judge(end int) []Verdict {
	m := j.held
	j.findBursts()
	j.findAgents()
	for i := m.done; i < len(m.hits); i++ {
		if j.plain(i) {
			m.remember(m.hits[i].requester())
		}
	}
	verdicts := make([]Verdict, 0, end-m.done)
	all := make([]Evidence, 0, 4*(end-m.done))
	for i := m.done; i < end; i++ {
		from := len(all)
		all = j.evidence(all, i)
		found := all[from:len(all):len(all)]
		slices.SortStableFunc(found, func(a, b Evidence) int { return cmp.Compare(b.Weight, a.Weight) })
		score := 1.0
		for _, e := range found {
			score *= 1 - e.Weight
		}
		verdicts = append(verdicts, Verdict{Hit: m.hits[i], Score: score, Human: score >= j.rules.Human, Evidence: found})
	}
	j.learn(verdicts)
	return verdicts
}

// findBursts finds for each hit the most different links that were followed
// within a time around it.
func (j *judge) findBursts() {
	hits := j.held.hits
	for first := range hits {
		if hits[first].Kind != Click {
			continue
		}
		// Judged hits stand before the held ones even where one of those came late,
		// so the look goes through all of them.
		var links [MaxHits]uint32
		n, span := 0, time.Duration(0)
		near := func(i int) bool {
			gap := hits[i].At.Sub(hits[first].At)
			return hits[i].Kind == Click && gap >= 0 && gap <= j.rules.LinksWithin
		}
		for i := range hits {
			if !near(i) {
				continue
			}
			if !slices.Contains(links[:n], hits[i].Link) {
				links[n] = hits[i].Link
				n++
			}
			span = max(span, hits[i].At.Sub(hits[first].At))
		}
		for i := range hits {
			if near(i) && n > j.bursts[i].links {
				j.bursts[i] = burst{n, span}
			}
		}
	}
}

// findAgents looks up each user agent once: most hits of a message have the same.
func (j *judge) findAgents() {
	hits := j.held.hits
	for i := range hits {
		if i > 0 && hits[i].Agent == hits[i-1].Agent {
			j.agents[i] = j.agents[i-1]
		} else {
			j.agents[i] = j.rules.Agent(hits[i].Agent)
		}
	}
}

// plain reports whether a hit gives its requester away: nothing that a person
// does by being quick, or by where the mail is read.
func (j *judge) plain(i int) bool {
	h := &j.held.hits[i]
	if h.Honeypot || h.Head || j.bursts[i].links >= j.rules.Links {
		return true
	}
	a := j.agents[i]
	return a != nil && 1-a.weight(h.Kind) < j.rules.Human
}

func (a *Agent) weight(k Kind) float64 {
	if k == Click {
		return a.Click
	}
	return a.Open
}

// evidence appends what speaks for a machine at one hit.
func (j *judge) evidence(all []Evidence, i int) []Evidence {
	r, m := j.rules, j.held
	h := &m.hits[i]
	add := func(e Evidence) {
		if e.Weight > 0 {
			all = append(all, e)
		}
	}
	if h.Honeypot {
		add(Evidence{Sign: SignHoneypot, Weight: r.Weight[SignHoneypot]})
	}
	if h.Head {
		add(Evidence{Sign: SignHead, Weight: r.Weight[SignHead]})
	}
	if a := j.agents[i]; a != nil {
		add(Evidence{Sign: SignAgent, Weight: a.weight(h.Kind), Name: a.Name})
	} else if h.Agent == "" {
		add(Evidence{Sign: SignNoAgent, Weight: r.Weight[SignNoAgent]})
	}
	if n := r.network(h.Addr); n != nil {
		add(Evidence{Sign: SignNetwork, Weight: n.Weight, Name: n.Name})
	}
	if b := j.bursts[i]; b.links >= r.Links {
		add(Evidence{Sign: SignBurst, Weight: r.Weight[SignBurst], Count: b.links, Span: b.span})
	} else if b.links >= 2 && b.links == r.Links-1 {
		add(Evidence{Sign: SignBurst, Weight: r.Weight[SignBurst] / 2, Count: b.links, Span: b.span})
	}
	if slices.Contains(m.seen, h.requester()) && !j.plain(i) {
		add(Evidence{Sign: SignRequester, Weight: r.Weight[SignRequester]})
	}
	if m.lost > 0 {
		add(Evidence{Sign: SignFlood, Weight: r.Weight[SignFlood], Count: MaxHits})
	}
	if !m.Delivered.IsZero() {
		add(j.timing(h))
	}
	return all
}

// timing is what the time since delivery says: too soon for anybody, or as soon
// as the gateway of this domain always is.
func (j *judge) timing(h *Hit) Evidence {
	r := j.rules
	after := h.At.Sub(j.held.Delivered)
	switch {
	case after < 0:
		return Evidence{Sign: SignBefore, Weight: r.Weight[SignBefore], Span: -after}
	case after <= r.AfterDelivery:
		return Evidence{Sign: SignEarly, Weight: r.Weight[SignEarly], Span: after}
	}
	share, usual, ok := j.domain.Sweeps()
	if !ok || h.Kind != Click || after > gatewayTime*usual+r.AfterDelivery {
		return Evidence{}
	}
	return Evidence{Sign: SignDomain, Weight: share * r.Weight[SignDomain], Share: share, Span: usual}
}

// gatewayTime is how many times its average a gateway may take.
const gatewayTime = 3

// without is the score that a hit would have without one sign.
func (v *Verdict) without(sign Sign) float64 {
	score := 1.0
	for _, e := range v.Evidence {
		if e.Sign != sign {
			score *= 1 - e.Weight
		}
	}
	return score
}

// learn tells the domain, once for each message, that a machine followed every
// link. What the domain itself said is no proof of that: it would learn from
// its own suspicion.
func (j *judge) learn(verdicts []Verdict) {
	if j.domain == nil || j.held.swept || j.held.Delivered.IsZero() {
		return
	}
	var links []uint32
	var first time.Time
	trapped := false
	for i := range verdicts {
		v := &verdicts[i]
		if v.Hit.Kind != Click || v.without(SignDomain) >= j.rules.Human {
			continue
		}
		if first.IsZero() {
			first = v.Hit.At
		}
		trapped = trapped || v.Hit.Honeypot
		if !slices.Contains(links, v.Hit.Link) {
			links = append(links, v.Hit.Link)
		}
	}
	need := j.held.Links
	if need == 0 {
		need = j.rules.Links
	}
	if trapped || len(links) >= need {
		j.held.swept = true
		j.domain.sweep(j.rules, first, first.Sub(j.held.Delivered))
	}
}
