// SPDX-License-Identifier: Apache-2.0

package segment

import (
	"errors"
	"strings"
	"time"

	"github.com/seguemta/segue/mta/rfc5321"
	"github.com/seguemta/segue/segment/rule"
	"github.com/seguemta/segue/segment/store"
)

// Values of the attribute "status" that the trial events write.
const (
	statusTrial      = "trial"
	statusTrialEnded = "trial_ended"
)

// readSaaS reads what the properties of the events of the B2B SaaS specification
// say about people and accounts.
func (d *DB) readSaaS(p *prepared, of map[string]any) {
	switch p.event.Name {
	case EventAccountCreated, EventAccountDeleted:
		p.firm.id, p.firm.name = p.group, text(of, "account_name", "accountName")
	case EventSignedUp:
		p.identify = true
		said := map[string]any{}
		for _, name := range []string{"first_name", "last_name", "firstName", "lastName", "phone", "username", "title"} {
			if v, ok := of[name]; ok {
				said[name] = v
			}
		}
		d.readPerson(p, said)
	case EventInviteSent:
		d.readInvite(p, of)
	case EventAccountAddedUser:
		p.person.role = text(of, "role")
	case EventTrialStarted, EventTrialEnded:
		d.readTrial(p, of)
	}
}

// readInvite reads whom an invitation was sent to.
func (d *DB) readInvite(p *prepared, of map[string]any) {
	x := &p.invite
	addr, err := rfc5321.ParseAddress(text(of, "invitee_email", "inviteeEmail"))
	if err != nil {
		p.unusable++
		return
	}
	x.address, x.key, x.role = addr, addr.Key(), text(of, "invitee_role", "inviteeRole")
	for name, v := range of {
		plain := strings.TrimPrefix(foldName(name), "invitee")
		if plain == "firstname" || plain == "lastname" {
			x.set(&d.fields, ofContact, plain, v)
		}
	}
}

// readTrial reads a trial into the attributes of that name, of the person and of
// the account, where they are declared.
func (d *DB) readTrial(p *prepared, of map[string]any) {
	for _, name := range []string{"trial_start_date", "trial_end_date", "trial_plan_name"} {
		v, ok := of[name]
		if !ok {
			continue
		}
		if _, _, declared := d.fields.find(ofContact, name); declared {
			p.person.set(&d.fields, ofContact, name, v)
		}
		if _, _, declared := d.fields.find(ofAccount, name); declared {
			p.firm.set(&d.fields, ofAccount, name, v)
		}
	}
	if p.event.Name == EventTrialStarted {
		p.person.setKnown(&d.fields, ofContact+"status", rule.TextValue(statusTrial))
		p.firm.setKnown(&d.fields, ofAccount+"status", rule.TextValue(statusTrial))
	}
}

// saas does what an event of the B2B SaaS specification means for the person, the
// account and the edge between them. c is the person's record, to be changed.
func (t *tx) saas(p *prepared, id, account uint64, c *store.Contact) error {
	switch p.event.Name {
	case EventSignedUp, EventAccountCreated, EventAccountAddedUser:
		if account == 0 {
			return nil
		}
		return t.join(id, c, account, store.Edge{Role: p.person.role, Since: p.at, Told: p.at})
	case EventAccountRemovedUser:
		if account != 0 {
			t.leave(id, c, account, p.at)
		}
	case EventAccountDeleted:
		if account != 0 {
			return t.deleteAccount(account, p.at)
		}
	case EventInviteSent:
		return t.invited(p, account)
	case EventTrialEnded:
		if err := t.trialEnded(&c.Attributes, &c.Identified, ofContact, p.event.Time); err != nil || account == 0 {
			return err
		}
		a, err := t.editAccount(account)
		if err != nil {
			return err
		}
		return t.trialEnded(&a.Attributes, &a.Identified, ofAccount, p.event.Time)
	}
	return nil
}

