// SPDX-License-Identifier: Apache-2.0

package smtpclient

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/seguemta/segue/mta/rfc5321"
)

func parse(s string) (rfc5321.Reply, error) {
	var scratch []byte
	return readReply(bufio.NewReaderSize(strings.NewReader(s), readBuffer), &scratch, func(_, _ []byte) {})
}

func TestReplies(t *testing.T) {
	for _, c := range []struct {
		in   string
		want rfc5321.Reply
	}{
		{"250 ok\r\n", rfc5321.Reply{Code: 250, Text: "ok"}},
		{"250\r\n", rfc5321.Reply{Code: 250}},
		{"250 \r\n", rfc5321.Reply{Code: 250}},
		{"250 lone line feed\n", rfc5321.Reply{Code: 250, Text: "lone line feed"}},
		{"250\ttab\r\n", rfc5321.Reply{Code: 250, Text: "tab"}},
		{"550 5.1.1 no such user\r\n", rfc5321.Reply{Code: 550, Enhanced: rfc5321.EnhancedCode{5, 1, 1}, Text: "no such user"}},
		{"550 5.1.1\r\n", rfc5321.Reply{Code: 550, Enhanced: rfc5321.EnhancedCode{5, 1, 1}}},
		{"550 192.0.2.1 is listed\r\n", rfc5321.Reply{Code: 550, Text: "192.0.2.1 is listed"}},
		{"550-5.7.1 one\r\n550-5.7.1 two\r\n550 5.7.1 three\r\n", rfc5321.Reply{Code: 550, Enhanced: rfc5321.EnhancedCode{5, 7, 1}, Text: "one two three"}},
		{"550-one\r\n550 5.7.1 two\r\n", rfc5321.Reply{Code: 550, Enhanced: rfc5321.EnhancedCode{5, 7, 1}, Text: "one two"}},
		{"250-a\r\n451-b\r\n550 c\r\n", rfc5321.Reply{Code: 550, Text: "a b c"}},
		{"550 caf\xe9 \x00\x1b[31m\r\n", rfc5321.Reply{Code: 550, Text: "caf?   [31m"}},
		{"550 line\u2028end\r\n", rfc5321.Reply{Code: 550, Text: "line end"}},
		{"550 bare\rreturn\r\n", rfc5321.Reply{Code: 550, Text: "bare return"}},
	} {
		got, err := parse(c.in)
		if err != nil || got != c.want {
			t.Errorf("%q: got %+v, %v; want %+v", c.in, got, err, c.want)
		}
	}
}

func TestRepliesThatAreNone(t *testing.T) {
	for _, in := range []string{
		"\r\n", "hello\r\n", "25 no\r\n", "2500 no\r\n", "250ok\r\n", "199 no\r\n", "600 no\r\n", "25x no\r\n", "250-a\r\nno\r\n",
		"HTTP/1.1 400 Bad Request\r\n",
		"250 " + strings.Repeat("x", readBuffer) + "\r\n",
		strings.Repeat("250-and on\r\n", 10_000) + "250 end\r\n",
		strings.Repeat("250-"+strings.Repeat("x", 4000)+"\r\n", 20) + "250 end\r\n",
	} {
		if r, err := parse(in); !errors.Is(err, ErrReply) {
			t.Errorf("%.40q: got %+v, %v; want ErrReply", in, r, err)
		}
	}
	if _, err := parse(""); !errors.Is(err, io.EOF) {
		t.Errorf("nothing: %v, want EOF", err)
	}
	for _, in := range []string{"250 ok", "250-a\r\n", "2"} {
		if _, err := parse(in); !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("%q: %v, want ErrUnexpectedEOF", in, err)
		}
	}
}

func TestReplyTextIsBounded(t *testing.T) {
	r, err := parse(strings.Repeat("550-"+strings.Repeat("x", 900)+"\r\n", 20) + "550 end\r\n")
	if err != nil || len(r.Text) != maxReplyText {
		t.Errorf("got %d octets, %v; want %d", len(r.Text), err, maxReplyText)
	}
}

func FuzzReply(f *testing.F) {
	for _, s := range []string{
		"250 ok\r\n", "250-a\r\n250 b\r\n", "550 5.1.1 x\r\n", "354\n", "250-\r\n250 \r\n", "421 4.7.0 \xff\xfe\r\n", "5xx\r\n", "250-5.1.1 a\r\n550 5.1.1 b\r\n",
		"550-5.7.1 a\r\n550-5.7.26 b\r\n550 5.7.1\r\n", "550 5.1.1\r\n550 5.1.1 next\r\n", "250-" + strings.Repeat("x", readBuffer) + "\r\n250 x\r\n",
		strings.Repeat("250-\r\n", maxReplyLines-1) + "250 end\r\n", strings.Repeat("250-\r\n", maxReplyLines) + "250 end\r\n",
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		var scratch []byte
		br := bufio.NewReaderSize(bytes.NewReader(in), readBuffer)
		lines, octets := 0, 0
		r, err := readReply(br, &scratch, func(line, _ []byte) { lines, octets = lines+1, octets+len(line) })
		if lines > maxReplyLines || octets > maxReplyBytes || cap(scratch) > 2*maxReplyText {
			t.Fatalf("%d lines, %d octets, %d held", lines, octets, cap(scratch))
		}
		if err != nil {
			if r != (rfc5321.Reply{}) {
				t.Fatalf("a reply beside an error: %+v", r)
			}
			return
		}
		if r.Code < 200 || r.Code > 599 || len(r.Text) > maxReplyText+3 || !utf8.ValidString(r.Text) {
			t.Fatalf("bad reply %+v", r)
		}
		if e := r.Enhanced; e != (rfc5321.EnhancedCode{}) && (e[0] != 2 && e[0] != 4 && e[0] != 5) {
			t.Fatalf("enhanced code %v", e)
		}
		if strings.ContainsFunc(r.Text, unicode.IsControl) {
			t.Fatalf("control characters in %q", r.Text)
		}
	})
}

func TestExtensionsInAnyCase(t *testing.T) {
	var e Extensions
	for _, l := range []string{"pipelining", "8BitMime", "SmtpUTF8", "starttls", "CHUNKING", "size  52428800", "limits rcptmax=100 MAILMAX=5 x=y rcptmax=-1", "DSN", "RequireTLS", "EnhancedStatusCodes", "AUTH=LOGIN", ""} {
		e.add([]byte(l))
	}
	want := Extensions{
		Pipelining: true, EightBitMIME: true, SMTPUTF8: true, StartTLS: true, Chunking: true, EnhancedCodes: true, DSN: true, RequireTLS: true,
		HasSize: true, Size: 52428800, MaxRecipients: 100, MaxMails: 5,
	}
	if e != want {
		t.Errorf("got %+v, want %+v", e, want)
	}
	for _, l := range []string{"SIZE", "SIZE 0", "SIZE -5", "SIZE many", "SIZE 99999999999999999999"} {
		e := Extensions{}
		if e.add([]byte(l)); !e.HasSize || e.Size != 0 {
			t.Errorf("%q: %+v, want offered without a limit", l, e)
		}
	}
}
