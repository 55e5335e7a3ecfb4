// SPDX-License-Identifier: Apache-2.0

// Package api is what the engine says to its operators: the types, one
// [Methods] interface, and a [Client] of it over HTTP. The engine implements
// Methods; mta/httpapi serves it; the command line, the console and tests speak it
// and nothing else. Times are RFC 3339 in UTC, counts are recipients.
//
// It is not the engine and not the server: it decides nothing, and whoever holds a
// Methods cannot tell whether the engine is in this process or behind a network.
// Call [NewClient] first. Failures are problem documents (RFC 9457) on the wire
// and [*Error] here.
package api

import (
	"context"
	"io"
	"time"

	"github.com/seguemta/segue/mta/event"
)

// Methods is everything an operator can ask for or order. Errors that carry an
// [*Error] say what to do; Status is the HTTP status they travel with.
type Methods interface {
	Health(ctx context.Context) (Health, error)
	HealthReport(ctx context.Context, q HealthQuery) (HealthReport, error)
	Acts(ctx context.Context, q ActQuery) ([]event.Event, error)
	Clock(ctx context.Context) (Clock, error)
	ConfirmClock(ctx context.Context) error

	Queue(ctx context.Context, q QueueQuery) (QueueList, error)
	QueueSummary(ctx context.Context) (QueueSummary, error)
	QueueShow(ctx context.Context, id string) (QueueDetail, error)
	QueueWhy(ctx context.Context, id string) (Why, error)
	QueueAct(ctx context.Context, act QueueAct) (QueueActed, error)

	Segments(ctx context.Context) ([]Segment, error)
	Segment(ctx context.Context, name string) (SegmentDetail, error)
	TestSegment(ctx context.Context, t SegmentTest) (SegmentTested, error)
	ExplainSegment(ctx context.Context, name, address string) (SegmentExplained, error)
	RebuildSegment(ctx context.Context, name string) error
	SteerBreaker(ctx context.Context, act BreakerAct) (BreakerActed, error)

	Contact(ctx context.Context, address string) (Contact, error)
	ImportContacts(ctx context.Context, in Import, rows io.Reader) (Imported, error)
	ExportContacts(ctx context.Context, out Export, to io.Writer) (Exported, error)
	EraseContact(ctx context.Context, who Erase) (Erased, error)

	Pools(ctx context.Context) ([]Pool, error)
	Sources(ctx context.Context) ([]Source, error)
	Source(ctx context.Context, name string) (Source, error)
	PauseSource(ctx context.Context, p Pause) error
	Providers(ctx context.Context) ([]Provider, error)
	Provider(ctx context.Context, name string) (Provider, error)
	CancelLimits(ctx context.Context, c LimitCancel) (LimitActs, error)
	PinLimits(ctx context.Context, p LimitPin) (LimitActs, error)
	ReloadThrottleRules(ctx context.Context) (ThrottleRules, error)
	Warmup(ctx context.Context) ([]Warmup, error)
	SteerWarmup(ctx context.Context, act WarmupAct) error
	AddEvidence(ctx context.Context, rows Evidence) (EvidenceAdded, error)

	Suppressions(ctx context.Context, q SuppressionQuery) ([]Suppression, error)
	Suppress(ctx context.Context, s Suppression) error
	Lift(ctx context.Context, s Suppression) error
	UndoSuppressions(ctx context.Context, u Undo) (Undone, error)
	ImportSuppressions(ctx context.Context, in SuppressionImport, rows io.Reader) (Imported, error)
	ExportSuppressions(ctx context.Context, out SuppressionExport, to io.Writer) (Exported, error)

	ReloadBounceRules(ctx context.Context) (BounceRules, error)
	ClassifyReply(ctx context.Context, q Reply) (Classified, error)

	TokenKeys(ctx context.Context) (TokenKeys, error)
	RotateTokens(ctx context.Context) (TokenKeys, error)

	Feedback(ctx context.Context, f Feedback) (FeedbackTaken, error)
	Complaints(ctx context.Context, q ComplaintQuery) ([]Complaint, error)
	Complaint(ctx context.Context, id uint64) (Complaint, error)
	CloseComplaint(ctx context.Context, x ComplaintClose) (Complaint, error)
	ComplaintReport(ctx context.Context, days int) ([]ComplaintRate, error)

	Events(ctx context.Context, after uint64, limit int) ([]event.Event, error)
	Submit(ctx context.Context, m Message) (Submitted, error)
}

