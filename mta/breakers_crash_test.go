// SPDX-License-Identifier: Apache-2.0

package mta

import (
	"fmt"
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/seguemta/segue/mta/api"
	"github.com/seguemta/segue/mta/arf"
	"github.com/seguemta/segue/mta/event"
	"github.com/seguemta/segue/queue/store"
	"github.com/seguemta/segue/reputation/breaker"
)

// generous never opens, so that all counts can be seen.
func generous() []string {
	return []string{"[http]", "[breaker]\nbounced = 1\ncomplained = 1\nspam = 1\nunsubscribed = 1\n[http]"}
}

// recount counts the log anew, plainly: outcomes of marketing mail by cohort.
func (w *town) recount() map[cohortKey]breaker.Counts {
	w.t.Helper()
	list, err := w.mail.Events(0, 100_000)
	if err != nil {
		w.t.Fatal(err)
	}
	sum := map[cohortKey]breaker.Counts{}
	for i := range list {
		e := &list[i]
		var c breaker.Counts
		switch {
		case e.Stream == transactional:
			continue
		case e.Kind == event.Delivered:
			c = breaker.Counts{Concluded: 1, Answered: 1, Delivered: 1, Reporting: 1}
		case e.Kind == event.Bounced:
			c = breaker.Counts{Concluded: 1, Answered: 1, Bounced: 1}
		case e.Kind == event.Complained:
			c = breaker.Counts{Complained: 1}
		default:
			continue
		}
		for _, k := range []cohortKey{{breaker.Segment, e.Segment}, {breaker.Batch, e.Batch}, {breaker.Campaign, e.Campaign}, {"pool", "all"}} {
			if k.name != "" {
				all := sum[k]
				all.Add(c)
				sum[k] = all
			}
		}
	}
	return sum
}

// counted is what breakers have counted.
func (w *town) counted() map[cohortKey]breaker.Counts {
	sum := map[cohortKey]breaker.Counts{}
	for _, s := range w.breakers.known() {
		sum[cohortKey{s.Kind, s.Name}] = s.Window.Sum()
	}
	w.breakers.mu.RLock()
	defer w.breakers.mu.RUnlock()
	sum[cohortKey{"pool", "all"}] = w.breakers.all.Sum()
	return sum
}

// TestBreakerCountsOnce: whenever the power is cut, each outcome and each report is counted
// once, with its segment, batch and campaign and in the pool.
func TestBreakerCountsOnce(t *testing.T) {
	for seed := range uint64(8) {
		synctest.Test(t, func(t *testing.T) { countsOnce(t, seed) })
	}
}

func countsOnce(t *testing.T, seed uint64) {
	t.Helper()
	rng := rand.New(rand.NewPCG(seed, 5))
	fs := vfs.NewCrashableMem()
	w := newTown(t, "rcpt bad : 550 5.1.1 no such user")
	w.mailFS, w.change = fs, twoSegments(generous()...)
	w.run()
	w.members("trial", "bad", "bought", 6)
	w.members("trial", "ok", "grown", 30)
	w.mailTo("X-Segue-Campaign: spring\r\n", "ok", 0, 10)
	w.mailTo("", "bad", 0, 3)
	w.mailTo("X-Segue-Stream: transactional\r\n", "bad", 5, 6)
	w.judged()
	for _, m := range w.mx.Messages()[:3] {
		for range 2 { // reports come twice
			w.complain("fbl@bounce.example.com", m, arf.Report{Type: arf.Abuse})
		}
	}
	// In the middle of this the power goes.
	w.mailTo("X-Segue-Campaign: spring\r\n", "ok", 10, 30)
	w.mailTo("", "bad", 3, 5)
	time.Sleep(time.Duration(rng.IntN(300)) * time.Millisecond)
	left := fs.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: rng.IntN(101), RNG: rng})
	w.stop()
	w.mailFS = left
	w.run()
	w.judged()
	want, got := w.recount(), w.counted()
	if !reflect.DeepEqual(got, want) {
		t.Errorf("seed %d: counted\n%+v, want\n%+v", seed, got, want)
	}
	if c := want[cohortKey{"pool", "all"}]; c.Delivered < 30 || c.Bounced != 5 || c.Complained != 3 {
		t.Errorf("seed %d: the log has %+v", seed, c)
	}
	// What is stored is what is counted: another start reads it, and counts nothing again.
	w.stop()
	w.run()
	w.judged()
	if again := w.counted(); !reflect.DeepEqual(again, got) {
		t.Errorf("seed %d: after another start\n%+v, want\n%+v", seed, again, got)
	}
	w.stop()
	w.verify()
}

