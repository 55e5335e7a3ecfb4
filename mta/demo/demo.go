// SPDX-License-Identifier: Apache-2.0

// Package demo shows what the engine does, on one machine and in under two
// minutes: contacts are imported, a campaign is submitted over SMTP, simulated
// mailbox providers take it with all their tempers, and what went where is told
// and checked.
//
// It is the other side of the engine, not a part of it: it writes a
// configuration, has the engine started by the function it is given, and from then
// on speaks SMTP and the operator's API as everybody else does. [Run] does all of
// it and returns a [Report]; [Report.Text] prints it. A report whose Problem is
// not empty does not balance: mail was lost, invented or sent over a budget.
//
// The report closes with a counterfactual: the scheduler that decided in the
// engine (queue/schedule) decides once more, with all tiers equal, over the same
// recipients and the same budget of the cold source. It shows whom the first
// messages of a new address would have reached without tiers.
package demo

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"time"

	"github.com/seguemta/segue/mta/api"
	"github.com/seguemta/segue/mta/simulate"
)

// Engine is a running engine as the demo sees it.
type Engine struct {
	API        api.Methods
	Submission netip.AddrPort
	Feedback   netip.AddrPort
	HTTP       netip.AddrPort
	Stop       func() error // returns when it has stopped
}

// Options of a demo. Start and Dir are required.
type Options struct {
	// Start starts an engine from a configuration file and returns when it accepts.
	Start    func(ctx context.Context, file string) (*Engine, error)
	Dir      string // an empty directory: configuration, keys, data, contacts
	Contacts int    // 0 = 20,000
	Messages int    // 0 = as many as contacts
	Seed     uint64
	// Patience bounds the wait for deliveries, counted from the start; what waits
	// then is reported as deferred. 0 = 75 s.
	Patience time.Duration
	// Progress is told how far it is, several times a second; nil = nobody.
	Progress func(Progress)
	// Keep is called with the report while everything still runs, which then stops
	// when it returns; nil = stop at once.
	Keep   func(context.Context, *Report)
	Logger *slog.Logger     // nil = discard
	Now    func() time.Time // nil = time.Now
}