// Error is an RFC 9457 problem document.
type Error struct {
	Type   string `json:"type,omitempty"`
	Title  string `json:"title"`
	Status int    `json:"status"`
	Detail string `json:"detail,omitempty"`
}

// Error is the title and the detail on one line.
func (e *Error) Error() string {
	if e.Detail == "" {
		return e.Title
	}
	return e.Title + ": " + e.Detail
}

// Problem makes an Error.
func Problem(status int, title, detail string) *Error {
	return &Error{Type: "about:blank", Title: title, Status: status, Detail: detail}
}

// Health is whether the engine lives and whether it takes and sends mail. It is
// readable without a token: problems name parts of the engine, never addresses.
type Health struct {
	Ready    bool      `json:"ready"`
	Version  string    `json:"version"`
	Started  time.Time `json:"started"`
	Sequence uint64    `json:"sequence"` // of the newest durable event; 0 = none
	Problems []string  `json:"problems"` // why it is not ready
	Warnings []string  `json:"warnings"` // what stands still although it is ready
}

// Clock is the time that the engine lives by, and the clock on the wall.
type Clock struct {
	Now      time.Time `json:"now"`               // what the engine lives by
	Wall     time.Time `json:"wall"`              // what the machine says
	Jump     float64   `json:"jump_seconds"`      // by how much the wall is ahead; below 0 behind
	Frozen   bool      `json:"frozen"`            // the wall was set and is not believed: expiry, tiers, stages and budget days stand still
	Believed time.Time `json:"believed,omitzero"` // frozen: when it will be, by the wall, if nobody sets it again
}

// QueueQuery selects recipients. Empty fields select all.
type QueueQuery struct {
	Stream  string `json:"stream,omitempty"`
	Segment string `json:"segment,omitempty"`
	Tier    string `json:"tier,omitempty"`
	Pool    string `json:"pool,omitempty"`
	Domain  string `json:"domain,omitempty"`
	State   string `json:"state,omitempty"` // waiting | held | in_flight
	Address string `json:"address,omitempty"`
	After   string `json:"after,omitempty"` // id; the page begins behind it
	Limit   int    `json:"limit,omitempty"` // 0 = 100, at most MaxPage
}

// QueueList is a page of recipients.
type QueueList struct {
	Entries []QueueEntry `json:"entries"`
	Next    string       `json:"next,omitempty"` // After of the next page
}

// QueueEntry is one recipient that is not concluded.
type QueueEntry struct {
	ID       string    `json:"id"`
	Address  string    `json:"address"`
	State    string    `json:"state"` // waiting | held | in_flight | concluded
	Stream   string    `json:"stream"`
	Segment  string    `json:"segment,omitempty"`
	Tier     string    `json:"tier"`
	Pool     string    `json:"pool"`
	Plan     string    `json:"plan,omitempty"`
	Campaign string    `json:"campaign,omitempty"`
	Queued   time.Time `json:"queued"`
	Due      time.Time `json:"due"`
	Expires  time.Time `json:"expires"`
	Attempts int       `json:"attempts"`
	Reply    string    `json:"reply,omitempty"` // of the last attempt
	Hold     string    `json:"hold,omitempty"`
}

// QueueDetail is a recipient with its history.
type QueueDetail struct {
	QueueEntry
	Sender string        `json:"sender"`
	Size   int64         `json:"size"`
	Why    *Why          `json:"why,omitempty"`
	Events []event.Event `json:"events"`
}

// Why is what a recipient waits for.
type Why struct {
	ID       string    `json:"id"`
	State    string    `json:"state"`
	Code     string    `json:"code"`
	Text     string    `json:"text"`
	Until    time.Time `json:"until,omitzero"`
	Expected time.Time `json:"expected,omitzero"`
	Ahead    int       `json:"ahead"`
	Lane     string    `json:"lane"`
	Source   string    `json:"source,omitempty"`
	Provider string    `json:"provider,omitempty"`
	Site     string    `json:"site,omitempty"`
}

// QueueSummary is the queue in numbers.
type QueueSummary struct {
	Waiting  int         `json:"waiting"`
	Held     int         `json:"held"`
	InFlight int         `json:"in_flight"`
	Lanes    []LaneCount `json:"lanes"`
}

