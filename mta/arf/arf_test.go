// SPDX-License-Identifier: Apache-2.0

package arf

import (
	"bytes"
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

const example = `From: <fbl@provider.example>
Content-Type: multipart/report; report-type=feedback-report; boundary="b"

--b

A user complained.
--b
Content-Type: message/feedback-report

Feedback-Type: Abuse
User-Agent: Provider/1.0
Version: 1
Original-Mail-From: <b7token@bounce.example.com>
Original-Rcpt-To: <ann@provider.example>
Original-Rcpt-To: rfc822; bob@provider.example
Arrival-Date: Mon, 23 Nov 2026 08:00:00 +0000
Source-IP: 192.0.2.10
Reported-Domain: example.com
Reporting-MTA: dns; mx.provider.example
Incidents: 3

--b
Content-Type: message/rfc822

X-Segue-Ref: r7token
Subject: hi

body
--b--
`

func crlf(s string) []byte { return []byte(strings.ReplaceAll(s, "\n", "\r\n")) }

func TestParse(t *testing.T) {
	for name, text := range map[string][]byte{"crlf": crlf(example), "lf": []byte(example)} {
		r, err := Parse(text)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if got := r.Returned.Get("X-Segue-Ref"); got != "r7token" {
			t.Errorf("%s: reference %q", name, got)
		}
		r.Returned, r.Arrival = nil, r.Arrival.UTC()
		want := Report{
			Type: Abuse, UserAgent: "Provider/1.0", MailFrom: "b7token@bounce.example.com",
			Recipients: []string{"ann@provider.example", "bob@provider.example"},
			Arrival:    time.Date(2026, 11, 23, 8, 0, 0, 0, time.UTC), SourceIP: netip.MustParseAddr("192.0.2.10"),
			Domains: []string{"example.com"}, ReportingMTA: "mx.provider.example", Incidents: 3,
		}
		if !reflect.DeepEqual(r, want) {
			t.Errorf("%s: %+v\nwant %+v", name, r, want)
		}
	}
}

func TestTolerance(t *testing.T) {
	for name, change := range map[string][2]string{
		"blank line first":       {"Feedback-Type", "\r\nFeedback-Type"},
		"header alone":           {"message/rfc822", "text/rfc822-headers"},
		"not said to be one":     {"multipart/report; report-type=feedback-report", "multipart/mixed"},
		"never closed":           {"--b--", ""},
		"no type":                {"Feedback-Type: Abuse\r\n", ""},
		"type of another writer": {"Abuse", "abuse "},
		"broken date and number": {"Nov 2026", "Brumaire"},
		"redacted":               {"ann@provider.example", "redacted"},
	} {
		text := strings.Replace(string(crlf(example)), change[0], change[1], 1)
		if text == string(crlf(example)) {
			t.Fatalf("%s: nothing changed", name)
		}
		r, err := Parse([]byte(text))
		if err != nil || r.Returned.Get("X-Segue-Ref") != "r7token" || len(r.Recipients) != 2 {
			t.Errorf("%s: %+v, %v", name, r, err)
		}
		if want := name != "no type"; r.Type.Complaint() != want {
			t.Errorf("%s: complaint %v from type %q", name, r.Type.Complaint(), r.Type)
		}
	}
}

// TestWrapped: a report that came as an attachment is read, the returned message of a bounce is not.
func TestWrapped(t *testing.T) {
	wrap := func(what, part string) []byte {
		return crlf("From: abuse@example.com\nContent-Type: multipart/mixed; boundary=\"o\"\n\n--o\nContent-Type: " + what + "\n\nsee below\n--o\nContent-Type: message/rfc822\n\n" + part + "\n--o--\n")
	}
	want, err := Parse(crlf(example))
	if err != nil {
		t.Fatal(err)
	}
	if got, err := Parse(wrap("text/plain", example)); err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("an attached report is %+v, %v", got, err)
	}
	for _, text := range [][]byte{wrap("message/delivery-status", example), wrap("text/plain", "Subject: hello\n\nbody\n")} {
		if got, err := Parse(text); !errors.Is(err, ErrNotReport) {
			t.Errorf("%s is %+v, %v", text, got, err)
		}
	}
}

func TestComplaint(t *testing.T) {
	for kind, want := range map[Type]bool{
		Abuse: true, Fraud: true, OptOut: true,
		Virus: false, NotSpam: false, AuthFailure: false, Other: false, "x-new": false, "": false,
	} {
		if kind.Complaint() != want {
			t.Errorf("%q is a complaint: %v", kind, !want)
		}
	}
}

func TestNotReport(t *testing.T) {
	for _, text := range []string{
		"", "Subject: hello\n\nhow are you\n",
		"From: staff@hotmail.com\nSubject: complaint about message from 192.0.2.1\n\nno message attached\n",
		"From: ann@example.net\nSubject: complaint about message from 192.0.2.1\nContent-Type: message/rfc822\n\nFrom: x\n\n",
		strings.ReplaceAll(example, "feedback-report\n", "delivery-status\n"),
	} {
		if r, err := Parse(crlf(text)); !errors.Is(err, ErrNotReport) || !reflect.DeepEqual(r, Report{}) {
			t.Errorf("%.40q: %+v, %v", text, r, err)
		}
	}
}

