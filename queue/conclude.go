// SPDX-License-Identifier: Apache-2.0

package queue

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/seguemta/segue/mta/event"
	"github.com/seguemta/segue/mta/rfc5321"
	"github.com/seguemta/segue/queue/schedule"
	"github.com/seguemta/segue/queue/store"
)

// conclude writes the outcomes of a transaction in one synced batch. What could
// not be read is tried again: the peer has the mail, and only this outcome keeps
// it from being sent twice. An error means that the store takes nothing any more.
func (q *Queue) conclude(t *schedule.Transaction, p *prepared, res *Result) error {
	for {
		err := q.store.Commit(context.WithoutCancel(q.hard), func(tx *store.Tx) error { return q.outcomes(tx, t, p, res) })
		if err == nil || errors.Is(err, store.ErrClosed) {
			return err
		}
		q.log.Error("concluding a transaction failed, trying again", slog.Any("error", err))
		if wait(q.hard, lagWait) != nil {
			return err
		}
	}
}

// outcomes reads everything that it needs, then writes. A recipient that
// somebody else changed is left to them; the others are concluded.
func (q *Queue) outcomes(tx *store.Tx, t *schedule.Transaction, p *prepared, res *Result) error {
	p.next, p.stale = make(map[store.ID]*store.Recipient, len(t.Items)), make(map[store.ID]bool)
	if err := p.claim(tx); err != nil {
		return err
	}
	for i := range p.job.Recipients {
		id := p.job.Recipients[i].ID
		if p.stale[id] {
			give(tx, id, res.Outcomes[i].Kind)
			continue
		}
		n, err := q.outcome(tx, t, p, res, i)
		if err != nil {
			return err
		}
		p.next[id] = n
	}
	for i := range p.acts {
		a := &p.acts[i]
		if p.stale[a.ID] {
			continue
		}
		n, err := q.write(tx, a.ID, a.Recipient, a.act)
		if err != nil {
			return err
		}
		p.next[a.ID] = n
	}
	if t.Overdraft && res != nil && res.MailSent {
		tx.Event(&event.Event{Kind: event.Overdraft, Source: t.Source, Provider: t.Provider, Stream: p.job.Class.Stream, Message: p.job.MessageID})
	}
	return nil
}

// claim checks who is still ours before anything is written.
func (p *prepared) claim(tx *store.Tx) error {
	owned := func(e *store.Entry) error {
		_, err := tx.Owned(e.ID, e.Generation)
		if errors.Is(err, store.ErrStale) {
			p.stale[e.ID] = true
			return nil
		}
		return err
	}
	for i := range p.job.Recipients {
		if err := owned(&p.job.Recipients[i]); err != nil {
			return err
		}
	}
	for i := range p.acts {
		if err := owned(&p.acts[i].Entry); err != nil {
			return err
		}
	}
	if len(p.job.Recipients)+len(p.acts) == len(p.stale) {
		return nil
	}
	_, err := tx.Message(p.job.MessageID)
	return err
}

// landAll takes the recipients of a transaction back and gives each to its next owner.
func (q *Queue) landAll(now time.Time, t *schedule.Transaction, p *prepared) {
	q.counts.fly(t.Domain, store.ClassID(t.Class), -len(t.Items))
	if len(p.lagging) > 0 {
		q.holdLagging(now, t.Class)
	}
	var rest []schedule.Item
	for i := range t.Items {
		id := store.ID(t.Items[i].ID)
		w := q.owned.land(t.Domain, t.Class, id)
		next := p.next[id]
		switch {
		case p.lagging[id]:
			q.step(now, schedule.Queued{Domain: t.Domain, Class: t.Class, Item: t.Items[i]})
		case p.unread[id]:
			rest = append(rest, t.Items[i])
		case p.stale[id]:
			next = q.reclaim(now, id)
		default:
			q.settle(now, id, next)
		}
		q.landed(id, w, next != nil || p.lagging[id] || p.unread[id])
	}
	if len(rest) > 0 {
		q.counts.add(t.Domain, store.ClassID(t.Class), len(rest))
		q.aside(t.Domain, t.Class, rest)
	}
}

// landed carries out the act that waited for a conclusion, if there is still
// somebody to act on.
func (q *Queue) landed(id store.ID, w *waiting, goesOn bool) {
	switch {
	case w == nil:
	case goesOn:
		done := w.done
		if done == nil {
			done = q.later(id, w.act)
		}
		q.apply(id, w.act, done)
	case w.done != nil:
		w.done(ErrNotFound)
	}
}

// later carries out an act that nobody waits for, but that was promised, when
// nobody else changes its recipient any more.
func (q *Queue) later(id store.ID, a *act) func(error) {
	log := q.logged("act after an attempt")
	return func(err error) {
		log(err)
		if !errors.Is(err, errBusy) {
			return
		}
		q.mail.act(func(time.Time) {
			if q.soft.Err() != nil {
				return
			}
			q.wg.Go(func() {
				if wait(q.soft, busyWait) == nil {
					q.apply(id, a, q.later(id, a))
				}
			})
		})
	}
}

