// SPDX-License-Identifier: Apache-2.0

package mta

import (
	"encoding/json"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seguemta/segue/mta/api"
	"github.com/seguemta/segue/mta/event"
	"github.com/seguemta/segue/queue/schedule"
	"github.com/seguemta/segue/reputation/breaker"
	"github.com/seguemta/segue/reputation/throttle"
	"github.com/seguemta/segue/reputation/warmup"
)

// constants are the values of the constants of a type in a Go file.
func constants(t *testing.T, file, typ string) []string {
	t.Helper()
	parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	var list []string
	ast.Inspect(parsed, func(n ast.Node) bool {
		spec, ok := n.(*ast.ValueSpec)
		if !ok || len(spec.Values) != 1 {
			return true
		}
		if id, ok := spec.Type.(*ast.Ident); ok && id.Name == typ {
			if lit, ok := spec.Values[0].(*ast.BasicLit); ok {
				list = append(list, strings.Trim(lit.Value, `"`))
			}
		}
		return true
	})
	if len(list) == 0 {
		t.Fatalf("%s has no constant of type %s", file, typ)
	}
	return list
}

// actTable is every act that an event can tell, with the beginning of the command that
// undoes it; "" = nothing is left to undo.
func actTable() map[event.Kind]map[string]string {
	const cancel, release = "segue provider cancel ", "segue segment release "
	return map[event.Kind]map[string]string{
		event.StageAdvanced: {actAdvanced: "segue warmup step-back "},
		event.StageBack:     {actBack: "segue warmup advance "},
		event.StageHeld:     {actHeld: "segue warmup "}, // by evidence: advance; by hand: release
		event.StageReleased: {actReleased: "segue warmup hold "},
		event.OutageBegan:   {actProvisional: "segue suppression undo "},
		event.OutageEnded:   {actPermanent: "segue suppression undo "},
		event.ClockFrozen:   {actFrozen: "segue clock confirm"},
		event.ClockSettled:  {actSettled: ""},
		event.Throttled: {
			string(throttle.Slow): cancel, string(throttle.Suspend): cancel, string(throttle.Resume): cancel, string(throttle.Raise): cancel,
			string(throttle.Alert): "", string(throttle.Recovered): "", string(throttle.Unpinned): "", string(throttle.Cancelled): "",
			string(throttle.Pinned): "segue provider pin ",
		},
		event.Breaker: {
			string(breaker.Opened): release, string(breaker.HalfOpened): release, string(breaker.TriedAgain): release, string(breaker.CanaryBegun): release,
			string(breaker.CanaryFailed): release, string(breaker.HeldByHand): release, string(breaker.Overridden): release,
			string(breaker.Warned): "", string(breaker.ClosedAgain): "", string(breaker.CanaryPassed): "", string(breaker.CanaryEnded): "", string(breaker.ReleasedByHand): "", string(breaker.HandEnded): "",
		},
	}
}

// facts are the kinds that are no acts: what happened to one recipient, or what somebody did.
func facts() []event.Kind {
	return []event.Kind{
		event.Accepted, event.Delivered, event.Deferred, event.Bounced, event.Expired, event.Suppressed, event.Dropped, event.Held, event.Released,
		event.Sampled, event.Delayed, event.Relaned, event.DSN, event.Complained, event.Unsubscribed, event.NotSpam, event.SuppressAdded, event.SuppressLift,
		event.Engaged, event.CaseOpened, event.CaseOverdue, event.CaseClosed, event.Overdraft, event.SegmentIgnored, event.SuppressUndone,
	}
}

// TestActsAreAllKnown goes over the kinds of events and of acts as they stand in the source:
// whoever adds one says here whether it is an act and what undoes it.
func TestActsAreAllKnown(t *testing.T) {
	acts := actTable()
	for _, k := range event.Kinds() {
		_, act := acts[k]
		if fact := slices.Contains(facts(), k); act == fact {
			t.Errorf("kind %s is an act: %t, a fact: %t", k, act, fact)
		}
	}
	for file, typ := range map[string]string{"../reputation/throttle/act.go": "Kind", "../reputation/breaker/act.go": "ActKind"} {
		in := acts[event.Throttled]
		if typ == "ActKind" {
			in = acts[event.Breaker]
		}
		want := slices.Sorted(slices.Values(constants(t, file, typ)))
		if got := slices.Sorted(maps.Keys(in)); !slices.Equal(got, want) {
			t.Errorf("%s has the acts\n%v, the table\n%v", file, want, got)
		}
	}
}

// TestActsNameTheirWarmup: what undoes an act is about the warm-up that it was about.
func TestActsNameTheirWarmup(t *testing.T) {
	for want, k := range map[string]schedule.BudgetKey{
		"segue warmup advance a1 --provider google":                           {Source: "a1", Provider: "google"},
		"segue warmup advance --domain example.com --provider total":          {Domain: "example.com", Provider: schedule.Total},
		"segue warmup advance --segment trial --tier active --provider other": {Plan: "gentle", Segment: "trial", Tier: "active", Provider: schedule.Other},
	} {
		if got := stageUndo(k, warmup.Forward); got != want {
			t.Errorf("%+v: %s, want %s", k, got, want)
		}
	}
}

