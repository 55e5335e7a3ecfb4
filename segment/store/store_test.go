// SPDX-License-Identifier: Apache-2.0

package store

import (
	"bytes"
	"errors"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"pgregory.net/rapid"
)

func secret(c string) []byte { return []byte(strings.Repeat(c, 32)) }

func open(t *testing.T, fs vfs.FS) *Store {
	t.Helper()
	s, err := Open(Options{Dir: "contacts", FS: fs, Secret: secret("k")})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func genTime(t *rapid.T) time.Time {
	sec := rapid.Int64Range(-1<<33, 1<<33).Draw(t, "time")
	if sec == 0 {
		return time.Time{}
	}
	return time.Unix(sec, 0).UTC()
}

func genAttributes(t *rapid.T) []byte {
	return append([]byte(nil), rapid.SliceOfN(rapid.Byte(), 0, 20).Draw(t, "attributes")...)
}

func TestRecordsRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text := rapid.String()
		c := Contact{
			Address: text.Draw(t, "address"), UserID: text.Draw(t, "user"), Account: rapid.Uint64().Draw(t, "account"),
			Batch: text.Draw(t, "batch"), Zone: text.Draw(t, "zone"),
			Created: genTime(t), Consent: genTime(t), Attributes: genAttributes(t),
		}
		if got, err := DecodeContact(c.Append(nil)); err != nil || !reflect.DeepEqual(got, c) {
			t.Fatalf("contact %+v became %+v, %v", c, got, err)
		}
		a := Account{Name: text.Draw(t, "name"), Domain: text.Draw(t, "domain"), Attributes: genAttributes(t)}
		if got, err := DecodeAccount(a.Append(nil)); err != nil || !reflect.DeepEqual(got, a) {
			t.Fatalf("account %+v became %+v, %v", a, got, err)
		}
		n := rapid.Uint32()
		s := State{
			n.Draw(t, "1"), n.Draw(t, "2"), n.Draw(t, "3"), n.Draw(t, "4"),
			n.Draw(t, "5"), n.Draw(t, "6"), n.Draw(t, "7"), n.Draw(t, "8"),
		}
		if got, err := DecodeState(s.Append(nil)); err != nil || got != s {
			t.Fatalf("state %+v became %+v, %v", s, got, err)
		}
		x := Suppression{
			Hash: HashAddress(secret("k"), c.Address), Scope: "stream:" + c.Zone, Address: c.Address, Reason: c.UserID,
			Source: c.Batch, Evidence: a.Name, Created: genTime(t), Expires: genTime(t),
		}
		if got, err := decodeSuppression(keySuppression(x.Hash, x.Scope), x.append(nil)); err != nil || got != x {
			t.Fatalf("suppression %+v became %+v, %v", x, got, err)
		}
		f := Flip{
			Time: genTime(t), Contact: c.Account, Address: c.Address, Kind: "tier",
			Scope: x.Scope, From: a.Name, To: a.Domain, Cause: c.Batch,
		}
		if got, err := decodeFlip(f.append(nil)); err != nil || got != f {
			t.Fatalf("flip %+v became %+v, %v", f, got, err)
		}
		p := Progress{
			Row: c.Account, Sum: 1, Done: s.Sends%2 == 0, Created: 2, Updated: 3, Same: 4, Rejected: 5, Moved: 6, At: genTime(t),
		}
		if got, err := decodeProgress(p.append(nil)); err != nil || got != p {
			t.Fatalf("progress %+v became %+v, %v", p, got, err)
		}
		cur := Cursor{Epoch: c.Account, Sequence: 7, Time: genTime(t)}
		if got, err := decodeCursor(cur.append(nil)); err != nil || got != cur {
			t.Fatalf("cursor %+v became %+v, %v", cur, got, err)
		}
	})
}

