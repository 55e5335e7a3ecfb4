// SPDX-License-Identifier: Apache-2.0

package rfc5322

import (
	"bytes"
	"encoding/base64"
	"io"
	"iter"
	"mime"
	"mime/quotedprintable"
	"slices"
	"strings"
)

// Bounds of the tree; what is beyond them stays unopened in its parent's body.
const (
	MaxDepth = 8   // multiparts within one another
	MaxParts = 100 // parts of one multipart
)

// Part is a message or one part of it.
type Part struct {
	Header Header
	Type   string            // "text/plain", in lower case; never empty
	Params map[string]string // of the content type, names in lower case
	Body   []byte            // as it arrived, before any transfer encoding is undone
	Parts  []Part            // of a multipart
}

// Parse reads a whole message. An mbox "From " line in front is skipped.
func Parse(message []byte) Part {
	if bytes.HasPrefix(message, []byte("From ")) {
		_, message = cutLine(message)
	}
	return parse(message, 0)
}

func parse(b []byte, depth int) Part {
	p := Part{}
	p.Header, p.Body = ParseHeader(b)
	p.Type, p.Params = mediaType(p.Header.Get("Content-Type"))
	boundary := p.Params["boundary"]
	if depth < MaxDepth && boundary != "" && strings.HasPrefix(p.Type, "multipart/") {
		for _, raw := range split(p.Body, boundary) {
			p.Parts = append(p.Parts, parse(raw, depth+1))
		}
	}
	return p
}

// All yields the part itself and every part in it, parents first. It does not look
// into attached messages.
func (p *Part) All() iter.Seq[*Part] {
	return func(yield func(*Part) bool) { p.walk(yield) }
}

func (p *Part) walk(yield func(*Part) bool) bool {
	if !yield(p) {
		return false
	}
	for i := range p.Parts {
		if !p.Parts[i].walk(yield) {
			return false
		}
	}
	return true
}

// Find returns the first part, p included, of one of these types, or nil.
func (p *Part) Find(types ...string) *Part {
	for part := range p.All() {
		if slices.Contains(types, part.Type) {
			return part
		}
	}
	return nil
}

// Content is the body with its transfer encoding undone, as far as it can be.
func (p *Part) Content() []byte {
	switch strings.ToLower(p.Header.Get("Content-Transfer-Encoding")) {
	case "quoted-printable":
		// An error leaves what was read before it: better than nothing.
		text, err := io.ReadAll(quotedprintable.NewReader(bytes.NewReader(p.Body)))
		if err != nil && len(text) == 0 {
			return p.Body
		}
		return text
	case "base64":
		clean := bytes.Map(func(r rune) rune {
			if r <= ' ' {
				return -1
			}
			return r
		}, p.Body)
		text := make([]byte, base64.StdEncoding.DecodedLen(len(clean)))
		n, err := base64.StdEncoding.Decode(text, clean)
		if err != nil && n == 0 {
			return p.Body
		}
		return text[:n]
	default:
		return p.Body
	}
}

// mediaType reads a content type; without one it is text/plain (RFC 2045
// section 5.2).
func mediaType(value string) (string, map[string]string) {
	if value == "" {
		return "text/plain", nil
	}
	t, params, err := mime.ParseMediaType(value)
	if err == nil && strings.Contains(t, "/") {
		return t, params
	}
	// By hand: what stands before the first semicolon, and every name=value after it.
	t, rest, _ := strings.Cut(value, ";")
	if t = strings.ToLower(strings.TrimSpace(t)); !strings.Contains(t, "/") {
		t = "text/plain"
	}
	params = make(map[string]string)
	for param := range strings.SplitSeq(rest, ";") {
		name, v, found := strings.Cut(param, "=")
		name = strings.ToLower(strings.TrimSpace(name))
		if _, have := params[name]; found && name != "" && !have {
			params[name] = strings.Trim(strings.TrimSpace(v), `"`)
		}
	}
	return t, params
}

// split cuts the body of a multipart at its boundary lines (RFC 2046 section
// 5.1.1), without preamble and epilogue. A boundary that is never closed ends
// with the body.
func split(body []byte, boundary string) [][]byte {
	delimiter := []byte("--" + boundary)
	var parts [][]byte
	start := -1 // of the part being read
	for at := 0; at < len(body); {
		line, rest := cutLine(body[at:])
		next := len(body) - len(rest)
		if last, ok := isDelimiter(line, delimiter); ok {
			if start >= 0 {
				parts = append(parts, trimLineEnd(body[start:at]))
			}
			start = next
			if last || len(parts) == MaxParts {
				return parts
			}
		}
		at = next
	}
	if start >= 0 && start < len(body) {
		parts = append(parts, body[start:])
	}
	return parts
}

// isDelimiter reports whether the line is a boundary, and whether it is the
// closing one. White space may follow.
func isDelimiter(line, delimiter []byte) (last, ok bool) {
	rest, found := bytes.CutPrefix(line, delimiter)
	if !found {
		return false, false
	}
	switch rest = bytes.TrimRight(rest, " \t"); {
	case len(rest) == 0:
		return false, true
	case bytes.Equal(rest, []byte("--")):
		return true, true
	default:
		return false, false
	}
}

// trimLineEnd drops the line end that belongs to the boundary after it.
func trimLineEnd(b []byte) []byte {
	b = bytes.TrimSuffix(b, []byte("\n"))
	return bytes.TrimSuffix(b, []byte("\r"))
}
