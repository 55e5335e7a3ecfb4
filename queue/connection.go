// SPDX-License-Identifier: Apache-2.0

package queue

import (
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/seguemta/segue/mta/event"
	"github.com/seguemta/segue/mta/rfc5321"
	"github.com/seguemta/segue/queue/schedule"
	"github.com/seguemta/segue/queue/store"
)

// connection is one connection of the machine's: a goroutine that carries out
// one transaction after another. It starts none before the conclusion of the last
// is durable, which bounds what a crash can repeat.
type connection struct {
	id   schedule.Conn
	jobs chan schedule.Transaction
	peer Connection // nil until dialled
}

// lagWait is how long marketing mail waits when contact state is behind.
const lagWait = 5 * time.Second

// serve runs the transactions of one connection until its jobs end or it breaks.
func (q *Queue) serve(c *connection) {
	defer func() {
		if c.peer != nil {
			c.peer.Close()
		}
	}()
	for t := range c.jobs {
		if q.soft.Err() != nil {
			return // stopping: on disk the recipients still wait
		}
		if usable := q.transact(c, t); !usable {
			return
		}
	}
	q.mail.fact(schedule.ConnDown{Conn: c.id})
}

// transact carries out one transaction and reports whether the connection goes on.
func (q *Queue) transact(c *connection, t schedule.Transaction) bool {
	p := q.prepare(t)
	var res *Result
	if len(p.job.Recipients) > 0 {
		res = q.send(c, &p.job)
	}
	usable := c.peer != nil && (res == nil || res.Usable)
	failed := res != nil && res.Failed
	refunded := len(t.Items)
	if res != nil && res.MailSent {
		refunded -= len(p.job.Recipients)
	}
	done := make(chan struct{})
	q.conclude(t, p, res, func() {
		q.mail.act(func(now time.Time) {
			q.step(now, schedule.Concluded{Conn: c.id, Refunded: refunded, Usable: usable})
			if !usable {
				if q.conns[c.id] == c {
					delete(q.conns, c.id)
					close(c.jobs)
				}
				q.step(now, schedule.ConnDown{Conn: c.id, Failed: failed})
			}
		})
		close(done)
	})
	<-done
	return usable
}

func (q *Queue) send(c *connection, job *Job) *Result {
	ctx := q.hard
	if c.peer == nil {
		peer, res := q.o.Transport.Dial(ctx, job)
		if res != nil {
			return res
		}
		c.peer = peer
		q.mail.fact(schedule.ConnUp{Conn: c.id})
	}
	return c.peer.Send(ctx, job)
}

// prepared is a transaction after the check at the door: what is to be sent and
// what is not, each with its reason.
type prepared struct {
	job   Job
	acts  map[store.ID]*act // not to be sent
	later map[store.ID]bool // not now: contact state lags or the store cannot be read
	skip  []store.Entry     // the recipients of acts and later
}

// prepare reads the recipients and asks once more whether each may be mailed.
func (q *Queue) prepare(t schedule.Transaction) *prepared {
	p := &prepared{acts: map[store.ID]*act{}, later: map[store.ID]bool{}}
	class := q.store.Class(store.ClassID(t.Class))
	p.job = Job{Site: t.Site, Provider: t.Provider, Source: t.Source, Domain: t.Domain, Class: class}
	mid := t.Items[0].ID.Message
	m, err := q.store.Message(mid)
	if err == nil {
		p.job.Message, p.job.MessageID = &m, mid
		p.job.Body, err = q.store.Body(mid, m.Size)
	}
	if err != nil {
		q.log.Error("reading a message failed, its recipients wait", slog.String("message", store.FormatMessage(mid)), slog.Any("error", err))
	}
	for i := range t.Items {
		id := store.ID(t.Items[i].ID)
		r, rerr := q.store.Recipient(id)
		e := store.Entry{ID: id, Recipient: r}
		if err != nil || rerr != nil {
			if !errors.Is(rerr, store.ErrStale) {
				p.later[id] = true
			}
			e.Due, e.Expires = t.Items[i].Due, t.Items[i].Expires
			p.skip = append(p.skip, e)
			continue
		}
		q.check(p, e, class)
	}
	return p
}

// check sorts one recipient: send, act, or later.
func (q *Queue) check(p *prepared, e store.Entry, class store.Class) {
	tier, suppressed, err := q.o.Contacts.Check(&e, class, p.job.Message.Domain)
	switch {
	case err != nil && !q.o.Lane(class).Transactional:
		p.later[e.ID] = true
		p.skip = append(p.skip, e)
	case suppressed != "":
		p.acts[e.ID] = &act{kind: event.Suppressed, reason: suppressed}
		p.skip = append(p.skip, e)
	case tier != "" && tier != class.Tier:
		to := q.o.Relane(class, tier)
		if to == class {
			p.job.Recipients = append(p.job.Recipients, e)
			return
		}
		p.acts[e.ID] = &act{kind: event.Relaned, reason: "tier is now " + tier, class: to}
		p.skip = append(p.skip, e)
	default:
		p.job.Recipients = append(p.job.Recipients, e)
	}
}