func TestWhatIsWrittenIsReadAfterReopen(t *testing.T) {
	fs := vfs.NewMem()
	s := open(t, fs)
	epoch := s.Epoch()
	h := HashAddress(secret("k"), "a@example.com")
	b := s.Batch()
	b.Contact(7, &Contact{Address: "a@example.com", Account: 3})
	b.Account(3, &Account{Name: "Acme"})
	b.State(7, &State{Sends: 2})
	b.ByAddress("a@example.com", 7)
	b.ByUser("u1", 7)
	b.ByUser("u2", 7)
	b.DeleteUser("u2")
	b.AccountByName("acme", 3)
	b.AccountByDomain("acme.example", 3)
	b.Suppress(&Suppression{Hash: h, Scope: "all", Reason: "manual"})
	b.Suppress(&Suppression{Hash: h, Scope: "stream:x", Reason: "manual"})
	b.Suppress(&Suppression{Hash: h, Scope: "stream:y", Reason: "manual"})
	b.Lift(h, "stream:x")
	for seq := uint64(1); seq <= 5; seq++ {
		b.Flip(&Flip{Sequence: seq, Contact: 7, Kind: "tier"})
	}
	b.Cursor("events", Cursor{Epoch: 9, Sequence: 44})
	b.Import([16]byte{1}, Progress{Row: 10})
	b.Import([16]byte{2}, Progress{Row: 20})
	b.DeleteImport([16]byte{2})
	b.Contacts(10001)
	b.Accounts(4)
	if err := errors.Join(b.Commit(), s.TruncateFlips(0, 2), s.Close()); err != nil {
		t.Fatal(err)
	}
	s = open(t, fs)
	defer s.Close()
	check := func(what string, got, want any, err error) {
		t.Helper()
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%s = %v, %v; want %v", what, got, err, want)
		}
	}
	id, err := s.ByAddress("a@example.com")
	check("by address", id, uint64(7), err)
	id, err = s.ByAddress("b@example.com")
	check("unknown address", id, uint64(0), err)
	id, err = s.ByUser("u1")
	check("by user", id, uint64(7), err)
	id, err = s.ByUser("u2")
	check("deleted user", id, uint64(0), err)
	id, err = s.AccountByName("acme")
	check("by name", id, uint64(3), err)
	id, err = s.AccountByDomain("acme.example")
	check("by domain", id, uint64(3), err)
	c, _, err := s.Contact(7)
	check("contact", c, Contact{Address: "a@example.com", Account: 3}, err)
	_, known, err := s.Contact(8)
	check("no contact", known, false, err)
	a, _, err := s.Account(3)
	check("account", a, Account{Name: "Acme"}, err)
	_, known, err = s.Account(4)
	check("no account", known, false, err)
	list, err := s.SuppressionsOf(h)
	check("suppressions", len(list), 2, err)
	var scopes []string
	err = s.Suppressions(h, "all", func(x Suppression) error { scopes = append(scopes, x.Scope); return nil })
	check("suppressions behind all", scopes, []string{"stream:y"}, err)
	flips, err := s.Flips(0, 2)
	check("flips", len(flips), 2, err)
	check("first flip", flips[0].Sequence, uint64(3), nil)
	flips, err = s.Flips(5, 2)
	check("flips at the end", len(flips), 0, err)
	cur, err := s.Cursor("events")
	check("cursor", cur, Cursor{Epoch: 9, Sequence: 44}, err)
	cur, err = s.Cursor("nobody")
	check("no cursor", cur, Cursor{}, err)
	p, _, err := s.Import([16]byte{1})
	check("progress", p, Progress{Row: 10}, err)
	_, known, err = s.Import([16]byte{2})
	check("no progress", known, false, err)
	n, err := s.Counters()
	check("counters", n, Counters{Contacts: 10001, Accounts: 4, Flips: 5}, err)
	check("epoch", s.Epoch(), epoch, nil)
	check("clean", s.CleanShutdown(), true, nil)
	err = s.States(func(id uint64, st State) error {
		check("state", st, State{Sends: 2}, nil)
		check("state id", id, uint64(7), nil)
		return nil
	})
	check("states", nil, nil, err)
	err = s.Contacts(8, func(uint64, Contact) error { return errors.New("a contact above 8") })
	check("contacts", nil, nil, err)
	keys := 0
	err = s.Dump(func(_, _ []byte) { keys++ })
	check("keys", keys, 16, err)
}

