// SPDX-License-Identifier: Apache-2.0

package mta

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seguemta/segue/mta/api"
	"github.com/seguemta/segue/mta/event"
	"github.com/seguemta/segue/queue/store"
)

// tried is a town with a canary of which four go first, or of so many more that at least four are.
func tried(t *testing.T, table string, rules ...string) *town {
	t.Helper()
	w := newTown(t, rules...)
	w.change = twoSegments("[http]", "[canary]\nleast = 4\nshare = 0.1\n"+table+"\n[http]")
	w.run()
	return w
}

// first are who of ok0, ok1, ... arrived, in the order of their names.
func (w *town) first() (list []string) {
	for _, m := range w.mx.Messages() {
		if strings.HasPrefix(m.To[0], "ok") {
			list = append(list, m.To[0])
		}
	}
	slices.Sort(list)
	return list
}

// later lets time pass while nothing runs, which is quicker, and starts again.
func (w *town) later(d time.Duration) {
	w.t.Helper()
	w.stop()
	time.Sleep(d)
	w.run()
	w.gathered()
}

// gathered waits until mail has gathered, its canary has begun and its sample has gone.
func (w *town) gathered() {
	w.t.Helper()
	time.Sleep(4 * time.Minute)
	w.judged()
}

// TestCanaryOfABatch: of a new import a few go first, chosen by nobody's order, the same over a
// restart; the rest waits for four hours and then follows, and the next mailing goes at once.
func TestCanaryOfABatch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := tried(t, "segments = false")
		w.members("trial", "ok", "fair", 60)
		w.members("vip", "own", "", 5)
		w.mailTo("", "ok", 0, 60)
		w.mailTo("", "own", 0, 5)
		w.mailTo("X-Segue-Stream: transactional\r\n", "ok", 0, 1)
		w.gathered()
		went := w.first()
		if n := len(went) - 1; n < 4 || n > 25 || w.heldUnder()["batch:fair"] != 60-n || w.delivered("own") != 5 {
			t.Fatalf("%d of 60 went first, held %v; %d of no batch", n, w.heldUnder(), w.delivered("own"))
		}
		if got, want := w.acts(), "canary_begun batch c.csv, canary_begun batch fair"; got != want {
			t.Errorf("acts %q, want %q", got, want)
		}
		why := w.whyHeld()
		if want := "batch fair is held: it is unproven, and a sample of about 10 goes first; release: segue segment release --batch fair"; why != want {
			t.Errorf("the others wait: %s, want %s", why, want)
		}
		w.later(3 * time.Hour)
		w.mailTo("", "ok", 0, 60) // another message: the same contacts go first
		w.gathered()
		again := w.first()
		for _, to := range again {
			if !slices.Contains(went, to) {
				t.Errorf("%s is of the sample now", to)
			}
		}
		w.later(time.Hour)
		w.later(time.Minute)
		if n := w.delivered("ok") - 1; n != 120 || !strings.Contains(w.acts(), "canary_passed batch fair") {
			t.Errorf("%d of 120 arrived; acts %s; held %v", n, w.acts(), w.heldUnder())
		}
		w.mailTo("", "ok", 0, 60)
		w.judged()
		if n := w.delivered("ok") - 1; n != 180 {
			t.Errorf("of a batch that has passed %d of 60 went", n-120)
		}
		w.stop()
		w.verify()
	})
}

// whyHeld is why somebody who is held waits.
func (w *town) whyHeld() string {
	w.t.Helper()
	_, why := w.queued(w.someHeld())
	return why
}

// TestCanaryOfABadBatch: its sample bounces, and nobody else of it is mailed until an
// operator says so.
func TestCanaryOfABadBatch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := tried(t, "segments = false", "rcpt bad : 550 5.1.1 no such user")
		w.members("trial", "bad", "bought", 80)
		w.mailTo("", "bad", 0, 80)
		w.gathered()
		bounced := w.count("bounced")
		if bounced < 4 || bounced > 30 || w.heldUnder()["batch:bought"] != 80-bounced {
			t.Fatalf("%d of 80 bounced; held %v; acts %s", bounced, w.heldUnder(), w.acts())
		}
		w.later(30 * time.Hour)
		if !strings.Contains(w.acts(), "canary_failed batch bought") {
			t.Errorf("acts %s", w.acts())
		}
		if why := w.whyHeld(); w.count("bounced") != bounced || !strings.HasPrefix(why, "batch bought is held: the canary failed: bounced ") {
			t.Errorf("%d bounced; the others wait: %s", w.count("bounced"), why)
		}
		w.steerBreaker(api.BreakerAct{Action: "override", Kind: "batch", Name: "bought"})
		w.judged()
		if n := w.count("bounced"); n != 80 {
			t.Errorf("let go by hand %d of 80 bounced", n)
		}
		w.stop()
		w.verify()
	})
}

