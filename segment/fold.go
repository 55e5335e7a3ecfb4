// SPDX-License-Identifier: Apache-2.0

package segment

import (
	"errors"
	"slices"

	"github.com/seguemta/segue/segment/rule"
	"github.com/seguemta/segue/segment/store"
)

// fold applies one prepared call. An error that wraps [ErrRejected] means that it
// changed nothing; after another one the tx must be given up.
func (t *tx) fold(p *prepared) error {
	if p.reason != nil {
		return p.reason
	}
	verdict, err := t.known(p.hash)
	if err != nil {
		return err
	}
	switch verdict {
	case store.Unseen:
	case store.Rejected:
		return reject("it was rejected before")
	default:
		t.d.metrics.tracking.repeated.Inc()
		return nil
	}
	if err := t.refuse(p); err != nil {
		if failed := t.take(p.hash, store.Rejected); failed != nil { // the first answer stands, whatever changes since
			return failed
		}
		return err
	}
	if err := t.take(p.hash, store.Applied); err != nil {
		return err
	}
	if p.kind == CallAlias {
		return t.alias(p)
	}
	id, err := t.resolve(p)
	if err != nil {
		return err
	}
	account, err := t.accountOf(p)
	if err != nil {
		return err
	}
	if err := t.learn(p, id, account); err != nil {
		return err
	}
	if p.event.Name == "" {
		return nil
	}
	e := p.event
	e.Account = account
	return t.happen(id, e)
}

// refuse reports what only the store can tell to be wrong with a call.
func (t *tx) refuse(p *prepared) error {
	if err := t.refuseErased(p); err != nil {
		return err
	}
	if p.kind == CallAlias {
		return t.refuseAlias(p)
	}
	if p.firm.parent == "" || p.firm.id == "" {
		return nil
	}
	if p.firm.parent == p.firm.id {
		return reject("parent_id: %w", ErrHierarchy)
	}
	id, e1 := t.lookup(t.groups, p.firm.id, t.d.store.AccountByGroup)
	parent, e2 := t.lookup(t.groups, p.firm.parent, t.d.store.AccountByGroup)
	if e1 != nil || e2 != nil || id == 0 || parent == 0 {
		return nil // the fold meets the same fault, or makes what is missing
	}
	if err := t.checkParent(id, parent); err != nil {
		return reject("parent_id: %w", err)
	}
	return nil
}

// learn writes what a call says about its person and its account, and makes the
// person belong to the account where the call says so.
func (t *tx) learn(p *prepared, id, account uint64) error {
	if err := t.learnAccount(p, account); err != nil {
		return err
	}
	have, err := t.person(id)
	if err != nil {
		return err
	}
	c := &t.draft
	*c = *have
	if err := t.describe(c, p); err != nil {
		return err
	}
	if err := t.saas(p, id, account, c); err != nil {
		return err
	}
	joins := p.kind == CallGroup || p.kind == CallIdentify && (p.firm.id != "" || p.firm.name != "")
	if joins && account != 0 {
		if err := t.join(id, c, account, store.Edge{Since: p.at, Told: p.at}); err != nil {
			return err
		}
	}
	if !sameRecord(have, c) {
		next := *c
		t.put(id, &next)
	}
	if c.Address == "" || p.person.consent.IsZero() {
		return nil // no mail of a visitor can have been unsubscribed from
	}
	return t.consented(id, addressKey(c.Address), consent{p.person.consent, p.person.consentBy, p.at})
}

// describe merges what a call says about its person. Of two calls the one with
// the later time stands, in whatever order they come.
func (t *tx) describe(c *store.Contact, p *prepared) error {
	x := &p.person
	at := p.event.Time
	if p.event.Name == "" {
		at = p.at.UnixMicro()
	}
	late := at < c.Identified
	set := func(to *string, value string) {
		if value != "" && (!late || *to == "") {
			*to = value
		}
	}
	set(&c.Zone, x.zone)
	set(&c.Language, x.language)
	c.Zone = orElse(c.Zone, x.hintZone)
	c.Language = orElse(c.Language, x.hintLanguage)
	c.Source = orElse(c.Source, x.source)
	if !x.created.IsZero() && !late {
		c.Created = x.created
	}
	if !x.consent.IsZero() && (!late || c.Consent.IsZero()) {
		c.Consent, c.ConsentBy = x.consent, x.consentBy
	}
	if x.tagged && (!late || len(c.Tags) == 0) {
		c.Tags = x.tags
	}
	if err := t.write(&c.Attributes, &c.Identified, x.values, rule.Contact, at); err != nil {
		return err
	}
	if p.kind == CallIdentify {
		c.Identified = max(c.Identified, at)
	}
	return nil
}

// sameRecord reports whether two records hold the same. Slices are replaced when
// they change, so looking at where they are is enough.
func sameRecord(a, b *store.Contact) bool {
	return a.Address == b.Address && a.UserID == b.UserID && a.Zone == b.Zone && a.Language == b.Language && a.Source == b.Source &&
		a.Created.Equal(b.Created) && a.Consent.Equal(b.Consent) && a.ConsentBy == b.ConsentBy && a.Identified == b.Identified &&
		slices.Equal(a.Tags, b.Tags) && slices.Equal(a.Edges, b.Edges) && slices.Equal(a.Former, b.Former) &&
		string(a.Attributes) == string(b.Attributes)
}

// accountOf returns the account that a call is about, 0 for none. A group id
// nobody has heard of makes one.
func (t *tx) accountOf(p *prepared) (uint64, error) {
	group := orElse(p.firm.id, p.group)
	switch {
	case group != "":
		return t.group(group, p.firm.name, p.firm.domain)
	case p.firm.name != "":
		return t.named(p.firm.name)
	}
	return 0, nil
}

// learnAccount writes what a call says about an account.
func (t *tx) learnAccount(p *prepared, id uint64) error {
	f := &p.firm
	if id == 0 || f.name == "" && f.domain == "" && f.parent == "" && !f.orphan && len(f.values) == 0 {
		return nil
	}
	a, err := t.account(id)
	if err != nil {
		return err
	}
	at := p.at.UnixMicro()
	if at >= a.Identified {
		if err := t.rename(id, f.name, f.domain); err != nil {
			return err
		}
		if err := t.adopt(id, f); err != nil {
			return err
		}
	}
	if a, err = t.editAccount(id); err != nil {
		return err
	}
	return t.write(&a.Attributes, &a.Identified, f.values, rule.Account, at)
}

// adopt makes an account a part of the one that its traits name.
func (t *tx) adopt(id uint64, f *company) error {
	if f.orphan {
		return t.setParent(id, 0)
	}
	if f.parent == "" {
		return nil
	}
	parent, err := t.group(f.parent, "", "")
	if err != nil {
		return err
	}
	err = t.setParent(id, parent)
	if errors.Is(err, ErrHierarchy) { // the account turned out to be one that an import made
		t.d.metrics.tracking.unusable.Inc()
		return nil
	}
	return err
}
