// SPDX-License-Identifier: Apache-2.0

package segment

import (
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/seguemta/segue/mta/rfc5321"
	"github.com/seguemta/segue/segment/store"
)

// causeErased is the cause of the flips of an erasure.
const causeErased = "erased"

// EraseCounts is how much of each kind was erased.
type EraseCounts struct {
	Contacts     uint64 `json:"contacts"`     // records, with their attributes, tags and lists
	Visitors     uint64 `json:"visitors"`     // records of somebody without an address
	States       uint64 `json:"states"`       // histories of deliveries, engagement and bounces
	Identities   uint64 `json:"identities"`   // user ids and anonymous ids
	Accounts     uint64 `json:"accounts"`     // that it belonged to
	Segments     uint64 `json:"segments"`     // that it was in
	Events       uint64 `json:"events"`       // of its own log
	Scores       uint64 `json:"scores"`       // records of what it scored by
	Hits         uint64 `json:"hits"`         // messages whose opens and clicks were remembered
	Deadlines    uint64 `json:"deadlines"`    // entries of the time wheel
	Suppressions uint64 `json:"suppressions"` // that lost the address and the evidence, and stay
	Mail         uint64 `json:"mail"`         // queued recipients that were concluded; one in flight may have been delivered
}

func (n *EraseCounts) fields() []*uint64 {
	return []*uint64{
		&n.Contacts, &n.Visitors, &n.States, &n.Identities, &n.Accounts, &n.Segments,
		&n.Events, &n.Scores, &n.Hits, &n.Deadlines, &n.Suppressions, &n.Mail,
	}
}

// erasure is an erasure under way.
type erasure struct {
	t   *tx
	id  uint64 // 0 = nobody is known
	key string // address key; "" = none
	n   EraseCounts
	x   store.Erasure
}

// Erase forgets a person: who is the address or a user id of a contact, or a user id
// of a visitor. Everything of it that the store holds goes in one synced commit:
// record, history, ids, accounts, memberships, events, scores, deadlines. Aggregates stay.
//
// What suppressed the address stays, under its keyed hash, without address
// and evidence; who could be mailed until now is suppressed with reason "erased" and
// scope all, for transactional mail too. Neither an import nor a call of the tracking
// API makes the person anew, and no event of the queue's log does, whenever it
// comes. That ends when somebody lifts the suppression of scope all: see [DB.Lift].
// A visitor has no address to be known by, and its ids may come again.
//
// An address nobody knows is erased too: mail to it may be queued. The caller
// concludes the queued mail of what it returns and says so by [DB.MailErased]; a
// restart in between is made up for by [DB.Erasures]. [DB.Scrub] then takes the bytes
// out of the files. Asked again, Erase returns what it did the first time.
func (d *DB) Erase(who string) (Erased, error) {
	d.write.Lock()
	defer d.write.Unlock()
	if d.write.closed {
		return Erased{}, errClosed
	}
	t := d.begin()
	defer t.close()
	t.cause = causeErased
	e, err := t.erasureOf(who)
	if err != nil {
		return Erased{}, err
	}
	if e.id == 0 && d.erased.bars(e.x.Hash) { // it was erased before
		have, err := d.store.ErasureOf(e.x.Hash)
		if err != nil {
			return Erased{}, err
		}
		return erasedOf(&have), nil
	}
	if err := e.erase(); err != nil {
		return Erased{}, err
	}
	if err := t.commit(); err != nil {
		return Erased{}, err
	}
	d.gone(e.id)
	d.erased.add(&e.x)
	for _, h := range e.x.Users {
		d.erased.add(&store.Erasure{Hash: h, At: e.x.At, Stage: store.EraseDone})
	}
	d.log.Info("a person was erased", slog.String("hash", shortOf(e.x.Hash)), slog.Uint64("contact", e.id), slog.Uint64("events", e.n.Events))
	return erasedOf(&e.x), nil
}

