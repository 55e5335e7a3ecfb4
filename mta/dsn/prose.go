// SPDX-License-Identifier: Apache-2.0

package dsn

import (
	"bytes"
	"cmp"
	"slices"
	"strings"

	"github.com/seguemta/segue/mta/rfc5321"
	"github.com/seguemta/segue/mta/rfc5322"
)

// maxProse is how much of a notice in words is read. What matters is said before
// the message that comes back.
const maxProse = 64 << 10

// maxStory is how much is kept of what a notice says about a recipient.
const maxStory = 900

// readProse reads a notice that is not RFC 3464: what qmail, Exim, the old
// Sendmail, gateways and mailbox providers write for people. All of them name an
// address, then say what became of it, then return the message.
func (r *Report) readProse(top *rfc5322.Part) {
	if !isNotice(top) {
		return
	}
	n := cutNotice(top)
	if r.Returned == nil {
		r.Returned = n.returned
	}
	n.strangers(top)
	n.findHeads(top.Header.Values("X-Failed-Recipients"))
	action := Failed
	if delayed(top.Header.Get("Subject"), n.lines) {
		action = Delayed
	}
	for i, h := range n.heads {
		end := len(n.lines)
		if i+1 < len(n.heads) {
			end = n.heads[i+1].line
		}
		detail := n.detail(h, end)
		rcpt := Recipient{Final: h.address, Original: cmp.Or(h.original, origin(detail)), Action: action, Diagnostic: diagnostic(detail)}
		if action == Delayed {
			rcpt.Status = rfc5321.EnhancedCode{4, 0, 0}
		}
		if len(r.Recipients) < MaxRecipients {
			r.Recipients = append(r.Recipients, rcpt)
		}
	}
}

// explain takes from the words for people what the status fields leave out: why a
// recipient failed, and who it is where the fields name a file or a program.
func (r *Report) explain(top *rfc5322.Part) {
	n := cutNotice(top)
	if len(r.Recipients) == 1 && leading(r.Recipients[0].Final) == "" && r.Recipients[0].Original == "" {
		n.strangers(top)
		n.findHeads(top.Header.Values("X-Failed-Recipients"))
		if len(n.heads) == 1 {
			rcpt, h := &r.Recipients[0], n.heads[0]
			if rcpt.Original = h.address; rcpt.Diagnostic == "" {
				rcpt.Diagnostic = diagnostic(n.detail(h, len(n.lines)))
			}
		}
		return
	}
	named := map[string]bool{}
	for i := range r.Recipients {
		if rcpt := &r.Recipients[i]; rcpt.Diagnostic == "" {
			named[strings.ToLower(rcpt.Final)] = true
		}
	}
	if len(named) == 0 {
		return
	}
	n.collect(func(line string) (string, int) { return wherever(line, named) })
	for i, h := range n.heads {
		end := len(n.lines)
		if i+1 < len(n.heads) {
			end = n.heads[i+1].line
		}
		for j := range r.Recipients {
			if rcpt := &r.Recipients[j]; rcpt.Diagnostic == "" && strings.EqualFold(rcpt.Final, h.address) {
				rcpt.Diagnostic = diagnostic(n.detail(h, end))
			}
		}
	}
}

// isNotice reports whether a program of a mail system seems to have written a
// message about one that failed. No single mark is enough: people write about
// failed mail, too, and programs write about other things.
func isNotice(top *rfc5322.Part) bool {
	h := top.Header
	if h.Has("X-Failed-Recipients") {
		return true
	}
	marks := 0
	from := strings.ToLower(h.Get("From"))
	if containsAny(from, "mailer-daemon", "mail delivery", "postmaster", "mailer daemon", "mail.delivery", "mail-daemon", "mailerdaemon",
		"system administrator", "delivery subsystem", "ndr administrator", "mail administrator", "mail system") {
		marks++
	}
	if slices.ContainsFunc(h.Values("Return-Path"), func(s string) bool { return isNull(s) }) {
		marks++
	}
	if subject := h.Get("Subject"); failureSubject(subject) && !repeats(subject) {
		marks++
	}
	if marks == 1 {
		lines := cutNotice(top).lines
		if slices.ContainsFunc(lines[:min(len(lines), 30)], failureLine) {
			marks++
		}
	}
	return marks >= 2
}