// LaneCount is one lane at one provider.
type LaneCount struct {
	Stream   string `json:"stream"`
	Segment  string `json:"segment"`
	Tier     string `json:"tier"`
	Pool     string `json:"pool"`
	Plan     string `json:"plan,omitempty"`
	Provider string `json:"provider"`
	Waiting  int    `json:"waiting"`
	Held     int    `json:"held"`
	InFlight int    `json:"in_flight"`
}

// QueueAct is an order about one recipient, or about all that Query selects.
type QueueAct struct {
	Action string     `json:"action"` // hold | release | drop | move | retry
	ID     string     `json:"id,omitempty"`
	Query  QueueQuery `json:"query,omitzero"`
	All    bool       `json:"all,omitempty"`  // needed for an empty Query
	Name   string     `json:"name,omitempty"` // of the hold
	Pool   string     `json:"pool,omitempty"` // of the move
	Reason string     `json:"reason,omitempty"`
}

// QueueActed is how many recipients an order reached.
type QueueActed struct {
	Recipients int `json:"recipients"`
}

// Contact is what is known of one address.
type Contact struct {
	Address      string            `json:"address"`
	ID           uint64            `json:"id"`
	UserID       string            `json:"user_id,omitempty"`
	Account      string            `json:"account,omitempty"`  // the primary one
	Accounts     []Membership      `json:"accounts,omitempty"` // all of them, the primary one first
	Tags         []string          `json:"tags,omitempty"`
	Lists        []string          `json:"lists,omitempty"`
	Language     string            `json:"language,omitempty"`
	TimeZone     string            `json:"time_zone,omitempty"`
	Source       string            `json:"source,omitempty"` // where the contact came from
	Created      time.Time         `json:"created_at,omitzero"`
	Consent      time.Time         `json:"consent_at,omitzero"`
	ConsentBy    string            `json:"consent_source,omitempty"`
	Tier         string            `json:"tier"`
	TierReason   string            `json:"tier_reason"`
	Stage        string            `json:"stage,omitempty"`            // that of the first segment with one that the contact is in
	StageBy      string            `json:"stage_by_segment,omitempty"` // which is this one
	Scores       *ContactScores    `json:"scores,omitempty"`           // absent without [[score]]
	Segments     []string          `json:"segments"`
	FirstSent    time.Time         `json:"first_sent_at,omitzero"`
	LastSent     time.Time         `json:"last_sent_at,omitzero"`
	LastEngaged  time.Time         `json:"last_engaged_at,omitzero"`
	Sends        uint64            `json:"sends"`
	SendsSince   uint64            `json:"sends_since_engagement"`
	Batch        string            `json:"import_batch,omitempty"`
	Attributes   map[string]string `json:"attributes"`
	Suppressions []Suppression     `json:"suppressions"`
	Queued       int               `json:"queued"`
}

// Membership is an account that a contact belongs to.
type Membership struct {
	Name    string    `json:"name"`
	GroupID string    `json:"group_id,omitempty"`
	Parent  string    `json:"parent,omitempty"` // the account it is a part of
	Role    string    `json:"role,omitempty"`   // of the contact
	Since   time.Time `json:"since,omitzero"`
	Score   *float64  `json:"score,omitempty"` // of the account; absent without [[score]], and for very large accounts where no rule reads it
}

// ContactScores is what a contact scores now.
type ContactScores struct {
	Score     float64 `json:"score"`
	Fit       float64 `json:"fit"`
	Behaviour float64 `json:"behaviour"`
	Why       string  `json:"behaviour_reason"`
}

// Import describes rows to import.
type Import struct {
	Name      string `json:"name"`      // file name: progress is kept under it
	Kind      string `json:"kind"`      // contacts | accounts | events | lists; "" = by the columns
	Format    string `json:"format"`    // csv | jsonl; "" = by name
	Delimiter string `json:"delimiter"` // of CSV: one of , ; | or tab; "" = by the first line
	Raw       bool   `json:"raw"`       // cells of CSV keep the apostrophe that protects from spreadsheets
	List      string `json:"list"`      // the list that every row belongs to; "" = the column says
	Batch     string `json:"batch"`     // import batch; "" = name
	DryRun    bool   `json:"dry_run"`
}

