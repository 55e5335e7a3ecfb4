// SPDX-License-Identifier: Apache-2.0

package mta

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seguemta/segue/mta/api"
	"github.com/seguemta/segue/reputation/breaker"
	"github.com/seguemta/segue/reputation/throttle"
)

// checkup is the report of a query.
func (w *town) checkup(q api.HealthQuery) api.HealthReport {
	w.t.Helper()
	r, err := w.Methods().HealthReport(w.t.Context(), q)
	if err != nil {
		w.t.Fatal(err)
	}
	return r
}

// alarmLines are the alarms as an operator reads them: level, whom, what, why, undo.
func alarmLines(r api.HealthReport) string {
	var b strings.Builder
	for _, a := range r.Alarms {
		b.WriteString(strings.Join([]string{a.Level, a.About, a.What, a.Why, a.Undo}, " | ") + "\n")
	}
	return b.String()
}

// pairOf is a source at a provider.
func pairOf(t *testing.T, r api.HealthReport, source, provider string) api.SourceHealth {
	t.Helper()
	for _, h := range r.Sources {
		if h.Source == source && h.Provider == provider {
			return h
		}
	}
	t.Fatalf("%s at %s is not in %+v", source, provider, r.Sources)
	return api.SourceHealth{}
}

// A healthy engine says so; a source that bounces is told with its evidence, what
// speaks against it and what undoes what the engine has done; a pause stands before both.
func TestHealthOfSources(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newTown(t, "rcpt bad : 550 5.1.1 no such user")
		w.change = steep()
		w.run()
		w.importNamed("c", 100)
		w.importNamed("bad", 15)
		if r := w.checkup(api.HealthQuery{}); len(r.Alarms) != 0 || len(r.Sources) != 4 {
			t.Fatalf("before anything happened: %+v", r)
		}
		w.send("c", 0, 20)
		w.nextDay(1)
		w.send("c", 20, 35)
		w.send("bad", 0, 15)
		w.nextDay(1)
		const back = "warning | cold at google | its warm-up went back a stage | " +
			"steps back to stage 1 of 2: 30 % (19.1 to 43.8 %, 15 of 50) bounced of those attempted, above 3 times 5 % | " +
			"segue warmup advance cold --provider google\n"
		r := w.checkup(api.HealthQuery{})
		if got := alarmLines(r); got != back {
			t.Fatalf("after a bad day:\n%swant\n%s", got, back)
		}
		if a := r.Alarms[0]; !a.Since.Equal(time.Date(2000, 1, 3, 0, 1, 0, 0, time.UTC)) {
			t.Errorf("since %s", a.Since)
		}
		h := pairOf(t, r, "cold", "google")
		if h.Warmup == nil || h.Warmup.Stage != 1 || h.Warmup.Allowed != 20 || len(h.Measures) != 4 {
			t.Fatalf("%+v", h)
		}
		if m := h.Measures[1]; m.Name != "bounced" || m.Level != "warn" || m.Hits != 15 || m.Of != 50 || m.Limit != 0.05 {
			t.Errorf("%+v", m)
		}
		if m := h.Measures[2]; m.Name != "complained" || m.Level != "unknown" || m.Of != 0 {
			t.Errorf("google reports no complaints, so none are known: %+v", m)
		}
		for _, p := range []api.Pause{{Source: "cold", Provider: "google", Until: api.UntilResumed()}, {Source: "a1", Until: time.Now().Add(time.Hour)}} {
			if err := w.Methods().PauseSource(t.Context(), p); err != nil {
				t.Fatal(err)
			}
		}
		r = w.checkup(api.HealthQuery{})
		const paused = "stopped | a1 | an operator paused it |  | segue source resume a1\n" +
			"stopped | cold at google | an operator paused it |  | segue source resume cold --provider google\n"
		if got := alarmLines(r); got != paused+back {
			t.Errorf("paused:\n%s", got)
		}
		if a := r.Alarms[0]; a.Since.IsZero() || a.Until.IsZero() || !r.Alarms[1].Until.IsZero() {
			t.Errorf("%+v", r.Alarms)
		}
		if h := pairOf(t, r, "a1", "other"); h.State != "paused" {
			t.Errorf("%+v", h)
		}
		w.stop()
		w.verify()
	})
}

