// SPDX-License-Identifier: Apache-2.0

package queue

import (
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/seguemta/segue/mta/event"
	"github.com/seguemta/segue/queue/schedule"
	"github.com/seguemta/segue/queue/store"
)

// act is one transition of a recipient that is not the outcome of an attempt.
type act struct {
	kind   event.Kind // Dropped, Suppressed, Expired, Bounced: final; Held, Released, Relaned, Delayed: not
	reason string
	hold   string      // Held: the name; Released: only who is held under it, due as it was
	gated  bool        // Held: by the gate, which is asked for the name
	class  store.Class // Relaned
	// version is that of the segment that decides the class; 0 = as it was.
	version uint64
	due     time.Time // Delayed: until when
	capped  time.Time // Delayed: since when it waits for room; zero = it does not
	back    *setBack  // Released: because the clock was set back
	reply   string
	code    int
	bounce  string // bounce class and verdict, for Bounced
	blame   string
	// order says that somebody relies on the answer: where the recipient is in
	// flight it comes when the act is durable, not when it is taken down.
	order bool
}

// errBusy says that another change of the same recipient is under way.
var errBusy = errors.New("recipient is being changed")

// errUnread says that the disk could not be read: nothing has begun.
var errUnread = errors.New("recipient cannot be read")

// await leaves an act with a recipient in flight. Of two acts the later holds,
// but one that ends the recipient holds against one that does not.
func (q *Queue) await(id store.ID, a *act, done func(error)) {
	old := q.owned.flying[id]
	if old != nil && old.act.kind.Final() && (!a.kind.Final() || old.done != nil) {
		if a.order {
			done(ErrSuperseded)
		} else {
			done(nil)
		}
		return
	}
	if old != nil && old.done != nil {
		old.done(ErrSuperseded)
	}
	next := &waiting{act: a}
	if a.order {
		next.done = done
	} else {
		done(nil)
	}
	q.owned.flying[id] = next
}

// apply carries out an act on a recipient and calls done, from any goroutine,
// with nil when it is durable or (unless it is an order) waits for the
// recipient's conclusion, with [ErrNotFound] where the recipient is concluded.
func (q *Queue) apply(id store.ID, a *act, done func(error)) {
	q.mail.act(func(now time.Time) {
		if _, flying := q.owned.flying[id]; flying {
			switch {
			case a.back != nil:
				done(nil) // its conclusion will know the clock
			case a.kind == event.Released && a.hold != "":
				done(errBusy) // it is about to land in its hold
			case a.gated:
				done(ErrNotFound) // it was asked
			default:
				q.await(id, a, done)
			}
			return
		}
		if q.owned.changed[id] {
			done(errBusy)
			return
		}
		r, err := q.store.Recipient(id)
		if errors.Is(err, store.ErrStale) {
			done(ErrNotFound)
			return
		}
		if err != nil {
			done(fmt.Errorf("%w: %w", errUnread, err))
			return
		}
		if q.owned.unheard(&r) {
			done(errBusy)
			return
		}
		if a.kind == event.Released && a.hold != "" && r.Hold != a.hold || a.gated && r.Hold != "" {
			done(ErrNotFound)
			return
		}
		q.owned.changed[id] = true
		if r.Hold == "" {
			q.step(now, schedule.Gone{Domain: r.Address.Domain, Class: schedule.ClassID(r.Class), ID: schedule.ID(id)})
		} else {
			q.counts.park(r.Address.Domain, r.Class, -1)
		}
		q.commitAct(id, r, a, done)
	})
}

// commitAct writes an act; the machine has let go of the recipient.
func (q *Queue) commitAct(id store.ID, r store.Recipient, a *act, done func(error)) {
	var next *store.Recipient
	q.store.Submit(func(tx *store.Tx) error {
		current, err := tx.Owned(id, r.Generation)
		if err != nil {
			return err
		}
		next, err = q.write(tx, id, current, a)
		return err
	}, func(err error) {
		q.mail.act(func(now time.Time) {
			q.owned.settled(r.Address.Domain, schedule.ClassID(r.Class), id)
			switch {
			case errors.Is(err, store.ErrStale):
				q.reclaim(now, id)
			case err != nil:
				q.settle(now, id, &r) // it stays what it was
			default:
				q.settle(now, id, next)
			}
		})
		done(notFound(err))
	})
}

// settle gives a recipient to its next owner: the machine, a hold or nobody.
func (q *Queue) settle(now time.Time, id store.ID, next *store.Recipient) {
	switch {
	case next == nil:
	case next.Hold != "":
		q.counts.park(next.Address.Domain, next.Class, 1)
	default:
		e := store.Entry{ID: id, Recipient: *next}
		q.step(now, schedule.Queued{Domain: next.Address.Domain, Class: schedule.ClassID(next.Class), Item: item(&e)})
	}
}

