// SPDX-License-Identifier: Apache-2.0

package mta

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seguemta/segue/mta/api"
	"github.com/seguemta/segue/queue/store"
)

// A domain with a plan of its own limits marketing mail from a warm source too; a
// send has to fit the source's budget and the domain's. Transactional mail goes.
func TestDomainPlanLimitsBesideTheSources(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newTown(t)
		w.change = strings.NewReplacer(
			`excess = "overflow"`, `excess = "hold"`, `overflow = "standard"`, "",
			`return_path = "bounce.example.com"`, "return_path = \"bounce.example.com\"\nplan = \"fresh\"",
			"[[plan]]\nname = \"warmup\"", "[[plan]]\nname = \"fresh\"\npace = false\n[[plan.stage]]\ntiers = [\"new\", \"active\"]\nper_day = { default = 5 }\n[[plan]]\nname = \"warmup\"",
		)
		w.run()
		w.importActive(6)
		for i := range 6 { // through the cold source, which may send 2 a day
			w.submit("", fmt.Sprintf("c%d@dest.example", i))
		}
		time.Sleep(time.Minute)
		if n := len(w.mx.Messages()); n != 2 {
			t.Fatalf("%d received, the source may send 2", n)
		}
		for i := range 6 { // through the warm one
			w.submit("", fmt.Sprintf("n%d@dest.example", i))
		}
		time.Sleep(time.Minute)
		if n := len(w.mx.Messages()); n != 5 {
			t.Fatalf("%d received, the domain may send 5", n)
		}
		w.submit("X-Segue-Stream: transactional\r\n", "ann@dest.example")
		time.Sleep(time.Minute)
		if n := len(w.mx.Messages()); n != 6 {
			t.Errorf("%d received, transactional mail never waits", n)
		}
		w.domainStands(5, 5, 1)
		w.stop()
		w.run() // what was used is known after a restart
		time.Sleep(time.Minute)
		if n := len(w.mx.Messages()); n != 6 {
			t.Errorf("%d received after a restart", n)
		}
		why := ""
		entries, err := w.queue.List(store.ID{}, 100, nil)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range entries {
			s, err := w.queue.Why(t.Context(), e.ID)
			if err != nil {
				t.Fatal(err)
			}
			why += s.Why.Text + "\n"
		}
		for _, want := range []string{"waits for the warm-up budget of domain example.com at other providers: 5 of 5 used today"} {
			if !strings.Contains(why, want) {
				t.Errorf("no mail says %q:\n%s", want, why)
			}
		}
		if err := w.Methods().SteerWarmup(t.Context(), api.WarmupAct{Action: "advance", Domain: "example.com", Provider: "other"}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		if n := len(w.mx.Messages()); n != 9 { // the source still has none
			t.Errorf("%d received when the domain is warm", n)
		}
		w.stop()
		w.verify()
	})
}

// domainStands checks the budget of example.com at other providers.
func (w *town) domainStands(used, allowed, stage int) {
	w.t.Helper()
	list, err := w.Methods().Warmup(w.t.Context())
	if err != nil {
		w.t.Fatal(err)
	}
	for _, b := range list {
		if b.Domain == "example.com" && b.Provider == "other" {
			if b.Used != used || b.Allowed != allowed || b.Stage != stage {
				w.t.Errorf("%+v", b)
			}
			return
		}
	}
	w.t.Errorf("no budget of the domain: %+v", list)
}
