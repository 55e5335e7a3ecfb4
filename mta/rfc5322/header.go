// SPDX-License-Identifier: Apache-2.0

// Package rfc5322 reads the messages that strangers send us: header fields (RFC
// 5322 section 2.2) and the tree of MIME parts (RFC 2045 and 2046). Bounce mail
// and complaint reports are written by thousands of programs, many of them
// wrong, so the reader takes what it can: either kind of line end, garbage between
// fields, a boundary that is never closed, parameters that do not parse. It
// never fails. It is bounded in nesting, parts, fields and sizes, and it keeps
// nothing but slices of its input and the text of header fields.
//
// It is not for mail that we accept and pass on: that must be exact, and what
// a tolerant reader sees is not what the next one will see.
//
// Start with [Parse] and [Part.All].
package rfc5322

import (
	"bytes"
	"strings"
)

// Bounds of what is read; the rest is ignored.
const (
	MaxFields = 1000    // fields of one header
	MaxValue  = 4 << 10 // octets of one field's value
)

// Field is one header field: the value unfolded, each fold and its white space one
// space, and trimmed; control bytes are spaces. Encoded words stay encoded.
type Field struct {
	Name  string
	Value string
}

// Header is the fields of a message, a part or a group in their order.
type Header []Field

// Get returns the value of the first field of this name in any case, or "".
func (h Header) Get(name string) string {
	for _, f := range h {
		if strings.EqualFold(f.Name, name) {
			return f.Value
		}
	}
	return ""
}

// Values returns the values of all fields of this name in any case.
func (h Header) Values(name string) []string {
	var all []string
	for _, f := range h {
		if strings.EqualFold(f.Name, name) {
			all = append(all, f.Value)
		}
	}
	return all
}

// Has reports whether a field of this name is there.
func (h Header) Has(name string) bool {
	for _, f := range h {
		if strings.EqualFold(f.Name, name) {
			return true
		}
	}
	return false
}

// ParseHeader reads fields up to the first empty line and returns what comes
// after it. Lines that are no fields are skipped.
func ParseHeader(b []byte) (h Header, rest []byte) {
	var name, value []byte // of the field that may still be continued; no name: none
	finish := func() {
		if len(name) > 0 && len(h) < MaxFields {
			h = append(h, Field{Name: string(name), Value: clean(value)})
		}
		name, value = nil, value[:0]
	}
	for len(b) > 0 {
		var line []byte
		line, b = cutLine(b)
		switch {
		case len(bytes.TrimRight(line, " \t")) == 0:
			finish()
			return h, b
		case line[0] != ' ' && line[0] != '\t':
			finish()
			before, after, found := bytes.Cut(line, []byte(":"))
			if before = bytes.TrimRight(before, " \t"); found && isName(before) {
				name = before
				value = extend(value, after)
			}
		case len(name) > 0:
			value = extend(value, line)
		}
	}
	finish()
	return h, nil
}

// extend appends a line to a value, as far as there is room.
func extend(value, line []byte) []byte {
	line = bytes.TrimSpace(line)
	if len(value) > 0 && len(line) > 0 && len(value) < MaxValue {
		value = append(value, ' ')
	}
	return append(value, line[:min(len(line), MaxValue-len(value))]...)
}

// clean makes text of a value: no control bytes, valid UTF-8.
func clean(value []byte) string {
	for i, c := range value {
		if c < ' ' || c == 0x7f {
			value[i] = ' '
		}
	}
	return strings.ToValidUTF8(string(value), "?")
}

func isName(b []byte) bool {
	for _, c := range b {
		if c <= ' ' || c >= 0x7f {
			return false
		}
	}
	return len(b) > 0 && len(b) < 128
}

// cutLine returns the first line without its end, LF or CRLF, and the rest.
func cutLine(b []byte) (line, rest []byte) {
	line, rest, _ = bytes.Cut(b, []byte("\n"))
	return bytes.TrimSuffix(line, []byte("\r")), rest
}
