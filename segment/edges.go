// SPDX-License-Identifier: Apache-2.0

package segment

import (
	"errors"
	"fmt"
	"slices"

	"github.com/seguemta/segue/segment/store"
)

// numberEdges gives the accounts of contacts that an older Segue wrote their edge
// ids and the way back from the account. It runs once, at the first open; when it
// is interrupted, the next open goes over all contacts again and finds the rest.
func (d *DB) numberEdges() error {
	d.write.Lock()
	defer d.write.Unlock()
	for from := uint64(1); from != 0; {
		t := d.begin()
		next, err := t.numberSome(from)
		if err == nil && len(t.records) > 0 {
			err = t.commit()
		}
		t.close()
		if err != nil {
			return fmt.Errorf("numbering the accounts of contacts: %w", err)
		}
		from = next
	}
	b := d.store.Batch()
	b.Numbered()
	return b.Commit()
}

// numberSome does so for up to importBatch contacts from an id on, and returns
// where to go on, 0 at the end.
func (t *tx) numberSome(from uint64) (uint64, error) {
	next := uint64(0)
	err := t.d.store.Contacts(from, func(id uint64, c store.Contact) error {
		if len(t.records) == importBatch {
			next = id
			return errEnough
		}
		if !slices.ContainsFunc(c.Edges, func(e store.Edge) bool { return e.ID == 0 }) {
			return nil
		}
		edges := slices.Clone(c.Edges)
		for i := range edges {
			if edges[i].ID != 0 {
				continue
			}
			var err error
			if edges[i].ID, err = t.newID(&t.d.write.edges); err != nil {
				return err
			}
			t.edges[edgeKey{id, edges[i].Account}] = edgeChange{id: edges[i].ID}
		}
		c.Edges = edges
		c.Attributes = slices.Clone(c.Attributes)
		t.record(id, &c)
		return nil
	})
	if errors.Is(err, errEnough) {
		err = nil
	}
	return next, err
}
