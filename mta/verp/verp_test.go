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

func kinds() []Kind { return []Kind{ReturnPath, Reference, Unsubscribe} }

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
				if !errors.Is(err, ErrForged) && !errors.Is(err, ErrMalformed) && !errors.Is(err, ErrUnknownKey) {
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
	if _, _, err := ring.Decode(Unsubscribe, "u"+token[1:]); !errors.Is(err, ErrForged) {
		t.Errorf("a return path as unsubscribe token: %v, want ErrForged", err)
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

func TestRotate(t *testing.T) {
	random := rand.NewChaCha8([32]byte{1})
	first, err := Generate(random)
	if err != nil {
		t.Fatal(err)
	}
	token := first.Encode(Reference, 5, 6)
	second, err := first.Rotate(random)
	if err != nil {
		t.Fatal(err)
	}
	loaded, err := ParseRing(second.Text())
	if err != nil {
		t.Fatal(err)
	}
	if m, r, err := loaded.Decode(Reference, token); err != nil || m != 5 || r != 6 {
		t.Errorf("a retired key no longer verifies: %v", err)
	}
	if _, _, err := first.Decode(Reference, loaded.Encode(Reference, 5, 6)); !errors.Is(err, ErrUnknownKey) {
		t.Errorf("the new key does not sign: %v, want ErrUnknownKey", err)
	}
	if loaded.Encode(Reference, 1, 2) != second.Encode(Reference, 1, 2) {
		t.Error("a ring read back signs differently")
	}

	full := first
	for range 255 {
		if full, err = full.Rotate(random); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := full.Rotate(random); !errors.Is(err, ErrRing) {
		t.Errorf("a 257th key: %v, want ErrRing", err)
	}
	if _, err := Generate(strings.NewReader("short")); err == nil {
		t.Error("a key was made from five random bytes")
	}
}

func TestParseRingErrors(t *testing.T) {
	good := strings.Split(strings.TrimSpace(string(newRing(t, 1).Text())), "\n")[2]
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
	f.Add(strings.ToUpper(ring.Encode(Unsubscribe, 1<<63, 0)))
	f.Add("")
	f.Fuzz(func(t *testing.T, token string) {
		for _, k := range kinds() {
			m, r, err := ring.Decode(k, token)
			if err == nil && ring.Encode(k, m, r) != strings.ToLower(token) {
				t.Errorf("%q is accepted and is not what we make", token)
			}
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
