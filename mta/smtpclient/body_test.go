// SPDX-License-Identifier: Apache-2.0

package smtpclient

import (
	"bytes"
	"errors"
	"net"
	"strconv"
	"testing"

	"pgregory.net/rapid"
)

// slowLines is CheckLines, octet by octet over the whole message.
func slowLines(parts [][]byte) bool {
	all := bytes.Join(parts, nil)
	for i, c := range all {
		if c == '\n' && (i == 0 || all[i-1] != '\r') {
			return false
		}
		if c == '\r' && (i+1 == len(all) || all[i+1] != '\n') {
			return false
		}
	}
	return true
}

// slowData is the DATA form of a message, line by line (RFC 5321 section 4.5.2).
func slowData(parts [][]byte) []byte {
	var out []byte
	for line := range bytes.SplitAfterSeq(bytes.Join(parts, nil), []byte("\r\n")) {
		if len(line) > 0 && line[0] == '.' {
			out = append(out, '.')
		}
		out = append(out, line...)
	}
	if len(out) > 0 && !bytes.HasSuffix(out, []byte("\r\n")) {
		out = append(out, "\r\n"...)
	}
	return append(out, ".\r\n"...)
}

func genParts(t *rapid.T, token *rapid.Generator[string]) [][]byte {
	var parts [][]byte
	for range rapid.IntRange(0, 5).Draw(t, "parts") {
		var p []byte
		for _, s := range rapid.SliceOfN(token, 0, 8).Draw(t, "tokens") {
			p = append(p, s...)
		}
		parts = append(parts, p)
	}
	return parts
}

func TestCheckLinesAgreesWithSlowOne(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		parts := genParts(t, rapid.SampledFrom([]string{"\r\n", "\r\n", "\r\n", "a", "bc", ".", "\r", "\n"}))
		err := CheckLines(parts)
		if want := slowLines(parts); (err == nil) != want {
			t.Fatalf("%q: %v, want good = %t", parts, err, want)
		}
		if err != nil && !errors.Is(err, ErrLineEnding) {
			t.Fatalf("%v does not wrap ErrLineEnding", err)
		}
	})
}

// sink takes what is written.
type sink struct {
	net.Conn
	bytes.Buffer
	writes int
}

func (s *sink) Write(p []byte) (int, error) { s.writes++; return s.Buffer.Write(p) }
func (s *sink) Read(p []byte) (int, error)  { return s.Buffer.Read(p) }

func newSink() (*sink, *Conn) {
	a, b := net.Pipe()
	_ = b.Close()
	s := &sink{Conn: a}
	return s, &Conn{raw: s, rw: s, buf: make([]byte, 0, writeBuffer), opts: Options{Timeouts: Timeouts{}.withDefaults()}}
}

func TestStuffingAgreesWithSlowOne(t *testing.T) {
	long := string(bytes.Repeat([]byte("x"), writeBuffer-3))
	huge := string(bytes.Repeat([]byte("y"), chunk+writeBuffer))
	rapid.Check(t, func(t *rapid.T) {
		parts := genParts(t, rapid.SampledFrom([]string{"\r\n", "\r\n", "\r\n.", ".", "..", "text", "\r\n.\r\n", long, huge}))
		s, c := newSink()
		defer s.Close()
		w := stuffer{spout: spout{c: c}, bol: true}
		if err := w.message(parts); err != nil {
			t.Fatal(err)
		}
		if want := slowData(parts); !bytes.Equal(s.Bytes(), want) {
			t.Fatalf("%d octets differ from %d wanted", s.Len(), len(want))
		}
	})
}

// chunkOfTest is the size of a chunk in tests, which would be slow with real ones.
const chunkOfTest = 64

// slowChunks reads a message back from its BDAT form, and counts the chunks.
func slowChunks(t *rapid.T, wire []byte) (message []byte, chunks int) {
	t.Helper()
	for {
		line, rest, _ := bytes.Cut(wire, []byte("\r\n"))
		words := bytes.Fields(line)
		if len(words) < 2 || len(words) > 3 || string(words[0]) != "BDAT" {
			t.Fatalf("chunk %d: %.80q is no BDAT", chunks, line)
		}
		n, err := strconv.Atoi(string(words[1]))
		if err != nil || n > len(rest) {
			t.Fatalf("%q: %d octets follow, %v", line, len(rest), err)
		}
		chunks++
		message, wire = append(message, rest[:n]...), rest[n:]
		if len(words) == 3 {
			if len(wire) > 0 || string(words[2]) != "LAST" {
				t.Fatalf("%d octets behind %q", len(wire), line)
			}
			return message, chunks
		}
		if n < chunkOfTest {
			t.Fatalf("%q is a small chunk", line)
		}
	}
}

func TestChunksHoldTheMessage(t *testing.T) {
	huge := string(bytes.Repeat([]byte("y"), chunkOfTest-1))
	rapid.Check(t, func(t *rapid.T) {
		parts := genParts(t, rapid.SampledFrom([]string{"\r\n", "\r\n.", ".", "text", "\r\n.\r\n", "", huge, huge}))
		if slowLines(parts) {
			for _, pipelining := range []bool{true, false} {
				s, c := newSink()
				c.ext.Pipelining = pipelining
				w := newChunker(c, parts)
				if pipelining {
					w.most = chunkOfTest
				}
				if err := w.message(); err != nil {
					t.Fatal(err)
				}
				want := bytes.Join(parts, nil)
				if len(want) > 0 && !bytes.HasSuffix(want, []byte("\r\n")) {
					want = append(want, "\r\n"...)
				}
				got, chunks := slowChunks(t, s.Bytes())
				s.Close()
				if !bytes.Equal(got, want) || chunks != w.count() || (chunks > 1 && !pipelining) {
					t.Fatalf("%d octets in %d chunks; want %d octets in %d", len(got), chunks, len(want), w.count())
				}
			}
		}
	})
}

func TestMessageGoesOutInFewWrites(t *testing.T) {
	s, c := newSink()
	defer s.Close()
	w := stuffer{spout: spout{c: c}, bol: true}
	parts := [][]byte{[]byte("DKIM-Signature: x\r\n"), []byte("Subject: y\r\n\r\n"), bytes.Repeat([]byte("0123456789\r\n"), 800)}
	if err := w.message(parts); err != nil {
		t.Fatal(err)
	}
	if s.writes != 1 {
		t.Errorf("%d writes for a 10 KB message, want 1", s.writes)
	}
}