// failureLine reports a line that says that a message did not arrive.
func failureLine(line string) bool {
	return containsAny(strings.ToLower(line), "could not be delivered", "cannot be delivered", "unable to deliver", "failed to deliver",
		"was not delivered", "wasn't delivered", "delivery failed", "did not reach")
}

func isNull(path string) bool {
	path = strings.ToLower(strings.Trim(path, "<> "))
	return path == "" || strings.HasPrefix(path, "mailer-daemon")
}

// failureSubject reports whether a subject speaks of mail that did not arrive.
func failureSubject(s string) bool {
	s = strings.ToLower(s)
	return containsAny(s, "undeliver", "nondeliver", "non-deliver", "non deliver", "not delivered", "not be delivered", "returned mail", "returned to sender",
		"returning message", "failure notice", "failed delivery", "delivery status", "delivery notification", "delivery report", "mail failure",
		"mail error", "mail system error", "error sending your mail", "could not send", "unable to deliver", "cannot deliver", "unzustellbar", "nicht zustell") ||
		strings.Contains(s, "deliver") && containsAny(s, "fail", "error", "problem", "delay", "warning", "unable", "cannot", "abort")
}

// delayed reports whether a notice only warns: the message is still tried.
func delayed(subject string, lines []string) bool {
	if containsAny(strings.ToLower(subject), "delay", "warning", "still being retried", "not yet been delivered", "not yet delivered") {
		return true
	}
	for _, line := range lines[:min(len(lines), 20)] {
		line = strings.ToLower(line)
		if containsAny(line, "warning message only", "do not need to resend", "has been delayed", "will be retried for", "not yet been delivered") {
			return true
		}
	}
	return false
}

// A notice is the words of a message, up to the copy of what failed.
type notice struct {
	lines    []string
	returned rfc5322.Header
	ours     map[string]bool // addresses that are not whom it is about
	heads    []head
}

// A head is an address that a notice is about and where its story begins.
type head struct {
	address  string
	original string // another name of it
	line     int
	from     int  // octet of the line at which the story begins
	short    bool // the line is the whole story
}

// cutNotice takes the words for people out of a message.
func cutNotice(top *rfc5322.Part) *notice {
	n := &notice{ours: map[string]bool{}}
	size, html := 0, top.Find("text/plain") == nil
	for part := range top.All() {
		switch {
		case len(part.Parts) > 0 || size >= maxProse:
			continue
		case strings.HasPrefix(part.Type, "message/") || strings.HasPrefix(part.Type, "text/rfc822"):
			if n.returned == nil {
				n.returned, _ = rfc5322.ParseHeader(bytes.TrimLeft(part.Content(), "\r\n"))
			}
			continue
		case n.returned != nil || part.Type == "text/html" && !html:
			continue
		}
		octets := part.Content()
		text := plain(octets[:min(len(octets), maxProse-size)], part.Type == "text/html")
		size += len(text) + 1
		n.take(text)
	}
	return n
}

// take adds lines up to the copy of the message that failed, and reads its header.
func (n *notice) take(text string) {
	rest := text
	for rest != "" && n.returned == nil {
		line, after, _ := strings.Cut(rest, "\n")
		line = strings.TrimRight(strings.ReplaceAll(line, "\t", " "), "\r ")
		switch {
		case announces(line):
			n.returned, _ = rfc5322.ParseHeader([]byte(strings.TrimLeft(after, "\r\n ")))
			if n.returned == nil {
				n.returned = rfc5322.Header{}
			}
		case beginsCopy(line):
			n.returned, _ = rfc5322.ParseHeader([]byte(rest))
		default:
			n.lines = append(n.lines, line)
		}
		rest = after
	}
}

// beginsCopy reports a trace field, with which a message begins.
func beginsCopy(line string) bool {
	name, _, found := strings.Cut(line, ":")
	return found && (strings.EqualFold(name, "Received") || strings.EqualFold(name, "Return-Path") || strings.EqualFold(name, "DKIM-Signature"))
}