// Imported is the result of an import, or what it would be.
type Imported struct {
	Kind      string        `json:"kind"`
	Rows      int64         `json:"rows"`
	Created   int64         `json:"created"`
	Updated   int64         `json:"updated"`
	Unchanged int64         `json:"unchanged"`
	Rejected  int64         `json:"rejected"`
	Resumed   int64         `json:"resumed"`           // rows skipped because an earlier run had done them
	Errors    []ImportError `json:"errors"`            // of the first 100 rejected rows
	Rejects   []byte        `json:"rejects,omitempty"` // CSV of rejected rows with row, column and reason
}

// ImportError says why a row was rejected.
type ImportError struct {
	Row    uint64 `json:"row"`              // as an editor or a spreadsheet counts it
	Column string `json:"column,omitempty"` // "" = the whole row
	Reason string `json:"reason"`
}

// Export describes rows to export.
type Export struct {
	Kind    string `json:"kind"`    // contacts | accounts | events | lists; "" = contacts
	Segment string `json:"segment"` // only what belongs to its members; "" = everything
	Format  string `json:"format"`  // csv | jsonl; "" = csv
	Gzip    bool   `json:"gzip"`
	Raw     bool   `json:"raw"` // CSV as it is: a spreadsheet would run some cells
}

// Exported is what an export was.
type Exported struct {
	Rows int64 `json:"rows"` // -1 = not told: a proxy may have left it out
}

// Pool is a pool with its members.
type Pool struct {
	Name     string   `json:"name"`
	Excess   string   `json:"excess"`
	Overflow string   `json:"overflow,omitempty"`
	Members  []Member `json:"members"`
	Waiting  int      `json:"waiting"`
}

// Member is a source of a pool.
type Member struct {
	Source string `json:"source"`
	Weight int    `json:"weight"`
}

// Source is a source with its budgets of today.
type Source struct {
	Name      string    `json:"name"`
	Addresses []string  `json:"addresses"`
	Hostname  string    `json:"hostname"`
	Plan      string    `json:"plan,omitempty"`
	Paused    time.Time `json:"paused_until,omitzero"` // at all providers
	Pauses    []Pause   `json:"pauses,omitempty"`      // at single providers
	Budgets   []Warmup  `json:"budgets"`
}

// Pause stops a source until a time; the zero time resumes it.
type Pause struct {
	Source   string    `json:"source,omitempty"`
	Provider string    `json:"provider,omitempty"` // "" = all
	Until    time.Time `json:"until,omitzero"`
	Since    time.Time `json:"since,omitzero"` // the engine says; not asked
}

// UntilResumed is the end of a pause without one: far beyond any plan, and
// still a time that fits into 64 bits of nanoseconds.
func UntilResumed() time.Time { return time.Date(2200, time.January, 1, 0, 0, 0, 0, time.UTC) }

// SuppressionQuery selects suppressions.
type SuppressionQuery struct {
	Address string `json:"address,omitempty"`
	Limit   int    `json:"limit,omitempty"` // 0 = 100, at most MaxPage
}

// Suppression is one reason why an address is not mailed.
type Suppression struct {
	Address  string    `json:"address"`            // "" once the contact was erased
	Hash     string    `json:"hash,omitempty"`     // stands for an address that was erased; not asked when adding or lifting
	Reason   string    `json:"reason,omitempty"`   // when adding, "" = manual; not asked when lifting
	Scope    string    `json:"scope,omitempty"`    // all | stream:NAME | domain:NAME | list:NAME; when adding, "" = all; when lifting, "" = every scope
	Source   string    `json:"source,omitempty"`   // when lifting, who does
	Evidence string    `json:"evidence,omitempty"` // when lifting, why; complaint, hard_bounce and unsubscribe are not lifted without
	Created  time.Time `json:"created,omitzero"`
	Expires  time.Time `json:"expires,omitzero"`
}

// Message is a message submitted over HTTP: raw, or built from the parts that
// an application has.
type Message struct {
	From     string   `json:"from"`
	To       []string `json:"to"` // envelope
	Raw      string   `json:"raw,omitempty"`
	Subject  string   `json:"subject,omitempty"`
	Text     string   `json:"text,omitempty"`
	HTML     string   `json:"html,omitempty"`
	Stream   string   `json:"stream,omitempty"`
	Segment  string   `json:"segment,omitempty"`
	Campaign string   `json:"campaign,omitempty"`
}

// Submitted is the answer: accepted and durable.
type Submitted struct {
	ID string `json:"id"`
}
