// SPDX-License-Identifier: Apache-2.0

package admit

import (
	"bytes"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"strings"
	"time"
	"unicode"

	"github.com/seguemta/segue/mta/rfc5321"
)

// Bounds of what X-Segue fields may hold, in bytes.
const (
	maxMetadata = 4 << 10
	maxName     = 128
)

// maxHeader bounds the header in bytes: every field of it is held in memory by
// name. The largest in real mail are some tens of kilobytes.
const maxHeader = 1 << 20

// field is one header field as it stands in the message: raw with its folds and
// final CRLF, so that what we do not change stays byte for byte.
type field struct {
	name string // as written
	raw  []byte
}

func (f field) is(name string) bool { return strings.EqualFold(f.name, name) }

// value is the unfolded, trimmed value.
func (f field) value() string {
	v := string(f.raw[len(f.name)+1:])
	v = strings.NewReplacer("\r\n ", " ", "\r\n\t", " ", "\r\n", "").Replace(v)
	return strings.TrimSpace(v)
}

// asked is what the application asked for in X-Segue fields.
type asked struct {
	stream, segment, campaign, metadata, list string
	notBefore, expires                        time.Time
	seen                                      map[string]bool // fields in lower case
}

// readHeader splits the message, and takes the X-Segue fields out. A header that
// cannot be told from a body is refused: passing it on would change its meaning.
func (a *Admitter) readHeader(d *draft) error {
	rest := d.Data
	for len(rest) > 0 && !bytes.HasPrefix(rest, []byte("\r\n")) {
		f, after, err := cutField(rest)
		if err != nil {
			return err
		}
		rest = after
		if len(d.Data)-len(rest) > maxHeader {
			return rfc5321.Refuse(552, rfc5321.EnhancedCode{5, 3, 4}, fmt.Sprintf("the header is larger than %d bytes", maxHeader))
		}
		if !strings.HasPrefix(strings.ToLower(f.name), "x-segue-") {
			d.header = append(d.header, f)
			continue
		}
		if err := d.take(f); err != nil {
			return err
		}
	}
	d.body = bytes.TrimPrefix(rest, []byte("\r\n"))
	return nil
}

// cutField cuts one field with its folded lines off the front.
func cutField(b []byte) (field, []byte, error) {
	end := 0
	for {
		n := bytes.Index(b[end:], []byte("\r\n"))
		if n < 0 {
			end = len(b)
			break
		}
		end += n + 2
		if end >= len(b) || (b[end] != ' ' && b[end] != '\t') {
			break
		}
	}
	raw := b[:end]
	colon := bytes.IndexByte(raw, ':')
	if colon <= 0 || !fieldName(raw[:colon]) {
		line, _, _ := bytes.Cut(raw, []byte("\r\n"))
		return field{}, nil, rfc5321.Refuse(554, rfc5321.EnhancedCode{5, 6, 0},
			fmt.Sprintf("the header has a line that is no field: %.40q", line))
	}
	return field{name: string(raw[:colon]), raw: raw}, b[end:], nil
}

func fieldName(b []byte) bool {
	for _, c := range b {
		if c <= ' ' || c >= 0x7f {
			return false
		}
	}
	return true
}

// MaxHops is how many servers a message may have passed: as many as RFC 5321 section 6.3
// asks for.
const MaxHops = 100

// checkHeader refuses mail that goes in circles: a host that we send to may be one that sends
// by us. And it refuses a field that stands twice where RFC 5322 section 3.6 allows
// one. A reader sees one of the two and a filter the other, so large receivers
// refuse such mail and verifiers of signatures do not look at it. From is checked
// with the sender; Bcc does not leave.
func (a *Admitter) checkHeader(d *draft) error {
	if _, n := d.get("Received"); n > MaxHops {
		return rfc5321.Refuse(554, rfc5321.EnhancedCode{5, 4, 6}, "the message goes in circles")
	}
	for _, name := range []string{"Date", "Sender", "Reply-To", "To", "Cc", "Message-ID", "In-Reply-To", "References", "Subject"} {
		if _, n := d.get(name); n > 1 {
			return rfc5321.Refuse(554, rfc5321.EnhancedCode{5, 6, 0}, fmt.Sprintf("the message has %d %s fields; RFC 5322 section 3.6 allows one", n, name))
		}
	}
	return nil
}

