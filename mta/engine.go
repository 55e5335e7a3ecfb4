// SPDX-License-Identifier: Apache-2.0

// Package mta assembles the engine: it turns a configuration into the options
// of each package, plugs the packages together, starts them in order and stops them in the
// opposite one. It decides nothing about mail itself.
//
// [Check] says what is wrong with a configuration, [New] opens the stores and
// binds the listeners, [Engine.Run] blocks until its context ends and everything
// has stopped. A program, the demo and the tests use the same three calls.
package mta

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"path/filepath"
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/seguemta/segue/config"
	"github.com/seguemta/segue/mta/admit"
	"github.com/seguemta/segue/mta/kv"
	"github.com/seguemta/segue/mta/netx"
	"github.com/seguemta/segue/queue"
	"github.com/seguemta/segue/queue/store"
	"github.com/seguemta/segue/segment"
)

// Options of an engine. Config is required.
type Options struct {
	Config   *config.Config
	Logger   *slog.Logger         // nil = discard
	Registry *prometheus.Registry // nil = a new one
	Network  netx.Network         // nil = the operating system's
	MailFS   kv.FS                // of the queue's store; nil = the disk
	PeopleFS kv.FS                // of the contacts' store; nil = the disk
	Now      func() time.Time     // the clock on the wall; nil = time.Now
	Version  string
	// Started is called when every listener accepts; nil = not.
	Started func()
}

// Engine is an assembled engine.
type Engine struct {
	o       Options
	c       *config.Config
	log     *slog.Logger
	plan    *layout
	started time.Time
	time    *timekeeper

	cache      *kv.Cache
	mail       *store.Store
	people     *segment.DB
	contacts   *contacts
	erasures   *erasures
	queue      *queue.Queue
	warm       *warmups
	evidence   *evidences
	breakers   *breakers
	pauses     *pauses
	throttles  *throttles
	admit      *admit.Admitter
	feedback   *feedback
	optout     *optout
	complaints *complaints
	observer   *observer
	space      space // of the file system of data_dir
	servers    []*server
	undo       []cleanup
}

// cleanup is one named step of stopping.
type cleanup struct {
	name string
	run  func() error
}

func (e *Engine) onStop(name string, run func() error) {
	e.undo = append(e.undo, cleanup{name, run})
}

