// SPDX-License-Identifier: Apache-2.0

package segment

import (
	"bytes"
	"errors"
	"fmt"
	"hash/maphash"
	"slices"
	"strings"

	"github.com/seguemta/segue/segment/rule"
	"github.com/seguemta/segue/segment/store"
)

// apply folds one row into the open write. A *fault is what only the store could
// tell to be wrong with the row.
func (im *importer) apply(t *tx, r *row) (effect, error) {
	if t.d.barred(r.key, r.user) {
		return effectNone, &fault{"", errErased.Error()}
	}
	switch im.o.Kind {
	case KindAccounts:
		if err := im.checkParent(t, r); err != nil {
			return effectNone, err
		}
		_, did, err := im.account(t, r)
		return did, err
	case KindEvents:
		return im.event(t, r)
	case KindLists:
		return im.membership(t, r)
	default:
		return im.contact(t, r)
	}
}

// contact folds one contact into the open write.
func (im *importer) contact(t *tx, r *row) (effect, error) {
	account, _, err := im.account(t, r)
	if err != nil {
		return effectNone, err
	}
	id, err := t.find(0, r.key)
	if err != nil {
		return effectNone, err
	}
	if id == 0 {
		return im.create(t, r, account)
	}
	have, err := t.contact(id)
	if err != nil {
		return effectNone, err
	}
	c := *have
	if err := im.merge(t, id, &c, r, account); err != nil {
		return effectNone, err
	}
	before := t.peek(id)
	st := before
	mergeHistory(&st, r)
	did := effectNone
	if !bytes.Equal(have.Append(nil), c.Append(nil)) {
		t.record(id, &c)
		did = effectChanged
	}
	if st != before {
		*t.state(id) = st
		im.flip(t, id, r, &before, &st)
		did = effectChanged
	}
	return did, nil
}

// membership puts a contact on the lists of a row, and makes one of an address
// nobody knew.
func (im *importer) membership(t *tx, r *row) (effect, error) {
	id, err := t.find(0, r.key)
	if err != nil {
		return effectNone, err
	}
	if id == 0 {
		return im.create(t, r, 0)
	}
	have, err := t.contact(id)
	if err != nil {
		return effectNone, err
	}
	c := *have
	if c.Lists = union(c.Lists, r.lists); len(c.Lists) == len(have.Lists) {
		return effectNone, nil
	}
	t.record(id, &c)
	return im.making(r.key + " " + r.lists[0]), nil
}

// union adds names to a sorted list; it never writes into the list.
func union(have, more []string) []string {
	if len(more) == 0 {
		return have
	}
	all := slices.Concat(have, more)
	slices.Sort(all)
	return slices.Compact(all)
}

// effect is what a row did.
type effect uint8

const (
	effectNone effect = iota
	effectChanged
	effectMade
)

func (im *importer) count(did effect) {
	switch did {
	case effectMade:
		im.p.Created++
	case effectChanged:
		im.p.Updated++
	default:
		im.p.Same++
	}
}

// foreseen is what a dry run has counted as made, by hash. It is bounded: a file
// may have any number of rows.
type foreseen struct {
	seed maphash.Seed
	keys map[uint64]struct{}
}

const maxForeseen = 1 << 20

// create is the effect of making what key names: effectMade the first time, effectChanged
// when the dry run has counted it already.
func (f *foreseen) create(kind, key string) effect {
	if f.keys == nil {
		f.seed, f.keys = maphash.MakeSeed(), map[uint64]struct{}{}
	}
	h := maphash.String(f.seed, kind+" "+key)
	if _, ok := f.keys[h]; ok {
		return effectChanged
	}
	if len(f.keys) < maxForeseen {
		f.keys[h] = struct{}{}
	}
	return effectMade
}

// making is the effect of making what key names.
func (im *importer) making(key string) effect {
	if im.o.DryRun {
		return im.made.create(im.o.Kind, key)
	}
	return effectMade
}

func (im *importer) create(t *tx, r *row, account uint64) (effect, error) {
	c := store.Contact{Batch: im.o.Batch, Created: im.p.At, Source: sourceImport}
	id, err := t.create(r.address, c)
	if err != nil {
		return effectNone, err
	}
	if err := im.merge(t, id, t.records[id], r, account); err != nil {
		return effectNone, err
	}
	mergeHistory(t.state(id), r)
	key := r.key
	if im.o.Kind == KindLists {
		key += " " + r.lists[0]
	}
	return im.making(key), nil
}

// flip notes a change of tier, as events do. Mail of a contact that the import makes
// may be queued already: it is told when its event comes, see [tx.admitted].
func (im *importer) flip(t *tx, id uint64, r *row, before, after *store.State) {
	from := t.d.tiers.Of(history(before), im.p.At)
	to := t.d.tiers.Of(history(after), im.p.At)
	if from != to {
		t.flip(store.Flip{
			Time: im.p.At, Contact: id, Address: r.key, Kind: FlipTier,
			From: from.String(), To: to.String(), Cause: causeImport,
		})
		t.told[id] = to
	}
}