// erasureOf finds who is meant.
func (t *tx) erasureOf(who string) (*erasure, error) {
	e := &erasure{t: t}
	addr, bad := rfc5321.ParseAddress(who)
	if bad == nil {
		e.key = addr.Key()
		var err error
		if e.id, err = t.find(0, e.key); err != nil {
			return nil, err
		}
	}
	if e.id == 0 {
		id, err := t.whose(store.PersonID{Kind: store.UserID, Name: who})
		if err != nil {
			return nil, err
		}
		if id != 0 {
			e.id, e.key = id, ""
		}
	}
	if e.id != 0 {
		c, err := t.person(e.id)
		if err != nil {
			return nil, err
		}
		if c.Address != "" {
			e.key = addressKey(c.Address)
		}
	}
	e.x.Hash = t.d.hashes.User(who)
	if e.key != "" {
		e.x.Hash = t.d.hashes.Address(e.key)
	}
	if e.id == 0 && bad != nil && !t.d.erased.bars(e.x.Hash) {
		return nil, ErrUnknown
	}
	return e, nil
}

// erase writes the whole erasure to the batch.
func (e *erasure) erase() error {
	t := e.t
	e.x.At, e.x.Stage, e.x.Name = t.d.now(), store.EraseMail, e.key
	if e.key == "" { // nobody can be let in again by an address: the ids may come back
		e.x.Stage, e.x.Lifted = store.EraseFiles, e.x.At
	}
	if e.id != 0 {
		if err := e.person(); err != nil {
			return err
		}
	}
	if e.key != "" {
		t.b.DeleteAddress(e.key)
		t.b.ForgetInFlips(e.key)
		e.x.Left = append(e.x.Left, store.KeysOfAddress(e.key, e.x.Hash)...)
		if err := e.suppress(); err != nil {
			return err
		}
	}
	for _, h := range append([]store.Hash{e.x.Hash}, e.x.Users...) {
		before, err := t.d.store.ErasureOf(h)
		if err != nil {
			return fmt.Errorf("reading an erasure: %w", err)
		}
		e.x.Left = append(e.x.Left, before.Left...) // of an erasure whose bytes are still in the files
	}
	for _, h := range e.x.Users {
		t.b.Erasure(&store.Erasure{Hash: h, At: e.x.At, Done: e.x.At, Stage: store.EraseDone})
	}
	e.note()
	t.b.Erasure(&e.x)
	return nil
}

// note writes the counts where the ledger keeps them.
func (e *erasure) note() {
	e.x.Counts = nil
	for _, n := range e.n.fields() {
		e.x.Counts = append(e.x.Counts, *n)
	}
}

// person removes all that is kept under the id of a person, and what leads to it.
func (e *erasure) person() error {
	t := e.t
	c, err := t.person(e.id)
	if err != nil {
		return err
	}
	ids, err := t.d.store.IDsOf(e.id)
	if err != nil {
		return err
	}
	if own := (store.PersonID{Kind: store.UserID, Name: c.UserID}); own.Name != "" && !slices.Contains(ids, own) {
		ids = append(ids, own)
	}
	for _, p := range ids {
		owner, err := t.whose(p)
		if err != nil {
			return err
		}
		if owner != e.id {
			continue // it leads to somebody else by now
		}
		t.b.Person(p, 0)
		e.x.Left = append(e.x.Left, store.KeyOfID(p))
		e.n.Identities++
		if p.Kind == store.UserID && e.key != "" {
			e.x.Users = append(e.x.Users, t.d.hashes.User(p.Name))
		}
	}
	if err := t.unrank(e.id); err != nil {
		return err
	}
	for i := range c.Edges {
		t.edges[edgeKey{e.id, c.Edges[i].Account}] = edgeChange{id: c.Edges[i].ID, gone: true}
		e.n.Accounts++
	}
	if a, known := t.d.mem.armed(e.id); known && a.second != 0 {
		t.b.DeleteDue(store.Due{Second: a.second, Contact: e.id})
		e.n.Deadlines++
	}
	e.members()
	t.soft[e.id] = nil
	e.x.Left = append(e.x.Left, t.b.EraseOwned(e.id, e.count)...)
	return nil
}

func (e *erasure) count(k store.Kind) {
	switch k {
	case store.KindContact:
		e.n.Contacts++
	case store.KindVisitor:
		e.n.Visitors++
	case store.KindState:
		e.n.States++
	case store.KindEvent:
		e.n.Events++
	case store.KindScore:
		e.n.Scores++
	case store.KindHit:
		e.n.Hits++
	case store.KindID: // counted where it leads to the person
	case store.KindSeries: // made of the events that are counted
	case store.KindEntered: // goes with the membership
	case store.KindSoft: // a part of the state
	}
}

