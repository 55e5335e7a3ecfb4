// SPDX-License-Identifier: Apache-2.0

package verp

import (
	"bytes"
	"encoding/base32"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"unicode"

	"pgregory.net/rapid"

	"github.com/seguemta/segue/mta/rfc5321"
)

func newRing(t testing.TB, seed byte) *Ring {
	t.Helper()
	r, err := Generate(rand.NewChaCha8([32]byte{seed}))
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func kinds() []Kind { return []Kind{ReturnPath, Reference} }

// TestRoundTrip: any numbers come back under any case folding, for their own kind only.
func TestRoundTrip(t *testing.T) {
	ring := newRing(t, 1)
	rapid.Check(t, func(t *rapid.T) {
		kind := rapid.SampledFrom(kinds()).Draw(t, "kind")
		message, recipient := rapid.Uint64().Draw(t, "message"), rapid.Uint32().Draw(t, "recipient")
		token := ring.Encode(kind, message, recipient)
		upper := rapid.SliceOfN(rapid.Bool(), Size, Size).Draw(t, "upper")
		folded := []byte(token)
		for i, up := range upper {
			if up {
				folded[i] = byte(unicode.ToUpper(rune(folded[i])))
			}
		}
		for _, k := range kinds() {
			m, r, err := ring.Decode(k, string(folded))
			if k != kind {
				if !errors.Is(err, ErrMalformed) {
					t.Fatalf("a %q token as %q: %v", kind, k, err)
				}
				continue
			}
			if err != nil || m != message || r != recipient {
				t.Fatalf("Decode(%s) = %d, %d, %v; want %d, %d", folded, m, r, err, message, recipient)
			}
		}
	})
}

// TestAltered changes each character to every other byte.
func TestAltered(t *testing.T) {
	ring := newRing(t, 1)
	token := ring.Encode(ReturnPath, 123456789, 7)
	for i := range len(token) {
		for c := range 256 {
			if unicode.ToLower(rune(c)) == rune(token[i]) {
				continue
			}
			changed := []byte(token)
			changed[i] = byte(c)
			for _, k := range kinds() {
				m, r, err := ring.Decode(k, string(changed))
				if err == nil || m != 0 || r != 0 {
					t.Fatalf("%q for %q at %d: accepted as %q: %d, %d", byte(c), token[i], i, k, m, r)
				}
				if !errors.Is(err, ErrForged) && !errors.Is(err, ErrMalformed) && !errors.Is(err, ErrUnknownKey) && !errors.Is(err, ErrVersion) {
					t.Fatalf("%q at %d: error of another kind: %v", byte(c), i, err)
				}
			}
		}
	}
}

// TestKindIsSigned: a token with its first letter changed is forged, not another kind.
func TestKindIsSigned(t *testing.T) {
	ring := newRing(t, 1)
	token := ring.Encode(ReturnPath, 1, 2)
	if _, _, err := ring.Decode(Reference, "r"+token[1:]); !errors.Is(err, ErrForged) {
		t.Errorf("a return path as reference: %v, want ErrForged", err)
	}
	long := ring.EncodeUnsubscribe(&Subscription{Message: 1, Recipient: 2})
	if _, err := ring.DecodeUnsubscribe("u" + token[1:] + long[len(token):]); !errors.Is(err, ErrForged) {
		t.Errorf("a return path, made longer, as unsubscribe token: %v, want ErrForged", err)
	}
}

func TestOtherRing(t *testing.T) {
	token := newRing(t, 1).Encode(ReturnPath, 1, 2)
	if _, _, err := newRing(t, 2).Decode(ReturnPath, token); !errors.Is(err, ErrForged) {
		t.Errorf("a token of another ring: %v, want ErrForged", err)
	}
}

// TestLocalPart: the token needs no quotes as a local part and fits.
func TestLocalPart(t *testing.T) {
	token := newRing(t, 1).Encode(ReturnPath, 1<<64-1, 1<<32-1)
	if len(token) > 40 {
		t.Errorf("%d octets", len(token))
	}
	a, err := rfc5321.ParseAddress(token + "@bounce.example.com")
	if err != nil || a.String() != token+"@bounce.example.com" {
		t.Errorf("as an address: %v, %v", a, err)
	}
}

// TestUnsubscribe: whatever it names comes back under any case folding, fits a local part
// and is of no other kind.
func TestUnsubscribe(t *testing.T) {
	ring := newRing(t, 1)
	rapid.Check(t, func(t *rapid.T) {
		want := Subscription{
			Scope: Tag(rapid.String().Draw(t, "scope")), Message: rapid.Uint64().Draw(t, "message"), Recipient: rapid.Uint32().Draw(t, "recipient"),
		}
		copy(want.Address[:], rapid.SliceOfN(rapid.Byte(), AddressSize, AddressSize).Draw(t, "address"))
		token := ring.EncodeUnsubscribe(&want)
		for _, text := range []string{token, strings.ToUpper(token)} {
			if got, err := ring.DecodeUnsubscribe(text); err != nil || got != want {
				t.Fatalf("%s: %+v, %v; want %+v", text, got, err, want)
			}
		}
		if a, err := rfc5321.ParseAddress(token + "@bounce.example.com"); err != nil || a.String() != token+"@bounce.example.com" {
			t.Fatalf("as an address: %v, %v", a, err)
		}
		for _, k := range kinds() {
			if _, _, err := ring.Decode(k, token); !errors.Is(err, ErrMalformed) {
				t.Fatalf("an unsubscribe token as %q: %v", k, err)
			}
		}
	})
}

// TestUnsubscribeAltered changes each character to every other byte.
func TestUnsubscribeAltered(t *testing.T) {
	ring := newRing(t, 1)
	token := ring.EncodeUnsubscribe(&Subscription{Address: [AddressSize]byte{1, 2, 3}, Scope: Tag("stream:marketing"), Message: 9, Recipient: 1})
	for i := range len(token) {
		for c := range 256 {
			if unicode.ToLower(rune(c)) == rune(token[i]) {
				continue
			}
			changed := []byte(token)
			changed[i] = byte(c)
			if s, err := ring.DecodeUnsubscribe(string(changed)); err == nil || s != (Subscription{}) {
				t.Fatalf("%q for %q at %d: %+v, %v", byte(c), token[i], i, s, err)
			}
		}
	}
}

// TestLaterVersion: what a later release makes is told apart from what was forged and
// from other mail, also where it is longer.
func TestLaterVersion(t *testing.T) {
	ring := newRing(t, 1)
	token := ring.Encode(ReturnPath, 1, 2)
	next := alphabet[strings.IndexByte(alphabet, token[Size-1])|1]
	for text, want := range map[string]error{
		token[:Size-1] + string(next): ErrVersion,
		token + "aaab":                ErrVersion,
		token + "aaai":                ErrMalformed, // version 0 has 40 octets
		token[:Size-1]:                ErrMalformed,
		"bounces-of-the-weekly-newsletter-12345678": ErrMalformed,
		"z" + token[1:]: ErrMalformed,
	} {
		if _, _, err := ring.Decode(ReturnPath, text); !errors.Is(err, want) {
			t.Errorf("%s: %v, want %v", text, err, want)
		}
	}
}

// TestStable: a token that an earlier release made, under a key that is still held, means
// what it meant. Return paths are out for 60 days, unsubscribe links for good.
func TestStable(t *testing.T) {
	ring, err := ParseRing([]byte("7 AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=\n"))
	if err != nil {
		t.Fatal(err)
	}
	const path = "ba4aaaaaaaaabezyaaaaagbu5yepir5brqqzuxkq"
	if m, n, err := ring.Decode(ReturnPath, path); err != nil || m != 4711 || n != 3 {
		t.Errorf("%d %d %v; now %s", m, n, err, ring.Encode(ReturnPath, 4711, 3))
	}
	const link = "ua4aqeayeaudaocajbifqtoivpuaaaaaaaaabezyaaaaagfut2hyvjwr3vypjsra"
	want := Subscription{Address: [AddressSize]byte{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11}, Scope: Tag("stream:marketing"), Message: 4711, Recipient: 3}
	if s, err := ring.DecodeUnsubscribe(link); err != nil || s != want {
		t.Errorf("%+v %v; now %s", s, err, ring.EncodeUnsubscribe(&want))
	}
}

func TestParseRingErrors(t *testing.T) {
	good := strings.Split(strings.TrimSpace(string(newRing(t, 1).Text())), "\n")[3]
	for _, tt := range []struct{ text, want string }{
		{"", "bad key ring: it holds no key; move the file away to have a new one made"},
		{"# nothing\n\n", "bad key ring: it holds no key; move the file away to have a new one made"},
		{"1\n", "line 1: bad key ring: 1 words, a key has an id and a secret"},
		{"\n256 x\n", "line 2: bad key ring: the id is not a number from 0 to 255"},
		{"1 AAAA\n", "line 1: bad key ring: the secret of key 1 is not 32 octets in base64"},
		{good + "\n" + good, "line 2: bad key ring: key id 1 occurs twice"},
	} {
		_, err := ParseRing([]byte(tt.text))
		if !errors.Is(err, ErrRing) || err.Error() != tt.want {
			t.Errorf("ParseRing(%q): %v\nwant %s", tt.text, err, tt.want)
		}
	}
}

// TestHidden: a ring that reaches a log shows no key.
func TestHidden(t *testing.T) {
	ring := newRing(t, 1)
	secret := strings.Fields(string(ring.Text()))
	for _, s := range []string{fmt.Sprint(ring), fmt.Sprintf("%v %+v %#v", ring, ring, ring)} {
		if strings.Contains(s, secret[len(secret)-1]) || strings.Contains(s, "0x") || len(s) > 100 {
			t.Errorf("shows %s", s)
		}
	}
}

// TestBase32 compares with the standard library.
func TestBase32(t *testing.T) {
	std := base32.NewEncoding(alphabet).WithPadding(base32.NoPadding)
	rapid.Check(t, func(t *rapid.T) {
		raw := rapid.SliceOfN(rapid.Byte(), 0, 40).Draw(t, "raw")
		text := string(appendBase32(nil, raw))
		if text != std.EncodeToString(raw) {
			t.Fatalf("%x is %s, not %s", raw, std.EncodeToString(raw), text)
		}
		back := make([]byte, len(raw))
		if !decodeBase32(back, text) || !bytes.Equal(back, raw) {
			t.Fatalf("%s came back as %x, not %x", text, back, raw)
		}
	})
}

func FuzzDecode(f *testing.F) {
	ring := newRing(f, 1)
	f.Add(ring.Encode(ReturnPath, 1, 2))
	f.Add(strings.ToUpper(ring.EncodeUnsubscribe(&Subscription{Message: 1 << 63})))
	f.Add("")
	f.Fuzz(func(t *testing.T, token string) {
		for _, k := range kinds() {
			m, r, err := ring.Decode(k, token)
			if err == nil && ring.Encode(k, m, r) != strings.ToLower(token) {
				t.Errorf("%q is accepted and is not what we make", token)
			}
		}
		if s, err := ring.DecodeUnsubscribe(token); err == nil && ring.EncodeUnsubscribe(&s) != strings.ToLower(token) {
			t.Errorf("%q is accepted and is not what we make", token)
		}
	})
}

func FuzzParseRing(f *testing.F) {
	f.Add(newRing(f, 1).Text())
	f.Add([]byte("# x\n1 y z\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		ring, err := ParseRing(text)
		if err != nil {
			return
		}
		again, err := ParseRing(ring.Text())
		if err != nil || !bytes.Equal(again.Text(), ring.Text()) {
			t.Errorf("a ring does not survive its own text: %v", err)
		}
	})
}

func BenchmarkEncode(b *testing.B) {
	ring := newRing(b, 1)
	b.ReportAllocs()
	for b.Loop() {
		ring.Encode(ReturnPath, 1, 2)
	}
}

func BenchmarkDecode(b *testing.B) {
	ring := newRing(b, 1)
	token := ring.Encode(ReturnPath, 1, 2)
	b.ReportAllocs()
	for b.Loop() {
		if _, _, err := ring.Decode(ReturnPath, token); err != nil {
			b.Fatal(err)
		}
	}
}
