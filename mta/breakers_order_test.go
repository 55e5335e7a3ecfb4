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

// TestBreakerOfAnyName: a campaign named by a program that writes Latin-1 and folds with tabs is held over a
// restart, and can be released by a name that can be typed. An import whose name could not be kept is refused.
func TestBreakerOfAnyName(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newTown(t, "rcpt bad : 550 5.1.1 no such user")
		w.change = twoSegments()
		w.run()
		const header = "X-Segue-Campaign: fr\xfcher\r\n\t\tVogel\r\n"
		w.mailTo(header, "bad", 0, 20)
		w.judged()
		if got := w.acts(); got != "opened campaign fr?her Vogel" {
			t.Fatalf("acts %q", got)
		}
		w.stop()
		w.run()
		w.mailTo(header, "ok", 0, 3)
		w.judged()
		if h := w.heldUnder(); h["campaign:fr?her Vogel"] != 3 {
			t.Errorf("after a restart %v is held, %d arrived", h, w.delivered("ok"))
		}
		w.steerBreaker(api.BreakerAct{Action: "release", Kind: "campaign", Name: "fr?her Vogel"})
		w.judged()
		if w.delivered("ok") != 3 {
			t.Errorf("released: %v", w.heldUnder())
		}
		for _, batch := range []string{"f\xfcr.csv", "a\tb", strings.Repeat("b", 70_000)} {
			_, err := w.Methods().ImportContacts(t.Context(), api.Import{Name: "c.csv", Batch: batch}, strings.NewReader("email\nann@dest.example\n"))
			if err == nil || !strings.HasPrefix(err.Error(), "bad name of the import batch") {
				t.Errorf("%.10q: %v", batch, err)
			}
		}
		w.stop()
		w.verify()
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
