// SPDX-License-Identifier: Apache-2.0

package mta

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	"github.com/seguemta/segue/mta/api"
	"github.com/seguemta/segue/mta/event"
	"github.com/seguemta/segue/queue/schedule"
	"github.com/seguemta/segue/reputation/complaint"
	"github.com/seguemta/segue/reputation/outage"
)

// Codes of alarms.
const (
	codeEngine    = "engine"
	codeClock     = "clock"
	codeComplaint = "complaint"
	codeOutage    = "outage"
	codePaused    = "paused"
	codeHeld      = "warmup_held"
	codeAgainst   = "warmup_evidence"
)

// alarm adds one to the report.
func (c *checkup) alarm(a api.Alarm) { c.report.Alarms = append(c.report.Alarms, a) }

// rank puts the worst first: what stands still, then what is slow; among those what
// concerns the engine itself, and last what an operator did and knows of; then what most mail
// waits for, then what began last.
func rank(list []api.Alarm) {
	level := []string{api.LevelStopped, api.LevelSlowed, api.LevelWarning}
	byHand := []string{codePaused, codeHeld, codePinned, stateHeld, stateOverridden}
	group := func(a api.Alarm) int {
		switch {
		case a.Code == codeEngine:
			return 0
		case slices.Contains(byHand, a.Code):
			return 2
		}
		return 1
	}
	slices.SortStableFunc(list, func(a, b api.Alarm) int {
		return cmp.Or(
			cmp.Compare(slices.Index(level, a.Level), slices.Index(level, b.Level)),
			cmp.Compare(group(a), group(b)),
			cmp.Compare(b.Queued, a.Queued),
			b.Since.Compare(a.Since),
			cmp.Compare(a.About, b.About),
		)
	})
}

// engine looks at what the report's other parts stand on: the stores, the clock, and
// the register of complaints.
func (c *checkup) engine(ctx context.Context) error {
	h, err := c.m.Health(ctx)
	if err != nil || !c.everything() {
		return err
	}
	for _, p := range h.Problems {
		c.alarm(api.Alarm{Level: api.LevelStopped, Code: codeEngine, About: "the engine", What: p, Look: "journalctl -u segue -n 100"})
	}
	if w := c.m.time.warning(); w != "" {
		since := c.last(func(e *event.Event) bool { return e.Kind == event.ClockFrozen })
		c.alarm(api.Alarm{Level: api.LevelSlowed, Code: codeClock, About: "the clock", What: w, Since: since.Time, Undo: "segue clock confirm", Look: "segue clock show"})
	}
	overdue := c.m.complaints.gauge(func(x *complaint.Case) bool { return x.Overdue(c.m.time.Settled()) })()
	if overdue > 0 {
		c.alarm(api.Alarm{
			Level: api.LevelWarning, Code: codeComplaint, About: "complaints", What: fmt.Sprintf("%.0f cases are open for more than 24 hours", overdue),
			Look: "segue complaint ls --status overdue",
		})
	}
	return nil
}

// outage tells of a provider whose word is not believed.
func (c *checkup) outage(d *outage.Change) {
	c.alarm(api.Alarm{
		Level: api.LevelWarning, Code: codeOutage, About: d.Provider, Provider: d.Provider, What: "its hard bounces suppress for a week only, until it is itself again",
		Why: d.Evidence, Since: d.Since, Queued: c.queued[d.Provider], Undo: outageUndo(d.Provider, d.Since, c.now), Look: "segue events tail --kind bounced -n 1000",
	})
}

// paused tells of a source that an operator has stopped, at all or at some providers.
func (c *checkup) paused(source string) {
	for _, p := range c.m.pauses.of(source, c.now) {
		a := api.Alarm{
			Level: api.LevelStopped, Code: codePaused, About: where(source, p.Provider), Source: source, Provider: p.Provider,
			What: "an operator paused it", Since: p.Since, Undo: "segue source resume " + source, Look: "segue source show " + source,
		}
		if p.Provider != "" {
			a.Undo += " --provider " + p.Provider
			a.Queued = c.queued[p.Provider]
		}
		if p.Until.Before(api.UntilResumed()) {
			a.Until = p.Until
		}
		c.alarm(a)
	}
}

// warm tells of a warm-up that somebody holds, or that the evidence is against.
func (c *checkup) warm(h *api.SourceHealth) {
	if h.Warmup == nil || h.Warmup.State == "follows" {
		return
	}
	k := schedule.BudgetKey{Source: h.Source, Provider: h.Provider}
	a := api.Alarm{
		Level: api.LevelWarning, About: where(h.Source, h.Provider), Source: h.Source, Provider: h.Provider, Queued: h.Queued,
		Look: "segue warmup show " + h.Source,
	}
	since := c.last(func(e *event.Event) bool {
		return e.Source == h.Source && e.Provider == h.Provider && e.Segment == "" && slices.Contains([]event.Kind{event.StageBack, event.StageHeld}, e.Kind)
	})
	a.Since, a.Undo = since.Time, since.Undo
	switch {
	case h.Warmup.State == "held":
		a.Code, a.What, a.Why = codeHeld, "its warm-up stays where it is until it is released", h.Warmup.Reason
		a.Undo = stageUndo(k, "release")
	case h.Warmup.Against != "":
		a.Code, a.What, a.Why = codeAgainst, "its evidence speaks against its next stage", h.Warmup.Against
		if since.Kind == event.StageBack {
			a.What, a.Why = "its warm-up went back a stage", since.Reason
		}
	default:
		return
	}
	c.alarm(a)
}

// where is a source at a provider; "" = at all of them.
func where(source, provider string) string {
	if provider == "" {
		return source
	}
	return source + " at " + provider
}
