// SPDX-License-Identifier: Apache-2.0

package api

import (
	"context"
	"net/http"
	"net/url"
	"time"
)

// Segment is a segment in one line.
type Segment struct {
	Name       string           `json:"name"`
	Order      int              `json:"order"`
	Version    uint64           `json:"version"`
	Rule       string           `json:"rule"`
	Stage      string           `json:"stage,omitempty"`    // that its members are in
	State      string           `json:"state"`              // live, building or failed
	Progress   float64          `json:"progress,omitempty"` // of building, 0 to 1
	Error      string           `json:"error,omitempty"`    // why it has no members
	Generation uint32           `json:"generation"`         // of the members; 0 = never built
	Members    int64            `json:"members"`
	Entered    uint64           `json:"entered"` // in the last 24 hours, by whole hours
	Left       uint64           `json:"left"`
	Warnings   []SegmentWarning `json:"warnings"`
}

// SegmentWarning is something about a segment that a person should look at.
type SegmentWarning struct {
	Kind string `json:"kind"` // few_members, empty, overlap, thin_field, size_jump or unused
	Text string `json:"text"`
}

// SegmentDetail is a segment with where it sends its tiers, and its figures.
type SegmentDetail struct {
	Segment
	Pool     string           `json:"pool,omitempty"`
	Assign   []SegmentTier    `json:"assign"`
	Tiers    map[string]int64 `json:"tiers"`    // members by tier
	Days     []SegmentDay     `json:"days"`     // oldest first, UTC, at most 100
	Overlaps []SegmentOverlap `json:"overlaps"` // the largest ones
	Results  SegmentResults   `json:"results"`  // of the last 30 days
	Rates    []SegmentRate    `json:"rates"`    // of the same, with intervals of 95 %
}

// SegmentTier is where a tier of a segment goes.
type SegmentTier struct {
	Tier string `json:"tier"`
	Pool string `json:"pool"`
	Plan string `json:"plan,omitempty"`
}

// SegmentDay is a day of a segment.
type SegmentDay struct {
	Date    string         `json:"date"` // 2026-11-23
	Size    uint64         `json:"size"` // members at its end
	Entered uint64         `json:"entered"`
	Left    uint64         `json:"left"`
	Results SegmentResults `json:"results"`
}

// SegmentResults is what became of mail that went by a segment: that which
// decided the lane when it was taken, whoever is a member now.
type SegmentResults struct {
	Sent             uint64 `json:"sent"` // recipients accepted
	Delivered        uint64 `json:"delivered"`
	Bounced          uint64 `json:"bounced"`
	Complained       uint64 `json:"complained"`
	Unsubscribed     uint64 `json:"unsubscribed"`
	Opened           uint64 `json:"opened"` // messages opened by people, however often
	OpenedByMachine  uint64 `json:"opened_by_machine"`
	Clicked          uint64 `json:"clicked"`
	ClickedByMachine uint64 `json:"clicked_by_machine"`
}

// SegmentRate is one of the results as a share of another.
type SegmentRate struct {
	What  string  `json:"what"`
	Of    string  `json:"of"` // what the denominator counts
	Hits  uint64  `json:"hits"`
	Total uint64  `json:"total"`
	Share float64 `json:"share"`
	Low   float64 `json:"low"`
	High  float64 `json:"high"`
	Text  string  `json:"text"`
}

// SegmentOverlap is what a segment shares with another one.
type SegmentOverlap struct {
	Segment string  `json:"segment"`
	Members uint64  `json:"members"` // of the other one
	Both    uint64  `json:"both"`
	Jaccard float64 `json:"jaccard"` // both of either
	Smaller float64 `json:"smaller"` // both of the smaller one
}

// SegmentTest is a definition to be tried.
type SegmentTest struct {
	Where   string   `json:"where"`
	Include []string `json:"include,omitempty"`
	Exclude []string `json:"exclude,omitempty"`
}

