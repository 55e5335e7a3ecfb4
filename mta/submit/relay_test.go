// SPDX-License-Identifier: Apache-2.0

package submit

import (
	"encoding/base64"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/seguemta/segue/mta/smtpserver"
)

// waysIn are what people try who look for an open relay. $AUTH is a wrong login.
var waysIn = map[string]string{
	"plainly":                  "EHLO x\nMAIL FROM:<a@evil.example>\nRCPT TO:<v@victim.example>\nDATA\n",
	"as one of ours":           "EHLO x\nMAIL FROM:<a@example.com>\nRCPT TO:<v@victim.example>\nDATA\n",
	"without EHLO":             "MAIL FROM:<a@example.com>\nRCPT TO:<v@victim.example>\nDATA\n",
	"with HELO":                "HELO mta1.example.net\nMAIL FROM:<a@example.com>\nRCPT TO:<v@victim.example>\nDATA\n",
	"null sender":              "EHLO x\nMAIL FROM:<>\nRCPT TO:<v@victim.example>\nDATA\n",
	"to one of ours":           "EHLO x\nMAIL FROM:<a@evil.example>\nRCPT TO:<a@example.com>\nDATA\n",
	"percent hack":             "EHLO x\nMAIL FROM:<a@example.com>\nRCPT TO:<v%victim.example@example.com>\nDATA\n",
	"percent hack by literal":  "EHLO x\nMAIL FROM:<a@example.com>\nRCPT TO:<v%victim.example@[127.0.0.1]>\nDATA\n",
	"bang path":                "EHLO x\nMAIL FROM:<a@example.com>\nRCPT TO:<victim.example!v@example.com>\nDATA\n",
	"source route":             "EHLO x\nMAIL FROM:<@example.com:a@evil.example>\nRCPT TO:<@example.com,@mta1.example.net:v@victim.example>\nDATA\n",
	"quoted address":           "EHLO x\nMAIL FROM:<\"a@example.com\"@evil.example>\nRCPT TO:<\"v@victim.example\"@example.com>\nDATA\n",
	"quoted address, no host":  "EHLO x\nMAIL FROM:<a@example.com>\nRCPT TO:<\"v@victim.example\">\nDATA\n",
	"two at signs":             "EHLO x\nMAIL FROM:<a@example.com>\nRCPT TO:<v@victim.example@example.com>\nDATA\n",
	"sender is the server":     "EHLO x\nMAIL FROM:<postmaster@mta1.example.net>\nRCPT TO:<v@victim.example>\nDATA\n",
	"sender at loopback":       "EHLO x\nMAIL FROM:<a@[127.0.0.1]>\nRCPT TO:<v@victim.example>\nDATA\n",
	"sender at localhost":      "EHLO localhost\nMAIL FROM:<a@localhost>\nRCPT TO:<v@victim.example>\nDATA\n",
	"EHLO as a trusted one":    "EHLO [127.0.0.1]\nMAIL FROM:<a@example.com>\nRCPT TO:<v@victim.example>\nDATA\n",
	"AUTH parameter of MAIL":   "EHLO x\nMAIL FROM:<a@example.com> AUTH=a@example.com\nRCPT TO:<v@victim.example>\nDATA\n",
	"AUTH=<>":                  "EHLO x\nMAIL FROM:<a@example.com> AUTH=<>\nRCPT TO:<v@victim.example>\nDATA\n",
	"after a failed AUTH":      "EHLO x\nAUTH PLAIN $AUTH\nMAIL FROM:<a@example.com>\nRCPT TO:<v@victim.example>\nDATA\n",
	"after a cancelled AUTH":   "EHLO x\nAUTH LOGIN\n*\nMAIL FROM:<a@example.com>\nRCPT TO:<v@victim.example>\nDATA\n",
	"after an unknown AUTH":    "EHLO x\nAUTH EXTERNAL =\nAUTH ANONYMOUS\nMAIL FROM:<a@example.com>\nRCPT TO:<v@victim.example>\nDATA\n",
	"empty password":           "EHLO x\nAUTH PLAIN AG5ldAA=\nMAIL FROM:<a@net.example>\nRCPT TO:<v@victim.example>\nDATA\n",
	"between two failed AUTHs": "EHLO x\nAUTH PLAIN $AUTH\nMAIL FROM:<a@example.com>\nAUTH PLAIN $AUTH\nRCPT TO:<v@victim.example>\nDATA\n",
	"after RSET":               "EHLO x\nMAIL FROM:<a@example.com>\nRSET\nRCPT TO:<v@victim.example>\nDATA\n",
	"RCPT without MAIL":        "EHLO x\nRCPT TO:<v@victim.example>\nDATA\n",
	"pipelined":                "EHLO x\nraw \"MAIL FROM:<a@example.com>\\r\\nRCPT TO:<v@victim.example>\\r\\nDATA\\r\\nx\\r\\n.\\r\\n\"\n< 5\n",
	"pipelined before EHLO":    "raw \"EHLO x\\r\\nMAIL FROM:<a@example.com>\\r\\nRCPT TO:<v@victim.example>\\r\\nDATA\\r\\n\"\n< 4\n",
	"BDAT":                     "EHLO x\nraw \"MAIL FROM:<a@example.com>\\r\\nRCPT TO:<v@victim.example>\\r\\nBDAT 3 LAST\\r\\nxyz\"\n< 3\n",
	"SEND SOML SAML":           "EHLO x\nSEND FROM:<a@example.com>\nSOML FROM:<a@example.com>\nSAML FROM:<a@example.com>\nRCPT TO:<v@victim.example>\nDATA\n",
	"VRFY and EXPN":            "EHLO x\nVRFY v@victim.example\nEXPN staff\nRCPT TO:<v@victim.example>\nDATA\n",
	"TURN and ETRN":            "EHLO x\nTURN\nETRN victim.example\nMAIL FROM:<a@example.com>\nRCPT TO:<v@victim.example>\nDATA\n",
	"XCLIENT":                  "EHLO x\nXCLIENT ADDR=127.0.0.1 LOGIN=shop\nMAIL FROM:<a@example.com>\nRCPT TO:<v@victim.example>\nDATA\n",
	"PROXY":                    "PROXY TCP4 127.0.0.1 127.0.0.1 1 25\nEHLO x\nMAIL FROM:<a@example.com>\nRCPT TO:<v@victim.example>\nDATA\n",
	"XFORWARD":                 "EHLO x\nXFORWARD ADDR=127.0.0.1\nMAIL FROM:<a@example.com>\nRCPT TO:<v@victim.example>\nDATA\n",
	"STARTTLS, then plainly":   "EHLO x\nSTARTTLS\nhandshake\nEHLO x\nMAIL FROM:<a@example.com>\nRCPT TO:<v@victim.example>\nDATA\n",
	"STARTTLS with a rider":    "EHLO x\nraw \"STARTTLS\\r\\nMAIL FROM:<a@example.com>\\r\\n\"\n<\nhandshake\nEHLO x\nRCPT TO:<v@victim.example>\nDATA\n",
	"login of a trusted name":  "EHLO x\nAUTH PLAIN " + "AG5ldABuZXQ=" + "\nMAIL FROM:<a@net.example>\nRCPT TO:<v@victim.example>\nDATA\n",
	"parameter injection":      "EHLO x\nMAIL FROM:<a@example.com>\nRCPT TO:<\"v> ORCPT=rfc822;x <w\"@victim.example>\nDATA\n",
	"command in an address":    "EHLO x\nraw \"MAIL FROM:<\\\"a\\r\\nRCPT TO:<v@victim.example>\\r\\nDATA\\r\\n\\\"@example.com>\\r\\n\"\n< 4\n",
}

