// SPDX-License-Identifier: Apache-2.0

package rfc5322

import (
	"fmt"
	"reflect"
	"strings"
	"testing"
)

func TestParseHeader(t *testing.T) {
	for _, tt := range []struct {
		name, text, rest string
		want             Header
	}{
		{"plain", "A: 1\r\nB:2\r\n\r\nbody", "body", Header{{"A", "1"}, {"B", "2"}}},
		{"bare line feeds", "A: 1\nB: 2\n\nbody", "body", Header{{"A", "1"}, {"B", "2"}}},
		{"folded", "A: 1\r\n 2\r\n\t  3 \r\nB:\r\n x\r\n\r\n", "", Header{{"A", "1 2 3"}, {"B", "x"}}},
		{"line of spaces ends", "A: 1\r\n  \r\nB: 2\r\n", "B: 2\r\n", Header{{"A", "1"}}},
		{"garbage between", "A: 1\r\nno field\r\n continued\r\n: x\r\nB : 2\r\n\r\n", "", Header{{"A", "1"}, {"B", "2"}}},
		{"continuation first", " x\r\nA: 1\r\n\r\n", "", Header{{"A", "1"}}},
		{"no end", "A: 1\r\nB: 2", "", Header{{"A", "1"}, {"B", "2"}}},
		{"broken utf-8", "A: \xff\r\n\r\n", "", Header{{"A", "?"}}},
		{"empty", "", "", nil},
		{"no header", "\r\nbody", "body", nil},
	} {
		h, rest := ParseHeader([]byte(tt.text))
		if !reflect.DeepEqual(h, tt.want) || string(rest) != tt.rest {
			t.Errorf("%s: %q, rest %q; want %q, %q", tt.name, h, rest, tt.want, tt.rest)
		}
	}
}

func TestHeaderValues(t *testing.T) {
	h := Header{{"To", "a"}, {"TO", "b"}, {"Cc", ""}}
	if h.Get("to") != "a" || h.Get("From") != "" || !h.Has("CC") || h.Has("From") {
		t.Error("Get or Has finds the wrong field")
	}
	if got := h.Values("tO"); !reflect.DeepEqual(got, []string{"a", "b"}) {
		t.Errorf("Values = %q", got)
	}
}

func TestBounds(t *testing.T) {
	h, _ := ParseHeader([]byte("A: " + strings.Repeat("x", MaxValue) + "\r\n" + strings.Repeat(" y\r\n", 1000)))
	if len(h) != 1 || len(h[0].Value) != MaxValue {
		t.Errorf("%d fields, value of %d octets", len(h), len(h[0].Value))
	}
	if h, _ = ParseHeader([]byte(strings.Repeat("A: 1\r\n", 2*MaxFields))); len(h) != MaxFields {
		t.Errorf("%d fields", len(h))
	}
	p := Parse([]byte("Content-Type: multipart/mixed; boundary=b\r\n\r\n" + strings.Repeat("--b\r\n\r\nx\r\n", 2*MaxParts)))
	if len(p.Parts) != MaxParts {
		t.Errorf("%d parts", len(p.Parts))
	}
	var deep strings.Builder
	for i := range 3 * MaxDepth {
		fmt.Fprintf(&deep, "Content-Type: multipart/mixed; boundary=b%d\r\n\r\n--b%d\r\n", i, i)
	}
	n := 0
	p = Parse([]byte(deep.String()))
	for range p.All() {
		n++
	}
	if n != MaxDepth+1 {
		t.Errorf("%d levels", n)
	}
}

// outline shows a tree as (type "body" children).
func outline(p *Part) string {
	if len(p.Parts) == 0 {
		return fmt.Sprintf("(%s %q)", p.Type, p.Content())
	}
	var b strings.Builder
	b.WriteString("(" + p.Type)
	for i := range p.Parts {
		b.WriteString(" " + outline(&p.Parts[i]))
	}
	return b.String() + ")"
}

