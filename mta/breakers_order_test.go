// SPDX-License-Identifier: Apache-2.0

package mta

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seguemta/segue/mta/api"
)

// TestBreakerOrderCanBeReadAgain: an order with the longest texts that are taken is in force after a
// restart. One with longer texts would be a state that no start can read.
func TestBreakerOrderCanBeReadAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newTown(t)
		w.run()
		act := api.BreakerAct{Action: "hold", Kind: "segment", Name: "trial", By: strings.Repeat("e", longestText), Reason: strings.Repeat("\x01", longestText)}
		w.steerBreaker(act)
		act.Reason = strings.Repeat("x", 70_000)
		if _, err := w.Methods().SteerBreaker(t.Context(), act); err == nil {
			t.Error("a reason of 70,000 octets was taken")
		}
		w.stop()
		w.run()
		if s := w.breakers.state(cohortKey{"segment", "trial"}); s == nil || s.Hand == nil || len(s.Hand.Reason) != longestText {
			t.Errorf("after a restart: %+v", s)
		}
		w.stop()
	})
}

// TestBreakerOrderOfAnUnknownName: a batch or a campaign may be held before any of its mail came,
// but whoever mistyped a name while a bad list goes out must be told.
func TestBreakerOrderOfAnUnknownName(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newTown(t)
		w.change = twoSegments()
		w.run()
		w.members("vip", "vip", "fair", 3)
		w.mailTo("X-Segue-Campaign: spring\r\n", "vip", 0, 3)
		w.judged()
		for name, unknown := range map[string]bool{"batch fair": false, "campaign spring": false, "batch fiar": true, "campaign Spring": true, "segment trial": false} {
			kind, of, _ := strings.Cut(name, " ")
			done, err := w.Methods().SteerBreaker(t.Context(), api.BreakerAct{Action: "hold", Kind: kind, Name: of, Until: time.Now().Add(time.Hour)})
			if err != nil || strings.Contains(done.Text, "is the name right?") != unknown {
				t.Errorf("%s: %q, %v", name, done.Text, err)
			}
		}
		w.stop()
	})
}

// TestBreakerCommandsOfAnyName: what a report tells to type can be typed, whatever a campaign is called.
func TestBreakerCommandsOfAnyName(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newTown(t)
		w.run()
		w.steerBreaker(api.BreakerAct{Action: "hold", Kind: "campaign", Name: "ann's spring sale"})
		r := w.checkup(api.HealthQuery{})
		if len(r.Alarms) != 1 || r.Alarms[0].Look != `segue health 'ann'\''s spring sale'` || r.Alarms[0].Undo != `segue segment release --campaign 'ann'\''s spring sale'` {
			t.Errorf("%+v", r.Alarms)
		}
		w.stop()
	})
}
