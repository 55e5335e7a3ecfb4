// SPDX-License-Identifier: Apache-2.0

package breaker

import (
	"fmt"
	"strings"

	"github.com/seguemta/segue/mta/wilson"
)

// Pool is a larger group that a small cohort is judged with.
type Pool struct {
	Name   string // "tier active", "all"
	Counts Counts
}

// Level is what a finding means.
type Level string

// The levels.
const (
	Good Level = "good"
	Warn Level = "warn"
	Stop Level = "stop"
)

// Finding is one measure of a cohort against its limit.
type Finding struct {
	Measure string      `json:"measure"` // bounced, spam, complained, unsubscribed
	Level   Level       `json:"level"`
	Own     wilson.Rate `json:"own"`    // of the cohort alone; Of 0 = unknown
	Judged  wilson.Rate `json:"judged"` // with what it was filled up with
	Filled  string      `json:"filled,omitempty"`
	Limit   float64     `json:"limit,omitempty"` // that it is above
}

// String is the finding for people.
func (f Finding) String() string {
	s := f.Measure + " " + f.Own.String()
	if f.Filled != "" {
		s += fmt.Sprintf(", judged as %s: few of its own, filled with %s", f.Judged, f.Filled)
	}
	if f.Limit > 0 {
		s += ", above " + wilson.Percent(f.Limit)
	}
	return s
}

// measure is a way to count harm.
type measure struct {
	name  string
	limit Limit
	count func(Counts) (hits, of uint64)
}

func (p *Policy) measures() []measure {
	return []measure{
		{"complained", p.Complained, func(c Counts) (uint64, uint64) { return c.Complained, max(c.Reporting, c.Complained) }},
		{"bounced", p.Bounced, func(c Counts) (uint64, uint64) { return c.Bounced, max(c.Answered, c.Bounced) }},
		{"spam", p.Spam, func(c Counts) (uint64, uint64) { return c.Spam, max(c.Answered, c.Spam) }},
		{"unsubscribed", p.Unsubscribed, func(c Counts) (uint64, uint64) { return c.Unsubscribed, max(c.Delivered, c.Unsubscribed) }},
	}
}

// Health is every measure of a cohort; pools are those it belongs to, nearest first.
func (p *Policy) Health(s *State, pools ...Pool) []Finding {
	var found []Finding
	own := s.Window.Sum()
	for _, m := range p.measures() {
		found = append(found, p.find(&m, own, pools))
	}
	return found
}

// find judges a measure. A cohort that is small counts as if the rest of the
// sample had behaved as its pools do. One more event against it never makes it look
// better: it takes the place of a part of an event.
func (p *Policy) find(m *measure, own Counts, pools []Pool) Finding {
	hits, of := m.count(own)
	f := Finding{Measure: m.name, Level: Good, Own: wilson.Interval(hits, of)}
	var filled []string
	extra, missing := 0.0, m.limit.Sample-min(of, m.limit.Sample)
	for _, pool := range pools {
		poolHits, poolOf := m.count(pool.Counts)
		if n := min(missing, poolOf); n > 0 {
			share := float64(poolHits) / float64(poolOf)
			extra += float64(n) * share
			missing -= n
			filled = append(filled, fmt.Sprintf("%s of %s (%s)", wilson.Count(n), pool.Name, wilson.Percent(share)))
		}
	}
	if missing > 0 {
		extra += float64(missing) * m.limit.Prior
		filled = append(filled, fmt.Sprintf("%s at %s (prior)", wilson.Count(missing), wilson.Percent(m.limit.Prior)))
	}
	f.Filled = strings.Join(filled, ", ")
	f.Judged = wilson.Interval(hits+uint64(extra), max(of, m.limit.Sample))
	if hits < p.Events {
		return f
	}
	switch {
	case m.limit.Stop > 0 && f.Judged.Low > m.limit.Stop:
		f.Level, f.Limit = Stop, m.limit.Stop
	case m.limit.Warn > 0 && f.Judged.Low > m.limit.Warn:
		f.Level, f.Limit = Warn, m.limit.Warn
	}
	return f
}

// worst is the finding that matters most, or nil where all are good.
func worst(found []Finding) *Finding {
	var w *Finding
	for i := range found {
		f := &found[i]
		if f.Level == Stop && (w == nil || w.Level != Stop) || f.Level == Warn && w == nil {
			w = f
		}
	}
	return w
}