func TestParse(t *testing.T) {
	for _, tt := range []struct{ name, text, want string }{
		{"no type", "A: b\n\nhello\n", `(text/plain "hello\n")`},
		{"mbox line", "From x Mon Jan  1\nContent-Type: text/html\n\n<p>", `(text/html "<p>")`},
		{
			"two parts", "Content-Type: multipart/report; boundary=\"b c\"\r\n\r\npreamble\r\n--b c\r\n\r\none\r\n--b c  \r\n" +
				"Content-Type: message/delivery-status\r\n\r\ntwo\r\n--b c--\r\nepilogue\r\n",
			`(multipart/report (text/plain "one") (message/delivery-status "two"))`,
		},
		{"never closed", "Content-Type: multipart/mixed; boundary=b\n\n--b\n\none\n--b\n\ntwo\n", `(multipart/mixed (text/plain "one") (text/plain "two\n"))`},
		{
			"nested", "Content-Type: multipart/mixed; boundary=b\n\n--b\nContent-Type: multipart/alternative; boundary=bb\n\n--bb\n\nx\n--bb--\n\n--b\n\ny\n--b--\n",
			`(multipart/mixed (multipart/alternative (text/plain "x")) (text/plain "y"))`,
		},
		{
			"attached message stays closed", "Content-Type: message/rfc822\n\nContent-Type: multipart/mixed; boundary=b\n\n--b\n\nx\n--b--\n",
			`(message/rfc822 "Content-Type: multipart/mixed; boundary=b\n\n--b\n\nx\n--b--\n")`,
		},
		{"boundary not there", "Content-Type: multipart/mixed; boundary=b\n\ntext\n", `(multipart/mixed "text\n")`},
		{"no boundary", "Content-Type: multipart/mixed\n\ntext\n", `(multipart/mixed "text\n")`},
		{"parameters that do not parse", "Content-Type: Multipart/Mixed; boundary=a/b=; boundary=x; y\n\n--a/b=\n\nx\n--a/b=--\n", `(multipart/mixed (text/plain "x"))`},
		{"type that does not parse", "Content-Type: text\n\nx", `(text/plain "x")`},
		{"quoted-printable", "Content-Transfer-Encoding: Quoted-Printable\n\na=3Db=\nc", `(text/plain "a=bc")`},
		{"base64", "Content-Transfer-Encoding: base64\n\naGVs\nbG8=\n", `(text/plain "hello")`},
		{"base64 that breaks off", "Content-Transfer-Encoding: base64\n\naGVs*bG8=\n", `(text/plain "hel")`},
		{"base64 that is none", "Content-Transfer-Encoding: base64\n\n***\n", `(text/plain "***\n")`},
	} {
		p := Parse([]byte(tt.text))
		if got := outline(&p); got != tt.want {
			t.Errorf("%s:\n%s\nwant\n%s", tt.name, got, tt.want)
		}
	}
}

func TestFind(t *testing.T) {
	p := Parse([]byte("Content-Type: multipart/mixed; boundary=b\n\n--b\n\none\n--b\nContent-Type: text/html\n\ntwo\n--b--\n"))
	if got := p.Find("text/html"); got == nil || string(got.Body) != "two" {
		t.Errorf("Find = %+v", got)
	}
	if p.Find("image/png") != nil {
		t.Error("found what is not there")
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte("Content-Type: multipart/mixed; boundary=b\n\n--b\n\none\n--b\nContent-Transfer-Encoding: base64\n\ntwo\n--b--\n"))
	f.Add([]byte("From x\nA: b\n c\n\nbody"))
	f.Fuzz(func(t *testing.T, b []byte) {
		p := Parse(b)
		for part := range p.All() {
			if part.Type == "" || len(part.Body) > len(b) || len(part.Header) > MaxFields {
				t.Fatalf("part %+v", part)
			}
			part.Content()
			for _, field := range part.Header {
				if field.Name == "" || strings.ContainsAny(field.Value, "\r\n\x00") {
					t.Fatalf("field %q", field)
				}
			}
		}
	})
}
