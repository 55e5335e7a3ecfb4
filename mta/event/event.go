// SPDX-License-Identifier: Apache-2.0

// Package event is the vocabulary of facts: one Event says one thing that
// happened to one recipient of one message.
//
// Events are committed in the queue's store together with the change that
// caused them, are numbered by the committer without gaps, and are never
// altered. Everything outside the queue (contacts, metrics, logs, webhooks,
// operators) is a view of this log: a consumer keeps a [Cursor] beside its own
// state, in the same batch, and so sees every event exactly once.
//
// The package holds the types and their binary form ([Event.Append],
// [Decode]); it has no store, no clock and no goroutine.
package event

import "time"

// Kind says what happened. Kinds are stored as text, so that a log written by
// a newer Segue stays readable.
type Kind string

// What can happen to a recipient.
const (
	Accepted   Kind = "accepted"   // committed to the queue; the submitter had or will have its 250
	Delivered  Kind = "delivered"  // the remote server took the message: final
	Deferred   Kind = "deferred"   // an attempt failed for now; Next says when it is tried again
	Bounced    Kind = "bounced"    // the remote server refused for good, or routing says it never can: final
	Expired    Kind = "expired"    // max_age passed: final; Reason is "unsent" where no attempt was ever made
	Suppressed Kind = "suppressed" // the contact may not be mailed: final
	Dropped    Kind = "dropped"    // an operator or a named policy removed it: final
	Held       Kind = "held"       // parked by an operator or a policy until released
	Released   Kind = "released"   // parked or waiting mail is due earlier: by an operator, or because the clock was set back
	Delayed    Kind = "delayed"    // a policy of its lane makes it wait: send window, cap; Reason, Next says until when
	Relaned    Kind = "relaned"    // moved to another lane: tier, segment or pool changed
	Sampled    Kind = "sampled"    // let go for the trials of Sample, which it was not let go for before; its attempt follows

	DSN           Kind = "dsn"             // a bounce mail came back later for a delivered recipient
	Complained    Kind = "complained"      // an ARF report named the recipient
	Unsubscribed  Kind = "unsubscribed"    // the recipient asked for no more of a stream
	NotSpam       Kind = "not_spam"        // a report said that a message in the spam folder is none; it lifts nothing by itself
	SuppressAdded Kind = "suppress_added"  // an operator or a rule added a suppression; Scope, Reason
	SuppressLift  Kind = "suppress_lifted" // an operator or proven consent lifted one; Scope, Reason
	Engaged       Kind = "engaged"         // human engagement: click, reply, login, purchase

	CaseOpened  Kind = "case_opened"  // a complaint became a case of the register; Reason has its number, owner and due time
	CaseOverdue Kind = "case_overdue" // nobody closed it in time
	CaseClosed  Kind = "case_closed"  // somebody did; Reason is the note

	Overdraft      Kind = "overdraft"          // transactional mail went out without a warm-up budget
	StageAdvanced  Kind = "stage_advanced"     // a warm-up went on to its next stage; Source (or SendingDomain, or Segment and Tier), Provider, Reason
	StageBack      Kind = "stage_stepped_back" // it went back a stage: by evidence, by forgetting, by hand
	StageHeld      Kind = "stage_held"         // it stays where it is: by evidence that Reason tells, or by hand until released
	StageReleased  Kind = "stage_released"     // a hold by hand has ended
	SegmentIgnored Kind = "segment_ignored"    // X-Segue-Segment named a segment the contact is not in
	OutageBegan    Kind = "outage_began"       // a provider says of too many that they do not exist: what it says is provisional; Provider, Reason
	OutageEnded    Kind = "outage_ended"       // a provider is itself again; Provider, Reason
	SuppressUndone Kind = "suppress_undone"    // an operator lifted what a provider had said in error; Provider, Reason
	Throttled      Kind = "throttled"          // rules changed what a source may do at a provider, or an operator did; Act, Source, Provider, Reason, Evidence, Undo
	Breaker        Kind = "breaker"            // a breaker or a canary of a segment, batch or campaign changed; Act, its name, Reason, Evidence, Undo
	ClockFrozen    Kind = "clock_frozen"       // the wall clock was set: what ends by its date waits; Reason
	ClockSettled   Kind = "clock_settled"      // the wall clock is believed again; Reason. Times of later events may be earlier
)

