// SPDX-License-Identifier: Apache-2.0

package store

import (
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"pgregory.net/rapid"
)

const allFields = 2*FieldEdges - 1

// parts is what of a contact is read with some fields.
func parts(c *Contact, want Fields) Contact {
	p := Contact{Attributes: c.Attributes}
	for field, take := range map[Fields]func(){
		FieldBatch: func() { p.Batch = c.Batch }, FieldZone: func() { p.Zone = c.Zone },
		FieldLanguage: func() { p.Language = c.Language }, FieldSource: func() { p.Source = c.Source },
		FieldCreated: func() { p.Created = c.Created }, FieldConsent: func() { p.Consent = c.Consent },
		FieldTags: func() { p.Tags = c.Tags }, FieldLists: func() { p.Lists = c.Lists },
		FieldEdges: func() {
			for _, e := range c.Edges {
				p.Edges = append(p.Edges, Edge{ID: e.ID, Account: e.Account, Role: e.Role})
			}
		},
	} {
		if want&field != 0 {
			take()
		}
	}
	return p
}

// plainly writes a contact so that an empty list is nil.
func plainly(c *Contact) string {
	p := *c
	p.Tags, p.Lists, p.Edges = append([]string(nil), c.Tags...), append([]string(nil), c.Lists...), append([]Edge(nil), c.Edges...)
	return fmt.Sprintf("%q", fmt.Sprintf("%+v", p))
}

// glanced holds that a record is read in part exactly when it is as a whole, and
// says the same.
func glanced(t interface{ Fatalf(string, ...any) }, b []byte) {
	if len(b) > 0 && b[0] == layout {
		return // it is read as a whole
	}
	whole, err := DecodeContact(b)
	for _, want := range []Fields{0, allFields, FieldTags, FieldEdges | FieldCreated} {
		g := glance{want: want, texts: map[string]string{}}
		if again := g.read(b); (again == nil) != (err == nil) {
			t.Fatalf("contact: %v, in part: %v", err, again)
		} else if p := parts(&whole, want); err == nil && plainly(&g.c) != plainly(&p) {
			t.Fatalf("fields %b of a contact are %+v, not %+v", want, g.c, p)
		}
	}
}

// One glance after another at random records says what is in each, and nothing of
// the one before.
func TestGlance(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		g := glance{want: Fields(rapid.Uint16Range(0, uint16(allFields)).Draw(t, "want")), texts: map[string]string{}}
		for range 5 {
			text := rapid.String()
			c := Contact{
				Address: text.Draw(t, "address"), UserID: text.Draw(t, "user"), Batch: text.Draw(t, "batch"), Zone: text.Draw(t, "zone"),
				Language: text.Draw(t, "language"), Source: text.Draw(t, "source"), Created: genTime(t), Consent: genTime(t),
				Tags: genNames(t), Lists: genNames(t), Edges: genEdges(t), Former: genEdges(t), Attributes: genAttributes(t),
			}
			if err := g.read(c.Append(nil)); err != nil {
				t.Fatal(err)
			}
			if p := parts(&c, g.want); plainly(&g.c) != plainly(&p) {
				t.Fatalf("fields %b of %+v are %+v", g.want, c, g.c)
			}
		}
	})
}

// What a trail reads along the way is what is read one by one.
func TestTrail(t *testing.T) {
	s := open(t, vfs.NewMem())
	defer s.Close()
	rng := rand.New(rand.NewPCG(1, 2))
	const people = 300
	b := s.Batch()
	for id := uint64(1); id <= people; id++ {
		if rng.IntN(4) > 0 {
			b.Contact(id, &Contact{Address: fmt.Sprint(id), Zone: fmt.Sprint(id % 5), Tags: []string{"t"}, Created: time.Unix(int64(id), 0)})
		}
		if rng.IntN(3) == 0 {
			b.Series(id, []Series{{Key: [16]byte{1}, Data: []byte{byte(id)}}})
		}
		if rng.IntN(3) == 0 && id < people/2 {
			b.Behaviour(id, &Behaviour{State: []byte{byte(id)}})
		}
		for n := range rng.IntN(3) {
			b.Event(id, &Event{Name: "e", Message: fmt.Sprint(id, n), Time: int64(n)})
		}
		if rng.IntN(3) > 0 {
			b.Account(id, &Account{Name: fmt.Sprint(id)})
		}
	}
	if err := b.Commit(); err != nil {
		t.Fatal(err)
	}
	from, to := uint64(20), uint64(280)
	trail := s.Trail(from, to)
	seen := from
	err := trail.Contacts(FieldZone, func(id uint64, c *Contact) error {
		for ; seen < id; seen++ {
			if _, there, err := s.Contact(seen); there || err != nil {
				t.Errorf("contact %d was left out, %v", seen, err)
			}
		}
		seen++
		if whole, _, err := s.Contact(id); err != nil || c.Zone != whole.Zone || len(c.Tags) > 0 || !c.Created.IsZero() {
			t.Errorf("contact %d is %+v, %v", id, c, err)
		}
		alongside(t, s, trail, id)
		account := uint64(1 + rng.IntN(people))
		if rng.IntN(2) == 0 {
			account = id / 10
		}
		got, ok, err := trail.Account(account)
		if want, there, werr := s.Account(account); err != nil || werr != nil || ok != there || !reflect.DeepEqual(got, want) {
			t.Errorf("account %d is %+v, %v, %v", account, got, ok, err)
		}
		return nil
	})
	if err != nil || seen < to-10 {
		t.Errorf("the trail ends at %d, %v", seen, err)
	}
	if err := trail.Close(); err != nil {
		t.Error(err)
	}
}

// alongside compares what belongs to one contact.
func alongside(t *testing.T, s *Store, trail *Trail, id uint64) {
	t.Helper()
	series, err := trail.Series(id)
	if want, werr := s.SeriesOf(id); err != nil || werr != nil || !reflect.DeepEqual(series, want) {
		t.Errorf("series of %d are %v, not %v, %v", id, series, want, err)
	}
	x, ok, err := trail.Behaviour(id)
	if want, there, werr := s.Behaviour(id); err != nil || werr != nil || ok != there || !reflect.DeepEqual(x, want) {
		t.Errorf("behaviour of %d is %v, %v, not %v, %v", id, x, ok, want, err)
	}
	var got, want []string
	collect := func(list *[]string) func(Event) error {
		return func(e Event) error {
			*list = append(*list, fmt.Sprint(e.Message, " at ", e.Time))
			return nil
		}
	}
	if err := trail.Events(id, collect(&got)); err != nil {
		t.Error(err)
	}
	if err := s.Events(id, -1<<62, collect(&want)); err != nil || !slices.Equal(got, want) {
		t.Errorf("events of %d are %v, not %v, %v", id, got, want, err)
	}
}
