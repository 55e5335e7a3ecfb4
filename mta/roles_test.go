// SPDX-License-Identifier: Apache-2.0

package mta

import (
	"fmt"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/seguemta/segue/mta/admit"
	"github.com/seguemta/segue/mta/arf"
	"github.com/seguemta/segue/mta/mtatest"
)

// withFeedback puts keys into the [feedback] table of a town.
func (w *town) withFeedback(keys string) {
	w.change = strings.NewReplacer("[[listener]]\npurpose = \"submission\"", "[feedback]\n"+keys+"\n[[listener]]\npurpose = \"submission\"")
}

const letter = "Received: from a by b; Mon, 2 Nov 2026 10:00:00 +0000\r\nFrom: Eve <eve@dest.example>\r\nTo: postmaster@bounce.example.com\r\nSubject: your mail\r\n\r\nplease stop\r\n"

// forwards is what became of mail to postmaster and abuse.
func (w *town) forwards(result string) float64 {
	return testutil.ToFloat64(w.feedback.forward.total.WithLabelValues(result))
}

// TestRolesAreForwarded: what a person writes to postmaster or abuse leaves as a message of
// ours, with the original attached, from the null sender.
func TestRolesAreForwarded(t *testing.T) {
	w := newTown(t)
	w.withFeedback(`forward = "ops@dest.example"`)
	w.run()
	for i, to := range []string{"Postmaster@bounce.example.com", "abuse@mta1.mail.example.net"} {
		if r := w.reportFrom("eve@dest.example", to, []byte(letter)); r.Code != 250 {
			t.Fatalf("mail to %s was answered %s", to, r)
		}
		m := w.arrived(i + 1)
		text := string(m.Data)
		if m.From != "" || strings.Join(m.To, " ") != "ops@dest.example" {
			t.Errorf("it left from <%s> to %v", m.From, m.To)
		}
		for _, want := range []string{
			"From: <postmaster@example.com>\r\n", "Reply-To: <eve@dest.example>\r\n", "Subject: [" + strings.Replace(to, "Postmaster", "postmaster", 1) + "] your mail\r\n",
			"Auto-Submitted: auto-forwarded\r\n", "Content-Type: message/rfc822\r\n", "\r\n\r\n" + letter, "DKIM-Signature:",
		} {
			if !strings.Contains(strings.ReplaceAll(text, "Postmaster@", "postmaster@"), strings.ReplaceAll(want, "Postmaster@", "postmaster@")) {
				t.Errorf("%q is not in\n%s", want, text)
			}
		}
	}
	if w.forwards("forwarded") != 2 {
		t.Errorf("%v were counted", w.forwards("forwarded"))
	}
}

// TestRolesEndLoops: mail of programs is taken and goes nowhere; mail that goes in circles,
// mail that nobody reads, and a flood are refused.
func TestRolesEndLoops(t *testing.T) {
	w := newTown(t)
	w.withFeedback("forward = \"ops@dest.example\"\nforward_rate = \"2/d\"")
	w.run()
	to := "abuse@bounce.example.com"
	for _, head := range []string{"Auto-Submitted: auto-replied; owner=x\r\n", "Precedence: bulk\r\n", "List-Id: <l.dest.example>\r\n", "Return-Path: <>\r\n"} {
		if r := w.reportFrom("eve@dest.example", to, []byte(head+letter)); r.Code != 250 {
			t.Errorf("%q was answered %s", head, r)
		}
	}
	if r := w.report(to, []byte(letter)); r.Code != 250 { // from the null sender
		t.Errorf("a notification was answered %s", r)
	}
	if r := w.reportFrom("eve@dest.example", to, []byte(strings.Repeat("Received: from a by b\r\n", admit.MaxHops+1)+letter)); r.Code != 554 {
		t.Errorf("mail that goes in circles was answered %s", r)
	}
	for i, want := range []int{250, 250, 451} {
		if r := w.reportFrom("eve@dest.example", to, []byte(letter)); r.Code != want {
			t.Errorf("letter %d of a flood was answered %s", i, r)
		}
	}
	w.arrived(2)
	for result, want := range map[string]float64{"automatic": 5, "loop": 1, "forwarded": 2, "limited": 1} {
		if got := w.forwards(result); got != want {
			t.Errorf("%v are counted as %s, want %v", got, result, want)
		}
	}
	if n := w.tally("accepted"); n != 2 {
		t.Errorf("%d messages were made", n)
	}
}

