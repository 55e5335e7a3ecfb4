// SPDX-License-Identifier: Apache-2.0

package mta

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seguemta/segue/mta/api"
	"github.com/seguemta/segue/mta/event"
	"github.com/seguemta/segue/reputation/throttle"
)

const tss04 = "421 4.7.0 [TSS04] Messages from 192.0.2.10 temporarily deferred due to unexpected volume or user complaints - 4.16.55.1"

// yahoo makes the exchanger one of Yahoo's.
func yahoo(more string) *strings.Replacer {
	return strings.NewReplacer(`retry = ["1m", "5m"]`, `retry = ["2m", "5m"]`,
		"[http]\n", "[[provider]]\nname = \"yahoo\"\nmx = [\"mx.dest.example\"]\n"+more+"[http]\n")
}

// throttled are the events of acts.
func (w *town) throttled() []event.Event {
	w.t.Helper()
	list, err := w.mail.Events(0, 10_000)
	if err != nil {
		w.t.Fatal(err)
	}
	return slices.DeleteFunc(list, func(e event.Event) bool { return e.Kind != event.Throttled })
}

// acted is what was done, one word an act.
func (w *town) acted() string {
	w.t.Helper()
	var list []string
	for _, e := range w.throttled() {
		list = append(list, e.Act)
	}
	return strings.Join(list, " ")
}

// limit is what is in force of a source.
func (w *town) limit(source, provider string) api.Limit {
	w.t.Helper()
	p, err := w.Methods().Provider(w.t.Context(), provider)
	if err != nil {
		w.t.Fatal(err)
	}
	i := slices.IndexFunc(p.Sources, func(l api.Limit) bool { return l.Source == source })
	if i < 0 {
		w.t.Fatalf("no source %s in %+v", source, p)
	}
	return p.Sources[i]
}

// TestAutomation: the first reply slows, the second suspends; a restart in the midst of it
// changes nothing; it ends at its time and goes up in steps. Each act is one event, with its
// evidence and the command that undoes it.
func TestAutomation(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newTown(t, "mail @1 : "+tss04, "mail @2 : "+tss04)
		w.change = yahoo("")
		w.run()
		w.submit("X-Segue-Stream: transactional\r\n", "c0@dest.example")
		time.Sleep(time.Minute)
		if l := w.limit("a1", "yahoo"); w.acted() != "slow" || l.State != "slowed" || l.Text != "10/m, 1 connection" || l.Rule != "yahoo-deferred" {
			t.Fatalf("after one reply: %q, %+v", w.acted(), l)
		}
		time.Sleep(2 * time.Minute)
		before := w.limit("a1", "yahoo")
		if w.acted() != "slow suspend" || before.State != "suspended" || before.Strikes != 1 {
			t.Fatalf("after two replies: %q, %+v", w.acted(), before)
		}
		if l := w.limit("cold", "yahoo"); l.State != "normal" {
			t.Errorf("another source: %+v", l)
		}
		if l := w.limit("a1", "other"); l.State != "normal" {
			t.Errorf("another provider: %+v", l)
		}

		w.submit("X-Segue-Stream: transactional\r\n", "c1@dest.example")
		w.stop()
		w.run()
		time.Sleep(time.Until(before.Until) - time.Second)
		if after := w.limit("a1", "yahoo"); fmt.Sprintf("%+v", after) != fmt.Sprintf("%+v", before) {
			t.Errorf("a restart made %+v of %+v", after, before)
		}
		if n := len(w.mx.Messages()); n != 0 {
			t.Errorf("%d left although the source is suspended", n)
		}
		time.Sleep(10 * time.Second)
		if l := w.limit("a1", "yahoo"); l.State != "slowed" || l.Connections != 1 || l.Rate != 1./6 {
			t.Errorf("when it is over: %+v", l)
		}
		time.Sleep(6 * time.Minute)
		if n := len(w.mx.Messages()); n != 2 {
			t.Errorf("%d of 2 left when it was over", n)
		}
		time.Sleep(6 * time.Hour)
		if got, want := w.acted(), "slow suspend resume raise raise raise raise recovered"; got != want {
			t.Errorf("acts %q, want %q", got, want)
		}
		if l := w.limit("a1", "yahoo"); l.State != "normal" || len(l.Acts) != 8 {
			t.Errorf("in the end: %+v", l)
		}
		w.tells(w.throttled()[1])
		w.stop()
		w.verify()
	})
}

// tells checks what the event of a suspension tells.
func (w *town) tells(e event.Event) {
	w.t.Helper()
	var a throttle.Act
	if err := json.Unmarshal([]byte(e.Evidence), &a); err != nil {
		w.t.Fatal(err)
	}
	if a.Rule != "yahoo-deferred" || a.Count != 2 || a.Reply != tss04 || a.Window != 10*time.Minute || a.Until.Sub(a.Time) != 2*time.Hour {
		w.t.Errorf("evidence %s", e.Evidence)
	}
	if e.Source != "a1" || e.Provider != "yahoo" || e.Undo != "segue provider cancel yahoo --source a1" || e.Reason != a.String() {
		w.t.Errorf("event %+v", e)
	}
}

