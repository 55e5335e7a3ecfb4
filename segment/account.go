// SPDX-License-Identifier: Apache-2.0

package segment

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/seguemta/segue/segment/rule"
	"github.com/seguemta/segue/segment/store"
)

// Limits of accounts.
const (
	maxEdges  = 256 // accounts of one contact
	maxFormer = 256 // accounts that it left and that are remembered
	maxParent = 32  // levels of accounts above one
)

// ErrHierarchy says that an account would be a part of itself, or too deep.
var ErrHierarchy = errors.New("accounts would be part of each other in a circle or more than 32 levels deep")

// account returns an account as this tx sees it. It must not be changed; see
// editAccount.
func (t *tx) account(id uint64) (*store.Account, error) {
	if a, ok := t.accounts[id]; ok {
		return a, nil
	}
	a, ok, err := t.d.store.Account(id)
	if err != nil || !ok {
		return nil, fmt.Errorf("reading account %d: %w", id, orCorrupt(err))
	}
	return &a, nil
}

// editAccount returns an account to be changed; it is written at commit.
func (t *tx) editAccount(id uint64) (*store.Account, error) {
	a, err := t.account(id)
	if err != nil || a == t.accounts[id] {
		return a, err
	}
	next := *a
	t.accounts[id] = &next
	return &next, nil
}

// group returns the account with a group id, and makes it where there is none.
// Where an account that an import made has the name or the domain, and no group
// id yet, it is that one.
func (t *tx) group(group, name, domain string) (uint64, error) {
	id, err := t.lookup(t.groups, group, t.d.store.AccountByGroup)
	if err != nil || id != 0 {
		return id, err
	}
	if id, err = t.accountWithoutGroup(name, domain); err != nil {
		return 0, err
	}
	if id == 0 {
		if id, err = t.newID(&t.d.write.accounts); err != nil {
			return 0, err
		}
		t.accounts[id] = &store.Account{Name: group}
	}
	a, err := t.editAccount(id)
	if err != nil {
		return 0, err
	}
	a.Group = group
	t.groups[group] = id
	t.b.AccountByGroup(group, id)
	return id, nil
}

// accountWithoutGroup returns the account with a name, or a domain, that has no group
// id yet, 0 if there is none.
func (t *tx) accountWithoutGroup(name, domain string) (uint64, error) {
	byName, e1 := t.lookup(t.names, strings.ToLower(name), t.d.store.AccountByName)
	byDomain, e2 := t.lookup(t.domains, domain, t.d.store.AccountByDomain)
	if err := errors.Join(e1, e2); err != nil {
		return 0, err
	}
	for _, id := range []uint64{byName, byDomain} {
		if id == 0 {
			continue
		}
		if a, err := t.account(id); err != nil || a.Group == "" {
			return id, err
		}
	}
	return 0, nil
}

// accountOfRow returns the account that a row names, 0 where there is none yet.
func (t *tx) accountOfRow(r *row) (uint64, error) {
	if r.group != "" {
		id, err := t.lookup(t.groups, r.group, t.d.store.AccountByGroup)
		if err != nil || id != 0 {
			return id, err
		}
		return t.accountWithoutGroup(r.account, r.domain)
	}
	byName, e1 := t.lookup(t.names, strings.ToLower(r.account), t.d.store.AccountByName)
	byDomain, e2 := t.lookup(t.domains, r.domain, t.d.store.AccountByDomain)
	if err := errors.Join(e1, e2); err != nil {
		return 0, err
	}
	return t.called(r.account, byName, byDomain)
}

// called is the account that a name and a domain lead to, 0 for none: that of the
// domain where there is no name, or where it is known by its domain alone.
func (t *tx) called(name string, byName, byDomain uint64) (uint64, error) {
	if byName != 0 || byDomain == 0 {
		return byName, nil
	}
	a, err := t.account(byDomain)
	if err != nil || name != "" && a.Name != a.Domain {
		return 0, err
	}
	return byDomain, nil
}

