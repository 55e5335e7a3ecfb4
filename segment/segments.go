// SPDX-License-Identifier: Apache-2.0

package segment

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"slices"

	"github.com/seguemta/segue/segment/tier"
)

// Definition is a segment: a named rule with its place in the order.
type Definition struct {
	Name    string
	Order   int    // lower comes first; equal ones as they stand
	Version uint64 // of the rule; 0 = computed from Where by RuleVersion
	Where   string // CEL text

	Include []string // lists whose contacts are in, whatever the rule says
	Exclude []string // lists whose contacts are not

	Stage string // that its members are in, unless one before it says another; "" = it says none
}

// RuleVersion is the version of a rule's text: a hash, of 53 bits so that it
// survives JSON in any language. It is never 0.
func RuleVersion(where string) uint64 {
	h := sha256.Sum256([]byte(where))
	return max(binary.BigEndian.Uint64(h[:])>>11, 1)
}

// States of a segment.
const (
	StateLive     = "live"     // its members are those of its rule, at this moment
	StateBuilding = "building" // it is defined anew: those of its old rule count until all contacts were judged; without one it has none
	StateFailed   = "failed"   // its rule does not compile: no members
)

// Info describes a segment.
type Info struct {
	Name       string  `json:"name"`
	Order      int     `json:"order"`
	Version    uint64  `json:"version"` // of the configured rule
	Where      string  `json:"where"`
	Stage      string  `json:"stage,omitempty"`
	Error      string  `json:"error,omitempty"`      // why it has no members
	State      string  `json:"state"`                // live | building | failed
	Progress   float64 `json:"progress,omitempty"`   // of building, 0 to 1
	Members    int     `json:"members"`              // of the rule that mail goes by
	Generation uint32  `json:"generation,omitempty"` // of those members; 0 = never built
}

// Segments returns every configured segment in order.
func (d *DB) Segments() []Info {
	d.live.mu.RLock()
	defer d.live.mu.RUnlock()
	l := &d.live
	rs := l.current
	if l.next != nil {
		rs = l.next
	}
	list := make([]Info, 0, len(rs.list))
	for i := range rs.list {
		c := &rs.list[i]
		info := Info{Name: c.def.Name, Order: c.def.Order, Version: c.def.Version, Where: c.def.Where, Stage: c.def.Stage, State: StateLive}
		if at := l.current.find(c.def.Name); at >= 0 {
			r := l.current.list[at].roster
			info.Members, info.Generation = r.size(), r.generation
		}
		switch {
		case c.err != nil:
			info.State, info.Error, info.Members = StateFailed, c.err.Error(), 0
		case l.next != nil && c.roster.generation == l.build.Generation:
			info.State, info.Progress = StateBuilding, l.progress(d.mem.top())
		}
		list = append(list, info)
	}
	return list
}

// progress is how much of the base the pass has done; top is the highest id, or
// a little more.
func (l *live) progress(top uint64) float64 {
	return min(float64(l.build.Cursor)/float64(max(top, 1)), 1)
}

// HasSegment reports whether a segment of that name is defined.
func (d *DB) HasSegment(name string) bool {
	return slices.ContainsFunc(d.Segments(), func(s Info) bool { return s.Name == name })
}

// Member is a contact of a segment.
type Member struct {
	ID      uint64 `json:"id"`
	Address string `json:"address"`
	Tier    string `json:"tier"`
}

// Members returns up to limit members of a segment with an id above after, in
// the order of ids.
func (d *DB) Members(ctx context.Context, name string, after uint64, limit int) ([]Member, error) {
	if !d.HasSegment(name) {
		return nil, fmt.Errorf("no segment is named %q", name)
	}
	now := d.now()
	var list []Member
	for _, id := range d.memberIDs(name, after, limit) {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		c, ok, err := d.store.Contact(id)
		if err != nil {
			return nil, fmt.Errorf("reading contact %d: %w", id, err)
		}
		if ok {
			list = append(list, Member{ID: id, Address: c.Address, Tier: d.tierOf(id, now).String()})
		}
	}
	return list, nil
}

// memberIDs returns up to limit members above an id.
func (d *DB) memberIDs(name string, after uint64, limit int) []uint64 {
	d.live.mu.RLock()
	defer d.live.mu.RUnlock()
	i := d.live.current.find(name)
	if i < 0 || after >= 1<<32-1 || limit <= 0 {
		return nil
	}
	c := &d.live.current.list[i]
	if c.err != nil || c.roster == nil {
		return nil
	}
	var ids []uint64
	it := c.roster.bits.Iterator()
	it.AdvanceIfNeeded(bit(after + 1))
	for it.HasNext() && len(ids) < limit {
		ids = append(ids, uint64(it.Next()))
	}
	return ids
}

// MemberTiers counts the members of a segment by tier, as of now.
func (d *DB) MemberTiers(ctx context.Context, name string) (map[string]int, error) {
	const page = 100_000
	now := d.now()
	var tiers [tier.Count]int
	for after := uint64(0); ; {
		ids := d.memberIDs(name, after, page)
		for _, id := range ids {
			tiers[d.tierOf(id, now)]++
		}
		if len(ids) < page {
			break
		}
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		after = ids[len(ids)-1]
	}
	counts := map[string]int{}
	for t, n := range tiers {
		if n > 0 {
			counts[tier.Tier(t).String()] = n
		}
	}
	return counts, nil
}
