// SPDX-License-Identifier: Apache-2.0

package segment

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/seguemta/segue/mta/wilson"
	"github.com/seguemta/segue/segment/rule"
	"github.com/seguemta/segue/segment/store"
)

// Trial is what a definition would do.
type Trial struct {
	Faults   []Fault // why it does not compile; the rest is empty then
	Contacts uint64  // in the database
	Looked   uint64  // at how many of them it was asked;
	Sample   bool    // they are a sample of all
	Members  uint64  // exact, or what the sample says of all
	Low      uint64  // of a sample: between which numbers the true one lies, at 95 %
	High     uint64
	Some     []Member // a few members
}

// Fault is one thing that is wrong with a rule.
type Fault struct {
	Line, Column int // from 1; 0 where it has no place
	Text, Hint   string
}

// Limits of a trial: up to how many contacts every one is asked, and how many of
// more than those.
const (
	tryAll    = 100_000
	trySample = 20_000
	trySome   = 10
)

// trialName is what a definition is called while it is tried: no configured one
// can have it.
const trialName = "\x00"

// Try compiles a definition beside the configured ones and asks it about the
// contacts as they are now. It changes nothing, and mail does not wait for it.
func (d *DB) Try(ctx context.Context, def Definition) (Trial, error) {
	def.Name = trialName
	defs := d.definitions()
	rs, err := d.compileAll(append(defs, def))
	if err != nil {
		return Trial{}, err
	}
	at := rs.find(trialName)
	if err := rs.list[at].err; err != nil {
		return Trial{Faults: faults(err)}, nil
	}
	out := Trial{Contacts: uint64(d.mem.contacts()), Some: []Member{}} //nolint:gosec // a size
	most := tryAll
	if out.Sample = out.Contacts > tryAll; out.Sample {
		most = trySample
	}
	hits, err := d.try(ctx, rs, at, most, &out)
	if err != nil {
		return out, err
	}
	out.Members, out.Low, out.High = hits, hits, hits
	if r := wilson.Interval(hits, out.Looked); out.Sample {
		all := float64(out.Contacts)
		out.Members, out.Low, out.High = uint64(r.Share*all+0.5), uint64(r.Low*all), uint64(r.High*all+0.5)
	}
	return out, nil
}

// try asks one segment of a ruleset about many contacts. Of those that it refers to,
// the members count as they are.
func (d *DB) try(ctx context.Context, rs *ruleset, at, most int, out *Trial) (hits uint64, err error) {
	c := &rs.list[at]
	refers := refers(c.def.Where)
	s := &subject{}
	from := d.stored()
	from.accounts = map[uint64]*knownAccount{}
	from.alone = d.tryRanks(rs)
	s.fit(rs)
	now, f := d.settled(), tryFeeds(rs, at)
	counts := d.tryCounts(rs, at, &f, now)
	err = d.sample(ctx, most, func(id uint64, record *store.Contact) error {
		from.have = record
		if from.past, err = d.trySeries(&f, id); err != nil {
			return err
		}
		if _, _, err := s.read(d, from, id, now); err != nil {
			return err
		}
		if refers {
			d.referAll(rs, s)
		}
		if err := counts.fill(s, from); err != nil {
			return err
		}
		out.Looked++
		if !c.in(s) {
			return nil
		}
		if hits++; len(out.Some) < trySome {
			out.Some = append(out.Some, Member{ID: id, Address: record.Address, Tier: d.tierOf(id, now).String()})
		}
		return nil
	})
	return hits, err
}

// refers reports whether a rule may ask for the members of others.
func refers(text string) bool {
	return strings.Contains(text, "segment") || strings.Contains(text, "stage")
}

