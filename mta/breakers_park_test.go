// SPDX-License-Identifier: Apache-2.0

package mta

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/seguemta/segue/mta/api"
)

// TestBreakerParksWhatWaits: mail of a cohort that is held does not wait in its lane for the
// moment at which it would leave, where it stands in the way of others.
func TestBreakerParksWhatWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newTown(t)
		w.change = twoSegments()
		w.run()
		w.members("trial", "ok", "fair", 20)
		w.members("vip", "vip", "grown", 5)
		w.queue.Pause("a1", "", time.Now().Add(time.Hour))
		w.mailTo("X-Segue-Campaign: spring\r\n", "ok", 0, 10)
		w.mailTo("", "ok", 10, 20)
		w.mailTo("", "vip", 0, 5)
		w.steerBreaker(api.BreakerAct{Action: "hold", Kind: "campaign", Name: "spring"})
		w.judged()
		if h := w.heldUnder(); h["campaign:spring"] != 10 || h[""] != 15 {
			t.Errorf("held %v", h)
		}
		w.steerBreaker(api.BreakerAct{Action: "hold", Name: "trial"})
		w.judged()
		if h := w.heldUnder(); h["campaign:spring"] != 10 || h["segment:trial"] != 10 || h[""] != 5 {
			t.Errorf("held %v", h)
		}
		w.stop()
		w.verify()
	})
}
