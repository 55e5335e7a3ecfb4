// SPDX-License-Identifier: Apache-2.0

// Package queue drives accepted mail from its synced commit to its conclusion.
//
// It joins three things and adds as little as it can of its own: queue/store,
// which keeps everything durable through one committer; queue/schedule, the pure
// machine that decides who leaves next, from which source, within which budget;
// and a [Transport], which talks SMTP. [New], then [Queue.Run]; mail comes in by
// [Queue.Enqueue], which returns after the sync.
//
// One goroutine owns the machine: facts reach it through a mailbox, its decisions are
// carried out by others (one goroutine per connection, short ones for pages from
// disk and lookups), whose results are facts again. Nothing waits for anything
// while it holds the machine.
//
// A recipient has one owner. The schedule on disk owns what waits; a connection
// owns what is in flight, which is known in memory only (owned.go): a crash puts it back
// into the schedule, and that is the one way in which mail can be sent twice. An
// operator's act, an expiry or a suppression that meets a recipient in flight
// waits for its conclusion.
//
// The segment that decided a lane may ask more of the moment at which its mail
// leaves (policy.go): a send window in the recipient's time zone, caps on how often a
// contact or an account is written to. Both are asked by the connection just before
// it sends; room under a cap is reserved through the committer, durably, and given
// back where nothing was sent. What may not leave goes back to the schedule with a due time.
//
// Before these, a [Gate] says of marketing mail whether it goes at all (gate.go). What
// does not is parked under the name of the cohort that holds it, as under an operator's hold;
// the committer asks again, so that a release which has walked through a hold misses nobody.
// For which trials mail was let go is part of its record before it is sent.
//
// What reputation asks of a source at a provider ([Queue.Limit]) and of a lane there
// ([Queue.HoldAt]) are facts for the machine. They are not stored with the mail: whoever
// decides them stores them, and gives them before Run.
package queue

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/seguemta/segue/queue/schedule"
	"github.com/seguemta/segue/queue/store"
)

// Queue is a running queue. Its exported methods are safe for concurrent use.
type Queue struct {
	o     Options
	store *store.Store
	log   *slog.Logger
	mail  mailbox
	wg    sync.WaitGroup // connections, loads, lookups

	// Owned by Run's goroutine.
	machine *schedule.Machine
	known   map[store.ClassID]bool
	conns   map[schedule.Conn]*connection
	owned   owned
	lagging lagging
	held    map[string]*heldAt // by provider
	counts  counts
	dayEnd  time.Time
	soft    context.Context // ends when no new transaction may start
	hard    context.Context // ends when connections must be cut
	ready   schedule.Ready
	routes  routes
	lookups []string // domains that wait for a lookup
	looking int      // lookups under way

	scanned int64         // minute of the expiry cursor; maintain's own
	stepped sync.Mutex    // held while due times follow a step of the clock
	ended   chan struct{} // closed when Run has returned
}

// New prepares a queue: it reads what is on disk, so that mail which is enqueued
// from now on is told from mail that was there. Nothing is sent before Run.
func New(o Options) (*Queue, error) {
	if o.Store == nil || o.Transport == nil || o.Resolver == nil || o.Contacts == nil || o.Budgets == nil || o.Lane == nil || o.Relane == nil {
		return nil, errors.New("making a queue: Store, Transport, Resolver, Contacts, Budgets, Lane and Relane are required")
	}
	o.fill()
	q := &Queue{
		o: o, store: o.Store, log: o.Logger,
		machine: schedule.New(o.Schedule),
		known:   make(map[store.ClassID]bool),
		conns:   make(map[schedule.Conn]*connection),
		lagging: make(lagging), held: make(map[string]*heldAt), ended: make(chan struct{}),
	}
	q.mail.init()
	q.owned.init()
	q.counts.init()
	q.routes.init()
	if err := q.start(); err != nil {
		return nil, fmt.Errorf("starting the queue: %w", err)
	}
	newMetrics(o.Registry, q)
	return q, nil
}

// Run schedules and delivers until ctx ends, then starts no new transaction, and
// gives those under way until hard ends. It returns when every goroutine of the
// queue has, with how many recipients were cut off. It also returns when the store
// failed (store.Err says why): without it no outcome can be recorded, and what
// was sent would be sent again.
func (q *Queue) Run(ctx, hard context.Context) (cut int) {
	defer close(q.ended)
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	q.soft, q.hard = ctx, hard
	q.wg.Go(func() { q.maintain(ctx) })
	q.loop(ctx)
	stop()
	cut = q.drain(hard)
	q.wg.Wait()
	return cut
}

// start tells the machine what is configured and what is on disk.
func (q *Queue) start() error {
	now := q.o.Now()
	for _, s := range q.o.Sources {
		q.machine.Step(now, s)
	}
	for _, p := range q.o.Pools {
		q.machine.Step(now, p)
	}
	for _, p := range q.o.Providers {
		q.machine.Step(now, p)
	}
	if err := q.roll(now); err != nil {
		return err
	}
	q.owned.heard, _ = q.store.Durable()
	return errors.Join(
		q.store.Backlogs(func(b store.Backlog) error {
			q.define(now, b.Class)
			q.counts.add(b.Domain, b.Class, b.Count)
			q.machine.Step(now, schedule.Counted{Domain: b.Domain, Class: schedule.ClassID(b.Class), Count: b.Count, Head: b.Head})
			return nil
		}),
		q.store.AllParked(func(e store.Entry) error {
			q.define(now, e.Class)
			q.counts.park(e.Address.Domain, e.Class, 1)
			return nil
		}),
	)
}

