// SPDX-License-Identifier: Apache-2.0

package segment

import (
	"fmt"
	"slices"
	"time"

	"github.com/seguemta/segue/mta/rfc5321"
	"github.com/seguemta/segue/segment/rule"
	"github.com/seguemta/segue/segment/score"
	"github.com/seguemta/segue/segment/store"
)

// Sources of a contact that nobody named otherwise.
const (
	sourceImport   = "import"
	sourceMail     = "mail"
	sourceTracking = "tracking"
	sourceInvite   = "invite"
)

// person returns the record of a contact or a visitor as this tx sees it. It
// must not be changed; see edit.
func (t *tx) person(id uint64) (*store.Contact, error) {
	if c, ok := t.records[id]; ok {
		return c, nil
	}
	if c := t.visitors[id]; c != nil {
		return c, nil
	}
	if c, err := t.read(id); err != nil {
		return nil, fmt.Errorf("reading contact %d: %w", id, err)
	} else if c != nil {
		return c, nil
	}
	c, ok, err := t.d.store.Visitor(id)
	if err != nil || !ok {
		return nil, fmt.Errorf("reading contact %d: %w", id, orCorrupt(err))
	}
	return &c, nil
}

// edit returns the record of a contact or a visitor to be changed; it is written
// at commit. Slices in it are replaced, never written into.
func (t *tx) edit(id uint64) (*store.Contact, error) {
	c, err := t.person(id)
	if err != nil || c == t.records[id] || c == t.visitors[id] {
		return c, err
	}
	next := *c
	t.put(id, &next)
	return &next, nil
}

// put writes a record where it belongs: with the contacts, or with the visitors
// while it has no address.
func (t *tx) put(id uint64, c *store.Contact) {
	if c.Address == "" {
		t.visitors[id] = c
	} else {
		t.record(id, c)
	}
}

// whose returns the contact or visitor that an id leads to, 0 if there is none.
func (t *tx) whose(p store.PersonID) (uint64, error) {
	if p.Name == "" {
		return 0, nil
	}
	if id, ok := t.persons[p]; ok {
		return id, nil
	}
	id, err := t.d.store.Person(p)
	if err != nil {
		return 0, fmt.Errorf("looking up an id: %w", err)
	}
	return id, nil
}

// own makes an id lead to a contact or visitor.
func (t *tx) own(p store.PersonID, id uint64) error {
	before, err := t.whose(p)
	if err != nil || before == id {
		return err
	}
	if before != 0 {
		t.b.Disown(p, before)
	}
	t.persons[p] = id
	t.owned[id] = append(t.owned[id], p)
	return nil
}

// visitor makes a record for somebody whose address is not known.
func (t *tx) visitor(c store.Contact) (uint64, error) {
	id, err := t.newID(&t.d.write.contacts)
	if err != nil {
		return 0, err
	}
	t.visitors[id] = &c
	return id, nil
}

// promote makes a contact of a visitor whose address has become known; nobody
// else has it. It keeps its id, so its events stay where they are; they are
// written again so that whoever reads this tx sees them as the contact's.
func (t *tx) promote(id uint64, addr rfc5321.Address) error {
	events, err := t.history(id)
	if err != nil {
		return err
	}
	have, err := t.person(id)
	if err != nil {
		return err
	}
	c := *have
	c.Address = addr.String()
	t.visitors[id] = nil
	delete(t.visits, id)
	k := addr.Key()
	t.addresses[k] = id
	t.b.ByAddress(k, id)
	t.record(id, &c)
	t.states[id] = &store.State{Address: store.AddressSum(k)}
	if t.d.scores != nil {
		t.scores[id] = &score.State{} // its log is not what it is folded from: its events come again below
	}
	edges := c.Edges
	c.Edges = nil
	for _, e := range edges {
		if err := t.join(id, &c, e.Account, e); err != nil {
			return err
		}
	}
	return t.remember(id, events)
}

// attach gives everything that is known of a visitor to a contact, or to another
// visitor, whose record the caller writes: its ids, its events, its accounts and
// its attributes. The visitor is no more.
func (t *tx) attach(visitor, to uint64, c *store.Contact) error {
	events, err := t.history(visitor)
	if err != nil {
		return err
	}
	v, err := t.person(visitor)
	if err != nil {
		return err
	}
	ids, err := t.d.store.IDsOf(visitor)
	if err != nil {
		return err
	}
	for _, p := range append(ids, t.owned[visitor]...) {
		owner, err := t.whose(p)
		if err != nil {
			return err
		}
		if owner == visitor {
			if err := t.own(p, to); err != nil {
				return err
			}
		}
	}
	for _, e := range v.Edges {
		if err := t.join(to, c, e.Account, e); err != nil {
			return err
		}
	}
	for _, f := range v.Former {
		t.leave(to, c, f.Account, f.Told)
	}
	if err := t.inherit(c, v); err != nil {
		return fmt.Errorf("merging visitor %d into contact %d: %w", visitor, to, err)
	}
	for i := range events {
		t.b.DeleteEvent(eventKey(visitor, &events[i]))
	}
	t.visitors[visitor] = nil
	delete(t.visits, visitor)
	return t.remember(to, events)
}