// trialEnded changes the status of who was on trial; who has bought by then is
// left alone.
func (t *tx) trialEnded(record *[]byte, last *int64, scope string, at int64) error {
	slot, kind, ok := t.d.schema.Slot(scope + "status")
	if !ok || kind != rule.Text || at < *last {
		return nil
	}
	have := t.d.schema.NewValues()
	if err := t.d.schema.Decode(*record, have.Slots); err != nil {
		return err
	}
	if have.Slots[slot].Text() != statusTrial {
		return nil
	}
	of := rule.Contact
	if scope == ofAccount {
		of = rule.Account
	}
	return t.write(record, last, []attribute{{slot, rule.TextValue(statusTrialEnded)}}, of, at)
}

// invited makes a contact of whom an invitation was sent to, fills what is not
// known of it, and makes it belong to the account that invited.
func (t *tx) invited(p *prepared, account uint64) error {
	x := &p.invite
	if x.key == "" || t.d.barred(x.key, "") {
		return nil
	}
	id, err := t.find(0, x.key)
	if err != nil {
		return err
	}
	if id == 0 {
		if id, err = t.create(x.address, store.Contact{Created: p.at, Source: sourceInvite}); err != nil {
			return err
		}
	}
	c, err := t.edit(id)
	if err != nil {
		return err
	}
	if err := t.write(&c.Attributes, &c.Identified, x.values, rule.Contact, minTime); err != nil {
		return err
	}
	if account == 0 {
		return nil
	}
	return t.join(id, c, account, store.Edge{Role: x.role, Since: p.at, Told: p.at})
}

// detachPage is how many contacts of a deleted account leave it in one commit.
const detachPage = 500

// deleteAccount marks an account as deleted and ends that its contacts belong to
// it. People are never deleted. The call was preceded by [DB.detach], so few
// contacts are left.
func (t *tx) deleteAccount(account uint64, at time.Time) error {
	if _, err := t.detach(account, at, 1<<30); err != nil {
		return err
	}
	a, err := t.editAccount(account)
	if err != nil {
		return err
	}
	if at.After(a.Deleted) {
		a.Deleted = at.Truncate(time.Second)
	}
	return nil
}

// detach takes up to limit contacts out of an account that was deleted, those
// that joined later excepted. It returns how many it took.
func (t *tx) detach(account uint64, at time.Time, limit int) (int, error) {
	done := 0
	err := t.d.store.ContactsOf(account, func(contact, _ uint64) error {
		n, err := t.expel(contact, account, at)
		if done += n; err == nil && done == limit {
			err = errEnough
		}
		return err
	})
	if err != nil && !errors.Is(err, errEnough) {
		return done, err
	}
	for k, e := range t.edges {
		if k.account == account && !e.gone && done < limit {
			n, err := t.expel(k.contact, account, at)
			if err != nil {
				return done, err
			}
			done += n
		}
	}
	return done, nil
}

// expel makes one contact leave an account and returns 1, or 0 where it is not in
// it or joined later.
func (t *tx) expel(id, account uint64, at time.Time) (int, error) {
	c, err := t.person(id)
	if err != nil {
		return 0, err
	}
	next := *c
	t.leave(id, &next, account, at)
	if len(next.Edges) == len(c.Edges) {
		return 0, nil
	}
	t.put(id, &next)
	return 1, nil
}

// detach takes contacts out of an account that is being deleted, page by page,
// until few are left: an account may have more of them than one commit should
// hold. Of one with few it leaves all to the commit. When it is interrupted, the call that deletes was not acknowledged, and
// comes again.
func (d *DB) detach(p *prepared) error {
	for {
		n, err := d.detachSome(p)
		if err != nil || n < detachPage {
			return err
		}
	}
}

func (d *DB) detachSome(p *prepared) (int, error) {
	d.write.Lock()
	defer d.write.Unlock()
	if d.write.closed {
		return 0, errClosed
	}
	t := d.begin()
	defer t.close()
	verdict, err := t.known(p.hash)
	if err != nil || verdict != store.Unseen {
		return 0, err
	}
	account, err := t.lookup(t.groups, p.group, d.store.AccountByGroup)
	if err != nil || account == 0 {
		return 0, err
	}
	members := 0
	err = d.store.ContactsOf(account, func(_, _ uint64) error {
		if members++; members > detachPage {
			return errEnough
		}
		return nil
	})
	if !errors.Is(err, errEnough) {
		return 0, err
	}
	n, err := t.detach(account, p.at, detachPage)
	if err != nil || n == 0 {
		return 0, err
	}
	return n, t.commit()
}