// named returns the account with a name, and makes it where there is none.
func (t *tx) named(name string) (uint64, error) {
	k := strings.ToLower(name)
	id, err := t.lookup(t.names, k, t.d.store.AccountByName)
	if err != nil || id != 0 {
		return id, err
	}
	if id, err = t.newID(&t.d.write.accounts); err != nil {
		return 0, err
	}
	t.accounts[id] = &store.Account{Name: name}
	t.names[k] = id
	t.b.AccountByName(k, id)
	return id, nil
}

// rename gives an account a name and a domain; "" leaves what is there. A name
// or a domain that leads to another account goes on doing so.
func (t *tx) rename(id uint64, name, domain string) error {
	a, err := t.account(id)
	if err != nil || (name == "" || name == a.Name) && (domain == "" || domain == a.Domain) {
		return err
	}
	if a, err = t.editAccount(id); err != nil {
		return err
	}
	if name != "" && name != a.Name {
		old, k := strings.ToLower(a.Name), strings.ToLower(name)
		was, e1 := t.lookup(t.names, old, t.d.store.AccountByName)
		taken, e2 := t.lookup(t.names, k, t.d.store.AccountByName)
		if err := errors.Join(e1, e2); err != nil {
			return err
		}
		if was == id && old != k {
			t.names[old] = 0
			t.b.DeleteAccountName(old)
		}
		if taken == 0 {
			t.names[k] = id
			t.b.AccountByName(k, id)
		}
		a.Name = name
	}
	if domain != "" && domain != a.Domain {
		taken, err := t.lookup(t.domains, domain, t.d.store.AccountByDomain)
		if err != nil {
			return err
		}
		if taken == 0 {
			t.domains[domain] = id
			t.b.AccountByDomain(domain, id)
		}
		a.Domain = domain
	}
	return nil
}

// setParent makes an account a part of another, 0 of none. It refuses circles.
func (t *tx) setParent(id, parent uint64) error {
	if err := t.checkParent(id, parent); err != nil {
		return err
	}
	a, err := t.account(id)
	if err != nil || a.Parent == parent {
		return err
	}
	if a, err = t.editAccount(id); err != nil {
		return err
	}
	a.Parent = parent
	return nil
}

// checkParent walks up from the parent: it must not meet the account. How deep
// the accounts below it reach is not looked at; the walk up ends all the same.
func (t *tx) checkParent(id, parent uint64) error {
	for level, at := 0, parent; at != 0; level++ {
		if at == id || level == maxParent {
			return ErrHierarchy
		}
		a, err := t.account(at)
		if err != nil {
			return err
		}
		at = a.Parent
	}
	return nil
}

// join makes a contact or visitor belong to an account, with a role, "" for
// none or the one it has. Its record c is written by the caller. how.Told is the
// time of the call that says so; zero means that an import does, which is no news
// for who belongs to the account already. A contact that left at a later time
// stays out.
func (t *tx) join(id uint64, c *store.Contact, account uint64, how store.Edge) error {
	is := func(e store.Edge) bool { return e.Account == account }
	e := store.Edge{Account: account, Role: how.Role, Since: cutSecond(how.Since), Told: cutSecond(how.Told)}
	if at := slices.IndexFunc(c.Edges, is); at >= 0 {
		t.confirm(id, c, at, e)
		return nil
	}
	if e.Told.IsZero() {
		e.Told = e.Since
	}
	if open, err := t.open(account, e.Told); err != nil || !open {
		return err
	}
	if left := slices.IndexFunc(c.Former, is); left >= 0 {
		if e.Told.Before(c.Former[left].Told) {
			return nil
		}
		e.ID = c.Former[left].ID
		c.Former = slices.Delete(slices.Clone(c.Former), left, left+1)
	}
	if len(c.Edges) >= maxEdges {
		t.d.metrics.tracking.unusable.Inc()
		return nil
	}
	if e.ID == 0 {
		var err error
		if e.ID, err = t.newID(&t.d.write.edges); err != nil {
			return err
		}
	}
	c.Edges = append(slices.Clone(c.Edges), e)
	t.edge(id, c, e, false)
	return nil
}

