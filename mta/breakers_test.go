// SPDX-License-Identifier: Apache-2.0

package mta

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seguemta/segue/mta/api"
	"github.com/seguemta/segue/mta/arf"
	"github.com/seguemta/segue/mta/event"
	"github.com/seguemta/segue/queue"
	"github.com/seguemta/segue/queue/store"
	"github.com/seguemta/segue/reputation/breaker"
)

// twoSegments has a segment vip beside trial, and a tracked provider that reports.
func twoSegments(more ...string) *strings.Replacer {
	return strings.NewReplacer(append([]string{
		"[[segment]]\nname = \"trial\"", "[[segment]]\nname = \"vip\"\norder = 20\nwhere = 'contact.status == \"vip\"'\n[[segment]]\nname = \"trial\"",
		"[[pool]]\nname = \"standard\"", "[[provider]]\nname = \"hooli\"\nmx = [\"mx.dest.example\"]\nreports_complaints = true\n[[pool]]\nname = \"standard\"",
	}, more...)...)
}

// members makes n contacts PREFIX0, PREFIX1, ... of a segment, by an import.
func (w *town) members(segment, prefix, batch string, n int) {
	w.t.Helper()
	var rows strings.Builder
	rows.WriteString("email,contact.status\n")
	for i := range n {
		fmt.Fprintf(&rows, "%s%d@dest.example,%s\n", prefix, i, segment)
	}
	if _, err := w.Methods().ImportContacts(w.t.Context(), api.Import{Name: "c.csv", Batch: batch}, strings.NewReader(rows.String())); err != nil {
		w.t.Fatal(err)
	}
}

// mailTo submits a message to each of PREFIX from..to-1.
func (w *town) mailTo(header, prefix string, from, to int) {
	w.t.Helper()
	for i := from; i < to; i++ {
		w.submit(header, fmt.Sprintf("%s%d@dest.example", prefix, i))
	}
}

// judged waits until breakers have followed the log, and everything else has settled.
func (w *town) judged() {
	w.t.Helper()
	time.Sleep(time.Minute)
	synctest.Wait()
	if durable, _ := w.mail.Durable(); w.breakers.consumed() != durable {
		w.t.Errorf("breakers have followed up to %d of %d", w.breakers.consumed(), durable)
	}
}

// acts are the acts of breakers, each with its cohort.
func (w *town) acts() string {
	w.t.Helper()
	list, err := w.mail.Events(0, 100_000)
	if err != nil {
		w.t.Fatal(err)
	}
	var out []string
	for i := range list {
		e := &list[i]
		if e.Kind != event.Breaker {
			continue
		}
		var a breaker.Act
		if err := json.Unmarshal([]byte(e.Evidence), &a); err != nil || string(a.Kind) != e.Act || a.String() != e.Reason || a.Undo() != e.Undo || a.Name != e.Segment+e.Batch+e.Campaign {
			w.t.Errorf("%+v: %v", e, err)
		}
		out = append(out, fmt.Sprintf("%s %s %s", e.Act, a.Cohort, a.Name))
	}
	return strings.Join(out, ", ")
}

// steerBreaker gives an order about a segment.
func (w *town) steerBreaker(act api.BreakerAct) {
	w.t.Helper()
	if act.Kind == "" {
		act.Kind = "segment"
	}
	if _, err := w.Methods().SteerBreaker(w.t.Context(), act); err != nil {
		w.t.Fatal(err)
	}
}

func (w *town) delivered(prefix string) int {
	n := 0
	for _, m := range w.mx.Messages() {
		if strings.HasPrefix(m.To[0], prefix) {
			n++
		}
	}
	return n
}

// heldUnder are how many recipients are parked, by the name of their hold.
func (w *town) heldUnder() map[string]int {
	w.t.Helper()
	list, err := w.queue.List(store.ID{}, 100_000, nil)
	if err != nil {
		w.t.Fatal(err)
	}
	holds := map[string]int{}
	for i := range list {
		holds[list[i].Hold]++
	}
	return holds
}