// members takes the person out of every segment, those under construction too.
// Flips tell of it by the id alone.
func (e *erasure) members() {
	t, l := e.t, &e.t.d.live
	seen := map[*roster]bool{}
	for _, rs := range []*ruleset{l.current, l.next} {
		if rs == nil {
			continue
		}
		for i := range rs.list {
			c := &rs.list[i]
			if !c.roster.has(e.id) || seen[c.roster] {
				continue
			}
			seen[c.roster] = true
			t.moves = append(t.moves, moved{c.roster, e.id, false})
			switch {
			case rs == l.current:
				e.n.Segments++
				t.membership(c, e.id, "", false, e.x.At)
			case c.roster.generation == l.build.Generation && e.id <= l.build.Cursor:
				t.b.Delta(c.roster.id, e.id, false)
			}
		}
	}
}

// suppress takes the address out of its suppressions, and makes sure that one of
// scope all is there.
func (e *erasure) suppress() error {
	t := e.t
	have, err := t.d.store.SuppressionsOf(e.x.Hash)
	if err != nil {
		return err
	}
	for i := range have {
		x := &have[i]
		x.Address, x.Evidence = "", evidenceErased
		t.b.Suppress(x)
		e.n.Suppressions++
	}
	t.addSuppression(store.Suppression{
		Hash: e.x.Hash, Scope: ScopeAll, Reason: ReasonErased, Source: SourceOperator, Evidence: evidenceErased, Created: e.x.At,
	}, 0, e.x.At)
	return nil
}

// evidenceErased stands for the evidence of a suppression whose address was erased:
// a server's reply may quote the address.
const evidenceErased = "the address was erased"

// gone takes a contact out of memory, after the commit. Who builds segments at this
// moment may have read it before.
func (d *DB) gone(id uint64) {
	if id == 0 {
		return
	}
	d.mem.mu.Lock()
	if n := id / chunkSize; n < uint64(len(d.mem.chunks)) && d.mem.chunks[n] != nil {
		c, i := d.mem.chunks[n], id%chunkSize
		if c.states[i].Address != 0 {
			d.mem.count--
			d.mem.unindex(id)
		}
		c.states[i], c.armed[i], c.tiers[i] = store.State{}, 0, 0
	}
	d.mem.mu.Unlock()
	if l := &d.live; l.next != nil && id > l.build.Cursor && id <= l.window {
		l.missed[id] = struct{}{}
	}
}

// errErased is why a row or a call is rejected.
var errErased = errors.New("the person was erased: suppression lift ADDRESS lets it in again")

// barred reports whether an address or a user id is that of somebody who was
// erased; "" is nobody's.
func (d *DB) barred(addressKey, user string) bool {
	if d.erased.none() {
		return false
	}
	return addressKey != "" && d.erased.bars(d.hashes.Address(addressKey)) ||
		user != "" && d.erased.bars(d.hashes.User(user))
}

// forgotten reports whether what was about an address at an instant has been
// forgotten.
func (d *DB) forgotten(addressKey string, at time.Time) bool {
	return !d.erased.none() && d.erased.covers(d.hashes.Address(addressKey), at)
}

// refuseErased rejects a call about somebody who was erased. An anonymous id bars
// nothing: others may use the browser.
func (t *tx) refuseErased(p *prepared) error {
	previous := ""
	if p.kind == CallAlias {
		previous = p.previous
	}
	if t.d.barred(p.key, p.user.Name) || t.d.barred("", previous) {
		return reject("%w", errErased)
	}
	return nil
}

// readmit lets a person in again whose suppression of scope all is lifted.
func (t *tx) readmit(h store.Hash) error {
	if !t.d.erased.bars(h) {
		return nil
	}
	x, err := t.d.store.ErasureOf(h)
	if err != nil {
		return fmt.Errorf("reading an erasure: %w", err)
	}
	x.Lifted = t.d.now()
	t.b.Erasure(&x)
	t.readmitted = append(t.readmitted, x)
	for _, user := range x.Users {
		u, err := t.d.store.ErasureOf(user)
		if err != nil {
			return fmt.Errorf("reading an erasure: %w", err)
		}
		u.Lifted = x.Lifted
		t.b.Erasure(&u)
		t.readmitted = append(t.readmitted, u)
	}
	return nil
}