// A report is about what is asked for; a name that nothing has is no clean bill.
func TestHealthOfOneName(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newTown(t)
		w.change = steep()
		w.run()
		for _, tt := range []struct {
			q    api.HealthQuery
			want int
		}{
			{api.HealthQuery{Name: "cold"}, 2},
			{api.HealthQuery{Name: "google"}, 2},
			{api.HealthQuery{Source: "cold", Provider: "google"}, 1},
			{api.HealthQuery{Name: "a1", Provider: "other"}, 1},
		} {
			if r := w.checkup(tt.q); len(r.Sources) != tt.want {
				t.Errorf("%+v: %+v", tt.q, r.Sources)
			}
		}
		_, err := w.Methods().HealthReport(t.Context(), api.HealthQuery{Name: "gogle"})
		if p, ok := errors.AsType[*api.Error](err); !ok || p.Status != http.StatusNotFound {
			t.Errorf("a name that nothing has: %v", err)
		}
		err = w.Methods().PauseSource(t.Context(), api.Pause{Source: "cold", Provider: "gogle", Until: api.UntilResumed()})
		if p, ok := errors.AsType[*api.Error](err); !ok || p.Status != http.StatusNotFound {
			t.Errorf("a pause at a provider that nobody has configured: %v", err)
		}
		w.stop()
	})
}

// gauges are the samples of a metric by their labels.
func (w *town) gauges(name string) map[string]float64 {
	w.t.Helper()
	families, err := w.o.Registry.Gather()
	if err != nil {
		w.t.Fatal(err)
	}
	out := map[string]float64{}
	for _, f := range families {
		if f.GetName() != name {
			continue
		}
		for _, m := range f.GetMetric() {
			var labels []string
			for _, l := range m.GetLabel() {
				labels = append(labels, l.GetValue())
			}
			out[strings.Join(labels, " ")] = m.GetGauge().GetValue() + m.GetCounter().GetValue()
		}
	}
	return out
}

// slowed is an engine at whose only provider the first two connections are put off.
func slowed(t testing.TB) *town {
	const tss = "421 4.7.0 [TSS04] Messages from 192.0.2.10 temporarily deferred due to unexpected volume or user complaints - 4.16.55.1"
	w := newTown(t, "mail @1 : "+tss, "mail @2 : "+tss, "rcpt bad : 550 5.1.1 no such user")
	w.change = strings.NewReplacer(`retry = ["1m", "5m"]`, `retry = ["2m", "5m"]`, "[http]\n", "[[provider]]\nname = \"yahoo\"\nmx = [\"mx.dest.example\"]\n[http]\n")
	w.run()
	return w
}

// What rules have in force of a source stands in the report with the rule, its evidence,
// since when and until when; so do its slow return, an operator's pin, and the metrics.
func TestHealthOfLimits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := slowed(t)
		w.submit("X-Segue-Stream: transactional\r\n", "c0@dest.example")
		time.Sleep(3 * time.Minute)
		r := w.checkup(api.HealthQuery{})
		if len(r.Alarms) != 1 {
			t.Fatalf("%+v", r.Alarms)
		}
		a := r.Alarms[0]
		if a.Level != api.LevelStopped || a.Code != codeSuspended || a.About != "a1 at yahoo" || !strings.HasPrefix(a.Why, "rule yahoo-deferred: ") || !strings.Contains(a.Why, "matched 2 times within 10m") ||
			a.Undo != "segue provider cancel yahoo --source a1" || a.Since.IsZero() || a.Until.Sub(a.Since) != 2*time.Hour {
			t.Errorf("suspended: %+v", a)
		}
		if h := pairOf(t, r, "a1", "yahoo"); h.State != "suspended" || h.Limit == nil || h.Limit.Rule != "yahoo-deferred" {
			t.Errorf("%+v", h)
		}
		if h := pairOf(t, r, "cold", "yahoo"); h.State != "sending" || h.Limit != nil {
			t.Errorf("another source: %+v", h)
		}
		if s, rate := w.gauges("segue_throttle_suspended"), w.gauges("segue_throttle_rate"); s["yahoo a1"] != 1 || len(s) != 1 || rate["yahoo a1"] != 0 || len(rate) != 1 {
			t.Errorf("suspended %v, rate %v", s, rate)
		}
		time.Sleep(time.Until(a.Until.Add(time.Minute)))
		r = w.checkup(api.HealthQuery{})
		if len(r.Alarms) != 1 || r.Alarms[0].Level != api.LevelSlowed || r.Alarms[0].What != "slowed to 10/m, 1 connection" || !strings.HasPrefix(r.Alarms[0].Why, "rule yahoo-deferred: ") ||
			time.Since(r.Alarms[0].Since) < 2*time.Hour {
			t.Errorf("slowed since the first reply: %+v", r.Alarms)
		}
		if s, rate := w.gauges("segue_throttle_suspended"), w.gauges("segue_throttle_rate"); s["yahoo a1"] != 0 || rate["yahoo a1"] != 1./6 {
			t.Errorf("suspended %v, rate %v", s, rate)
		}
		if _, err := w.Methods().PinLimits(t.Context(), api.LimitPin{Provider: "yahoo", Source: "a1", Suspend: true, By: "ann", Reason: "they asked"}); err != nil {
			t.Fatal(err)
		}
		const pinned = "stopped | a1 at yahoo | pinned to suspended: rules only watch | by ann: they asked | segue provider pin yahoo --source a1 --off\n"
		if got := alarmLines(w.checkup(api.HealthQuery{Name: "yahoo"})); got != pinned {
			t.Errorf("pinned: %s", got)
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		if n := w.gauges("segue_acts_total"); n["suspend throttled"] != 1 || n["pinned throttled"] != 1 {
			t.Errorf("acts %v", n)
		}
		for result := range w.gauges("segue_recipients_total") {
			if strings.Contains(result, "throttled") {
				t.Errorf("an act is counted as what happened to a recipient: %s", result)
			}
		}
		w.stop()
		w.verify()
	})
}

