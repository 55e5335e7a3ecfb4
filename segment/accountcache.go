// SPDX-License-Identifier: Apache-2.0

package segment

import (
	"fmt"
	"sync"

	"github.com/seguemta/segue/segment/rule"
	"github.com/seguemta/segue/segment/store"
)

// keptAccounts bounds the accounts in memory, of some hundred bytes each.
const keptAccounts = 50_000

// accountCache keeps committed accounts with their attributes taken apart: one
// account is read for each of its contacts.
type accountCache struct {
	sync.RWMutex
	known  map[uint64]*knownAccount
	writes uint64 // commits that changed accounts: what was read before one may be old
}

// knownAccount is an account as rules read it. It is not changed.
type knownAccount struct {
	record store.Account
	values []attribute
}

// knownAccount returns a committed account.
func (d *DB) knownAccount(id uint64) (*knownAccount, error) {
	c := &d.accounts
	c.RLock()
	a, writes := c.known[id], c.writes
	c.RUnlock()
	if a != nil {
		return a, nil
	}
	record, ok, err := d.store.Account(id)
	if err != nil || !ok {
		return nil, fmt.Errorf("reading account %d: %w", id, orCorrupt(err))
	}
	if a, err = d.takeApart(id, &record); err != nil {
		return nil, err
	}
	c.Lock()
	defer c.Unlock()
	if c.writes == writes {
		if c.known == nil || len(c.known) >= keptAccounts {
			c.known = map[uint64]*knownAccount{}
		}
		c.known[id] = a
	}
	return a, nil
}

// takeApart decodes the attributes of an account that are declared.
func (d *DB) takeApart(id uint64, record *store.Account) (*knownAccount, error) {
	a := &knownAccount{record: *record}
	if err := d.schema.Each(record.Attributes, func(slot int, v rule.Value) { a.values = append(a.values, attribute{slot, v}) }); err != nil {
		return nil, fmt.Errorf("reading attributes of account %d: %w", id, err)
	}
	return a, nil
}

// forget drops what a commit wrote.
func (c *accountCache) forget(written map[uint64]*store.Account) {
	if len(written) == 0 {
		return
	}
	c.Lock()
	defer c.Unlock()
	c.writes++
	for id := range written {
		delete(c.known, id)
	}
}

// drop drops everything.
func (c *accountCache) drop() {
	c.Lock()
	defer c.Unlock()
	c.writes++
	c.known = nil
}

// knownAccount is that of the DB, as this tx sees it.
func (t *tx) knownAccount(id uint64) (*knownAccount, error) {
	if a, ok := t.accounts[id]; ok {
		return t.d.takeApart(id, a)
	}
	return t.d.knownAccount(id)
}

func (r *stored) knownAccount(id uint64) (*knownAccount, error) {
	if a, ok := r.accounts[id]; ok {
		return a, nil
	}
	a, err := r.d.knownAccount(id)
	if err != nil {
		return nil, err
	}
	if len(r.accounts) >= walkAccounts {
		clear(r.accounts)
	}
	if r.accounts != nil {
		r.accounts[id] = a
	}
	return a, nil
}
