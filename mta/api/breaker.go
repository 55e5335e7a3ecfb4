// SPDX-License-Identifier: Apache-2.0

package api

import (
	"context"
	"net/http"
	"time"
)

// BreakerAct holds or lets go the marketing mail of a segment, an import batch or a
// campaign by hand.
type BreakerAct struct {
	// hold: its mail waits. release: whatever holds it ends, and what is sent from now on is
	// judged anew. override: it goes whatever the evidence is.
	Action string    `json:"action"`
	Kind   string    `json:"kind"` // segment | batch | campaign
	Name   string    `json:"name"`
	Until  time.Time `json:"until,omitzero"`   // hold, override; zero = until it is released
	By     string    `json:"by,omitempty"`     // who
	Reason string    `json:"reason,omitempty"` // why
}

// BreakerActed is what became of the cohort.
type BreakerActed struct {
	Text string `json:"text"`           // on one line
	Undo string `json:"undo,omitempty"` // the command that lets its mail go
}

// SteerBreaker implements [Methods].
func (c *Client) SteerBreaker(ctx context.Context, act BreakerAct) (BreakerActed, error) {
	return fetch[BreakerActed](ctx, c, call{method: http.MethodPost, path: "/api/v1/breakers", json: act})
}
