// SPDX-License-Identifier: Apache-2.0

package mta

import (
	"context"
	"fmt"

	"github.com/seguemta/segue/mta/api"
	"github.com/seguemta/segue/mta/event"
	"github.com/seguemta/segue/mta/wilson"
	"github.com/seguemta/segue/queue/store"
	"github.com/seguemta/segue/reputation/breaker"
)

// Codes of alarms about cohorts; those that hold mail are states of a cohort, too.
const (
	stateClosed     = "closed"
	stateHalfOpen   = "half_open"
	stateOpen       = "open"
	stateHeld       = "held"
	stateRefused    = "refused"
	stateCanary     = "canary"
	stateOverridden = "overridden"
	codeWarned      = "near_limit"
)

// cohorts looks at what breakers know of, and at every segment that is configured.
func (c *checkup) cohorts(context.Context) error {
	seen := map[string]bool{}
	for _, s := range c.m.breakers.known() {
		seen[s.Name] = seen[s.Name] || s.Kind == breaker.Segment
		if c.asksCohort(s.Kind, s.Name) {
			c.cohort(s)
		}
	}
	for _, s := range c.m.c.Segments {
		if !seen[s.Name] && c.asksCohort(breaker.Segment, s.Name) {
			c.cohort(breaker.New(breaker.Segment, s.Name))
		}
	}
	return nil
}

// asksCohort reports whether the query is about a cohort.
func (c *checkup) asksCohort(kind breaker.Kind, name string) bool {
	if c.q.Segment != "" && kind != breaker.Segment {
		return false
	}
	return c.asks("", "", name)
}

// cohort looks at one.
func (c *checkup) cohort(s *breaker.State) {
	h := api.CohortHealth{Kind: string(s.Kind), Name: s.Name, State: stateOf(s), Why: s.Why, Since: s.Since, Until: s.Until, Measures: []api.Measure{}}
	if s.Kind == breaker.Segment {
		h.Queued = c.lanes[s.Name]
	}
	found := c.m.breakers.health(s)
	for i := range found {
		f := &found[i]
		m := api.Measure{Name: f.Measure, Level: string(f.Level), Rate: f.Own, Limit: f.Limit, Text: f.String()}
		if f.Own.Of == 0 {
			m.Level = "unknown"
		}
		h.Measures = append(h.Measures, m)
	}
	switch h.State {
	case stateHeld, stateOverridden:
		h.Since, h.Until, h.Why = s.Hand.At, s.Hand.Until, by(s.Hand.By, s.Hand.Reason)
	case stateCanary, stateHalfOpen:
		t := s.Trial
		h.Since, h.Trial = t.Begun, &api.Trial{Begun: t.Begun, Size: t.Size, Admitted: t.Counts.Admitted, Concluded: t.Counts.Concluded}
		if h.State == stateCanary {
			h.Why = fmt.Sprintf("a sample of it goes first: %s of %s ended, of %s who are unproven", wilson.Count(t.Counts.Concluded), wilson.Count(t.Counts.Admitted), wilson.Count(t.Size))
		}
	case stateRefused:
		h.Since = c.last(func(e *event.Event) bool { return e.Act == string(breaker.CanaryFailed) && ofCohort(e, s) }).Time
	}
	if h.State != stateClosed {
		h.Undo = breaker.Undo(s.Kind, s.Name)
	}
	if alarmed := c.cohortAlarm(s, &h, found); !alarmed && c.crowded(&h) {
		c.report.Quiet++
		return
	}
	c.report.Cohorts = append(c.report.Cohorts, h)
}

// mostCohortsListed is how many import batches and campaigns that are well a report has at most.
const mostCohortsListed = 200

// crowded reports whether a cohort that is well has too many beside it to be listed.
func (c *checkup) crowded(h *api.CohortHealth) bool {
	return c.q.Name == "" && h.State == stateClosed && h.Kind != string(breaker.Segment) && len(c.report.Cohorts) >= mostCohortsListed
}

// stateOf is where a cohort stands, in one word.
func stateOf(s *breaker.State) string {
	switch {
	case s.Hand != nil && s.Hand.Hold:
		return stateHeld
	case s.Hand != nil:
		return stateOverridden
	case s.Phase == breaker.Open:
		return stateOpen
	case s.Phase == breaker.HalfOpen:
		return stateHalfOpen
	case s.Refused:
		return stateRefused
	case s.Trial != nil:
		return stateCanary
	}
	return stateClosed
}

// ofCohort reports whether an event is about a cohort.
func ofCohort(e *event.Event, s *breaker.State) bool {
	switch s.Kind {
	case breaker.Segment:
		return e.Segment == s.Name
	case breaker.Batch:
		return e.Batch == s.Name
	case breaker.Campaign:
		return e.Campaign == s.Name
	}
	return false
}

// cohortAlarm tells of a cohort whose mail is held, tried, or near to that; it reports
// whether there was something to tell.
func (c *checkup) cohortAlarm(s *breaker.State, h *api.CohortHealth, found []breaker.Finding) bool {
	a := api.Alarm{
		Level: api.LevelStopped, Code: h.State, About: h.Kind + " " + h.Name, Why: h.Why, Since: h.Since, Until: h.Until, Queued: h.Queued,
		Undo: h.Undo, Look: "segue health " + breaker.Quote(h.Name),
	}
	switch s.Kind {
	case breaker.Segment:
		a.Segment = s.Name
	case breaker.Batch:
		a.Batch = s.Name
	case breaker.Campaign:
		a.Campaign = s.Name
	}
	switch h.State {
	case stateHeld:
		a.What = "its marketing mail is held by hand"
	case stateOpen:
		a.What = "its marketing mail is held, then a part of it is tried"
	case stateRefused:
		a.What = "its canary failed: mail to those who are not proven is held"
	case stateHalfOpen:
		t := s.Trial.Counts
		if t.Admitted == 0 && !c.waits(s) {
			return false // a campaign that is over, a list that nobody mails: it would be an alarm for ever
		}
		a.Level, a.What = api.LevelSlowed, fmt.Sprintf("a part of its mail is tried (%s of %s ended), the rest is held", wilson.Count(t.Concluded), wilson.Count(t.Admitted))
	case stateOverridden:
		a.Level, a.What = api.LevelWarning, "its mail goes whatever the evidence"
	default:
		f := worstOf(found)
		if f == nil {
			return false
		}
		a.Level, a.Code, a.What, a.Why = api.LevelWarning, codeWarned, "close to being held", f.String()
		a.Since = s.Warned
	}
	c.alarm(a)
	return true
}

// waits reports whether mail is held for a cohort, or may be.
func (c *checkup) waits(s *breaker.State) bool {
	list, err := c.m.mail.Parked(breaker.HoldName(s.Kind, s.Name), store.ID{}, 1)
	return err != nil || len(list) > 0
}

// worstOf is the finding that is nearest to holding mail; nil where all are good.
func worstOf(found []breaker.Finding) *breaker.Finding {
	var worst *breaker.Finding
	for i := range found {
		if f := &found[i]; f.Level == breaker.Stop || f.Level == breaker.Warn && worst == nil {
			worst = f
		}
	}
	return worst
}

// health is every measure of a cohort with the pools it is judged with.
func (b *breakers) health(s *breaker.State) []breaker.Finding {
	b.mu.RLock()
	all := b.all
	b.mu.RUnlock()
	return b.policy.Health(s, all.Pools(s.Window)...)
}
