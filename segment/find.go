// SPDX-License-Identifier: Apache-2.0

package segment

import (
	"fmt"
	"strings"

	"github.com/seguemta/segue/segment/store"
)

// find returns the contact with an address, 0 if there is none. The hint is an
// id that is right unless it comes from another store.
func (t *tx) find(hint uint64, addressKey string) (uint64, error) {
	if id, ok := t.addresses[addressKey]; ok {
		return id, nil
	}
	id, _, err := t.d.locate(hint, addressKey, t.read)
	return id, err
}

func (d *DB) find(hint uint64, addressKey string) (uint64, error) {
	id, _, err := d.locate(hint, addressKey, d.read)
	return id, err
}

// locate is find, and returns the record where it had to be read. Memory knows who
// may have the address, and the record whether it does.
func (d *DB) locate(hint uint64, addressKey string, read func(id uint64) (*store.Contact, error)) (uint64, *store.Contact, error) {
	sum := store.AddressSum(addressKey)
	if hint != 0 {
		if st, ok := d.mem.state(hint); ok && st.Address == sum {
			return hint, nil, nil
		}
	}
	var room [4]uint64
	may := d.mem.addressed(sum, room[:0])
	if len(may) == 0 {
		return 0, nil, nil
	}
	for _, id := range may {
		if c, err := read(id); err == nil && c != nil && strings.ToLower(c.Address) == addressKey {
			return id, c, nil
		}
	}
	id, err := d.store.ByAddress(addressKey) // it is a stranger's, or has changed at this moment
	if err != nil {
		return 0, nil, fmt.Errorf("looking up a contact: %w", err)
	}
	return id, nil, nil
}

// read returns the record of a contact as it is stored, nil where there is none:
// that does not change before the commit, and most are needed twice.
func (t *tx) read(id uint64) (*store.Contact, error) {
	if c := t.seen[id]; c != nil {
		return c, nil
	}
	c, err := t.d.read(id)
	if c != nil {
		t.seen[id] = c
	}
	return c, err
}

// read returns the record of a contact, nil where there is none.
func (d *DB) read(id uint64) (*store.Contact, error) {
	c, ok, err := d.store.Contact(id)
	if err != nil || !ok {
		return nil, err
	}
	return &c, nil
}
