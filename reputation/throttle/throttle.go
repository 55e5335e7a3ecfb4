// SPDX-License-Identifier: Apache-2.0

// Package throttle decides how fast a source may send to a provider after what
// the provider has said. It is pure: states and rules are values, time is an argument, and
// nothing is read or written. Who feeds it, stores its states and turns its limits into facts of
// the scheduler is the engine's business.
//
// Begin with [Builtin] for the rules that Segue ships and [Rules.For] for the policy of one
// provider; then [Policy.Observe] for each event of the log that [From] makes an observation of.
//
// # What to feed
//
// One [State] belongs to one source at one provider ([New]). Each outcome of a
// recipient is one observation, in the order of the log: delivered and refused ones alike, because
// rates need both. A transaction that ended for all its recipients with one reply is one match and many
// outcomes: set Repeated on all but its first. A complaint belongs to the source and provider
// that delivered the message (the sent index knows them). Observe costs tens of
// nanoseconds and allocates nothing where no rule matches.
//
// # What to do with acts
//
// Observe, [Policy.Tick] and the operator's [Policy.Pin], [Policy.Unpin] and [Policy.Cancel] return what they
// changed. Each [Act] becomes an event: it carries the rule, the pattern, the reply,
// count, window, expiry, the next step and the command that undoes it, and its String is a line for people. After
// acts, ask [Policy.Limits] and tell the scheduler: Suspended is a pause of the source at
// the provider, Rate and connections are limits of the pair, and Lanes are lanes or
// segments whose mail waits at this provider. A suspended lane or segment belongs to
// the mail, so hold it at the provider from every source. Transactional mail never
// obeys a held lane. Set a timer for [Policy.Next] and call Tick when it fires.
//
// # What to store
//
// [State.Encode] after the observations of a batch, in the batch that moves the consumer's
// cursor; [Decode] at start. A state is a few kilobytes at most, whatever is observed: see the bounds in
// state.go. Where a batch fails, decode the stored state again, because Observe changes
// the one that it is given. Splitting a log into other batches, or storing and loading between any two
// observations, gives the same states and the same acts; so does calling Tick more often.
//
// # How it behaves
//
// Reply rules (rules.txt, whose head explains the form) count from the first
// reply; the first rule that matches takes the reply, a provider's own before those for everyone. Rate rules
// judge a share over a window by the low end of its interval, from a minimum sample on.
// At sites without a provider, which share one state, a rule counts sites and not replies, and waits for
// three at least: what one small host thinks of the source holds up the mail to no other.
// Down is fast: at most one change a minute, and evidence that came within that minute is kept for the
// next reply. Up is slow: a step of [Damping.Factor] an hour until the normal figures are reached. A suspension
// that follows within a day of the last one lasts twice as long, up to [Damping.Longest]; replies that
// arrive while it runs were in flight and neither lengthen it nor count. After it the source
// begins again with one connection and a sixteenth of its rate. A pin holds a fixed value
// until it is taken off: rules go on watching and only raise alerts.
package throttle

import (
	"time"

	"github.com/seguemta/segue/mta/event"
	"github.com/seguemta/segue/mta/rfc5321"
	"github.com/seguemta/segue/reputation/bounce"
)

// Outcome is what an observation says of one recipient.
type Outcome uint8

// The outcomes.
const (
	Delivered  Outcome = iota + 1 // 250 after the final dot
	Deferred                      // an attempt that failed for now
	Bounced                       // refused for good
	Complained                    // the recipient reported a message delivered before
)

// Lane is the lane that a recipient's mail went in.
type Lane struct {
	Stream, Segment, Tier, Pool string
}

// String is the lane as operators write it: "marketing/trial/active/prime".
func (l Lane) String() string {
	return l.Stream + "/" + l.Segment + "/" + l.Tier + "/" + l.Pool
}

