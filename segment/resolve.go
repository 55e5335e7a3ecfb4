// SPDX-License-Identifier: Apache-2.0

package segment

import (
	"time"

	"github.com/seguemta/segue/mta/rfc5321"
	"github.com/seguemta/segue/segment/store"
)

// ids is where what a call names leads; 0 = nowhere.
type ids struct{ user, anon, mail uint64 }

// resolve finds the person that a call is about, or makes one, and notes the ids
// that the call gives it.
//
// The user id decides, then the address, then the anonymous id. Somebody without
// an address is a visitor: its record and its events are kept apart from the
// contacts, where nothing that mails, counts or lists can meet them, until a call
// tells the address. An anonymous id that leads to a visitor without a user id is
// attached to whom it is named with. Two contacts are never made one: an address
// that another contact has stays there, and is counted.
func (t *tx) resolve(p *prepared) (uint64, error) {
	var x ids
	var err error
	if x.user, err = t.whose(p.user); err != nil {
		return 0, err
	}
	if x.anon, err = t.whose(p.anon); err != nil {
		return 0, err
	}
	if p.key != "" {
		if x.mail, err = t.find(0, p.key); err != nil {
			return 0, err
		}
	}
	id, err := t.choose(p, &x)
	if err != nil {
		return 0, err
	}
	if id, err = t.address(p, id, &x); err != nil {
		return 0, err
	}
	if p.user.Name != "" && x.user != id {
		c, err := t.edit(id)
		if err != nil {
			return 0, err
		}
		c.UserID = p.user.Name
		if err := t.own(p.user, id); err != nil {
			return 0, err
		}
	}
	return id, t.attachAnonymous(p, id, x.anon)
}

// choose returns the person a call is about, and makes one where it is nobody
// that is known.
func (t *tx) choose(p *prepared, x *ids) (uint64, error) {
	if x.user != 0 {
		return x.user, nil
	}
	if x.mail != 0 {
		return x.mail, nil
	}
	if x.anon != 0 {
		c, err := t.person(x.anon)
		if err != nil {
			return 0, err
		}
		free := p.user.Name == "" || c.UserID == ""
		if free && (p.key == "" || c.Address == "") {
			return x.anon, nil
		}
	}
	if p.key != "" {
		return t.create(p.email, store.Contact{Created: p.at, Source: orElse(p.person.source, sourceTracking)})
	}
	return t.visitor(store.Contact{Created: p.at, Source: orElse(p.person.source, sourceTracking)})
}

// address gives a person the address that a call tells: a visitor becomes a
// contact, or a part of the contact that has the address; a contact's address
// changes where the call identifies it by its user id.
func (t *tx) address(p *prepared, id uint64, x *ids) (uint64, error) {
	if p.key == "" || x.mail == id {
		return id, nil
	}
	have, err := t.person(id)
	if err != nil {
		return 0, err
	}
	addr, err := rfc5321.ParseAddress(have.Address)
	switch {
	case have.Address == "" && x.mail != 0:
		c, err := t.edit(x.mail)
		if err != nil {
			return 0, err
		}
		return x.mail, t.attach(id, x.mail, c)
	case have.Address == "":
		return id, t.promote(id, p.email)
	case err == nil && addr.Key() == p.key || !p.identify:
		return id, nil
	case x.mail != 0:
		t.d.metrics.tracking.conflicts.Inc()
		return id, nil
	case p.at.UnixMicro() < have.Identified:
		return id, nil
	}
	return id, t.readdress(id, addr.Key(), p.email, p.at)
}

// readdress changes the address of a contact. What the person asked for goes with
// it to the new address: unsubscriptions, complaints, what an operator said. That
// the old mailbox does not exist says nothing about the new one.
func (t *tx) readdress(id uint64, old string, to rfc5321.Address, at time.Time) error {
	c, err := t.edit(id)
	if err != nil {
		return err
	}
	k := to.Key()
	c.Address = to.String()
	t.addresses[old], t.addresses[k] = 0, id
	t.b.DeleteAddress(old)
	t.b.ByAddress(k, id)
	t.state(id).Address = store.AddressSum(k)
	t.soft[id] = nil
	was := t.d.hashes.Address(old)
	have, err := t.suppressionsOf(&was)
	if err != nil {
		return err
	}
	for _, x := range have {
		switch x.Reason {
		case ReasonHardBounce, ReasonSoftBounce, ReasonInvalid:
			continue
		}
		x.Hash, x.Address = t.d.hashes.Address(k), k
		t.addSuppression(x, id, at)
	}
	return nil
}

// attachAnonymous notes whose an anonymous id is from now on, and gives what it
// did before a name.
func (t *tx) attachAnonymous(p *prepared, id, owner uint64) error {
	if p.anon.Name == "" || owner == id {
		return nil
	}
	if owner != 0 {
		have, err := t.person(owner)
		if err != nil {
			return err
		}
		if have.Address == "" && have.UserID == "" {
			c, err := t.edit(id)
			if err != nil {
				return err
			}
			return t.attach(owner, id, c)
		}
	}
	return t.own(p.anon, id)
}

// previous returns whom the id that an alias gives up leads to.
func (t *tx) previous(p *prepared) (uint64, error) {
	id, err := t.whose(store.PersonID{Kind: store.AnonymousID, Name: p.previous})
	if err != nil || id != 0 {
		return id, err
	}
	return t.whose(store.PersonID{Kind: store.UserID, Name: p.previous})
}

// refuseAlias reports an alias of two contacts: both have addresses, a history
// and mail under way, and cannot be made one.
func (t *tx) refuseAlias(p *prepared) error {
	from, e1 := t.previous(p)
	to, e2 := t.whose(p.user)
	if e1 != nil || e2 != nil || from == 0 || to == 0 || from == to {
		return nil // the fold meets the same fault, or has less to do
	}
	if t.isContact(from) && t.isContact(to) {
		return reject("previousId and userId belong to two contacts with addresses of their own")
	}
	return nil
}

// alias makes two ids those of one person.
func (t *tx) alias(p *prepared) error {
	from, err := t.previous(p)
	if err != nil {
		return err
	}
	to, err := t.whose(p.user)
	if err != nil {
		return err
	}
	switch {
	case from == to && from != 0:
		return nil
	case from != 0 && to != 0:
		if t.isContact(from) {
			from, to = to, from
		}
		c, err := t.edit(to)
		if err != nil {
			return err
		}
		if err := t.attach(from, to, c); err != nil {
			return err
		}
	case from != 0:
		to = from
	case to == 0:
		if to, err = t.visitor(store.Contact{Created: p.at, Source: sourceTracking}); err != nil {
			return err
		}
	}
	if from == 0 { // nobody used it yet; from now on it leads here
		if err := t.own(store.PersonID{Kind: store.AnonymousID, Name: p.previous}, to); err != nil {
			return err
		}
	}
	c, err := t.edit(to)
	if err != nil {
		return err
	}
	c.UserID = p.user.Name
	return t.own(p.user, to)
}
