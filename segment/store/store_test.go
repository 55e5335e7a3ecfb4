// SPDX-License-Identifier: Apache-2.0

package store

import (
	"bytes"
	"encoding/binary"
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

func genNames(t *rapid.T) []string {
	return append([]string(nil), rapid.SliceOfN(rapid.String(), 0, 3).Draw(t, "names")...)
}

func genEdges(t *rapid.T) []Edge {
	var list []Edge
	for range rapid.IntRange(0, 3).Draw(t, "edges") {
		n := rapid.Uint64()
		list = append(list, Edge{ID: n.Draw(t, "edge"), Account: n.Draw(t, "account"), Role: rapid.String().Draw(t, "role"), Since: genTime(t), Told: genTime(t)})
	}
	return list
}

func TestRecordsRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text := rapid.String()
		c := Contact{
			Address: text.Draw(t, "address"), UserID: text.Draw(t, "user"),
			Batch: text.Draw(t, "batch"), Zone: text.Draw(t, "zone"), Language: text.Draw(t, "language"), Source: text.Draw(t, "source"),
			Created: genTime(t), Consent: genTime(t), Identified: rapid.Int64().Draw(t, "identified"),
			Tags: genNames(t), Lists: genNames(t), Edges: genEdges(t), Former: genEdges(t), Attributes: genAttributes(t),
		}
		number := rapid.Uint64().Draw(t, "number")
		if got, err := DecodeContact(c.Append(nil)); err != nil || !reflect.DeepEqual(got, c) {
			t.Fatalf("contact %+v became %+v, %v", c, got, err)
		}
		a := Account{Name: text.Draw(t, "name"), Domain: text.Draw(t, "domain"), Attributes: genAttributes(t)}
		a.Group, a.Parent, a.Identified, a.Deleted = text.Draw(t, "group"), rapid.Uint64().Draw(t, "parent"), c.Identified, genTime(t)
		if got, err := DecodeAccount(a.Append(nil)); err != nil || !reflect.DeepEqual(got, a) {
			t.Fatalf("account %+v became %+v, %v", a, got, err)
		}
		e := Event{Name: a.Name, Message: c.Address, Account: number, Properties: genAttributes(t)}
		if got, err := decodeEvent(e.append(nil)); err != nil || !reflect.DeepEqual(got, e) {
			t.Fatalf("event %+v became %+v, %v", e, got, err)
		}
		k := EventKey{Contact: number, Time: c.Identified, Hash: rapid.Uint32().Draw(t, "hash")}
		if got, err := decodeEventKey(k.append(nil)); err != nil || got != k {
			t.Fatalf("event key %+v became %+v, %v", k, got, err)
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
			Time: genTime(t), Contact: number, Address: c.Address, Kind: "tier",
			Scope: x.Scope, From: a.Name, To: a.Domain, Cause: c.Batch,
		}
		if got, err := decodeFlip(f.append(nil)); err != nil || got != f {
			t.Fatalf("flip %+v became %+v, %v", f, got, err)
		}
		p := Progress{
			Row: number, Sum: 1, Done: s.Sends%2 == 0, Created: 2, Updated: 3, Same: 4, Rejected: 5, Moved: 6, At: genTime(t),
		}
		if got, err := decodeProgress(p.append(nil)); err != nil || got != p {
			t.Fatalf("progress %+v became %+v, %v", p, got, err)
		}
		cur := Cursor{Epoch: number, Sequence: 7, Time: genTime(t)}
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
	b.Contact(7, &Contact{Address: "a@example.com", Edges: []Edge{{ID: 4, Account: 3}}})
	b.Edge(3, 7, 4)
	b.Edge(3, 8, 5)
	b.DeleteEdge(3, 8)
	b.Visitor(9, &Contact{UserID: "u9"})
	b.AccountByGroup("g", 3)
	b.Event(7, &Event{Time: 5, Name: "later"})
	b.Event(7, &Event{Time: -5, Name: "first"})
	b.Event(8, &Event{Time: 5, Name: "of another"})
	b.Taken(20, MessageHash{1}, Rejected)
	b.Taken(10, MessageHash{2}, Applied)
	b.DropTaken(20)
	b.Account(3, &Account{Name: "Acme"})
	b.State(7, &State{Sends: 2})
	b.ByAddress("a@example.com", 7)
	b.Person(PersonID{UserID, "u1"}, 7)
	b.Person(PersonID{UserID, "u2"}, 7)
	b.Person(PersonID{AnonymousID, "u2"}, 7)
	b.Disown(PersonID{UserID, "u2"}, 7)
	b.Person(PersonID{UserID, "u2"}, 0)
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
	id, err = s.Person(PersonID{UserID, "u1"})
	check("by user", id, uint64(7), err)
	id, err = s.Person(PersonID{UserID, "u2"})
	check("deleted user", id, uint64(0), err)
	id, err = s.AccountByName("acme")
	check("by name", id, uint64(3), err)
	id, err = s.AccountByDomain("acme.example")
	check("by domain", id, uint64(3), err)
	ids, err := s.IDsOf(7)
	check("ids", ids, []PersonID{{AnonymousID, "u2"}, {UserID, "u1"}}, err)
	id, err = s.AccountByGroup("g")
	check("by group", id, uint64(3), err)
	v, _, err := s.Visitor(9)
	check("visitor", v, Contact{UserID: "u9"}, err)
	_, known, err := s.Contact(9)
	check("a visitor is no contact", known, false, err)
	err = s.ContactsOf(3, func(contact, edge uint64) error {
		check("edge", [2]uint64{contact, edge}, [2]uint64{7, 4}, nil)
		return nil
	})
	check("edges", nil, nil, err)
	var names []string
	err = s.Events(7, -5, func(e Event) error { names = append(names, e.Name); return nil })
	check("events", names, []string{"first", "later"}, err)
	old, next, err := s.OldEvents(1, 5, 10)
	check("old events", old, []EventKey{{7, -5, fnv("")}}, err)
	check("old events after them", next, uint64(0), nil)
	verdict, err := s.Taken(20, MessageHash{1})
	check("taken", verdict, Rejected, err)
	verdict, err = s.Taken(10, MessageHash{2})
	check("taken long ago", verdict, Unseen, err)
	c, _, err := s.Contact(7)
	check("contact", c, Contact{Address: "a@example.com", Edges: []Edge{{ID: 4, Account: 3}}}, err)
	_, known, err = s.Contact(8)
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
	check("counters", n, Counters{Contacts: 10001, Accounts: 4, Edges: 1, Flips: 5}, err)
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
	check("keys", keys, 26, err)
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
		prefixByDomain, prefixAccount, prefixSuppression, prefixFlip, prefixImport, prefixVisitor, prefixByAnonymous,
		prefixByGroup, prefixIDs, prefixEdge, prefixEvent, prefixTaken, prefixSegment, prefixMembers, prefixDelta, prefixBuild,
		prefixFanOut, prefixWheel, prefixBehaviour, prefixHeld, prefixHeldDue, prefixGateway, prefixCounted, prefixCountedEdges, prefixCountedChange,
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
	c.Edges, c.Tags = []Edge{{ID: 1, Account: 2, Role: "champion"}}, []string{"vip"}
	f.Add(c.Append(nil))
	f.Add(firstLayout(&c))
	e := Event{Name: "Signed In", Message: "m1", Account: 2, Properties: []byte{1}}
	f.Add(e.append(nil))
	f.Add(EventKey{7, -1, 9}.append(nil))
	er := Erasure{At: time.Unix(5, 0).UTC(), Stage: EraseMail, Name: "a@example.com", Users: []Hash{{1}}, Counts: []uint64{1, 300}, Left: [][]byte{{'c', 1}}}
	f.Add(er.Append(nil))
	f.Add(AppendSeries(nil, []Series{{Key: [16]byte{1}, Data: []byte{1, 0, 0}}, {Key: [16]byte{2}}}))
	f.Add(AppendSeries(nil, []Series{{Key: [16]byte{2}}, {Key: [16]byte{1}}})) // out of order
	f.Add([]byte{1, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1})
	f.Fuzz(func(t *testing.T, b []byte) {
		if c, err := DecodeContact(b); err == nil {
			if again, err := DecodeContact(c.Append(nil)); err != nil || !reflect.DeepEqual(again, c) {
				t.Fatalf("contact: %v", err)
			}
		}
		glanced(t, b)
		if x, err := DecodeErasure(Hash{7}, b); err == nil {
			if again, err := DecodeErasure(Hash{7}, x.Append(nil)); err != nil || !reflect.DeepEqual(again, x) {
				t.Fatalf("erasure: %v", err)
			}
		}
		if a, err := DecodeAccount(b); err == nil {
			if again, err := DecodeAccount(a.Append(nil)); err != nil || !reflect.DeepEqual(again, a) {
				t.Fatalf("account: %v", err)
			}
		}
		if e, err := decodeEvent(b); err == nil {
			if again, err := decodeEvent(e.append(nil)); err != nil || !reflect.DeepEqual(again, e) {
				t.Fatalf("event: %v", err)
			}
		}
		if x, err := DecodeSeries(b); err == nil {
			if again, err := DecodeSeries(AppendSeries(nil, x)); err != nil || !reflect.DeepEqual(again, x) {
				t.Fatalf("series: %v", err)
			}
		}
		if k, err := decodeEventKey(b); err == nil && b[0] == prefixEvent[0] && !bytes.Equal(k.append(nil), b) {
			t.Fatalf("event key %x became %x", b, k.append(nil))
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

// firstLayout is the record of a contact as Segue wrote it before contacts had
// several accounts.
func firstLayout(c *Contact) []byte {
	b := appendString(appendString([]byte{1}, c.Address), c.UserID)
	b = binary.AppendUvarint(b, c.Account())
	b = appendString(appendString(b, c.Batch), c.Zone)
	b = appendTime(appendTime(b, c.Created), c.Consent)
	return appendBytes(b, c.Attributes)
}

// TestOldRecordsAreRead holds that what an older Segue wrote means the same.
func TestOldRecordsAreRead(t *testing.T) {
	want := Contact{
		Address: "a@example.com", UserID: "u1", Batch: "a.csv", Zone: "Europe/Berlin", Created: time.Unix(5, 0).UTC(),
		Consent: time.Unix(4, 0).UTC(), Attributes: []byte{1, 2}, Edges: []Edge{{Account: 3, Since: time.Unix(5, 0).UTC(), Told: time.Unix(5, 0).UTC()}},
	}
	if got, err := DecodeContact(firstLayout(&want)); err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("contact became %+v, %v", got, err)
	}
	want.Edges = nil
	if got, err := DecodeContact(firstLayout(&want)); err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("contact without an account became %+v, %v", got, err)
	}
	account := appendBytes(appendString(appendString([]byte{1}, "Acme"), "acme.example"), []byte{1, 2})
	if got, err := DecodeAccount(account); err != nil || !reflect.DeepEqual(got, Account{Name: "Acme", Domain: "acme.example", Attributes: []byte{1, 2}}) {
		t.Errorf("account became %+v, %v", got, err)
	}
	if _, err := DecodeContact([]byte{3}); !errors.Is(err, ErrCorrupt) {
		t.Errorf("a layout of the future was read: %v", err)
	}
}
