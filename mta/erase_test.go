// SPDX-License-Identifier: Apache-2.0

package mta

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/seguemta/segue/mta/api"
	"github.com/seguemta/segue/mta/mtatest"
)

func (w *town) erase(who string) api.Erased {
	w.t.Helper()
	r, err := w.Methods().EraseContact(w.t.Context(), api.Erase{Contact: who})
	if err != nil {
		w.t.Fatal(err)
	}
	return r
}

// shown is what operators can read of the log and of suppressions, as one text.
func (w *town) shown() string {
	w.t.Helper()
	events, err := w.Methods().Events(w.t.Context(), 0, 1000)
	if err != nil {
		w.t.Fatal(err)
	}
	list, err := w.Methods().Suppressions(w.t.Context(), api.SuppressionQuery{})
	if err != nil {
		w.t.Fatal(err)
	}
	text, err := json.Marshal([]any{events, list})
	if err != nil {
		w.t.Fatal(err)
	}
	return string(text)
}

// TestEraseDropsQueuedMailAndRedacts erases somebody with mail that waits, is held
// and was delivered, and then hears of it by a late bounce.
func TestEraseDropsQueuedMailAndRedacts(t *testing.T) {
	w := newTown(t)
	w.run()
	w.people("email,contact.status\nann@dest.example,trial\nbob@dest.example,trial\n")
	w.submit("", "ann@dest.example")
	path := w.arrived(1).From
	w.submit(later(), "ann@dest.example", "bob@dest.example")
	w.submit(later(), "ann@dest.example")
	w.settle("the queue", func() bool { return w.queue.Total().Waiting == 3 })
	if _, err := w.Methods().QueueAct(t.Context(), api.QueueAct{Action: "hold", Name: "h", Query: api.QueueQuery{Address: "ann@dest.example", Limit: 1}}); err != nil {
		t.Fatal(err)
	}
	r := w.erase("ANN@dest.example")
	if r.Counts.Mail != 2 || r.Counts.Contacts != 1 || r.Counts.Segments != 1 || r.Counts.Events != 1 || r.Files != "done" || r.FilesDone.IsZero() {
		t.Errorf("receipt %+v", r)
	}
	if at := w.o.Now(); r.EventsUntil.Sub(at).Round(time.Hour) != 7*24*time.Hour || r.SentUntil.Sub(at).Round(time.Hour) != 60*24*time.Hour {
		t.Errorf("receipt %+v", r)
	}
	if !w.has("dropped", "ann@dest.example") || !w.has("accepted", "bob@dest.example") {
		t.Errorf("events %v", w.kinds())
	}
	if text := w.shown(); strings.Contains(text, "ann@") || !strings.Contains(text, "bob@dest.example") || !strings.Contains(text, `"reason":"erased"`) || !strings.Contains(text, r.Hash) {
		t.Errorf("shown: %s", text)
	}
	if r := w.report(path, bounceMail(path, "ann@dest.example")); r.Code != 250 {
		t.Fatalf("the bounce was answered %s", r)
	}
	w.settle("the bounce", func() bool { return w.count("dsn") == 1 })
	for _, k := range w.kinds() {
		if strings.HasPrefix(k, "dsn") && strings.Contains(k, "ann@") {
			t.Errorf("the log learned the address anew: %s", k)
		}
	}
	if _, err := w.Methods().Contact(t.Context(), "ann@dest.example"); err == nil {
		t.Error("the bounce made a contact")
	}
	if again := w.erase("ann@dest.example"); again.Counts != r.Counts || !again.At.Equal(r.At) {
		t.Errorf("asked again: %+v", again)
	}
	of, err := w.Methods().Suppressions(t.Context(), api.SuppressionQuery{Address: "ann@dest.example"})
	if err != nil || len(of) != 1 || of[0].Hash != r.Hash || of[0].Scope != "all" || of[0].Reason != "erased" {
		t.Errorf("suppressions of the address: %+v, %v", of, err)
	}
	w.stop()
	w.verify()
}

// TestEraseStopsNewMail holds that mail of every stream to somebody who was erased
// does not leave, and makes nobody anew; and that lifting the suppression ends that.
func TestEraseStopsNewMail(t *testing.T) {
	w := newTown(t)
	w.run()
	w.erase("ann@dest.example")
	for _, stream := range []string{"marketing", "transactional"} {
		w.submit("X-Segue-Stream: "+stream+"\r\n", "ann@dest.example", "bob@dest.example")
	}
	w.settle("the mail of another", func() bool { return w.count("delivered") == 2 })
	if got := w.mx.Messages(); len(got) != 2 || strings.Contains(strings.Join(w.mx.Commands(), "\n"), "ann@") {
		t.Errorf("%d messages left", len(got))
	}
	if w.known() != 1 || strings.Contains(w.shown(), "ann@") {
		t.Errorf("%d contacts; shown: %s", w.known(), w.shown())
	}
	if err := w.Methods().Lift(t.Context(), api.Suppression{Address: "ann@dest.example"}); err != nil {
		t.Fatal(err)
	}
	w.submit("", "ann@dest.example")
	w.settle("the mail of who is back", func() bool { return w.count("delivered") == 3 && w.known() == 2 })
	w.stop()
	w.verify()
}

func (w *town) known() int { return w.Engine.people.Contacts() }

// TestEraseOfMailInFlight erases while a server takes its time with the message: the
// receipt comes when that is decided, and the delivery makes nobody anew.
func TestEraseOfMailInFlight(t *testing.T) {
	for answer, mail := range map[string]uint64{"250 ok": 1, "451 later": 1} {
		t.Run(answer, func(t *testing.T) {
			w := newTown(t)
			w.mx.Rules = mtatest.Script("body : delay 1s then " + answer)
			w.run()
			w.submit("", "ann@dest.example")
			w.settle("the message to be under way", func() bool { return w.queue.Total().InFlight == 1 })
			r := w.erase("ann@dest.example")
			if r.Counts.Mail != mail {
				t.Errorf("receipt %+v", r)
			}
			if n := w.queue.Total(); n.Waiting+n.InFlight+n.Held != 0 {
				t.Errorf("left in the queue: %+v", n)
			}
			w.settle("the events", func() bool { return true })
			if w.known() != 0 || strings.Contains(w.shown(), "ann@") {
				t.Errorf("%d contacts; shown: %s", w.known(), w.shown())
			}
			w.stop()
			w.verify()
		})
	}
}

// TestEraseGoesOnAfterARestart stops after the contacts' part: what is queued is
// dropped by the next start.
func TestEraseGoesOnAfterARestart(t *testing.T) {
	w := newTown(t)
	w.run()
	w.submit(later(), "ann@dest.example")
	w.settle("the queue", func() bool { return w.queue.Total().Waiting == 1 })
	if _, err := w.Engine.people.Erase("ann@dest.example"); err != nil {
		t.Fatal(err)
	}
	w.stop()
	w.run()
	w.settle("the mail to be dropped", func() bool { return w.has("dropped", "ann@dest.example") })
	if r := w.erase("ann@dest.example"); r.Counts.Mail != 1 || r.Files != "done" {
		t.Errorf("receipt %+v", r)
	}
	w.stop()
	w.verify()
}
