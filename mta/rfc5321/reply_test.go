// SPDX-License-Identifier: Apache-2.0

package rfc5321

import (
	"errors"
	"io"
	"testing"
)

func TestReplyString(t *testing.T) {
	for want, r := range map[string]Reply{
		"250 2.0.0 queued as 7": {Code: 250, Enhanced: EnhancedCode{2, 0, 0}, Text: "queued as 7"},
		"354 go":                {Code: 354, Text: "go"},
		"421":                   {Code: 421},
	} {
		if r.String() != want {
			t.Errorf("%q, want %q", r, want)
		}
	}
	if !(Reply{Code: 550}).Permanent() || !(Reply{Code: 451}).Temporary() || (Reply{Code: 250}).Temporary() {
		t.Fatal("classes")
	}
}

func TestCutEnhanced(t *testing.T) {
	for in, want := range map[string]struct {
		code EnhancedCode
		text string
	}{
		"5.1.1 no such user": {EnhancedCode{5, 1, 1}, "no such user"},
		"4.7.28":             {EnhancedCode{4, 7, 28}, ""},
		"5.1 short":          {EnhancedCode{}, "5.1 short"},
		"3.1.1 class":        {EnhancedCode{}, "3.1.1 class"},
		"5.1.1.1 long":       {EnhancedCode{}, "5.1.1.1 long"},
		"5.1.1000 big":       {EnhancedCode{}, "5.1.1000 big"},
		"5.-1.1 sign":        {EnhancedCode{}, "5.-1.1 sign"},
		"":                   {EnhancedCode{}, ""},
	} {
		if code, text := CutEnhanced(in); code != want.code || text != want.text {
			t.Errorf("%q: %v %q", in, code, text)
		}
	}
}

func FuzzParseEnhanced(f *testing.F) {
	f.Add("5.1.1")
	f.Add("4.7.028")
	f.Fuzz(func(t *testing.T, s string) {
		code, ok := ParseEnhanced(s)
		if !ok {
			return
		}
		if back, ok := ParseEnhanced(code.String()); !ok || back != code {
			t.Fatalf("%q is %v, prints as %q", s, code, code)
		}
	})
}

func TestRefusal(t *testing.T) {
	var err error = &Refusal{Reply: Reply{Code: 452, Enhanced: EnhancedCode{4, 3, 1}, Text: "full"}, Err: io.ErrShortWrite}
	if err.Error() != "452 4.3.1 full (short write)" || !errors.Is(err, io.ErrShortWrite) {
		t.Fatal(err)
	}
	if got := Refuse(550, EnhancedCode{5, 7, 1}, "no").Error(); got != "550 5.7.1 no" {
		t.Fatal(got)
	}
}