func TestSourceIP(t *testing.T) {
	for text, want := range map[string]string{
		"192.0.2.1": "192.0.2.1", "[192.0.2.1]": "192.0.2.1", "[IPv6:2001:db8::1]": "2001:db8::1",
		"::ffff:192.0.2.1": "192.0.2.1", "192.0.2.1 (mx.example)": "192.0.2.1", "192.0.2.": "invalid IP", "": "invalid IP",
	} {
		if got := sourceIP(text).String(); got != want {
			t.Errorf("sourceIP(%q) = %s, want %s", text, got, want)
		}
	}
}

// TestCorpus reads real reports: each row of feedback.tsv is a recipient that
// the report names, or whom the returned message was addressed to. SEGUE_CORPUS
// names the directory of a larger corpus to measure.
func TestCorpus(t *testing.T) {
	dir, sub := os.Getenv("SEGUE_CORPUS"), "feedback"
	sample := dir == ""
	if sample {
		dir, sub = filepath.Join("testdata", "corpus"), "."
	}
	table, err := os.ReadFile(filepath.Join(dir, "feedback.tsv"))
	if err != nil {
		t.Fatal(err)
	}
	rows, found, types := 0, 0, 0
	for line := range strings.Lines(string(table)) {
		cells := strings.Split(strings.TrimRight(line, "\n"), "\t")
		if len(cells) != 10 || cells[8] == "" || cells[8] == "feedbacktype" {
			continue
		}
		rows++
		message, err := os.ReadFile(filepath.Join(dir, sub, cells[0]))
		if err != nil {
			t.Fatal(err)
		}
		r, err := Parse(message)
		if err != nil {
			t.Logf("%s: %v", cells[0], err)
			continue
		}
		if slices.Contains(r.Recipients, cells[2]) || len(r.Recipients) == 0 && address(r.Returned.Get("To")) == cells[2] {
			found++
		} else {
			t.Logf("%s: %s is not among %q", cells[0], cells[2], r.Recipients)
		}
		if string(r.Type) == cells[8] {
			types++
		}
	}
	t.Logf("%d rows, %d recipients found, %d types right", rows, found, types)
	if sample && (rows != 12 || found != rows || types != rows) {
		t.Error("want 12 of each")
	}
}

func TestMicrosoft(t *testing.T) {
	message, err := os.ReadFile(filepath.Join("testdata", "corpus", "arf-22.eml"))
	if err != nil {
		t.Fatal(err)
	}
	r, err := Parse(message)
	if err != nil || r.Type != Abuse || r.SourceIP.String() != "192.0.2.222" || r.Returned.Get("Subject") != "Nyaan" {
		t.Errorf("%+v, %v", r, err)
	}
}

// TestBuild: what Build writes is what Parse reads.
func TestBuild(t *testing.T) {
	original := []byte("Return-Path: <b7@bounce.example.com>\r\nX-Segue-Ref: r7\r\nSubject: hi\r\n\r\nbody text\r\n")
	rapid.Check(t, func(t *rapid.T) {
		addr := rapid.StringMatching(`[a-z]{1,20}@[a-z]{1,20}\.example`)
		want := Report{
			Type: rapid.SampledFrom([]Type{Abuse, OptOut, NotSpam}).Draw(t, "type"), UserAgent: "x/1",
			MailFrom: addr.Draw(t, "from"), Recipients: rapid.SliceOfN(addr, 1, 4).Draw(t, "to"),
			Arrival: time.Unix(1790000000, 0).UTC(), SourceIP: netip.MustParseAddr("2001:db8::1"),
			Domains: []string{"example.com"}, ReportingMTA: "mx.example", Incidents: rapid.IntRange(1, 3).Draw(t, "incidents"),
		}
		f := Feedback{
			From: "fbl@p.example", To: "fbl@example.com", Date: want.Arrival, MessageID: "1@p.example", Report: want,
			Original: original, HeaderOnly: rapid.Bool().Draw(t, "header only"),
		}
		message := Build(f)
		checkLines(t, message)
		got, err := Parse(message)
		if err != nil || got.Returned.Get("X-Segue-Ref") != "r7" {
			t.Fatalf("%+v, %v from\n%s", got, err, message)
		}
		got.Returned, got.Arrival = nil, got.Arrival.UTC()
		if !reflect.DeepEqual(got, want) {
			t.Fatalf("%+v\nwant %+v", got, want)
		}
		if bytes.Contains(message, []byte("body text")) == f.HeaderOnly {
			t.Fatalf("HeaderOnly is %v\n%s", f.HeaderOnly, message)
		}
	})
}

// TestBuildInjection: values with line ends stay values.
func TestBuildInjection(t *testing.T) {
	evil := "x\r\nBcc: all@example.net\n\r--"
	message := Build(Feedback{From: evil, To: evil, MessageID: evil, Report: Report{
		Type: Type(evil), UserAgent: evil, MailFrom: evil, Recipients: []string{evil}, Domains: []string{evil}, ReportingMTA: evil,
	}})
	checkLines(t, message)
	for line := range bytes.SplitSeq(message, []byte("\r\n")) {
		if bytes.HasPrefix(line, []byte("Bcc:")) {
			t.Fatalf("a field was injected:\n%s", message)
		}
	}
}

func checkLines(t interface{ Fatalf(string, ...any) }, message []byte) {
	if !bytes.HasSuffix(message, []byte("\r\n")) || bytes.Count(message, []byte("\n")) != bytes.Count(message, []byte("\r\n")) {
		t.Fatalf("line ends are not all CRLF:\n%q", message)
	}
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
		if err == nil && (r.Type == "" || r.Incidents < 1 || len(r.Recipients) > MaxValues || len(r.Domains) > MaxValues) {
			t.Fatalf("%+v", r)
		}
		checkLines(t, Build(Feedback{Report: r}))
	})
}
