// SPDX-License-Identifier: Apache-2.0

package segment

import (
	"fmt"

	"github.com/seguemta/segue/mta/rfc5321"
	"github.com/seguemta/segue/segment/store"
)

// Person is what the moment at which mail leaves asks about a contact: where it
// lives and whose it is. The zero Person is somebody nobody knows.
type Person struct {
	Zone     string // IANA name of the time zone; "" = not known
	Accounts []uint64
	Batch    string // the import that made it; "" = none did
}

// Person reads it, from the store: only lanes with a window or an account cap need
// it. The id is a hint, as in [DB.Check].
func (d *DB) Person(contact uint64, addr rfc5321.Address) (Person, error) {
	id, err := d.find(contact, addr.Key())
	if err != nil || id == 0 {
		return Person{}, err
	}
	c, ok, err := d.store.Contact(id)
	if err != nil || !ok {
		return Person{}, fmt.Errorf("reading contact %d: %w", id, orCorrupt(err))
	}
	return personOf(&c), nil
}

func personOf(c *store.Contact) Person {
	p := Person{Zone: c.Zone, Batch: c.Batch}
	for i := range c.Edges {
		p.Accounts = append(p.Accounts, c.Edges[i].Account)
	}
	return p
}
