// SPDX-License-Identifier: Apache-2.0

package segment

import (
	"bytes"
	"fmt"
	"strings"

	"github.com/seguemta/segue/segment/rule"
	"github.com/seguemta/segue/segment/store"
)

// apply folds one row into the open write.
func (im *importer) apply(t *tx, r *row) error {
	account, err := im.account(t, r)
	if err != nil {
		return err
	}
	id, err := t.find(0, r.key)
	if err != nil {
		return err
	}
	if id == 0 {
		return im.create(t, r, account)
	}
	have, err := t.contact(id)
	if err != nil {
		return err
	}
	c := *have
	if err := im.merge(t, id, &c, r, account); err != nil {
		return err
	}
	before := t.peek(id)
	st := before
	mergeHistory(&st, r)
	changed := !bytes.Equal(have.Append(nil), c.Append(nil))
	if changed {
		t.record(id, &c)
	}
	if st != before {
		*t.state(id) = st
		im.flip(t, id, r, &before, &st)
		changed = true
	}
	if changed {
		im.p.Updated++
	} else {
		im.p.Same++
	}
	return nil
}

func (im *importer) create(t *tx, r *row, account uint64) error {
	c := store.Contact{Batch: im.o.Batch, Created: im.p.At}
	id, err := t.create(r.address, c)
	if err != nil {
		return err
	}
	if err := im.merge(t, id, t.records[id], r, account); err != nil {
		return err
	}
	mergeHistory(t.state(id), r)
	im.p.Created++
	return nil
}

// flip notes a change of tier, as events do. A contact that the import makes
// has no mail that could care.
func (im *importer) flip(t *tx, id uint64, r *row, before, after *store.State) {
	from := t.d.tiers.Of(history(before), im.p.At)
	to := t.d.tiers.Of(history(after), im.p.At)
	if from != to {
		t.flip(store.Flip{
			Time: im.p.At, Contact: id, Address: r.key, Kind: FlipTier,
			From: from.String(), To: to.String(), Cause: "import",
		})
	}
}

// merge sets in a contact's record what the row says.
func (im *importer) merge(t *tx, id uint64, c *store.Contact, r *row, account uint64) error {
	if account != 0 {
		c.Account = account
	}
	if r.zone != "" {
		c.Zone = r.zone
	}
	if !r.consent.IsZero() {
		c.Consent = r.consent
	}
	if r.user != "" && r.user != c.UserID {
		if err := im.takeUser(t, id, c, r.user); err != nil {
			return err
		}
	}
	var err error
	c.Attributes, err = im.attributes(c.Attributes, r.contactValues, rule.Contact)
	if err != nil {
		return fmt.Errorf("reading attributes of contact %d: %w", id, err)
	}
	return nil
}

// takeUser gives a user id to a contact, and takes it from who had it.
func (im *importer) takeUser(t *tx, id uint64, c *store.Contact, user string) error {
	owner, ok := t.users[user]
	if !ok {
		var err error
		if owner, err = t.d.store.ByUser(user); err != nil {
			return fmt.Errorf("looking up a user id: %w", err)
		}
	}
	if owner != 0 && owner != id {
		other, err := t.contact(owner)
		if err != nil {
			return err
		}
		changed := *other
		changed.UserID = ""
		t.record(owner, &changed)
		im.p.Moved++
	}
	if c.UserID != "" {
		t.b.DeleteUser(c.UserID)
		t.users[c.UserID] = 0
	}
	c.UserID = user
	t.b.ByUser(user, id)
	t.users[user] = id
	return nil
}

// attributes merges values into a record of package rule. Names the schema no
// longer declares, or declares with another type, stay.
func (im *importer) attributes(record []byte, values []attribute, scope rule.Scope) ([]byte, error) {
	if len(values) == 0 {
		return record, nil
	}
	im.values.Clear()
	slots := im.values.Slots
	schema := im.d.schema
	var others []byte
	err := rule.Records(record, func(name string, v rule.Value) {
		if slot, kind, ok := schema.Slot(name); ok && kind == v.Type() {
			slots[slot] = v
		} else {
			others = rule.AppendNamed(others, name, v)
		}
	})
	if err != nil {
		return nil, err
	}
	for _, a := range values {
		slots[a.slot] = a.value
	}
	return append(schema.Encode(nil, scope, slots), others...), nil
}

// mergeHistory widens a contact's history by what a row knows. Doing it twice
// changes nothing more.
func mergeHistory(st *store.State, r *row) {
	current := r.last >= st.LastSent && r.engaged >= st.LastEngaged
	if r.first != 0 && (st.FirstSent == 0 || r.first < st.FirstSent) {
		st.FirstSent = r.first
	}
	st.LastSent = max(st.LastSent, r.last)
	if r.engaged > st.LastEngaged {
		st.LastEngaged = r.engaged
		if !r.hasSince && st.LastEngaged >= st.LastSent {
			st.Since = 0
		}
	}
	if r.hasSince && current {
		st.Since = r.since
	}
}

// account finds or makes the account that a row names, and merges what the row
// says about it; 0 where the row names none. The name decides; a domain finds
// the account where there is no name, or one known by its domain alone.
func (im *importer) account(t *tx, r *row) (uint64, error) {
	if r.account == "" && r.domain == "" {
		return 0, nil
	}
	id, err := im.findAccount(t, r)
	if err != nil {
		return 0, err
	}
	a := im.accounts[id]
	next := *a
	if r.account != "" && (next.Name == "" || next.Name == next.Domain) {
		next.Name = r.account
	}
	if r.domain != "" && next.Domain == "" {
		next.Domain = r.domain
	}
	if next.Attributes, err = im.attributes(a.Attributes, r.accountVals, rule.Account); err != nil {
		return 0, fmt.Errorf("reading attributes of account %d: %w", id, err)
	}
	if next.Name != a.Name || next.Domain != a.Domain || !bytes.Equal(next.Attributes, a.Attributes) {
		t.b.Account(id, &next)
		im.accounts[id] = &next
	}
	return id, nil
}

func (im *importer) findAccount(t *tx, r *row) (uint64, error) {
	name := strings.ToLower(r.account)
	byName, err := t.lookup(t.names, name, t.d.store.AccountByName)
	if err != nil {
		return 0, err
	}
	byDomain, err := t.lookup(t.domains, r.domain, t.d.store.AccountByDomain)
	if err != nil {
		return 0, err
	}
	id := byName
	if id == 0 && byDomain != 0 {
		a, err := im.load(t, byDomain)
		if err != nil {
			return 0, err
		}
		if name == "" || a.Name == a.Domain {
			id = byDomain
		}
	}
	if id == 0 {
		if id, err = t.d.write.accounts.take(t.d.store); err != nil {
			return 0, err
		}
		a := &store.Account{Name: orElse(r.account, r.domain), Domain: r.domain}
		im.accounts[id] = a
		t.b.Account(id, a)
	}
	if name != "" && byName == 0 {
		t.names[name] = id
		t.b.AccountByName(name, id)
	}
	if r.domain != "" && byDomain == 0 {
		t.domains[r.domain] = id
		t.b.AccountByDomain(r.domain, id)
	}
	_, err = im.load(t, id)
	return id, err
}

// load returns an account, from memory where it is there.
func (im *importer) load(t *tx, id uint64) (*store.Account, error) {
	if a, ok := im.accounts[id]; ok {
		return a, nil
	}
	a, ok, err := t.d.store.Account(id)
	if err != nil || !ok {
		return nil, fmt.Errorf("reading account %d: %w", id, orCorrupt(err))
	}
	im.accounts[id] = &a
	return &a, nil
}
