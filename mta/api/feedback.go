// SPDX-License-Identifier: Apache-2.0

package api

import (
	"context"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"time"
)

// TokenKeys are the keys of return paths and tokens, by their ids: no secret is told.
type TokenKeys struct {
	Signing  int   `json:"signing"`  // signs what leaves
	Verifies []int `json:"verifies"` // the others, whose tokens are still out, newest first
}

// Feedback is one report that did not come by mail. What it is about is said in one of
// the ways from Reference to Address.
type Feedback struct {
	ID   string `json:"id"`             // the caller's name for the report: a second one of that name changes nothing
	Kind string `json:"kind"`           // complaint or bounce
	Type string `json:"type,omitempty"` // of a complaint: abuse (the default), fraud, opt-out, not-spam

	Reference  string    `json:"reference,omitempty"`   // X-Segue-Ref or CFBL-Feedback-ID of the message
	ReturnPath string    `json:"return_path,omitempty"` // its envelope sender
	Message    string    `json:"message,omitempty"`     // recipient of a message, such as 2N9C.0
	Address    string    `json:"address,omitempty"`     // the recipient: of what was last delivered to it
	Time       time.Time `json:"time,omitzero"`         // with Address: before this time; now where it is missing

	Reply string `json:"reply,omitempty"` // of a bounce: what the server said, such as 550 5.1.1 no such user
}

// maxFeedbackID bounds the caller's name of a report, in bytes.
const maxFeedbackID = 200

// Check says what is wrong with a report before anybody looks at what it is about.
func (f *Feedback) Check() error {
	ways := 0
	for _, text := range []string{f.Reference, f.ReturnPath, f.Message, f.Address} {
		if text != "" {
			ways++
		}
	}
	wrong := func(detail string) error { return Problem(http.StatusBadRequest, "bad report", detail) }
	switch {
	case f.ID == "":
		return wrong("id is missing: name the report, so that it can be sent again")
	case len(f.ID) > maxFeedbackID:
		return wrong("id is longer than 200 bytes")
	case f.Kind != "complaint" && f.Kind != "bounce":
		return wrong("kind is complaint or bounce")
	case f.Kind == "bounce" && f.Type != "":
		return wrong("type is of complaints")
	case f.Kind == "bounce" && f.Reply == "":
		return wrong("reply is missing: what the server said, such as 550 5.1.1 no such user")
	case f.Kind == "complaint" && f.Reply != "":
		return wrong("reply is of bounces")
	case f.Kind == "complaint" && !slices.Contains([]string{"", "abuse", "fraud", "opt-out", "not-spam"}, f.Type):
		return wrong("type is abuse, fraud, opt-out or not-spam")
	case ways != 1:
		return wrong("say in one way what the report is about: reference, return_path, message, or address")
	case f.Address == "" && !f.Time.IsZero():
		return wrong("time goes with address")
	}
	return nil
}

// FeedbackTaken says what became of a report.
type FeedbackTaken struct {
	Recipient string `json:"recipient,omitempty"` // whom it is about, such as 2N9C.0; "" where it had been taken before
	Repeated  bool   `json:"repeated"`            // it said nothing new
}

// Complaint is a case of the complaint register.
type Complaint struct {
	ID             uint64    `json:"id"`
	Class          string    `json:"class"` // abuse, fraud
	Status         string    `json:"status"`
	Owner          string    `json:"owner"`
	Opened         time.Time `json:"opened"`
	Due            time.Time `json:"due"`
	Overdue        bool      `json:"overdue"`
	Closed         time.Time `json:"closed,omitzero"`
	Note           string    `json:"note,omitempty"`
	Recipient      string    `json:"recipient"` // of which message, such as 2N9C.0
	Address        string    `json:"address,omitempty"`
	Contact        uint64    `json:"contact,omitempty"`
	Stream         string    `json:"stream"`
	Segment        string    `json:"segment,omitempty"`
	SegmentVersion uint64    `json:"segment_version,omitempty"`
	Tier           string    `json:"tier,omitempty"`
	Campaign       string    `json:"campaign,omitempty"`
	Batch          string    `json:"batch,omitempty"`
	Source         string    `json:"source,omitempty"`
	Provider       string    `json:"provider"`
}

// ComplaintQuery selects cases, the newest first.
type ComplaintQuery struct {
	Status  string // open, closed, overdue; "" = all
	Segment string
	Before  uint64 // only cases of a lower number; 0 = all
	Limit   int    // 0 = 100
}

// ComplaintClose ends a case.
type ComplaintClose struct {
	ID   uint64 `json:"-"`
	Note string `json:"note"` // what was done
}

// ComplaintRate is what a segment's complaints are to its deliveries.
type ComplaintRate struct {
	Segment    string  `json:"segment"`    // "" = mail without a segment
	Complaints uint64  `json:"complaints"` // from providers that report
	Delivered  uint64  `json:"delivered"`  // to providers that report
	Elsewhere  uint64  `json:"elsewhere"`  // delivered to others: complaints there are unknown
	Known      bool    `json:"known"`      // false: nothing was delivered where complaints are reported
	Share      float64 `json:"share"`
	Low        float64 `json:"low"` // 95 % interval
	High       float64 `json:"high"`
}

// TokenKeys implements [Methods].
func (c *Client) TokenKeys(ctx context.Context) (TokenKeys, error) {
	return get[TokenKeys](ctx, c, "/api/v1/tokens", nil)
}

// RotateTokens implements [Methods].
func (c *Client) RotateTokens(ctx context.Context) (TokenKeys, error) {
	return fetch[TokenKeys](ctx, c, call{method: http.MethodPost, path: "/api/v1/tokens/rotate"})
}

// Feedback implements [Methods].
func (c *Client) Feedback(ctx context.Context, f Feedback) (FeedbackTaken, error) {
	return fetch[FeedbackTaken](ctx, c, call{method: http.MethodPost, path: "/api/v1/feedback", json: f})
}

// Complaints implements [Methods].
func (c *Client) Complaints(ctx context.Context, q ComplaintQuery) ([]Complaint, error) {
	v := make(url.Values)
	setParam(v, "status", q.Status)
	setParam(v, "segment", q.Segment)
	if q.Before != 0 {
		v.Set("before", strconv.FormatUint(q.Before, 10))
	}
	if q.Limit != 0 {
		v.Set("limit", strconv.Itoa(q.Limit))
	}
	return get[[]Complaint](ctx, c, "/api/v1/complaints", v)
}

func complaintPath(id uint64) string { return "/api/v1/complaints/" + strconv.FormatUint(id, 10) }

// Complaint implements [Methods].
func (c *Client) Complaint(ctx context.Context, id uint64) (Complaint, error) {
	return get[Complaint](ctx, c, complaintPath(id), nil)
}

// CloseComplaint implements [Methods].
func (c *Client) CloseComplaint(ctx context.Context, x ComplaintClose) (Complaint, error) {
	return fetch[Complaint](ctx, c, call{method: http.MethodPost, path: complaintPath(x.ID) + "/close", json: x})
}

// ComplaintReport implements [Methods].
func (c *Client) ComplaintReport(ctx context.Context, days int) ([]ComplaintRate, error) {
	v := make(url.Values)
	if days != 0 {
		v.Set("days", strconv.Itoa(days))
	}
	return get[[]ComplaintRate](ctx, c, "/api/v1/complaints/report", v)
}
