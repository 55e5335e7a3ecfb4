// SPDX-License-Identifier: Apache-2.0

package mta

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/seguemta/segue/mta/arf"
	"github.com/seguemta/segue/mta/verp"
	"github.com/seguemta/segue/queue/store"
)

// Several recipients of one transactional message share a return path, which
// names the first of them. Whose bounce it is, the notification says.
func TestABounceOfOneOfSeveralBlamesTheRightOne(t *testing.T) {
	w := newTown(t)
	w.run()
	w.submit("X-Segue-Stream: transactional\r\n", "ann@dest.example", "bob@dest.example")
	path := w.arrived(1).From
	w.settle("both deliveries", func() bool { return w.queue.Total().Waiting+w.queue.Total().InFlight == 0 })
	if n := len(w.mx.Messages()); n != 1 {
		t.Fatalf("the recipients left in %d transactions", n)
	}
	if r := w.report(path, bounceMail(path, "bob@dest.example")); r.Code != 250 {
		t.Fatalf("the bounce was answered %s", r)
	}
	w.settle("the bounce", func() bool { return w.has("dsn", "bob@dest.example") })
	if got := w.suppressions("bob@dest.example"); got != "hard_bounce all" {
		t.Errorf("bob: %q", got)
	}
	if got := w.suppressions("ann@dest.example"); got != "" {
		t.Errorf("ann: %q", got)
	}
	if w.has("dsn", "ann@dest.example") {
		t.Error("ann was blamed for bob's bounce")
	}
}

func TestAComplaintOfOneOfSeveralBlamesTheRightOne(t *testing.T) {
	w := newTown(t)
	w.run()
	w.submit("X-Segue-Stream: transactional\r\n", "ann@dest.example", "bob@dest.example")
	m := w.arrived(1)
	w.settle("both deliveries", func() bool { return w.queue.Total().Waiting+w.queue.Total().InFlight == 0 })
	r := w.report("fbl@bounce.example.com", arf.Build(arf.Feedback{
		From: "fbl@dest.example", To: "fbl@bounce.example.com", Date: time.Now(), MessageID: "a1@dest.example",
		Report: arf.Report{Type: arf.Abuse, Recipients: []string{"bob@dest.example"}}, Original: m.Data, HeaderOnly: true,
	}))
	if r.Code != 250 {
		t.Fatalf("the complaint was answered %s", r)
	}
	w.settle("the complaint", func() bool { return w.has("complained", "bob@dest.example") })
	if w.has("complained", "ann@dest.example") {
		t.Error("ann was blamed for bob's complaint")
	}
}

// The token of a marketing message speaks for its own recipient only: whoever
// holds one must not be able to speak for another.
func TestATokenSpeaksForNobodyElse(t *testing.T) {
	w := newTown(t)
	w.run()
	w.submit("", "ann@dest.example", "bob@dest.example")
	w.arrived(2)
	w.settle("both deliveries", func() bool { return w.queue.Total().Waiting+w.queue.Total().InFlight == 0 })
	path := w.mx.Messages()[0].From
	other := "bob@dest.example"
	if strings.HasPrefix(w.mx.Messages()[0].To[0], "bob") {
		other = "ann@dest.example"
	}
	w.report(path, bounceMail(path, other))
	w.settle("the bounce", func() bool { return w.has("dsn", "ann@dest.example") || w.has("dsn", "bob@dest.example") })
	if w.has("dsn", other) || w.suppressions(other) != "" {
		t.Errorf("%s was blamed by a token of another", other)
	}
}

// A bounce can be quicker than the disk: it must come again, not be lost.
func TestFeedbackThatOvertakesTheConclusionIsTriedAgain(t *testing.T) {
	w := newTown(t)
	w.run()
	later := "X-Segue-Not-Before: " + time.Now().Add(time.Hour).UTC().Format(time.RFC3339) + "\r\n"
	w.submit(later, "ann@dest.example")
	w.settle("the mail", func() bool { return w.queue.Total().Waiting == 1 })
	list, err := w.queue.List(store.ID{}, 1, nil)
	if err != nil || len(list) != 1 {
		t.Fatalf("queued: %v, %v", list, err)
	}
	id := list[0].ID
	path := w.plan.secrets.tokens.Encode(verp.ReturnPath, id.Message, id.Recipient) + "@bounce.example.com"
	if r := w.report(path, bounceMail(path, "ann@dest.example")); !r.Temporary() {
		t.Errorf("a bounce before its conclusion was answered %s", r)
	}
	if n := metric(t, w, "segue_feedback_unresolved_total"); n != 0 {
		t.Errorf("%v count as unresolved", n)
	}
}

// An engine without a store can keep nothing that it does: it ends with the
// reason, so that whoever watches it starts it again.
func TestTheEngineEndsWithItsStore(t *testing.T) {
	w := newTown(t)
	w.run()
	broken := errors.New("broken in the middle")
	if err := w.mail.Commit(t.Context(), func(tx *store.Tx) error { tx.PutState("half", nil); return broken }); err == nil {
		t.Fatal("the store did not fail")
	}
	if err := w.ended(); !errors.Is(err, broken) || !strings.Contains(err.Error(), "queue") {
		t.Errorf("the engine ended with %v", err)
	}
}
