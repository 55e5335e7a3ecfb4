// SPDX-License-Identifier: Apache-2.0

package segment

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/seguemta/segue/mta/rfc5321"
)

// Formats of suppression lists, by whose export they are.
const (
	ListSendGrid = "sendgrid"
	ListMailgun  = "mailgun"
	ListSES      = "ses"
	ListPostmark = "postmark"
	ListGeneric  = "generic" // ours, or any with a column for the address
	ListPlain    = "list"    // no header: address, then expiry or reason, then scope
)

// ListFormats are all of them.
func ListFormats() []string {
	return []string{ListSendGrid, ListMailgun, ListSES, ListPostmark, ListGeneric, ListPlain}
}

// listing is one row of a suppression list as it was understood.
type listing struct {
	address rfc5321.Address
	x       Suppression
}

// listRow is one row of a suppression list: its cells by column, whose names are in
// lower case and without all but letters and digits.
type listRow map[string]string

// first is the first cell of some columns that is not blank.
func (r listRow) first(columns ...string) string {
	for _, c := range columns {
		if v := strings.TrimSpace(r[c]); v != "" {
			return v
		}
	}
	return ""
}

func (r listRow) has(columns ...string) bool {
	for _, c := range columns {
		if _, ok := r[c]; !ok {
			return false
		}
	}
	return true
}

// columnName brings the name of a column into the form of a [listRow]: "Email Address",
// EmailAddress and email_address are the same.
func columnName(text string) string {
	return strings.Map(func(c rune) rune {
		switch {
		case c >= 'A' && c <= 'Z':
			return c + ('a' - 'A')
		case c >= 'a' && c <= 'z', c >= '0' && c <= '9':
			return c
		default:
			return -1
		}
	}, text)
}

// addressColumns are where an address may stand.
func addressColumns() []string { return []string{"email", "emailaddress", "address", "recipient"} }

// formatOf recognises a list by its columns; "" where no column can hold an address.
// What differs between exports of one provider is told by its rows.
func formatOf(r listRow) string {
	switch {
	case r.has("emailaddress", "suppressionreason"):
		return ListPostmark
	case r.has("emailaddress", "reason") && !r.has("scope"):
		return ListSES
	case r.has("address", "createdat") && !r.has("scope"):
		return ListMailgun
	case r.has("email", "created") && !r.has("scope"):
		return ListSendGrid
	}
	for _, c := range addressColumns() {
		if r.has(c) {
			return ListGeneric
		}
	}
	return ""
}

// read understands a row of a list.
func (r listRow) read(format string) (listing, error) {
	var l listing
	var err error
	if l.address, err = rfc5321.ParseAddress(r.first(addressColumns()...)); err != nil {
		return l, &fault{"email", "it is not an address"}
	}
	switch format {
	case ListSendGrid:
		r.sendGrid(&l.x)
	case ListMailgun:
		r.mailgun(&l.x)
	case ListPostmark:
		err = r.postmark(&l.x)
	default: // SES says BOUNCE or COMPLAINT, which are words that the generic form knows
		err = r.generic(&l.x)
	}
	if err != nil {
		return l, err
	}
	// A list that does not say when it was made suppresses all the same.
	l.x.Created, _ = listTime(r.first("created", "createdat", "lastupdatetime", "date"))
	return l, nil
}

func (r listRow) sendGrid(x *Suppression) {
	status := r.first("status")
	x.Evidence = strings.TrimSpace(status + " " + r.first("reason"))
	switch {
	case strings.HasPrefix(status, "4"):
		x.Reason = ReasonSoftBounce
	case r.has("status"):
		x.Reason = ReasonHardBounce
	case r.has("ip"):
		x.Reason = ReasonComplaint
	case r.has("reason"):
		x.Reason = ReasonInvalid
		if reason, ok := parseReason(r.first("reason")); ok && reason != "" {
			x.Reason = reason // it is nobody's list of invalid addresses, but one with a reason
		}
	default:
		x.Reason = ReasonUnsubscribe
	}
}

