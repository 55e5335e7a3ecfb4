// SPDX-License-Identifier: Apache-2.0

package deliver

import (
	"bytes"
	"fmt"
	"strings"

	"github.com/seguemta/segue/queue"
)

// Marketing says what marketing mail gets beside a signature.
type Marketing struct {
	// Is reports a stream of marketing mail.
	Is func(stream string) bool
	// URL begins unsubscribe links, which go on with /u/ and a token; "" = there are none.
	URL string
	// Token makes the unsubscribe token of a job's only recipient.
	Token func(job *queue.Job) string
}

// listFields are the fields by which a recipient gets no more of a kind of mail (RFC 2369,
// RFC 8058), and by which a provider tells us how it is received. What the application
// brought stays: admission let it through because it is whole.
func (d *Deliverer) listFields(job *queue.Job) []byte {
	m := d.o.Marketing
	if m.Is == nil || !m.Is(job.Message.Stream) || len(job.Recipients) != 1 {
		return nil // several recipients would share the link of one
	}
	header := job.Body[:job.Message.HeaderSize]
	domain := d.o.Domains[job.Message.Domain]
	var b bytes.Buffer
	if m.URL != "" && !hasField(header, "List-Unsubscribe") {
		token := m.Token(job)
		fmt.Fprintf(&b, "List-Unsubscribe: <%s/u/%s>", strings.TrimSuffix(m.URL, "/"), token)
		if domain.ReturnPath != "" {
			fmt.Fprintf(&b, ",\r\n\t<mailto:%s@%s?subject=unsubscribe>", token, domain.ReturnPath)
		}
		b.WriteString("\r\nList-Unsubscribe-Post: List-Unsubscribe=One-Click\r\n")
	}
	if domain.FeedbackID != "" && !hasField(header, "Feedback-ID") {
		c := job.Class
		fmt.Fprintf(&b, "Feedback-ID: %s:%s:%s:%s\r\n", feedbackPart(job.Message.Campaign), feedbackPart(c.Segment), feedbackPart(job.Message.Stream), domain.FeedbackID)
	}
	return b.Bytes()
}

// maxFeedbackPart bounds one part of a Feedback-ID, in octets.
const maxFeedbackPart = 40

// feedbackPart is a name as a part of a Feedback-ID: letters, digits, dots, underscores
// and hyphens. A colon would begin the next part, and Gmail drops what it cannot read.
func feedbackPart(name string) string {
	var b strings.Builder
	for _, c := range name {
		switch {
		case b.Len() == maxFeedbackPart:
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', c == '.', c == '_':
			b.WriteRune(c)
		case !strings.HasSuffix(b.String(), "-"):
			b.WriteByte('-')
		}
	}
	if part := strings.Trim(b.String(), "-"); part != "" {
		return part
	}
	return "-"
}

// hasField reports whether a header block has a field.
func hasField(header []byte, name string) bool {
	for line := range bytes.SplitSeq(header, []byte("\r\n")) {
		if field, _, ok := bytes.Cut(line, []byte{':'}); ok && strings.EqualFold(strings.TrimRight(string(field), " \t"), name) {
			return true
		}
	}
	return false
}
