// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"fmt"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/alecthomas/kong"

	"github.com/seguemta/segue/mta/api"
	"github.com/seguemta/segue/mta/event"
	"github.com/seguemta/segue/mta/httpapi"
	"github.com/seguemta/segue/mta/wilson"
	"github.com/seguemta/segue/reputation/breaker"
	"github.com/seguemta/segue/reputation/throttle"
)

// patient is an engine with a report.
type patient struct {
	api.Methods
	report api.HealthReport
	acts   []event.Event
	asked  api.ActQuery
}

func (p *patient) HealthReport(_ context.Context, q api.HealthQuery) (api.HealthReport, error) {
	p.asked.HealthQuery = q
	return p.report, nil
}

func (p *patient) Acts(_ context.Context, q api.ActQuery) ([]event.Event, error) {
	p.asked = q
	return p.acts, nil
}

// three is when somebody was woken.
func three() time.Time { return time.Date(2026, 11, 27, 3, 0, 0, 0, time.UTC) }

// says runs segue against an engine and returns what it prints.
func says(t *testing.T, p *patient, args ...string) string {
	t.Helper()
	srv := httptest.NewUnstartedServer(nil)
	srv.Config = httpapi.NewServer(httpapi.New(httpapi.Options{Methods: p}), nil)
	srv.Start()
	t.Cleanup(srv.Close)
	var out, errs bytes.Buffer
	a := &app{ctx: t.Context(), out: &out, errors: &errs, now: three}
	if code := run(a, append(args, "--addr", srv.Listener.Addr().String())); code != 0 {
		t.Fatalf("exit %d: %s", code, errs.String())
	}
	return out.String()
}

// night is a report in which much is wrong: a provider has suspended 40 of 60 sources,
// which makes warm-ups stand still, and a segment is held. 5 other providers are well.
func night() api.HealthReport {
	r := api.HealthReport{Now: three(), Alarms: []api.Alarm{}, Sources: []api.SourceHealth{}, Cohorts: []api.CohortHealth{}}
	r.Alarms = append(r.Alarms, api.Alarm{
		Level: api.LevelStopped, Code: "open", About: "segment trial", Segment: "trial", What: "its marketing mail is held, then a part of it is tried",
		Why: "bounced 8.1 % (6.56 to 9.96 %, 81 of 1,000), above 5 %", Since: three().Add(-20 * time.Minute), Until: three().Add(23 * time.Hour), Queued: 12345,
		Undo: "segue segment release trial", Look: "segue health trial",
	})
	bounced := func(hits, of uint64, level string) []api.Measure {
		rate := wilson.Interval(hits, of)
		return []api.Measure{{Name: "bounced", Level: level, Rate: rate, Text: rate.String() + " bounced of those attempted"}, {Name: "complained", Level: "unknown", Rate: wilson.Interval(0, 0), Text: "unknown"}}
	}
	for i := range 60 {
		name := fmt.Sprintf("a%02d", i)
		h := api.SourceHealth{Source: name, Provider: "yahoo", State: "sending", Measures: bounced(0, 0, "unknown")}
		if i < 40 {
			h.State, h.Limit = "suspended", &api.Limit{Source: name, State: "suspended", Text: "suspended", Suspended: true, Acts: []api.LimitAct{}}
			r.Alarms = append(r.Alarms, api.Alarm{
				Level: api.LevelStopped, Code: "suspended", About: name + " at yahoo", Source: name, Provider: "yahoo", What: "suspended: nothing leaves from it there",
				Why: "rule yahoo-deferred: matched 2 times within 10m", Since: three().Add(-time.Hour), Until: three().Add(time.Hour), Queued: 700,
				Undo: "segue provider cancel yahoo --source " + name, Look: "segue provider show yahoo",
			})
		}
		r.Sources = append(r.Sources, h)
		for _, p := range []string{"google", "microsoft", "apple", "gmx", "other"} {
			r.Sources = append(r.Sources, api.SourceHealth{Source: name, Provider: p, State: "sending", Measures: bounced(0, 0, "unknown")})
		}
	}
	r.Cohorts = append(r.Cohorts,
		api.CohortHealth{Kind: "segment", Name: "trial", State: "open", Until: three().Add(23 * time.Hour), Queued: 12345, Measures: bounced(81, 1000, "stop")},
		api.CohortHealth{Kind: "segment", Name: "quiet", State: "closed", Measures: bounced(0, 0, "unknown")},
	)
	r.Quiet = 7
	return r
}

