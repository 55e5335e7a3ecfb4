// SPDX-License-Identifier: Apache-2.0

package smtpclient

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"

	"github.com/seguemta/segue/mta/rfc5321"
)

// Bounds of one reply. RFC 5321 section 4.5.3.1.5 allows 512 octets a line and
// names no number of lines; the longest seen in the field is an EHLO of some 20.
const (
	maxReplyLines = 256
	maxReplyBytes = 32 << 10
	maxReplyText  = 4 << 10 // kept of the text; the rest is read and dropped
)

// readReply reads one reply, its text without line ends, control bytes and
// codes. each, where not nil, sees the text of every line (valid for the call).
//
// Where the lines of a reply disagree on the code, the last one counts, as
// section 4.2.1 says. A line may end in LF alone. io.EOF before the first byte
// stays io.EOF, later it is io.ErrUnexpectedEOF.
func (c *Conn) readReply(each func(text []byte)) (rfc5321.Reply, error) {
	return readReply(c.br, &c.text, func(_, text []byte) {
		if each != nil {
			each(text)
		}
	})
}

func readReply(br *bufio.Reader, scratch *[]byte, each func(line, text []byte)) (rfc5321.Reply, error) {
	var r rfc5321.Reply
	joined := (*scratch)[:0]
	total := 0
	for n := 0; ; n++ {
		line, err := readLine(br, n > 0)
		if err != nil {
			return rfc5321.Reply{}, err
		}
		if total += len(line); n >= maxReplyLines || total > maxReplyBytes {
			return rfc5321.Reply{}, fmt.Errorf("%w: over %d lines or %d octets", ErrReply, maxReplyLines, maxReplyBytes)
		}
		code, more, text, ok := splitLine(line)
		if !ok {
			return rfc5321.Reply{}, fmt.Errorf("%w: %q", ErrReply, line[:min(len(line), 80)])
		}
		each(line, text)
		if code != r.Code {
			r.Enhanced = rfc5321.EnhancedCode{}
		}
		r.Code = code
		joined = appendLine(joined, text, &r.Enhanced)
		if !more {
			*scratch = joined
			r.Text = printable(joined)
			return r, nil
		}
	}
}

// readLine returns a line without its end.
func readLine(br *bufio.Reader, inside bool) ([]byte, error) {
	line, err := br.ReadSlice('\n')
	switch {
	case errors.Is(err, bufio.ErrBufferFull):
		return nil, fmt.Errorf("%w: line over %d octets", ErrReply, br.Size())
	case errors.Is(err, io.EOF) && (inside || len(line) > 0):
		return nil, io.ErrUnexpectedEOF
	case err != nil:
		return nil, err
	}
	return bytes.TrimRight(line, "\r\n"), nil
}

// splitLine takes "250-text" or "250 text" or "250" apart.
func splitLine(line []byte) (code int, more bool, text []byte, ok bool) {
	if len(line) < 3 {
		return 0, false, nil, false
	}
	for _, d := range line[:3] {
		if d < '0' || d > '9' {
			return 0, false, nil, false
		}
		code = code*10 + int(d-'0')
	}
	if code < 200 || code > 599 {
		return 0, false, nil, false
	}
	if len(line) == 3 {
		return code, false, nil, true
	}
	switch line[3] {
	case '-':
		more = true
	case ' ', '\t':
	default:
		return 0, false, nil, false
	}
	return code, more, line[4:], true
}

// appendLine joins the text of one line to those before it. The enhanced code
// is taken from the first line that has one and cut from each that repeats it.
func appendLine(joined, text []byte, enhanced *rfc5321.EnhancedCode) []byte {
	text = bytes.TrimSpace(text)
	// The shortest code is "2.0.0".
	if len(text) >= 5 && text[1] == '.' {
		word, rest, _ := bytes.Cut(text, []byte{' '})
		if code, ok := rfc5321.ParseEnhanced(string(word)); ok && (*enhanced == (rfc5321.EnhancedCode{}) || *enhanced == code) {
			*enhanced, text = code, bytes.TrimSpace(rest)
		}
	}
	if len(text) == 0 || len(joined) >= maxReplyText {
		return joined
	}
	if len(joined) > 0 {
		joined = append(joined, ' ')
	}
	return append(joined, text[:min(len(text), maxReplyText-min(len(joined), maxReplyText))]...)
}

// printable makes a string that is safe in a log, a header and JSON.
func printable(b []byte) string { return strings.TrimSpace(string(clean(b))) }

// clean returns b with control bytes as spaces and broken UTF-8 as '?'; b itself
// when there is nothing to do.
func clean(b []byte) []byte {
	for _, c := range b {
		if c < 0x20 || c >= 0x7f {
			return bytes.Map(func(r rune) rune {
				switch {
				case r == utf8.RuneError:
					return '?'
				case r < 0x20 || r == 0x7f || (r >= 0x80 && r < 0xa0) || r == '\u2028' || r == '\u2029':
					return ' '
				default:
					return r
				}
			}, b)
		}
	}
	return b
}