// Observation is one outcome at the state's source and provider.
type Observation struct {
	Outcome       Outcome
	Reply         rfc5321.Reply  // Deferred, Bounced: what the server said; zero where it said nothing
	Verdict       bounce.Verdict // Deferred, Bounced: what the reply means
	Lane          Lane
	Site          string // whose it is; told apart where sites have no provider in common
	Transactional bool   // rules about lanes and segments do not ask it
	Repeated      bool   // the reply that another recipient of the transaction brought already
}

// From is what an event says; false for events that are no outcome of an attempt.
func From(e *event.Event) (Observation, bool) {
	o := Observation{Lane: Lane{Stream: e.Stream, Segment: e.Segment, Tier: e.Tier, Pool: e.Pool}, Site: e.Site}
	switch e.Kind {
	case event.Delivered:
		o.Outcome = Delivered
		return o, true
	case event.Complained:
		o.Outcome = Complained
		return o, true
	case event.Deferred:
		o.Outcome = Deferred
	case event.Bounced:
		o.Outcome = Bounced
	default:
		return Observation{}, false
	}
	o.Verdict = bounce.Verdict(e.Verdict)
	o.Reply = rfc5321.Reply{Code: e.Code, Text: e.Reply}
	if status, ok := rfc5321.ParseEnhanced(e.Enhanced); ok {
		o.Reply.Enhanced = status
	}
	return o, true
}

// Normal is what is allowed at a provider when nothing is wrong. The zero value of
// a field is its default, which only says where limits of rules end.
type Normal struct {
	Rate          float64 // recipients a second, of one source: 100
	Connections   int     // of one source: 10
	PerConnection int     // transactions: 100
	Reports       bool    // the provider reports complaints: only then is their rate known
}

// Damping says how fast limits change. The zero value of a field is its default.
type Damping struct {
	Down      time.Duration // least time between two changes downward: a minute
	Up        time.Duration // least time between two steps upward: an hour
	Factor    float64       // one step upward: 4
	Longest   time.Duration // of a suspension: 24 hours
	Memory    time.Duration // quiet time after which a suspension is the first again: 24 hours
	Restart   float64       // part of the normal rate that a source begins with after a suspension: 1/16
	LeastRate float64       // recipients a second that no rule goes below: one a minute
}

func (d Damping) withDefaults() Damping {
	for _, f := range []struct {
		field *time.Duration
		value time.Duration
	}{{&d.Down, time.Minute}, {&d.Up, time.Hour}, {&d.Longest, 24 * time.Hour}, {&d.Memory, 24 * time.Hour}} {
		if *f.field <= 0 {
			*f.field = f.value
		}
	}
	for _, f := range []struct {
		field *float64
		value float64
	}{{&d.Restart, 1. / 16}, {&d.LeastRate, 1. / 60}} {
		if *f.field <= 0 {
			*f.field = f.value
		}
	}
	if d.Factor <= 1 {
		d.Factor = 4
	}
	return d
}

// Policy is the rules of one provider with its figures. It does not change and
// may be used for the states of all sources at the provider, by any number of goroutines.
type Policy struct {
	rules   []*replyRule // the provider's own first
	rates   []*rateRule
	damping Damping // without zeros
	normal  Normal  // without zeros
}

// For is the policy of a provider; "" is all sites without one.
func (t *Rules) For(provider string, normal Normal, damping Damping) *Policy {
	p := &Policy{damping: damping.withDefaults(), normal: normal}
	if normal.Rate <= 0 {
		p.normal.Rate = 100
	}
	if normal.Connections <= 0 {
		p.normal.Connections = 10
	}
	if normal.PerConnection <= 0 {
		p.normal.PerConnection = 100
	}
	for _, part := range [][]*replyRule{t.replies[:t.own], t.replies[t.own:]} {
		for _, own := range []bool{true, false} {
			for _, r := range part {
				if r.isFor(provider, own) {
					p.rules = append(p.rules, r)
				}
			}
		}
	}
	for _, r := range t.rates {
		if r.isFor(provider) {
			p.rates = append(p.rates, r)
		}
	}
	return p
}
