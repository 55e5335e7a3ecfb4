// SPDX-License-Identifier: Apache-2.0

package mta

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/seguemta/segue/mta/api"
	"github.com/seguemta/segue/mta/event"
	"github.com/seguemta/segue/queue/store"
)

// event returns the last event of a kind about an address.
func (w *town) event(kind event.Kind, addr string) event.Event {
	w.t.Helper()
	list, err := w.mail.Events(0, 1000)
	if err != nil {
		w.t.Fatal(err)
	}
	var found event.Event
	for _, e := range list {
		if e.Kind == kind && e.Address == addr {
			found = e
		}
	}
	return found
}

// TestSentAnswersLateFeedback: an event about mail that left says all that was decided when
// it was admitted, whatever the contact is now.
func TestSentAnswersLateFeedback(t *testing.T) {
	w := newTown(t)
	w.run()
	day := time.Now().Add(-48 * time.Hour).UTC().Format(time.DateOnly)
	rows := "email,contact.status,last_engaged_at,first_sent_at\nann@dest.example,trial," + day + "," + day + "\n"
	if _, err := w.Methods().ImportContacts(t.Context(), api.Import{Name: "c.csv", Batch: "fair-2026"}, strings.NewReader(rows)); err != nil {
		t.Fatal(err)
	}
	w.submit("X-Segue-Campaign: spring\r\n", "ann@dest.example")
	m := w.arrived(1)
	sent, err := w.mail.SentRecord(w.sentID(m.From))
	if err != nil {
		t.Fatal(err)
	}
	rows = "email,contact.status\nann@dest.example,customer\n" // she leaves the segment
	if _, err := w.Methods().ImportContacts(t.Context(), api.Import{Name: "d.csv"}, strings.NewReader(rows)); err != nil {
		t.Fatal(err)
	}
	w.report(m.From, bounceMail(m.From, "ann@dest.example"))
	w.settle("the bounce", func() bool { return w.has("dsn", "ann@dest.example") })
	e := w.event(event.DSN, "ann@dest.example")
	got := fmt.Sprintln(e.Contact != 0, e.Segment, e.SegmentVersion != 0, e.Tier, e.Stream, e.Campaign, e.Batch, e.Source, e.Pool)
	if want := fmt.Sprintln(true, "trial", true, "active", "marketing", "spring", "fair-2026", "cold", "prime"); got != want {
		t.Errorf("the event says %s, want %s", got, want)
	}
	if sent.Contact != e.Contact || sent.SegmentVersion != e.SegmentVersion || time.Since(sent.Time) > time.Hour || sent.Domain != "example.com" {
		t.Errorf("sent %+v, event %+v", sent, e)
	}
}

// TestSentFindsTheOthersOfATransaction: recipients of a transactional message share the first
// one's return path, also where the first was refused: the bounce of the second is its own.
func TestSentFindsTheOthersOfATransaction(t *testing.T) {
	w := newTown(t, "rcpt ann@ : 550 5.1.1 no such user")
	w.run()
	w.submit("X-Segue-Stream: transactional\r\n", "ann@dest.example", "bob@dest.example", "eve@dest.example")
	path := w.arrived(1).From
	w.settle("all outcomes", func() bool { return w.tally("delivered") == 2 && w.tally("bounced") == 1 })
	if r := w.report(path, bounceMail(path, "bob@dest.example")); r.Code != 250 {
		t.Fatalf("the bounce was answered %s", r)
	}
	w.settle("the bounce", func() bool { return w.has("dsn", "bob@dest.example") })
	if got := w.suppressions("bob@dest.example"); got != "hard_bounce all" {
		t.Errorf("bob: %q", got)
	}
	// One that names somebody else behind an alias blames neither of the two.
	w.report(path, bounceMail(path, "somebody@else.example"))
	w.settle("the other bounce", func() bool { return w.tally("dsn") == 2 })
	if e := w.event(event.DSN, ""); e.Verdict != "ignore" || e.Contact != 0 || !strings.Contains(e.Reason, "none of the 2") {
		t.Errorf("an event about nobody: %+v", e)
	}
	if got := w.suppressions("eve@dest.example"); got != "" {
		t.Errorf("eve: %q", got)
	}
}

