// SPDX-License-Identifier: Apache-2.0

package mta

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seguemta/segue/mta/api"
)

// TestBreakerTrialThatWaits: the sample of a half-open breaker waits for its source while the trials of
// others begin, each of which has the queue asked anew. To be asked is not to go: when the source
// is back the sample goes, and is not taken for so many that have gone already.
func TestBreakerTrialThatWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newTown(t, "rcpt bad : 550 5.1.1 no such user")
		w.change = twoSegments("[http]", "[canary]\nleast = 4\nshare = 0.1\nbatches = false\n[http]")
		w.run()
		campaign := func(n int) string { return fmt.Sprintf("X-Segue-Campaign: c%d\r\n", n) }
		w.mailTo(campaign(0), "bad", 0, 20)
		w.judged()
		w.mailTo(campaign(0), "ok", 0, 60)
		w.judged()
		for n := 1; n < 5; n++ { // which will be half-open ten minutes after one another
			time.Sleep(10 * time.Minute)
			w.mailTo(campaign(n), "bad", 20*n, 20*n+20)
			w.judged()
		}
		if h := w.heldUnder(); h["campaign:c0"] != 60 {
			t.Fatalf("held %v; acts %s", h, w.acts())
		}
		if err := w.Methods().PauseSource(t.Context(), api.Pause{Source: "a1", Until: api.UntilResumed()}); err != nil {
			t.Fatal(err)
		}
		w.stop()
		time.Sleep(23*time.Hour + 25*time.Minute)
		w.run()
		w.judged()
		if h := w.heldUnder(); h["campaign:c0"] > 50 || h["campaign:c0"] < 10 {
			t.Fatalf("held %v; acts %s", h, w.acts())
		}
		for range 5 {
			time.Sleep(10 * time.Minute)
			w.judged()
		}
		if err := w.Methods().PauseSource(t.Context(), api.Pause{Source: "a1"}); err != nil {
			t.Fatal(err)
		}
		w.judged()
		if n := w.delivered("ok"); n < 10 || n > 50 {
			t.Errorf("%d of 60 went for the trial; held %v; acts %s", n, w.heldUnder(), w.acts())
		}
		w.stop()
	})
}