func TestNoOpenRelay(t *testing.T) {
	wrong := base64.StdEncoding.EncodeToString([]byte("\x00shop\x00guess"))
	trust := []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("2001:db8:1::/48")}
	for _, mode := range []smtpserver.TLSMode{"none", "starttls", "implicit"} {
		for name, script := range waysIn {
			synctest.Test(t, func(t *testing.T) {
				s := open(t, Options{TLS: mode, Trust: trust})
				if mode == "implicit" {
					script = "handshake\n<\n" + script
				} else {
					script = "<\n" + script
				}
				script = strings.ReplaceAll(script, "$AUTH", wrong) + "> Subject: relayed\n>\n> x\n> .\n<\nQUIT\n"
				out := s.talk("203.0.113.66", script)
				s.close()
				if s.ledger.n != 0 || strings.Contains(out, "354 ") || strings.Contains(out, "queued") || strings.Contains(out, "recipient ok") {
					t.Errorf("%s (%s) got in:\n%s%s", name, mode, out, s.ledger)
				}
			})
		}
	}
}

// TestRelayTestCanFail plays the same scripts from a trusted address: those that
// are proper submissions pass, or the test above shows nothing.
func TestRelayTestCanFail(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := open(t, Options{Trust: []netip.Prefix{netip.MustParsePrefix("203.0.113.0/24")}})
		for _, name := range []string{"as one of ours", "null sender", "pipelined", "BDAT", "percent hack", "AUTH parameter of MAIL"} {
			before := s.ledger.n
			s.talk("203.0.113.66", "<\n"+waysIn[name]+"> x\n> .\n<\n")
			if s.ledger.n != before+1 {
				t.Errorf("%s did not get in", name)
			}
		}
		s.close()
	})
}

func TestTrustIsByAddressOnly(t *testing.T) {
	s, err := New(Options{
		Hostname: "x.example", Accounts: accounts(t), Admit: (&ledger{}).admit,
		Trust: []netip.Prefix{
			netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("::ffff:192.0.2.0/120"), netip.MustParsePrefix("2001:db8:1::/48"),
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	for addr, want := range map[string]bool{
		"127.0.0.1": true, "127.255.255.254": true, "192.0.2.9": true, "2001:db8:1:ffff::1": true,
		"128.0.0.1": false, "192.0.3.1": false, "2001:db8:2::1": false, "::1": false,
		"::7f00:1": false, "64:ff9b::7f00:1": false, "2002:7f00:1::": false, "0.0.0.0": false, "::": false,
	} {
		if _, ok := s.trusted(netip.MustParseAddr(addr)); ok != want {
			t.Errorf("%s: trusted %v, want %v", addr, ok, want)
		}
	}
	if _, ok := s.trusted(netip.Addr{}); ok {
		t.Error("a client without an address is trusted")
	}
}
