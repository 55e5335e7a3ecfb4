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
	c := store.Contact{Batch: im.o.Batch, Created: im.p.At, Source: sourceImport}
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
		if err := t.join(id, c, account, store.Edge{Since: im.p.At}); err != nil {
			return err
		}
	}
	if r.zone != "" {
		c.Zone = r.zone
	}
	if !r.consent.IsZero() {
		c.Consent = r.consent
	}
	if r.user != "" && r.user != c.UserID {
		moved, err := t.takeUser(id, c, r.user)
		if err != nil {
			return err
		}
		if moved {
			im.p.Moved++
		}
	}
	var err error
	c.Attributes, err = im.d.merge(c.Attributes, r.contactValues, rule.Contact, im.values)
	if err != nil {
		return fmt.Errorf("reading attributes of contact %d: %w", id, err)
	}
	return nil
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
	a, err := t.account(id)
	if err != nil {
		return 0, err
	}
	next := *a
	if r.account != "" && (next.Name == "" || next.Name == next.Domain) {
		next.Name = r.account
	}
	if r.domain != "" && next.Domain == "" {
		next.Domain = r.domain
	}
	if next.Attributes, err = im.d.merge(a.Attributes, r.accountVals, rule.Account, im.values); err != nil {
		return 0, fmt.Errorf("reading attributes of account %d: %w", id, err)
	}
	if next.Name != a.Name || next.Domain != a.Domain || !bytes.Equal(next.Attributes, a.Attributes) {
		t.accounts[id] = &next
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
		a, err := t.account(byDomain)
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
		t.accounts[id] = &store.Account{Name: orElse(r.account, r.domain), Domain: r.domain}
	}
	if name != "" && byName == 0 {
		t.names[name] = id
		t.b.AccountByName(name, id)
	}
	if r.domain != "" && byDomain == 0 {
		t.domains[r.domain] = id
		t.b.AccountByDomain(r.domain, id)
	}
	return id, nil
}