// reclaim finds out who owns a recipient that was changed behind the back of
// its owner, which should not happen. nil = it is concluded.
func (q *Queue) reclaim(now time.Time, id store.ID) *store.Recipient {
	q.log.Error("a recipient was changed while it was in flight", slog.String("recipient", id.String()))
	r, err := q.store.Recipient(id)
	if err != nil {
		return nil
	}
	q.settle(now, id, &r)
	return &r
}

// aside keeps recipients that could not be read aside for a moment, in which nobody changes
// them. The machine gets them back as they were: the disk has not changed. In the counts they wait.
func (q *Queue) aside(domain string, class schedule.ClassID, items []schedule.Item) {
	for i := range items {
		q.owned.changed[store.ID(items[i].ID)] = true
	}
	if q.soft.Err() != nil {
		return
	}
	q.wg.Go(func() {
		if wait(q.soft, lagWait) != nil {
			return
		}
		q.mail.act(func(now time.Time) {
			for i := range items {
				q.owned.settled(domain, class, store.ID(items[i].ID))
				q.machine.Step(now, schedule.Queued{Domain: domain, Class: class, Item: items[i]})
			}
		})
	})
}

// outcome writes what became of the i-th recipient. nil = concluded.
func (q *Queue) outcome(tx *store.Tx, t *schedule.Transaction, p *prepared, res *Result, i int) (*store.Recipient, error) {
	e, o := &p.job.Recipients[i], &res.Outcomes[i]
	r := e.Recipient
	r.Attempts++
	if res.MailSent {
		q.charge(tx, t, p.job.Class, &r)
	}
	ev := q.event(e.ID, &r, p.job.Message)
	ev.Source, ev.Provider, ev.Site, ev.Host = t.Source, t.Provider, t.Site, o.Host
	give(tx, e.ID, o.Kind)
	ev.Code, ev.Enhanced, ev.Reply, ev.Class, ev.Verdict, ev.Subject = o.Reply.Code, o.Reply.Enhanced.String(), o.Reply.Text, o.Class, o.Verdict, o.Subject
	if o.Kind == Deferred {
		next := q.retry(tx.Now(), t, &r, o)
		p.retryWindow(&next, e.ID)
		next = tx.Put(e.ID, e.Recipient, next)
		ev.Kind, ev.Next = event.Deferred, next.Due
		tx.Event(&ev)
		return &next, nil
	}
	ev.Kind = event.Bounced
	if o.Kind == Delivered {
		ev.Kind = event.Delivered
		tx.Sent(e.ID, &store.Sent{
			Time: tx.Now(), Contact: r.Contact, Address: r.Address.String(), Stream: ev.Stream, Segment: ev.Segment,
			SegmentVersion: r.Version, Tier: ev.Tier, Pool: ev.Pool, Campaign: ev.Campaign, Batch: r.Batch, Source: t.Source,
			Provider: t.Provider, Domain: p.job.Message.Domain, Token: p.job.Recipients[0].ID.Recipient,
			Sample: r.Sample,
		})
	}
	if _, err := tx.Remove(e.ID, e.Recipient); err != nil {
		return nil, err
	}
	tx.Event(&ev)
	return nil, nil
}

// give ends a recipient's place under caps: used where it was delivered, else
// given back.
func give(tx *store.Tx, id store.ID, kind Kind) {
	if kind == Delivered {
		tx.Use(id)
	} else {
		tx.Return(id)
	}
}

// retry is the record of a recipient that is tried again.
func (q *Queue) retry(now time.Time, t *schedule.Transaction, r *store.Recipient, o *Outcome) store.Recipient {
	next := *r
	wait := q.o.Retry[min(r.Attempts-1, len(q.o.Retry)-1)]
	// The committer's goroutine is the only user of Rand.
	spread := 1 + q.o.Jitter*(2*q.o.Rand.Float64()-1)
	next.Due = now.Add(time.Duration(float64(wait) * spread))
	next.Code, next.Reply = o.Reply.Code, o.Reply.Text
	next.Wait, next.Base, next.Capped = "", time.Time{}, time.Time{} // it found its window open, and room
	if len(o.Signature) > 0 {
		next.Signature = o.Signature
	}
	switch {
	case !o.Pin:
		next.Pin, next.PinUntil = "", time.Time{}
	case next.Pin != t.Source:
		next.Pin, next.PinUntil = t.Source, now.Add(q.o.PinFor)
	}
	return next
}

// local is an outcome without a reply of the peer's.
func local(kind Kind, text string) Outcome {
	return Outcome{Kind: kind, Reply: rfc5321.Reply{Text: text}}
}

// DeferAll is the result of a job that reached nobody.
func DeferAll(job *Job, text string) *Result {
	res := &Result{Failed: true, Outcomes: make([]Outcome, len(job.Recipients))}
	for i := range res.Outcomes {
		res.Outcomes[i] = local(Deferred, text)
	}
	return res
}
