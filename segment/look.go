// SPDX-License-Identifier: Apache-2.0

package segment

import (
	"fmt"
	"time"

	"github.com/seguemta/segue/mta/rfc5321"
	"github.com/seguemta/segue/segment/rule"
	"github.com/seguemta/segue/segment/store"
	"github.com/seguemta/segue/segment/tier"
)

// Match is a segment that a contact is in.
type Match struct {
	Name    string `json:"name"`
	Version uint64 `json:"version"` // of the rule that said so
}

// View is what admission needs to know about one recipient.
type View struct {
	ID         uint64       // 0 = nobody knows the address
	Known      bool         // a contact with the address exists
	Address    string       // as the contact was first written; as given where unknown
	Tier       string       // "new" where unknown
	Segments   []Match      // every segment the contact is in, in order
	First      string       // name of the first of them, which decides the lane; "" = none
	Suppressed *Suppression // why mail of the stream from the domain may not go; nil = it may
	Person     Person       // where it lives and whose it is
}

// Look reads everything about a recipient that admission fixes on it: contact,
// tier, segments, and whether mail of a stream from a sending domain is
// suppressed. It changes nothing: a recipient nobody knows is new, and rules see
// all its attributes as missing. An error means that the store could not be
// read; the mail must then be refused for now.
func (d *DB) Look(addr rfc5321.Address, stream, domain string, now time.Time) (View, error) {
	k := addr.Key()
	v := View{Address: addr.String()}
	h := store.HashAddress(d.secret, k)
	v.Suppressed = d.mem.suppressed(&h, stream, domain, now)
	id, err := d.find(0, k)
	if err != nil {
		return View{}, err
	}
	values, ok := d.values.Get().(*rule.Values)
	if !ok {
		values = d.schema.NewValues()
	}
	defer d.values.Put(values)
	values.Clear()
	values.Now = now
	var st store.State
	if id != 0 {
		v.ID, v.Known = id, true
		st, _ = d.mem.state(id)
		c, _, err := d.fill(id, values)
		if err != nil {
			return View{}, err
		}
		v.Address, v.Person = c.Address, personOf(&c)
	}
	v.Tier = d.tiers.Of(history(&st), now).String()
	values.SetTier(v.Tier)
	v.Segments = d.matches(values)
	if len(v.Segments) > 0 {
		v.First = v.Segments[0].Name
	}
	return v, nil
}

// fill reads a contact and its primary account from the store and sets their attributes.
func (d *DB) fill(id uint64, values *rule.Values) (store.Contact, store.Account, error) {
	c, ok, err := d.store.Contact(id)
	if err != nil {
		return c, store.Account{}, fmt.Errorf("reading contact %d: %w", id, err)
	}
	if !ok {
		return c, store.Account{}, fmt.Errorf("%w: contact %d is indexed but has no record", store.ErrCorrupt, id)
	}
	if err := d.schema.Decode(c.Attributes, values.Slots); err != nil {
		return c, store.Account{}, fmt.Errorf("reading attributes of contact %d: %w", id, err)
	}
	account := c.Account()
	if account == 0 {
		return c, store.Account{}, nil
	}
	a, ok, err := d.store.Account(account)
	if err != nil || !ok {
		return c, a, fmt.Errorf("reading account %d of contact %d: %w", account, id, orCorrupt(err))
	}
	if err := d.schema.Decode(a.Attributes, values.Slots); err != nil {
		return c, a, fmt.Errorf("reading attributes of account %d: %w", account, err)
	}
	return c, a, nil
}

// orCorrupt is the error of a record that must be there.
func orCorrupt(err error) error {
	if err == nil {
		return store.ErrCorrupt
	}
	return err
}

// matches evaluates every segment, in order.
func (d *DB) matches(values *rule.Values) []Match {
	var list []Match
	for i := range d.segments {
		if c := &d.segments[i]; c.in(values) {
			list = append(list, Match{Name: c.def.Name, Version: c.def.Version})
		}
	}
	return list
}

// Check reads again, just before delivery, what may have changed since
// admission: tier and suppression. With a contact id it reads memory only; with
// 0, or an id that belongs to another address, the contact is looked up by
// address. The suppression it returns has scope, reason and expiry only.
func (d *DB) Check(contact uint64, addr rfc5321.Address, stream, domain string, now time.Time) (string, *Suppression, error) {
	k := addr.Key()
	h := store.HashAddress(d.secret, k)
	suppressed := d.mem.suppressed(&h, stream, domain, now)
	id, err := d.find(contact, k)
	if err != nil {
		return "", nil, err
	}
	return d.tierOf(id, now).String(), suppressed, nil
}

func (d *DB) tierOf(id uint64, now time.Time) tier.Tier {
	st, _ := d.mem.state(id)
	return d.tiers.Of(history(&st), now)
}
