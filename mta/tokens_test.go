// SPDX-License-Identifier: Apache-2.0

package mta

import (
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/seguemta/segue/mta/api"
	"github.com/seguemta/segue/mta/arf"
	"github.com/seguemta/segue/mta/dsn"
	"github.com/seguemta/segue/mta/mtatest"
	"github.com/seguemta/segue/mta/rfc5321"
	"github.com/seguemta/segue/mta/verp"
	"github.com/seguemta/segue/queue/store"
)

// complain reports a message by mail.
func (w *town) complain(to string, m mtatest.Message, report arf.Report) rfc5321.Reply {
	w.t.Helper()
	return w.report(to, arf.Build(arf.Feedback{
		From: "fbl@dest.example", To: to, Date: time.Now(), MessageID: "a1@dest.example", Report: report, Original: m.Data, HeaderOnly: true,
	}))
}

// sentID is the id of a delivered message's only recipient, by its return path.
func (w *town) sentID(path string) store.ID {
	w.t.Helper()
	local, _, _ := strings.Cut(path, "@")
	mid, n, err := w.plan.secrets.tokens.Decode(verp.ReturnPath, local)
	if err != nil {
		w.t.Fatal(err)
	}
	return store.ID{Message: mid, Recipient: n}
}

// lost is how many reports of a kind and reason changed nothing.
func (w *town) lost(kind, reason string) float64 {
	return testutil.ToFloat64(w.feedback.unresolved.WithLabelValues(kind, reason))
}

// events are how many there are of a kind.
func (w *town) tally(kind string) int {
	n := 0
	for _, s := range w.kinds() {
		if strings.HasPrefix(s, kind+" ") {
			n++
		}
	}
	return n
}

