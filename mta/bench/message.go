// SPDX-License-Identifier: Apache-2.0

package bench

import (
	"bytes"
	"strconv"
)

// address appends the recipient of the nth message.
func (s *sender) address(b []byte, n int) []byte {
	domain := s.o.Domains[n%len(s.o.Domains)]
	if s.o.Recipients > 0 {
		n %= s.o.Recipients
		domain = s.o.Domains[n%len(s.o.Domains)]
	}
	return append(append(padded(append(b, s.o.Prefix...), n), '@'), domain...)
}

// padded appends a number with zeros before it, so that headers are of one length.
func padded(b []byte, n int) []byte {
	const width = 8
	digits := strconv.Itoa(n)
	for range width - len(digits) {
		b = append(b, '0')
	}
	return append(b, digits...)
}

// header appends the header of the nth message and the empty line after it.
func (s *sender) header(b []byte, n int) []byte {
	b = append(append(append(b, "From: <"...), s.o.From...), ">\r\nTo: <"...)
	b = append(s.address(b, n), ">\r\nSubject: What is new, in letter "...)
	b = append(padded(b, n), "\r\nDate: "...)
	b = append(s.start.AppendFormat(b, "Mon, 02 Jan 2006 15:04:05 -0700"), "\r\nMessage-ID: <"...)
	b = append(append(padded(b, n), '.'), s.o.Prefix...)
	b = append(strconv.AppendInt(append(b, '.'), s.start.UnixNano(), 36), "@bench.example>\r\n"...) //nolint:mnd // the densest base
	if s.o.Stream != "" {
		b = append(append(append(b, "X-Segue-Stream: "...), s.o.Stream...), "\r\n"...)
	}
	return append(b, "MIME-Version: 1.0\r\nContent-Type: text/plain; charset=us-ascii\r\n\r\n"...)
}

// body is text of so many octets, in lines of 78; the shortest is one line.
func body(size int) []byte {
	const text = "A letter is as long as letters are, so that what is measured means something"
	line := []byte(text + "\r\n")
	b := bytes.Repeat(line, max(size, 0)/len(line)+1)
	b = b[:max(size, len("ok\r\n"))]
	copy(b[len(b)-2:], "\r\n")
	if n := len(b); n > 3 && b[n-3] == '\r' { // the cut left a bare CR
		b[n-3] = '.'
	}
	return b
}
