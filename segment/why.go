// SPDX-License-Identifier: Apache-2.0

package segment

import (
	"fmt"

	"github.com/seguemta/segue/mta/rfc5321"
	"github.com/seguemta/segue/segment/rule"
)

// Explain says why a contact is in a segment or is not, condition by condition.
// The error wraps [ErrUnknown] where nobody has the address, and [ErrNoSegment]
// where no segment has the name, and [ErrUnasked] where the segment has no rule that
// could be asked.
func (d *DB) Explain(name string, addr rfc5321.Address) (Explained, error) {
	id, err := d.find(0, addr.Key())
	if err != nil {
		return Explained{}, err
	}
	rs, now := d.rules(), d.settled()
	at := rs.find(name)
	switch {
	case !d.HasSegment(name):
		return Explained{}, fmt.Errorf("%w %s", ErrNoSegment, name)
	case at < 0:
		return Explained{}, fmt.Errorf("%w: it is being built for the first time", ErrUnasked)
	case rs.list[at].err != nil:
		return Explained{}, fmt.Errorf("%w: %w", ErrUnasked, rs.list[at].err)
	case rs.list[at].rule == nil:
		return Explained{}, fmt.Errorf("%w: its old rule reads what is no longer declared, and the new one is being built", ErrUnasked)
	case id == 0:
		return Explained{}, ErrUnknown
	}
	s := d.subject(rs)
	defer d.subjects.Put(s)
	c, _, err := s.read(d, d.stored(), id, now)
	if err != nil {
		return Explained{}, err
	}
	rs.ask(s, rs.all)
	x := &rs.list[at]
	out := Explained{
		Segment: name, Version: x.def.Version, Rule: x.def.Where, Contact: id, Address: c.Address, Tier: s.pairs[0].Slots[rule.SlotTier].Text(),
		Member: d.member(x, id),
	}
	if err := d.beginning(&out, x); err != nil {
		return out, err
	}
	accounts, err := d.memberships(c)
	if err != nil {
		return out, err
	}
	for n, v := range s.pairs {
		p := Pair{Holds: x.rule.Match(v), Conditions: x.rule.Explain(v)}
		if x.rule.Paired() && n < len(accounts) {
			p.Account, p.Role = accounts[n].Name, accounts[n].Role
		}
		out.Pairs = append(out.Pairs, p)
		if !x.rule.Paired() {
			break
		}
	}
	return out, d.end(&out, rs, at)
}

// beginning finds since when and why a contact is a member.
func (d *DB) beginning(out *Explained, c *compiled) error {
	e, ok, err := d.store.Entered(out.Contact, out.Segment)
	if err != nil || !ok || !out.Member || c.roster == nil || e.Generation != c.roster.generation {
		return err // a build found it: nobody knows since when the rule had held
	}
	out.Since, out.Cause = e.Time, e.Cause
	return nil
}

// endSteps bounds how many changes of a part of the rule are followed until the
// answer changes.
const endSteps = 100

// end finds when time alone changes the answer. A part of the rule may change
// before, and leave the answer as it is.
func (d *DB) end(out *Explained, rs *ruleset, at int) error {
	s := &subject{}
	s.fit(rs)
	now := d.settled()
	var first bool
	for n := range endSteps {
		if _, _, err := s.read(d, d.stored(), out.Contact, now); err != nil {
			return err
		}
		next := rs.judge(s, rs.all)
		if in := s.in.Has(at); n == 0 {
			first = in
		} else if in != first {
			out.Until, out.UntilSays = now, in
			return nil
		}
		st, _ := d.mem.state(out.Contact)
		if change, _, ok := d.tiers.NextChange(history(&st), now); ok {
			next = sooner(next, change)
		}
		if next.IsZero() || !next.After(now) {
			return nil
		}
		now = next
	}
	return nil
}

// Rebuild makes the members of a segment anew by its rule as it stands, beside
// those that mail goes by until all contacts are judged. It is done in the
// background by [DB.Run]; [Info] tells how far it is. A segment that is being built already
// goes on. The error wraps [ErrNoSegment], [ErrUnasked] where the rule does not
// compile, or [ErrBuilding] where others are being built.
func (d *DB) Rebuild(name string) error {
	before := d.rules()
	next, err := d.compileAll(d.definitions())
	if err != nil {
		return err
	}
	d.write.Lock()
	defer d.write.Unlock()
	l := &d.live
	at := next.find(name)
	switch {
	case d.write.closed:
		return errClosed
	case at < 0:
		return fmt.Errorf("%w %s", ErrNoSegment, name)
	case next.list[at].err != nil:
		return fmt.Errorf("%w: %w", ErrUnasked, next.list[at].err)
	case l.next != nil:
		if i := l.next.find(name); i >= 0 && l.next.list[i].roster.generation == l.build.Generation {
			return nil
		}
		return ErrBuilding
	case l.current != before:
		return ErrBuilding // a build ended this instant
	}
	return d.beginAgain(next, at)
}

// beginAgain puts a ruleset beside the current one in which one segment has no
// members yet. Its stored identity is taken away, so that a restart goes on.
func (d *DB) beginAgain(next *ruleset, at int) error {
	l := &d.live
	d.shareTallies(next)
	if next.ranked {
		next.ranks = l.ranks
	}
	b := d.store.Batch()
	defer b.Close()
	generation := l.build.Generation
	for i := range l.current.list {
		generation = max(generation, l.current.list[i].roster.generation)
	}
	generation++
	for i := range next.list {
		c := &next.list[i]
		c.roster = l.current.list[l.current.find(c.def.Name)].roster
		if i == at {
			x := storedSegment(c)
			x.Identity = [16]byte{}
			b.Segment(&x)
			c.roster = newRoster(c.roster.id, generation)
		}
	}
	build := l.build
	build.Plan, build.Generation, build.Cursor = d.plan(next), generation, 0
	b.Build(build)
	if err := b.Commit(); err != nil {
		return fmt.Errorf("beginning to build segment %q anew: %w", next.list[at].def.Name, err)
	}
	l.mu.Lock()
	l.next, l.build = next, build
	l.mu.Unlock()
	return nil
}
