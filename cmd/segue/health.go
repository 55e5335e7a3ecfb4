// SPDX-License-Identifier: Apache-2.0

package main

import (
	"cmp"
	"context"
	"fmt"
	"strings"

	"github.com/seguemta/segue/mta/api"
	"github.com/seguemta/segue/mta/event"
	"github.com/seguemta/segue/mta/wilson"
)

type healthCmd struct {
	remote
	Show healthShow `cmd:"" default:"withargs" help:"Say what is wrong, the worst first, and what undoes it; then how sources and segments do."`
	Acts healthActs `cmd:"" help:"List what the engine did by itself, with the command that undoes it."`
}

// healthFilter is what a report is about.
type healthFilter struct {
	Name     string `arg:"" optional:"" help:"Only this source, provider, segment, import batch or campaign."`
	Source   string `help:"Only this source." placeholder:"NAME"`
	Provider string `help:"Only this provider." placeholder:"NAME"`
	Segment  string `help:"Only this segment." placeholder:"NAME"`
}

func (f *healthFilter) query() api.HealthQuery {
	return api.HealthQuery{Name: f.Name, Source: f.Source, Provider: f.Provider, Segment: f.Segment}
}

type healthShow struct {
	healthFilter
	All bool `help:"Everything: alarms that are alike, sources that sent nothing, segments without mail."`
}

// Run prints the report.
func (c *healthShow) Run(a *app) error {
	return show(a, func(ctx context.Context, m api.Methods) (api.HealthReport, error) {
		return m.HealthReport(ctx, c.query())
	},
		func(r api.HealthReport) error {
			s := screen{app: a, all: c.All, close: c.query() != api.HealthQuery{}}
			for _, part := range []func(*api.HealthReport) error{s.head, s.alarms, s.sources, s.cohorts} {
				if err := part(&r); err != nil {
					return err
				}
			}
			return nil
		})
}

// screen prints a report so that what matters is on the first screen.
type screen struct {
	*app
	all   bool
	close bool // few are asked for: each rate is said in full
}

// mostAlarms is how many alarms are said before everything else, unless all are asked for.
const mostAlarms = 8

// head is the whole report in one line.
func (s *screen) head(r *api.HealthReport) error {
	count := map[string]int{}
	for _, a := range r.Alarms {
		count[a.Level]++
	}
	var words []string
	for _, level := range []string{api.LevelStopped, api.LevelSlowed, api.LevelWarning} {
		if n := count[level]; n > 0 {
			words = append(words, fmt.Sprintf("%d %s", n, level))
		}
	}
	if len(words) == 0 {
		words = []string{"nothing is wrong"}
	}
	return s.say("%s (%s)", strings.Join(words, ", "), stamp(r.Now))
}

// alarms are those that are alike in one, the others by name.
func (s *screen) alarms(r *api.HealthReport) error {
	var order []string
	alike := map[string][]api.Alarm{}
	for _, a := range r.Alarms {
		key := strings.Join([]string{a.Level, a.Code, cmp.Or(a.Provider, a.About)}, "\x00")
		if s.all {
			key += a.About + a.What
		}
		if alike[key] == nil {
			order = append(order, key)
		}
		alike[key] = append(alike[key], a)
	}
	for i, key := range order {
		if i == mostAlarms && !s.all {
			return s.say("\nand %s more: segue health --all", plural(len(order)-i, "alarm"))
		}
		if err := s.alarm(alike[key]); err != nil {
			return err
		}
	}
	return nil
}

// alarm says the first of a group in full and names the others.
func (s *screen) alarm(group []api.Alarm) error {
	a := &group[0]
	if err := s.say(""); err != nil {
		return err
	}
	queued := ""
	if a.Queued > 0 {
		queued = fmt.Sprintf(" (%s queued)", wilson.Count(uint64(a.Queued)))
	}
	if err := s.say("%-8s %s: %s%s", strings.ToUpper(a.Level), a.About, a.What, queued); err != nil {
		return err
	}
	for _, p := range [][2]string{
		{"also", others(group[1:])}, {"why", a.Why}, {"since", s.when(a.Since)}, {"until", s.when(a.Until)}, {"undo", a.Undo}, {"look", a.Look},
	} {
		if p[1] == "" {
			continue
		}
		if err := s.say("         %-6s %s", p[0], p[1]); err != nil {
			return err
		}
	}
	return nil
}

// others names the first of a group.
func others(group []api.Alarm) string {
	const most = 3
	var names []string
	for i := range group[:min(len(group), most)] {
		names = append(names, group[i].About)
	}
	text := strings.Join(names, ", ")
	if n := len(group) - most; n > 0 {
		text += fmt.Sprintf(" and %d more", n)
	}
	return text
}