// TestActsAreInTheManual holds the manual's table to every act, and to what undoes it.
func TestActsAreInTheManual(t *testing.T) {
	page, err := os.ReadFile("../deploy/manual/health.md")
	if err != nil {
		t.Fatal(err)
	}
	left := actTable()
	word := regexp.MustCompile("`([^`]+)`")
	for line := range strings.Lines(string(page)) {
		cells := strings.Split(line, "|")
		if len(cells) != 5 {
			continue
		}
		kind := event.Kind(strings.Trim(cells[1], " `"))
		for _, act := range word.FindAllStringSubmatch(cells[2], -1) {
			undo, known := left[kind][act[1]]
			if !known {
				t.Errorf("the manual has the act %s %s, which is none or stands there twice", kind, act[1])
			}
			if !strings.Contains(cells[3], strings.TrimSpace(undo)) || undo == "" && !strings.Contains(cells[3], "nothing") {
				t.Errorf("the manual says that %s %s is undone by %s, not by %q", kind, act[1], cells[3], undo)
			}
			delete(left[kind], act[1])
		}
	}
	for kind, acts := range left {
		for act := range acts {
			t.Errorf("the manual has no act %s %s", kind, act)
		}
	}
}

// checkAct holds an event against the table.
func checkAct(t testing.TB, e *event.Event) {
	t.Helper()
	kind, act := actTable()[e.Kind]
	if !act {
		if e.Act != "" || e.Evidence != "" || e.Undo != "" {
			t.Errorf("%s is no act, and has act %q, evidence %q, undo %q", e.Kind, e.Act, e.Evidence, e.Undo)
		}
		return
	}
	undo, known := kind[e.Act]
	switch {
	case !known:
		t.Errorf("%s: act %q is not in the table", e.Kind, e.Act)
	case e.Reason == "" || !strings.HasPrefix(e.Evidence, "{") || !json.Valid([]byte(e.Evidence)):
		t.Errorf("%s %s: reason %q, evidence %q", e.Kind, e.Act, e.Reason, e.Evidence)
	case (undo == "") != (e.Undo == "") || !strings.HasPrefix(e.Undo, undo):
		t.Errorf("%s %s: undone by %q, want %q", e.Kind, e.Act, e.Undo, undo)
	}
}

// TestActsOfRules: every act of limits and of breakers makes an event with everything, also
// those that take days to come about.
func TestActsOfRules(t *testing.T) {
	at := time.Date(2026, 11, 26, 3, 0, 0, 0, time.UTC)
	for _, kind := range constants(t, "../reputation/throttle/act.go", "Kind") {
		a := throttle.Act{
			Kind: throttle.Kind(kind), Time: at, Source: "a1", Provider: "yahoo", Target: throttle.TargetSegment, Name: "trial", Rule: "tss04", Pattern: "tss04",
			Reply: "421 [TSS04]", Count: 3, Window: time.Hour, Until: at.Add(time.Hour),
		}
		e, err := actEvent(&a, pair{"a1", "yahoo"})
		if err != nil || e.Kind != event.Throttled || e.Source != "a1" || e.Provider != "yahoo" || e.Segment != "trial" || !strings.Contains(e.Evidence, "421 [TSS04]") {
			t.Errorf("%+v, %v", e, err)
		}
		checkAct(t, &e)
	}
	for _, kind := range constants(t, "../reputation/breaker/act.go", "ActKind") {
		for _, cohort := range []breaker.Kind{breaker.Segment, breaker.Batch, breaker.Campaign} {
			a := breaker.Act{Kind: breaker.ActKind(kind), Time: at, Cohort: cohort, Name: "spring sale", Until: at.Add(time.Hour), Note: "bounced 30 %"}
			e, err := eventOf(&a)
			if err != nil || e.Kind != event.Breaker || e.Segment+e.Batch+e.Campaign != "spring sale" || !strings.Contains(e.Evidence, "bounced 30 %") {
				t.Errorf("%+v, %v", e, err)
			}
			checkAct(t, &e)
		}
	}
}

// everyAct checks all events of a town and counts its acts.
func (w *town) everyAct() map[string]int {
	w.t.Helper()
	list, err := w.mail.Events(0, 10_000)
	if err != nil {
		w.t.Fatal(err)
	}
	seen := map[string]int{}
	n := 0
	for i := range list {
		checkAct(w.t, &list[i])
		if list[i].Act != "" {
			n++
			seen[fmt.Sprintf("%s %s", list[i].Kind, list[i].Act)]++
		}
	}
	index, err := w.Methods().Acts(w.t.Context(), api.ActQuery{Limit: maxActs})
	if err != nil || len(index) != n {
		w.t.Errorf("%d acts are found of %d, %v", len(index), n, err)
	}
	return seen
}

