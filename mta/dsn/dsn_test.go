// SPDX-License-Identifier: Apache-2.0

package dsn

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/seguemta/segue/mta/rfc5321"
)

// crlf is how a report looks on the wire.
func crlf(s string) []byte { return []byte(strings.ReplaceAll(s, "\n", "\r\n")) }

const example = `From: MAILER-DAEMON@mx.example.net
To: <b7token@bounce.example.com>
Content-Type: multipart/report; report-type=delivery-status; boundary="b"

--b

Sorry.
--b
Content-Type: message/delivery-status

Reporting-MTA: dns; mx.example.net
Original-Envelope-Id: e-17
Arrival-Date: Mon, 23 Nov 2026 08:00:00 +0000

Original-Recipient: rfc822;Ann@example.net
Final-Recipient: rfc822; ann@box.example.net
Action: failed
Status: 5.1.1 (no such user)
Remote-MTA: dns; box.example.net
Diagnostic-Code: smtp; 550 5.1.1 <ann@box.example.net>: no such
    user
Last-Attempt-Date: Mon, 23 Nov 2026 08:00:05 +0000

Final-Recipient: rfc822; bob@example.net
Action: DELAYED
Status: 4.4.1
Will-Retry-Until: Sat, 28 Nov 2026 08:00:00 +0000

--b
Content-Type: text/rfc822-headers

Return-Path: <b7token@bounce.example.com>
X-Segue-Ref: r7token
Message-ID: <1@example.com>

--b--
`

func TestParse(t *testing.T) {
	r, err := Parse(crlf(example))
	if err != nil {
		t.Fatal(err)
	}
	at := func(day, second int) time.Time { return time.Date(2026, 11, day, 8, 0, second, 0, time.UTC) }
	want := []Recipient{
		{
			Final: "ann@box.example.net", Original: "Ann@example.net", Action: Failed, Status: rfc5321.EnhancedCode{5, 1, 1},
			RemoteMTA: "box.example.net", DiagnosticType: "smtp",
			Diagnostic: "550 5.1.1 <ann@box.example.net>: no such user", LastAttempt: at(23, 5),
		},
		{Final: "bob@example.net", Action: Delayed, Status: rfc5321.EnhancedCode{4, 4, 1}, WillRetryUntil: at(28, 0)},
	}
	for i := range r.Recipients {
		r.Recipients[i].LastAttempt = utc(r.Recipients[i].LastAttempt)
		r.Recipients[i].WillRetryUntil = utc(r.Recipients[i].WillRetryUntil)
	}
	if !reflect.DeepEqual(r.Recipients, want) {
		t.Errorf("recipients %+v\nwant %+v", r.Recipients, want)
	}
	if r.ReportingMTA != "mx.example.net" || r.EnvelopeID != "e-17" || !r.Arrival.Equal(at(23, 0)) {
		t.Errorf("report %q %q %v", r.ReportingMTA, r.EnvelopeID, r.Arrival)
	}
	for name, value := range map[string]string{"x-segue-ref": "r7token", "Message-ID": "<1@example.com>", "Return-Path": "<b7token@bounce.example.com>"} {
		if got := r.Returned.Get(name); got != value {
			t.Errorf("returned %s: %q, want %q", name, got, value)
		}
	}
}

func utc(t time.Time) time.Time {
	if t.IsZero() {
		return time.Time{}
	}
	return t.UTC()
}

// TestTolerance changes the example as real systems do; it must still name both recipients
// and find the reference.
func TestTolerance(t *testing.T) {
	for name, change := range map[string][2]string{
		"bare line feeds":           {"\r\n", "\n"},
		"blank line within a group": {"Action: failed\r\n", "\r\nAction: failed\r\n"},
		"two blank lines":           {"\r\nFinal-Recipient: rfc822; bob", "\r\n\r\nFinal-Recipient: rfc822; bob"},
		"no blank line between":     {"\r\n\r\nFinal-Recipient: rfc822; bob", "\r\nFinal-Recipient: rfc822; bob"},
		"no blank line first":       {"+0000\r\n\r\nOriginal-Recipient", "+0000\r\nOriginal-Recipient"},
		"no type":                   {"rfc822; bob", " bob"},
		"brackets":                  {"rfc822; bob@example.net", "rfc822; <bob@example.net> (Bob)"},
		"type of another case":      {"message/delivery-status", "Message/Delivery-Status; charset=utf-8"},
		"whole message returned":    {"text/rfc822-headers", "message/rfc822"},
		"never closed":              {"--b--", ""},
		"not said to be a report":   {"multipart/report; report-type=delivery-status", "multipart/mixed"},
		"boundary lost":             {"boundary=\"b\"", "x=y"},
		"no multipart":              {"Content-Type: multipart/report; report-type=delivery-status; boundary=\"b\"", "X: y"},
		"scalar status part":        {"Content-Type: message/delivery-status", "Content-Type: text/plain"},
		"route":                     {"rfc822; bob@", "rfc822; @relay.example,@r2.example:bob@"},
	} {
		text := strings.ReplaceAll(string(crlf(example)), change[0], change[1])
		r, err := Parse([]byte(text))
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if len(r.Recipients) != 2 || r.Recipients[0].Final != "ann@box.example.net" || r.Recipients[1].Final != "bob@example.net" ||
			r.Recipients[0].Action != Failed || r.Recipients[1].Status != (rfc5321.EnhancedCode{4, 4, 1}) {
			t.Errorf("%s: %+v", name, r.Recipients)
		}
		broken := name == "boundary lost" || name == "no multipart" || name == "scalar status part"
		if r.Returned.Get("X-Segue-Ref") != "r7token" && !broken {
			t.Errorf("%s: reference lost: %q", name, r.Returned)
		}
	}
}

