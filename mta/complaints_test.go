// SPDX-License-Identifier: Apache-2.0

package mta

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/seguemta/segue/mta/api"
	"github.com/seguemta/segue/mta/arf"
	"github.com/seguemta/segue/mta/event"
	"github.com/seguemta/segue/mta/inbound"
)

// cases are the register's cases, oldest first.
func (w *town) cases() []api.Complaint {
	w.t.Helper()
	list, err := w.Methods().Complaints(w.t.Context(), api.ComplaintQuery{})
	if err != nil {
		w.t.Fatal(err)
	}
	for i, j := 0, len(list)-1; i < j; i, j = i+1, j-1 {
		list[i], list[j] = list[j], list[i]
	}
	return list
}

// kept waits until the register has followed the log.
func (w *town) kept() {
	w.t.Helper()
	w.settle("the register", func() bool { durable, _ := w.mail.Durable(); return w.complaints.consumed() >= durable })
}

// TestComplaintBecomesACase: it says whom and what it is about, who answers for it and until
// when; closing it takes a note, once, and each step is an event.
func TestComplaintBecomesACase(t *testing.T) {
	w := newTown(t)
	w.withFeedback(`owner = "deliverability"`)
	w.run()
	if _, err := w.Methods().ImportContacts(t.Context(), api.Import{Name: "c.csv", Batch: "fair"}, strings.NewReader("email,contact.status\nann@dest.example,trial\n")); err != nil {
		t.Fatal(err)
	}
	w.submit("X-Segue-Campaign: spring\r\n", "ann@dest.example")
	m := w.arrived(1)
	for range 2 {
		w.complain("fbl@bounce.example.com", m, arf.Report{Type: arf.Fraud})
	}
	w.settle("the case", func() bool { return w.tally("case_opened") == 1 })
	w.kept()
	list := w.cases()
	if len(list) != 1 {
		t.Fatalf("%d cases of one complaint", len(list))
	}
	x := list[0]
	got := fmt.Sprintln(x.Class, x.Status, x.Owner, x.Overdue, x.Due.Sub(x.Opened), x.Address, x.Contact != 0, x.Recipient, x.Segment, x.SegmentVersion != 0, x.Stream, x.Campaign, x.Batch, x.Provider)
	want := fmt.Sprintln("fraud", "open", "deliverability", false, 24*time.Hour, "ann@dest.example", true, w.sentID(m.From), "trial", true, "marketing", "spring", "fair", "other")
	if got != want {
		t.Errorf("case %swant %s", got, want)
	}
	if e := w.event(event.CaseOpened, "ann@dest.example"); e.Segment != "trial" || e.Class != "fraud" || !strings.Contains(e.Reason, "owner deliverability, due ") {
		t.Errorf("event %+v", e)
	}
	close := func(id uint64, note string) int {
		_, err := w.Methods().CloseComplaint(t.Context(), api.ComplaintClose{ID: id, Note: note})
		if p, ok := errors.AsType[*api.Error](err); ok {
			return p.Status
		}
		if err != nil {
			t.Fatal(err)
		}
		return http.StatusOK
	}
	for _, s := range []struct {
		id   uint64
		note string
		want int
	}{{x.ID + 1, "n", 404}, {x.ID, " ", 400}, {x.ID, "taken off", 200}, {x.ID, "again", 409}} {
		if got := close(s.id, s.note); got != s.want {
			t.Errorf("closing %d with %q: %d, want %d", s.id, s.note, got, s.want)
		}
	}
	w.stop()
	w.run()
	w.kept()
	if list := w.cases(); len(list) != 1 || list[0].Status != "closed" || list[0].Note != "taken off" {
		t.Errorf("after a restart: %+v", list)
	}
	if open, err := w.Methods().Complaints(t.Context(), api.ComplaintQuery{Status: "open"}); err != nil || len(open) != 0 {
		t.Errorf("open: %+v, %v", open, err)
	}
	if e := w.event(event.CaseClosed, "ann@dest.example"); !strings.HasSuffix(e.Reason, ": taken off") {
		t.Errorf("event %+v", e)
	}
}

