// SPDX-License-Identifier: Apache-2.0

package segment

import (
	"fmt"

	"github.com/seguemta/segue/mta/event"
	"github.com/seguemta/segue/mta/rfc5321"
	"github.com/seguemta/segue/segment/store"
)

// Head is the beginning of what stands for an address in the suppression list: all that
// an unsubscribe link has room for.
type Head = store.Head

// Head is that of an address.
func (d *DB) Head(addr rfc5321.Address) Head {
	h := d.hashes.Address(addr.Key())
	return h.Head()
}

// Unsubscribed reports whether an unsubscribe of a scope would change nothing.
func (d *DB) Unsubscribed(head Head, scope string) bool {
	s, ok := splitScope(scope)
	var h store.Hash
	copy(h[:], head[:])
	have, stands := d.mem.standing(&h, s)
	return ok && stands && have.covers(0, ReasonUnsubscribe)
}

// Unsubscribe does at once what [DB.Apply] will do for an unsubscribe that is in the
// queue's log: when it returns, the suppression is on disk and every Check sees it.
func (d *DB) Unsubscribe(e *event.Event) error {
	d.write.Lock()
	defer d.write.Unlock()
	if d.write.closed {
		return errClosed
	}
	t := d.begin()
	defer t.close()
	if err := t.unsubscribe(e); err != nil {
		return fmt.Errorf("unsubscribing: %w", err)
	}
	return t.commit()
}

func (t *tx) unsubscribe(e *event.Event) error {
	if e.Address == "" {
		return t.unsubscribeHash(e)
	}
	addr, err := rfc5321.ParseAddress(e.Address)
	if err != nil {
		return err
	}
	id, err := t.find(e.Contact, addr.Key())
	if err != nil {
		return err
	}
	t.feedback(id, addr.Key(), e)
	return nil
}
