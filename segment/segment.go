// SPDX-License-Identifier: Apache-2.0

// Package segment is the contacts database: who a recipient is, how engaged,
// in which segments, and whether it may be mailed at all.
//
// [Open] opens it. The way of a message meets it three times: admission asks
// [DB.Look] (reads only), the moment before delivery asks [DB.Check] (reads
// memory only), and the events of the queue come back through [DB.Apply], which
// folds each of them into the contacts exactly once. What a change of a contact
// means for mail already queued leaves through [DB.ReadFlips].
//
// People change contacts through [DB.Import] and take them out through
// [DB.Export]; suppressions change through [DB.Suppress] and [DB.Lift]; the calls
// of the tracking API come through [DB.Ingest]. [DB.Contact], [DB.Events] and [DB.Segments] explain.
//
// The package knows no message, no lane, no pool and no clock but the one in
// [Options]; it does not import the queue. Rules are compiled by segment/rule,
// tiers are computed by segment/tier, keys and values are those of
// segment/store.
//
// # People, accounts and events
//
// A contact has an address. Whoever did something before telling one is a
// visitor: kept apart, with its events, until a call tells the address. A contact
// belongs to any number of accounts, with a role in each; the first is the primary
// one. An account may be a part of another. What contacts did, and what became of
// their mail, is a log for each of them, with a retention; see [DB.TrimEvents].
//
// # Suppression
//
// Suppression stands beside tier and segments, never in a rule. It is keyed by
// a keyed hash of the address, so it needs no contact and outlives one. Scopes
// are "all", "stream:NAME" and "domain:NAME" (the sending domain). An import
// never lifts one.
package segment

import (
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/seguemta/segue/mta/event"
	"github.com/seguemta/segue/mta/kv"
	"github.com/seguemta/segue/segment/rule"
	"github.com/seguemta/segue/segment/score"
	"github.com/seguemta/segue/segment/signal"
	"github.com/seguemta/segue/segment/store"
	"github.com/seguemta/segue/segment/tier"
)

// Errors of the package.
var (
	ErrUnknown  = errors.New("no contact has this address")             // nobody by that name
	ErrBusy     = errors.New("another import is running")               // one at a time
	ErrOrder    = errors.New("events are not in order of their number") // Apply was given a log with holes or repeats inside one call
	ErrScope    = errors.New("bad suppression scope")                   // neither all nor stream:NAME nor domain:NAME
	ErrBuilding = errors.New("segments are being built: try again when that is done")
	ErrUnasked  = errors.New("the rule of the segment cannot be asked")
	ErrSecret   = store.ErrSecret // the suppression key is not this store's
)

// consumer is the name of the cursor into the queue's event log.
const consumer = "events"

// Options say where the contacts are and how they are judged.
type Options struct {
	Dir   string
	FS    kv.FS     // nil = disk
	Cache *kv.Cache // block cache shared with other stores; nil = its own

	SuppressionKey []byte // 32 bytes, made at first start, never rotated

	Schema   *rule.Schema // declared attributes; nil = none
	Tiers    tier.Rules   // zero = tier.Default
	Segments []Definition
	Scores   *score.Model // nil = nobody has a score
	Signals  signal.Rules // by what opens and clicks are judged; zero = signal.Default

	Guard       Guard          // judges hard bounces; nil = nobody does
	SoftBounces SoftBounceRule // zero = DefaultSoftBounceRule

	// Engaging names the events of the tracking API that are a sign of life, like
	// a click by a person; nil = [DefaultEngaging].
	Engaging  []string
	Retention time.Duration // of the event log; 0 = 400 days

	Logger     *slog.Logger          // nil = discard
	Registerer prometheus.Registerer // nil = no metrics
	Now        func() time.Time      // nil = time.Now
	Settled    func() time.Time      // Now, but stands still while the clock is in doubt: nobody enters or leaves by time meanwhile; nil = Now

	VerifyEvery time.Duration // in which every contact is judged again, to find faults of this package; 0 = a day

	private struct {
		noSync     bool   // for the control of the crash tests
		buildLater bool   // leaves all building to Run, for tests
		window     uint64 // instead of buildWindow and buildKept, for tests
	}
}

// DB is the open contacts database. All methods are safe for concurrent use.
type DB struct {
	store    *store.Store
	hashes   *store.Hasher
	schema   *rule.Schema
	tiers    tier.Rules
	scores   *score.Model
	signals  signal.Rules
	guard    Guard
	softRule SoftBounceRule
	hitsFrom uint32    // second from which held opens and clicks may be due; under write
	subjects sync.Pool // of *subject
	log      *slog.Logger
	metrics  *metrics
	now      func() time.Time
	settled  func() time.Time
	flipped  chan struct{} // one token: there may be new flips

	mem      memory
	live     live
	erased   erasedSet
	accounts accountCache

	standings standings
	stats     statistics

	verifyEvery  time.Duration
	window, kept uint64 // contacts of one step of a build, and of what is stored of it

	// importing is held for a whole import.
	importing sync.Mutex

	ingest   ingestQueue
	taken    takenFilter
	fields   attributeNames
	engaging map[string]bool
	keep     time.Duration // of events

	// write is held from reading what a write depends on until its commit
	// returned and memory shows it.
	write struct {
		sync.Mutex
		contacts idBlock
		accounts idBlock
		edges    idBlock
		flips    uint64 // last flip written
		cut      uint64 // flips up to here were removed by this process
		closed   bool
	}

	// place is what Cursor and Lag read; it is set after a commit.
	place struct {
		sync.Mutex
		cursor  event.Cursor
		missing event.Cursor // behind which Lag last found an event
		since   time.Time    // when that one happened; zero = it found none
	}
}