// TestHealthIsOneScreen: what is wrong stands on the first 24 lines of a terminal, however
// many sources share it; alarms that are alike are one.
func TestHealthIsOneScreen(t *testing.T) {
	t.Parallel()
	got := says(t, &patient{report: night()}, "health")
	const want = `41 stopped (2026-11-27T03:00:00Z)

STOPPED  segment trial: its marketing mail is held, then a part of it is tried (12,345 queued)
         why    bounced 8.1 % (6.56 to 9.96 %, 81 of 1,000), above 5 %
         since  2026-11-27T02:40:00Z (20m ago)
         until  2026-11-28T02:00:00Z (in 23h)
         undo   segue segment release trial
         look   segue health trial

STOPPED  a00 at yahoo: suspended: nothing leaves from it there (700 queued)
         also   a01 at yahoo, a02 at yahoo, a03 at yahoo and 36 more
         why    rule yahoo-deferred: matched 2 times within 10m
         since  2026-11-27T02:00:00Z (60m ago)
         until  2026-11-27T04:00:00Z (in 60m)
         undo   segue provider cancel yahoo --source a00
         look   segue provider show yahoo

SOURCE  PROVIDER  STATE      STAGE  USED  ALLOWED  REFUSED  BOUNCED  COMPLAINED  LIMIT
a00     yahoo     suspended  -      -     -        -        -        -           suspended
`
	if !strings.HasPrefix(got, want) {
		t.Errorf("the first screen is\n%s\nwant\n%s", got[:min(len(got), 2500)], want)
	}
	for _, line := range []string{
		"\n320 more sent nothing within seven days: --all shows them\n", "\nsegment  trial  open   in 23h  12345   8.1 % of 1,000 !  -     -           -\n",
		"\n1 more had no mail within seven days: --all shows them\n", "\n7 more import batches and campaigns are well: segue health NAME shows one\n",
	} {
		if !strings.Contains(got, line) {
			t.Errorf("%q is missing in\n%s", line, got[len(got)-600:])
		}
	}
}

// TestHealthInFull: with --all nothing is left out, and who asks for one name reads every
// rate with its interval.
func TestHealthInFull(t *testing.T) {
	t.Parallel()
	p := &patient{report: night()}
	all := says(t, p, "health", "--all")
	if n := strings.Count(all, "STOPPED  "); n != 41 {
		t.Errorf("%d alarms are said of 41", n)
	}
	if n := strings.Count(all, " sending "); n != 320 || strings.Contains(all, ": --all") {
		t.Errorf("%d sources that send are said of 320", n)
	}
	one := says(t, p, "health", "trial", "--provider", "yahoo")
	if p.asked.HealthQuery != (api.HealthQuery{Name: "trial", Provider: "yahoo"}) {
		t.Errorf("asked for %+v", p.asked)
	}
	if want := "\nsegment trial: 8.1 % (6.56 to 9.96 %, 81 of 1,000) bounced of those attempted\n"; !strings.Contains(one, want) {
		t.Errorf("%q is missing in\n%s", want, one[len(one)-600:])
	}
	p.report = api.HealthReport{Now: three()}
	if got := says(t, p, "health"); got != "nothing is wrong (2026-11-27T03:00:00Z)\n" {
		t.Errorf("where all is well: %q", got)
	}
}

