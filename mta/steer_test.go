// SPDX-License-Identifier: Apache-2.0

package mta

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/seguemta/segue/mta/api"
	"github.com/seguemta/segue/mta/event"
)

func (w *town) steer(action, provider string) error {
	return w.Methods().SteerWarmup(w.t.Context(), api.WarmupAct{Action: action, Source: "cold", Provider: provider, By: "ann", Reason: "a test"})
}

// What an operator does is in force at once, is told with who and why, and
// survives a cut of the power.
func TestWarmupIsSteeredByHand(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newTown(t)
		mail := vfs.NewCrashableMem()
		w.mailFS = mail
		w.change = steep()
		w.run()
		cut := func() {
			mail = mail.CrashClone(vfs.CrashCloneCfg{})
			w.stop()
			w.mailFS = mail
			w.run()
			synctest.Wait()
		}
		is := func(stage, allowed int, state, reason string) {
			t.Helper()
			if b := w.budget("google"); b.Stage != stage || b.Allowed != allowed || b.State != state || b.Reason != reason {
				t.Fatalf("%+v; want stage %d, %d, %s, %q", b, stage, allowed, state, reason)
			}
		}
		must := func(err error) {
			t.Helper()
			if err != nil {
				t.Fatal(err)
			}
		}
		is(1, 20, "climbing", "stage 1 of 2: advances when 90% of a day's volume was used and nothing speaks against it")
		w.importNamed("c", 100)
		must(w.steer("hold", ""))
		cut()
		is(1, 20, "held", "held at stage 1 of 2 by ann: a test")
		w.send("c", 0, 40)
		w.nextDay(1)
		is(1, 20, "held", "held at stage 1 of 2 by ann: a test") // 20 of 20 were used
		if n := len(w.mx.Messages()); n < 24 || n > 25 {         // 1.25 days within 24 hours, and the cut cost a lease
			t.Errorf("%d received", n)
		}
		must(w.steer("release", "google"))
		must(w.steer("advance", "google"))
		synctest.Wait()
		time.Sleep(time.Minute)
		if n := len(w.mx.Messages()); n != 40 {
			t.Errorf("%d received after a stage was skipped by hand", n)
		}
		cut()
		is(2, 60, "climbing", "advanced to stage 2 of 2 by ann: a test")
		must(w.steer("advance", "google"))
		is(2, unlimited, "warm", "advanced to warm by ann: a test")
		must(w.steer("step-back", "google"))
		must(w.steer("step-back", "google"))
		cut()
		is(1, 20, "climbing", "stepped back to stage 1 of 2 by ann: a test")
		for _, kind := range []event.Kind{event.StageHeld, event.StageReleased, event.StageAdvanced, event.StageBack} {
			if told := w.told(kind); !strings.Contains(told, "google: ") || !strings.Contains(told, "by ann: a test") {
				t.Errorf("%s: %q", kind, told)
			}
		}
		for want, act := range map[string]api.WarmupAct{
			"no warm-up has this name": {Action: "hold", Source: "a1"},
			"nothing was changed: google: not possible: it is at its first stage": {Action: "step-back", Source: "cold", Provider: "google"},
			`there is no act "leap"`:  {Action: "leap", Source: "cold", Provider: "google"},
			"total follows the total": {Action: "hold", Source: "cold", Provider: "total"},
		} {
			if err := w.Methods().SteerWarmup(t.Context(), act); err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%+v: %v, want %q", act, err, want)
			}
		}
		w.stop()
		w.verify()
	})
}

// A source that is warm is forgotten when it sends nothing for a month, and
// nothing of the like within a week.
func TestWarmupIsForgottenWhenIdle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newTown(t)
		w.change = steep()
		w.run()
		for range 2 {
			if err := w.steer("advance", "google"); err != nil {
				t.Fatal(err)
			}
		}
		w.nextDay(6)
		if b := w.budget("google"); b.State != "warm" {
			t.Fatalf("after six days: %+v", b)
		}
		w.nextDay(14)
		if b := w.budget("google"); b.State != "climbing" || b.Stage != 2 {
			t.Fatalf("after twenty days: %+v", b)
		}
		w.nextDay(11)
		if b := w.budget("google"); b.Stage != 1 || b.Allowed != 20 || b.Reason != "steps back to stage 1 of 2: idle, its volume was last used on 2000-01-01, and receivers forget within 30 days" {
			t.Fatalf("after a month: %+v", b)
		}
		if told := w.told(event.StageBack); !strings.Contains(told, "google: steps back to stage 1 of 2: idle") {
			t.Errorf("told: %q", told)
		}
		w.stop()
	})
}

// A day ends at midnight of the budget zone, also on the day that has 23 hours.
func TestADayEndsAtMidnightOfItsZone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newTown(t)
		w.change = strings.NewReplacer("hostname = \"mta1", "budget_zone = \"Europe/Berlin\"\nhostname = \"mta1", `excess = "overflow"`, `excess = "hold"`, `overflow = "standard"`, "")
		time.Sleep(time.Until(time.Date(2000, 3, 25, 22, 30, 0, 0, time.UTC))) // 23:30 in Berlin
		w.run()
		w.importActive(10)
		for i := range 10 {
			w.submit("", fmt.Sprintf("c%d@dest.example", i))
		}
		for _, at := range []struct {
			when time.Time
			day  string
		}{
			{time.Date(2000, 3, 25, 22, 59, 0, 0, time.UTC), "2000-03-25"},
			{time.Date(2000, 3, 25, 23, 1, 0, 0, time.UTC), "2000-03-26"}, // the clocks go forward at 1:00 UTC
			{time.Date(2000, 3, 26, 21, 59, 0, 0, time.UTC), "2000-03-26"},
			{time.Date(2000, 3, 26, 22, 1, 0, 0, time.UTC), "2000-03-27"},
		} {
			time.Sleep(time.Until(at.when))
			synctest.Wait()
			if b := w.budget("other"); b.Day != at.day {
				t.Errorf("at %s it is %s, want %s", at.when, b.Day, at.day)
			}
		}
		if n := len(w.mx.Messages()); n < 4 {
			t.Errorf("%d received in three days of 2", n)
		}
		w.stop()
	})
}

// A published schedule works by its name alone, and a provider that it says
// nothing about follows the total.
func TestWarmupByAPublishedPlan(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newTown(t)
		w.change = strings.NewReplacer(`plan = "warmup"`, `plan = "sparkpost"`)
		w.run()
		b, total := w.budget("other"), w.budget("total")
		if b.Allowed != 200 || b.State != "follows" || b.Stages != 29 || total.Allowed != 200 || total.State != "climbing" {
			t.Errorf("%+v\n%+v", b, total)
		}
		if err := w.steer("advance", ""); err != nil {
			t.Fatal(err)
		}
		if b := w.budget("other"); b.Allowed != 500 || b.Reason != "follows the total: advanced to stage 2 of 29 by ann: a test" {
			t.Errorf("%+v", b)
		}
		w.stop()
	})
}