// Open opens or creates the database and loads the state of every contact (32
// bytes each) and every suppression into memory.
func Open(o Options) (*DB, error) {
	if o.Schema == nil {
		s, err := rule.NewSchema(nil)
		if err != nil {
			return nil, fmt.Errorf("making an empty schema: %w", err)
		}
		o.Schema = s
	}
	if o.Tiers == (tier.Rules{}) {
		o.Tiers = tier.Default()
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Settled == nil {
		o.Settled = o.Now
	}
	if o.VerifyEvery <= 0 {
		o.VerifyEvery = 24 * time.Hour
	}
	s, err := store.Open(store.Options{
		Dir: o.Dir, FS: o.FS, Cache: o.Cache, Secret: o.SuppressionKey, Logger: o.Logger, NoSync: o.private.noSync,
	})
	if err != nil {
		return nil, err
	}
	d := &DB{
		store: s, hashes: store.NewHasher(append([]byte{}, o.SuppressionKey...)), schema: o.Schema, tiers: o.Tiers,
		log: o.Logger, now: o.Now, settled: o.Settled, verifyEvery: o.VerifyEvery, window: buildWindow, kept: buildKept, flipped: make(chan struct{}, 1),
	}
	d.fields = newAttributeNames(o.Schema)
	d.scores, d.signals, d.guard = o.Scores, o.Signals, o.Guard
	if d.signals.Hold == 0 {
		d.signals = signal.Default()
	}
	d.softRule = o.SoftBounces.orDefault()
	d.engaging = engagingNames(o.Engaging)
	if d.keep = o.Retention; d.keep <= 0 {
		d.keep = defaultRetention
	}
	if n := o.private.window; n != 0 {
		d.window, d.kept = n, 2*n
	}
	if err := d.load(); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	if d.metrics, err = newMetrics(o.Registerer, d); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	if err := d.loadLive(&o); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	if err := d.collectSegments(o.Registerer); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return d, nil
}

// flipGap is how many numbers of flips an open after a crash leaves out: a disk
// that lost what it had confirmed must not make a number come again that the
// consumer of the flips, which keeps its place elsewhere, has passed.
const flipGap = 1 << 20

// load fills memory from the store.
func (d *DB) load() error {
	n, err := d.store.Counters()
	if err != nil {
		return fmt.Errorf("reading counters: %w", err)
	}
	d.write.contacts = idBlock{next: n.Contacts, end: n.Contacts, save: (*store.Batch).Contacts}
	d.write.accounts = idBlock{next: n.Accounts, end: n.Accounts, save: (*store.Batch).Accounts}
	d.write.edges = idBlock{next: n.Edges, end: n.Edges, save: (*store.Batch).Edges}
	d.write.flips = n.Flips
	if !d.store.CleanShutdown() {
		d.write.flips += flipGap
	}
	c, err := d.store.Cursor(consumer)
	if err != nil {
		return fmt.Errorf("reading the cursor: %w", err)
	}
	d.place.cursor = event.Cursor{Epoch: c.Epoch, Sequence: c.Sequence}
	if err := d.loadErased(); err != nil {
		return err
	}
	if err := d.restoreGuard(); err != nil {
		return err
	}
	d.mem.init()
	err = d.store.States(func(id uint64, st store.State) error {
		if id >= n.Contacts {
			return fmt.Errorf("%w: contact %d is above the last id %d", store.ErrCorrupt, id, n.Contacts-1)
		}
		d.mem.set(id, st)
		return nil
	})
	if err != nil {
		return err
	}
	err = d.store.Suppressions(store.Hash{}, "", func(x store.Suppression) error {
		d.mem.suppress(&x)
		return nil
	})
	if err != nil {
		return err
	}
	err = d.store.EachSoftBounces(func(id uint64, x store.SoftBounces) error {
		d.mem.soft[id] = x
		return nil
	})
	if err != nil || n.Numbered {
		return err
	}
	return d.numberEdges()
}

// Close waits for a running write and closes the store.
func (d *DB) Close() error {
	d.write.Lock()
	defer d.write.Unlock()
	if d.write.closed {
		return nil
	}
	through := d.write.flips
	_, err := d.storeMembers(1<<30, through)
	d.write.closed = true
	b := d.store.Batch()
	b.Contacts(d.write.contacts.next)
	b.Accounts(d.write.accounts.next)
	b.Edges(d.write.edges.next)
	return errors.Join(err, b.Commit(), d.store.Close())
}

// Epoch names this store: the cursor of whoever reads its flips belongs to it.
func (d *DB) Epoch() uint64 { return d.store.Epoch() }

// CleanShutdown reports whether the database was closed properly the last time.
func (d *DB) CleanShutdown() bool { return d.store.CleanShutdown() }

// Trouble is why the database cannot write its tables, "" where it can; see [kv.DB.Trouble].
func (d *DB) Trouble() string { return d.store.Trouble() }

// Disk is how the disk under the database has behaved.
func (d *DB) Disk() kv.Disk { return d.store.Disk() }

// Contacts is the number of contacts.
func (d *DB) Contacts() int { return d.mem.contacts() }