// conclude writes the outcomes of a transaction in one synced batch, gives every
// recipient to its next owner, and then calls done.
func (q *Queue) conclude(t schedule.Transaction, p *prepared, res *Result, done func()) {
	next := make(map[store.ID]*store.Recipient, len(t.Items))
	op := func(tx *store.Tx) error {
		if err := p.owned(tx); err != nil {
			return err
		}
		for i := range p.job.Recipients {
			e := &p.job.Recipients[i]
			n, err := q.outcome(tx, &t, p, e, &res.Outcomes[i], res.MailSent)
			if err != nil {
				return err
			}
			next[e.ID] = n
		}
		for i := range p.skip {
			e := &p.skip[i]
			a := p.acts[e.ID]
			if a == nil {
				continue
			}
			n, err := q.write(tx, e.ID, e.Recipient, a)
			if err != nil {
				return err
			}
			next[e.ID] = n
		}
		if t.Overdraft && res != nil && res.MailSent {
			tx.Event(&event.Event{Kind: event.Overdraft, Source: t.Source, Provider: t.Provider, Stream: p.job.Class.Stream, Message: p.job.MessageID})
		}
		return nil
	}
	q.store.Submit(op, func(err error) {
		if err != nil {
			q.log.Error("concluding a transaction failed, it will be repeated after a restart", slog.Any("error", err))
			next = map[store.ID]*store.Recipient{}
		}
		q.mail.act(func(now time.Time) { q.landAll(now, &t, p, next) })
		done()
	})
}

// owned checks that nobody else changed a recipient, before anything is written.
func (p *prepared) owned(tx *store.Tx) error {
	for i := range p.job.Recipients {
		if _, err := tx.Owned(p.job.Recipients[i].ID, p.job.Recipients[i].Generation); err != nil {
			return fmt.Errorf("recipient %s: %w", p.job.Recipients[i].ID, err)
		}
	}
	return nil
}

// landAll takes the recipients of a transaction back.
func (q *Queue) landAll(now time.Time, t *schedule.Transaction, p *prepared, next map[store.ID]*store.Recipient) {
	q.counts.fly(t.Domain, store.ClassID(t.Class), -len(t.Items))
	for i := range t.Items {
		id := store.ID(t.Items[i].ID)
		waiting := q.owned.land(t.Domain, t.Class, id)
		n := next[id]
		if p.later[id] {
			it := t.Items[i]
			it.Due = now.Add(lagWait)
			q.step(now, schedule.Queued{Domain: t.Domain, Class: t.Class, Item: it})
		} else {
			q.settle(now, id, n)
		}
		if waiting != nil && (n != nil || p.later[id]) {
			q.apply(id, waiting, q.logged("act after an attempt"))
		}
	}
}

// outcome writes what became of one recipient. nil = concluded.
func (q *Queue) outcome(tx *store.Tx, t *schedule.Transaction, p *prepared, e *store.Entry, o *Outcome, mailSent bool) (*store.Recipient, error) {
	r, err := tx.Owned(e.ID, e.Generation)
	if err != nil {
		return nil, err
	}
	r.Attempts++
	if mailSent {
		q.charge(tx, t, p.job.Class, &r)
	}
	ev := q.event(e.ID, &r, p.job.Message)
	ev.Source, ev.Provider, ev.Site, ev.Host = t.Source, t.Provider, t.Site, o.Host
	ev.Code, ev.Enhanced, ev.Reply, ev.Class, ev.Verdict = o.Reply.Code, o.Reply.Enhanced.String(), o.Reply.Text, o.Class, o.Verdict
	if o.Kind == Deferred {
		next := q.retry(tx.Now(), t, &r, o)
		ev.Kind, ev.Next = event.Deferred, next.Due
		tx.Put(e.ID, e.Recipient, next)
		tx.Event(&ev)
		next.Generation = e.Generation + 1
		return &next, nil
	}
	ev.Kind = event.Bounced
	if o.Kind == Delivered {
		ev.Kind = event.Delivered
		tx.Sent(e.ID, &store.Sent{
			Time: tx.Now(), Contact: r.Contact, Address: r.Address.String(), Stream: ev.Stream, Segment: ev.Segment,
			SegmentVersion: r.Version, Tier: ev.Tier, Pool: ev.Pool, Campaign: ev.Campaign, Source: t.Source, Provider: t.Provider,
			Domain: p.job.Message.Domain,
		})
	}
	if _, err := tx.Remove(e.ID, e.Recipient); err != nil {
		return nil, err
	}
	tx.Event(&ev)
	return nil, nil
}

// retry is the record of a recipient that is tried again.
func (q *Queue) retry(now time.Time, t *schedule.Transaction, r *store.Recipient, o *Outcome) store.Recipient {
	next := *r
	wait := q.o.Retry[min(r.Attempts-1, len(q.o.Retry)-1)]
	// The committer's goroutine is the only user of Rand.
	spread := 1 + q.o.Jitter*(2*q.o.Rand.Float64()-1)
	next.Due = now.Add(time.Duration(float64(wait) * spread)).Truncate(time.Millisecond)
	next.Code, next.Reply = o.Reply.Code, o.Reply.Text
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
