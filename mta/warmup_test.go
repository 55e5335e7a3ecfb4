// SPDX-License-Identifier: Apache-2.0

package mta

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seguemta/segue/mta/api"
)

// importActive makes n contacts that engaged a day ago.
func (w *town) importActive(n int) {
	w.t.Helper()
	rows := "email,last_engaged_at,first_sent_at\n"
	day := time.Now().Add(-24 * time.Hour).UTC().Format(time.RFC3339)
	for i := range n {
		rows += fmt.Sprintf("c%d@dest.example,%s,%s\n", i, day, day)
	}
	if _, err := w.Methods().ImportContacts(w.t.Context(), api.Import{Name: "c.csv"}, strings.NewReader(rows)); err != nil {
		w.t.Fatal(err)
	}
}

// used is what the cold source has used of its budget today, and its stage.
func (w *town) used() (used, allowed, stage int) {
	w.t.Helper()
	list, err := w.Methods().Warmup(w.t.Context())
	if err != nil {
		w.t.Fatal(err)
	}
	for _, b := range list {
		if b.Source == "cold" && b.Provider == "other" {
			return b.Used, b.Allowed, b.Stage
		}
	}
	return 0, 0, 0
}

func climbing() *strings.Replacer {
	return strings.NewReplacer(
		`excess = "overflow"`, `excess = "hold"`, `overflow = "standard"`, "",
		`per_day = { default = 2 }`, "per_day = { default = 2 }\n[[plan.stage]]\ntiers = [\"active\"]\nper_day = { default = 5 }",
	)
}

func TestAStageAdvancesWhenItsVolumeWasUsed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newTown(t)
		w.change = climbing()
		w.run()
		w.importActive(20)
		for i := range 20 {
			w.submit("", fmt.Sprintf("c%d@dest.example", i))
		}
		for _, day := range []struct{ received, allowed, stage int }{{2, 2, 1}, {7, 5, 2}} {
			// Two hours: a rolling day never exceeds 1.25 of a day, and it is
			// counted by whole hours.
			time.Sleep(2 * time.Hour)
			used, allowed, stage := w.used()
			if n := len(w.mx.Messages()); n != day.received || allowed != day.allowed || used != allowed || stage != day.stage {
				t.Errorf("%d received, %d of %d used at stage %d; want %+v", n, used, allowed, stage, day)
			}
			time.Sleep(time.Until(time.Now().Truncate(24 * time.Hour).Add(24 * time.Hour)))
		}
		synctest.Wait()
		time.Sleep(time.Minute)
		// The last stage was used up: the source is warm, the rest may go.
		if n := len(w.mx.Messages()); n != 20 {
			t.Errorf("%d of 20 received on the day after the last stage", n)
		}
		advanced := 0
		for _, k := range w.kinds() {
			if strings.HasPrefix(k, "stage_advanced") {
				advanced++
			}
		}
		if advanced != 2 {
			t.Errorf("%d events about stages; 2 expected", advanced)
		}
		w.stop()
		w.verify()
	})
}

func TestADayWithoutTrafficDoesNotAdvance(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newTown(t)
		w.change = climbing()
		w.run()
		w.importActive(1)
		w.submit("", "c0@dest.example")
		time.Sleep(49 * time.Hour)
		if used, allowed, stage := w.used(); used != 0 || allowed != 2 || stage != 1 {
			t.Errorf("%d of %d used at stage %d after a day with one message and a day with none", used, allowed, stage)
		}
		w.stop()
	})
}

func TestBudgetsAndStagesSurviveARestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newTown(t)
		w.change = climbing()
		w.run()
		w.importActive(10)
		for i := range 10 {
			w.submit("", fmt.Sprintf("c%d@dest.example", i))
		}
		time.Sleep(time.Minute)
		w.stop()
		w.run()
		time.Sleep(time.Hour)
		if used, _, _ := w.used(); used != 2 || len(w.mx.Messages()) != 2 {
			t.Errorf("%d used, %d received after a restart; 2 a day are allowed", used, len(w.mx.Messages()))
		}
		w.stop()
		time.Sleep(30 * time.Hour) // down over midnight: the day that ended is judged at the start
		w.run()
		time.Sleep(time.Minute)
		if used, allowed, stage := w.used(); allowed != 5 || stage != 2 || used != 5 {
			t.Errorf("%d of %d used at stage %d on the next day", used, allowed, stage)
		}
		w.stop()
	})
}

func TestExcessIsRefusedWhereThePoolSaysSo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newTown(t)
		w.change = strings.NewReplacer(`excess = "overflow"`, `excess = "refuse"`, `overflow = "standard"`, "")
		w.run()
		w.importActive(5)
		for i := range 5 {
			w.submit("", fmt.Sprintf("c%d@dest.example", i))
		}
		time.Sleep(time.Minute)
		dropped := 0
		for _, k := range w.kinds() {
			if strings.HasPrefix(k, "dropped") && strings.Contains(k, "pool prime refuses mail over its budget") {
				dropped++
			}
		}
		if n := len(w.mx.Messages()); n != 2 || dropped != 3 {
			t.Errorf("%d received, %d refused; 2 and 3 expected", n, dropped)
		}
		w.stop()
	})
}

// Transactional mail never waits for a budget: without a warm source it goes
// out as a counted overdraft.
func TestTransactionalMailNeverWaitsForABudget(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newTown(t)
		w.change = strings.NewReplacer("[[pool]]\nname = \"standard\"\n[[pool.member]]\nsource = \"a1\"", "[[pool]]\nname = \"standard\"\n[[pool.member]]\nsource = \"cold\"")
		w.run()
		for i := range 5 {
			w.submit("X-Segue-Stream: transactional\r\n", fmt.Sprintf("c%d@dest.example", i))
		}
		time.Sleep(time.Minute)
		if n := len(w.mx.Messages()); n != 5 {
			t.Errorf("%d of 5 received", n)
		}
		used, allowed, _ := w.used()
		if used > allowed {
			t.Errorf("%d of %d used", used, allowed)
		}
		if n := metric(t, w, "segue_overdraft_total"); int(n)+used != 5 {
			t.Errorf("%v overdrafts and %d charged; 5 together expected", n, used)
		}
		w.stop()
	})
}
