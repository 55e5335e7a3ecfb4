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
