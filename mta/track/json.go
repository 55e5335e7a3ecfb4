// SPDX-License-Identifier: Apache-2.0

package track

import (
	"fmt"
	"strconv"
	"unicode/utf16"
	"unicode/utf8"
)

// Bounds of one event. Segment's own events nest three deep and have some tens of
// values.
const (
	maxDepth  = 20
	maxValues = 2000
	// hardDepth is where the whole body is refused: the parser is recursive.
	hardDepth = 500
)

// syntaxError says where a body stops being JSON.
type syntaxError struct {
	at   int // octets from the beginning
	text string
}

// Error implements error.
func (e *syntaxError) Error() string { return fmt.Sprintf("%s at octet %d", e.text, e.at) }

// parser reads JSON (RFC 8259) as JavaScript's JSON.parse does: numbers are
// doubles, and the last of two equal keys wins. Octets that are no UTF-8 become
// U+FFFD, as does half a surrogate pair.
//
// Two kinds of things are wrong with what is read. A syntax error ends everything,
// since nobody knows what follows. A fault belongs to one event, and the parser goes
// on to the next: it checks the rest of the event and keeps nothing of it.
type parser struct {
	text   []byte
	at     int
	values int         // of this event
	fault  *EventError // of this event; nil = none
}

// begin starts the count of an event.
func (p *parser) begin() { p.values, p.fault = 0, nil }

func (p *parser) wrong(text string) error {
	if p.at >= len(p.text) {
		text = "the body ends within a value"
	}
	return &syntaxError{at: p.at, text: text}
}

// peek skips white space and returns the next octet, 0 at the end.
func (p *parser) peek() byte {
	for p.at < len(p.text) {
		switch c := p.text[p.at]; c {
		case ' ', '\t', '\n', '\r':
			p.at++
		default:
			return c
		}
	}
	return 0
}

// take skips one octet that has to be c.
func (p *parser) take(c byte) error {
	if p.peek() != c {
		return p.wrong(fmt.Sprintf("no %q", c))
	}
	p.at++
	return nil
}

// end reports whether nothing follows.
func (p *parser) end() error {
	if p.peek() != 0 || p.at < len(p.text) {
		return p.wrong("something follows the JSON value")
	}
	return nil
}

// value reads any value: nil, bool, float64, string, []any or map[string]any.
func (p *parser) value(depth int) (any, error) {
	p.values++
	switch {
	case p.fault != nil:
	case depth > maxDepth:
		p.fault = &EventError{"too_deep", fmt.Sprintf("values nest deeper than %d", maxDepth)}
	case p.values > maxValues:
		p.fault = &EventError{"too_many_values", fmt.Sprintf("there are more than %d values", maxValues)}
	}
	if depth > hardDepth {
		return nil, p.wrong("values nest too deep")
	}
	switch c := p.peek(); c {
	case '{':
		return p.anyObject(depth)
	case '[':
		return p.anyArray(depth)
	case '"':
		return p.string()
	case 't':
		return true, p.word("true")
	case 'f':
		return false, p.word("false")
	case 'n':
		return nil, p.word("null")
	default:
		return p.number()
	}
}

func (p *parser) word(w string) error {
	if len(p.text)-p.at < len(w) || string(p.text[p.at:p.at+len(w)]) != w {
		return p.wrong("no JSON value")
	}
	p.at += len(w)
	return nil
}

func (p *parser) anyObject(depth int) (any, error) {
	var m map[string]any
	err := p.object(func(key string) error {
		v, err := p.value(depth + 1)
		if err != nil || p.fault != nil {
			return err
		}
		if m == nil {
			m = map[string]any{}
		}
		m[key] = v
		return nil
	})
	if m == nil && p.fault == nil {
		m = map[string]any{}
	}
	return m, err
}

// object reads an object; each reads the value of a key.
func (p *parser) object(each func(key string) error) error {
	if err := p.take('{'); err != nil {
		return err
	}
	if p.peek() == '}' {
		p.at++
		return nil
	}
	for {
		if p.peek() != '"' {
			return p.wrong("no key in quotes")
		}
		key, err := p.string()
		if err == nil {
			err = p.take(':')
		}
		if err == nil {
			err = each(key)
		}
		if err != nil {
			return err
		}
		if more, err := p.more('}'); err != nil || !more {
			return err
		}
	}
}

func (p *parser) anyArray(depth int) (any, error) {
	list := []any{}
	err := p.array(func() error {
		v, err := p.value(depth + 1)
		if err == nil && p.fault == nil {
			list = append(list, v)
		}
		return err
	})
	return list, err
}

