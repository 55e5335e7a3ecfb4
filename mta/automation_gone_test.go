// SPDX-License-Identifier: Apache-2.0

package mta

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seguemta/segue/mta/api"
)

// TestAutomationOfASourceThatIsGone: what a provider held against a source that was renamed or removed
// since holds up nobody. No command would show it, none would end it, and the mail waited on after its time.
func TestAutomationOfASourceThatIsGone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newTown(t, "mail @1 : 550 5.7.1 house says spam")
		w.change = yahoo(w.ruled(contentRule))
		w.run()
		w.members("trial", "t", "fair", 2)
		w.submit("", "t0@dest.example")
		time.Sleep(time.Minute)
		if l := w.limit("a1", "yahoo"); len(l.Lanes) != 1 || l.Lanes[0].Name != "trial" {
			t.Fatalf("%+v", l)
		}
		w.stop()
		w.change = strings.NewReplacer("\"a1\"", "\"b1\"", "[http]\n", "[[provider]]\nname = \"yahoo\"\nmx = [\"mx.dest.example\"]\n"+w.ruled(contentRule)+"[http]\n")
		w.run()
		w.submit("", "other@dest.example") // so that something is known of b1, which was refused nothing
		time.Sleep(time.Minute)
		w.stop()
		w.run()
		w.submit("", "t1@dest.example")
		time.Sleep(time.Minute)
		if n := w.delivered("t1"); n != 1 {
			list, err := w.Methods().Queue(t.Context(), api.QueueQuery{})
			t.Errorf("the segment's mail waits: %+v, %v", list.Entries, err)
		}
		w.stop()
		w.verify()
	})
}
