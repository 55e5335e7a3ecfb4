// SPDX-License-Identifier: Apache-2.0

// Package dsn reads and writes delivery status notifications: the
// multipart/report that a mail system sends to a return path when it could not
// deliver what it had accepted (RFC 3464, with RFC 6533 for addresses in UTF-8).
//
// Many systems write no such report. Parse reads their notices as well: the words
// that qmail, Exim, the old Sendmail, Exchange, gateways and mailbox providers write for
// people, the JSON of Amazon SES, and the answers of programs for people who are away.
//
// Start with [Parse]: it says which recipients the report is about, what became
// of each, and the header of the message that comes back with it, where
// X-Segue-Ref, Message-ID and Return-Path are to be found. [Recipient.Reply]
// turns a recipient's fields into the SMTP reply that a bounce classifier reads.
// [Build] writes a report; the simulated providers of the demo use it.
//
// Parse forgives what real systems do: missing blank lines and extra ones,
// a status with a comment, fields that stand in the text because the MIME
// around them is broken. Words are read only where at least two marks say that a
// program wrote them about mail that failed (who wrote, the null sender, the subject, the
// first lines), and never in mail that a list passed on. It believes nothing: a report can
// be forged by anyone, so who it is about must come from a signed token, never from the addresses in
// it.
package dsn

import (
	"bytes"
	"errors"
	"strconv"
	"strings"
	"time"

	"github.com/seguemta/segue/mta/rfc5321"
	"github.com/seguemta/segue/mta/rfc5322"
)

// ErrNotReport means that the message holds no delivery status that can be
// read.
var ErrNotReport = errors.New("not a delivery status notification")

// Bounds of what is read; the rest is ignored.
const (
	MaxSize       = 1 << 20 // octets of the message; status comes before the returned mail
	MaxRecipients = 1000
)

// Action is what the reporting system did (RFC 3464 section 2.3.3), in lower case.
type Action string

// The actions.
const (
	Failed    Action = "failed"
	Delayed   Action = "delayed"
	Delivered Action = "delivered"
	Relayed   Action = "relayed"
	Expanded  Action = "expanded"
	// Answered is ours: a program answered for the recipient, who is away. It says
	// nothing about delivery.
	Answered Action = "answered"
)

// Report is one notification.
type Report struct {
	ReportingMTA string    // host name
	EnvelopeID   string    // ENVID of the original transaction
	Arrival      time.Time // when the reporting system got the message; zero where not given
	Recipients   []Recipient
	// Returned is the header of the message that came back, or nil: where the
	// signed X-Segue-Ref stands.
	Returned rfc5322.Header
}

// Recipient is the fate of one recipient. Addresses are as the report has them,
// without type, brackets and comment; they need not be valid.
type Recipient struct {
	Final          string // whom the reporting system tried
	Original       string // whom the sender named; often missing
	Action         Action
	Status         rfc5321.EnhancedCode // zero where not given or unreadable
	RemoteMTA      string               // host that refused
	DiagnosticType string               // "smtp", "x-unix", ... in lower case
	Diagnostic     string               // what that host said
	LastAttempt    time.Time
	WillRetryUntil time.Time // of a delayed message
}

// Parse reads a message. The error is [ErrNotReport].
func Parse(message []byte) (Report, error) {
	top := rfc5322.Parse(message[:min(len(message), MaxSize)])
	var r Report
	if fromList(top.Header) {
		return Report{}, ErrNotReport
	}
	if r.read(&top); len(r.Recipients) > 0 {
		r.explain(&top)
		return r, nil
	}
	// A scanner or a forwarding rule may have wrapped the report in a message of its own.
	for part := range top.All() {
		if part.Type == "message/rfc822" {
			inner := rfc5322.Parse(bytes.TrimLeft(part.Content(), "\r\n"))
			if r.read(&inner); len(r.Recipients) > 0 {
				return r, nil
			}
		}
	}
	if r.searchText(&top); len(r.Recipients) > 0 {
		return r, nil
	}
	for _, read := range []func(*rfc5322.Part){r.readProse, r.readSES, r.readAnswer} {
		if read(&top); len(r.Recipients) > 0 {
			return r, nil
		}
	}
	return Report{}, ErrNotReport
}

// fromList reports mail that a mailing list passed on. A report about our mail comes to us
// straight; one that a list got is about the list's.
func fromList(h rfc5322.Header) bool {
	return h.Has("List-Id") || h.Has("List-Post") || h.Has("X-BeenThere")
}

// read takes what the parts of a message say.
func (r *Report) read(top *rfc5322.Part) {
	status := top.Find("message/delivery-status", "message/global-delivery-status")
	if status == nil {
		return
	}
	r.fill(readGroups(status.Content()))
	returned := top.Find("message/rfc822", "text/rfc822-headers", "message/rfc822-headers", "message/global",
		"message/global-headers")
	if returned != nil {
		r.Returned, _ = rfc5322.ParseHeader(bytes.TrimLeft(returned.Content(), "\r\n"))
	}
}

// readGroups cuts a delivery status into its groups of fields.
func readGroups(b []byte) []rfc5322.Header {
	var groups []rfc5322.Header
	for len(b) > 0 && len(groups) < 2*MaxRecipients {
		var h rfc5322.Header
		if h, b = rfc5322.ParseHeader(b); len(h) > 0 {
			groups = append(groups, h)
		}
	}
	return groups
}

