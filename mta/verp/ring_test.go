// SPDX-License-Identifier: Apache-2.0

package verp

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
)

// rotated is a copy of a ring with a new key in front.
func rotated(t *testing.T, ring *Ring, random io.Reader) *Ring {
	t.Helper()
	next, err := ParseRing(ring.Text())
	if err == nil {
		err = next.Rotate(random, func([]byte) error { return nil })
	}
	if err != nil {
		t.Fatal(err)
	}
	return next
}

// TestRotate: a new key signs, the retired ones verify, as often as there are key ids.
func TestRotate(t *testing.T) {
	random := rand.NewChaCha8([32]byte{1})
	first := newRing(t, 1)
	token, link := first.Encode(Reference, 5, 6), first.EncodeUnsubscribe(&Subscription{Message: 5, Recipient: 6})
	second := rotated(t, first, random)
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
	if ids := loaded.IDs(); !slices.Equal(ids, []byte{2, 1}) {
		t.Errorf("key ids %v, want 2, 1", ids)
	}

	for range 254 {
		if err := loaded.Rotate(random, func([]byte) error { return nil }); err != nil {
			t.Fatal(err)
		}
	}
	if err := loaded.Rotate(random, func([]byte) error { return nil }); !errors.Is(err, ErrRing) {
		t.Errorf("a 257th key: %v, want ErrRing", err)
	}
	if s, err := loaded.DecodeUnsubscribe(link); err != nil || s.Message != 5 {
		t.Errorf("an unsubscribe link after 255 rotations: %v", err)
	}
	if _, err := Generate(strings.NewReader("short")); err == nil {
		t.Error("a key was made from five random bytes")
	}
}

// TestRotateUnsaved: no token is signed by a key that is not safe, and what was saved is
// what signs.
func TestRotateUnsaved(t *testing.T) {
	ring := newRing(t, 1)
	before := ring.Encode(ReturnPath, 1, 2)
	full := errors.New("disk full")
	if err := ring.Rotate(rand.NewChaCha8([32]byte{2}), func([]byte) error { return full }); !errors.Is(err, full) {
		t.Errorf("Rotate: %v, want %v", err, full)
	}
	if ring.Encode(ReturnPath, 1, 2) != before {
		t.Error("a key that was not saved signs")
	}
	if err := ring.Rotate(strings.NewReader("short"), func([]byte) error { return nil }); err == nil {
		t.Error("a key was made from five random bytes")
	}
	var saved []byte
	save := func(text []byte) error {
		if ring.Encode(ReturnPath, 1, 2) != before {
			t.Error("the new key signs before it is saved")
		}
		saved = text
		return nil
	}
	if err := ring.Rotate(rand.NewChaCha8([32]byte{2}), save); err != nil || !bytes.Equal(saved, ring.Text()) {
		t.Errorf("Rotate: %v; saved %d octets, the ring has %d", err, len(saved), len(ring.Text()))
	}
}

// TestRotateInUse: whoever signs and verifies meanwhile sees the old ring or the new one.
func TestRotateInUse(t *testing.T) {
	ring := newRing(t, 1)
	var users sync.WaitGroup
	done := make(chan struct{})
	for range 4 {
		users.Go(func() {
			for {
				if m, _, err := ring.Decode(ReturnPath, ring.Encode(ReturnPath, 7, 0)); err != nil || m != 7 {
					t.Errorf("Decode: %d, %v", m, err)
				}
				select {
				case <-done:
					return
				default:
				}
			}
		})
	}
	for i := range 50 {
		if err := ring.Rotate(rand.NewChaCha8([32]byte{byte(i)}), func([]byte) error { return nil }); err != nil {
			t.Error(err)
		}
	}
	close(done)
	users.Wait()
	if n := len(ring.IDs()); n != 51 {
		t.Errorf("%d keys, want 51", n)
	}
}
