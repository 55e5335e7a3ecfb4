// SPDX-License-Identifier: Apache-2.0

package dsn

import (
	"bytes"
	"encoding/json"
	"strings"

	"github.com/seguemta/segue/mta/rfc5322"
)

// readAnswer recognises the answer of a program: on holiday, message received, no
// longer here. It is no failure; whom it is about is who answered.
func (r *Report) readAnswer(top *rfc5322.Part) {
	if !isAnswer(top.Header) {
		return
	}
	if from := addresses(top.Header.Get("From")); len(from) > 0 {
		r.Recipients = append(r.Recipients, Recipient{Final: from[0], Action: Answered, Diagnostic: top.Header.Get("Subject")})
	}
}

func isAnswer(h rfc5322.Header) bool {
	if strings.HasPrefix(strings.ToLower(h.Get("Auto-Submitted")), "auto-replied") ||
		strings.EqualFold(h.Get("Precedence"), "auto_reply") || h.Has("X-Autoreply") || h.Has("X-Autorespond") {
		return true
	}
	return answerSubject(h.Get("Subject"))
}

// answerSubject reports a subject as programs put it before the one that they answer.
func answerSubject(s string) bool {
	subject := strings.ToLower(s)
	for _, words := range []string{"automatic reply:", "auto reply:", "autoreply:", "auto-reply:", "auto:", "out of office:", "out of office autoreply", "automatische antwort:"} {
		if strings.HasPrefix(subject, words) {
			return true
		}
	}
	return false
}

// repeats reports a subject that is that of our own mail: an answer to "Problem with your
// delivery" speaks of none.
func repeats(subject string) bool {
	return answerSubject(subject) || strings.HasPrefix(strings.ToLower(subject), "re:")
}

// sesNotice is what Amazon SES sends through a topic of SNS with an address as its
// subscriber.
type sesNotice struct {
	Type   string `json:"notificationType"`
	Bounce struct {
		Recipients []struct {
			Address    string `json:"emailAddress"`
			Action     string `json:"action"`
			Status     string `json:"status"`
			Diagnostic string `json:"diagnosticCode"`
		} `json:"bouncedRecipients"`
	} `json:"bounce"`
}

// readSES reads a notice of Amazon SES in JSON.
func (r *Report) readSES(top *rfc5322.Part) {
	part := top.Find("text/plain")
	if part == nil {
		return
	}
	text := bytes.TrimLeft(part.Content(), " \r\n")
	if !bytes.HasPrefix(text, []byte(`{"notificationType":`)) {
		return
	}
	for _, fold := range []string{"!\r\n ", "!\n "} { // how Sendmail breaks a line that is too long
		text = bytes.ReplaceAll(text, []byte(fold), nil)
	}
	var notice sesNotice
	if err := json.NewDecoder(bytes.NewReader(text)).Decode(&notice); err != nil || notice.Type != "Bounce" {
		return
	}
	for _, b := range notice.Bounce.Recipients {
		if leading(b.Address) == "" || len(r.Recipients) == MaxRecipients {
			continue
		}
		rcpt := Recipient{Final: b.Address, Action: Action(b.Action), Status: parseStatus(b.Status)}
		if rcpt.Action == "" {
			rcpt.Action = Failed
		}
		rcpt.DiagnosticType, rcpt.Diagnostic = cutType(b.Diagnostic)
		r.Recipients = append(r.Recipients, rcpt)
	}
}