// TestBreakerHoldsWhoDoesHarm: a segment whose addresses do not exist is stopped after a
// dozen of them, for a day and over a restart; transactional mail of the same people, and
// the mail of everybody else, goes on. Then half of what waits is tried, and when that was good
// the rest follows.
func TestBreakerHoldsWhoDoesHarm(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newTown(t, "rcpt bad : 550 5.1.1 no such user")
		w.change = twoSegments()
		w.run()
		w.members("trial", "bad", "bought", 20)
		w.members("trial", "ok", "grown", 40)
		w.members("vip", "vip", "grown", 30)
		w.mailTo("", "vip", 0, 10)
		w.mailTo("", "bad", 0, 20)
		w.judged()
		if got, want := w.acts(), "opened segment trial, opened batch bought"; got != want {
			t.Fatalf("acts %q, want %q", got, want)
		}
		others := breaker.Counts{Concluded: 10, Answered: 10, Delivered: 10, Reporting: 10}
		if got := w.counted()[cohortKey{"pool", "all"}]; got != others {
			t.Errorf("what others are judged with: %+v, want %+v", got, others)
		}
		w.mailTo("", "ok", 0, 40)
		w.mailTo("", "vip", 10, 30)
		w.mailTo("X-Segue-Stream: transactional\r\n", "ok", 0, 1)
		w.judged()
		if ok, vip := w.delivered("ok"), w.delivered("vip"); ok != 1 || vip != 30 {
			t.Fatalf("%d of the held segment (1 transactional) and %d of the other arrived", ok, vip)
		}
		e, why := w.queued("ok7@dest.example")
		if want := "segment trial is held: bounced "; e.Hold != "segment:trial" || !strings.HasPrefix(why, want) || !strings.HasSuffix(why, "; release: segue segment release trial") {
			t.Errorf("%s waits under %q: %s", e.ID, e.Hold, why)
		}
		if got := w.about("ok7@dest.example"); !strings.Contains(got, "held "+why) {
			t.Errorf("its events %q do not say %q", got, why)
		}
		w.stop()
		time.Sleep(23 * time.Hour)
		w.run()
		w.judged()
		if n := w.heldUnder()["segment:trial"]; n != 40 {
			t.Fatalf("after a restart %d are held", n)
		}
		w.stop()
		time.Sleep(2 * time.Hour)
		w.run()
		w.judged()
		tried := w.delivered("ok") - 1
		if tried < 8 || tried > 32 || !strings.HasSuffix(w.acts(), "half_opened segment trial, half_opened batch bought") {
			t.Fatalf("%d of 40 were tried; acts %s", tried, w.acts())
		}
		if _, why := w.queued(w.someHeld()); !strings.Contains(why, "half-open, others are tried first: bounced ") {
			t.Errorf("the others wait: %s", why)
		}
		w.stop()
		time.Sleep(5 * time.Hour)
		w.run()
		w.judged()
		others = breaker.Counts{Concluded: 30, Answered: 30, Delivered: 30, Reporting: 30}
		others.Add(w.breakers.state(cohortKey{breaker.Segment, "trial"}).Window.Sum())
		if got := w.counted()[cohortKey{"pool", "all"}]; got != others || others.Delivered <= 30 {
			t.Errorf("in the end others are judged with %+v, want %+v", got, others)
		}
		if ok := w.delivered("ok") - 1; ok != 40 || !strings.HasSuffix(w.acts(), ", closed segment trial") {
			t.Errorf("%d of 40 arrived in the end; acts %s; held %v", ok, w.acts(), w.heldUnder())
		}
		w.stop()
		w.verify()
	})
}