// TestWrapped: a scanner put the whole report into a message of its own.
func TestWrapped(t *testing.T) {
	text := "Content-Type: multipart/mixed; boundary=outer\n\n--outer\n\nscanned\n--outer\nContent-Type: message/rfc822\n\n" + example + "\n--outer--\n"
	r, err := Parse(crlf(text))
	if err != nil || len(r.Recipients) != 2 || r.Returned.Get("X-Segue-Ref") != "r7token" {
		t.Errorf("%+v, %v", r, err)
	}
}

func TestInternational(t *testing.T) {
	text := strings.ReplaceAll(example, "message/delivery-status", "message/global-delivery-status")
	text = strings.ReplaceAll(text, "rfc822; bob@example.net", `utf-8; j\x{F6}rg\x{zz}@example.net`)
	r, err := Parse(crlf(text))
	if err != nil || r.Recipients[1].Final != `jörg\x{zz}@example.net` {
		t.Errorf("%+v, %v", r.Recipients, err)
	}
}

// TestStatusComment: without a diagnostic the comment of the status speaks.
func TestStatusComment(t *testing.T) {
	text := strings.ReplaceAll(example, "Status: 4.4.1", "Status: 5.4.4 (Illegal host name)")
	r, err := Parse(crlf(text))
	if err != nil || r.Recipients[1].Reply().String() != "550 5.4.4 Illegal host name" || r.Recipients[0].Diagnostic == "no such user" {
		t.Errorf("%+v, %v", r.Recipients, err)
	}
}

func TestNotReport(t *testing.T) {
	arf := "Content-Type: multipart/report; report-type=feedback-report; boundary=b\n\n--b\nContent-Type: message/feedback-report\n\nFeedback-Type: abuse\nOriginal-Rcpt-To: a@b.example\n--b--\n"
	for _, text := range []string{"", "\n", "Subject: hello\n\nHow are you?\n", arf, strings.ReplaceAll(example, "Recipient", "R")} {
		if r, err := Parse(crlf(text)); !errors.Is(err, ErrNotReport) || !reflect.DeepEqual(r, Report{}) {
			t.Errorf("%.40q: %+v, %v", text, r, err)
		}
	}
}

func TestReply(t *testing.T) {
	for _, tt := range []struct {
		diagnostic string
		status     rfc5321.EnhancedCode
		action     Action
		want       string
	}{
		{"550 5.1.1 no such user", rfc5321.EnhancedCode{5, 0, 0}, Failed, "550 5.1.1 no such user"},
		{"550-5.1.1 The account 550 5.1.1 does not exist", rfc5321.EnhancedCode{5, 0, 0}, Failed, "550 5.1.1 The account 550 5.1.1 does not exist"},
		{"550 no such user", rfc5321.EnhancedCode{5, 1, 1}, Failed, "550 5.1.1 no such user"},
		{"550 no such user (#5.1.1)", rfc5321.EnhancedCode{5, 0, 0}, Failed, "550 5.1.1 no such user (#5.1.1)"},
		{"550 blocked 5.6.7.8", rfc5321.EnhancedCode{5, 0, 0}, Failed, "550 5.0.0 blocked 5.6.7.8"},
		{"host mx.example.net said: 554 5.7.1 no", rfc5321.EnhancedCode{5, 7, 1}, Failed, "554 5.7.1 no"},
		{"mailbox full", rfc5321.EnhancedCode{5, 2, 2}, Failed, "550 5.2.2 mailbox full"},
		{"", rfc5321.EnhancedCode{4, 4, 7}, Failed, "450 4.4.7"},
		{"", rfc5321.EnhancedCode{}, Failed, "550"},
		{"5500 bottles", rfc5321.EnhancedCode{}, Delayed, "0 5500 bottles"},
		{"999 x", rfc5321.EnhancedCode{}, Delayed, "0 999 x"},
		{"421", rfc5321.EnhancedCode{}, Delayed, "421"},
	} {
		got := Recipient{Diagnostic: tt.diagnostic, Status: tt.status, Action: tt.action}.Reply().String()
		if got != tt.want {
			t.Errorf("%q, %v: %q, want %q", tt.diagnostic, tt.status, got, tt.want)
		}
	}
}

