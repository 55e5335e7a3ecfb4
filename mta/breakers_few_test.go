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

// TestBreakerOfAFew: of a few that wait for a half-open breaker a random half may be nobody. Then others
// are tried, so that none waits until it expires; and when nothing waits any more, no alarm goes on.
func TestBreakerOfAFew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newTown(t, "rcpt bad : 550 5.1.1 no such user")
		w.change = twoSegments()
		w.run()
		const campaigns = 12
		for n := range campaigns {
			w.mailTo(fmt.Sprintf("X-Segue-Campaign: c%d\r\n", n), "bad", 20*n, 20*n+20)
		}
		w.judged()
		for n := range campaigns { // one more of each
			w.mailTo(fmt.Sprintf("X-Segue-Campaign: c%d\r\n", n), "ok", n, n+1)
		}
		w.judged()
		if h := w.heldUnder(); len(h) != campaigns {
			t.Fatalf("held %v; acts %s", h, w.acts())
		}
		w.later(25 * time.Hour)
		for range 10 {
			w.later(5 * time.Hour)
		}
		if n := w.delivered("ok"); n != campaigns {
			t.Errorf("%d of %d went; held %v; acts %s", n, campaigns, w.heldUnder(), w.acts())
		}
		tried := strings.Count(w.acts(), "tried_again")
		w.later(20 * 24 * time.Hour)
		if n := strings.Count(w.acts(), "tried_again") - tried; n > campaigns {
			t.Errorf("%d trials of nobody", n)
		}
		w.stop()
	})
}

// TestBreakerOfNobody: a campaign that is over is half-open for ever, and is no alarm.
func TestBreakerOfNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newTown(t, "rcpt bad : 550 5.1.1 no such user")
		w.change = twoSegments()
		w.run()
		w.mailTo("X-Segue-Campaign: spring\r\n", "bad", 0, 20)
		w.judged()
		w.later(25 * time.Hour)
		w.later(3 * 24 * time.Hour)
		r := w.checkup(api.HealthQuery{})
		if len(r.Alarms) != 0 || len(r.Cohorts) != 3 || w.acts() != "opened campaign spring, half_opened campaign spring" {
			t.Errorf("%s; %+v; acts %s", alarmLines(r), r.Cohorts, w.acts())
		}
		w.stop()
	})
}