// SegmentTested is what a definition would do.
type SegmentTested struct {
	Faults   []RuleFault     `json:"faults"`   // not empty: it does not compile, and the rest says nothing
	Contacts uint64          `json:"contacts"` // in the database
	Looked   uint64          `json:"looked"`   // at how many it was asked; fewer = a sample
	Sample   bool            `json:"sample"`   // members is what a sample says of all
	Members  uint64          `json:"members"`
	Low      uint64          `json:"low"` // between which numbers the true one lies, at 95 %
	High     uint64          `json:"high"`
	Some     []SegmentMember `json:"some"` // a few members
}

// RuleFault is one thing that is wrong with a rule.
type RuleFault struct {
	Line   int    `json:"line,omitempty"`
	Column int    `json:"column,omitempty"`
	Text   string `json:"text"`
	Hint   string `json:"hint,omitempty"`
}

// SegmentMember is a contact of a segment.
type SegmentMember struct {
	Address string `json:"address"`
	Tier    string `json:"tier"`
}

// SegmentExplained is why a contact is in a segment or is not.
type SegmentExplained struct {
	Segment string            `json:"segment"`
	Version uint64            `json:"version"`
	Rule    string            `json:"rule"`
	Address string            `json:"address"`
	Tier    string            `json:"tier"`
	Member  bool              `json:"member"`
	Since   time.Time         `json:"since,omitzero"` // when it entered; missing where a build found it
	Cause   string            `json:"cause,omitempty"`
	Until   time.Time         `json:"until,omitzero"` // when time alone changes the answer, if it does
	Then    bool              `json:"then,omitempty"` // the answer then
	Pairs   []SegmentExamined `json:"pairs"`          // one for each account that the rule was asked for
}

// SegmentExamined is a rule asked about a contact as one of an account.
type SegmentExamined struct {
	Account    string             `json:"account,omitempty"`
	Role       string             `json:"role,omitempty"`
	Holds      bool               `json:"holds"`
	Conditions []SegmentCondition `json:"conditions"`
}

// SegmentCondition is one condition with what it read.
type SegmentCondition struct {
	Text    string           `json:"text"`
	Negated bool             `json:"negated,omitempty"` // it stands under a !
	Depth   int              `json:"depth"`             // groups around it
	Result  bool             `json:"result"`
	Reads   []SegmentReading `json:"reads"`
}

// SegmentReading is a name and what stood there.
type SegmentReading struct {
	Name    string `json:"name"`
	Value   string `json:"value,omitempty"`
	Missing bool   `json:"missing,omitempty"`
	Because string `json:"because,omitempty"` // of a stage: the segment that gives it
}

// Segments implements [Methods].
func (c *Client) Segments(ctx context.Context) ([]Segment, error) {
	return get[[]Segment](ctx, c, "/api/v1/segments", nil)
}

// Segment implements [Methods].
func (c *Client) Segment(ctx context.Context, name string) (SegmentDetail, error) {
	path, err := named("/api/v1/segments/", name)
	if err != nil {
		return SegmentDetail{}, err
	}
	return get[SegmentDetail](ctx, c, path, nil)
}

// TestSegment implements [Methods].
func (c *Client) TestSegment(ctx context.Context, t SegmentTest) (SegmentTested, error) {
	return fetch[SegmentTested](ctx, c, call{method: http.MethodPost, path: "/api/v1/segments/test", json: t})
}

// ExplainSegment implements [Methods].
func (c *Client) ExplainSegment(ctx context.Context, name, address string) (SegmentExplained, error) {
	path, err := named("/api/v1/segments/", name)
	if err != nil {
		return SegmentExplained{}, err
	}
	q := make(url.Values)
	setParam(q, "address", address)
	return get[SegmentExplained](ctx, c, path+"/explain", q)
}

// RebuildSegment implements [Methods].
func (c *Client) RebuildSegment(ctx context.Context, name string) error {
	path, err := named("/api/v1/segments/", name)
	if err != nil {
		return err
	}
	return c.post(ctx, path+"/rebuild", nil)
}
