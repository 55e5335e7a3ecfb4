// SPDX-License-Identifier: Apache-2.0

// Package track is the HTTP side of the tracking API: it takes the calls that
// Segment's client libraries make, says which of them are good, and hands those to an
// [Ingester]. What a call does to a contact, an account or a segment is not decided here.
//
// Call [New] and serve the handler below /v1/. A client is pointed here by its host
// alone: the paths are those of Segment's HTTP API, long (/v1/track) and, as the
// browser library has them, short (/v1/t).
//
// # What an answer means
//
// 200 means that every event which is not named in "rejected" is durable: it is
// written only when the Ingester has returned. A client that heard anything else, or
// nothing, sends again, and what was applied already is told by its messageId. So
// the status is chosen by what clients do with it. 429 and 503 are repeated by all of
// them. A request that can never be taken, because it is no JSON or too large, is
// 400 and nothing finer: @segment/analytics-node repeats a 413 or a 415. And one bad
// event is no reason to refuse the good ones beside it.
//
// # Keys
//
// A write key is 128 random bits or more, so that its SHA-256 is as good as a slow hash and
// costs nothing at some thousand events a second: there is nothing to guess from.
// [NewKey] makes one and [HashKey] is what a configuration keeps. It is no password, and
// gives no right but to add events; one in a web page is known to every visitor.
package track

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Kind is what a call does.
type Kind string

// Kinds of calls.
const (
	Identify Kind = "identify" // says who somebody is
	Track    Kind = "track"    // says what somebody did
	Page     Kind = "page"     // a page was seen
	Screen   Kind = "screen"   // the same in an app
	Group    Kind = "group"    // somebody belongs to an account
	Alias    Kind = "alias"    // two ids are the same person
)

// Call is one call that may be applied. Maps hold nil, bool, float64, string,
// []any and map[string]any. A key with nil was sent as null; the maps themselves
// are nil where the call has none.
type Call struct {
	Kind        Kind
	Key         string // name of the write key
	MessageID   string // never empty; the same one is the same call
	UserID      string // this or AnonymousID is there
	AnonymousID string
	GroupID     string         // of group: the account
	PreviousID  string         // of alias
	Event       string         // of track
	Name        string         // of page and screen
	Category    string         // of page and screen
	Time        time.Time      // when it happened, by our clock; never after Received
	Received    time.Time      // when it came
	Properties  map[string]any // of track, page and screen
	Traits      map[string]any // of identify: the person's; of group: the account's
	Context     Context
}

// Context is what a call knows beside its subject: its own, and what it lacks of its
// batch's. "integrations" is not read: it chooses among destinations of Segment's,
// and Segue is none of them.
type Context struct {
	GroupID   string         // the account that an event is about; "" = none
	Traits    map[string]any // of the person
	IP        string
	UserAgent string
	Locale    string
	TimeZone  string
	Source    string // campaign.source
}

// EventError is why one event was not taken. An Ingester may return one too: its code
// and reason are shown to the client.
type EventError struct {
	Code   string // a word for programs, such as no_event
	Reason string // a sentence for people
}

// Error implements error.
func (f *EventError) Error() string { return f.Code + ": " + f.Reason }

// Ingester applies calls.
type Ingester interface {
	// Ingest applies calls in their order and returns when all are durable. A call
	// whose MessageID was seen already changes nothing and is no error. The list
	// has one error for each call that cannot be applied, ever, at its index, and may be nil;
	// with the second error nothing is known to be durable, and all may come again.
	Ingest(ctx context.Context, calls []Call) ([]error, error)
}

// Options of the handler. Ingester and Keys are required.
type Options struct {
	Ingester   Ingester
	Keys       []Key
	Room       func() error          // why nothing can be stored now; nil = there is always room
	Now        func() time.Time      // nil = time.Now
	Logger     *slog.Logger          // nil = discard
	Registerer prometheus.Registerer // nil = metrics are not shown
}

// New makes the handler. It may serve any number of requests at a time, and bounds
// the memory of all of them together.
func New(o Options) (http.Handler, error) {
	if o.Ingester == nil || len(o.Keys) == 0 {
		return nil, errors.New("making the tracking API: Ingester and Keys are required")
	}
	if o.Room == nil {
		o.Room = func() error { return nil }
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	keys, err := newKeyring(o.Keys)
	if err != nil {
		return nil, fmt.Errorf("making the tracking API: %w", err)
	}
	m, err := newMetrics(o.Registerer)
	if err != nil {
		return nil, fmt.Errorf("making the tracking API: %w", err)
	}
	return &server{o: o, keys: keys, metrics: m, memory: &budget{limit: bodyMemory}, small: make(chan struct{}, smallAtOnce), large: make(chan struct{}, largeAtOnce)}, nil
}