// TestRolesWithoutReader: nothing is taken that nobody would read, and a report about mail of
// ours is, wherever it comes.
func TestRolesWithoutReader(t *testing.T) {
	w := newTown(t)
	w.run()
	w.submit("", "ann@dest.example")
	m := w.arrived(1)
	if r := w.reportFrom("eve@dest.example", "postmaster@bounce.example.com", []byte(letter)); r.Code != 550 {
		t.Errorf("mail that nobody reads was answered %s", r)
	}
	if r := w.complain("abuse@bounce.example.com", m, arf.Report{Type: arf.Abuse}); r.Code != 250 {
		t.Errorf("a report was answered %s", r)
	}
	w.settle("the complaint", func() bool { return w.has("complained", "ann@dest.example") })
	if w.forwards("nobody") != 1 {
		t.Errorf("%v are counted", w.forwards("nobody"))
	}
}

// TestRolesCarryStrangeMail: what comes is carried as it is, or as a file where no server
// would take its lines; a subject cannot end its field.
func TestRolesCarryStrangeMail(t *testing.T) {
	w := newTown(t)
	w.withFeedback(`forward = "ops@dest.example"`)
	w.run()
	for i, x := range []struct{ text, want string }{
		{"Subject: =?x?\r\n folded\xff \x01\r\n\r\n8bit \xe4\r\n", "8bit \xe4\r\n"},
		{"Subject: long\r\n\r\n" + strings.Repeat("x", 2000) + "\r\n", "Content-Transfer-Encoding: base64\r\n\r\nU3ViamVj"},
	} {
		if r := w.reportFrom("eve@dest.example", "abuse@bounce.example.com", []byte(x.text)); r.Code != 250 {
			t.Fatalf("answered %s", r)
		}
		text := string(w.arrived(i + 1).Data)
		if !strings.Contains(text, x.want) {
			t.Errorf("%q is not in\n%q", x.want, text)
		}
		for line := range strings.SplitSeq(text, "\r\n") {
			if len(line) > longLine {
				t.Errorf("a line of %d octets left", len(line))
			}
			if strings.HasPrefix(line, "Subject: [") && strings.ContainsFunc(line, func(r rune) bool { return r < ' ' || r > '~' }) {
				t.Errorf("subject %q", line)
			}
		}
	}
}

// TestReportsAreResolved: by X-Segue-Ref, by the return path, by CFBL-Feedback-ID, by a
// Feedback-ID that holds a token, and without any machine part; redacted addresses do not
// matter.
func TestReportsAreResolved(t *testing.T) {
	w := newTown(t)
	w.withFeedback("cfbl = true\nforward = \"ops@dest.example\"")
	w.run()
	field := func(m mtatest.Message, name string) string {
		for line := range strings.SplitSeq(string(m.Data), "\r\n") {
			if v, ok := strings.CutPrefix(line, name+": "); ok {
				return v
			}
		}
		t.Fatalf("no %s in\n%s", name, m.Data)
		return ""
	}
	jmrp := func(head string) []byte {
		return []byte("From: <staff@hotmail.com>\r\nSubject: complaint about message from 192.0.2.10\r\nMIME-Version: 1.0\r\n" +
			"Content-Type: multipart/mixed; boundary=\"b\"\r\n\r\n--b\r\nContent-Type: message/rfc822\r\nContent-Disposition: inline\r\n\r\n" +
			head + "Subject: hello\r\n\r\nbody\r\n--b--\r\n")
	}
	redacted := arf.Report{Type: arf.Abuse, Recipients: []string{"redacted@dest.example"}}
	for i, x := range []struct {
		name string
		send func(mtatest.Message) []byte
	}{
		{"reference, redacted", func(m mtatest.Message) []byte { return report(redacted, string(m.Data)) }},
		{"return path in the machine part", func(m mtatest.Message) []byte {
			return report(arf.Report{Type: arf.Abuse, MailFrom: m.From}, "Subject: x\r\n\r\n")
		}},
		{"return path of the returned message", func(m mtatest.Message) []byte {
			return report(redacted, "Return-Path: <"+strings.ToUpper(m.From)+">\r\nSubject: x\r\n\r\n")
		}},
		{"CFBL", func(m mtatest.Message) []byte {
			return report(arf.Report{Type: arf.Abuse}, "CFBL-Feedback-ID: "+field(m, "CFBL-Feedback-ID")+"\r\nMessage-ID: <x@y>\r\n\r\n")
		}},
		{"Feedback-ID", func(m mtatest.Message) []byte {
			return report(arf.Report{Type: arf.Abuse}, "Feedback-ID: spring:trial:"+field(m, "X-Segue-Ref")+":segue\r\n\r\n")
		}},
		{"JMRP by reference", func(m mtatest.Message) []byte {
			return jmrp("X-HmXmrOriginalRecipient: redacted@x\r\nX-Segue-Ref: " + field(m, "X-Segue-Ref") + "\r\n")
		}},
		{"JMRP by return path", func(m mtatest.Message) []byte { return jmrp("Return-Path: " + m.From + "\r\n") }},
	} {
		rcpt := fmt.Sprintf("r%d@dest.example", i)
		w.submit("X-Segue-Campaign: spring\r\n", rcpt)
		m := w.arrived(i + 1)
		if got := field(m, "CFBL-Address"); got != "fbl@bounce.example.com; report=arf" {
			t.Errorf("CFBL-Address: %s", got)
		}
		if dk := strings.NewReplacer("\r\n\t ", "", "\r\n\t", "").Replace(string(m.Data)); !strings.Contains(strings.ToLower(dk), "cfbl-address:cfbl-feedback-id") {
			t.Errorf("the CFBL fields are not signed:\n%s", m.Data)
		}
		if r := w.report("fbl@bounce.example.com", x.send(m)); r.Code != 250 {
			t.Errorf("%s: answered %s", x.name, r)
		}
		w.settle(x.name, func() bool { return w.has("complained", rcpt) })
	}
	if n := w.tally("complained"); n != 7 {
		t.Errorf("%d complaints", n)
	}
	if n := w.tally("accepted"); n != 7 {
		t.Errorf("feedback made mail: %d were accepted", n)
	}
}