// TestActsAreListed: what was done, whom with, and what undoes it, the newest first.
func TestActsAreListed(t *testing.T) {
	t.Parallel()
	p := &patient{acts: []event.Event{
		{Sequence: 9, Time: three(), Kind: event.Throttled, Act: "suspend", Source: "a1", Provider: "yahoo", Reason: "a1 at yahoo: suspended; undo: segue provider cancel yahoo --source a1", Undo: "segue provider cancel yahoo --source a1"},
		{Sequence: 7, Time: three().Add(-time.Hour), Kind: event.StageBack, Act: "stepped_back", Source: "a1", Provider: "google", Reason: "steps back to stage 1 of 2: 30 % bounced", Undo: "segue warmup advance a1 --provider google"},
		{Sequence: 5, Time: three().Add(-2 * time.Hour), Kind: event.ClockSettled, Act: "settled", Reason: "the wall clock is back where it should be"},
	}}
	const want = `2026-11-27T03:00:00Z throttled suspend: a1 at yahoo: suspended
  undo: segue provider cancel yahoo --source a1
2026-11-27T02:00:00Z stage_stepped_back stepped_back: a1 at google: steps back to stage 1 of 2: 30 % bounced
  undo: segue warmup advance a1 --provider google
2026-11-27T01:00:00Z clock_settled settled: the wall clock is back where it should be
`
	if got := says(t, p, "health", "acts", "a1", "-n", "3"); got != want {
		t.Errorf("printed\n%s\nwant\n%s", got, want)
	}
	if p.asked.Name != "a1" || p.asked.Limit != 3 {
		t.Errorf("asked for %+v", p.asked)
	}
	p.acts = nil
	for _, args := range [][]string{{"a7"}, {"--segment", "trail"}} { // a name that nothing has is no proof that the engine did nothing
		if got := says(t, p, append([]string{"health", "acts"}, args...)...); !strings.HasPrefix(got, "of these the event log holds no act: ") {
			t.Errorf("%s: printed %q", args, got)
		}
	}
	if got := says(t, p, "health", "acts"); got != "the engine has done nothing by itself that the event log still holds\n" {
		t.Errorf("printed %q", got)
	}
}

// TestActsAreUndone: every command that an act names is one of the grammar. Those of
// warm-ups, outages and the clock are as mta's tests hold them.
func TestActsAreUndone(t *testing.T) {
	t.Parallel()
	undo := []string{
		"segue warmup advance a1 --provider google", "segue warmup step-back --domain example.com --provider total",
		"segue warmup release --segment trial --tier active --provider other", "segue warmup hold a1 --provider google",
		"segue suppression undo --provider other --since 2026-11-27T03:00:00Z --until 2026-11-27T04:00:00Z --reason outage",
		"segue clock confirm", "segue source resume a1 --provider google", "segue source resume a1",
	}
	for _, kind := range []throttle.Kind{throttle.Slow, throttle.Suspend, throttle.Resume, throttle.Raise, throttle.Pinned} {
		for target, name := range map[throttle.Target]string{throttle.TargetSource: "", throttle.TargetLane: "marketing/trial/active/prime", throttle.TargetSegment: "trial"} {
			if kind == throttle.Pinned && name != "" {
				continue // a source alone is pinned
			}
			undo = append(undo, throttle.Act{Kind: kind, Source: "a1", Provider: "yahoo", Target: target, Name: name}.Undo())
		}
	}
	for _, cohort := range []breaker.Kind{breaker.Segment, breaker.Batch, breaker.Campaign} {
		undo = append(undo, breaker.Undo(cohort, "spring"))
	}
	for _, command := range undo {
		parser, err := kong.New(&commands{}, kong.Name("segue"), kong.Vars{"version": "test"}, kong.Bind(quiet(t.Context())))
		if err != nil {
			t.Fatal(err)
		}
		words := strings.Fields(command)
		if len(words) < 2 || words[0] != "segue" {
			t.Fatalf("%q is no command", command)
		}
		if _, err := parser.Parse(words[1:]); err != nil {
			t.Errorf("%s: %v", command, err)
		}
	}
}
