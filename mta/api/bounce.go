// SPDX-License-Identifier: Apache-2.0

package api

import (
	"context"
	"net/http"
	"net/url"
	"time"
)

// BounceRules is what was read.
type BounceRules struct {
	File  string `json:"file,omitempty"` // of the operator; "" = none is named
	Rules int    `json:"rules"`          // built-in ones included
}

// Reply is an SMTP reply to classify by hand.
type Reply struct {
	Provider string // "" = other
	Text     string // code, enhanced code if any, text
}

// Classified is what a reply means.
type Classified struct {
	Class   string `json:"class"`
	Verdict string `json:"verdict"`           // suppress | count | reputation | infrastructure | ignore
	Subject string `json:"subject,omitempty"` // of reputation: ip | domain | content
	Rule    string `json:"rule"`              // that it goes to; 4xx, 5xx or none where there is none
}

// Undo selects suppressions that were a provider's error: those for hard bounces
// there, in a span of time.
type Undo struct {
	Provider string    `json:"provider"` // other = all without a name
	Since    time.Time `json:"since"`
	Until    time.Time `json:"until"`
	Reason   string    `json:"reason"` // why, for the record
	DryRun   bool      `json:"dry_run,omitempty"`
}

// Undone is what an [Undo] did, or would do.
type Undone struct {
	Lifted int  `json:"lifted"` // or would be, of a dry run
	DryRun bool `json:"dry_run,omitempty"`
}

// ReloadBounceRules implements [Methods].
func (c *Client) ReloadBounceRules(ctx context.Context) (BounceRules, error) {
	return fetch[BounceRules](ctx, c, call{method: http.MethodPost, path: "/api/v1/bounce/reload"})
}

// ClassifyReply implements [Methods].
func (c *Client) ClassifyReply(ctx context.Context, q Reply) (Classified, error) {
	v := url.Values{"reply": {q.Text}}
	if q.Provider != "" {
		v.Set("provider", q.Provider)
	}
	return get[Classified](ctx, c, "/api/v1/bounce/classify", v)
}

// UndoSuppressions implements [Methods].
func (c *Client) UndoSuppressions(ctx context.Context, u Undo) (Undone, error) {
	return fetch[Undone](ctx, c, call{method: http.MethodPost, path: "/api/v1/suppressions/undo", json: u})
}
