// SPDX-License-Identifier: Apache-2.0

package mta

import (
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
