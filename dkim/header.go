// SPDX-License-Identifier: Apache-2.0

package dkim

import (
	"bytes"
	"fmt"
)

// field is one header field; both parts point into the header block. value is
// all after the colon, folds included, without the final CRLF.
type field struct {
	name  []byte
	value []byte
}

// is compares the name without regard to case; name is ASCII.
func (f field) is(name string) bool {
	if len(f.name) != len(name) {
		return false
	}
	for i := range len(name) {
		if lower(f.name[i]) != lower(name[i]) {
			return false
		}
	}
	return true
}

func lower(c byte) byte {
	if c >= 'A' && c <= 'Z' {
		return c + ('a' - 'A')
	}
	return c
}

func isWSP(c byte) bool { return c == ' ' || c == '\t' }

func hasField(fields []field, name string) bool {
	for _, f := range fields {
		if f.is(name) {
			return true
		}
	}
	return false
}

// parseFields appends the fields of header to into. It stops at an empty line,
// where the body begins. A last field without CRLF counts as ended.
func parseFields(into []field, header []byte) ([]field, error) {
	for rest := header; len(rest) > 0; {
		if bytes.HasPrefix(rest, []byte("\r\n")) {
			break
		}
		end, next, err := fieldEnd(rest)
		if err != nil {
			return nil, err
		}
		colon := bytes.IndexByte(rest[:end], ':')
		if colon < 0 {
			return nil, fmt.Errorf("%w: line without a colon after %d fields", ErrHeader, len(into))
		}
		name := bytes.TrimRight(rest[:colon], " \t")
		if !validFieldName(string(name)) {
			return nil, fmt.Errorf("%w: bad field name after %d fields", ErrHeader, len(into))
		}
		into = append(into, field{name: name, value: rest[colon+1 : end]})
		rest = rest[next:]
	}
	return into, nil
}

// fieldEnd finds where the first field of b ends (its last CRLF excluded) and
// where the next one starts.
func fieldEnd(b []byte) (end, next int, err error) {
	for at := 0; ; {
		i := bytes.IndexByte(b[at:], '\n')
		line := b[at:]
		if i >= 0 {
			line = b[at : at+i]
		}
		cr := bytes.IndexByte(line, '\r')
		switch {
		case i < 0 && cr >= 0, i >= 0 && cr >= 0 && cr != len(line)-1:
			return 0, 0, fmt.Errorf("%w: bare CR", ErrHeader)
		case i >= 0 && cr < 0:
			return 0, 0, fmt.Errorf("%w: bare LF", ErrHeader)
		case i < 0:
			return len(b), len(b), nil
		}
		at += i + 1
		if at == len(b) || !isWSP(b[at]) {
			return at - 2, at, nil
		}
	}
}

// appendRelaxed appends f in relaxed form (section 3.4.2), with its CRLF.
func appendRelaxed(dst []byte, f field) []byte {
	for _, c := range f.name {
		dst = append(dst, lower(c))
	}
	dst = append(dst, ':')
	v := f.value
	for first := true; ; first = false {
		v = trimFWS(v)
		if len(v) == 0 {
			break
		}
		n := 0
		for n < len(v) && v[n] != ' ' && v[n] != '\t' && v[n] != '\r' && v[n] != '\n' {
			n++
		}
		if !first {
			dst = append(dst, ' ')
		}
		dst = append(dst, v[:n]...)
		v = v[n:]
	}
	return append(dst, '\r', '\n')
}

// trimFWS drops leading white space and line ends. The parser has made sure that each
// line end is a CRLF before white space.
func trimFWS(v []byte) []byte {
	for len(v) > 0 && (v[0] == ' ' || v[0] == '\t' || v[0] == '\r' || v[0] == '\n') {
		v = v[1:]
	}
	return v
}

// validFieldName reports whether s is made of RFC 5322 ftext. A message may have a field with
// a semicolon in its name; it cannot be signed, since the h= tag would end there.
func validFieldName(s string) bool {
	for i := range len(s) {
		if s[i] <= ' ' || s[i] >= 0x7f || s[i] == ':' {
			return false
		}
	}
	return s != ""
}

// validDomain reports whether s is dot-separated labels of letters, digits,
// hyphens and underscores: nothing that could end a tag.
func validDomain(s string) bool {
	if len(s) > 253 {
		return false
	}
	for label := range bytes.SplitSeq([]byte(s), []byte(".")) {
		if len(label) == 0 || len(label) > 63 {
			return false
		}
		for _, c := range label {
			c = lower(c)
			if (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' && c != '_' {
				return false
			}
		}
	}
	return true
}
