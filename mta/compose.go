// SPDX-License-Identifier: Apache-2.0

package mta

import (
	"bytes"
	"crypto/rand"
	"fmt"
	"mime/quotedprintable"
	"strings"

	"github.com/seguemta/segue/mta/api"
)

// foldAt is how long a line of a header should be at most (RFC 5322 section 2.1.1).
const foldAt = 78

// writeField writes a header field, folded at its blanks.
func writeField(b *bytes.Buffer, name, value string) error {
	b.WriteString(name + ":")
	width := len(name) + 1
	for word := range strings.SplitSeq(value, " ") {
		if word != "" && width+1+len(word) > foldAt {
			b.WriteString("\r\n")
			width = 0
		}
		b.WriteString(" " + word)
		if width += 1 + len(word); width > maxLine {
			return fmt.Errorf("%s has a word that is longer than a line of %d octets", strings.ToLower(name), maxLine)
		}
	}
	b.WriteString("\r\n")
	return nil
}

// writeText writes the content of a message built from parts: text, HTML or both
// as alternatives (RFC 2046 section 5.1.4), quoted-printable so that no line is
// too long and no octet above 127.
func writeText(b *bytes.Buffer, in *api.Message) {
	if in.Text == "" || in.HTML == "" {
		kind, text := "plain", in.Text
		if in.HTML != "" {
			kind, text = "html", in.HTML
		}
		writePart(b, kind, text)
		return
	}
	boundary := strings.ToLower(rand.Text())
	fmt.Fprintf(b, "Content-Type: multipart/alternative; boundary=%s\r\n\r\n", boundary)
	for _, p := range [][2]string{{"plain", in.Text}, {"html", in.HTML}} {
		fmt.Fprintf(b, "--%s\r\n", boundary)
		writePart(b, p[0], p[1])
		b.WriteString("\r\n")
	}
	fmt.Fprintf(b, "--%s--\r\n", boundary)
}

func writePart(b *bytes.Buffer, kind, text string) {
	fmt.Fprintf(b, "Content-Type: text/%s; charset=utf-8\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n", kind)
	w := quotedprintable.NewWriter(b)
	// A bytes.Buffer does not fail.
	_, _ = w.Write([]byte(text))
	_ = w.Close()
	b.WriteString("\r\n")
}

// maxLine is how long a line may be that leaves: RFC 5322 section 2.1.1, and what the
// submission listener takes.
const maxLine = 998

// checkRaw refuses what the submission listener would refuse in a message whose lines
// end in CRLF.
func checkRaw(raw []byte) error {
	if i := bytes.IndexByte(raw, 0); i >= 0 {
		return fmt.Errorf("raw has a NUL octet at %d", i)
	}
	n := 0
	for line := range bytes.SplitSeq(raw, []byte("\r\n")) {
		if n++; len(line) > maxLine {
			return fmt.Errorf("line %d of raw is longer than %d octets: encode the part as quoted-printable or base64", n, maxLine)
		}
	}
	return nil
}

// crlf gives every line of a text the end that SMTP asks for.
func crlf(s string) []byte {
	s = strings.NewReplacer("\r\n", "\n", "\r", "\n").Replace(s)
	return []byte(strings.ReplaceAll(s, "\n", "\r\n"))
}