// array reads an array; each reads an element.
func (p *parser) array(each func() error) error {
	if err := p.take('['); err != nil {
		return err
	}
	if p.peek() == ']' {
		p.at++
		return nil
	}
	for {
		if err := each(); err != nil {
			return err
		}
		if more, err := p.more(']'); err != nil || !more {
			return err
		}
	}
}

// more reads what follows an element: a comma, or the end of the list.
func (p *parser) more(end byte) (bool, error) {
	switch p.peek() {
	case ',':
		p.at++
		return true, nil
	case end:
		p.at++
		return false, nil
	default:
		return false, p.wrong(fmt.Sprintf("no comma and no %q", end))
	}
}

// number reads a number as a double. One that is beyond all doubles is a fault;
// one between two of them becomes the nearer.
func (p *parser) number() (any, error) {
	from := p.at
	p.skip('-')
	digits := p.digits()
	if digits == 0 || digits > 1 && p.text[p.at-digits] == '0' {
		return nil, p.wrong("no JSON value")
	}
	if p.skip('.') && p.digits() == 0 {
		return nil, p.wrong("no digit behind the point")
	}
	if p.skip('e') || p.skip('E') {
		if !p.skip('-') {
			p.skip('+')
		}
		if p.digits() == 0 {
			return nil, p.wrong("no digit in the exponent")
		}
	}
	x, err := strconv.ParseFloat(string(p.text[from:p.at]), 64)
	if err != nil && p.fault == nil {
		p.fault = &EventError{"bad_number", "a number is too large for a double"}
	}
	return x, nil
}

func (p *parser) skip(c byte) bool {
	if p.at < len(p.text) && p.text[p.at] == c {
		p.at++
		return true
	}
	return false
}

func (p *parser) digits() int {
	from := p.at
	for p.at < len(p.text) && '0' <= p.text[p.at] && p.text[p.at] <= '9' {
		p.at++
	}
	return p.at - from
}

// string reads a string. Most hold neither escapes nor broken UTF-8 and are copied
// as they are.
func (p *parser) string() (string, error) {
	p.at++ // the quote
	for i := p.at; i < len(p.text); i++ {
		switch c := p.text[i]; {
		case c == '"':
			raw := p.text[p.at:i]
			if !utf8.Valid(raw) {
				return p.unquote()
			}
			p.at = i + 1
			return string(raw), nil
		case c == '\\':
			return p.unquote()
		case c < ' ':
			p.at = i
			return "", p.wrong("a control character in a string")
		}
	}
	p.at = len(p.text)
	return "", p.wrong("")
}

// unquote reads a string from behind its quote, octet by octet.
func (p *parser) unquote() (string, error) {
	var out []byte
	for p.at < len(p.text) {
		switch c := p.text[p.at]; {
		case c == '"':
			p.at++
			return string(out), nil
		case c == '\\':
			r, err := p.escape()
			if err != nil {
				return "", err
			}
			out = utf8.AppendRune(out, r)
		case c < ' ':
			return "", p.wrong("a control character in a string")
		default:
			r, size := utf8.DecodeRune(p.text[p.at:])
			p.at += size
			out = utf8.AppendRune(out, r)
		}
	}
	return "", p.wrong("")
}

// escape reads what a backslash begins.
func (p *parser) escape() (rune, error) {
	const letters, meanings = `"\/bfnrt`, "\"\\/\b\f\n\r\t"
	if p.at+1 >= len(p.text) {
		p.at = len(p.text)
		return 0, p.wrong("")
	}
	c := p.text[p.at+1]
	for i := range len(letters) {
		if letters[i] == c {
			p.at += 2
			return rune(meanings[i]), nil
		}
	}
	r, ok := p.unit(p.at)
	if !ok {
		return 0, p.wrong("a bad escape in a string")
	}
	p.at += 6
	if utf16.IsSurrogate(r) {
		second, ok := p.unit(p.at)
		pair := utf16.DecodeRune(r, second)
		if !ok || pair == utf8.RuneError {
			return utf8.RuneError, nil // the second is read again, it may stand for itself
		}
		p.at += 6
		return pair, nil
	}
	return r, nil
}

// unit reads \uXXXX at an offset.
func (p *parser) unit(at int) (rune, bool) {
	if len(p.text)-at < 6 || p.text[at] != '\\' || p.text[at+1] != 'u' {
		return 0, false
	}
	var r rune
	for _, c := range p.text[at+2 : at+6] {
		switch {
		case '0' <= c && c <= '9':
			r = r<<4 | rune(c-'0')
		case 'a' <= c|0x20 && c|0x20 <= 'f':
			r = r<<4 | rune(c|0x20-'a'+10)
		default:
			return 0, false
		}
	}
	return r, true
}