// sources are the pairs that sent, or that something is wrong with.
func (s *screen) sources(r *api.HealthReport) error {
	t := s.table("SOURCE", "PROVIDER", "STATE", "STAGE", "USED", "ALLOWED", "REFUSED", "BOUNCED", "COMPLAINED", "LIMIT")
	hidden, said := 0, []string{}
	for i := range r.Sources {
		h := &r.Sources[i]
		if !s.all && !s.close && h.State == "sending" && h.Outage == "" && !sent(h.Measures) && (h.Warmup == nil || h.Warmup.Used == 0) {
			hidden++
			continue
		}
		stage, used, allowed := "", "", ""
		if w := h.Warmup; w != nil {
			stage, used, allowed = fmt.Sprintf("%d/%d", w.Stage, w.Stages), number(w.Used), number(w.Allowed)
			if w.State == "warm" {
				stage, allowed = "warm", ""
			}
		}
		limit := ""
		if h.Limit != nil {
			limit = h.Limit.Text
			for _, l := range h.Limit.Lanes {
				limit += "; " + l.Target + " " + l.Name + " suspended"
			}
		}
		t.row(h.Source, h.Provider, h.State, stage, used, allowed, rate(h.Measures, "deferred"), rate(h.Measures, "bounced"), rate(h.Measures, "complained"), limit)
		said = append(said, inFull(h.Source+" at "+h.Provider, h.Outage, h.Measures)...)
	}
	return s.part(t, len(r.Sources)-hidden, hidden, said, "sent nothing within seven days")
}

// cohorts are segments, batches and campaigns with mail, or that something is wrong with.
func (s *screen) cohorts(r *api.HealthReport) error {
	t := s.table("COHORT", "NAME", "STATE", "UNTIL", "QUEUED", "BOUNCED", "SPAM", "COMPLAINED", "UNSUBSCRIBED")
	hidden, said := 0, []string{}
	for i := range r.Cohorts {
		h := &r.Cohorts[i]
		if !s.all && !s.close && h.State == "closed" && !sent(h.Measures) && h.Queued == 0 {
			hidden++
			continue
		}
		t.row(h.Kind, h.Name, h.State, s.relative(h.Until), number(h.Queued), rate(h.Measures, "bounced"), rate(h.Measures, "spam"), rate(h.Measures, "complained"), rate(h.Measures, "unsubscribed"))
		said = append(said, inFull(h.Kind+" "+h.Name, h.Why, h.Measures)...)
	}
	err := s.part(t, len(r.Cohorts)-hidden, hidden, said, "had no mail within seven days")
	if err != nil || r.Quiet == 0 {
		return err
	}
	return s.say("%d more import batches and campaigns are well: segue health NAME shows one", r.Quiet)
}

// part ends a table: what was left out, and where few are asked for each rate in full.
func (s *screen) part(t *table, shown, hidden int, said []string, without string) error {
	if shown > 0 {
		if err := s.say(""); err != nil {
			return err
		}
		if err := t.flush(); err != nil {
			return err
		}
	}
	if hidden > 0 {
		return s.say("%d more %s: --all shows them", hidden, without)
	}
	for _, line := range said {
		if !s.close {
			break
		}
		if err := s.say("%s", line); err != nil {
			return err
		}
	}
	return nil
}

// sent reports whether there is anything to measure.
func sent(list []api.Measure) bool {
	for _, m := range list {
		if m.Of > 0 {
			return true
		}
	}
	return false
}

// rate is a measure in one cell; ! where it speaks against somebody.
func rate(list []api.Measure, name string) string {
	for _, m := range list {
		if m.Name != name || m.Of == 0 {
			continue
		}
		text := wilson.Percent(m.Share) + " of " + wilson.Count(m.Of)
		if m.Level == "warn" || m.Level == "stop" {
			text += " !"
		}
		return text
	}
	return ""
}

// inFull is why somebody stands where it does, and every rate with its interval.
func inFull(who, why string, list []api.Measure) []string {
	var lines []string
	if why != "" {
		lines = append(lines, who+": "+why)
	}
	for _, m := range list {
		if m.Of > 0 {
			lines = append(lines, who+": "+m.Text)
		}
	}
	return lines
}

type healthActs struct {
	healthFilter
	Lines int `short:"n" default:"20" help:"At most so many, the newest."`
}

// Run prints acts, the newest first.
func (c *healthActs) Run(a *app) error {
	return show(a, func(ctx context.Context, m api.Methods) ([]event.Event, error) {
		return m.Acts(ctx, api.ActQuery{HealthQuery: c.query(), Limit: c.Lines})
	}, func(list []event.Event) error {
		if len(list) == 0 && c.query() != (api.HealthQuery{}) { // there is nothing, or nobody of this name: an event tells no more
			return a.say("of these the event log holds no act: segue health says whom there is, segue health acts what was done")
		}
		if len(list) == 0 {
			return a.say("the engine has done nothing by itself that the event log still holds")
		}
		for i := range list {
			e := &list[i]
			if err := a.say("%s %s %s: %s", stamp(e.Time), e.Kind, e.Act, actAbout(e)); err != nil {
				return err
			}
			if e.Undo == "" {
				continue
			}
			if err := a.say("  undo: %s", e.Undo); err != nil {
				return err
			}
		}
		return nil
	})
}

// actAbout is whom an act is about, where its reason does not name it, and the reason.
func actAbout(e *event.Event) string {
	who := cmp.Or(e.Source, e.SendingDomain, e.Segment)
	if e.Provider != "" {
		who = strings.TrimPrefix(who+at(e.Provider), " at ")
	}
	reason := e.Reason
	for _, name := range []string{"undo", "release"} {
		reason = strings.TrimSuffix(reason, "; "+name+": "+e.Undo)
	}
	if who == "" || strings.Contains(reason, who) {
		return reason
	}
	return who + ": " + reason
}