// TestCanaryUnknown: where the provider reports no complaints, four hours do not do, and
// a day does.
func TestCanaryUnknown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newTown(t)
		w.change = strings.NewReplacer("[http]", "[canary]\nleast = 4\nshare = 0.1\n[http]")
		w.run()
		w.members("trial", "ok", "fair", 60)
		w.mailTo("", "ok", 0, 60)
		w.gathered()
		n := w.delivered("ok")
		w.later(6 * time.Hour)
		if w.delivered("ok") != n || n == 60 {
			t.Errorf("%d after six hours, %d at first", w.delivered("ok"), n)
		}
		w.later(18 * time.Hour)
		w.later(time.Minute)
		if n := w.delivered("ok"); n != 60 || w.acts() != "canary_begun batch fair, canary_passed batch fair" {
			t.Errorf("%d after a day; acts %s", n, w.acts())
		}
		w.stop()
		w.verify()
	})
}

// TestCanaryOfASegment: its members are proven once; then only those wait who came since,
// also those who came while the trial ran.
func TestCanaryOfASegment(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := tried(t, "batches = false")
		w.members("trial", "old", "", 40)
		w.mailTo("", "old", 0, 40)
		w.gathered()
		if n := w.delivered("old"); n < 4 || n > 25 || w.heldUnder()["segment:trial"] != 40-n {
			t.Fatalf("%d of 40 went first, held %v", n, w.heldUnder())
		}
		w.members("trial", "new", "", 50)
		w.mailTo("", "new", 0, 50)
		w.gathered()
		w.later(4*time.Hour + time.Minute)
		if n := w.delivered("old"); n != 40 {
			t.Errorf("%d of 40 members arrived; acts %s", n, w.acts())
		}
		if n := w.delivered("new"); n < 4 || n > 40 || w.acts() != "canary_begun segment trial, canary_passed segment trial, canary_begun segment trial" {
			t.Errorf("%d of 50 arrived who came while the trial ran; acts %s; held %v", n, w.acts(), w.heldUnder())
		}
		w.mailTo("", "old", 0, 40)
		w.judged()
		if n := w.delivered("old"); n != 80 {
			t.Errorf("%d of 40 members arrived while others are tried", n-40)
		}
		w.later(4*time.Hour + time.Minute)
		if n := w.delivered("new"); n != 50 {
			t.Errorf("%d of 50 arrived in the end; acts %s", n, w.acts())
		}
		w.stop()
		w.verify()
	})
}

// TestCanaryOnlyOnce: nobody waits for the trial of a batch and then for that of a segment.
func TestCanaryOnlyOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := tried(t, "")
		w.members("trial", "ok", "fair", 60)
		for _, wait := range []time.Duration{4 * time.Hour, 0} {
			w.mailTo("", "ok", 0, 60)
			w.gathered()
			w.later(wait + time.Minute)
		}
		if n := w.delivered("ok"); n != 120 || w.acts() != "canary_begun batch fair, canary_passed batch fair" {
			t.Errorf("%d of 120 arrived; acts %s; held %v", n, w.acts(), w.heldUnder())
		}
		w.stop()
		w.verify()
	})
}

// TestCanaryOff: without the table nobody is tried; what waited for a trial is given back
// when the table goes.
func TestCanaryOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newTown(t)
		w.change = twoSegments()
		w.run()
		w.members("trial", "ok", "fair", 30)
		w.mailTo("", "ok", 0, 30)
		w.judged()
		if n := w.delivered("ok"); n != 30 {
			t.Fatalf("%d of 30 arrived", n)
		}
		w.stop()
		w.change = twoSegments("[http]", "[canary]\nleast = 4\n[http]")
		w.run()
		w.mailTo("", "ok", 0, 30)
		w.gathered()
		if h := w.heldUnder(); h["batch:fair"] == 0 {
			t.Errorf("held %v", h)
		}
		w.stop()
		w.change = twoSegments()
		w.run()
		w.gathered()
		if n := w.delivered("ok"); n != 60 {
			t.Errorf("%d of 60 arrived; held %v", n, w.heldUnder())
		}
		w.stop()
		w.verify()
	})
}

