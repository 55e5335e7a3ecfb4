// SPDX-License-Identifier: Apache-2.0

package mta

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seguemta/segue/mta/api"
)

// TestCanaryIsSwitchedOff: when the table goes, what it held is given back and nobody says any more that it is
// held: neither the report, nor the metrics, nor an act about the rest of the sample. When it comes back, the
// batch that failed is as unproven as it was.
func TestCanaryIsSwitchedOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := tried(t, "segments = false", "rcpt bad : 550 5.1.1 no such user")
		on := w.change
		w.members("trial", "bad", "bought", 60)
		w.members("vip", "slow", "fair", 60)
		w.mailTo("", "bad", 0, 60)
		w.gathered()
		w.later(30 * time.Hour)
		w.mailTo("", "slow", 0, 60)
		w.gathered()
		if got := w.acts(); !strings.Contains(got, "canary_failed batch bought") || !strings.Contains(got, "canary_begun batch fair") {
			t.Fatalf("acts %s", got)
		}
		w.stop()
		w.change = twoSegments("[http]", "[breaker]\nbounced = 0.99\n[http]")
		w.run()
		w.judged()
		if h := w.heldUnder(); h["batch:bought"]+h["batch:fair"] != 0 {
			t.Errorf("held %v", h)
		}
		for _, a := range w.checkup(api.HealthQuery{}).Alarms {
			if a.Level == api.LevelStopped {
				t.Errorf("%+v", a)
			}
		}
		if got := w.gauges("segue_breaker_cohorts"); got["batch refused"]+got["batch canary"] != 0 {
			t.Errorf("%v", got)
		}
		if got := w.acts(); !strings.Contains(got, "canary_ended batch bought") || !strings.Contains(got, "canary_ended batch fair") {
			t.Errorf("acts %s", got)
		}
		w.stop()
		w.change = on
		w.run()
		w.members("trial", "worse", "bought", 30)
		w.mailTo("", "worse", 0, 30)
		w.gathered()
		if got := w.acts(); strings.Count(got, "canary_begun batch bought") != 2 {
			t.Errorf("acts %s", got)
		}
		w.stop()
	})
}