// TestComplaintIsOverdueAfterADay: one event says so, and the metric until somebody closes it.
func TestComplaintIsOverdueAfterADay(t *testing.T) {
	onTheWall(t, func(t testing.TB, w *town, c *wallClock) {
		w.submit("", "ann@dest.example")
		m := w.arrived(1)
		w.complain("fbl@bounce.example.com", m, arf.Report{Type: arf.Abuse})
		w.settle("the case", func() bool { return w.tally("case_opened") == 1 })
		c.set(25 * time.Hour)
		<-time.After(3 * lookEvery)
		if err := w.Methods().ConfirmClock(t.Context()); err != nil {
			t.Fatal(err)
		}
		<-time.After(3 * watch)
		if n := w.tally("case_overdue"); n != 1 {
			t.Errorf("%d events that it is overdue", n)
		}
		for name, want := range map[string]float64{"segue_complaints_open": 1, "segue_complaints_overdue": 1} {
			if got := gauge(t, w, name); got != want {
				t.Errorf("%s is %v", name, got)
			}
		}
		list, err := w.Methods().Complaints(t.Context(), api.ComplaintQuery{Status: "overdue"})
		if err != nil || len(list) != 1 {
			t.Fatalf("overdue: %+v, %v", list, err)
		}
		if _, err := w.Methods().CloseComplaint(t.Context(), api.ComplaintClose{ID: list[0].ID, Note: "done"}); err != nil {
			t.Fatal(err)
		}
		if got := gauge(t, w, "segue_complaints_overdue") + gauge(t, w, "segue_complaints_open"); got != 0 {
			t.Errorf("a closed case is counted: %v", got)
		}
	})
}

// gauge is the value of a gauge without labels.
func gauge(t testing.TB, w *town, name string) float64 {
	t.Helper()
	families, err := w.o.Registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() == name {
			return f.GetMetric()[0].GetGauge().GetValue()
		}
	}
	t.Fatalf("there is no metric %s", name)
	return 0
}

// TestComplaintStopsQueuedMail: of marketing and of the stream complained of, at once; other
// mail goes on.
func TestComplaintStopsQueuedMail(t *testing.T) {
	w := newTown(t)
	w.change = strings.NewReplacer(`streams = ["marketing", "transactional"]`, `streams = ["marketing", "transactional", "news", "alerts"]`,
		"[[domain]]\n", "[[stream]]\nname = \"news\"\n[[stream]]\nname = \"alerts\"\n[[domain]]\n")
	w.run()
	w.submit("X-Segue-Stream: news\r\n", "ann@dest.example")
	m := w.arrived(1)
	later := "X-Segue-Not-Before: " + time.Now().Add(time.Hour).UTC().Format(time.RFC3339) + "\r\n"
	for _, stream := range []string{"news", "marketing", "alerts", "transactional"} {
		w.submit("X-Segue-Stream: "+stream+"\r\n"+later, "ann@dest.example")
		w.submit("X-Segue-Stream: "+stream+"\r\n"+later, "bob@dest.example")
	}
	w.settle("all mail to wait", func() bool { return w.queue.Total().Waiting == 8 })
	w.complain("fbl@bounce.example.com", m, arf.Report{Type: arf.Abuse})
	w.settle("the end of her mail of two streams", func() bool {
		list, err := w.Methods().Queue(t.Context(), api.QueueQuery{})
		if err != nil {
			t.Fatal(err)
		}
		streams := make(map[string]bool)
		for _, e := range list.Entries {
			if strings.HasPrefix(e.Address, "ann@") {
				streams[e.Stream] = true
			}
		}
		return len(list.Entries) == 6 && len(streams) == 2 && streams["alerts"] && streams["transactional"]
	})
	if got := w.suppressions("ann@dest.example"); got != "complaint stream:marketing, complaint stream:news" {
		t.Errorf("suppressions: %s", got)
	}
}