// loop is the machine's goroutine.
func (q *Queue) loop(ctx context.Context) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-q.store.Failed():
			return
		case <-q.mail.signal:
		case <-timer.C:
		}
		if !q.turn(timer) { //nolint:contextcheck // a day that began is stored, whether the queue is about to stop or not
			return
		}
	}
}

// turn feeds what arrived to the machine and carries out what it decides. It
// reports whether the queue may go on.
func (q *Queue) turn(timer *time.Timer) bool {
	letters := q.mail.take()
	now := q.o.Now() // read after: a letter may say that the clock was set
	for _, l := range letters {
		if l.act != nil {
			l.act(now)
			continue
		}
		q.step(now, l.fact)
	}
	wake := q.day(now)
	if next := q.releaseLagging(now); !next.IsZero() && next.Before(wake) {
		wake = next
	}
	if q.store.Err() != nil {
		return false // an outcome that was not recorded may be behind what arrived
	}
	q.machine.Take(now, &q.ready)
	q.act(&q.ready)
	if !q.ready.Wake.IsZero() && q.ready.Wake.Before(wake) {
		wake = q.ready.Wake
	}
	timer.Reset(max(wake.Sub(now), 0))
	return true
}

// day begins the next budget day when one has ended, and says when to look
// again. While the clock is in doubt no day ends: sources in warm-up wait.
func (q *Queue) day(now time.Time) time.Time {
	if now.Before(q.dayEnd) {
		return q.dayEnd
	}
	if q.o.Settled().Before(q.dayEnd) {
		return now.Add(dayWait) // the end of the doubt is told; this is for the case that it is not
	}
	if err := q.roll(now); err != nil {
		q.log.Error("starting a new budget day failed, sources in warm-up wait", slog.Any("error", err))
		q.dayEnd = now.Add(dayWait)
	}
	return q.dayEnd
}

// dayWait is how soon a day that could not begin is looked at again.
const dayWait = 10 * time.Second

// step hands a fact to the machine after what it presupposes.
func (q *Queue) step(now time.Time, f schedule.Fact) {
	switch f := f.(type) {
	case schedule.Queued:
		q.define(now, store.ClassID(f.Class))
		q.counts.add(f.Domain, store.ClassID(f.Class), 1)
	case schedule.Gone:
		q.counts.add(f.Domain, store.ClassID(f.Class), -1)
		q.owned.left(f.Domain, f.Class, store.ID(f.ID))
	case schedule.Resolved:
		q.counts.place(f.Domain, f.Provider)
	}
	q.machine.Step(now, f)
}

func (q *Queue) define(now time.Time, id store.ClassID) {
	if !q.known[id] {
		q.known[id] = true
		q.machine.Step(now, schedule.DefineClass{ID: schedule.ClassID(id), Class: q.o.Lane(q.store.Class(id))})
		for provider, h := range q.held {
			q.holdAt(now, provider, h, id)
		}
	}
}

// act carries out the machine's decisions.
func (q *Queue) act(r *schedule.Ready) {
	for _, l := range r.Load {
		q.startLoad(l)
	}
	for _, domain := range r.Resolve {
		q.lookup(domain)
	}
	for _, l := range r.Lease {
		q.lease(l)
	}
	for _, m := range r.Move {
		q.move(m)
	}
	for _, f := range r.Fail {
		q.fail(f)
	}
	for _, c := range r.Close {
		if conn := q.conns[c]; conn != nil {
			delete(q.conns, c)
			close(conn.jobs)
		}
	}
	for _, d := range r.Dial {
		conn := &connection{id: d.Conn, jobs: make(chan schedule.Transaction, 1)}
		q.conns[d.Conn] = conn
		conn.jobs <- q.depart(d.Transaction)
		q.wg.Go(func() { q.serve(conn) })
	}
	for _, s := range r.Send {
		q.conns[s.Conn].jobs <- q.depart(s.Transaction)
	}
}

// depart makes a connection the owner of a transaction's recipients, and copies
// what the machine will reuse.
func (q *Queue) depart(t schedule.Transaction) schedule.Transaction {
	t.Items = append([]schedule.Item(nil), t.Items...)
	t.Charges = append([]schedule.BudgetKey(nil), t.Charges...)
	for i := range t.Items {
		q.owned.depart(store.ID(t.Items[i].ID))
	}
	q.counts.add(t.Domain, store.ClassID(t.Class), -len(t.Items))
	q.counts.fly(t.Domain, store.ClassID(t.Class), len(t.Items))
	return t
}

// drain waits for the transactions under way; hard cuts them.
func (q *Queue) drain(hard context.Context) (cut int) {
	for id, c := range q.conns {
		delete(q.conns, id)
		close(c.jobs)
	}
	done := make(chan struct{})
	go func() { q.wg.Wait(); close(done) }()
	for {
		select {
		case <-done:
			return cut
		case <-q.mail.signal: // conclusions: who has landed is not cut
			for _, l := range q.mail.take() {
				if l.act != nil {
					l.act(q.o.Now())
				}
			}
		case <-hard.Done():
			cut = q.counts.flying()
			<-done
			return cut
		}
	}
}
