// SPDX-License-Identifier: Apache-2.0

package arf

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"strconv"
	"strings"
	"time"

	"github.com/seguemta/segue/mta/rfc5322"
)

// Feedback is what [Build] writes.
type Feedback struct {
	From       string // header address of the provider
	To         string // the feedback address
	Date       time.Time
	MessageID  string // without angle brackets
	Report     Report // Returned is ignored: it comes from Original
	Original   []byte // the message complained about, or its header
	HeaderOnly bool   // return its header alone
}

// Build writes a report, CRLF line ends throughout. The same input gives the
// same bytes.
func Build(f Feedback) []byte {
	original := f.Original
	if f.HeaderOnly {
		_, body := rfc5322.ParseHeader(original)
		original = bytes.TrimRight(original[:len(original)-len(body)], "\r\n")
	}
	boundary := chooseBoundary(f.MessageID, original)
	w := &writer{}
	w.field("From", "<"+f.From+">")
	w.field("To", "<"+f.To+">")
	w.field("Subject", "Feedback report")
	w.date("Date", f.Date)
	w.field("Message-ID", "<"+f.MessageID+">")
	w.field("MIME-Version", "1.0")
	w.line("Content-Type: multipart/report; report-type=feedback-report;\r\n\tboundary=\"" + boundary + `"`)
	w.line("")

	w.line("--" + boundary)
	w.line("Content-Type: text/plain; charset=utf-8")
	w.line("")
	w.line("One of our users reported a message that came from you.")
	w.line("")

	w.line("--" + boundary)
	w.line("Content-Type: message/feedback-report")
	w.line("")
	w.report(f.Report)
	w.line("")

	w.line("--" + boundary)
	if f.HeaderOnly {
		w.line("Content-Type: text/rfc822-headers")
	} else {
		w.line("Content-Type: message/rfc822")
	}
	w.line("")
	w.text = append(w.text, original...)
	w.line("")
	w.line("--" + boundary + "--")
	return w.text
}

type writer struct{ text []byte }

func (w *writer) line(s string) {
	w.text = append(append(w.text, s...), "\r\n"...)
}

// field writes a field whose value cannot end it. Empty values are left out.
func (w *writer) field(name, value string) {
	value = strings.TrimSpace(strings.NewReplacer("\r", " ", "\n", " ", "\x00", " ").Replace(value))
	if value != "" && value != "<>" {
		w.line(name + ": " + value)
	}
}

func (w *writer) date(name string, t time.Time) {
	if !t.IsZero() {
		w.field(name, t.Format("Mon, 02 Jan 2006 15:04:05 -0700"))
	}
}

func (w *writer) report(r Report) {
	w.field("Feedback-Type", string(r.Type))
	w.field("User-Agent", r.UserAgent)
	w.field("Version", "1")
	if r.MailFrom != "" {
		w.field("Original-Mail-From", "<"+r.MailFrom+">")
	}
	for _, rcpt := range r.Recipients {
		w.field("Original-Rcpt-To", "<"+rcpt+">")
	}
	w.date("Arrival-Date", r.Arrival)
	if r.SourceIP.IsValid() {
		w.field("Source-IP", r.SourceIP.String())
	}
	for _, d := range r.Domains {
		w.field("Reported-Domain", d)
	}
	if r.ReportingMTA != "" {
		w.field("Reporting-MTA", "dns; "+r.ReportingMTA)
	}
	if r.Incidents > 1 {
		w.field("Incidents", strconv.Itoa(r.Incidents))
	}
}

// chooseBoundary derives a boundary that does not occur in the original.
func chooseBoundary(id string, original []byte) string {
	sum := sha256.Sum256([]byte(id))
	for {
		b := "=_" + hex.EncodeToString(sum[:12])
		if !bytes.Contains(original, []byte(b)) {
			return b
		}
		sum = sha256.Sum256(sum[:])
	}
}