// searchText looks for groups of status fields in the text of a message whose MIME is
// broken, and for the header of the message that came back.
func (r *Report) searchText(top *rfc5322.Part) {
	for part := range top.All() {
		if len(part.Parts) > 0 || strings.HasPrefix(part.Type, "message/") && part.Type != "message/delivery-status" {
			continue
		}
		var status []rfc5322.Header
		for _, g := range readGroups(part.Content()) {
			switch {
			case g.Has("Final-Recipient") || g.Has("Reporting-MTA"):
				status = append(status, g)
			case len(status) > 0 && r.Returned == nil && g.Has("Message-ID") && g.Has("From"):
				r.Returned = g
			}
		}
		r.fill(status)
	}
}

// fill takes the groups of one delivery status: first what is about the message,
// then one group a recipient. A group that names no recipient continues the one
// before it; one that names several is cut.
func (r *Report) fill(groups []rfc5322.Header) {
	var about rfc5322.Header // the message
	var each []rfc5322.Header
	for _, g := range groups {
		if !g.Has("Final-Recipient") && !g.Has("Original-Recipient") {
			if len(each) == 0 {
				about = append(about, g...)
			} else {
				each[len(each)-1] = append(each[len(each)-1], g...)
			}
			continue
		}
		each = append(each, nil)
		for _, f := range g {
			last := &each[len(each)-1]
			if strings.EqualFold(f.Name, "Final-Recipient") && last.Has("Final-Recipient") {
				each = append(each, nil)
				last = &each[len(each)-1]
			}
			if isAbout(f.Name) {
				about = append(about, f)
			}
			*last = append(*last, f)
		}
	}
	if len(each) == 0 {
		return
	}
	_, r.ReportingMTA = cutType(about.Get("Reporting-MTA"))
	r.EnvelopeID = about.Get("Original-Envelope-Id")
	r.Arrival = parseTime(about.Get("Arrival-Date"))
	for _, h := range each[:min(len(each), MaxRecipients)] {
		if rcpt := readRecipient(h); rcpt.Final != "" || rcpt.Original != "" {
			r.Recipients = append(r.Recipients, rcpt)
		}
	}
}

// isAbout reports a field that is about the message, wherever it stands.
func isAbout(name string) bool {
	return strings.EqualFold(name, "Reporting-MTA") || strings.EqualFold(name, "Arrival-Date") ||
		strings.EqualFold(name, "Original-Envelope-Id")
}

func readRecipient(h rfc5322.Header) Recipient {
	r := Recipient{
		Final:          parseAddress(h.Get("Final-Recipient")),
		Original:       parseAddress(h.Get("Original-Recipient")),
		Status:         parseStatus(h.Get("Status")),
		LastAttempt:    parseTime(h.Get("Last-Attempt-Date")),
		WillRetryUntil: parseTime(h.Get("Will-Retry-Until")),
	}
	if words := strings.Fields(h.Get("Action")); len(words) > 0 {
		r.Action = Action(strings.ToLower(strings.Trim(words[0], ";,")))
	}
	_, r.RemoteMTA = cutType(h.Get("Remote-MTA"))
	// Of several diagnostics the last is from the host nearest to the mailbox.
	for _, d := range h.Values("Diagnostic-Code") {
		r.DiagnosticType, r.Diagnostic = cutType(d)
	}
	if r.Diagnostic == "" {
		// "5.4.4 (Illegal host name)": the comment is all that is said.
		if _, comment, found := strings.Cut(h.Get("Status"), "("); found {
			r.Diagnostic = strings.TrimRight(comment, " )")
		}
	}
	return r
}

// Reply is the recipient's fate as an SMTP reply: code, status and text of the
// diagnostic where it is one. A status that the text names is better than one
// that says nothing (5.0.0). Without a code in the text, the code is that of the
// status: 550, 450 or 250. Code 0 means that the report says neither.
func (r Recipient) Reply() rfc5321.Reply {
	reply := parseReply(r.Diagnostic)
	for _, code := range []rfc5321.EnhancedCode{r.Status, findStatus(reply.Text)} {
		if reply.Enhanced[1] == 0 && (code[1] != 0 || reply.Enhanced[0] == 0) {
			reply.Enhanced = code
		}
	}
	if reply.Code == 0 && r.Status[0] != 0 {
		reply.Code = r.Status[0]*100 + 50
	}
	if reply.Code == 0 && r.Action == Failed {
		reply.Code = 550
	}
	return reply
}

// findStatus looks for a status code among the words of a text.
func findStatus(text string) rfc5321.EnhancedCode {
	for word := range strings.FieldsSeq(text) {
		if code, ok := rfc5321.ParseEnhanced(strings.Trim(word, "#()[]<>,;:")); ok {
			return code
		}
	}
	return rfc5321.EnhancedCode{}
}

// parseReply finds the reply in a diagnostic: at its start, or after "said:".
func parseReply(text string) rfc5321.Reply {
	start := text
	if _, after, found := strings.Cut(text, "said:"); found {
		start = strings.TrimSpace(after)
	}
	if len(start) < 3 || len(start) > 3 && start[3] != ' ' && start[3] != '-' {
		return rfc5321.Reply{Text: text}
	}
	code, err := strconv.Atoi(start[:3])
	if err != nil || code < 200 || code > 599 {
		return rfc5321.Reply{Text: text}
	}
	reply := rfc5321.Reply{Code: code}
	reply.Enhanced, reply.Text = rfc5321.CutEnhanced(strings.TrimLeft(start[3:], " -"))
	return reply
}

// parseStatus reads "5.1.1" or "5.1.1 (some comment)".
func parseStatus(s string) rfc5321.EnhancedCode {
	word, _, _ := strings.Cut(strings.TrimSpace(s), " ")
	code, _ := rfc5321.ParseEnhanced(strings.TrimRight(word, ",;"))
	return code
}
