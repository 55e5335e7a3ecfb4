// SPDX-License-Identifier: Apache-2.0

package segment

import (
	"bytes"
	"errors"
	"maps"
	"slices"

	"github.com/seguemta/segue/segment/store"
)

const (
	// fanOutAtOnce is up to how many contacts of the accounts that a write
	// changed are judged within it.
	fanOutAtOnce = 200
	// fanOutBatch is the most contacts judged in one commit after it.
	fanOutBatch = 256
)

// spread judges the contacts of the accounts that this write changed. Where they
// are many, that is noted beside the change and done in batches after it: an
// account may have thousands of contacts, and others wait for the writer. It
// returns for how many more there is room in this write.
func (t *tx) spread() (room int, err error) {
	room = fanOutAtOnce
	for _, account := range slices.Sorted(maps.Keys(t.accounts)) {
		before, ok, err := t.d.store.Account(account)
		if err != nil {
			return 0, err
		}
		if !ok || bytes.Equal(before.Attributes, t.accounts[account].Attributes) {
			continue // who joined it in this write is judged anyway
		}
		f := store.FanOut{Account: account}
		n, more, err := t.spreadTo(&f, room)
		if err != nil {
			return 0, err
		}
		room -= n
		if more {
			t.b.FanOut(f)
			t.spreads = true
		}
	}
	return room, nil
}

// spreadTo has up to limit contacts of an account judged. It returns how many,
// and whether there are others.
func (t *tx) spreadTo(f *store.FanOut, limit int) (n int, more bool, err error) {
	err = t.d.store.ContactsBehind(f.Account, f.Behind, func(contact uint64) error {
		if t.edges[edgeKey{contact, f.Account}].gone {
			return nil // it left in this write, or was erased
		}
		if n == limit {
			return errEnough
		}
		t.judgeAgain(contact)
		f.Behind = contact
		n++
		return nil
	})
	if errors.Is(err, errEnough) {
		return n, true, nil
	}
	return n, false, err
}

// tellColleagues has all contacts of an account judged again, those who join it in
// this write included, as far as there is room.
func (t *tx) tellColleagues(account uint64, room *int) error {
	for _, contact := range t.recount.joined[account] {
		t.judgeAgain(contact)
	}
	f := store.FanOut{Account: account}
	n, more, err := t.spreadTo(&f, *room)
	if err != nil {
		return err
	}
	*room -= n
	if more {
		t.b.FanOut(f)
		t.spreads = true
	}
	return nil
}

// judgeAgain has a contact judged, for what changed around it.
func (t *tx) judgeAgain(contact uint64) {
	if _, seen := t.again[contact]; !seen {
		t.again[contact] = false
	}
	if _, told := t.causes[contact]; !told && t.verdicts[contact] == nil {
		t.causes[contact] = causeAccount
	}
	t.due[contact] = struct{}{}
}

// fanOut goes on with an account whose contacts are still to be judged, and
// reports whether there is more to do.
func (d *DB) fanOut() (bool, error) {
	d.write.Lock()
	defer d.write.Unlock()
	if d.write.closed {
		return false, errClosed
	}
	if !d.live.spreading {
		return false, nil
	}
	list, err := d.store.FanOuts(1)
	if err != nil {
		return false, err
	}
	if len(list) == 0 {
		d.live.spreading = false
		return false, nil
	}
	t := d.begin()
	defer t.close()
	t.cause = causeAccount
	f := list[0]
	_, more, err := t.spreadTo(&f, fanOutBatch)
	if err != nil {
		return false, err
	}
	if more {
		t.b.FanOut(f)
	} else {
		t.b.DeleteFanOut(f.Account)
	}
	return true, t.commit()
}
