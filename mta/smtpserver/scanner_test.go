// SPDX-License-Identifier: Apache-2.0

package smtpserver

import (
	"bytes"
	"errors"
	"strings"
	"testing"
)

// slow is the obvious second implementation: one octet at a time, whole input.
func slow(in string, maxLine int) (body, rest string, long int, done bool, err error) {
	var line strings.Builder
	lines := 0
	for i := 0; i < len(in); i++ {
		switch {
		case in[i] == '\n':
			return "", "", 0, false, errBareLineEnd
		case in[i] == 0:
			return "", "", 0, false, errNUL
		case in[i] != '\r':
			line.WriteByte(in[i])
		case i+1 == len(in):
			return body, "", long, false, nil
		case in[i+1] != '\n':
			return "", "", 0, false, errBareLineEnd
		default:
			i++
			l := line.String()
			line.Reset()
			if l == "." {
				return body, in[i+1:], long, true, nil
			}
			lines++
			l = strings.TrimPrefix(l, ".")
			if len(l) > maxLine && long == 0 {
				long = lines
			}
			body += l + "\r\n"
		}
	}
	return body, "", long, false, nil
}

// feed gives the scanner its input in pieces, as a connection would.
func feed(s *scanner, in string, piece int) (rest string, done bool, err error) {
	var buf []byte
	for in != "" || len(buf) > 0 {
		n := min(piece, len(in))
		buf = append(buf, in[:n]...)
		in = in[n:]
		used, done, err := s.scan(buf)
		buf = buf[used:]
		if done || err != nil {
			return string(buf) + in, done, err
		}
		if n == 0 {
			break
		}
	}
	return "", false, nil
}

func compare(t *testing.T, in string, piece, maxLine int) {
	t.Helper()
	s := scanner{keep: 1 << 30, maxLine: maxLine}
	rest, done, err := feed(&s, in, piece)
	body, wantRest, long, wantDone, wantErr := slow(in, maxLine)
	if (err != nil) != (wantErr != nil) || done != wantDone {
		t.Fatalf("%q in pieces of %d: done %v err %v, want %v %v", in, piece, done, err, wantDone, wantErr)
	}
	if !done {
		return
	}
	if rest != wantRest || s.long != long {
		t.Fatalf("%q in pieces of %d: rest %q long %d, want %q %d", in, piece, rest, s.long, wantRest, long)
	}
	if long == 0 && string(s.body) != body {
		t.Fatalf("%q in pieces of %d: body %q, want %q", in, piece, s.body, body)
	}
	if long == 0 && s.size != int64(len(body)) {
		t.Fatalf("%q: size %d, want %d", in, s.size, len(body))
	}
	if _, err := checkText(s.body, maxLine); err != nil {
		t.Fatalf("%q: a second look finds %v", in, err)
	}
}

func FuzzScanner(f *testing.F) {
	for _, s := range []string{
		"a\r\n.\r\n", "..a\r\n.\r\nMAIL", ".\r\n", "\r\n.\n", "\n.\n", "\n.\r\n", "\r.\r", "\r\n.\r", "\r\r\n.\r\r\n.\r\n",
		".\rx\r\n.\r\n", "a\x00\r\n.\r\n", strings.Repeat("x", 40) + "\r\n.\r\n", ".\r\n.\r\n",
	} {
		f.Add(s, 3)
		f.Add(s, 1000)
	}
	f.Fuzz(func(t *testing.T, in string, piece int) {
		if piece < 1 {
			piece = 1
		}
		compare(t, in, piece, 20)
	})
}

func TestScannerAgreesWithSlow(t *testing.T) {
	// Every string of up to seven of these octets, whole and in pieces.
	const alphabet = "\r\n.x\x00"
	var all func(prefix string, n int)
	all = func(prefix string, n int) {
		compare(t, prefix, 1, 4)
		compare(t, prefix, 2, 4)
		compare(t, prefix, 100, 4)
		if n == 0 {
			return
		}
		for i := range len(alphabet) {
			all(prefix+alphabet[i:i+1], n-1)
		}
	}
	all("", 6)
	all("x\r\n", 6)
}

func TestScannerLimits(t *testing.T) {
	long := "ok\r\n" + strings.Repeat("x", 5000) + "\r\nok\r\n.\r\n"
	for _, piece := range []int{1, 7, 100, 100000} {
		s := scanner{keep: 1 << 20, maxLine: 998}
		if _, done, err := feed(&s, long, piece); !done || err != nil || s.long != 2 {
			t.Fatalf("pieces of %d: done %v, %v, long line %d", piece, done, err, s.long)
		}
		s = scanner{keep: 10, maxLine: 998}
		if _, done, err := feed(&s, "12345\r\n67890\r\nabc\r\n.\r\n", piece); !done || err != nil {
			t.Fatal(done, err)
		}
		if string(s.body) != "12345\r\n" || s.size != 19 {
			t.Fatalf("kept %q of %d octets", s.body, s.size)
		}
		s = scanner{keep: 1 << 20, maxLine: 998, room: func(int) bool { return false }}
		if _, done, err := feed(&s, "a\r\n.\r\n", piece); !done || err != nil || !s.full {
			t.Fatal(done, err, s.full)
		}
	}
}

func FuzzCheckText(f *testing.F) {
	f.Add([]byte("a\r\nb"))
	f.Add([]byte("a\nb\r\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		_, err := checkText(data, 998)
		clean := bytes.ReplaceAll(data, []byte("\r\n"), nil)
		if bad := bytes.ContainsAny(clean, "\r\n\x00"); bad != (err != nil) {
			t.Fatalf("%q: %v", data, err)
		}
		if err != nil && !errors.Is(err, errBareLineEnd) && !errors.Is(err, errNUL) {
			t.Fatal(err)
		}
	})
}