// report is a report about a message.
func report(r arf.Report, original string) []byte {
	return arf.Build(arf.Feedback{From: "fbl@dest.example", To: "fbl@bounce.example.com", MessageID: "a1@dest.example", Report: r, Original: []byte(original)})
}

// TestReportsSayWhatTheyAre: opt-out ends the stream, not-spam lifts nothing, and what is
// about content or authentication is nothing of the recipient's.
func TestReportsSayWhatTheyAre(t *testing.T) {
	w := newTown(t)
	w.run()
	for i, x := range []struct {
		kind        arf.Type
		event, want string
	}{
		{arf.Abuse, "complained", "complaint stream:marketing"},
		{arf.OptOut, "unsubscribed", "unsubscribe stream:marketing"},
		{arf.NotSpam, "not_spam", ""},
		{arf.Virus, "", ""},
		{arf.AuthFailure, "", ""},
	} {
		rcpt := fmt.Sprintf("r%d@dest.example", i)
		w.submit("", rcpt)
		m := w.arrived(i + 1)
		if r := w.complain("fbl@bounce.example.com", m, arf.Report{Type: x.kind}); r.Code != 250 {
			t.Errorf("%s: answered %s", x.kind, r)
		}
		if x.event != "" {
			w.settle(string(x.kind), func() bool { return w.has(x.event, rcpt) })
		}
		if got := w.suppressions(rcpt); got != x.want {
			t.Errorf("%s: suppressed %q, want %q", x.kind, got, x.want)
		}
	}
	w.submit("", "r0@dest.example")
	m := w.mx.Messages()[0]
	w.complain("fbl@bounce.example.com", m, arf.Report{Type: arf.NotSpam})
	w.settle("not spam", func() bool { return w.has("not_spam", "r0@dest.example") })
	if got := w.suppressions("r0@dest.example"); got != "complaint stream:marketing" {
		t.Errorf("not-spam lifted something: %q", got)
	}
}

// TestReportsNameTheirRecipients: one report can name several of a transaction, and each is
// one complaint; where it names none of several, nobody is blamed and the case is known.
func TestReportsNameTheirRecipients(t *testing.T) {
	w := newTown(t)
	w.run()
	w.submit("X-Segue-Stream: transactional\r\n", "ann@dest.example", "bob@dest.example", "eve@dest.example")
	m := w.arrived(1)
	w.settle("all deliveries", func() bool { return w.tally("delivered") == 3 })
	w.complain("fbl@bounce.example.com", m, arf.Report{Type: arf.Abuse, Recipients: []string{"eve@dest.example", "bob@dest.example", "x@y.example", "eve@dest.example"}})
	w.settle("two complaints", func() bool { return w.has("complained", "bob@dest.example") && w.has("complained", "eve@dest.example") })
	for range 2 {
		w.complain("fbl@bounce.example.com", m, arf.Report{Type: arf.Abuse, Recipients: []string{"redacted"}})
	}
	w.settle("the third", func() bool { return w.tally("complained") == 3 })
	if w.has("complained", "ann@dest.example") || w.suppressions("ann@dest.example") != "" {
		t.Error("ann was blamed, who was not named")
	}
}