// TestFeedbackOverTheAPI: each way of saying what a report is about finds it, once by each
// recipient and once by each name of a report.
func TestFeedbackOverTheAPI(t *testing.T) {
	w := newTown(t)
	w.run()
	var paths []string
	for i := range 4 {
		w.submit("", fmt.Sprintf("r%d@dest.example", i))
		paths = append(paths, w.arrived(i+1).From)
	}
	m := w.Methods()
	take := func(f api.Feedback) string {
		t.Helper()
		got, err := m.Feedback(t.Context(), f)
		if p, ok := errors.AsType[*api.Error](err); ok {
			return fmt.Sprint(p.Status)
		}
		if err != nil {
			t.Fatal(err)
		}
		if got.Recipient == "" {
			return "known"
		}
		id, err := store.ParseID(got.Recipient)
		if err != nil {
			t.Fatal(err)
		}
		s, err := w.mail.SentRecord(id)
		if err != nil {
			t.Fatal(err)
		}
		return fmt.Sprint(s.Address, " ", got.Repeated)
	}
	ref := ""
	for line := range strings.SplitSeq(string(w.mx.Messages()[0].Data), "\r\n") {
		if v, ok := strings.CutPrefix(line, "X-Segue-Ref: "); ok {
			ref = v
		}
	}
	for _, x := range []struct {
		f    api.Feedback
		want string
	}{
		{api.Feedback{ID: "1", Kind: "complaint", Reference: ref}, "r0@dest.example false"},
		{api.Feedback{ID: "1", Kind: "complaint", Reference: ref}, "known"},
		{api.Feedback{ID: "2", Kind: "complaint", Type: "fraud", Reference: ref}, "r0@dest.example true"},
		{api.Feedback{ID: "3", Kind: "bounce", ReturnPath: "<" + paths[1] + ">", Reply: "550 5.1.1 no such user"}, "r1@dest.example false"},
		{api.Feedback{ID: "4", Kind: "complaint", Type: "opt-out", Message: w.sentID(paths[2]).String()}, "r2@dest.example false"},
		{api.Feedback{ID: "5", Kind: "complaint", Address: "R3@Dest.Example"}, "r3@dest.example false"},
		{api.Feedback{ID: "6", Kind: "complaint", Type: "not-spam", Address: "r3@dest.example", Time: time.Now().Add(time.Hour)}, "r3@dest.example false"},
		{api.Feedback{ID: "7", Kind: "complaint", Address: "r3@dest.example", Time: time.Now().Add(-time.Hour)}, "404"},
		{api.Feedback{ID: "8", Kind: "complaint", Address: "nobody@dest.example"}, "404"},
		{api.Feedback{ID: "9", Kind: "complaint", Message: "ZZZZ.7"}, "404"},
		{api.Feedback{ID: "10", Kind: "complaint", Message: "?"}, "400"},
		{api.Feedback{ID: "11", Kind: "complaint", Address: "two words"}, "400"},
	} {
		if got := take(x.f); got != x.want {
			t.Errorf("%+v: %s, want %s", x.f, got, x.want)
		}
	}
	w.settle("the events", func() bool {
		return w.tally("complained") == 2 && w.tally("dsn") == 1 && w.tally("unsubscribed") == 1 && w.tally("not_spam") == 1
	})
	if e := w.event(event.DSN, "r1@dest.example"); e.Verdict != "suppress" || e.Code != 550 || e.Enhanced != "5.1.1" {
		t.Errorf("%+v", e)
	}
	// A name that was used stands for its report, after a restart too.
	w.submit("", "r3@dest.example")
	w.stop()
	w.run()
	m = w.Methods()
	if got := take(api.Feedback{ID: "5", Kind: "complaint", Address: "r3@dest.example"}); got != "known" {
		t.Errorf("a report that came before: %s", got)
	}
	if _, err := m.Feedback(t.Context(), api.Feedback{Kind: "complaint"}); err == nil || !strings.Contains(err.Error(), "id is missing") {
		t.Errorf("a report without a name: %v", err)
	}
	if p, ok := errors.AsType[*api.Error](func() error { _, err := m.Complaint(t.Context(), 1); return err }()); !ok || p.Status != http.StatusNotFound {
		t.Error("a case that is none was found")
	}
}