// TestBuild: what Build writes is what Parse reads, whatever the values.
func TestBuild(t *testing.T) {
	original := []byte("Return-Path: <b7@bounce.example.com>\r\nX-Segue-Ref: r7\r\nSubject: hi\r\n\r\nbody =_ text\r\n")
	rapid.Check(t, func(t *rapid.T) {
		words := rapid.StringMatching(`[ -~]{0,90}`)
		n := Notification{
			From: "MAILER-DAEMON@mx.example.net", To: "b7@bounce.example.com", Date: time.Unix(1790000000, 0),
			MessageID: "1@mx.example.net", ReportingMTA: "mx.example.net", Original: original,
			HeaderOnly: rapid.Bool().Draw(t, "header only"), Arrival: time.Unix(1790000000, 0).UTC(),
		}
		for range rapid.IntRange(1, 4).Draw(t, "recipients") {
			n.Recipients = append(n.Recipients, Recipient{
				Final:  rapid.StringMatching(`[a-z]{1,20}@[a-z]{1,60}\.example`).Draw(t, "final"),
				Action: rapid.SampledFrom([]Action{Failed, Delayed, Delivered}).Draw(t, "action"),
				Status: rfc5321.EnhancedCode{5, 1, 1}, DiagnosticType: "smtp",
				Diagnostic: "550 5.1.1 " + oneLine(words.Draw(t, "text")), LastAttempt: n.Arrival,
			})
		}
		message := Build(n)
		checkLines(t, message)
		r, err := Parse(message)
		if err != nil {
			t.Fatalf("%v\n%s", err, message)
		}
		if r.Returned.Get("X-Segue-Ref") != "r7" || r.ReportingMTA != n.ReportingMTA || len(r.Recipients) != len(n.Recipients) {
			t.Fatalf("%+v from\n%s", r, message)
		}
		for i := range r.Recipients {
			got, want := r.Recipients[i], n.Recipients[i]
			got.LastAttempt, want.Diagnostic = got.LastAttempt.UTC(), strings.TrimSpace(want.Diagnostic)
			if got != want {
				t.Fatalf("recipient %+v, want %+v", got, want)
			}
		}
		if bytes.Contains(message, []byte("body =_ text")) == n.HeaderOnly {
			t.Fatalf("HeaderOnly is %v\n%s", n.HeaderOnly, message)
		}
	})
}

func checkLines(t interface{ Fatalf(string, ...any) }, message []byte) {
	if !bytes.HasSuffix(message, []byte("\r\n")) || bytes.Count(message, []byte("\n")) != bytes.Count(message, []byte("\r\n")) {
		t.Fatalf("line ends are not all CRLF:\n%q", message)
	}
	for line := range bytes.SplitSeq(message, []byte("\r\n")) {
		if len(line) > 998 || bytes.ContainsAny(line, "\r\x00") {
			t.Fatalf("bad line %q", line)
		}
	}
}

// TestBuildInjection: values with line ends stay values.
func TestBuildInjection(t *testing.T) {
	evil := "x\r\nBcc: all@example.net\r\n\r\n--"
	message := Build(Notification{
		From: evil, To: evil, MessageID: evil, ReportingMTA: evil, EnvelopeID: evil,
		Recipients: []Recipient{{Final: evil, Original: evil, Action: Action(evil), RemoteMTA: evil, DiagnosticType: evil, Diagnostic: evil}},
	})
	for line := range bytes.SplitSeq(message, []byte("\r\n")) {
		if bytes.HasPrefix(line, []byte("Bcc:")) {
			t.Fatalf("a field was injected:\n%s", message)
		}
	}
	checkLines(t, message)
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(example))
	files, err := filepath.Glob(filepath.Join("testdata", "corpus", "*.eml"))
	if err != nil || len(files) == 0 {
		f.Fatal("no corpus", err)
	}
	for _, name := range files {
		text, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, message []byte) {
		r, err := Parse(message)
		if (err == nil) != (len(r.Recipients) > 0) || len(r.Recipients) > MaxRecipients {
			t.Fatalf("%d recipients, %v", len(r.Recipients), err)
		}
		for _, rcpt := range r.Recipients {
			if rcpt.Final == "" && rcpt.Original == "" {
				t.Fatal("a recipient without address")
			}
			rcpt.Reply()
		}
		if err == nil {
			checkLines(t, Build(Notification{Recipients: r.Recipients}))
		}
	})
}
