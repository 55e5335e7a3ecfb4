// SPDX-License-Identifier: Apache-2.0

package api

import (
	"context"
	"encoding/json"
	"net/http"
	"time"
)

// Provider is a provider, what is allowed there when nothing is wrong, and what each
// source may do there now.
type Provider struct {
	Name    string       `json:"name"` // other = all sites without one
	Normal  ProviderRate `json:"normal"`
	Reports bool         `json:"reports_complaints"`
	Sources []Limit      `json:"sources"` // all of them, in the order of the configuration
}

// ProviderRate is what a source may do at a provider.
type ProviderRate struct {
	Rate          float64 `json:"rate"` // recipients a second; 0 = without limit
	Connections   int     `json:"connections"`
	PerConnection int     `json:"per_connection"`
	Text          string  `json:"text"` // all of them, for people
}

// Limit is what is in force of a source at a provider.
type Limit struct {
	Source        string    `json:"source"`
	State         string    `json:"state"`             // normal | slowed | suspended | pinned
	Text          string    `json:"text"`              // what is in force, for people
	Rule          string    `json:"rule,omitempty"`    // that set it; pin for an operator's
	Until         time.Time `json:"until,omitzero"`    // suspended: its end; slowed: the next step upward
	Strikes       int       `json:"strikes,omitempty"` // suspensions in a row
	Suspended     bool      `json:"suspended,omitempty"`
	Rate          float64   `json:"rate,omitempty"` // recipients a second; 0 = the normal one
	Connections   int       `json:"connections,omitempty"`
	PerConnection int       `json:"per_connection,omitempty"`

	Pin     *Pin        `json:"pin,omitempty"`
	Lanes   []LaneLimit `json:"lanes,omitempty"`   // suspended lanes and segments
	Matches []Matches   `json:"matches,omitempty"` // replies that rules have counted and not acted on yet
	Acts    []LimitAct  `json:"acts"`              // the last ones, oldest first
}

// LimitAct is one change of limits: by a rule, by time, or by an operator.
type LimitAct struct {
	Act      string          `json:"act"` // slow | suspend | alert | resume | raise | recovered | pinned | unpinned | cancelled
	Time     time.Time       `json:"time"`
	Text     string          `json:"text"`               // all of it on one line
	Undo     string          `json:"undo,omitempty"`     // the command that undoes it
	Evidence json.RawMessage `json:"evidence,omitempty"` // rule, pattern, reply, count, window, limits from then on
}

// Pin is the fixed value of an operator.
type Pin struct {
	By     string    `json:"by"`
	Reason string    `json:"reason,omitempty"`
	At     time.Time `json:"at"`
}

// LaneLimit is a lane or a segment whose mail waits at the provider.
type LaneLimit struct {
	Target  string    `json:"target"` // lane | segment
	Name    string    `json:"name"`
	Rule    string    `json:"rule"`
	Strikes int       `json:"strikes"`
	Until   time.Time `json:"until"`
}

// Matches are the replies that a rule counts at present.
type Matches struct {
	Rule string    `json:"rule"`
	Of   string    `json:"of"` // source, "segment NAME" or "lane NAME"
	N    int       `json:"count"`
	Last time.Time `json:"last"`
}

// LimitCancel ends what rules have done to a source at a provider, or the suspension
// of one lane or segment there.
type LimitCancel struct {
	Provider string `json:"provider,omitempty"`
	Source   string `json:"source,omitempty"` // "" = all that have limits there
	Lane     string `json:"lane,omitempty"`
	Segment  string `json:"segment,omitempty"`
	By       string `json:"by,omitempty"` // who
}

// LimitPin holds a fixed value of a source at a provider, which no rule changes; Off
// gives it back to the rules.
type LimitPin struct {
	Provider      string  `json:"provider,omitempty"`
	Source        string  `json:"source"`
	Rate          float64 `json:"rate,omitempty"` // recipients a second; 0 = the normal one
	Connections   int     `json:"connections,omitempty"`
	PerConnection int     `json:"per_connection,omitempty"`
	Suspend       bool    `json:"suspend,omitempty"`
	Off           bool    `json:"off,omitempty"`
	By            string  `json:"by,omitempty"`     // who
	Reason        string  `json:"reason,omitempty"` // why
}

// LimitActs are what an order changed.
type LimitActs struct {
	Acts []LimitAct `json:"acts"`
}

// ThrottleRules is what was read.
type ThrottleRules struct {
	File  string `json:"file,omitempty"` // of the operator; "" = none is named
	Rules int    `json:"rules"`          // built-in ones included
}

// Providers implements [Methods].
func (c *Client) Providers(ctx context.Context) ([]Provider, error) {
	return get[[]Provider](ctx, c, "/api/v1/providers", nil)
}

// Provider implements [Methods].
func (c *Client) Provider(ctx context.Context, name string) (Provider, error) {
	path, err := named("/api/v1/providers/", name)
	if err != nil {
		return Provider{}, err
	}
	return get[Provider](ctx, c, path, nil)
}

// CancelLimits implements [Methods].
func (c *Client) CancelLimits(ctx context.Context, x LimitCancel) (LimitActs, error) {
	path, err := named("/api/v1/providers/", x.Provider)
	if err != nil {
		return LimitActs{}, err
	}
	return fetch[LimitActs](ctx, c, call{method: http.MethodPost, path: path + "/cancel", json: x})
}

// PinLimits implements [Methods].
func (c *Client) PinLimits(ctx context.Context, x LimitPin) (LimitActs, error) {
	path, err := named("/api/v1/providers/", x.Provider)
	if err != nil {
		return LimitActs{}, err
	}
	return fetch[LimitActs](ctx, c, call{method: http.MethodPost, path: path + "/pin", json: x})
}

// ReloadThrottleRules implements [Methods].
func (c *Client) ReloadThrottleRules(ctx context.Context) (ThrottleRules, error) {
	return fetch[ThrottleRules](ctx, c, call{method: http.MethodPost, path: "/api/v1/throttle/reload"})
}