// A list of dead addresses is held, and the report names it, its rate with its interval,
// and the command; when that was given the alarm is over. The metric of segments names segments.
func TestHealthOfCohorts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newTown(t, "rcpt bad : 550 5.1.1 no such user")
		w.run()
		w.importNamed("bad", 60)
		w.send("bad", 0, 60)
		time.Sleep(time.Minute)
		synctest.Wait()
		r := w.checkup(api.HealthQuery{Name: "c.csv"})
		if len(r.Alarms) != 1 || r.Alarms[0].Level != api.LevelStopped || r.Alarms[0].Batch != "c.csv" || r.Alarms[0].Undo != "segue segment release --batch c.csv" || r.Alarms[0].Since.IsZero() {
			t.Fatalf("%+v", r.Alarms)
		}
		h := r.Cohorts[0]
		if h.Kind != "batch" || h.State != stateOpen || len(h.Measures) != 4 || h.Measures[1].Name != "bounced" || h.Measures[1].Level != "stop" || h.Measures[1].Of < 10 || h.Measures[1].Low < 0.05 {
			t.Errorf("%+v", h)
		}
		if got := w.gauges("segue_breaker_cohorts"); got["batch open"] != 1 || got["campaign open"] != 0 {
			t.Errorf("cohorts %v", got)
		}
		if got := w.gauges("segue_breaker_state"); got["trial"] != 0 || len(got) != 1 {
			t.Errorf("segments %v", got)
		}
		for action, want := range map[string]float64{"hold": 3, "override": 0} {
			if _, err := w.Methods().SteerBreaker(t.Context(), api.BreakerAct{Action: action, Kind: "segment", Name: "trial", By: "ann"}); err != nil {
				t.Fatal(err)
			}
			if got := w.gauges("segue_breaker_state"); got["trial"] != want {
				t.Errorf("after %s: %v", action, got)
			}
			if r := w.checkup(api.HealthQuery{Segment: "trial"}); len(r.Alarms) != 1 || r.Alarms[0].Why != "by ann" || r.Alarms[0].Undo != "segue segment release trial" || len(r.Cohorts) != 1 {
				t.Errorf("after %s: %+v", action, r)
			}
		}
		for _, o := range []api.BreakerAct{{Action: "release", Kind: "batch", Name: "c.csv", By: "ann"}, {Action: "release", Kind: "segment", Name: "trial", By: "ann"}} {
			if _, err := w.Methods().SteerBreaker(t.Context(), o); err != nil {
				t.Fatal(err)
			}
		}
		if r := w.checkup(api.HealthQuery{Name: "c.csv"}); len(r.Alarms) != 0 || r.Cohorts[0].State != stateClosed {
			t.Errorf("released: %+v", r)
		}
		w.stop()
		w.verify()
	})
}

