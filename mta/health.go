// SPDX-License-Identifier: Apache-2.0

package mta

import (
	"context"
	"slices"
	"time"

	"github.com/seguemta/segue/mta/api"
	"github.com/seguemta/segue/mta/event"
	"github.com/seguemta/segue/queue/schedule"
	"github.com/seguemta/segue/reputation/evidence"
	"github.com/seguemta/segue/reputation/outage"
	"github.com/seguemta/segue/reputation/warmup"
)

// checkup gathers a health report: what every part knows at one time.
type checkup struct {
	m       methods
	q       api.HealthQuery
	now     time.Time
	today   warmup.Day
	budgets map[schedule.BudgetKey]api.Warmup
	inForce map[pair]api.Limit // limits by source and provider, "other" for those without
	doubts  []outage.Change
	queued  map[string]int // marketing recipients by provider
	lanes   map[string]int // and by segment
	acts    []event.Event  // the newest first
	report  api.HealthReport
}

// HealthReport implements api.Methods.
func (m methods) HealthReport(ctx context.Context, q api.HealthQuery) (api.HealthReport, error) {
	c := &checkup{m: m, q: q, now: m.o.Now(), doubts: m.contacts.outages.now(), queued: map[string]int{}, lanes: map[string]int{}}
	c.report = api.HealthReport{Now: c.now.UTC(), Alarms: []api.Alarm{}, Sources: []api.SourceHealth{}, Cohorts: []api.CohortHealth{}}
	c.today = warmup.DayOf(c.now, m.warm.zone)
	for _, l := range m.queue.Lanes() {
		if n := l.Waiting + l.InFlight; !m.plan.stream(l.Stream).Transactional {
			c.queued[other(l.Provider)] += n
			c.lanes[l.Segment] += n + l.Held
		}
	}
	for _, step := range []func(context.Context) error{c.remember, c.engine, c.warmups, c.limits, c.sources, c.cohorts} {
		if err := step(ctx); err != nil {
			return api.HealthReport{}, err
		}
	}
	if err := c.known(); err != nil {
		return api.HealthReport{}, err
	}
	rank(c.report.Alarms)
	return c.report, nil
}

// remember reads the acts that say since when and why.
func (c *checkup) remember(context.Context) (err error) {
	c.acts, err = c.m.mail.Acts(0, maxActs)
	return err
}

// last is the newest act that passes a test, or an event without a time.
func (c *checkup) last(is func(*event.Event) bool) event.Event {
	for i := range c.acts {
		if is(&c.acts[i]) {
			return c.acts[i]
		}
	}
	return event.Event{}
}

// warmups finds today's budgets.
func (c *checkup) warmups(ctx context.Context) error {
	list, err := c.m.Warmup(ctx)
	c.budgets = make(map[schedule.BudgetKey]api.Warmup, len(list))
	for _, w := range list {
		c.budgets[schedule.BudgetKey{Source: w.Source, Domain: w.Domain, Segment: w.Segment, Tier: w.Tier, Provider: w.Provider}] = w
	}
	return err
}

// sources looks at each source at each provider, and in total where that has a budget.
func (c *checkup) sources(context.Context) error {
	names := make([]string, 0, len(c.m.c.Providers)+2)
	for _, p := range c.m.c.Providers {
		names = append(names, p.Name)
	}
	for _, s := range c.m.c.Sources {
		if c.asks(s.Name, "", "") {
			c.paused(s.Name)
		}
		for _, p := range append(names, schedule.Other, schedule.Total) {
			_, limited := c.budgets[schedule.BudgetKey{Source: s.Name, Provider: p}]
			if (p != schedule.Total || limited) && c.asks(s.Name, p, "") {
				c.source(s.Name, s.Plan, p)
			}
		}
	}
	for _, d := range c.doubts {
		if c.asks("", d.Provider, "") {
			c.outage(&d)
		}
	}
	return nil
}

// asks reports whether the query is about a source at a provider, or about a cohort.
// "" names nothing.
func (c *checkup) asks(source, provider, cohort string) bool {
	named := c.q.Name == "" || slices.Contains([]string{source, provider, cohort}, c.q.Name)
	for _, f := range [][2]string{{c.q.Source, source}, {c.q.Provider, provider}, {c.q.Segment, cohort}} {
		if f[0] != "" && f[0] != f[1] {
			return false
		}
	}
	return named
}

// everything reports whether the query leaves nothing out.
func (c *checkup) everything() bool { return c.q == api.HealthQuery{} }

// source looks at one source at one provider.
func (c *checkup) source(source, plan, provider string) {
	k := schedule.BudgetKey{Source: source, Provider: provider}
	h := api.SourceHealth{Source: source, Provider: provider, State: "sending", Measures: []api.Measure{}}
	if w, ok := c.budgets[k]; ok {
		h.Warmup = &w
	}
	limits := evidence.Limits{Deferred: 1, Bounced: 1, Complained: 1, Unsubscribed: 1} // a warm source has no gate
	if r := c.m.warm.plans[plan]; r != nil {
		limits = r.limits
	}
	if provider != schedule.Total {
		h.Queued = c.queued[provider]
		sample := c.m.evidence.pooled(k, c.today, nil)
		h.Measures = measures(&sample, &limits)
	}
	for i := range c.doubts {
		if c.doubts[i].Provider == provider {
			h.Outage = c.doubts[i].Evidence
		}
	}
	c.limited(&h)
	c.warm(&h)
	for _, p := range []string{"", provider} {
		if until := c.m.pauses.until(source, p, c.now); until.After(h.Paused) {
			h.State, h.Paused = "paused", until
		}
	}
	c.report.Sources = append(c.report.Sources, h)
}

// measures are the rates of a sample against the limits of its gate.
func measures(s *evidence.Sample, l *evidence.Limits) []api.Measure {
	list := []api.Measure{}
	for _, f := range l.Findings(s) {
		m := api.Measure{Name: f.Measure, Level: "good", Rate: f.Rate, Text: f.Text}
		if f.Limit < 1 {
			m.Limit = f.Limit
		}
		switch {
		case f.Rate.Of == 0:
			m.Level = "unknown"
		case f.Above:
			m.Level = "warn"
		}
		list = append(list, m)
	}
	return list
}

// known refuses a name that nothing has: an empty report would read as a good one.
func (c *checkup) known() error {
	r := &c.report
	if c.everything() || len(r.Sources)+len(r.Cohorts)+len(r.Alarms) > 0 {
		return nil
	}
	return notFound("there is nothing of this name: segue health lists sources, providers, segments, import batches and campaigns")
}