// wants says which acts must have been seen.
func wants(t testing.TB, seen map[string]int, acts ...string) {
	t.Helper()
	for _, a := range acts {
		if seen[a] == 0 {
			t.Errorf("no %s among %v", a, seen)
		}
	}
}

// TestActsOfTheEngine: what the engine does by itself through days of good, bad and slow
// mail is told with evidence and undo, and found by whom it is about.
func TestActsOfTheEngine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newTown(t, "rcpt bad : 550 5.1.1 no such user", "rcpt late : 421 4.7.0 [TSS04] Messages from 192.0.2.11 temporarily deferred due to unexpected volume or user complaints - 4.16.55.1")
		w.change = strings.NewReplacer(append(pairs(), "google", "yahoo")...)
		w.run()
		w.importNamed("c", 100)
		w.importNamed("bad", 15)
		w.importNamed("late", 6)
		w.send("c", 0, 20)
		w.nextDay(1)
		w.send("c", 20, 35)
		w.send("bad", 0, 15)
		w.nextDay(1)
		if err := w.Methods().SteerWarmup(t.Context(), api.WarmupAct{Action: "hold", Source: "cold", By: "ann"}); err != nil {
			t.Fatal(err)
		}
		if err := w.Methods().SteerWarmup(t.Context(), api.WarmupAct{Action: "release", Source: "cold", By: "ann"}); err != nil {
			t.Fatal(err)
		}
		w.send("late", 0, 6)
		time.Sleep(time.Hour)
		synctest.Wait()
		seen := w.everyAct()
		wants(t, seen, "stage_advanced advanced", "stage_stepped_back stepped_back", "stage_held held", "stage_released released", "breaker opened", "throttled suspend")
		for name, want := range map[string]string{"cold": "cold", "c.csv": "c.csv", "yahoo": "yahoo"} {
			list, err := w.Methods().Acts(t.Context(), api.ActQuery{HealthQuery: api.HealthQuery{Name: name}, Limit: 2})
			if err != nil || len(list) == 0 || len(list) > 2 {
				t.Errorf("acts of %s: %+v, %v", name, list, err)
			}
			for _, e := range list {
				if e.Source != want && e.Batch != want && e.Provider != want {
					t.Errorf("asked for %s: %+v", name, e)
				}
			}
		}
		list, err := w.Methods().Acts(t.Context(), api.ActQuery{HealthQuery: api.HealthQuery{Source: "cold", Provider: "yahoo"}, Limit: 100})
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range list {
			if e.Kind == event.StageBack && (e.Undo != "segue warmup advance cold --provider yahoo" || !strings.Contains(e.Evidence, `"bounced":15`) || !strings.Contains(e.Evidence, `"from":2,"to":1`)) {
				t.Errorf("%+v", e)
			}
		}
		w.stop()
		w.verify()
	})
}

// TestActsOfTheClock: that time stands still is an act, too.
func TestActsOfTheClock(t *testing.T) {
	onTheWall(t, func(t testing.TB, w *town, c *wallClock) {
		c.set(5 * time.Hour)
		time.Sleep(10 * time.Second)
		if got := alarmLines(w.checkup(api.HealthQuery{})); !strings.HasPrefix(got, "slowed | the clock | the wall clock was set ahead by 5h0m0s") || !strings.HasSuffix(got, "segue clock confirm\n") {
			t.Errorf("the report says %q", got)
		}
		time.Sleep(11 * time.Minute)
		wants(t, w.everyAct(), "clock_frozen frozen", "clock_settled settled")
	})
}

// TestActsOfAnOutage: suppressions that are made provisional are one act, which says how
// to lift them; its end says so of all of them.
func TestActsOfAnOutage(t *testing.T) {
	w := newTown(t, "rcpt lost : 550 5.1.1 no such user")
	w.run()
	w.submit("", lost(130)...)
	w.settle("the outage", func() bool { return w.count("outage_began") == 1 && len(w.hardBounces()) == 130 })
	wants(t, w.everyAct(), "outage_began provisional")
	r := w.checkup(api.HealthQuery{Name: "other"})
	i := slices.IndexFunc(r.Alarms, func(a api.Alarm) bool { return a.Code == codeOutage })
	if i < 0 || r.Alarms[i].About != "other" || r.Alarms[i].Since.IsZero() || !strings.HasPrefix(r.Alarms[i].Undo, "segue suppression undo --provider other --since ") {
		t.Fatalf("%+v", r.Alarms)
	}
	if h := pairOf(t, r, "a1", "other"); h.Outage == "" {
		t.Errorf("%+v", h)
	}
	w.stop()
	w.verify()
}