// announces reports a line that says that the message follows.
func announces(line string) bool {
	s := strings.ToLower(strings.Trim(line, " -*=_#|"))
	if len(s) > 100 || strings.Contains(s, " was ") {
		return false
	}
	for _, words := range []string{
		"below this line is a copy", "this is a copy of", "below is a copy", "original message", "the original message", "original mail", "your original message",
		"the header of the original", "the headers of the original", "original headers", "unsent message", "message headers follow", "message header", "headers follow",
		"returned message", "the returned message", "start of returned message", "message text follows", "included is a copy", "a copy of your message",
		"a copy of the original", "the attachment contains", "your message follows", "returned mail follows", "copy of the message", "the following is a copy",
	} {
		if strings.HasPrefix(s, words) {
			return true
		}
	}
	return false
}

// detail is what the notice says about a head. The only one has all that follows,
// and where that is nothing, the words before it.
func (n *notice) detail(h head, end int) string {
	var b strings.Builder
	for i := h.line; i < end && b.Len() < 4096; i++ {
		line := n.lines[i]
		if h.short && i > h.line && !strings.HasPrefix(line, " ") {
			break
		}
		if i == h.line {
			line = strings.TrimLeft(line[min(h.from, len(line)):], "\"'>])")
		}
		b.WriteString(line)
		b.WriteByte('\n')
	}
	if detail := strings.TrimLeft(paragraphs(b.String()), ":;, \n"); len(detail) > 8 || len(n.heads) > 1 {
		return detail
	}
	return paragraphs(strings.Join(n.lines[:min(len(n.lines), 60)], "\n"))
}

// paragraphs makes one line of each paragraph.
func paragraphs(s string) string {
	var b strings.Builder
	for p := range strings.SplitSeq(strings.ToValidUTF8(s, ""), "\n\n") {
		if words := strings.Fields(p); len(words) > 0 {
			b.WriteString(strings.Join(words, " "))
			b.WriteByte('\n')
		}
	}
	return b.String()
}

// origin finds the address that Exim says another was made from.
func origin(detail string) string {
	_, after, found := strings.Cut(detail, "generated from ")
	if !found {
		return ""
	}
	return leading(strings.TrimLeft(after, "<\""))
}

// diagnostic is the part of a story that begins with an SMTP code, if there is one.
func diagnostic(detail string) string {
	at := findCode(detail)
	if at < 0 {
		detail = strings.Join(strings.Fields(detail), " ")
		if len(detail) > maxStory {
			// Who speaks and where to read more stands at the end.
			detail = detail[:maxStory/2] + " ... " + detail[len(detail)-maxStory/2:]
		}
		return strings.ToValidUTF8(detail, "")
	}
	s, _, _ := strings.Cut(detail[at:], "\n")
	// "554 554 5.7.1 text" and "550: 5.1.1 text" are "554 5.7.1 text" and "550 5.1.1 text".
	code, rest := s[:3], s[3:]
	if rest != "" && rest[0] != ' ' {
		rest = rest[1:]
	}
	rest = strings.TrimLeft(strings.TrimPrefix(strings.TrimLeft(rest, " "), code+" "), " ")
	return strings.ToValidUTF8(code+" "+rest[:min(len(rest), maxStory)], "")
}

// findCode returns where a reply code stands in a text, or -1: three digits by
// themselves, best where the next word is an enhanced status code.
func findCode(s string) int {
	first := -1
	for i := 0; i+3 <= len(s); i++ {
		if i > 0 && strings.IndexByte(" \n:([#<'\"", s[i-1]) < 0 {
			continue
		}
		if !leadingCode(s[i:]) {
			continue
		}
		rest := strings.TrimLeft(s[i+3:], ":,;- ")
		if status, _ := rfc5321.CutEnhanced(strings.TrimPrefix(rest, s[i:i+3]+" ")); status[0] != 0 {
			return i
		}
		if first < 0 {
			first = i
		}
	}
	return first
}

// leadingCode reports whether s begins with the code of a failure.
func leadingCode(s string) bool {
	if len(s) < 3 || s[0] != '4' && s[0] != '5' || s[1] < '0' || s[1] > '7' || s[2] < '0' || s[2] > '9' {
		return false
	}
	if len(s) > 3 && strings.IndexByte(" -:,;", s[3]) < 0 {
		return false
	}
	return true
}

func containsAny(s string, words ...string) bool {
	return slices.ContainsFunc(words, func(w string) bool { return strings.Contains(s, w) })
}