// Who is on trial stands in the report with how far the sample is, and is no alarm; a
// canary that failed is one.
func TestHealthOfACanary(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newTown(t)
		w.run()
		k := cohortKey{breaker.Segment, "trial"}
		policy := w.breakers.policy
		learn := func(o breaker.Observation) {
			t.Helper()
			err := w.breakers.change(t.Context(), func(x *breakerChange) error {
				x.act(k, func(s *breaker.State) []breaker.Act {
					if s.Trial == nil {
						return policy.Resize(s, x.now, 5000)
					}
					o.Sent, o.Sample = x.now, true
					policy.Observe(s, o)
					return policy.Tick(s, x.now)
				})
				return nil
			})
			if err != nil {
				t.Fatal(err)
			}
		}
		learn(breaker.Observation{})
		learn(breaker.Observation{Counts: breaker.Counts{Admitted: 250, Concluded: 200, Answered: 200, Delivered: 200}})
		r := w.checkup(api.HealthQuery{Name: "trial"})
		h := r.Cohorts[0]
		if len(r.Alarms) != 0 || h.State != stateCanary || h.Trial == nil || h.Trial.Size != 5000 || h.Trial.Admitted != 250 || h.Trial.Concluded != 200 || h.Since.IsZero() ||
			h.Why != "a sample of it goes first: 200 of 250 ended, of 5,000 who are unproven" || h.Undo != "segue segment release trial" {
			t.Fatalf("%+v", r)
		}
		if got := w.gauges("segue_breaker_state"); got["trial"] != 1 {
			t.Errorf("on trial: %v", got)
		}
		time.Sleep(time.Hour)
		learn(breaker.Observation{Counts: breaker.Counts{Concluded: 50, Answered: 50, Bounced: 50}})
		r = w.checkup(api.HealthQuery{Name: "trial"})
		if len(r.Alarms) != 1 || r.Alarms[0].Code != stateRefused || r.Alarms[0].Level != api.LevelStopped || !r.Alarms[0].Since.Equal(time.Now().UTC()) || !strings.Contains(r.Alarms[0].Why, "the canary failed: bounced 20 % ") {
			t.Errorf("failed: %+v", r.Alarms)
		}
		if got := w.gauges("segue_breaker_state"); got["trial"] != 2 {
			t.Errorf("failed: %v", got)
		}
		wants(t, w.everyAct(), "breaker canary_begun", "breaker canary_failed")
		w.stop()
		w.verify()
	})
}

// Of a thousand import batches that are well two hundred are listed; one that is not is
// never left out, and each is shown to whoever names it.
func TestHealthOfManyBatches(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newTown(t)
		w.run()
		err := w.breakers.change(t.Context(), func(x *breakerChange) error {
			for i := range 1000 {
				x.state(cohortKey{breaker.Batch, fmt.Sprintf("b%03d", i)})
			}
			x.state(cohortKey{breaker.Batch, "b999"}).Hand = &breaker.Hand{Hold: true, By: "ann", At: time.Now()}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		r := w.checkup(api.HealthQuery{})
		last := r.Cohorts[len(r.Cohorts)-1]
		if len(r.Alarms) != 1 || r.Alarms[0].Batch != "b999" || len(r.Cohorts)+r.Quiet != 1001 || len(r.Cohorts) > 202 || !slices.ContainsFunc(r.Cohorts, func(h api.CohortHealth) bool { return h.Name == "b999" }) {
			t.Errorf("%d alarms, %d listed, %d left out, the last is %+v", len(r.Alarms), len(r.Cohorts), r.Quiet, last)
		}
		if r = w.checkup(api.HealthQuery{Name: "b998"}); len(r.Cohorts) != 1 || r.Quiet != 0 {
			t.Errorf("by name: %+v", r)
		}
		w.stop()
	})
}

// Limits are as old as the first act that nothing has ended since.
func TestHealthSaysSinceWhen(t *testing.T) {
	at := func(minute int) time.Time { return time.Date(2026, 11, 27, 3, minute, 0, 0, time.UTC) }
	for _, tt := range []struct {
		kinds []throttle.Kind
		want  int // minute
	}{
		{[]throttle.Kind{throttle.Slow, throttle.Suspend, throttle.Resume, throttle.Alert, throttle.Slow, throttle.Raise}, 1},
		{[]throttle.Kind{throttle.Slow, throttle.Recovered, throttle.Slow, throttle.Raise}, 3},
		{[]throttle.Kind{throttle.Suspend, throttle.Cancelled, throttle.Suspend}, 3},
	} {
		var acts []throttle.Act
		for i, k := range tt.kinds {
			acts = append(acts, throttle.Act{Kind: k, Time: at(i + 1)})
		}
		if got := began(acts); !got.Equal(at(tt.want)) {
			t.Errorf("%v: %s, want minute %d", tt.kinds, got, tt.want)
		}
	}
	if !began(nil).IsZero() {
		t.Error("without acts nothing began")
	}
}