func (o *Options) fill() error {
	if o.Start == nil || o.Dir == "" {
		return errors.New("running a demo: Start and Dir are required")
	}
	if o.Contacts <= 0 {
		o.Contacts = 20_000
	}
	if o.Messages <= 0 {
		o.Messages = o.Contacts
	}
	if o.Patience <= 0 {
		o.Patience = 75 * time.Second
	}
	if o.Progress == nil {
		o.Progress = func(Progress) {}
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	return nil
}

// Progress is how far a demo is. Counts are recipients.
type Progress struct {
	Phase     string // "contacts", "submitting", "delivering"
	Elapsed   time.Duration
	Total     int // messages to submit
	Submitted int
	Delivered int
	Bounced   int
	Waiting   int
}

// run is one demo.
type run struct {
	o      Options
	began  time.Time
	people *simulate.Population
	world  *simulate.World
	engine *Engine
	tally  *tally
	mails  []mail
	report Report
	// resting are the sources that were paused for counting.
	resting []string
}

// Run runs a demo. The error says what kept it from being run; whether the
// numbers balance is in the report.
func Run(ctx context.Context, o Options) (*Report, error) {
	if err := o.fill(); err != nil {
		return nil, err
	}
	r := &run{o: o, began: o.Now()}
	r.people = simulate.NewPopulation(o.Seed, o.Contacts, r.began)
	world, err := simulate.Open(ctx, simulate.Options{
		Population: r.people, Seed: o.Seed, Known: warmAddresses(), Logger: o.Logger, Now: o.Now,
	})
	if err != nil {
		return nil, err
	}
	r.world = world
	worldCtx, stopWorld := context.WithCancel(ctx)
	served := make(chan error, 1)
	go func() { served <- world.Run(worldCtx) }()
	err = r.withEngine(ctx)
	stopWorld()
	return &r.report, errors.Join(err, <-served)
}

// withEngine writes what the engine needs, starts it, and stops it at the end.
func (r *run) withEngine(ctx context.Context) error {
	file, err := r.prepare()
	if err != nil {
		return fmt.Errorf("preparing the demo: %w", err)
	}
	engine, err := r.o.Start(ctx, file)
	if err != nil {
		return fmt.Errorf("starting the engine: %w", err)
	}
	r.engine = engine
	r.world.ReturnTo(engine.Feedback, "fbl@"+returnPath)
	r.tally = newTally(engine.API, r.people, r.world.Provider)
	err = r.play(ctx)
	if err == nil && r.o.Keep != nil {
		if err = r.wake(ctx); err == nil {
			r.o.Keep(ctx, &r.report)
		}
	}
	return errors.Join(err, engine.Stop())
}

// coldRest is how long the cold source waits for the campaign at most. Its budget
// is to go to the best of all, not to the first who come in.
const coldRest = 2 * time.Minute

// play is the demo itself.
func (r *run) play(ctx context.Context) error {
	a := r.engine.API
	if err := r.importContacts(ctx); err != nil {
		return err
	}
	if err := a.PauseSource(ctx, api.Pause{Source: coldSource, Until: r.o.Now().Add(coldRest)}); err != nil {
		return fmt.Errorf("letting the cold source rest: %w", err)
	}
	r.mails = writeMails(r.people, r.o.Messages)
	if err := r.submit(ctx); err != nil {
		return err
	}
	r.report.Seconds.Submitted = r.elapsed()
	if err := a.PauseSource(ctx, api.Pause{Source: coldSource}); err != nil {
		return fmt.Errorf("letting the cold source send: %w", err)
	}
	if err := r.wait(ctx); err != nil {
		return err
	}
	return r.tell(ctx)
}

func (r *run) elapsed() float64 { return r.o.Now().Sub(r.began).Seconds() }

// suppressedShare is one in how many contacts that the operator has ruled out.
const suppressedShare = 400

// importContacts writes the contacts to a file and imports it as an operator does.
func (r *run) importContacts(ctx context.Context) error {
	r.o.Progress(Progress{Phase: "contacts", Total: r.o.Messages, Elapsed: r.o.Now().Sub(r.began)})
	path := filepath.Join(r.o.Dir, "contacts.csv")
	if err := r.writeContacts(path); err != nil {
		return err
	}
	f, err := os.Open(path) //nolint:gosec // written a moment ago
	if err != nil {
		return fmt.Errorf("importing contacts: %w", err)
	}
	defer f.Close()
	in, err := r.engine.API.ImportContacts(ctx, api.Import{Name: "contacts.csv", Format: "csv", Batch: "demo"}, f)
	if err != nil {
		return fmt.Errorf("importing contacts: %w", err)
	}
	r.report.Contacts = int(in.Created)
	if in.Rejected > 0 || in.Created != int64(r.people.Contacts()) {
		return fmt.Errorf("importing contacts: %d of %d rows made a contact, %d were rejected: %.300s", in.Created, in.Rows, in.Rejected, in.Rejects)
	}
	for i := range r.people.People {
		if p := &r.people.People[i]; p.Imported && i%suppressedShare == 0 {
			s := api.Suppression{Address: p.Address, Reason: "manual", Scope: "all", Evidence: "demo"}
			if err := r.engine.API.Suppress(ctx, s); err != nil {
				return fmt.Errorf("suppressing a contact: %w", err)
			}
		}
	}
	r.report.Seconds.Imported = r.elapsed()
	return nil
}

func (r *run) writeContacts(path string) error {
	f, err := os.Create(path) //nolint:gosec // in a directory of our own
	if err != nil {
		return fmt.Errorf("writing contacts: %w", err)
	}
	return errors.Join(r.people.WriteCSV(f), f.Close())
}