// TestBreakerReleaseSurvivesCrash: the power goes after a release was decided and before all of
// the mail was given back: the next start gives back the rest, and tells of the release once.
func TestBreakerReleaseSurvivesCrash(t *testing.T) {
	for seed := range uint64(6) {
		synctest.Test(t, func(t *testing.T) { releaseSurvives(t, seed) })
	}
}

func releaseSurvives(t *testing.T, seed uint64) {
	t.Helper()
	const n = 60
	rng := rand.New(rand.NewPCG(seed, 9))
	fs := vfs.NewCrashableMem()
	w := newTown(t)
	w.mailFS, w.change = fs, twoSegments()
	w.run()
	w.members("trial", "ok", "grown", n)
	w.steerBreaker(api.BreakerAct{Action: "hold", Name: "trial"})
	w.mailTo("", "ok", 0, n)
	w.judged()
	if h := w.heldUnder(); h["segment:trial"] != n {
		t.Fatalf("seed %d: held %v", seed, h)
	}
	w.steerBreaker(api.BreakerAct{Action: "release", Name: "trial"})
	if seed > 0 { // 0 is at once
		for {
			_, changed := w.mail.Durable()
			if w.count("released") >= int(seed)*n/8 || w.delivered("ok") == n {
				break
			}
			<-changed
		}
	}
	left := fs.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: rng.IntN(101), RNG: rng})
	w.stop()
	before := w.delivered("ok")
	w.mailFS = left
	w.run()
	w.judged()
	if held := w.heldUnder(); len(held) != 0 || w.delivered("ok") < n {
		t.Errorf("seed %d: %d arrived before the cut and %d in the end, of %d; held %v", seed, before, w.delivered("ok"), n, held)
	}
	if got, want := w.acts(), "held segment trial, released segment trial"; got != want {
		t.Errorf("seed %d: acts %s", seed, got)
	}
	w.stop()
	w.verify()
}

// TestBreakerLateFeedback: a complaint that comes three days later counts on the day of
// delivery, for the segment that the contact was in then.
func TestBreakerLateFeedback(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newTown(t)
		w.change = twoSegments()
		w.run()
		w.members("trial", "ok", "grown", 3)
		w.mailTo("X-Segue-Campaign: spring\r\n", "ok", 0, 3)
		w.judged()
		w.members("vip", "ok", "grown", 3) // they leave the segment
		w.stop()
		time.Sleep(72 * time.Hour)
		w.run()
		m := w.mx.Messages()
		for range 2 {
			w.complain("fbl@bounce.example.com", m[0], arf.Report{Type: arf.Abuse})
			w.report(m[1].From, bounceMail(m[1].From, m[1].To[0]))
		}
		w.judged()
		for _, k := range []cohortKey{{breaker.Segment, "trial"}, {breaker.Batch, "grown"}, {breaker.Campaign, "spring"}} {
			got := w.breakers.state(k)
			if got == nil || len(got.Window) != 1 {
				t.Fatalf("%v: %+v", k, got)
			}
			want := breaker.Counts{Concluded: 3, Answered: 3, Delivered: 3, Reporting: 3, Complained: 1, Bounced: 1}
			if got.Window[0].Counts != want || got.Window[0].Tiers["new"] != want {
				t.Errorf("%v: %+v, want %+v", k, got.Window[0], want)
			}
		}
		if s := w.breakers.state(cohortKey{breaker.Segment, "vip"}); s != nil {
			t.Errorf("the segment that they are in now: %+v", s)
		}
		w.stop()
	})
}

// TestBreakerBeginsNow: after an upgrade nobody is held for what was sent before; what
// is sent from then on counts, also where the power goes before anything was counted.
func TestBreakerBeginsNow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newTown(t, "rcpt bad : 550 5.1.1 no such user")
		w.change = twoSegments()
		w.run()
		w.members("trial", "bad", "bought", 60)
		w.mailTo("", "bad", 0, 8)
		w.judged()
		w.forgetBreakers()
		w.stop()
		w.run()
		w.judged()
		if got := w.cohorts(); got != "[]" {
			t.Errorf("%s is known of mail of before", got)
		}
		w.mailTo("", "bad", 8, 16)
		w.judged()
		w.stop()
		w.run()
		w.judged()
		if n := w.counted()[cohortKey{breaker.Batch, "bought"}].Bounced; n != 8 || strings.Contains(w.acts(), "opened") {
			t.Errorf("%d bounces count; acts %s", n, w.acts())
		}
		w.stop()
	})
}

