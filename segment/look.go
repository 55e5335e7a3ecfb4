// SPDX-License-Identifier: Apache-2.0

package segment

import (
	"math/bits"
	"time"

	"github.com/seguemta/segue/mta/rfc5321"
	"github.com/seguemta/segue/segment/rule"
	"github.com/seguemta/segue/segment/store"
	"github.com/seguemta/segue/segment/tier"
)

// Match is a segment that a contact is in. All who look at one share it.
type Match struct {
	Name    string `json:"name"`
	Version uint64 `json:"version"` // of the rule that said so
}

// String is the name of the segment.
func (m *Match) String() string { return m.Name }

// View is what admission needs to know about one recipient.
type View struct {
	ID         uint64       // 0 = nobody knows the address
	Known      bool         // a contact with the address exists
	Address    string       // as the contact was first written; as given where unknown
	Tier       string       // "new" where unknown
	Segments   []*Match     // every segment the contact is in, in order
	First      string       // name of the first of them, which decides the lane; "" = none
	Suppressed *Suppression // why the mail may not go; nil = it may
	Person     Person       // where it lives and whose it is
}

// Mail is what the scopes of suppressions ask about a message.
type Mail struct {
	Stream string
	Domain string // it is sent as
	List   string // the mailing list it goes to; "" = none
}

// Look reads everything about a recipient that admission fixes on it: contact,
// tier, segments, and whether the mail is suppressed. It changes nothing: a recipient nobody knows is new, and rules see
// all its attributes as missing. An error means that the store could not be
// read; the mail must then be refused for now.
func (d *DB) Look(addr rfc5321.Address, mail Mail, now time.Time) (View, error) {
	k := addr.Key()
	v := View{Address: addr.String()}
	h := d.hashes.Address(k)
	v.Suppressed = d.mem.suppressed(&h, &mail, now)
	id, have, err := d.locate(0, k, d.read)
	if err != nil {
		return View{}, err
	}
	rs := d.rules()
	s := d.subject(rs)
	defer d.subjects.Put(s)
	if c, _, err := s.read(d, &stored{d: d, have: have}, id, now); err != nil {
		return View{}, err
	} else if c != nil {
		v.ID, v.Known, v.Address, v.Person = id, true, c.Address, personOf(c)
	}
	v.Tier = s.pairs[0].Slots[rule.SlotTier].Text()
	v.Segments = d.matches(rs, s)
	if len(v.Segments) > 0 {
		v.First = v.Segments[0].Name
	}
	return v, nil
}

// orCorrupt is the error of a record that must be there.
func orCorrupt(err error) error {
	if err == nil {
		return store.ErrCorrupt
	}
	return err
}

// matches evaluates every segment that mail goes by, in order.
func (d *DB) matches(rs *ruleset, s *subject) []*Match {
	rs.ask(s, rs.all)
	for _, i := range rs.frozen {
		s.in.Set(i, d.member(&rs.list[i], s.id))
	}
	n := 0
	for w := range s.in {
		s.in[w] &= rs.served[w]
		n += bits.OnesCount64(s.in[w])
	}
	if n == 0 {
		return nil
	}
	list := make([]*Match, 0, n)
	for w, word := range s.in {
		for ; word != 0; word &= word - 1 {
			list = append(list, &rs.list[w<<6+bits.TrailingZeros64(word)].match)
		}
	}
	return list
}

// member reads one membership.
func (d *DB) member(c *compiled, id uint64) bool {
	d.live.mu.RLock()
	defer d.live.mu.RUnlock()
	return c.roster.has(id)
}

// Check reads again, just before delivery, what may have changed since
// admission: tier and suppression. With a contact id it reads memory only; with
// 0, or an id that belongs to another address, the contact is looked up by
// address. The suppression it returns has scope, reason and expiry only.
func (d *DB) Check(contact uint64, addr rfc5321.Address, mail Mail, now time.Time) (string, *Suppression, error) {
	k := addr.Key()
	h := d.hashes.Address(k)
	suppressed := d.mem.suppressed(&h, &mail, now)
	id, err := d.find(contact, k)
	if err != nil {
		return "", nil, err
	}
	return d.tierOf(id, now).String(), suppressed, nil
}

func (d *DB) tierOf(id uint64, now time.Time) tier.Tier {
	st, _ := d.mem.state(id)
	return d.tiers.Of(history(&st), now)
}
