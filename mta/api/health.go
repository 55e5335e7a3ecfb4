// SPDX-License-Identifier: Apache-2.0

package api

import (
	"context"
	"net/url"
	"strconv"
	"time"

	"github.com/seguemta/segue/mta/event"
	"github.com/seguemta/segue/mta/wilson"
)

// HealthQuery selects what a report is about. Empty fields select all; a name that
// nothing has is an error.
type HealthQuery struct {
	Name     string `json:"name,omitempty"` // of a source, a provider, a segment, an import batch or a campaign
	Source   string `json:"source,omitempty"`
	Provider string `json:"provider,omitempty"`
	Segment  string `json:"segment,omitempty"`
}

// HealthReport is how those do who send, and those whose mail is sent: first what is
// wrong, then everything.
type HealthReport struct {
	Now     time.Time      `json:"now"`
	Alarms  []Alarm        `json:"alarms"`  // the worst first
	Sources []SourceHealth `json:"sources"` // each source at each provider, in the order of the configuration
	Cohorts []CohortHealth `json:"cohorts"` // segments, import batches and campaigns
	Quiet   int            `json:"quiet"`   // batches and campaigns that are left out: there are many, and nothing is wrong with these
}

// Levels of an [Alarm].
const (
	LevelStopped = "stopped" // mail does not leave
	LevelSlowed  = "slowed"  // it leaves, but less of it than is normal
	LevelWarning = "warning" // it leaves; somebody should look
)

// Alarm is one thing that is wrong, with what an operator needs to decide.
type Alarm struct {
	Level    string    `json:"level"`
	Code     string    `json:"code"`  // what kind of thing: suspended, paused, open, outage, ...
	About    string    `json:"about"` // "a1 at google", "segment trial", "the engine"
	What     string    `json:"what"`  // what is so
	Why      string    `json:"why,omitempty"`
	Since    time.Time `json:"since,omitzero"`
	Until    time.Time `json:"until,omitzero"` // it ends by itself, or its next step comes
	Queued   int       `json:"queued"`         // marketing recipients that it concerns: queued there, not concluded
	Undo     string    `json:"undo,omitempty"` // the command that undoes it
	Look     string    `json:"look,omitempty"` // the command that says more
	Source   string    `json:"source,omitempty"`
	Provider string    `json:"provider,omitempty"`
	Segment  string    `json:"segment,omitempty"`
	Batch    string    `json:"batch,omitempty"`
	Campaign string    `json:"campaign,omitempty"`
}

// Measure is one rate with its 95 % interval, and what it may be.
type Measure struct {
	Name  string `json:"name"`  // deferred | bounced | complained | unsubscribed | spam
	Level string `json:"level"` // good | warn | stop | unknown
	wilson.Rate
	Limit float64 `json:"limit,omitempty"` // above which the low end of the interval speaks; 0 = none is set
	Text  string  `json:"text"`            // all of it for people
}

// SourceHealth is a source at a provider.
type SourceHealth struct {
	Source   string    `json:"source"`
	Provider string    `json:"provider"`
	State    string    `json:"state"`            // sending | slowed | suspended | paused
	Warmup   *Warmup   `json:"warmup,omitempty"` // absent where no plan limits it
	Limit    *Limit    `json:"limit,omitempty"`  // in force by rules or an operator; absent where it is the normal one
	Measures []Measure `json:"measures"`         // of the mail attempted within seven days
	Paused   time.Time `json:"paused_until,omitzero"`
	Outage   string    `json:"outage,omitempty"` // why hard bounces of the provider suppress for a week only
	Queued   int       `json:"queued"`           // marketing recipients queued for the provider, whichever source they take
}

// CohortHealth is a segment, an import batch or a campaign.
type CohortHealth struct {
	Kind     string    `json:"kind"` // segment | batch | campaign
	Name     string    `json:"name"`
	State    string    `json:"state"` // closed | half_open | open | held | refused | canary | overridden
	Since    time.Time `json:"since,omitzero"`
	Until    time.Time `json:"until,omitzero"`
	Why      string    `json:"why,omitempty"`
	Trial    *Trial    `json:"trial,omitempty"` // of a half-open breaker or a canary
	Measures []Measure `json:"measures"`        // of the mail delivered within seven days
	Queued   int       `json:"queued"`          // recipients of a segment that wait; those held by hand apart
	Undo     string    `json:"undo,omitempty"`  // the command that lets its mail go
}

// Trial is a sample of a cohort that goes first; the rest waits for what comes of it.
type Trial struct {
	Begun     time.Time `json:"begun"`
	Size      uint64    `json:"size"`      // of the cohort; 0 = not known
	Admitted  uint64    `json:"admitted"`  // of the sample: let go so far
	Concluded uint64    `json:"concluded"` // of them: ended, whatever became of them
}

// Values are the query parameters of q.
func (q HealthQuery) Values() url.Values {
	v := make(url.Values)
	setParam(v, "name", q.Name)
	setParam(v, "source", q.Source)
	setParam(v, "provider", q.Provider)
	setParam(v, "segment", q.Segment)
	return v
}

// ActQuery selects acts: events with an Act. Empty fields select all.
type ActQuery struct {
	HealthQuery
	Before uint64 `json:"before,omitempty"` // sequence; the page begins with the newest before it
	Limit  int    `json:"limit,omitempty"`  // 0 = 100, at most 1000
}

// HealthReport implements [Methods].
func (c *Client) HealthReport(ctx context.Context, q HealthQuery) (HealthReport, error) {
	return get[HealthReport](ctx, c, "/api/v1/health", q.Values())
}

// Acts implements [Methods].
func (c *Client) Acts(ctx context.Context, q ActQuery) ([]event.Event, error) {
	v := q.Values()
	if q.Before != 0 {
		v.Set("before", strconv.FormatUint(q.Before, 10))
	}
	if q.Limit != 0 {
		v.Set("limit", strconv.Itoa(q.Limit))
	}
	return get[[]event.Event](ctx, c, "/api/v1/acts", v)
}
