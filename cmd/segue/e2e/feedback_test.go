// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"encoding/json"
	"fmt"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/seguemta/segue/mta/api"
	"github.com/seguemta/segue/mta/arf"
	"github.com/seguemta/segue/mta/dsn"
	"github.com/seguemta/segue/mta/event"
	"github.com/seguemta/segue/mta/mtatest"
	"github.com/seguemta/segue/mta/mtatest/peer"
	"github.com/seguemta/segue/mta/rfc5321"
)

// later is the header that keeps a message in the queue.
func later() string {
	return "X-Segue-Not-Before: " + time.Now().Add(time.Hour).UTC().Format(time.RFC3339) + "\n"
}

// suppressions are the reasons and scopes that `segue suppression ls` shows.
func (w *world) suppressions(address string) string {
	w.t.Helper()
	var list []api.Suppression
	if err := json.Unmarshal([]byte(w.must("suppression", "ls", address, "--json")), &list); err != nil {
		w.t.Fatal(err)
	}
	var out []string
	for _, s := range list {
		out = append(out, s.Address+" "+s.Reason+" "+s.Scope)
	}
	return strings.Join(out, ", ")
}

// reports hands a message to the feedback listener by swaks, and returns its exit
// status and what it said.
func (w *world) reports(from, to string, message []byte) (int, string) {
	w.t.Helper()
	file := w.write(fmt.Sprintf("report-%d.eml", time.Now().UnixNano()), string(message))
	cmd := exec.Command(peer.Command(w.t, "swaks", "swaks"), "--server", w.ip(1), "--port", feedbackPort, "--ehlo", "mx50.test",
		"--from", from, "--to", to, "--data", "@"+file)
	out, err := cmd.CombinedOutput()
	if err != nil && cmd.ProcessState == nil {
		w.t.Fatal(err)
	}
	return cmd.ProcessState.ExitCode(), string(out)
}

func bounceMail(path, address string) []byte {
	return bounceFor(path, address, rfc5321.EnhancedCode{5, 1, 1}, "550 5.1.1 no such user")
}

func bounceFor(path, address string, status rfc5321.EnhancedCode, text string) []byte {
	return dsn.Build(dsn.Notification{
		From: "MAILER-DAEMON@mx50.test", To: path, Date: time.Now(), MessageID: "d1@mx50.test", ReportingMTA: "mx50.test",
		Recipients: []dsn.Recipient{{Final: address, Action: dsn.Failed, Status: status, DiagnosticType: "smtp", Diagnostic: text}},
	})
}

func complaint(m *mtatest.Message, original string) []byte {
	return arf.Build(arf.Feedback{
		From: "fbl@dest.example", To: "fbl@bounce.example.com", Date: time.Now(), MessageID: "a1@dest.example",
		Report: arf.Report{Type: arf.Abuse, UserAgent: "Test/1", MailFrom: m.From}, Original: []byte(original), HeaderOnly: true,
	})
}

// Postfix is the recipient's MX: it takes the message, is told by the mail store
// behind it that there is no such user, and sends its own notification to the
// return path.
func TestABounceFromARealPostfixSuppressesTheContact(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.exchanger(50, nil, "rcpt : 550 5.1.1 no such user")
	w.mx(60, "dest.example")
	w.start()
	startPostfix(w, 60, feedbackPort, "relay_domains = dest.example\nrelay_recipient_maps =\n"+
		"transport_maps = inline:{{dest.example = smtp:["+w.ip(50)+"]:"+mailPort+"}}\n")
	w.submit(later(), "ann@dest.example")
	w.submit("", "ann@dest.example")
	wait(t, "the bounce", func() bool { return w.has(event.DSN, "ann@dest.example") })
	w.empty()
	if got := w.suppressions("ann@dest.example"); got != "ann@dest.example hard_bounce all" {
		t.Errorf("suppressions: %s", got)
	}
	// The mail that waited ends, and so does what comes now; nothing was sent twice.
	w.submit("", "ann@dest.example")
	w.empty()
	if kinds := w.balance(); kinds[event.Accepted] != 3 || kinds[event.Delivered] != 1 || kinds[event.Suppressed] != 2 {
		t.Errorf("events: %v", kinds)
	}
	if got := w.must("contact", "show", "ann@dest.example"); !strings.Contains(got, "hard_bounce") {
		t.Errorf("segue contact show:\n%s", got)
	}
}

func TestAComplaintStopsMarketingAndNothingElse(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	mx := w.exchanger(50, []string{"dest.example"})
	w.start()
	w.submit("", "ann@dest.example")
	wait(t, "the message", func() bool { return len(mx.Messages()) == 1 })
	m := mx.Messages()[0]
	w.submit(later(), "ann@dest.example")
	w.submit(later(), "bob@dest.example")
	if code, said := w.reports("fbl@dest.example", "fbl@bounce.example.com", complaint(&m, string(m.Data))); code != 0 {
		t.Fatalf("swaks: exit %d\n%s", code, said)
	}
	wait(t, "ann's queued mail to end", func() bool { return w.has(event.Suppressed, "ann@dest.example") })
	if got := w.suppressions(""); got != "ann@dest.example complaint stream:marketing" {
		t.Errorf("suppressions: %s", got)
	}
	w.submit("X-Segue-Stream: transactional\n", "ann@dest.example")
	wait(t, "the transactional message", func() bool { return len(mx.Messages()) == 2 })
	if s := w.summary(); s.Waiting != 1 {
		t.Errorf("%d wait: bob's mail should", s.Waiting)
	}
}

// flip changes one character of a token.
func flip(token string, at int) string {
	b := []byte(token)
	if b[at] == 'a' {
		b[at] = 'b'
	} else {
		b[at] = 'a'
	}
	return string(b)
}

func TestForgedFeedbackChangesNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	mx := w.exchanger(50, []string{"dest.example"})
	w.start()
	w.submit("", "ann@dest.example")
	wait(t, "the message", func() bool { return len(mx.Messages()) == 1 })
	m := mx.Messages()[0]
	w.submit(later(), "ann@dest.example")

	local, _, _ := strings.Cut(m.From, "@")
	const rejected = 24 // swaks: no recipient was accepted
	for at := 1; at < len(local); at += 7 {
		forged := flip(m.From, at)
		if code, said := w.reports("", forged, bounceMail(forged, "ann@dest.example")); code != rejected || !strings.Contains(said, "550 ") {
			t.Errorf("a return path changed at %d: exit %d\n%s", at, code, said)
		}
	}
	text := string(m.Data)
	_, ref, _ := strings.Cut(text, "X-Segue-Ref: ")
	ref, _, _ = strings.Cut(ref, "\r\n")
	if ref == "" {
		t.Fatalf("no X-Segue-Ref:\n%s", text)
	}
	forged := strings.ReplaceAll(text, ref, flip(ref, len(ref)-3))
	m.From = flip(m.From, 20)
	if code, said := w.reports("fbl@dest.example", "fbl@bounce.example.com", complaint(&m, forged)); code != 0 {
		t.Errorf("a report without a token of ours: exit %d\n%s", code, said)
	}
	if got := w.suppressions(""); got != "" {
		t.Errorf("forged feedback suppressed %s", got)
	}
	if s := w.summary(); s.Waiting != 1 {
		t.Errorf("%d wait, not 1", s.Waiting)
	}
	for _, e := range w.events() {
		if e.Kind == event.DSN || e.Kind == event.Complained || e.Kind == event.Suppressed {
			t.Errorf("event %+v", e)
		}
	}
	if got := w.metric("segue_feedback_unresolved_total"); got < 2 {
		t.Errorf("%v forgeries were counted", got)
	}
}
