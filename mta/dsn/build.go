// SPDX-License-Identifier: Apache-2.0

package dsn

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strings"
	"time"

	"github.com/seguemta/segue/mta/rfc5322"
)

// Notification is what [Build] writes.
type Notification struct {
	From         string // header address, "MAILER-DAEMON@mx.example.com"
	To           string // the return path of the message that is reported
	Date         time.Time
	MessageID    string // without angle brackets
	ReportingMTA string // host name
	EnvelopeID   string
	Arrival      time.Time
	Recipients   []Recipient
	Original     []byte // the message that comes back, or its header; nil: none
	HeaderOnly   bool   // return its header alone
}

// Build writes a notification, CRLF line ends throughout. The same input gives
// the same bytes. The envelope sender to send it with is the null reverse-path.
func Build(n Notification) []byte {
	original := n.Original
	if n.HeaderOnly {
		original = header(original)
	}
	boundary := chooseBoundary(n.MessageID, original)
	w := &writer{}
	w.field("From", "Mail Delivery System <"+n.From+">")
	w.field("To", "<"+n.To+">")
	w.field("Subject", subject(n.Recipients))
	w.date("Date", n.Date)
	w.field("Message-ID", "<"+n.MessageID+">")
	w.field("Auto-Submitted", "auto-replied")
	w.field("MIME-Version", "1.0")
	w.line("Content-Type: multipart/report; report-type=delivery-status;\r\n\tboundary=\"" + boundary + `"`)
	w.line("")

	w.line("--" + boundary)
	w.line("Content-Type: text/plain; charset=utf-8")
	w.line("")
	w.explain(n)

	w.line("--" + boundary)
	w.line("Content-Type: message/delivery-status")
	w.line("")
	w.status(n)

	if len(original) > 0 {
		w.line("--" + boundary)
		if n.HeaderOnly {
			w.line("Content-Type: text/rfc822-headers")
		} else {
			w.line("Content-Type: message/rfc822")
		}
		w.line("")
		w.text = append(w.text, original...)
		w.line("")
	}
	w.line("--" + boundary + "--")
	return w.text
}

type writer struct{ text []byte }

func (w *writer) line(s string) {
	w.text = append(append(w.text, s...), "\r\n"...)
}

// field writes a field whose value cannot end it: line ends become spaces. Empty
// values are left out.
func (w *writer) field(name, value string) {
	value = strings.TrimSpace(strings.NewReplacer("\r\n", " ", "\r", " ", "\n", " ", "\x00", " ").Replace(value))
	if value == "" || value == "<>" {
		return
	}
	w.line(fold(name+": "+value, 78))
}

func (w *writer) date(name string, t time.Time) {
	if !t.IsZero() {
		w.field(name, t.Format("Mon, 02 Jan 2006 15:04:05 -0700"))
	}
}

// maxLine is the longest line of a message, without its CRLF (RFC 5322 section 2.1.1).
const maxLine = 998

// fold breaks a line at spaces, before width where it can. A word that fits on
// no line is cut: no address and no reply is that long.
func fold(line string, width int) string {
	var b strings.Builder
	for len(line) > width {
		i := strings.LastIndexByte(line[:width], ' ')
		if i <= 1 || strings.TrimSpace(line[:i]) == "" {
			next := strings.IndexByte(line[width:], ' ')
			if next < 0 {
				break
			}
			i = width + next
		}
		b.WriteString(line[:min(i, maxLine-1)] + "\r\n ")
		line = strings.TrimLeft(line[i:], " ")
	}
	return b.String() + line[:min(len(line), maxLine-1)]
}

func (w *writer) explain(n Notification) {
	w.line("This is the mail system at " + oneLine(n.ReportingMTA) + ".")
	w.line("")
	w.line("What became of your message:")
	w.line("")
	for _, r := range n.Recipients {
		w.line(fold(strings.TrimSpace(fmt.Sprintf("<%s>: %s: %s", oneLine(r.Final), oneLine(string(r.Action)), oneLine(r.Diagnostic))), 76))
	}
	w.line("")
}

func (w *writer) status(n Notification) {
	if n.ReportingMTA != "" {
		w.field("Reporting-MTA", "dns; "+n.ReportingMTA)
	}
	w.field("Original-Envelope-Id", n.EnvelopeID)
	w.date("Arrival-Date", n.Arrival)
	for _, r := range n.Recipients {
		w.line("")
		if r.Original != "" {
			w.field("Original-Recipient", "rfc822; "+r.Original)
		}
		w.field("Final-Recipient", "rfc822; "+r.Final)
		w.field("Action", string(r.Action))
		w.field("Status", r.Status.String())
		if r.RemoteMTA != "" {
			w.field("Remote-MTA", "dns; "+r.RemoteMTA)
		}
		if r.Diagnostic != "" {
			w.field("Diagnostic-Code", kindOr(r.DiagnosticType, "smtp")+"; "+r.Diagnostic)
		}
		w.date("Last-Attempt-Date", r.LastAttempt)
		w.date("Will-Retry-Until", r.WillRetryUntil)
	}
	w.line("")
}

func kindOr(kind, otherwise string) string {
	if kind == "" {
		return otherwise
	}
	return kind
}

func oneLine(s string) string { return strings.Join(strings.Fields(s), " ") }

func subject(recipients []Recipient) string {
	for _, r := range recipients {
		if r.Action == Failed {
			return "Undelivered Mail Returned to Sender"
		}
	}
	return "Delivery Status Notification"
}

// header is the header block of a message, with its last line end.
func header(message []byte) []byte {
	_, rest := rfc5322.ParseHeader(message)
	return bytes.TrimRight(message[:len(message)-len(rest)], "\r\n")
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
