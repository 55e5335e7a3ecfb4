// SPDX-License-Identifier: Apache-2.0

// Package arf reads and writes abuse reports: what a mailbox provider sends to
// a feedback address when one of its users called a message spam (RFC 5965,
// with RFC 6591 for authentication failures).
//
// Start with [Parse]. [Report.Type] says what was reported, and
// [Type.Complaint] whether a person complained. [Report.Returned] is the header of the
// message the report is about; its X-Segue-Ref names the recipient and is the
// only thing to believe: providers redact addresses, and anyone can send a
// report. [Build] writes one; the simulated providers of the demo use it.
//
// Microsoft's older form, which is no RFC 5965, is read as well: a message about "complaint
// about message from" an address with the original attached. Aggregate reports
// (DMARC, TLS) are not this package's business.
package arf

import (
	"bytes"
	"errors"
	"net/mail"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/seguemta/segue/mta/rfc5322"
)

// ErrNotReport means that the message holds no feedback report.
var ErrNotReport = errors.New("not a feedback report")

// Bounds of what is read; the rest is ignored.
const (
	MaxSize   = 1 << 20 // octets of the message
	MaxValues = 1000    // recipients, and domains
)

// Type is the feedback type, in lower case. Types beyond the known ones are
// kept as they are.
type Type string

// The registered feedback types.
const (
	Abuse       Type = "abuse"
	Fraud       Type = "fraud"
	Virus       Type = "virus"
	NotSpam     Type = "not-spam"
	OptOut      Type = "opt-out"
	AuthFailure Type = "auth-failure"
	Other       Type = "other"
)

// Complaint reports whether the type says that a recipient does not want the
// mail. The others are about content or authentication.
func (t Type) Complaint() bool { return t == Abuse || t == Fraud || t == OptOut }

// Report is one feedback report. Fields that are not in it are zero.
type Report struct {
	Type         Type
	UserAgent    string
	MailFrom     string   // envelope sender of the original: our return path
	Recipients   []string // envelope recipients of the original; often redacted
	Arrival      time.Time
	SourceIP     netip.Addr // where the original came from: a source of ours
	Domains      []string   // reported domains
	ReportingMTA string
	Incidents    int // how many the report stands for, at least 1
	// Returned is the header of the original message, or nil.
	Returned rfc5322.Header
}

// Parse reads a message. The error is [ErrNotReport].
func Parse(message []byte) (Report, error) {
	top := rfc5322.Parse(message[:min(len(message), MaxSize)])
	part := top.Find("message/feedback-report")
	if part == nil {
		if top, part = unwrap(&top); part == nil {
			return parseMicrosoft(&top)
		}
	}
	// A blank line too many must not hide the fields.
	fields, _ := rfc5322.ParseHeader(bytes.TrimLeft(part.Content(), "\r\n"))
	r := Report{
		Type:       Type(strings.ToLower(fields.Get("Feedback-Type"))),
		UserAgent:  fields.Get("User-Agent"),
		MailFrom:   address(fields.Get("Original-Mail-From")),
		Arrival:    arrival(fields),
		SourceIP:   sourceIP(fields.Get("Source-IP")),
		Domains:    limit(fields.Values("Reported-Domain")),
		Incidents:  1,
		Returned:   returned(&top),
		Recipients: recipients(fields),
	}
	if r.Type == "" {
		r.Type = Other
	}
	_, mta, found := strings.Cut(fields.Get("Reporting-MTA"), ";")
	if !found {
		mta = fields.Get("Reporting-MTA")
	}
	r.ReportingMTA = strings.TrimSpace(mta)
	if n, err := strconv.Atoi(fields.Get("Incidents")); err == nil && n > 0 {
		r.Incidents = n
	}
	return r, nil
}

// unwrap finds a report that somebody passed on as an attachment, as a mailbox for complaints may
// do with all its mail; without one it gives back what it got. The message that a bounce
// returns is no report to us.
func unwrap(top *rfc5322.Part) (rfc5322.Part, *rfc5322.Part) {
	if top.Find("message/delivery-status", "message/global-delivery-status") == nil {
		for p := range top.All() {
			if p.Type != "message/rfc822" {
				continue
			}
			inner := rfc5322.Parse(bytes.TrimLeft(p.Content(), "\r\n"))
			if report := inner.Find("message/feedback-report"); report != nil {
				return inner, report
			}
		}
	}
	return *top, nil
}

// parseMicrosoft reads the form of Microsoft's JMRP.
func parseMicrosoft(top *rfc5322.Part) (Report, error) {
	subject := strings.TrimSpace(top.Header.Get("Subject"))
	_, ip, found := strings.Cut(strings.ToLower(subject), "complaint about message from ")
	header := returned(top)
	if !found || header == nil || !strings.Contains(strings.ToLower(top.Header.Get("From")), "@hotmail.com") {
		return Report{}, ErrNotReport
	}
	r := Report{Type: Abuse, SourceIP: sourceIP(ip), Incidents: 1, Returned: header}
	if rcpt := address(header.Get("X-HmXmrOriginalRecipient")); rcpt != "" {
		r.Recipients = []string{rcpt}
	}
	return r, nil
}

func returned(top *rfc5322.Part) rfc5322.Header {
	part := top.Find("message/rfc822", "text/rfc822-headers", "message/rfc822-headers", "message/global", "message/global-headers")
	if part == nil {
		return nil
	}
	h, _ := rfc5322.ParseHeader(bytes.TrimLeft(part.Content(), "\r\n"))
	return h
}

// recipients lists the envelope recipients; one provider names them in one field.
func recipients(fields rfc5322.Header) []string {
	var all []string
	for _, name := range []string{"Original-Rcpt-To", "Removal-Recipient"} {
		for _, value := range limit(fields.Values(name)) {
			for one := range strings.SplitSeq(value, ",") {
				if a := address(one); a != "" && len(all) < MaxValues {
					all = append(all, a)
				}
			}
		}
		if len(all) > 0 {
			break
		}
	}
	return all
}

func limit(values []string) []string { return values[:min(len(values), MaxValues)] }

// arrival reads the date under its name and under the one drafts had.
func arrival(fields rfc5322.Header) time.Time {
	for _, name := range []string{"Arrival-Date", "Received-Date"} {
		if t, err := mail.ParseDate(fields.Get(name)); err == nil {
			return t
		}
	}
	return time.Time{}
}

// address strips a type ("rfc822;") and angle brackets.
func address(value string) string {
	if kind, rest, found := strings.Cut(value, ";"); found && !strings.ContainsAny(kind, "@<") {
		value = rest
	}
	value = strings.TrimSpace(value)
	if i, j := strings.IndexByte(value, '<'), strings.LastIndexByte(value, '>'); i >= 0 && j > i {
		value = value[i+1 : j]
	}
	return strings.TrimSpace(value)
}

// sourceIP reads an address, bare or in brackets; zero where it is none.
func sourceIP(value string) netip.Addr {
	words := strings.Fields(value)
	if len(words) == 0 {
		return netip.Addr{}
	}
	s := strings.Trim(words[0], "[]")
	ip, err := netip.ParseAddr(strings.TrimPrefix(strings.ToLower(s), "ipv6:"))
	if err != nil {
		return netip.Addr{}
	}
	return ip.Unmap().WithZone("")
}
