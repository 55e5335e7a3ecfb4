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

// TestCanaryReleaseOfThoseWhoLeft: an operator's release lets go all mail that waits for a segment, also to
// those who have left it meanwhile: no new canary holds it, neither at once nor after a restart.
func TestCanaryReleaseOfThoseWhoLeft(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := tried(t, "batches = false")
		w.members("trial", "ok", "fair", 60)
		w.mailTo("", "ok", 0, 60)
		w.gathered()
		if held := w.heldUnder()["segment:trial"]; held < 30 {
			t.Fatalf("held %v", w.heldUnder())
		}
		var rows strings.Builder
		rows.WriteString("email,contact.status\n")
		for i := range 60 {
			fmt.Fprintf(&rows, "ok%d@dest.example,paying\n", i)
		}
		if _, err := w.Methods().ImportContacts(t.Context(), api.Import{Name: "left.csv"}, strings.NewReader(rows.String())); err != nil {
			t.Fatal(err)
		}
		w.judged()
		w.queue.Pause("a1", "", time.Now().Add(time.Hour))
		w.steerBreaker(api.BreakerAct{Action: "release", Name: "trial"})
		w.judged()
		w.later(2 * time.Hour)
		if h, n := w.heldUnder(), w.delivered("ok"); h["segment:trial"] != 0 || n != 60 || w.acts() != "canary_begun segment trial, released segment trial" {
			t.Errorf("held %v, %d of 60 arrived; acts %s", h, n, w.acts())
		}
		w.members("trial", "ok", "fair", 60) // who comes, or comes back, is new again
		w.members("trial", "okay", "fair", 60)
		w.mailTo("", "okay", 0, 60)
		w.gathered()
		if w.heldUnder()["segment:trial"] < 30 {
			t.Errorf("of those who came later nobody is tried: held %v", w.heldUnder())
		}
		w.stop()
	})
}

// TestCanaryOfThoseWhoLeft: who is of the sample of a segment and leaves it before his mail is delivered is
// still one of whom something is learnt: the trial does not wait for him for ever.
func TestCanaryOfThoseWhoLeft(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var later []string
		for n := range 20 {
			later = append(later, fmt.Sprintf("rcpt @%d : 450 4.2.0 later", n+1))
		}
		w := newTown(t, later...)
		w.change = twoSegments(`retry = ["1m", "5m"]`, `retry = ["1h"]`, "[http]", "[canary]\nleast = 4\nshare = 0.1\nbatches = false\n[http]", "order = 10\n", "order = 10\non_leave = \"relane\"\n")
		w.run()
		w.members("trial", "ok", "fair", 60)
		w.mailTo("", "ok", 0, 60)
		w.gathered()
		held := w.heldUnder()["segment:trial"]
		if held < 30 || held > 56 {
			t.Fatalf("held %v; acts %s", w.heldUnder(), w.acts())
		}
		var rows strings.Builder
		rows.WriteString("email,contact.status\n")
		for i := range 60 {
			if e, _ := w.queued(fmt.Sprintf("ok%d@dest.example", i)); e.Hold == "" {
				fmt.Fprintf(&rows, "ok%d@dest.example,paying\n", i)
			}
		}
		if _, err := w.Methods().ImportContacts(t.Context(), api.Import{Name: "left.csv"}, strings.NewReader(rows.String())); err != nil {
			t.Fatal(err)
		}
		w.judged()
		w.later(5 * time.Hour)
		w.later(30 * time.Hour)
		if got := w.acts(); !strings.Contains(got, "canary_passed segment trial") || w.delivered("ok") != 60 {
			t.Errorf("%d of 60 arrived; acts %s; held %v; %+v", w.delivered("ok"), got, w.heldUnder(), w.breakers.state(cohortKey{"segment", "trial"}).Trial)
		}
		w.stop()
	})
}