// TestBreakerTrialsShareTheirSample: a segment and the batch that spoiled it are tried with the
// same people. Chosen by each on its own, 3 of 120 would be of both samples.
func TestBreakerTrialsShareTheirSample(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newTown(t, "rcpt bad : 550 5.1.1 no such user")
		w.change = twoSegments()
		w.run()
		w.members("trial", "bad", "bought", 20)
		w.members("trial", "ok", "bought", 120)
		w.mailTo("", "bad", 0, 20)
		w.judged()
		w.mailTo("", "ok", 0, 120)
		w.judged()
		w.stop()
		time.Sleep(25 * time.Hour)
		w.run()
		w.judged()
		tried := w.delivered("ok")
		if tried < 40 || tried > 90 {
			t.Errorf("%d of 120 were tried", tried)
		}
		for _, k := range []cohortKey{{breaker.Segment, "trial"}, {breaker.Batch, "bought"}} {
			s := w.breakers.state(k)
			if s.Trial == nil || s.Trial.Counts.Admitted != uint64(tried) || s.Trial.Counts.Delivered != uint64(tried) {
				t.Errorf("%v: %+v, want %d", k, s.Trial, tried)
			}
		}
		m := w.mx.Messages()
		w.complain("fbl@bounce.example.com", m[0], arf.Report{Type: arf.Abuse})
		w.judged()
		if s := w.breakers.state(cohortKey{breaker.Batch, "bought"}); s.Trial.Counts.Complained != 1 {
			t.Errorf("a complaint about the sample: %+v", s.Trial)
		}
		w.stop()
		time.Sleep(5 * time.Hour)
		w.run()
		w.judged()
		if n := w.delivered("ok"); n != 120 || !strings.HasSuffix(w.acts(), ", closed segment trial, closed batch bought") {
			t.Errorf("%d of 120 arrived in the end; acts %s; held %v", n, w.acts(), w.heldUnder())
		}
		w.stop()
		w.verify()
	})
}

// TestBreakerAsksBothTrials: who is of either sample goes for both, also when it was parked, as long
// as the trial that has not chosen it wants more. Of strangers, each is one of its own.
func TestBreakerAsksBothTrials(t *testing.T) {
	w := newTown(t)
	w.run()
	w.stop()
	b, m := w.breakers, &store.Message{}
	large, small := cohortKey{breaker.Segment, "trial"}, cohortKey{breaker.Batch, "fair"}
	for k, size := range map[cohortKey]uint64{large: 100_000, small: 1000} {
		s := breaker.New(k.kind, k.name)
		s.Phase, s.Trial = breaker.HalfOpen, &breaker.Trial{Size: size}
		b.states[k] = s
	}
	ask := func(id int) (goes queue.Passage, alone [2]bool) {
		e := &store.Entry{Recipient: store.Recipient{Address: address(t, fmt.Sprintf("c%d@dest.example", id)), Batch: "fair"}}
		goes = b.Ask(e, store.Class{Segment: "trial"}, m)
		if got := b.goes(large, e, store.Class{Segment: "trial"}); got != goes.Go {
			t.Errorf("%d: given back %t, goes %t", id, got, goes.Go)
		}
		return goes, [2]bool{b.asks(large, e).Go, b.asks(small, e).Go}
	}
	of := map[[2]bool]int{}
	for id := range 1000 {
		goes, alone := ask(id)
		of[alone]++
		want := alone[0] || alone[1]
		if goes.Go != want || want && len(goes.Sample) != 2 || !want && goes.Hold != "segment:trial" {
			t.Fatalf("%v: %+v", alone, goes)
		}
	}
	if n := of[[2]bool{false, true}]; n < 180 || n > 300 || of[[2]bool{true, false}] == 0 || of[[2]bool{true, true}] == 0 {
		t.Errorf("chosen by the large and the small cohort: %v", of)
	}
	b.states[large].Trial.Counts.Admitted = b.policy.Most
	for id := range 100 {
		if goes, _ := ask(id); goes.Go {
			t.Fatalf("%d goes for a trial that has enough", id)
		}
	}
}

// someHeld is the address of somebody who is held.
func (w *town) someHeld() string {
	w.t.Helper()
	list, err := w.queue.List(store.ID{}, 1000, nil)
	if err != nil {
		w.t.Fatal(err)
	}
	for i := range list {
		if list[i].Hold != "" {
			return list[i].Address.String()
		}
	}
	w.t.Fatal("nobody is held")
	return ""
}