// TestTokensRotate: a running engine signs by a new key at once; what was signed before is
// understood, also after a restart; a file that somebody edited is left alone.
func TestTokensRotate(t *testing.T) {
	w := newTown(t)
	w.run()
	w.submit("", "ann@dest.example")
	before := w.arrived(1).From
	if got, err := w.Methods().RotateTokens(t.Context()); err != nil || got.Signing != 2 || len(got.Verifies) != 1 {
		t.Fatalf("RotateTokens: %+v, %v", got, err)
	}
	w.submit("", "bob@dest.example")
	after := w.arrived(2).From
	old, err := verp.ParseRing([]byte(strings.Join(strings.Split(string(w.plan.secrets.tokens.Text()), "\n")[4:], "\n")))
	if err != nil {
		t.Fatal(err)
	}
	local, _, _ := strings.Cut(after, "@")
	if _, _, err := old.Decode(verp.ReturnPath, local); !errors.Is(err, verp.ErrUnknownKey) {
		t.Errorf("mail after the rotation is signed by the old key: %v", err)
	}
	w.stop()
	w.run()
	for path, rcpt := range map[string]string{before: "ann@dest.example", after: "bob@dest.example"} {
		if r := w.report(path, bounceMail(path, rcpt)); r.Code != 250 {
			t.Errorf("the bounce of %s was answered %s", rcpt, r)
		}
		w.settle("the bounce of "+rcpt, func() bool { return w.has("dsn", rcpt) })
	}

	path := filepath.Join(w.dir, "secrets", tokenFile)
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	edited := strings.Join(strings.Split(string(text), "\n")[:4], "\n") + "\n"
	if err := os.WriteFile(path, []byte(edited), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err = w.Methods().RotateTokens(t.Context())
	if p, ok := errors.AsType[*api.Error](err); !ok || p.Status != http.StatusConflict {
		t.Errorf("rotating an edited file: %v", err)
	}
	if text, err := os.ReadFile(path); err != nil || string(text) != edited {
		t.Errorf("the edited file was changed, %v", err)
	}
}

// TestTokensExpire: 60 days after the delivery a return path is refused at RCPT, and so is
// what a report refers to; both are counted as expired, not as forged.
func TestTokensExpire(t *testing.T) {
	w := newTown(t)
	w.run()
	w.submit("", "ann@dest.example")
	m := w.arrived(1)
	id := w.sentID(m.From)
	age := func(d time.Duration) {
		t.Helper()
		err := w.mail.Commit(t.Context(), func(tx *store.Tx) error {
			s, err := tx.SentRecord(id)
			if err != nil {
				return err
			}
			s.Time = w.o.Now().Add(-d)
			tx.Sent(id, &s)
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	const days = 24 * time.Hour
	age(60*days + time.Minute)
	if r := w.report(m.From, bounceMail(m.From, "ann@dest.example")); r.Code != 550 || !strings.Contains(r.String(), "too long ago") {
		t.Errorf("a return path after 60 days was answered %s", r)
	}
	if r := w.complain("fbl@bounce.example.com", m, arf.Report{Type: arf.Abuse}); r.Code != 250 {
		t.Errorf("a report after 60 days was answered %s", r)
	}
	if w.lost("bounce", "expired") != 1 || w.lost("report", "expired") != 1 || w.tally("dsn")+w.tally("complained") != 0 {
		t.Errorf("expired: %v bounces, %v reports; events %q", w.lost("bounce", "expired"), w.lost("report", "expired"), w.kinds())
	}
	age(60*days - time.Minute)
	if r := w.report(m.From, bounceMail(m.From, "ann@dest.example")); r.Code != 250 {
		t.Errorf("a return path before 60 days was answered %s", r)
	}
	w.settle("the bounce", func() bool { return w.has("dsn", "ann@dest.example") })
}

// TestTokensSayEachThingOnce: a notification or a report that comes again changes and counts
// nothing, also after a restart; one that says more is heard.
func TestTokensSayEachThingOnce(t *testing.T) {
	w := newTown(t)
	w.run()
	w.submit("", "ann@dest.example")
	m := w.arrived(1)
	soft := dsn.Build(dsn.Notification{
		From: "MAILER-DAEMON@mx.dest.example", To: m.From, Date: time.Now(), MessageID: "d2@mx.dest.example", ReportingMTA: "mx.dest.example",
		Recipients: []dsn.Recipient{{Final: "ann@dest.example", Action: dsn.Failed, Status: rfc5321.EnhancedCode{4, 2, 2}, DiagnosticType: "smtp", Diagnostic: "452 4.2.2 mailbox full"}},
	})
	say := func() {
		t.Helper()
		for _, r := range []rfc5321.Reply{
			w.report(m.From, soft),
			w.report(m.From, bounceMail(m.From, "ann@dest.example")),
			w.report(m.From, soft),
			w.complain("fbl@bounce.example.com", m, arf.Report{Type: arf.Abuse}),
			w.complain("abuse@bounce.example.com", m, arf.Report{Type: arf.Fraud}),
			w.complain(m.From, m, arf.Report{Type: arf.OptOut}),
			w.complain("fbl@bounce.example.com", m, arf.Report{Type: arf.NotSpam}),
		} {
			if r.Code != 250 {
				t.Errorf("answered %s", r)
			}
		}
	}
	say()
	w.stop()
	w.run()
	say()
	want := map[string]int{"dsn": 2, "complained": 1, "unsubscribed": 1, "not_spam": 1}
	for kind, n := range want {
		if got := w.tally(kind); got != n {
			t.Errorf("%d events %s, want %d", got, kind, n)
		}
	}
	if n := metric(t, w, "segue_feedback_repeated_total"); n != 7 { // of the second life
		t.Errorf("%v repetitions, want 7", n)
	}
}

// TestForgedTokensAreCountedByKind: whatever is forged, in whatever way it comes, changes
// nothing and is counted as what it claims to be.
func TestForgedTokensAreCountedByKind(t *testing.T) {
	w := newTown(t)
	w.run()
	w.submit("", "ann@dest.example")
	m := w.arrived(1)
	id := w.sentID(m.From)
	strangers, err := verp.Generate(strings.NewReader(strings.Repeat("x", verp.SecretSize)))
	if err != nil {
		t.Fatal(err)
	}
	before := len(w.kinds())
	path := strangers.Encode(verp.ReturnPath, id.Message, id.Recipient)
	link := strangers.EncodeUnsubscribe(&verp.Subscription{Message: id.Message, Recipient: id.Recipient})
	for local, want := range map[string]int{path: 550, link: 550, path[:39] + "b": 550, "bob": 550} {
		if r := w.report(local+"@bounce.example.com", []byte("Subject: x\r\n\r\nx\r\n")); r.Code != want {
			t.Errorf("%s was answered %s", local, r)
		}
	}
	ref := strangers.Encode(verp.Reference, id.Message, id.Recipient)
	forged := mtatest.Message{Data: []byte("X-Segue-Ref: " + ref + "\r\nSubject: x\r\n\r\n")}
	w.complain("fbl@bounce.example.com", forged, arf.Report{Type: arf.Abuse})
	w.report("fbl@bounce.example.com", []byte("Subject: buy\r\n\r\nthis\r\n"))
	_, err = w.Methods().Feedback(t.Context(), api.Feedback{ID: "1", Kind: "complaint", Reference: ref})
	if p, ok := errors.AsType[*api.Error](err); !ok || p.Status != http.StatusNotFound {
		t.Errorf("a forged reference over the API: %v", err)
	}
	for _, x := range [][2]string{
		{"bounce", "forged"},
		{"unsubscribe", "forged"},
		{"bounce", "later_version"},
		{"nobody", "unknown"},
		{"report", "forged"},
		{"report", "no_report"},
		{"api", "forged"},
	} {
		if n := w.lost(x[0], x[1]); n != 1 {
			t.Errorf("%v %s %s are counted, want 1", n, x[0], x[1])
		}
	}
	if now := w.kinds(); len(now) != before {
		t.Errorf("forgeries made events: %q", now[before:])
	}
}

// TestTokensUnsubscribe: mail to an unsubscribe token ends the stream it was sent in,
// though a program wrote it.
func TestTokensUnsubscribe(t *testing.T) {
	w := newTown(t)
	w.run()
	w.submit("", "ann@dest.example")
	token := strings.TrimPrefix(link(t, w.arrived(1)), "/u/")
	for range 2 {
		r := w.report(strings.ToUpper(token)+"@bounce.example.com", []byte("Subject: unsubscribe\r\nAuto-Submitted: auto-replied\r\n\r\n"))
		if r.Code != 250 {
			t.Fatalf("unsubscribe mail was answered %s", r)
		}
	}
	w.settle("the unsubscribe", func() bool { return w.has("unsubscribed", "ann@dest.example") })
	if got := w.suppressions("ann@dest.example"); got != "unsubscribe stream:marketing" {
		t.Errorf("suppressions: %s", got)
	}
	if n := w.tally("unsubscribed"); n != 1 {
		t.Errorf("%d events of two mails", n)
	}
}

// A directory of another user, where not even root may write, is answered with whose it has to be.
func TestSecretsThatMayNotBeWrittenSayWhoseTheyMustBe(t *testing.T) {
	t.Parallel()
	if _, err := openSecrets("/sys/segue/secrets"); err == nil || !strings.Contains(err.Error(), "must belong to the user that segue runs as") {
		t.Errorf("got %v", err)
	}
}
