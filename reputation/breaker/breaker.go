// SPDX-License-Identifier: Apache-2.0

// Package breaker holds the mail of those who do harm, and of nobody else: a
// segment, an import batch or a campaign whose mail bounces, is complained of, unsubscribed from or
// refused as spam. It also lets a small random part of an unproven cohort go first, the canary,
// and the rest only on what comes back. It is pure: states are values, time and counts are arguments.
//
// Begin with [DefaultPolicy], one [State] a cohort ([New]), and [Policy.Observe] for what events say.
//
// # What to feed
//
// Observe takes counts, of one recipient or of many ([From] makes them of an event). They
// belong to the day on which the message was delivered and to the instant at which it was sent, also
// those that come later: a complaint is counted where its message was, which the sent
// index knows. Complaints are counted, and their share taken, only over providers that report them. An
// event of a recipient goes to its segment, its batch and its campaign; and to one [Window] of all mail,
// whose [Window.Pools] small cohorts are judged with. Mail of a segment that is held or on trial stays out of
// it, and what a segment was judged by is taken out ([Window.Take]): harm is no example for others.
// Observe only adds up: in whatever batches and order it is called, the state is the same.
//
// # What to ask
//
// [Policy.Tick], after the observations of a batch and when [Policy.Next] says, decides and returns
// acts; each becomes an event, and its String is a line for people: why, on what
// evidence, and how to release. [Policy.Asks] says for one recipient whether its mail goes
// now. Ask the states of its segment, batch and campaign: all of them must let it go. It waits like mail under a hold.
// Where several are on trial, who is of the sample of one goes for the others that say Waits, as of their sample,
// too: chosen by each on its own, nearly nobody would be of all samples.
// Transactional mail is never asked. Where Asks says that it is of the sample, observe
// Admitted 1 in the batch in which it leaves, for each such state, and keep with the recipient of which: what
// is learnt of it later is observed there with Sample set, so that a canary is not
// judged by those who are proven, nor they by it.
// [Policy.Resize] tells how many contacts of a cohort are unproven and have mail waiting; it begins the canary.
//
// # What to store
//
// [State.Encode] in the batch that moves the consumer's cursor, [Decode] at start; so the window of all
// mail. A state is at most a few kilobytes. A batch or a campaign that is [Policy.Idle] need not be kept.
//
// # Breaker
//
// A measure opens the breaker when it has at least [Policy.Events] events of the cohort's own, and the
// low end of its interval is above the stop limit. A cohort smaller than the minimum sample is filled up to it
// from the pools, nearest first, each with its own share, and beyond them with the limit's prior: so three
// complaints of 20 recipients are not 15 %. Open holds marketing for [Policy.Wait], twice as long each
// time in a row; then half-open lets a small share go as a trial. It closes on good evidence and opens
// again on bad. Evidence that was judged is spent: after closing, only mail sent since then counts.
//
// # Canary
//
// Unproven is an import batch that has not passed, or contacts that entered a segment after its last
// proof. The share is chosen by a hash of cohort and contact, so it is the same whoever asks and has nothing to
// do with the order in which mail leaves; while a cohort grows the share shrinks, and those chosen of
// a larger cohort were chosen of the smaller one too. A cohort not larger than the minimum goes at once. A trial is
// decided when 95 % of what was admitted is concluded and 4 hours have passed since the first of it; where under
// half of it went to providers that report complaints, after 24 hours without them.
package breaker

import (
	"time"

	"github.com/seguemta/segue/mta/event"
	"github.com/seguemta/segue/reputation/bounce"
)

// Kind is what a cohort is.
type Kind string

// The kinds.
const (
	Segment  Kind = "segment"
	Batch    Kind = "batch"
	Campaign Kind = "campaign"
)

// Counts are recipients.
type Counts struct {
	Admitted     uint64 `json:"admitted,omitempty"`     // of the sample of a trial: let go
	Concluded    uint64 `json:"concluded,omitempty"`    // ended, whatever became of them
	Answered     uint64 `json:"answered,omitempty"`     // delivered, or refused by their provider
	Delivered    uint64 `json:"delivered,omitempty"`    //
	Reporting    uint64 `json:"reporting,omitempty"`    // delivered to providers that report complaints
	Bounced      uint64 `json:"bounced,omitempty"`      // refused because there is no such recipient
	Spam         uint64 `json:"spam,omitempty"`         // refused as spam
	Complained   uint64 `json:"complained,omitempty"`   // at providers that report
	Unsubscribed uint64 `json:"unsubscribed,omitempty"` //
}