// New opens the stores and binds the listeners. Nothing is accepted before Run.
// On an error everything that was opened is closed again.
func New(o Options) (*Engine, error) {
	if o.Config == nil {
		return nil, errors.New("making the engine: Config is required")
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Registry == nil {
		o.Registry = prometheus.NewRegistry()
	}
	if o.Network == nil {
		o.Network = netx.System{}
	}
	keeper := newTimekeeper(o.Now, o.Logger.With(slog.String("component", "clock")), o.Registry)
	o.Now = keeper.Now // every part lives by the time that is believed
	e := &Engine{o: o, c: o.Config, log: o.Logger, started: o.Now(), time: keeper}
	if err := e.open(); err != nil {
		return nil, errors.Join(err, e.close())
	}
	return e, nil
}

// open makes the parts in the order in which they need each other.
func (e *Engine) open() error {
	plan, err := newLayout(e.c)
	if err != nil {
		return err
	}
	e.plan = plan
	for _, step := range []func() error{
		e.openStores, e.makeSigners, e.makeComplaints, e.makeOptout, e.makeQueue, e.makeFeedback, e.makeListeners, e.makeHTTP, e.makePublic,
	} {
		if err := step(); err != nil {
			return err
		}
	}
	return nil
}

func (e *Engine) openStores() error {
	secrets, err := openSecrets(string(e.c.SecretsDir))
	if err != nil {
		return err
	}
	e.plan.secrets = secrets
	memtable := e.c.Queue.MemtableSize.Bytes()
	e.cache = kv.NewCache(blockCache + 2*(memtable+peopleMemtable))
	e.onStop("cache", func() error { e.cache.Close(); return nil })
	e.mail, err = store.Open(store.Options{
		Dir: filepath.Join(string(e.c.DataDir), "queue"), FS: e.o.MailFS, Cache: e.cache, Now: e.o.Now,
		MemTableSize: uint64(e.c.Queue.MemtableSize.Bytes()), Logger: e.log.With(slog.String("component", "queue")), //nolint:gosec // a size is not negative
	})
	if err != nil {
		return err
	}
	e.onStop("queue store", e.mail.Close)
	if err := e.time.resume(e.mail); err != nil {
		return err
	}
	if !e.mail.Clean() {
		e.log.Info("the last stop was not clean, the queue was recovered from its log")
	}
	outages := newOutages(e.log.With(slog.String("component", "reputation")), e.o.Registry)
	e.people, err = segment.Open(segment.Options{
		Dir: filepath.Join(string(e.c.DataDir), "contacts"), FS: e.o.PeopleFS, Cache: e.cache, SuppressionKey: secrets.suppression,
		Schema: e.plan.schema, Tiers: e.plan.tierRules, Segments: e.plan.segments,
		Scores: e.plan.scores, Signals: e.plan.signals, Now: e.o.Now, Settled: e.time.Settled,
		Retention: e.c.Events.Retention.Std(), Guard: outages, SoftBounces: softBounces(&e.c.Suppression),
		Logger: e.log.With(slog.String("component", "contacts")), Registerer: e.o.Registry,
	})
	if err != nil {
		return err
	}
	e.onStop("contacts store", e.people.Close)
	e.contacts = &contacts{
		db: e.people, mail: e.mail, log: e.log.With(slog.String("component", "contacts")), now: e.o.Now, settled: e.time.Settled, stream: e.plan.stream,
		lane: func(stream, segment, tier, domain string) store.Class {
			return e.admit.Lane(stream, segment, tier, domain)
		}, zones: e.plan.zones, outages: outages,
	}
	e.observer = newObserver(e.mail, e.log, e.o.Registry)
	return nil
}

// Sizes in bytes. Pebble counts memtables against the cache that both stores
// share, so it gets room for two of each beside the blocks: 64 MiB of those hold
// the indexes of some millions of queued messages; bodies of fresh mail come
// from the memtable.
const (
	blockCache     = 64 << 20
	peopleMemtable = 32 << 20
)

// Run accepts and delivers until ctx ends; then it takes no new work, gives what
// is under way shutdown_deadline, cuts the rest, and closes everything. The error
// is the first thing that went wrong; what was cut is logged and not an error.
func (e *Engine) Run(ctx context.Context) error {
	hard, cutOff := context.WithCancel(context.WithoutCancel(ctx))
	defer cutOff()
	group := newGroup(ctx)
	group.run("clock", e.time.follow)
	group.run("contacts", e.contacts.follow)
	group.run("segments", e.people.Run)
	group.run("relane", func(ctx context.Context) { e.contacts.relane(ctx, e.queue) })
	group.run("contact events", func(ctx context.Context) { e.contacts.trim(ctx, e.time.Settled) })
	group.run("erasures", e.erasures.follow)
	group.run("complaints", e.complaints.follow)
	group.run("metrics", e.observer.follow)
	group.run("evidence", e.evidence.follow)
	group.run("throttle", e.throttles.follow)
	group.run("breakers", e.breakers.follow)
	group.run("breaker release", func(ctx context.Context) { e.breakers.release(ctx, e.queue) })
	group.run("canary", func(ctx context.Context) { e.breakers.canary.run(ctx, e.queue) })
	group.run("disk space", e.watchSpace)
	group.run("failed store", func(ctx context.Context) { e.cutIfFailed(ctx, cutOff) })
	cut := make(chan int, 1)
	group.fail("queue", func(ctx context.Context) error {
		cut <- e.queue.Run(ctx, hard)
		return e.mail.Err() // without a store there is nothing left to do: a restart reads what is on disk
	})
	for _, s := range e.servers {
		group.fail(s.name, func(ctx context.Context) error { return s.serve(ctx, hard) })
	}
	for _, s := range e.servers {
		e.log.Info("listening", slog.String("purpose", s.purpose), slog.String("address", s.ln.Addr().String()))
	}
	if e.o.Started != nil {
		e.o.Started()
	}
	e.log.Info("engine started", slog.String("version", e.o.Version), slog.Int("contacts", e.people.Contacts()), slog.Int("queued", e.queue.Total().Waiting))
	<-group.ctx.Done()
	e.log.Info("engine stopping", slog.Duration("deadline", time.Duration(e.c.ShutdownDeadline)))
	deadline := time.AfterFunc(time.Duration(e.c.ShutdownDeadline), cutOff)
	err := group.wait()
	deadline.Stop()
	e.log.Info("engine stopped", slog.Int("cut", <-cut))
	return errors.Join(err, e.close())
}

// close undoes what open did, last first.
func (e *Engine) close() error {
	var list []error
	for _, step := range slices.Backward(e.undo) {
		if err := step.run(); err != nil {
			list = append(list, fmt.Errorf("stopping the %s: %w", step.name, err))
		}
	}
	e.undo = nil
	return errors.Join(list...)
}

// Addr is where the nth listener of a purpose listens: "submission",
// "feedback" or "http". nil where there is none.
func (e *Engine) Addr(purpose string, n int) net.Addr {
	for _, s := range e.servers {
		if s.purpose == purpose {
			if n == 0 {
				return s.ln.Addr()
			}
			n--
		}
	}
	return nil
}