func (r listRow) mailgun(x *Suppression) {
	code := r.first("code")
	x.Evidence = strings.TrimSpace(code + " " + r.first("error"))
	tag := r.first("tag", "tags")
	switch {
	case code == "607" || !r.has("code") && !r.has("tag") && !r.has("tags"):
		x.Reason = ReasonComplaint
	case code == "606" || !r.has("code"):
		x.Reason = ReasonUnsubscribe
		if tag = strings.Trim(tag, `[]"' `); tag != "" && tag != "*" && !strings.Contains(tag, ",") {
			x.Scope = ListScope(tag) // from mail with this tag alone
		}
	case strings.HasPrefix(code, "4"):
		x.Reason = ReasonSoftBounce
	default:
		x.Reason = ReasonHardBounce
	}
}

func (r listRow) postmark(x *Suppression) error {
	origin := r.first("origin")
	x.Evidence = strings.TrimSpace(r.first("suppressionreason") + " " + origin)
	switch columnName(r.first("suppressionreason")) {
	case "hardbounce":
		x.Reason = ReasonHardBounce
	case "spamcomplaint":
		x.Reason = ReasonComplaint
	case "manualsuppression":
		x.Reason = ReasonManual
		if columnName(origin) == "recipient" {
			x.Reason = ReasonUnsubscribe
		}
	default:
		return &fault{"SuppressionReason", "it is not HardBounce, SpamComplaint or ManualSuppression"}
	}
	return nil
}

func (r listRow) generic(x *Suppression) error {
	var ok bool
	if x.Reason, ok = parseReason(r.first("reason", "type")); !ok {
		return &fault{"reason", "it is not one of " + strings.Join(listReasons(), ", ")}
	}
	x.Scope, x.Evidence = r.first("scope"), r.first("evidence")
	text := r.first("expires", "expiresat", "expiry")
	if text == "" {
		return nil
	}
	var err error
	if x.Expires, err = listTime(text); err != nil {
		return &fault{"expires", "it is not a time (write 2027-01-31T00:00:00Z)"}
	}
	return nil
}

// listReasons are the reasons that a list may give.
func listReasons() []string {
	return []string{
		ReasonHardBounce, ReasonSoftBounce, ReasonComplaint, ReasonUnsubscribe, ReasonInvalid, ReasonManual, ReasonPolicy,
	}
}

// parseReason reads a reason in our words or in those of others; "" is blank.
func parseReason(text string) (string, bool) {
	switch columnName(text) {
	case "":
		return "", text == ""
	case "hardbounce", "bounce", "bounced", "hard", "permanent":
		return ReasonHardBounce, true
	case "softbounce", "soft", "transient":
		return ReasonSoftBounce, true
	case "complaint", "complained", "spamcomplaint", "spamreport", "spam", "abuse":
		return ReasonComplaint, true
	case "unsubscribe", "unsubscribed", "optout", "optedout":
		return ReasonUnsubscribe, true
	case "invalid", "invalidemail":
		return ReasonInvalid, true
	case "manual", "block", "blocked", "suppressed", "manualsuppression":
		return ReasonManual, true
	case "policy":
		return ReasonPolicy, true
	default:
		return "", false
	}
}

// listTime reads a time as exports write it: RFC 3339, a date, seconds since 1970,
// the form of mail; zero where there is none.
func listTime(text string) (time.Time, error) {
	if text == "" {
		return time.Time{}, nil
	}
	if n, err := strconv.ParseFloat(text, 64); err == nil && n > 0 && n < 1<<32 {
		return time.Unix(int64(n), 0).UTC(), nil
	}
	for _, layout := range []string{time.RFC3339, time.DateOnly, time.DateTime, "2006-01-02 15:04:05 -0700 MST", "2006-01-02T15:04:05", time.RFC1123, time.RFC1123Z} {
		if t, err := time.Parse(layout, text); err == nil {
			return t.UTC().Truncate(time.Second), nil
		}
	}
	return time.Time{}, fmt.Errorf("%.40q is not a time", text)
}