// Kinds are all that there are, for who has to name one.
func Kinds() []Kind {
	return []Kind{
		Accepted, Delivered, Deferred, Bounced, Expired, Suppressed, Dropped, Held, Released, Delayed, Relaned, Sampled,
		DSN, Complained, Unsubscribed, NotSpam, SuppressAdded, SuppressLift, Engaged, CaseOpened, CaseOverdue, CaseClosed,
		Overdraft, StageAdvanced, StageBack, StageHeld, StageReleased, SegmentIgnored, OutageBegan, OutageEnded,
		SuppressUndone, Throttled, Breaker, ClockFrozen, ClockSettled,
	}
}

// Final reports whether the kind ends a recipient's life in the queue.
func (k Kind) Final() bool {
	switch k {
	case Delivered, Bounced, Expired, Suppressed, Dropped:
		return true
	default:
		return false
	}
}

// Event is one fact about one recipient. Empty fields are those the fact does
// not have. Sequence and Time are set by the committer.
type Event struct {
	Sequence uint64    `json:"sequence"`
	Time     time.Time `json:"time"`
	Kind     Kind      `json:"kind"`

	Message   uint64 `json:"message,omitempty"`   // message id; 0 where no message is involved
	Recipient uint32 `json:"recipient,omitempty"` // index of the recipient within the message
	Address   string `json:"address,omitempty"`   // recipient address as given, SMTP form
	Contact   uint64 `json:"contact,omitempty"`   // contact id; 0 = not known when the message was admitted
	Sender    string `json:"sender,omitempty"`    // envelope sender as submitted

	Stream         string   `json:"stream,omitempty"`
	Segment        string   `json:"segment,omitempty"`         // the segment that decided the lane
	SegmentVersion uint64   `json:"segment_version,omitempty"` // rule version at admission
	Segments       []string `json:"segments,omitempty"`        // all segments at admission (accepted only)
	Tier           string   `json:"tier,omitempty"`
	Pool           string   `json:"pool,omitempty"`
	Plan           string   `json:"plan,omitempty"` // plan that ramps the lane itself
	Campaign       string   `json:"campaign,omitempty"`
	Credential     string   `json:"credential,omitempty"`
	Metadata       string   `json:"metadata,omitempty"` // X-Segue-Metadata, JSON, echoed

	Source   string `json:"source,omitempty"`
	Provider string `json:"provider,omitempty"` // "" = other
	Domain   string `json:"domain,omitempty"`   // recipient domain
	Site     string `json:"site,omitempty"`
	Host     string `json:"host,omitempty"` // MX host that answered

	Attempt  int       `json:"attempt,omitempty"`
	Code     int       `json:"code,omitempty"`     // SMTP reply code; 0 = no reply (connection, DNS, policy)
	Enhanced string    `json:"enhanced,omitempty"` // RFC 3463 code, "5.1.1"
	Reply    string    `json:"reply,omitempty"`    // text of the reply or of the local error
	Class    string    `json:"class,omitempty"`    // bounce class
	Verdict  string    `json:"verdict,omitempty"`  // suppress | count | reputation | infrastructure | ignore
	Subject  string    `json:"subject,omitempty"`  // of a verdict of reputation: ip | domain | content
	Reason   string    `json:"reason,omitempty"`
	Next     time.Time `json:"next,omitzero"` // deferred: next attempt; held, delayed: until
	Size     int64     `json:"size,omitempty"`
	Token    string    `json:"token,omitempty"` // feedback: the token as it arrived
	Batch    string    `json:"batch,omitempty"` // import batch of the contact
	Scope    string    `json:"scope,omitempty"` // unsubscribed, suppress_added, suppress_lifted: what of
	Hash     string    `json:"hash,omitempty"`  // head of what stands for the address, where only that is known

	SendingDomain string `json:"sending_domain,omitempty"` // ours, that signs

	// Of automatic acts, also of operators' ones in the same matter.
	Act      string `json:"act,omitempty"`      // what was done; Reason says it to people
	Evidence string `json:"evidence,omitempty"` // JSON: what it was done for
	Undo     string `json:"undo,omitempty"`     // the command that undoes it

	// Sample are the trials that the recipient was let go for, such as
	// "segment:trial#2": cohort and number of its trial; few have any.
	Sample []string `json:"sample,omitempty"`
}

// Cursor is a consumer's place in the log: the next event to read is
// Sequence+1. Epoch names the store the sequence belongs to; a cursor of
// another epoch (a restored or recreated store) starts again from zero.
type Cursor struct {
	Epoch    uint64 `json:"epoch"`
	Sequence uint64 `json:"sequence"`
}
