// SPDX-License-Identifier: Apache-2.0

package dkim

import (
	"bytes"
	"crypto/sha256"
	"regexp"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// slowRelaxed is section 3.4.4 read aloud, one step at a time.
func slowRelaxed(body string) string {
	if !strings.HasSuffix(body, "\r\n") {
		body += "\r\n" // DATA would add it
	}
	lines := strings.Split(strings.TrimSuffix(body, "\r\n"), "\r\n")
	runs := regexp.MustCompile("[ \t]+")
	for i, line := range lines {
		line = runs.ReplaceAllString(line, " ")
		lines[i] = strings.TrimSuffix(line, " ")
	}
	for len(lines) > 0 && lines[len(lines)-1] == "" {
		lines = lines[:len(lines)-1]
	}
	if len(lines) == 0 {
		return ""
	}
	return strings.Join(lines, "\r\n") + "\r\n"
}

func checkBody(t interface {
	Helper()
	Errorf(string, ...any)
}, body string, cuts ...int,
) {
	t.Helper()
	want := BodyHash(sha256.Sum256([]byte(slowRelaxed(body))))
	if got := HashBody([]byte(body)); got != want {
		t.Errorf("HashBody(%q) is not the hash of %q", body, slowRelaxed(body))
	}
	h := NewBodyHasher()
	at := 0
	for _, cut := range cuts {
		if cut = min(cut, len(body)); cut < at {
			continue
		}
		h.Write([]byte(body[at:cut]))
		at = cut
	}
	h.Write([]byte(body[at:]))
	if got := h.Sum(); got != want {
		t.Errorf("%q cut at %v is not the hash of %q", body, cuts, slowRelaxed(body))
	}
}

// TestRFC6376Relaxed is the example of section 3.4.5.
func TestRFC6376Relaxed(t *testing.T) {
	const body = " C \r\nD \t E\r\n\r\n\r\n"
	if got := HashBody([]byte(body)); got != sha256.Sum256([]byte(" C\r\nD E\r\n")) {
		t.Error("the body example of section 3.4.5 has another hash")
	}
	fields, err := parseFields(nil, []byte("A: X\r\nB : Y\t\r\n\tZ  \r\n"))
	if err != nil {
		t.Fatal(err)
	}
	var got []byte
	for _, f := range fields {
		got = appendRelaxed(got, f)
	}
	if string(got) != "a:X\r\nb:Y Z\r\n" {
		t.Errorf("relaxed header is %q", got)
	}
}

// TestBodyPieces tries every body of up to seven pieces, cut anywhere.
func TestBodyPieces(t *testing.T) {
	pieces := []string{" ", "\t", "\r\n", "\r", "\n", "x"}
	var build func(prefix string, left int)
	build = func(prefix string, left int) {
		checkBody(t, prefix, len(prefix)/2)
		if left == 0 || t.Failed() {
			return
		}
		for _, p := range pieces {
			build(prefix+p, left-1)
		}
	}
	build("", 6)
}

func TestBodyRandom(t *testing.T) {
	piece := rapid.SampledFrom([]string{" ", "  ", "\t", "\r\n", "\r", "\n", "x", "word", strings.Repeat("long", 300), "1234567", " \t", "\r\n\r\n"})
	rapid.Check(t, func(t *rapid.T) {
		body := strings.Join(rapid.SliceOf(piece).Draw(t, "pieces"), "")
		cuts := rapid.SliceOfN(rapid.IntRange(0, len(body)), 0, 6).Draw(t, "cuts")
		checkBody(t, body, cuts...)
	})
}

func FuzzHashBody(f *testing.F) {
	for _, s := range []string{"", "\r\n", " a \r\n\t\r\n", exampleBody, "a\r", "\r\r\n \n \t"} {
		f.Add(s, 1)
	}
	f.Fuzz(func(t *testing.T, body string, cut int) {
		checkBody(t, body, max(cut, 0))
	})
}

func FuzzSign(f *testing.F) {
	f.Add([]byte(exampleHeader))
	f.Add([]byte("From: a\r\n b\r\n\tc\r\nSubject:\r\n\r\nx"))
	s := newSigner(f, Options{Keys: []Key{{Domain: "a.example", Selector: "s", Signer: exampleEd25519(f)}}})
	keys := []Key{{Domain: "a.example", Selector: "s", Signer: exampleEd25519(f)}}
	f.Fuzz(func(t *testing.T, header []byte) {
		field, err := s.Sign(header, HashBody(nil), signedAt())
		if err != nil {
			return
		}
		if i := bytes.Index(header, []byte("\r\n\r\n")); i >= 0 {
			header = header[:i+2]
		}
		if !bytes.HasSuffix(header, []byte("\r\n")) || bytes.HasPrefix(header, []byte("\r\n")) {
			return
		}
		message := bytes.Join([][]byte{field, header, []byte("\r\n")}, nil)
		if bytes.Contains(bytes.ToLower(header), []byte("dkim-signature")) || bytes.ContainsAny(header, "\v\f\x00\x85\xa0") {
			return // the oracle counts other signatures and trims what Unicode calls space
		}
		for _, err := range verify(t, message, keys) {
			if err != nil {
				t.Errorf("%v\n%q", err, message)
			}
		}
	})
}