// TestBreakerByHand: an operator holds a segment, a batch and a campaign, each for its own
// mail; what is released goes at once, and an override goes against the evidence.
func TestBreakerByHand(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newTown(t, "rcpt bad : 550 5.1.1 no such user")
		w.change = twoSegments()
		w.run()
		w.members("trial", "ann", "fair", 3)
		w.members("vip", "vip", "grown", 3)
		w.members("vip", "bad", "grown", 40)
		spring := "X-Segue-Campaign: spring '26\r\n"
		w.steerBreaker(api.BreakerAct{Action: "hold", Name: "trial", By: "eve", Reason: "a bad feeling"})
		w.steerBreaker(api.BreakerAct{Action: "hold", Kind: "campaign", Name: "spring '26", Until: time.Now().Add(time.Hour)})
		w.mailTo("", "ann", 0, 3)
		w.mailTo(spring, "vip", 0, 3)
		w.mailTo("", "vip", 0, 1)
		w.judged()
		if h := w.heldUnder(); h["segment:trial"] != 3 || h["campaign:spring '26"] != 3 || w.delivered("vip") != 1 {
			t.Fatalf("held %v, %d arrived", h, w.delivered("vip"))
		}
		if _, why := w.queued("ann1@dest.example"); why != "segment trial is held: by eve: a bad feeling; release: segue segment release trial" {
			t.Errorf("why: %s", why)
		}
		w.stop()
		w.run()
		w.steerBreaker(api.BreakerAct{Action: "hold", Kind: "batch", Name: "fair"})
		w.steerBreaker(api.BreakerAct{Action: "release", Name: "trial"})
		w.judged()
		if h := w.heldUnder(); h["batch:fair"] != 3 || len(h) != 2 {
			t.Fatalf("mail of two that are held waits for the other: %v", h)
		}
		w.steerBreaker(api.BreakerAct{Action: "release", Kind: "batch", Name: "fair"})
		time.Sleep(2 * time.Hour) // the hold of the campaign has an end
		w.judged()
		if h := w.heldUnder(); len(h) != 0 || w.delivered("ann") != 3 || w.delivered("vip") != 4 {
			t.Fatalf("held %v", h)
		}
		w.steerBreaker(api.BreakerAct{Action: "override", Name: "vip", By: "eve"})
		w.steerBreaker(api.BreakerAct{Action: "override", Kind: "batch", Name: "grown"})
		w.mailTo("", "bad", 0, 40)
		w.judged()
		if n := w.count("bounced"); n != 40 {
			t.Errorf("%d of 40 went against the evidence", n)
		}
		const want = "held segment trial, held campaign spring '26, held batch fair, released segment trial, released batch fair, hand_ended campaign spring '26, " +
			"overridden segment vip, overridden batch grown, warned segment vip, warned batch grown"
		if got := w.acts(); got != want {
			t.Errorf("acts\n%s, want\n%s", got, want)
		}
		w.stop()
		w.verify()
	})
}

// TestBreakerRefusesOrders that nobody can have meant.
func TestBreakerRefusesOrders(t *testing.T) {
	w := newTown(t)
	w.run()
	past := time.Now().Add(-time.Hour)
	for want, act := range map[string]api.BreakerAct{
		"unknown action close":         {Action: "close", Kind: "segment", Name: "trial"},
		"unknown kind tier":            {Action: "hold", Kind: "tier", Name: "new"},
		"bad name":                     {Action: "hold", Kind: "campaign", Name: "a\x00b"},
		"bad name: a":                  {Action: "hold", Kind: "campaign", Name: strings.Repeat("a", 501)},
		"bad order: a text of 70000 o": {Action: "hold", Kind: "segment", Name: "trial", Reason: strings.Repeat("x", 70_000)},
		"bad order: a text of 1001 oc": {Action: "override", Kind: "segment", Name: "trial", By: strings.Repeat("x", 1001)},
		"a release has no end":         {Action: "release", Kind: "segment", Name: "trial", Until: past},
		"it ends in the past":          {Action: "hold", Kind: "segment", Name: "trial", Until: past},
		"no segment has the name no":   {Action: "hold", Kind: "segment", Name: "no"},
		"nothing holds segment trial":  {Action: "release", Kind: "segment", Name: "trial"},
		"nothing holds batch whatever": {Action: "release", Kind: "batch", Name: "whatever"},
	} {
		_, err := w.Methods().SteerBreaker(t.Context(), act)
		if p, ok := errors.AsType[*api.Error](err); !ok || !strings.HasPrefix(p.Error(), want) {
			t.Errorf("%+v: %v, want %s", act, err, want)
		}
	}
	_, err := w.Methods().QueueAct(t.Context(), api.QueueAct{All: true, Action: "hold", Name: "batch:fair"})
	if err == nil || !strings.HasPrefix(err.Error(), "batch:fair is the hold of a breaker") {
		t.Errorf("a hold by an operator under a breaker's name: %v", err)
	}
}
