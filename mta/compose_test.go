// SPDX-License-Identifier: Apache-2.0

package mta

import (
	"mime"
	"net/mail"
	"strings"
	"testing"

	"github.com/seguemta/segue/mta/api"
)

// A raw message over HTTP gets the line ends of SMTP, and is refused where the
// submission listener would refuse it.
func TestRawMessagesAreAsCleanAsSubmittedOnes(t *testing.T) {
	long := strings.Repeat("x", maxLine)
	for _, x := range []struct{ raw, want, fails string }{
		{raw: "A: b\r\n\r\nx\r\n", want: "A: b\r\n\r\nx\r\n"},
		{raw: "A: b\n\nx\n.\ny", want: "A: b\r\n\r\nx\r\n.\r\ny"},
		{raw: "A: b\r\rx\r.\r", want: "A: b\r\n\r\nx\r\n.\r\n"},
		{raw: "A: b\n\nx\r\r\n.\r\r\n", want: "A: b\r\n\r\nx\r\n\r\n.\r\n\r\n"},
		{raw: "A: b\n\n" + long + "\n" + long, want: "A: b\r\n\r\n" + long + "\r\n" + long},
		{raw: "A: b\n\n" + long + "x\n", fails: "line 3 of raw is longer than 998 octets"},
		{raw: "A: b\n\nx\n\x00.\n", fails: "raw has a NUL octet at 11"},
		{raw: "A: \x00\n\nx", fails: "raw has a NUL octet at 3"},
	} {
		got, err := compose(&api.Message{Raw: x.raw}, &mail.Address{})
		switch {
		case x.fails != "" && (err == nil || !strings.Contains(err.Error(), x.fails)):
			t.Errorf("%.40q: %v, wanted %s", x.raw, err, x.fails)
		case x.fails == "" && (err != nil || string(got) != x.want):
			t.Errorf("%.40q became %.60q, %v", x.raw, got, err)
		}
	}
	for _, in := range []api.Message{
		{Raw: "A: b\n\nx", Campaign: "c\r\nBcc: eve@x.test"}, {Text: "x", Subject: "s\nBcc: eve@x.test"}, {Text: "x", Segment: "\r"},
	} {
		if got, err := compose(&in, &mail.Address{}); err == nil {
			t.Errorf("%+v became %q", in, got)
		}
	}
}

// A long subject is folded as RFC 5322 section 2.1.1 and RFC 2047 section 2 ask: a line of
// over 998 octets is refused, or cut, on its way.
func TestLongHeadersOfBuiltMessagesAreFolded(t *testing.T) {
	for _, x := range []struct{ name, subject string }{
		{"Shop", strings.Repeat("Скидки ", 60)}, {"Shop", strings.Repeat("sale ", 300)}, {strings.Repeat("Магазин ", 30), "x"}, {"Shop", "two  blanks " + strings.Repeat("and more ", 20) + " "},
	} {
		text, err := compose(&api.Message{Subject: x.subject, Text: "x", To: []string{"ann@dest.example"}}, &mail.Address{Name: x.name, Address: "news@example.com"})
		if err != nil {
			t.Fatal(err)
		}
		header, _, _ := strings.Cut(string(text), "\r\n\r\n")
		for line := range strings.SplitSeq(header, "\r\n") {
			if len(line) > 78 || strings.TrimSpace(line) == "" {
				t.Errorf("a line of %d octets: %.60q", len(line), line)
			}
		}
		m, err := mail.ReadMessage(strings.NewReader(string(text)))
		if err != nil {
			t.Fatal(err)
		}
		subject, err := new(mime.WordDecoder).DecodeHeader(m.Header.Get("Subject"))
		if err != nil || strings.TrimSpace(subject) != strings.TrimSpace(x.subject) {
			t.Errorf("the subject became %q, %v", subject, err)
		}
		if from, err := m.Header.AddressList("From"); err != nil || from[0].Name != x.name {
			t.Errorf("the sender became %v, %v", from, err)
		}
	}
	if got, err := compose(&api.Message{Subject: strings.Repeat("x", maxLine), Text: "x"}, &mail.Address{}); err == nil {
		t.Errorf("a word that fits on no line became %.60q", got)
	}
}

// What is sent without SMTPUTF8 has a header in ASCII.
func TestDomainsOfBuiltMessagesAreASCII(t *testing.T) {
	w := newTown(t)
	w.zones.Replace(zone + "xn--bcher-kva.dest.example. 300 IN MX 10 mx.dest.example.\n")
	w.run()
	_, err := w.Methods().Submit(t.Context(), api.Message{From: "Shop <news@EXAMPLE.com>", To: []string{" info@Bücher.dest.example "}, Text: "x", Stream: "transactional"})
	if err != nil {
		t.Fatal(err)
	}
	header, _, _ := strings.Cut(string(w.arrived(1).Data), "\r\n\r\n")
	for _, want := range []string{"\r\nTo: <info@xn--bcher-kva.dest.example>\r\n", "\r\nFrom: \"Shop\" <news@example.com>\r\n"} {
		if !strings.Contains(header, want) {
			t.Errorf("%q is not in\n%s", want, header)
		}
	}
}