// TestCanaryIsTold: of whom a trial consists is in the log once for each, before the
// outcome, and in the sent index.
func TestCanaryIsTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := tried(t, "segments = false")
		w.members("trial", "ok", "fair", 60)
		w.mailTo("", "ok", 0, 60)
		w.gathered()
		list, err := w.mail.Events(0, 10_000)
		if err != nil {
			t.Fatal(err)
		}
		told := map[uint64]int{}
		for i := range list {
			e := &list[i]
			switch {
			case e.Kind == event.Sampled && slices.Equal(e.Sample, []string{"batch:fair#1"}):
				told[e.Message]++
			case e.Kind == event.Delivered:
				sent, err := w.mail.SentRecord(store.ID{Message: e.Message, Recipient: e.Recipient})
				if err != nil || told[e.Message] != 1 || fmt.Sprint(e.Sample, sent.Sample) != "[batch:fair#1] [batch:fair#1]" {
					t.Errorf("%s is told %d times, is of %q, %q, %v", e.Address, told[e.Message], e.Sample, sent.Sample, err)
				}
			}
		}
		s := w.breakers.state(cohortKey{"batch", "fair"})
		if s == nil || s.Trial == nil || s.Trial.Size != 60 || s.Trial.Counts.Admitted != uint64(len(told)) || s.Trial.Counts.Delivered != uint64(len(told)) {
			t.Errorf("%d are told, the trial says %+v", len(told), s)
		}
		w.stop()
		w.verify()
	})
}

// TestCanaryIsNotTheFirstInLine: the sample is of everybody who waits, also of those whose
// mail would leave last, and mail that comes later does not go by the share of the few that
// were there first.
func TestCanaryIsNotTheFirstInLine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := tried(t, "segments = false")
		w.members("trial", "ok", "fair", 240)
		w.mailTo("", "ok", 0, 8)
		w.gathered()
		if n := w.delivered("ok"); n != 8 {
			t.Fatalf("%d of 8 went, which are fewer than the least", n)
		}
		w.mailTo("", "ok", 8, 240)
		w.gathered()
		went := w.delivered("ok") - 8
		if went < 8 || went > 50 {
			t.Errorf("%d of 232 went; acts %s", went, w.acts())
		}
		late := 0
		for _, to := range w.first() {
			var n int
			if _, err := fmt.Sscanf(to, "ok%d@", &n); err == nil && n >= 124 {
				late++
			}
		}
		if late == 0 {
			t.Errorf("none of %d is of the later half", went)
		}
		if s := w.breakers.state(cohortKey{"batch", "fair"}); s == nil || s.Trial == nil || s.Trial.Size != 240 {
			t.Errorf("the trial does not know of 240: %+v", s)
		}
		w.stop()
		w.verify()
	})
}

// TestCanaryCountsWhatWaits: where mail leaves slowly, the cohort is all of it and not what
// has come to the door so far.
func TestCanaryCountsWhatWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newTown(t)
		w.change = strings.NewReplacer(
			"[http]", "[canary]\nsegments = false\nleast = 4\nshare = 0.1\n[http]",
			"[[pool]]\nname = \"standard\"", "[[provider]]\nname = \"hooli\"\nmx = [\"mx.dest.example\"]\nrate = \"20/m\"\n[[pool]]\nname = \"standard\"",
		)
		w.run()
		w.members("trial", "ok", "fair", 200)
		w.mailTo("", "ok", 0, 200)
		time.Sleep(firstGather + 10*time.Second)
		w.judged()
		s := w.breakers.state(cohortKey{"batch", "fair"})
		if s == nil || s.Trial == nil || s.Trial.Size != 200 {
			t.Errorf("the trial does not know of 200: %+v; acts %s", s, w.acts())
		}
		w.stop()
		w.verify()
	})
}
