// SPDX-License-Identifier: Apache-2.0

package rule

import (
	"crypto/sha256"
	"encoding/binary"
)

// gauge compiles an aggregate of events.
func (c *compiler) gauge(e *Events) *gauge {
	i, err := c.set.seriesOf(e)
	if err != nil {
		c.err = err
	}
	return &gauge{window: windowOf(e), series: c.use(&c.uses.series, i), function: e.Aggregate, pair: c.pair}
}

// happened compiles has(events("x").last()).
func (c *compiler) happened(o *Operand) predicate {
	if o.Events.Aggregate.instant() {
		get := c.instant(o)
		return func(v *Values) bool { _, ok := get(v); return ok }
	}
	get := c.number(o)
	return func(v *Values) bool { _, ok := get(v); return ok }
}

// ofContacts compiles any_contact and all_contacts.
func (c *compiler) ofContacts(n Node) predicate {
	i := c.counted(n.Left.Contacts)
	if n.Op == OpAnyContact {
		return func(v *Values) bool { return v.Counts[i].True > 0 }
	}
	return func(v *Values) bool { x := &v.Counts[i]; return x.Of > 0 && x.True == x.Of }
}

// counted compiles a condition about contacts and returns its number.
func (c *compiler) counted(n *Node) int {
	i, err := c.set.countedOf(n)
	if err != nil {
		c.err = err
	}
	return c.use(&c.uses.counted, i)
}

// seedOf spreads the name of a bucket over 64 bits.
func seedOf(name string) uint64 {
	sum := sha256.Sum256([]byte(name))
	return binary.LittleEndian.Uint64(sum[:])
}

// bucketOf is where a contact stands in 0 to below 1: the finalizer of
// SplitMix64, after which neighbouring ids have nothing in common. Stored shares
// depend on it: it must never change.
func bucketOf(seed, contact uint64) float64 {
	x := seed + contact*0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	x ^= x >> 31
	return float64(x>>11) / (1 << 53)
}