// inherit fills a record with what a visitor's has. Attributes of the one that
// was written last win.
func (t *tx) inherit(c, v *store.Contact) error {
	c.UserID = orElse(c.UserID, v.UserID)
	c.Zone = orElse(c.Zone, v.Zone)
	c.Language = orElse(c.Language, v.Language)
	c.Source = orElse(c.Source, v.Source)
	if len(c.Tags) == 0 {
		c.Tags = v.Tags
	}
	if c.Consent.IsZero() {
		c.Consent, c.ConsentBy = v.Consent, v.ConsentBy
	}
	var list []attribute
	err := rule.Records(v.Attributes, func(name string, value rule.Value) {
		if slot, kind, ok := t.d.schema.Slot(name); ok && kind == value.Type() {
			list = append(list, attribute{slot, value})
		}
	})
	if err != nil {
		return err
	}
	return t.write(&c.Attributes, &c.Identified, list, rule.Contact, v.Identified)
}

// history reads the events of a visitor and forgets the oldest when there are
// more than maxHistory: no person makes so many before they give a name.
func (t *tx) history(visitor uint64) ([]rule.Event, error) {
	list, err := t.d.events(visitor, minTime, 1<<62)
	if err != nil {
		return nil, err
	}
	list = append(list, t.visits[visitor]...)
	if extra := len(list) - maxHistory; extra > 0 {
		for i := range list[:extra] {
			t.b.DeleteEvent(eventKey(visitor, &list[i]))
		}
		list = list[extra:]
	}
	return list, nil
}

// maxHistory is how many events a visitor takes along, the newest.
const maxHistory = 10_000

// remember adds events to a person's log; those that are a sign of life make a
// contact engaged, as if they had come after the address was known.
func (t *tx) remember(id uint64, events []rule.Event) error {
	for i := range events {
		if err := t.happen(id, events[i]); err != nil {
			return err
		}
	}
	return nil
}

// happen adds one event to a person's log.
func (t *tx) happen(id uint64, e rule.Event) error {
	e.Contact = id
	if !t.isContact(id) {
		t.visits[id] = append(t.visits[id], e)
		return nil
	}
	if isHit(&e) {
		return t.hold(id, e)
	}
	return t.occur(id, e)
}

// occur adds an event that counts to a contact's log.
func (t *tx) occur(id uint64, e rule.Event) error {
	if err := t.rate(id, &e); err != nil {
		return err
	}
	if err := t.opened(id, &e); err != nil {
		return err
	}
	t.events[id] = append(t.events[id], e)
	if t.d.engaging[e.Name] {
		return t.engage(id, time.UnixMicro(e.Time), e.Name)
	}
	return nil
}

// isContact tells a contact from a visitor: every contact has a state.
func (t *tx) isContact(id uint64) bool {
	if _, ok := t.states[id]; ok {
		return true
	}
	_, ok := t.d.mem.state(id)
	return ok
}

// takeUser gives a user id to a contact, and takes it from who had it. It
// reports whether another contact had it.
func (t *tx) takeUser(id uint64, c *store.Contact, user string) (moved bool, err error) {
	p := store.PersonID{Kind: store.UserID, Name: user}
	owner, err := t.whose(p)
	if err != nil {
		return false, err
	}
	if owner != 0 && owner != id {
		other, err := t.person(owner)
		if err != nil {
			return false, err
		}
		if other.Address == "" {
			if err := t.attach(owner, id, c); err != nil {
				return false, err
			}
		} else {
			if other.UserID == user { // else it is an older one of its ids
				changed := *other
				changed.UserID = ""
				t.record(owner, &changed)
			}
			moved = true
		}
	}
	if c.UserID != "" && c.UserID != user {
		t.forget(store.PersonID{Kind: store.UserID, Name: c.UserID}, id)
	}
	c.UserID = user
	return moved, t.own(p, id)
}

// forget makes an id lead nowhere.
func (t *tx) forget(p store.PersonID, id uint64) {
	t.b.Disown(p, id)
	t.persons[p] = 0
	t.owned[id] = slices.DeleteFunc(t.owned[id], func(o store.PersonID) bool { return o == p })
}

// addressKey is the key of an address that a record holds.
func addressKey(address string) string {
	if plainKey(address) {
		return address
	}
	a, err := rfc5321.ParseAddress(address)
	if err != nil {
		return ""
	}
	return a.Key()
}

// plainKey reports whether an address that was written as SMTP sends it is its own
// key, as nearly all are: nothing in it is quoted, and no letter is a capital.
func plainKey(address string) bool {
	for i := range len(address) {
		if c := address[i]; (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '@' && c != '.' && c != '-' && c != '_' && c != '+' {
			return false
		}
	}
	return address != ""
}