// take reads one X-Segue field.
func (d *draft) take(f field) error {
	v, name := f.value(), strings.ToLower(f.name)
	var err error
	if d.asked.seen == nil {
		d.asked.seen = make(map[string]bool)
	}
	if d.asked.seen[name] && name != "x-segue-ref" {
		return rfc5321.Refuse(550, rfc5321.EnhancedCode{5, 6, 0}, fmt.Sprintf("header field %s stands twice", f.name))
	}
	d.asked.seen[name] = true
	switch name {
	case "x-segue-stream":
		d.asked.stream = v
	case "x-segue-segment":
		d.asked.segment = v
	case "x-segue-list":
		d.asked.list, err = v, listName(v)
	case "x-segue-campaign":
		d.asked.campaign, err = campaignName(v), bound(v, maxName)
	case "x-segue-metadata":
		d.asked.metadata, err = v, bound(v, maxMetadata)
		if err == nil && !json.Valid([]byte(v)) {
			err = fmt.Errorf("is not JSON")
		}
	case "x-segue-not-before":
		d.asked.notBefore, err = parseTime(v)
	case "x-segue-expires":
		d.asked.expires, err = parseTime(v)
	case "x-segue-ref":
		// Ours, from a message that came round again: not to be sent twice.
	default:
		err = fmt.Errorf("is not a field that Segue knows")
	}
	if err != nil {
		return rfc5321.Refuse(550, rfc5321.EnhancedCode{5, 6, 0}, fmt.Sprintf("header field %s %v", f.name, err))
	}
	return nil
}

// listName checks the name of a mailing list as an import of contacts does.
func listName(v string) error {
	if strings.ContainsFunc(v, func(c rune) bool { return c == '|' || unicode.IsControl(c) }) {
		return fmt.Errorf("has a | or a control character")
	}
	return bound(v, maxName)
}

// campaignName is a name that can be stored as JSON, read again and typed: it is the key of a breaker, and
// an operator releases by it. How a mailer folds its header makes no other campaign of it.
func campaignName(v string) string {
	v = strings.Map(func(c rune) rune {
		if unicode.IsControl(c) && !unicode.IsSpace(c) {
			return '?'
		}
		return c
	}, strings.ToValidUTF8(v, "?"))
	return strings.Join(strings.Fields(v), " ")
}

func bound(v string, n int) error {
	if len(v) > n {
		return fmt.Errorf("is longer than %d bytes", n)
	}
	return nil
}

func parseTime(v string) (time.Time, error) {
	for _, layout := range []string{time.RFC3339, time.RFC1123Z, "Mon, 2 Jan 2006 15:04:05 -0700"} {
		if t, err := time.Parse(layout, v); err == nil {
			return t.UTC(), nil
		}
	}
	return time.Time{}, fmt.Errorf("%.40q is not a time such as 2026-11-24T09:00:00Z", v)
}

// get is the value of the first field of a name, and how many there are.
func (d *draft) get(name string) (value string, n int) {
	for _, f := range d.header {
		if f.is(name) {
			if n == 0 {
				value = f.value()
			}
			n++
		}
	}
	return value, n
}

// completeHeader adds what RFC 5322 section 3.6 and RFC 6409 section 8 ask of a
// submission server: Date, Message-ID, and our Received line on top. Bcc goes.
func (a *Admitter) completeHeader(d *draft) error {
	kept := d.header[:0]
	for _, f := range d.header {
		if !f.is("Bcc") && !f.is("Resent-Bcc") && !f.is("Return-Path") {
			kept = append(kept, f)
		}
	}
	d.header = kept
	if _, n := d.get("Date"); n == 0 {
		d.add("Date", d.now.Format(time.RFC1123Z))
	}
	if _, n := d.get("Message-ID"); n == 0 {
		d.add("Message-ID", "<"+strings.ToLower(rand.Text())+"@"+d.domain+">")
	}
	received := field{name: "Received", raw: []byte(d.received(a.o.Hostname))}
	d.header = append([]field{received}, d.header...)
	return nil
}

func (d *draft) add(name, value string) {
	d.header = append(d.header, field{name: name, raw: []byte(name + ": " + value + "\r\n")})
}

// received is the trace field of RFC 5321 section 4.4. It does not tell the
// world who submits from which inner address: by and protocol are enough to trace by.
func (d *draft) received(hostname string) string {
	return "Received: by " + hostname + " (Segue) with " + d.Protocol + ";\r\n\t" + d.now.Format(time.RFC1123Z) + "\r\n"
}

// join is the message as it is stored, and the size of its header with the empty line.
func (d *draft) join() ([]byte, int64) {
	size := 2 + len(d.body)
	for _, f := range d.header {
		size += len(f.raw) + 2
	}
	data := make([]byte, 0, size)
	for _, f := range d.header {
		data = append(data, f.raw...)
		if !bytes.HasSuffix(f.raw, []byte("\r\n")) {
			data = append(data, "\r\n"...)
		}
	}
	data = append(data, "\r\n"...)
	n := int64(len(data))
	return append(data, d.body...), n
}