// What an operator orders is in force and durable at once, whatever rules say.
func TestAutomationObeysOperators(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newTown(t, "mail @1 : "+tss04, "mail @2 : "+tss04)
		w.change = yahoo("")
		w.run()
		m := w.Methods()
		w.submit("X-Segue-Stream: transactional\r\n", "c0@dest.example")
		time.Sleep(3 * time.Minute)
		if got := w.acted(); got != "slow suspend" {
			t.Fatalf("acts %q", got)
		}
		x, err := m.CancelLimits(t.Context(), api.LimitCancel{Provider: "yahoo", By: "ann"})
		if err != nil || len(x.Acts) != 1 || x.Acts[0].Text != "a1 at yahoo: cancelled; by ann" {
			t.Fatalf("%+v, %v", x, err)
		}
		time.Sleep(5*time.Minute + 30*time.Second)
		if n := len(w.mx.Messages()); n != 1 {
			t.Errorf("%d left after the cancel", n)
		}

		x, err = m.PinLimits(t.Context(), api.LimitPin{Provider: "yahoo", Source: "a1", Suspend: true, By: "ann", Reason: "they called"})
		if err != nil || len(x.Acts) != 1 || x.Acts[0].Undo != "segue provider pin yahoo --source a1 --off" {
			t.Fatalf("%+v, %v", x, err)
		}
		w.submit("X-Segue-Stream: transactional\r\n", "c1@dest.example")
		time.Sleep(time.Hour)
		w.stop()
		w.run()
		m = w.Methods()
		time.Sleep(2 * time.Hour)
		if l := w.limit("a1", "yahoo"); l.State != "pinned" || !l.Suspended || l.Pin == nil || l.Pin.By != "ann" || l.Pin.Reason != "they called" || len(w.mx.Messages()) != 1 {
			t.Errorf("pinned: %+v, %d left", l, len(w.mx.Messages()))
		}
		if _, err = m.PinLimits(t.Context(), api.LimitPin{Provider: "yahoo", Source: "a1", Off: true}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		if n := len(w.mx.Messages()); n != 2 {
			t.Errorf("%d left after the pin was taken off", n)
		}
		if got, want := w.acted(), "slow suspend cancelled pinned unpinned"; got != want {
			t.Errorf("acts %q, want %q", got, want)
		}
		w.stop()
	})
}

// An order that makes no sense, or would change nothing, says so and is no event.
func TestAutomationRefusesOrders(t *testing.T) {
	w := newTown(t)
	w.change = yahoo("")
	w.run()
	m := w.Methods()
	refused := func(name string, status int, err error) {
		t.Helper()
		if problem, ok := errors.AsType[*api.Error](err); !ok || problem.Status != status {
			t.Errorf("%s: %v", name, err)
		}
	}
	_, err := m.Provider(t.Context(), "nobody")
	refused("an unknown provider", http.StatusNotFound, err)
	for name, c := range map[string]struct {
		order  api.LimitCancel
		status int
	}{
		"nothing in force":    {api.LimitCancel{Provider: "yahoo"}, http.StatusConflict},
		"an unknown provider": {api.LimitCancel{Provider: "hooli"}, http.StatusNotFound},
		"no provider":         {api.LimitCancel{}, http.StatusNotFound},
		"an unknown source":   {api.LimitCancel{Provider: "other", Source: "a9"}, http.StatusNotFound},
		"lane and segment":    {api.LimitCancel{Provider: "yahoo", Lane: "a/b/c/d", Segment: "b"}, http.StatusBadRequest},
		"a book":              {api.LimitCancel{Provider: "yahoo", By: strings.Repeat("x", 1001)}, http.StatusBadRequest},
		"no such segment":     {api.LimitCancel{Provider: "yahoo", Segment: "b"}, http.StatusConflict},
	} {
		_, err := m.CancelLimits(t.Context(), c.order)
		refused("cancel: "+name, c.status, err)
	}
	for name, p := range map[string]struct {
		order  api.LimitPin
		status int
	}{
		"no source":         {api.LimitPin{Provider: "yahoo", Suspend: true, Reason: "r"}, http.StatusBadRequest},
		"no reason":         {api.LimitPin{Provider: "yahoo", Source: "a1", Suspend: true}, http.StatusBadRequest},
		"nothing":           {api.LimitPin{Provider: "yahoo", Source: "a1", Reason: "r"}, http.StatusBadRequest},
		"both":              {api.LimitPin{Provider: "yahoo", Source: "a1", Suspend: true, Rate: 1, Reason: "r"}, http.StatusBadRequest},
		"below 0":           {api.LimitPin{Provider: "yahoo", Source: "a1", Connections: -1, Reason: "r"}, http.StatusBadRequest},
		"too many":          {api.LimitPin{Provider: "yahoo", Source: "a1", Connections: 10_001, Reason: "r"}, http.StatusBadRequest},
		"a book":            {api.LimitPin{Provider: "yahoo", Source: "a1", Suspend: true, Reason: strings.Repeat("x", 1001)}, http.StatusBadRequest},
		"off with limits":   {api.LimitPin{Provider: "yahoo", Source: "a1", Off: true, Rate: 1}, http.StatusBadRequest},
		"off without a pin": {api.LimitPin{Provider: "yahoo", Source: "a1", Off: true}, http.StatusConflict},
		"an unknown source": {api.LimitPin{Provider: "yahoo", Source: "a9", Rate: 1, Reason: "r"}, http.StatusNotFound},
	} {
		_, err := m.PinLimits(t.Context(), p.order)
		refused("pin: "+name, p.status, err)
	}
	if got := w.acted(); got != "" {
		t.Errorf("acts %q", got)
	}
}

