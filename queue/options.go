// SPDX-License-Identifier: Apache-2.0

package queue

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/seguemta/segue/mta/event"
	"github.com/seguemta/segue/mta/rfc5321"
	"github.com/seguemta/segue/queue/schedule"
	"github.com/seguemta/segue/queue/store"
)

// Errors that callers act on.
var (
	// ErrLagging says that contact state is behind its events: marketing waits.
	ErrLagging = errors.New("contact state lags behind its events")
	// ErrNotFound says that no such recipient waits.
	ErrNotFound = errors.New("no such recipient in the queue")
	// ErrStopping says that the queue has ended and answers nothing any more.
	ErrStopping = errors.New("queue has stopped")
	// ErrSuperseded says that another act on a recipient in flight came first or
	// weighs more: this one was not carried out.
	ErrSuperseded = errors.New("another act on the recipient in flight takes its place")
)

// Transport carries transactions to mail exchangers. Dial is called from a
// goroutine of its own per connection.
type Transport interface {
	// Dial opens a connection to the site for the job's source. An error is the
	// reason why the site could not be reached; Result says what it means for the
	// job's recipients.
	Dial(ctx context.Context, job *Job) (Connection, *Result)
}

// Connection is one open connection. It is used by one goroutine.
type Connection interface {
	// Send runs one transaction.
	Send(ctx context.Context, job *Job) *Result
	// Close ends the connection in good order; it must not block for long.
	Close()
}

// Job is one transaction.
type Job struct {
	Site, Provider, Source, Domain string
	Class                          store.Class
	Message                        *store.Message
	MessageID                      uint64
	Body                           []byte // header and text, CRLF
	Recipients                     []store.Entry
}

// Outcome is what became of one recipient of a job.
type Outcome struct {
	Kind      Kind
	Reply     rfc5321.Reply // Code 0: no reply, Text is the local reason
	Class     string
	Verdict   string
	Subject   string // of a verdict of reputation: ip, domain or content
	Host      string
	Signature []byte // headers to keep for a retry
	Pin       bool   // greylisting is possible: a retry keeps its source
}

// Kind of an outcome.
type Kind int

// Outcomes of an attempt.
const (
	Delivered Kind = iota + 1
	Deferred
	Bounced
)

// Result is what became of a job.
type Result struct {
	Outcomes []Outcome // one per recipient, in the job's order
	MailSent bool      // MAIL went out: the budget is charged
	Usable   bool      // the connection can take another transaction
	Failed   bool      // the site refused or broke the connection: it backs off
}

// Contacts is what the queue asks about a recipient when it is about to leave.
type Contacts interface {
	// Check returns the contact's tier ("" = unchanged) and why it may not be
	// mailed m ("" = it may), which holds also beside an error. ErrLagging, like any
	// error, holds marketing mail for a moment.
	Check(entry *store.Entry, class store.Class, m *store.Message) (tier, suppressed string, err error)
	// Person says who a recipient is. It is asked only where a policy needs it. An
	// error holds the mail for a moment.
	Person(entry *store.Entry) (Person, error)
	// Standing says where new mail to a recipient would be laned now.
	Standing(entry *store.Entry, class store.Class, m *store.Message) (Standing, error)
}

// Resolver says where a domain's mail goes.
type Resolver interface {
	Resolve(ctx context.Context, domain string) Route
}

// Route is the answer of a Resolver.
type Route struct {
	Site, Provider string
	Permanent      bool   // the domain takes no mail; Reply says why
	Failure        string // why the lookup failed for now, for operators
	Reply          rfc5321.Reply
	Class, Verdict string // of the reply, where Permanent
	Until          time.Time
}

// Budgets gives the caps of a day and takes notice of a day's end. Its methods
// are called from the queue's own goroutine.
type Budgets interface {
	// Caps are the caps in force at now. used reads the durable counter of a
	// budget on a day.
	Caps(now time.Time, used func(schedule.BudgetKey, schedule.Day) store.Counter) []schedule.Cap
	// Roll is called when the caps of a day have ended, and at start: it decides
	// about stages and returns what must be stored before the new caps are in
	// force, and what to tell.
	Roll(now time.Time, used func(schedule.BudgetKey, schedule.Day) store.Counter) []Change
}

// Change is one piece of reputation state to store, with what to tell about it.
type Change struct {
	Name   string // of the state
	Value  []byte
	Events []event.Event
}

// Options of a queue. Store, Transport, Resolver, Contacts and Budgets are required.
type Options struct {
	Store     *store.Store
	Transport Transport
	Resolver  Resolver
	Contacts  Contacts
	Budgets   Budgets

	Sources   []schedule.DefineSource
	Pools     []schedule.DefinePool
	Providers []schedule.DefineProvider
	// Lane gives a stored class its rank, weight and the rest that is configuration.
	Lane func(store.Class) schedule.Class
	// Relane is the class of the same stream and segment for another tier.
	Relane func(c store.Class, tier string) store.Class

	// Policy is what the segment of a class asks of its mail; nil = nothing. It is not
	// asked for transactional mail.
	Policy func(store.Class) Policy
	// Gate says whether marketing mail goes at all; nil = everybody goes.
	Gate Gate
	// ContactSpan and AccountSpan are how far the caps of any policy look back; 0 =
	// there is no such cap, and nobody counts.
	ContactSpan, AccountSpan time.Duration

	Retry  []time.Duration // wait after the first, second, ... failed attempt; the last repeats
	Jitter float64         // share by which a wait varies both ways; 0.1 keeps a burst from coming back as one
	PinFor time.Duration   // how long a retry keeps its source; 0 = 4 h

	Schedule schedule.Options
	Logger   *slog.Logger          // nil = discard
	Registry prometheus.Registerer // nil = none
	Now      func() time.Time      // nil = time.Now
	// Settled is Now, but stands still while the clock is in doubt: expiry, the
	// end of budget days and truncation go by it. nil = Now. Whoever makes Now step
	// calls [Queue.ClockSet].
	Settled func() time.Time
	Rand    *rand.Rand // nil = seeded by the system; used by one goroutine

	EventRetention time.Duration // how long finished mail can be looked up; 0 = 72 h
	SentRetention  time.Duration // how long after its delivery late feedback is understood; 0 = 60 days
	MaxAge         time.Duration // how long mail may be under way before its delivery
	// Consumed is the event sequence that every internal consumer has passed:
	// nothing above it is truncated. nil = all.
	Consumed func() uint64
}

func (o *Options) fill() {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Settled == nil {
		o.Settled = o.Now
	}
	if o.Rand == nil {
		o.Rand = rand.New(rand.NewPCG(rand.Uint64(), rand.Uint64())) //nolint:gosec // jitter is no secret
	}
	if o.Policy == nil {
		o.Policy = func(store.Class) Policy { return Policy{} }
	}
	if o.PinFor == 0 {
		o.PinFor = 4 * time.Hour
	}
	if o.EventRetention == 0 {
		o.EventRetention = 72 * time.Hour
	}
	if o.SentRetention == 0 {
		o.SentRetention = 60 * 24 * time.Hour
	}
	if len(o.Retry) == 0 {
		o.Retry = []time.Duration{5 * time.Minute, 15 * time.Minute, 30 * time.Minute, time.Hour, 2 * time.Hour, 4 * time.Hour}
	}
	if o.Consumed == nil {
		o.Consumed = func() uint64 { return ^uint64(0) }
	}
}