// Add adds o to c.
func (c *Counts) Add(o Counts) {
	c.Admitted += o.Admitted
	c.Concluded += o.Concluded
	c.Answered += o.Answered
	c.Delivered += o.Delivered
	c.Reporting += o.Reporting
	c.Bounced += o.Bounced
	c.Spam += o.Spam
	c.Complained += o.Complained
	c.Unsubscribed += o.Unsubscribed
}

// Observation is what is learnt about messages sent at one time.
type Observation struct {
	Sent time.Time // when the message left the first time; Admitted: now
	Day  int32     // the day of its delivery in the budget zone, counted from 1970-01-01
	Tier string    // of the recipient then; "" = not known
	// Sample is what [Policy.Asks] said of the recipient for this cohort.
	Sample bool
	Counts
}

// From is what an event says of its recipient; reports is whether its provider reports
// complaints. Sent and Day are the caller's: what came after the delivery is about a message of before.
func From(e *event.Event, reports bool) (Counts, bool) {
	var c Counts
	switch e.Kind {
	case event.Delivered:
		c = Counts{Concluded: 1, Answered: 1, Delivered: 1}
		if reports {
			c.Reporting = 1
		}
	case event.Bounced:
		c.Concluded = 1
		if e.Code != 0 {
			c.Answered = 1
		}
		switch {
		case bounce.Verdict(e.Verdict) == bounce.Suppress:
			c.Bounced = c.Answered
		case spam(bounce.Class(e.Class)):
			c.Spam = c.Answered
		}
	case event.DSN:
		if bounce.Verdict(e.Verdict) != bounce.Suppress {
			return c, false
		}
		c.Bounced = 1 // of somebody who counts as answered already
	case event.Expired, event.Suppressed, event.Dropped:
		c.Concluded = 1
	case event.Complained:
		if !reports {
			return c, false
		}
		c.Complained = 1
	case event.Unsubscribed:
		c.Unsubscribed = 1
	default:
		return c, false
	}
	return c, true
}

func spam(c bounce.Class) bool {
	return c == bounce.SpamBlock || c == bounce.SpamContent || c == bounce.SpamRelated || c == bounce.ContentRelated
}

// Limit is what a measure may be.
type Limit struct {
	Warn   float64 // share above which it is told
	Stop   float64 // share above which mail is held; 0 = never
	Sample uint64  // recipients up to which a small cohort is filled from its pools
	Prior  float64 // share of the rest, where the pools have not so many
}

// Policy is the limits. Make it with [DefaultPolicy].
type Policy struct {
	Bounced      Limit // of those answered
	Spam         Limit // of those answered
	Complained   Limit // of those delivered to providers that report
	Unsubscribed Limit // of those delivered

	Events  uint64        // least events of its own against a cohort
	Days    int           // delivery days that count together
	Wait    time.Duration // open, the first time
	Longest time.Duration // open, at most
	Again   time.Duration // after which an opening is the first again

	Share     float64 // of a cohort that goes first
	Least     uint64  // of it, at least
	Most      uint64  // of it, at most
	Concluded float64 // part of the sample that must have ended
	After     time.Duration
	Unknown   time.Duration // when it is decided without complaints that nobody reports
}

// DefaultPolicy has the published figures: bounces as large senders are reviewed for (2 %) and
// paused for (5 %), complaints as mailbox providers ask (0.1 %) and punish (0.3 %), refusals as
// spam as for the class of blocks at large relays (3 and 10 %). For unsubscriptions
// nobody publishes a limit: 1 and 3 % are ours.
func DefaultPolicy() *Policy {
	return &Policy{
		Bounced:      Limit{Warn: 0.02, Stop: 0.05, Sample: 100, Prior: 0.005},
		Spam:         Limit{Warn: 0.03, Stop: 0.10, Sample: 100, Prior: 0.005},
		Complained:   Limit{Warn: 0.001, Stop: 0.003, Sample: 1000, Prior: 0.0003},
		Unsubscribed: Limit{Warn: 0.01, Stop: 0.03, Sample: 500, Prior: 0.002},
		Events:       3, Days: 7, Wait: 24 * time.Hour, Longest: 7 * 24 * time.Hour, Again: 14 * 24 * time.Hour,
		Share: 0.05, Least: 200, Most: 2000, Concluded: 0.95, After: 4 * time.Hour, Unknown: 24 * time.Hour,
	}
}