// write changes the record and writes the event. nil = concluded.
func (q *Queue) write(tx *store.Tx, id store.ID, r store.Recipient, a *act) (*store.Recipient, error) {
	m, err := tx.Message(id.Message)
	if err != nil {
		return nil, err
	}
	e := q.event(id, &r, m)
	e.Kind, e.Reason, e.Code, e.Reply, e.Class, e.Verdict = a.kind, a.reason, a.code, a.reply, a.bounce, a.blame
	if a.kind.Final() {
		if a.kind == event.Expired && r.Attempts == 0 {
			e.Reason = "unsent"
		}
		if _, err := tx.Remove(id, r); err != nil {
			return nil, err
		}
		tx.Event(&e)
		return nil, nil
	}
	next := r
	switch a.kind {
	case event.Held:
		next.Hold, e.Reason = a.hold, a.hold
		if a.gated {
			// Whoever lets a cohort go walks through its hold once: who was asked before
			// must not come to it after that.
			p := q.passage(&store.Entry{ID: id, Recipient: r}, q.store.Class(r.Class), m)
			if p.Go {
				return &r, nil
			}
			next.Hold, e.Reason = p.Hold, p.Why
		}
	case event.Released:
		if !a.release(&next, tx.Now()) {
			return &r, nil
		}
	case event.Relaned:
		next.Class, _ = tx.Class(a.class)
		if a.version != 0 {
			next.Version = a.version
		}
		if a.class.Segment != e.Segment {
			ask(&next, tx.Now())
		}
		q.holdAnew(id, &r, &next, m)
		e.Segment, e.SegmentVersion, e.Tier, e.Pool, e.Plan = a.class.Segment, next.Version, a.class.Tier, a.class.Pool, a.class.Plan
	case event.Delayed:
		if next.Wait == "" {
			next.Base = next.Due
		}
		next.Due, next.Wait, next.Capped = a.due, a.reason, a.capped
		e.Next = a.due
	default: // no act is of another kind
	}
	next = tx.Put(id, r, next)
	tx.Event(&e)
	return &next, nil
}

// release lets a recipient go that is held or waits. It reports whether that changes anything.
func (a *act) release(r *store.Recipient, now time.Time) bool {
	switch {
	case a.back != nil:
		if !a.back.moves(r, now) {
			return false // the new clock has written it since it was read
		}
		a.back.bring(r, now)
	case a.hold != "":
		r.Hold = ""
	default:
		r.Hold, r.Due, r.Wait, r.Base = "", now, "", time.Time{}
	}
	return true
}

// ask ends a wait for the policy of a lane that a recipient leaves: the policy of
// the new one is asked when the mail is due by itself.
func ask(r *store.Recipient, now time.Time) {
	if r.Wait != "" {
		r.Due = latest(r.Base, now)
	}
	r.Wait, r.Base, r.Capped = "", time.Time{}, time.Time{}
}

// event is an event about a recipient with what its record and message say.
func (q *Queue) event(id store.ID, r *store.Recipient, m *store.Message) event.Event {
	c := q.store.Class(r.Class)
	return event.Event{
		Message: id.Message, Recipient: id.Recipient, Address: r.Address.String(), Contact: r.Contact,
		Sender: m.Sender.String(), Stream: c.Stream, Segment: c.Segment, SegmentVersion: r.Version, Tier: c.Tier,
		Pool: c.Pool, Plan: c.Plan, Campaign: m.Campaign, Credential: m.Credential, Metadata: m.Metadata,
		Domain: r.Address.Domain, Attempt: r.Attempts, Size: m.Size, Batch: r.Batch, SendingDomain: m.Domain, Sample: r.Sample,
	}
}

func notFound(err error) error {
	if errors.Is(err, store.ErrStale) || errors.Is(err, store.ErrNotFound) {
		return ErrNotFound
	}
	return err
}

// move carries out the excess policy that the machine decided on.
func (q *Queue) move(m schedule.Move) {
	id := store.ID(m.Item.ID)
	class := q.store.Class(store.ClassID(m.Class))
	a := &act{kind: event.Dropped, reason: "pool " + class.Pool + " refuses mail over its budget"}
	if m.Pool != "" {
		to := class
		to.Pool, to.Plan = m.Pool, ""
		a = &act{kind: event.Relaned, reason: "pool " + class.Pool + " overflows", class: to}
	}
	q.apply(id, a, q.answered("moving excess mail", m.Domain, m.Class, m.Item))
}

// fail bounces mail for a domain that takes none.
func (q *Queue) fail(f schedule.Fail) {
	route := q.routes.get(f.Domain)
	a := &act{kind: event.Bounced, code: route.Reply.Code, reply: route.Reply.Text, bounce: route.Class, blame: route.Verdict, reason: "no route"}
	q.apply(store.ID(f.Item.ID), a, q.answered("bouncing mail of a domain that takes none", f.Domain, f.Class, f.Item))
}

// answered gives the machine its answer to a decision that could not be carried
// out: whoever it let go of comes back after a moment.
func (q *Queue) answered(what, domain string, class schedule.ClassID, it schedule.Item) func(error) {
	log := q.logged(what)
	return func(err error) {
		log(err)
		switch {
		case err == nil, errors.Is(err, errBusy), errors.Is(err, store.ErrClosed):
			// Whoever changes it tells the machine; a store that failed ends the queue.
		case errors.Is(err, ErrNotFound):
			q.mail.act(func(now time.Time) {
				q.machine.Step(now, schedule.Gone{Domain: domain, Class: class, ID: it.ID})
			})
		case errors.Is(err, errUnread):
			q.mail.act(func(time.Time) { q.giveBack(domain, class, it) })
		default:
			// It could not be written, and the machine has it again.
		}
	}
}

// giveBack returns a recipient to its lane after a moment, unless somebody changes it: who
// had moved or concluded it meanwhile would find it in two places.
func (q *Queue) giveBack(domain string, class schedule.ClassID, it schedule.Item) {
	if !q.owned.changed[store.ID(it.ID)] { // else whoever changes it tells the machine
		q.aside(domain, class, []schedule.Item{it})
	}
}

func (q *Queue) logged(what string) func(error) {
	return func(err error) {
		if err != nil && !errors.Is(err, ErrNotFound) && !errors.Is(err, errBusy) && !errors.Is(err, store.ErrClosed) {
			q.log.Error("changing a recipient failed", slog.String("act", what), slog.Any("error", err))
		}
	}
}
