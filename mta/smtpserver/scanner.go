// SPDX-License-Identifier: Apache-2.0

package smtpserver

import (
	"bytes"
	"errors"
)

// What ends a connection, because sender and server may no longer agree on
// where the message ends (SMTP smuggling, RFC 5321 section 2.3.8).
var (
	errBareLineEnd = errors.New("bare CR or LF")
	errNUL         = errors.New("NUL octet")
)

// scanner takes the text that follows a DATA command apart: it finds the one
// true end, CR LF . CR LF, removes the stuffed dots, and refuses every octet
// that could make another server see the end elsewhere. It is pure: feed it what
// the socket gave, in whatever pieces, and it gives the same answer.
type scanner struct {
	keep    int64            // octets to keep; beyond them lines are counted and dropped
	maxLine int              // octets in a line without its CRLF
	room    func(n int) bool // asked before the body grows by n octets; nil = always
	first   int              // octets to make space for at once; 0 = firstBody
	body    []byte           // unstuffed, every line ends in CRLF
	size    int64            // octets of the whole message, kept or not
	lines   int              // lines seen
	long    int              // number of the first line over maxLine, 0 for none
	full    bool             // room said no: the body is gone
	skip    bool             // inside a line whose beginning was dropped
}

// scan reads from buf and reports how many octets it is done with (the caller
// shows it the rest again, with more behind), and whether the message has ended.
// After an error the connection is of no more use.
func (s *scanner) scan(buf []byte) (int, bool, error) {
	n := 0
	for {
		rest := buf[n:]
		i := bytes.IndexByte(rest, '\n')
		if i < 0 {
			m, err := s.partial(rest)
			return n + m, false, err
		}
		line := rest[:i+1]
		if i == 0 || line[i-1] != '\r' || bytes.IndexByte(line[:i-1], '\r') >= 0 {
			return n, false, errBareLineEnd
		}
		if bytes.IndexByte(line, 0) >= 0 {
			return n, false, errNUL
		}
		n += i + 1
		if s.skip {
			s.skip = false
			s.size += int64(len(line))
			continue
		}
		if line[0] == '.' {
			if len(line) == 3 {
				return n, true, nil
			}
			line = line[1:]
		}
		s.add(line)
	}
}

// partial looks at a line whose end has not arrived: what is wrong already is
// said now, since a sender that believes it has finished sends no more.
func (s *scanner) partial(rest []byte) (int, error) {
	if i := bytes.IndexByte(rest, '\r'); i >= 0 && i < len(rest)-1 {
		return 0, errBareLineEnd
	}
	if bytes.IndexByte(rest, 0) >= 0 {
		return 0, errNUL
	}
	if len(rest) <= s.maxLine+3 { // a stuffed dot and CRLF do not count
		return 0, nil
	}
	if !s.skip {
		s.skip = true
		s.lines++
		s.tooLong()
	}
	s.size += int64(len(rest) - 1)
	return len(rest) - 1, nil // the last octet may be the CR of the line end
}

func (s *scanner) add(line []byte) {
	s.lines++
	s.size += int64(len(line))
	if len(line)-2 > s.maxLine {
		s.tooLong()
	}
	if s.long > 0 || s.full || s.size > s.keep {
		return
	}
	body, ok := extend(s.body, len(line), max(s.first, firstBody), s.room)
	if !ok {
		s.full, s.body = true, nil
		return
	}
	s.body = append(body, line...)
}

func (s *scanner) tooLong() {
	if s.long == 0 {
		s.long = s.lines
	}
}

// What a message gets before it shows its size: most fit. A client that declares
// more gets more, up to a point: memory is not given for promises.
const (
	firstBody    = 16 << 10
	maxFirstBody = 256 << 10
)

// extend makes space for n more octets, in steps that room agrees to (nil:
// always), the first of them at least first.
func extend(body []byte, n, first int, room func(n int) bool) ([]byte, bool) {
	need := len(body) + n
	if need <= cap(body) {
		return body, true
	}
	grown := max(need, 2*cap(body), first)
	if room != nil && !room(grown-cap(body)) {
		return nil, false
	}
	bigger := make([]byte, len(body), grown)
	copy(bigger, body)
	return bigger, true
}

// checkText applies the rules of [scanner] to a message whose length was given by
// its chunks (RFC 3030) and returns the number of the first line over maxLine.
func checkText(data []byte, maxLine int) (int, error) {
	long := 0
	for n := 1; len(data) > 0; n++ {
		i := bytes.IndexByte(data, '\n')
		line := data
		if i >= 0 {
			if i == 0 || data[i-1] != '\r' {
				return 0, errBareLineEnd
			}
			line, data = data[:i-1], data[i+1:]
		} else {
			data = nil
		}
		if bytes.IndexByte(line, '\r') >= 0 {
			return 0, errBareLineEnd
		}
		if bytes.IndexByte(line, 0) >= 0 {
			return 0, errNUL
		}
		if len(line) > maxLine && long == 0 {
			long = n
		}
	}
	return long, nil
}
