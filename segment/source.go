// SPDX-License-Identifier: Apache-2.0

package segment

import (
	"fmt"

	"github.com/seguemta/segue/segment/score"
	"github.com/seguemta/segue/segment/store"
)

// stored is the source that reads what is committed. It keeps the accounts it
// has read: use it for one moment, or one batch.
type stored struct {
	d        *DB
	accounts map[uint64]*knownAccount // nil = it keeps none
	have     *store.Contact           // read already; nil = read it
	past     *[]store.Series          // the same
	answers  func(answer)             // told what is found of an account's contacts; nil = nobody is
	alone    *alone                   // computes the scores of accounts; nil = they are known
}

func (d *DB) stored() *stored { return &stored{d: d} }

func (r *stored) peek(id uint64) store.State {
	st, _ := r.d.mem.state(id)
	return st
}

func (r *stored) contact(id uint64) (*store.Contact, error) {
	if r.have != nil {
		return r.have, nil
	}
	c, ok, err := r.d.store.Contact(id)
	if err != nil {
		return nil, fmt.Errorf("reading contact %d: %w", id, err)
	}
	if !ok {
		return nil, fmt.Errorf("%w: contact %d is indexed but has no record", store.ErrCorrupt, id)
	}
	return &c, nil
}

func (r *stored) series(id uint64) ([]store.Series, error) {
	if r.past != nil {
		return *r.past, nil
	}
	return r.d.series(id)
}

// afresh is the source of the verifier: what is on disk, and nothing of what is
// kept in memory of it.
type afresh struct {
	*stored
	disk *store.Store
}

func (d *DB) afresh() *afresh { return &afresh{d.stored(), d.store.Uncached()} }

func (r *afresh) contact(id uint64) (*store.Contact, error) {
	c, ok, err := r.disk.Contact(id)
	if err != nil || !ok {
		return nil, fmt.Errorf("reading contact %d: %w", id, orCorrupt(err))
	}
	return &c, nil
}

func (r *afresh) series(id uint64) ([]store.Series, error) {
	list, err := r.disk.SeriesOf(id)
	if err == nil && len(list) == 0 {
		r.d.mem.untrace(id)
	}
	return list, err
}

func (r *afresh) behaviour(id uint64) (*score.State, error) {
	x, ok, err := r.disk.Behaviour(id)
	return r.d.folded(id, x, ok, err)
}

func (r *afresh) knownAccount(id uint64) (*knownAccount, error) {
	a, ok, err := r.disk.Account(id)
	if err != nil || !ok {
		return nil, fmt.Errorf("reading account %d: %w", id, orCorrupt(err))
	}
	return r.d.takeApart(id, &a)
}

// walkAccounts bounds the accounts that a source keeps in memory.
const walkAccounts = 20_000
