// SPDX-License-Identifier: Apache-2.0

package store

import (
	"cmp"
	"fmt"
	"slices"
)

// Compare orders ids as their keys are ordered: by message, then by recipient.
func (id ID) Compare(o ID) int {
	return cmp.Or(cmp.Compare(id.Message, o.Message), cmp.Compare(id.Recipient, o.Recipient))
}

// OfDomain finds the up to limit lowest ids, from one on, of the recipients at a domain
// that are not parked, and whether there are more. It reads the keys of that domain's
// schedule and nothing else of the queue.
func (s *Store) OfDomain(domain string, from ID, limit int) (list []ID, more bool, err error) {
	prefix := append(append([]byte{prefixSchedule}, domain...), 0)
	// Twice the limit is gathered before the higher half is let go, so that a
	// key costs little however many there are.
	shrink := func() {
		slices.SortFunc(list, ID.Compare)
		if len(list) > limit {
			list, more = list[:limit], true
		}
	}
	err = s.scan(prefix, nil, func(k, _ []byte) error {
		id, ok := cutID(k)
		if !ok {
			return fmt.Errorf("reading the schedule: key %x is not one", k)
		}
		if id.Compare(from) < 0 {
			return nil
		}
		if list = append(list, id); len(list) >= 2*limit {
			shrink()
		}
		return nil
	})
	shrink()
	return list, more, err
}
