// SPDX-License-Identifier: Apache-2.0

package store

import (
	"errors"
	"fmt"

	"github.com/cockroachdb/pebble/v2"
)

// Fields are the parts of a contact's record that [Trail.Contacts] reads besides
// the attributes.
type Fields uint16

// The parts, named as in [Contact].
const (
	FieldBatch Fields = 1 << iota
	FieldZone
	FieldLanguage
	FieldSource
	FieldCreated
	FieldConsent
	FieldTags
	FieldLists
	FieldEdges // without Since and Told
)

// glance reads parts of records of contacts, one after another into one Contact,
// and makes no text twice: it costs a third of [DecodeContact].
type glance struct {
	reader
	want  Fields
	c     Contact
	texts map[string]string
}

// Contacts yields the contacts in the order of ids, with no more than the wanted
// parts and the attributes. The contact is valid until fn returns.
func (t *Trail) Contacts(want Fields, fn func(id uint64, c *Contact) error) error {
	it, err := t.s.from.NewIter(&pebble.IterOptions{LowerBound: keyID(prefixContact, t.from), UpperBound: keyID(prefixContact, t.to+1)})
	if err != nil {
		return fmt.Errorf("reading contacts: %w", err)
	}
	g := glance{want: want, texts: map[string]string{}}
	err = g.all(it, fn)
	if cerr := it.Close(); cerr != nil {
		err = errors.Join(err, fmt.Errorf("reading contacts: %w", cerr))
	}
	return err
}

func (g *glance) all(it *pebble.Iterator, fn func(id uint64, c *Contact) error) error {
	p := []byte(prefixContact)
	for ok := it.First(); ok; ok = it.Next() {
		v, err := it.ValueAndErr()
		if err != nil {
			return fmt.Errorf("reading contacts: %w", err)
		}
		id, err := idOf(p, it.Key())
		if err != nil {
			return err
		}
		if err := g.read(v); err != nil {
			return fmt.Errorf("contact %d: %w", id, err)
		}
		if err := fn(id, &g.c); err != nil {
			return err
		}
	}
	return nil // what ended it early, closing tells
}

// read is [DecodeContact] for the wanted parts.
func (g *glance) read(value []byte) error {
	if len(value) > 0 && value[0] == layout {
		var err error
		g.c, err = DecodeContact(value)
		return err
	}
	r, c := &g.reader, &g.c
	*r = reader{rest: value}
	if r.byte() != contactLayout {
		r.fail()
	}
	r.skip() // address
	r.skip() // user id
	g.text(FieldBatch, &c.Batch)
	g.text(FieldZone, &c.Zone)
	g.text(FieldLanguage, &c.Language)
	g.text(FieldSource, &c.Source)
	if created := r.varint(); g.want&FieldCreated != 0 {
		c.Created = timeOf(created)
	}
	if consent := r.varint(); g.want&FieldConsent != 0 {
		c.Consent = timeOf(consent)
	}
	r.varint() // identified
	g.list(FieldTags, &c.Tags)
	g.list(FieldLists, &c.Lists)
	g.edges(FieldEdges)
	g.edges(0) // former
	c.Attributes = r.bytes()
	return r.done("contact")
}

func (g *glance) text(field Fields, to *string) {
	if g.want&field == 0 {
		g.skip()
		return
	}
	*to = g.shared(g.bytes())
}

func (g *glance) list(field Fields, to *[]string) {
	n := g.count()
	*to = (*to)[:0]
	for range n {
		if g.want&field == 0 {
			g.skip()
		} else {
			*to = append(*to, g.shared(g.bytes()))
		}
	}
}

func (g *glance) edges(field Fields) {
	n, want := g.count(), g.want&field != 0
	if field != 0 {
		g.c.Edges = g.c.Edges[:0]
	}
	for range n {
		e := Edge{ID: g.uvarint(), Account: g.uvarint()}
		role := g.bytes()
		g.varint() // since
		g.varint() // told
		if want {
			e.Role = g.shared(role)
			g.c.Edges = append(g.c.Edges, e)
		}
	}
}

// sharedTexts bounds the texts that are kept.
const sharedTexts = 4096

// shared returns a text that was read before, most often: there are few languages,
// roles and tags.
func (g *glance) shared(b []byte) string {
	if len(b) == 0 {
		return ""
	}
	s, ok := g.texts[string(b)]
	if !ok {
		if len(g.texts) >= sharedTexts {
			clear(g.texts)
		}
		s = string(b)
		g.texts[s] = s
	}
	return s
}