// TestComplaintOfAnErasedPerson: the case goes on, and names nobody.
func TestComplaintOfAnErasedPerson(t *testing.T) {
	w := newTown(t)
	w.run()
	w.submit("", "ann@dest.example")
	m := w.arrived(1)
	w.complain("fbl@bounce.example.com", m, arf.Report{Type: arf.Abuse})
	w.settle("the case", func() bool { return w.tally("case_opened") == 1 })
	w.kept()
	if _, err := w.Methods().EraseContact(t.Context(), api.Erase{Contact: "ann@dest.example"}); err != nil {
		t.Fatal(err)
	}
	x, err := w.complaints.one(w.cases()[0].ID)
	if err != nil || x.Address != "" || x.Contact != 0 || x.Stream != "marketing" {
		t.Errorf("the register holds %+v, %v", x, err)
	}
}

// TestComplaintReport: by segment, over mail to providers that report.
func TestComplaintReport(t *testing.T) {
	w := newTown(t)
	w.run()
	rows := "email,contact.status\nann@dest.example,trial\nbob@dest.example,trial\n"
	if _, err := w.Methods().ImportContacts(t.Context(), api.Import{Name: "c.csv"}, strings.NewReader(rows)); err != nil {
		t.Fatal(err)
	}
	for _, to := range []string{"ann", "bob", "eve"} {
		w.submit("", to+"@dest.example")
	}
	w.arrived(3)
	w.kept()
	rates := func() string {
		list, err := w.Methods().ComplaintReport(t.Context(), 7)
		if err != nil {
			t.Fatal(err)
		}
		text := ""
		for _, r := range list {
			text += fmt.Sprintf("%s %d/%d %d %v %.2f-%.2f; ", r.Segment, r.Complaints, r.Delivered, r.Elsewhere, r.Known, r.Low, r.High)
		}
		return text
	}
	if got, want := rates(), " 0/0 1 false 0.00-1.00; trial 0/0 2 false 0.00-1.00; "; got != want {
		t.Errorf("before a provider reports: %s, want %s", got, want)
	}
	for _, m := range w.mx.Messages() {
		if m.To[0] == "ann@dest.example" {
			w.complain("fbl@bounce.example.com", m, arf.Report{Type: arf.Abuse})
		}
	}
	w.settle("the case", func() bool { return w.tally("case_opened") == 1 })
	w.kept()
	if got, want := rates(), "trial 1/2 0 true 0.09-0.91;  0/1 0 true 0.00-0.79; "; got != want {
		t.Errorf("%s, want %s", got, want)
	}
}

// TestComplaintsMakeOneCaseEachAcrossPowerCuts: what is reported again, because nobody knows
// whether it was taken, makes no second case, and what was taken makes one.
func TestComplaintsMakeOneCaseEachAcrossPowerCuts(t *testing.T) {
	for seed := range uint64(6) {
		const people = 5
		rng := rand.New(rand.NewPCG(seed, 11))
		mail := vfs.NewCrashableMem()
		w := newTown(t)
		w.mailFS = mail
		w.run()
		for i := range people {
			w.submit("", fmt.Sprintf("r%d@dest.example", i))
		}
		w.arrived(people)
		reports := make([][]byte, people)
		for i, m := range w.mx.Messages() {
			reports[i] = report(arf.Report{Type: arf.Abuse}, string(m.Data))
		}
		say := func(ctx context.Context) {
			for _, i := range rng.Perm(people) {
				if err := w.feedback.receive(ctx, &inbound.Feedback{Kind: inbound.Report, Data: reports[i]}); err != nil {
					t.Fatal(err)
				}
			}
		}
		durable, _ := w.mail.Durable()
		after := durable + uint64(rng.IntN(2*people))
		cut := make(chan *vfs.MemFS)
		go func() {
			for {
				durable, changed := w.mail.Durable()
				if durable >= after {
					cut <- mail.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: 50, RNG: rand.New(rand.NewPCG(seed, 5))})
					return
				}
				<-changed
			}
		}()
		say(t.Context())
		left := <-cut
		w.stop()
		w.mailFS = left
		w.run()
		say(t.Context())
		w.settle("a case of each", func() bool { return w.tally("case_opened") == people })
		w.kept()
		seen := map[string]int{}
		for _, x := range w.cases() {
			seen[x.Address]++
		}
		if len(seen) != people || len(w.cases()) != people || w.tally("complained") != people {
			t.Errorf("seed %d: %d complaints, cases %v", seed, w.tally("complained"), seen)
		}
		w.stop()
		w.verify()
	}
}
