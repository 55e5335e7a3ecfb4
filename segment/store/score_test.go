// SPDX-License-Identifier: Apache-2.0

package store

import (
	"bytes"
	"errors"
	"reflect"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
)

func TestBehaviourIsStored(t *testing.T) {
	s := open(t, vfs.NewMem())
	defer s.Close()
	want := Behaviour{Model: [16]byte{1, 2}, State: []byte("state")}
	b := s.Batch()
	b.Behaviour(7, &want)
	b.Behaviour(8, &Behaviour{})
	b.DeleteBehaviour(8)
	if err := b.Commit(); err != nil {
		t.Fatal(err)
	}
	if got, ok, err := s.Behaviour(7); err != nil || !ok || !reflect.DeepEqual(got, want) {
		t.Errorf("%+v, %v, %v", got, ok, err)
	}
	if got, ok, err := s.Behaviour(8); err != nil || ok {
		t.Errorf("a deleted one: %+v, %v", got, err)
	}
	if _, err := DecodeBehaviour([]byte{layout, 1}); !errors.Is(err, ErrCorrupt) {
		t.Error(err)
	}
}

func TestHeldHitsAreFoundWhenTheyAreDue(t *testing.T) {
	s := open(t, vfs.NewMem())
	defer s.Close()
	key := func(contact uint64, message byte) HeldKey { return HeldKey{contact, [16]byte{message}} }
	b := s.Batch()
	b.Held(key(7, 1), &Held{Due: 90, Hits: []byte("one")})
	b.Held(key(7, 2), &Held{Due: 90, Hits: []byte("two")})
	b.Held(key(8, 1), &Held{Due: 90, Hits: []byte("other")})
	b.DeleteHeld(key(7, 2))
	b.Held(key(7, 3), &Held{Due: 90, Hits: []byte("three")})
	for second, k := range map[uint32]HeldKey{90: key(7, 1), 100: key(8, 1), 101: key(7, 3), 1<<32 - 1: key(9, 9)} {
		b.HeldDue(HeldDue{second, k})
	}
	b.HeldDue(HeldDue{95, key(7, 9)})
	b.DeleteHeldDue(HeldDue{95, key(7, 9)})
	b.Gateway("corp.example", []byte("all"))
	if err := b.Commit(); err != nil {
		t.Fatal(err)
	}
	if h, ok, err := s.Held(key(7, 1)); err != nil || !ok || h.Due != 90 || string(h.Hits) != "one" {
		t.Errorf("%+v, %v", h, err)
	}
	if _, ok, err := s.Held(key(7, 2)); err != nil || ok {
		t.Errorf("what is deleted is held: %v", err)
	}
	var of []HeldKey
	if err := s.HeldOf(7, func(k HeldKey) error { of = append(of, k); return nil }); err != nil || !reflect.DeepEqual(of, []HeldKey{key(7, 1), key(7, 3)}) {
		t.Errorf("%v, %v", of, err)
	}
	for _, x := range []struct {
		from, through uint32
		want          []uint32
	}{{0, 89, nil}, {0, 100, []uint32{90, 100}}, {91, 101, []uint32{100, 101}}, {0, 1<<32 - 1, []uint32{90, 100, 101, 1<<32 - 1}}} {
		var got []uint32
		if err := s.HeldDue(x.from, x.through, func(d HeldDue) error { got = append(got, d.Second); return nil }); err != nil || !reflect.DeepEqual(got, x.want) {
			t.Errorf("%d to %d: %v, %v", x.from, x.through, got, err)
		}
	}
	stop := errors.New("stop")
	if err := s.HeldDue(0, 100, func(HeldDue) error { return stop }); !errors.Is(err, stop) {
		t.Error(err)
	}
	if v, err := s.Gateway("corp.example"); err != nil || !bytes.Equal(v, []byte("all")) {
		t.Errorf("%q, %v", v, err)
	}
	if v, err := s.Gateway("other.example"); err != nil || v != nil {
		t.Errorf("%q, %v", v, err)
	}
}

func FuzzScore(f *testing.F) {
	x := Behaviour{Model: [16]byte{1, 2}, State: []byte("state")}
	f.Add(x.Append(nil))
	h := Held{Due: 90, Hits: []byte("hits")}
	f.Add(h.Append(nil))
	r := Ranked{Rank{50, 20, 1, 3.5}, []uint64{1, 300}}
	f.Add(r.Append(nil))
	f.Fuzz(func(t *testing.T, value []byte) {
		if x, err := DecodeBehaviour(value); err == nil {
			if again, err := DecodeBehaviour(x.Append(nil)); err != nil || again.Model != x.Model || !bytes.Equal(again.State, x.State) {
				t.Fatalf("%+v became %+v: %v", x, again, err)
			}
		}
		if x, err := DecodeRanked(value); err == nil {
			if again, err := DecodeRanked(x.Append(nil)); err != nil || !again.Equal(&x) {
				t.Fatalf("%+v became %+v: %v", x, again, err)
			}
		}
		if h, err := DecodeHeld(value); err == nil {
			if again, err := DecodeHeld(h.Append(nil)); err != nil || again.Due != h.Due || !bytes.Equal(again.Hits, h.Hits) {
				t.Fatalf("%+v became %+v: %v", h, again, err)
			}
		}
	})
}