// forgetBreakers makes the store one of before there were breakers.
func (w *town) forgetBreakers() {
	w.t.Helper()
	var names []string
	err := w.mail.States(breakerPrefix, func(name string, _ []byte) error { names = append(names, name); return nil })
	if err == nil {
		err = w.mail.Commit(w.t.Context(), func(tx *store.Tx) error {
			for _, name := range names {
				tx.DropState(name)
			}
			tx.PutCursor(breakerCursor, event.Cursor{})
			return nil
		})
	}
	if err != nil {
		w.t.Fatal(err)
	}
}

// TestBreakerOff: what evidence held is given back when breakers are switched off, what an
// operator held is not, and nothing is held by evidence any more.
func TestBreakerOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newTown(t, "rcpt bad : 550 5.1.1 no such user")
		w.change = twoSegments()
		w.run()
		w.members("trial", "bad", "bought", 60)
		w.members("vip", "vip", "grown", 3)
		w.steerBreaker(api.BreakerAct{Action: "hold", Name: "vip"})
		w.mailTo("", "bad", 0, 20)
		w.judged()
		w.mailTo("", "bad", 20, 60)
		w.mailTo("", "vip", 0, 3)
		w.judged()
		if h := w.heldUnder(); h["segment:trial"] != 40 || h["segment:vip"] != 3 {
			t.Fatalf("held %v", h)
		}
		w.steerBreaker(api.BreakerAct{Action: "hold", Kind: "batch", Name: "bought"}) // which is open, too
		w.stop()
		w.change = twoSegments("[http]", "[breaker]\nenabled = false\n[http]")
		w.run()
		w.judged()
		if h := w.heldUnder(); h["segment:trial"] != 0 || h["segment:vip"] != 3 || h["batch:bought"] != 40 {
			t.Errorf("held %v", h)
		}
		w.steerBreaker(api.BreakerAct{Action: "release", Kind: "batch", Name: "bought"})
		w.judged()
		if h := w.heldUnder(); h["segment:vip"] != 3 || len(h) != 1 || w.count("bounced") != 60 {
			t.Errorf("held %v, %d bounced", h, w.count("bounced"))
		}
		w.stop()
		w.verify()
	})
}

// TestBreakerForgetsCampaigns of which nothing counts any more, each day; and where somebody
// makes one of every message, those that did no harm.
func TestBreakerForgetsCampaigns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newTown(t)
		w.change = twoSegments()
		w.run()
		w.members("trial", "ok", "grown", 4)
		w.mailTo("X-Segue-Campaign: spring\r\n", "ok", 0, 1)
		w.steerBreaker(api.BreakerAct{Action: "hold", Kind: "campaign", Name: "winter"})
		w.judged()
		w.stop()
		time.Sleep(8 * 24 * time.Hour)
		w.run()
		w.mailTo("X-Segue-Campaign: summer\r\n", "ok", 1, 2)
		w.judged()
		if got, want := w.cohorts(), "[segment:trial campaign:summer campaign:winter batch:grown]"; got != want {
			t.Errorf("%s, want %s", got, want)
		}
		w.breakers.write.Lock()
		w.breakers.mu.Lock()
		for i := range mostCohorts {
			k := cohortKey{breaker.Campaign, fmt.Sprint(i)}
			w.breakers.states[k] = breaker.New(k.kind, k.name)
		}
		w.breakers.mu.Unlock()
		w.breakers.write.Unlock()
		w.mailTo("X-Segue-Campaign: autumn\r\n", "ok", 2, 3)
		w.judged()
		want := "[segment:trial campaign:autumn campaign:winter batch:grown]"
		if got := w.cohorts(); got != want {
			t.Errorf("crowded: %.200s, want %s", got, want)
		}
		w.stop()
		w.run()
		if got := w.cohorts(); got != want {
			t.Errorf("stored: %.200s, want %s", got, want)
		}
		w.stop()
	})
}

// cohorts are those of which something is known.
func (w *town) cohorts() string {
	var list []string
	for _, s := range w.breakers.known() {
		list = append(list, breaker.HoldName(s.Kind, s.Name))
	}
	return fmt.Sprint(list)
}

// TestBreakerAsksCheaply: while nothing is wrong a recipient costs no memory.
func TestBreakerAsksCheaply(t *testing.T) {
	w := newTown(t)
	w.run()
	w.stop()
	e, class, m := &store.Entry{}, store.Class{Segment: "trial"}, &store.Message{Campaign: "spring"}
	e.Batch = "fair"
	for _, k := range []cohortKey{{breaker.Segment, "trial"}, {breaker.Batch, "fair"}, {breaker.Campaign, "spring"}} {
		w.breakers.states[k] = breaker.New(k.kind, k.name)
	}
	if n := testing.AllocsPerRun(100, func() {
		if !w.breakers.Ask(e, class, m).Go {
			t.Error("held")
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
