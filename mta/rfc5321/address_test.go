// SPDX-License-Identifier: Apache-2.0

package rfc5321

import (
	"errors"
	"strings"
	"testing"
	"unicode/utf8"
)

func TestParseAddressAcceptsAndPrints(t *testing.T) {
	for in, want := range map[string]string{
		"a@example.com":                     "a@example.com",
		"A.b+c@EXAMPLE.Com":                 "A.b+c@example.com",
		"!#$%&'*+-/=?^_`{|}~@x.test":        "!#$%&'*+-/=?^_`{|}~@x.test",
		`"a b"@x.test`:                      `"a b"@x.test`,
		`"ab"@x.test`:                       "ab@x.test",
		`"a\b"@x.test`:                      "ab@x.test",
		`"a\"b\\c"@x.test`:                  `"a\"b\\c"@x.test`,
		`"a@b"@x.test`:                      `"a@b"@x.test`,
		`"x> NOTIFY=NEVER <y"@z.test`:       `"x> NOTIFY=NEVER <y"@z.test`,
		`".a"@x.test`:                       `".a"@x.test`,
		"josé@bücher.example":               "josé@xn--bcher-kva.example",
		"a@BÜCHER.example":                  "a@xn--bcher-kva.example",
		"a%b@x.test":                        "a%b@x.test",
		"a@sub_domain.x.test":               "a@sub_domain.x.test",
		strings.Repeat("a", 64) + "@x.test": strings.Repeat("a", 64) + "@x.test",
	} {
		a, err := ParseAddress(in)
		if err != nil {
			t.Errorf("%q: %v", in, err)
			continue
		}
		if a.String() != want {
			t.Errorf("%q prints as %q, want %q", in, a, want)
		}
	}
}

func TestParseAddressRefuses(t *testing.T) {
	for _, in := range []string{
		"", "@", "a", "a@", "@x.test", "a@b@x.test", ".a@x.test", "a.@x.test", "a..b@x.test",
		"a b@x.test", "a,b@x.test", "a<b@x.test", "a>b@x.test", "a:b@x.test", `a"b@x.test`, `a\b@x.test`,
		"a\r@x.test", "a\n@x.test", "a\x00@x.test", "a\x7f@x.test", "a\t@x.test",
		"\"a\r\nRCPT TO:<b>\"@x.test", "\"a\\\r\"@x.test", "\"a\x00\"@x.test", "\"\t\"@x.test",
		`""@x.test`, `"@x.test`, `"a@x.test`, `"a"b"@x.test`, `"a\"@x.test`, `x."a"@x.test`,
		"a@x..test", "a@.x.test", "a@x.test.", "a@-x.test", "a@x-.test", "a@x test", "a@x>test", "a@x\r.test",
		"a@[192.0.2.1]", "a@[IPv6:2001:db8::1]", "a@192.0.2.1", "a@127.1", "a@2130706433",
		"\xff@x.test", "a\xc3@x.test", "a\u0085@x.test", "a\ufffd@x.test", "a\u2028@x.test", "a\u202e@x.test",
		"a@\xff.test", "a@x\u2028.test",
		"@a.test,@b.test:c@d.test", "@a.test:c@d.test",
		strings.Repeat("a", 65) + "@x.test",
		"a@" + strings.Repeat("b", 64) + ".test",
		"a@" + strings.Repeat("b.", 130) + "test",
	} {
		if a, err := ParseAddress(in); !errors.Is(err, ErrAddress) {
			t.Errorf("%q was read as %+v (%v)", in, a, err)
		}
	}
}

func TestKeyFoldsCaseOnly(t *testing.T) {
	a, err := ParseAddress("John.Doe+News@Example.COM")
	if err != nil {
		t.Fatal(err)
	}
	if got := a.Key(); got != "john.doe+news@example.com" {
		t.Fatal(got)
	}
	if a.NeedsUTF8() || !(Address{Local: "é", Domain: "x.test"}).NeedsUTF8() {
		t.Fatal("NeedsUTF8")
	}
	if !(Address{}).IsZero() || (Address{}).String() != "" {
		t.Fatal("zero address")
	}
}

func TestCutPath(t *testing.T) {
	for in, want := range map[string][2]string{
		"<>":                                   {"", ""},
		"<> SIZE=1":                            {"", " SIZE=1"},
		"<a@x.test>":                           {"a@x.test", ""},
		"<a@x.test> BODY=8BITMIME":             {"a@x.test", " BODY=8BITMIME"},
		`<"x> NOTIFY=NEVER <y"@z.test> SIZE=2`: {`"x> NOTIFY=NEVER <y"@z.test`, " SIZE=2"},
		`<"a\"> <b"@z.test>`:                   {`"a\"> <b"@z.test`, ""},
	} {
		a, rest, err := CutPath(in)
		if err != nil || a.String() != want[0] || rest != want[1] {
			t.Errorf("%q: %q, rest %q, %v", in, a, rest, err)
		}
	}
	for _, in := range []string{
		"", "a@x.test", "<a@x.test", "<", `<"`, `<"\`, `<"a`, "< >", "<a@x.test>b", "<a@x.test>\tSIZE=1", "<<a@x.test>>",
		"<@a.test:b@x.test>", "<@a.test,@b.test:b@x.test>", "<a@x.test><b@x.test>", "<a@b@x.test>", "<postmaster>",
	} {
		if a, _, err := CutPath(in); !errors.Is(err, ErrAddress) {
			t.Errorf("%q was read as %+v (%v)", in, a, err)
		}
	}
}

// checkPrinted holds what the rest of the engine relies on: an Address prints
// as one clean token that reads back as itself.
func checkPrinted(t *testing.T, a Address) {
	t.Helper()
	s := a.String()
	for i := range len(s) {
		if s[i] < 0x20 || s[i] == 0x7f {
			t.Fatalf("%q prints a control byte", s)
		}
	}
	if !utf8.ValidString(s) || len(s) > MaxAddress {
		t.Fatalf("%q is not clean", s)
	}
	b, err := ParseAddress(s)
	if err != nil || b != a {
		t.Fatalf("%+v prints as %q, which reads as %+v (%v)", a, s, b, err)
	}
	p, rest, err := CutPath("<" + s + "> SIZE=1")
	if err != nil || p != a || rest != " SIZE=1" {
		t.Fatalf("%q in a path reads as %+v, rest %q (%v)", s, p, rest, err)
	}
}

func FuzzParseAddress(f *testing.F) {
	for _, s := range []string{
		"a@b.test", `"a b"@x.test`, `"a\"b"@x.test`, "josé@bücher.example", `"x> NOTIFY=NEVER <y"@z.test`,
		"a@xn--bcher-kva.example", "\u00adx@x.test", "a@x\u3002test", "a@1.2.3.4", "\"\r\n\"@x.test",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		a, err := ParseAddress(s)
		if err != nil {
			if !errors.Is(err, ErrAddress) {
				t.Fatal(err)
			}
			return
		}
		checkPrinted(t, a)
	})
}

func FuzzCutPath(f *testing.F) {
	f.Add("<a@b.test> SIZE=1")
	f.Add(`<"a> <b"@x.test>`)
	f.Add("<>")
	f.Fuzz(func(t *testing.T, s string) {
		a, rest, err := CutPath(s)
		if err != nil {
			return
		}
		if rest != "" && rest[0] != ' ' {
			t.Fatalf("rest %q", rest)
		}
		if !a.IsZero() {
			checkPrinted(t, a)
		}
	})
}