// A segment that is suspended waits at that provider from every source, its transactional
// mail and other segments do not.
func TestAutomationSuspendsASegment(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newTown(t, "mail @1 : 550 5.7.1 house says spam")
		w.change = yahoo(w.ruled(contentRule))
		w.run()
		rows := "email,contact.status\nt0@dest.example,trial\nt1@dest.example,trial\nt2@dest.example,trial\n"
		if _, err := w.Methods().ImportContacts(t.Context(), api.Import{Name: "c.csv"}, strings.NewReader(rows)); err != nil {
			t.Fatal(err)
		}
		w.submit("", "t0@dest.example")
		time.Sleep(time.Minute)
		if e := w.throttled(); len(e) != 1 || e[0].Segment != "trial" || e[0].Act != "suspend" || e[0].Undo != "segue provider cancel yahoo --source a1 --segment trial" {
			t.Fatalf("%+v", e)
		}
		w.submit("", "t1@dest.example")
		w.submit("X-Segue-Stream: transactional\r\n", "t2@dest.example")
		w.submit("", "other@dest.example")
		time.Sleep(10 * time.Minute)
		if n := len(w.mx.Messages()); n != 2 {
			t.Errorf("%d left; transactional mail and that of no segment should", n)
		}
		list, err := w.Methods().Queue(t.Context(), api.QueueQuery{})
		if err != nil || len(list.Entries) != 1 {
			t.Fatalf("%+v, %v", list, err)
		}
		if why, err := w.Methods().QueueWhy(t.Context(), list.Entries[0].ID); err != nil || why.Code != "held" || !strings.Contains(why.Text, "yahoo") {
			t.Errorf("%+v, %v", why, err)
		}
		if l := w.limit("a1", "yahoo"); l.State != "normal" || len(l.Lanes) != 1 || l.Lanes[0].Name != "trial" {
			t.Errorf("%+v", l)
		}
		if _, err := w.Methods().CancelLimits(t.Context(), api.LimitCancel{Provider: "yahoo", Source: "a1", Segment: "trial"}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		if n := len(w.mx.Messages()); n != 3 {
			t.Errorf("%d of 3 left after the cancel", n)
		}
		w.stop()
	})
}

// Switched off, rules let go what they have in force, and when they are switched on again
// they begin with what comes then.
func TestAutomationIsSwitchedOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newTown(t, "mail @1 : "+tss04, "mail @2 : "+tss04, "mail @3 : "+tss04)
		on, off := yahoo(""), yahoo("[throttle]\nenabled = false\n")
		w.change = on
		w.run()
		w.submit("X-Segue-Stream: transactional\r\n", "c0@dest.example")
		time.Sleep(3 * time.Minute)
		w.stop()
		w.change = off
		w.run()
		if got := w.acted(); got != "slow suspend cancelled" {
			t.Errorf("acts %q", got)
		}
		time.Sleep(6 * time.Minute)
		if n := w.count("deferred"); n != 3 || w.acted() != "slow suspend cancelled" {
			t.Errorf("%d deferred, acts %q", n, w.acted())
		}
		w.stop()
		w.change = on
		w.run()
		time.Sleep(time.Hour)
		if l := w.limit("a1", "yahoo"); l.State != "normal" || len(l.Matches) != 0 || len(w.mx.Messages()) != 1 {
			t.Errorf("%+v, %d left", l, len(w.mx.Messages()))
		}
		w.stop()
	})
}

// A suspension does not end by a wall clock that was set, as long as nobody believes it.
func TestAutomationWaitsForTheClock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &wallClock{}
		w := newTown(t, "mail @1 : "+tss04, "mail @2 : "+tss04)
		w.change, w.wall = yahoo(""), c.now
		w.run()
		w.submit("X-Segue-Stream: transactional\r\n", "c0@dest.example")
		time.Sleep(3 * time.Minute)
		c.set(90 * time.Minute)
		time.Sleep(8 * time.Minute)
		c.set(90 * time.Minute)
		time.Sleep(9 * time.Minute)
		if got := w.acted(); got != "slow suspend" || len(w.mx.Messages()) != 0 {
			t.Errorf("in doubt: %q, %d left", got, len(w.mx.Messages()))
		}
		time.Sleep(8 * time.Minute)
		if got := w.acted(); !strings.HasPrefix(got, "slow suspend resume") || len(w.mx.Messages()) != 1 {
			t.Errorf("when it is believed: %q, %d left", got, len(w.mx.Messages()))
		}
		w.stop()
	})
}
