// SPDX-License-Identifier: Apache-2.0

package queue

import (
	"errors"
	"log/slog"
	"time"

	"github.com/seguemta/segue/mta/event"
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

// lagWait is how long mail waits when contact state is behind or the disk
// cannot be read.
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
			// Stopping: on disk the recipients still wait.
			q.mail.act(func(time.Time) { q.counts.fly(t.Domain, store.ClassID(t.Class), -len(t.Items)) })
			return
		}
		if usable := q.transact(c, t); !usable {
			return
		}
	}
	q.mail.fact(schedule.ConnDown{Conn: c.id})
}

// transact carries out one transaction and reports whether the connection goes on.
func (q *Queue) transact(c *connection, t schedule.Transaction) bool {
	p := q.prepare(&t)
	var res *Result
	if len(p.job.Recipients) > 0 {
		res = q.send(c, &p.job)
	}
	usable := c.peer != nil && (res == nil || res.Usable)
	failed := res != nil && res.Failed
	if err := q.conclude(&t, p, res); err != nil {
		// Nobody knows of the outcome but the peer. The recipients stay in flight,
		// so that this process does not send them again.
		q.log.Error("concluding a transaction failed, it is repeated after a restart", slog.Any("error", err))
		return false
	}
	q.mail.act(func(now time.Time) {
		q.landAll(now, &t, p)
		q.step(now, schedule.Concluded{Conn: c.id, Refunded: refunded(&t, p, res), Usable: usable})
		if !usable {
			if q.conns[c.id] == c {
				delete(q.conns, c.id)
				close(c.jobs)
			}
			q.step(now, schedule.ConnDown{Conn: c.id, Failed: failed})
		}
	})
	return usable
}

// refunded is how many recipients of a transaction were charged by the machine
// although MAIL was never sent for them.
func refunded(t *schedule.Transaction, p *prepared, res *Result) int {
	n := 0
	if len(t.Charges) == 0 {
		return n
	}
	sent := make(map[store.ID]bool)
	if res != nil && res.MailSent {
		for i := range p.job.Recipients {
			sent[p.job.Recipients[i].ID] = true
		}
	}
	for i := range t.Items {
		it := &t.Items[i]
		free := it.Charged.Source == t.Source && it.Charged.Day == t.Day
		if !free && !sent[store.ID(it.ID)] {
			n++
		}
	}
	return n
}

func (q *Queue) send(c *connection, job *Job) *Result {
	ctx := q.hard
	if c.peer == nil {
		peer, res := q.o.Transport.Dial(ctx, job)
		if res != nil {
			return whole(job, res)
		}
		c.peer = peer
		q.mail.fact(schedule.ConnUp{Conn: c.id})
	}
	return whole(job, c.peer.Send(ctx, job))
}

// whole holds a transport to its word: an outcome per recipient.
func whole(job *Job, res *Result) *Result {
	for len(res.Outcomes) < len(job.Recipients) {
		res.Outcomes = append(res.Outcomes, local(Deferred, "the transport gave no outcome"))
	}
	return res
}

// prepared is a transaction after the check at the door: what is to be sent and
// what is not, each with its reason. Recipients that are none of these have
// changed hands since the machine chose them.
type prepared struct {
	job     Job
	policy  Policy
	people  map[store.ID]Person
	acts    []refused
	lagging map[store.ID]bool     // contact state lags: their class waits
	unread  map[store.ID]bool     // the disk could not be read: they wait
	samples map[store.ID][]string // trials that those are let go for who are of one

	// Written by the conclusion.
	next  map[store.ID]*store.Recipient // who goes on; missing = concluded
	stale map[store.ID]bool             // changed by somebody else meanwhile
}

// refused is a recipient that is not sent, and what becomes of it.
type refused struct {
	store.Entry
	act *act
}

// prepare reads the recipients and asks once more whether each may be mailed.
func (q *Queue) prepare(t *schedule.Transaction) *prepared {
	class := q.store.Class(store.ClassID(t.Class))
	mid := t.Items[0].ID.Message
	p := &prepared{lagging: map[store.ID]bool{}, unread: map[store.ID]bool{}, people: map[store.ID]Person{}, samples: map[store.ID][]string{}}
	p.job = Job{Site: t.Site, Provider: t.Provider, Source: t.Source, Domain: t.Domain, Class: class, MessageID: mid}
	list := q.current(t, p)
	if len(list) == 0 {
		return p
	}
	m, err := q.store.Message(mid)
	if err != nil {
		q.unreadable(p, list, err)
		return p
	}
	p.job.Message = &m
	transactional := q.o.Lane(class).Transactional
	if !transactional {
		p.policy = q.o.Policy(class)
	}
	for _, e := range list {
		q.check(p, e, transactional)
	}
	if len(p.job.Recipients) == 0 {
		return p
	}
	if p.job.Body, err = q.store.Body(mid, m.Size); err != nil {
		q.unreadable(p, p.job.Recipients, err)
		p.job.Recipients = nil
	}
	q.reserve(p)
	return p
}

// current reads the recipients of a transaction that are still what the machine
// took them for.
func (q *Queue) current(t *schedule.Transaction, p *prepared) []store.Entry {
	list := make([]store.Entry, 0, len(t.Items))
	for i := range t.Items {
		id := store.ID(t.Items[i].ID)
		r, err := q.store.Recipient(id)
		e := store.Entry{ID: id, Recipient: r}
		switch {
		case errors.Is(err, store.ErrStale):
		case err != nil:
			q.unreadable(p, []store.Entry{e}, err)
		case r.Hold == "" && r.Class == store.ClassID(t.Class):
			list = append(list, e)
		}
	}
	return list
}

func (q *Queue) unreadable(p *prepared, list []store.Entry, err error) {
	q.log.Error("reading a message failed, its recipients wait", slog.String("message", store.FormatMessage(p.job.MessageID)), slog.Any("error", err))
	for i := range list {
		p.unread[list[i].ID] = true
	}
}

// check sorts one recipient: refused, waiting, or to be sent. A suppression
// that is known holds whatever else is not.
func (q *Queue) check(p *prepared, e store.Entry, transactional bool) {
	class := p.job.Class
	tier, suppressed, err := q.o.Contacts.Check(&e, class, p.job.Message)
	switch {
	case suppressed != "":
		p.acts = append(p.acts, refused{e, &act{kind: event.Suppressed, reason: suppressed}})
		return
	case err != nil && !transactional:
		p.lagging[e.ID] = true
		return
	case err == nil && tier != "" && tier != class.Tier:
		if to := q.o.Relane(class, tier); to != class {
			p.acts = append(p.acts, refused{e, &act{kind: event.Relaned, reason: "tier is now " + tier, class: to}})
			return
		}
	}
	pass := q.passage(&e, class, p.job.Message)
	if !pass.Go {
		p.acts = append(p.acts, refused{e, &act{kind: event.Held, gated: true}})
		return
	}
	a, err := q.closed(p, &e)
	switch {
	case err != nil:
		q.unreadable(p, []store.Entry{e}, err)
	case a != nil:
		p.acts = append(p.acts, refused{e, a})
	default:
		if len(pass.Sample) > 0 {
			p.samples[e.ID] = pass.Sample
			q.o.Gate.Goes(&e, pass.Sample)
		}
		p.job.Recipients = append(p.job.Recipients, e)
	}
}