// confirm notes what a call says about an edge that is there.
func (t *tx) confirm(id uint64, c *store.Contact, at int, said store.Edge) {
	next := c.Edges[at]
	if said.Role != "" && (next.Role == "" || !said.Told.Before(next.Told)) {
		next.Role = said.Role
	}
	if said.Told.After(next.Told) {
		next.Told = said.Told
	}
	if next == c.Edges[at] {
		return
	}
	if next.Role != c.Edges[at].Role {
		t.edge(id, c, next, false)
	}
	c.Edges = slices.Clone(c.Edges)
	c.Edges[at] = next
}

func cutSecond(at time.Time) time.Time {
	if at.IsZero() {
		return at
	}
	return at.UTC().Truncate(time.Second)
}

// open reports whether an account can be joined at an instant: not if it was
// deleted later. One that was deleted before is an account again.
func (t *tx) open(account uint64, at time.Time) (bool, error) {
	a, err := t.account(account)
	if err != nil || a.Deleted.IsZero() {
		return err == nil, err
	}
	if !at.After(a.Deleted) {
		return false, nil
	}
	if a, err = t.editAccount(account); err != nil {
		return false, err
	}
	a.Deleted = time.Time{}
	return true, nil
}

// leave ends that a contact or visitor belongs to an account, unless it joined
// later. That it left is remembered even where it never was in: the call that
// says it joined may come late.
func (t *tx) leave(id uint64, c *store.Contact, account uint64, at time.Time) {
	is := func(e store.Edge) bool { return e.Account == account }
	at = cutSecond(at)
	gone := store.Edge{Account: account, Told: at}
	if i := slices.IndexFunc(c.Edges, is); i >= 0 {
		if at.Before(c.Edges[i].Told) {
			return
		}
		gone.ID = c.Edges[i].ID
		c.Edges = slices.Delete(slices.Clone(c.Edges), i, i+1)
		t.edge(id, c, gone, true)
	}
	former := slices.Clone(c.Former)
	if i := slices.IndexFunc(former, is); i >= 0 {
		if !former[i].Told.Before(at) {
			return
		}
		gone.ID = former[i].ID
		former = slices.Delete(former, i, i+1)
	}
	if former = append(former, gone); len(former) > maxFormer {
		former = former[1:]
	}
	c.Former = former
}

// edge notes a change of an edge. Those of a visitor are in its record alone, so
// that an account's contacts are contacts.
func (t *tx) edge(id uint64, c *store.Contact, e store.Edge, gone bool) {
	if c.Address != "" {
		t.edges[edgeKey{id, e.Account}] = edgeChange{id: e.ID, gone: gone}
	}
}

// write merges values into a record of attributes, unless it was last written at
// a later time: then only what is missing is filled.
func (t *tx) write(record *[]byte, last *int64, values []attribute, of rule.Scope, at int64) error {
	if len(values) == 0 {
		return nil
	}
	have := t.d.schema.NewValues()
	if at < *last {
		if err := t.d.schema.Decode(*record, have.Slots); err != nil {
			return err
		}
		values = slices.DeleteFunc(slices.Clone(values), func(a attribute) bool {
			return a.value.Type() == rule.Missing || have.Slots[a.slot].Type() != rule.Missing
		})
		have.Clear()
	}
	next, err := t.d.merge(*record, values, of, have)
	if err != nil {
		return err
	}
	*record, *last = next, max(*last, at)
	return nil
}

// merge sets values in a record of package rule. Names the schema no longer
// declares are kept.
func (d *DB) merge(record []byte, values []attribute, of rule.Scope, room *rule.Values) ([]byte, error) {
	if len(values) == 0 {
		return record, nil
	}
	room.Clear()
	slots := room.Slots
	var others []byte
	err := rule.Records(record, func(name string, v rule.Value) {
		if slot, kind, ok := d.schema.Slot(name); ok && kind == v.Type() {
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
	return append(d.schema.Encode(nil, of, slots), others...), nil
}