// tryFeeds is the series that one segment of a ruleset reads: none of them is kept.
func tryFeeds(rs *ruleset, at int) feeds {
	f := feeds{byName: map[string][]*feed{}}
	specs := rs.set.Series()
	for i := range specs {
		what := rule.Change{Series: []int{i}}
		what.Counted = rs.set.AffectedCounted(what)
		if slices.Contains(rs.set.Affected(what), at) {
			f.byName[specs[i].Event] = append(f.byName[specs[i].Event], &feed{spec: &specs[i]})
		}
	}
	return f
}

// trySeries makes series of a contact from its events.
func (d *DB) trySeries(f *feeds, id uint64) (*[]store.Series, error) {
	if len(f.byName) == 0 {
		return &[]store.Series{}, nil
	}
	list, err := f.remake(nil, func(fn func(store.Event) error) error { return d.store.Events(id, minTime, fn) })
	return &list, err
}

// referAll tells a subject which of the live segments it is in.
func (d *DB) referAll(rs *ruleset, s *subject) {
	d.live.mu.RLock()
	defer d.live.mu.RUnlock()
	for i := range rs.list {
		if at := d.live.current.find(rs.list[i].def.Name); at >= 0 {
			rs.set.Refer(s.pairs, i, d.live.current.list[at].roster.has(s.id))
		}
	}
}

// definitions is every configured segment.
func (d *DB) definitions() []Definition {
	d.live.mu.RLock()
	defer d.live.mu.RUnlock()
	rs := d.live.current
	if d.live.next != nil {
		rs = d.live.next
	}
	defs := make([]Definition, 0, len(rs.list)+1)
	for i := range rs.list {
		defs = append(defs, rs.list[i].def)
	}
	return defs
}

// faults takes the error of a rule apart.
func faults(err error) []Fault {
	var list []Fault
	for _, f := range rule.Faults(err) {
		list = append(list, Fault{Line: f.Line, Column: f.Column, Text: f.Text, Hint: f.Hint})
	}
	if list == nil {
		list = []Fault{{Text: err.Error()}}
	}
	return list
}

// sample calls fn for every contact if there are at most so many, and otherwise
// for about so many, spread over all. The same ones come again each time.
func (d *DB) sample(ctx context.Context, most int, fn func(id uint64, c *store.Contact) error) error {
	if d.mem.contacts() <= most {
		return d.store.Contacts(0, func(id uint64, c store.Contact) error {
			if err := ctx.Err(); err != nil {
				return err
			}
			return fn(id, &c)
		})
	}
	stride := d.mem.top()/uint64(most) + 1 //nolint:gosec // positive
	for first := uint64(0); first < d.mem.top(); first += stride {
		if err := ctx.Err(); err != nil {
			return err
		}
		id := first + scatter(first)%stride
		if _, ok := d.mem.state(id); !ok {
			continue
		}
		c, err := d.stored().contact(id)
		if errors.Is(err, store.ErrCorrupt) {
			continue // it is gone since
		}
		if err != nil {
			return err
		}
		if err := fn(id, c); err != nil {
			return err
		}
	}
	return nil
}

// scatter makes a number that has nothing to do with the order of ids (the
// finalizer of splitmix64): imports come in the order of somebody's list.
func scatter(n uint64) uint64 {
	n = (n ^ n>>30) * 0xbf58476d1ce4e5b9
	n = (n ^ n>>27) * 0x94d049bb133111eb
	return n ^ n>>31
}

// Explained is why a contact is in a segment or is not.
type Explained struct {
	Segment   string
	Version   uint64 // of the rule that mail goes by
	Rule      string // its text
	Contact   uint64
	Address   string
	Tier      string
	Member    bool      // by the members that mail goes by
	Since     time.Time // when it entered; zero where that is not known
	Cause     string    // why it did
	Until     time.Time // when time alone changes the answer next, if it does; zero = never
	UntilSays bool      // what the answer is then, everything else unchanged
	Pairs     []Pair    // one for each account of the contact; one without account where the rule asks for none
}

// Pair is the rule asked about a contact as one of an account.
type Pair struct {
	Account    string // "" = none
	Role       string
	Holds      bool
	Conditions []rule.Condition
}