func TestAnotherSecretIsRefused(t *testing.T) {
	fs := vfs.NewMem()
	if err := open(t, fs).Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(Options{Dir: "contacts", FS: fs, Secret: secret("x")}); !errors.Is(err, ErrSecret) {
		t.Fatalf("another key: %v", err)
	}
	if _, err := Open(Options{Dir: "contacts", FS: fs, Secret: []byte("short")}); err == nil {
		t.Fatal("a short key was taken")
	}
	if err := open(t, fs).Close(); err != nil {
		t.Fatal(err)
	}
}

func TestAfter(t *testing.T) {
	for _, c := range [][2]string{{"a", "b"}, {"xa", "xb"}, {"a\xff", "b"}, {"\xff", ""}} {
		if got := after([]byte(c[0])); string(got) != c[1] {
			t.Errorf("after(%q) = %q, want %q", c[0], got, c[1])
		}
	}
}

func TestPrefixesDoNotOverlap(t *testing.T) {
	list := []string{
		prefixMeta, prefixCursor, prefixContact, prefixState, prefixByAddress, prefixByUser, prefixByName,
		prefixByDomain, prefixAccount, prefixSuppression, prefixFlip, prefixImport,
	}
	for i, a := range list {
		for j, b := range list {
			if i != j && strings.HasPrefix(b, a) {
				t.Errorf("%q begins with %q", b, a)
			}
		}
		if a[0] == 0 {
			t.Errorf("%q lies in the keys of package kv", a)
		}
	}
}

// FuzzDecode holds that no bytes make a decoder panic, and that what decodes is
// written back to something that decodes to the same.
func FuzzDecode(f *testing.F) {
	c := Contact{Address: "a@example.com", Attributes: []byte{1, 2}, Created: time.Unix(1, 0)}
	f.Add(c.Append(nil))
	a := Account{Name: "Acme", Domain: "acme.example"}
	f.Add(a.Append(nil))
	s := State{Sends: 5, LastSent: 1 << 31}
	f.Add(s.Append(nil))
	x := Suppression{Scope: "all", Reason: "manual", Created: time.Unix(5, 0)}
	f.Add(x.append(nil))
	fl := Flip{Kind: "tier", From: "new", To: "active"}
	f.Add(fl.append(nil))
	p := Progress{Row: 3, Done: true}
	f.Add(p.append(nil))
	cur := Cursor{Epoch: 1, Sequence: 2}
	f.Add(cur.append(nil))
	f.Add([]byte{1, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1})
	f.Fuzz(func(t *testing.T, b []byte) {
		if c, err := DecodeContact(b); err == nil {
			if again, err := DecodeContact(c.Append(nil)); err != nil || !reflect.DeepEqual(again, c) {
				t.Fatalf("contact: %v", err)
			}
		}
		if a, err := DecodeAccount(b); err == nil {
			if again, err := DecodeAccount(a.Append(nil)); err != nil || !reflect.DeepEqual(again, a) {
				t.Fatalf("account: %v", err)
			}
		}
		if s, err := DecodeState(b); err == nil {
			if again, err := DecodeState(s.Append(nil)); err != nil || again != s {
				t.Fatalf("state: %v", err)
			}
		}
		if f, err := decodeFlip(b); err == nil {
			if again, err := decodeFlip(f.append(nil)); err != nil || again != f {
				t.Fatalf("flip: %v", err)
			}
		}
		if p, err := decodeProgress(b); err == nil {
			if again, err := decodeProgress(p.append(nil)); err != nil || again != p {
				t.Fatalf("progress: %v", err)
			}
		}
		if c, err := decodeCursor(b); err == nil {
			if again, err := decodeCursor(c.append(nil)); err != nil || again != c {
				t.Fatalf("cursor: %v", err)
			}
		}
		k := append([]byte(prefixSuppression), bytes.Repeat([]byte{7}, 33)...)
		if x, err := decodeSuppression(k, b); err == nil {
			if again, err := decodeSuppression(k, x.append(nil)); err != nil || again != x {
				t.Fatalf("suppression: %v", err)
			}
		}
	})
}