// merge sets in a contact's record what the row says.
func (im *importer) merge(t *tx, id uint64, c *store.Contact, r *row, account uint64) error {
	if account != 0 {
		if err := t.join(id, c, account, store.Edge{Role: r.role, Since: im.p.At}); err != nil {
			return err
		}
	}
	if r.zone != "" {
		c.Zone = r.zone
	}
	c.Language, c.Source = orElse(r.language, c.Language), orElse(r.source, c.Source)
	if !r.consent.IsZero() {
		c.Consent, c.ConsentBy = r.consent, r.consentBy
		if err := t.consented(id, r.key, consent{r.consent, r.consentBy, im.p.At}); err != nil {
			return err
		}
	}
	if !r.created.IsZero() {
		c.Created = r.created
	}
	c.Tags, c.Lists = union(c.Tags, r.tags), union(c.Lists, r.lists)
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
// says about it; 0 where the row names none. The group id decides, then the name;
// a domain finds the account where there is no name, or one known by its domain
// alone. Rows of contacts never rename an account.
func (im *importer) account(t *tx, r *row) (uint64, effect, error) {
	if r.account == "" && r.domain == "" && r.group == "" {
		return 0, effectNone, nil
	}
	id, did, err := im.findAccount(t, r)
	if err != nil {
		return 0, effectNone, err
	}
	a, err := t.account(id)
	if err != nil {
		return 0, effectNone, err
	}
	before := a.Append(nil)
	name, domain := r.account, r.domain
	if strings.EqualFold(name, a.Name) {
		name = "" // the first spelling stays
	}
	if im.o.Kind != KindAccounts {
		if a.Name != "" && a.Name != a.Domain && a.Name != a.Group {
			name = ""
		}
		if a.Domain != "" {
			domain = ""
		}
	}
	if err := t.rename(id, name, domain); err != nil {
		return 0, effectNone, err
	}
	if err := im.describe(t, id, r); err != nil {
		return 0, effectNone, err
	}
	if a, err = t.account(id); err != nil {
		return 0, effectNone, err
	}
	if !bytes.Equal(before, a.Append(nil)) {
		did = max(did, effectChanged)
	}
	return id, did, nil
}

// describe writes attributes and parent of an account.
func (im *importer) describe(t *tx, id uint64, r *row) error {
	if len(r.accountVals) > 0 {
		a, err := t.editAccount(id)
		if err != nil {
			return err
		}
		if a.Attributes, err = im.d.merge(a.Attributes, r.accountVals, rule.Account, im.values); err != nil {
			return fmt.Errorf("reading attributes of account %d: %w", id, err)
		}
	}
	if r.parent == "" {
		return nil
	}
	parent, err := t.anyAccount(r.parent)
	if err == nil && parent == 0 {
		parent, err = t.named(r.parent)
	}
	if err != nil {
		return err
	}
	return t.setParent(id, parent)
}

// anyAccount returns the account with a group id, a name or a domain, in this
// order; 0 if there is none.
func (t *tx) anyAccount(text string) (uint64, error) {
	id, err := t.lookup(t.groups, text, t.d.store.AccountByGroup)
	if id == 0 && err == nil {
		id, err = t.lookup(t.names, strings.ToLower(text), t.d.store.AccountByName)
	}
	if id == 0 && err == nil {
		id, err = t.lookup(t.domains, strings.ToLower(text), t.d.store.AccountByDomain)
	}
	return id, err
}

// checkParent refuses a parent that is a part of the account, before anything of
// the row is written.
func (im *importer) checkParent(t *tx, r *row) error {
	if r.parent == "" {
		return nil
	}
	parent, err := t.anyAccount(r.parent)
	if err != nil || parent == 0 {
		return err
	}
	id, err := t.accountOfRow(r)
	if err != nil {
		return err
	}
	if err = t.checkParent(id, parent); errors.Is(err, ErrHierarchy) {
		return &fault{"parent", ErrHierarchy.Error()}
	}
	return err
}

func (im *importer) findAccount(t *tx, r *row) (uint64, effect, error) {
	if r.group != "" {
		given := t.given
		id, err := t.group(r.group, r.account, r.domain)
		if err == nil && t.given > given {
			return id, im.making(r.group), nil
		}
		return id, effectNone, err
	}
	name := strings.ToLower(r.account)
	byName, err := t.lookup(t.names, name, t.d.store.AccountByName)
	if err != nil {
		return 0, effectNone, err
	}
	byDomain, err := t.lookup(t.domains, r.domain, t.d.store.AccountByDomain)
	if err != nil {
		return 0, effectNone, err
	}
	id, err := t.called(name, byName, byDomain)
	if err != nil {
		return 0, effectNone, err
	}
	did := effectNone
	if id == 0 {
		if id, err = t.newID(&t.d.write.accounts); err != nil {
			return 0, effectNone, err
		}
		t.accounts[id] = &store.Account{Name: orElse(r.account, r.domain), Domain: r.domain}
		did = im.making(orElse(name, r.domain))
	}
	if name != "" && byName == 0 {
		t.names[name] = id
		t.b.AccountByName(name, id)
	}
	if r.domain != "" && byDomain == 0 {
		t.domains[r.domain] = id
		t.b.AccountByDomain(r.domain, id)
	}
	return id, did, nil
}
