// SPDX-License-Identifier: Apache-2.0

package track

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"strconv"
	"time"

	"github.com/seguemta/segue/mta/api"
)

const (
	// retryAfter is when a client may come again that could not be served: a full disk
	// or a busy engine is seldom better at once.
	retryAfter = 5 * time.Second
	// sendTimeout is for an answer.
	sendTimeout = 30 * time.Second
	// sayEvery bounds the lines about a store that fails: it fails for everyone.
	sayEvery = time.Minute
)

// rejection is one event that was not taken, as the client reads it.
type rejection struct {
	Index     int    `json:"index"` // in the batch
	MessageID string `json:"messageId,omitempty"`
	Code      string `json:"code"`
	Reason    string `json:"reason"`
}

// faulty names an event that the Ingester did not see.
func faulty(i int, it item, f *EventError) rejection {
	id, _ := it.id.(string)
	if runes := []rune(id); len(runes) > maxMessageID {
		id = string(runes[:maxMessageID])
	}
	return rejection{Index: i, MessageID: id, Code: f.Code, Reason: f.Reason}
}

// refusedBy names an event that the Ingester did not take.
func refusedBy(i int, c *Call, err error) rejection {
	r := rejection{Index: i, MessageID: c.MessageID, Code: rejected, Reason: err.Error()}
	if f, ok := errors.AsType[*EventError](err); ok {
		r.Code, r.Reason = f.Code, f.Reason
	}
	return r
}

// again asks a client to send the same once more.
type again struct {
	status int
	wait   time.Duration
	title  string
	detail string
}

// Error implements error.
func (a *again) Error() string { return a.title + ": " + a.detail }

// busy is the answer while nothing can be stored.
func busy(detail string) error {
	return &again{status: http.StatusServiceUnavailable, wait: retryAfter, title: "cannot store events now", detail: detail + ": nothing of this request was applied for certain, send it again"}
}

// tooMany is the answer to a key that sends more than it may.
func tooMany(name string, wait time.Duration) error {
	return &again{status: http.StatusTooManyRequests, wait: wait, title: "too many events", detail: fmt.Sprintf("the write key %q may send no more for now", name)}
}

func unauthorized() error {
	return api.Problem(http.StatusUnauthorized, "write key needed", "send a write key of this engine as the user of Basic authentication, or as writeKey in the body")
}

// succeed says which events were not taken.
func (v *visit) succeed(list []rejection) {
	slices.SortFunc(list, func(a, b rejection) int { return cmp.Compare(a.Index, b.Index) })
	v.send(http.StatusOK, "application/json", struct {
		Success  bool        `json:"success"`
		Rejected []rejection `json:"rejected"`
	}{true, list})
}

// fail sends a problem document (RFC 9457).
func (v *visit) fail(err error) {
	var problem *api.Error
	if a, ok := errors.AsType[*again](err); ok {
		// The browser library reads both headers as seconds from now; @segment/analytics-node
		// looks for a header where fetch has none, and waits by a rule of its own.
		seconds := strconv.Itoa(int((a.wait + time.Second - 1) / time.Second))
		v.w.Header().Set("Retry-After", seconds)
		if a.status == http.StatusTooManyRequests {
			v.w.Header().Set("X-RateLimit-Reset", seconds)
		}
		problem = api.Problem(a.status, a.title, a.detail)
	} else if !errors.As(err, &problem) {
		problem = api.Problem(http.StatusInternalServerError, "internal error", "the engine's log says more")
		v.o.Logger.Error("a tracking request failed", slog.Any("error", err))
	}
	if problem.Status == http.StatusUnauthorized {
		v.w.Header().Set("WWW-Authenticate", `Basic realm="segue"`)
	}
	v.send(problem.Status, "application/problem+json", problem)
}

func (v *visit) send(status int, mediaType string, out any) {
	text, err := json.Marshal(out)
	if err != nil { // neither form has anything that cannot be written
		status, text = http.StatusInternalServerError, []byte("{}")
	}
	v.metrics.answered(status, time.Since(v.since))
	_ = http.NewResponseController(v.w).SetWriteDeadline(time.Now().Add(sendTimeout)) // not every connection has deadlines
	v.w.Header().Set("Content-Type", mediaType)
	v.w.WriteHeader(status)
	if _, err := v.w.Write(append(text, '\n')); err != nil {
		v.o.Logger.Debug("sending an answer failed", slog.Any("error", err))
	}
}

// say logs that events could not be stored, now and then.
func (s *server) say(err error) {
	now, last := time.Now().UnixNano(), s.said.Load()
	if now-last >= int64(sayEvery) && s.said.CompareAndSwap(last, now) {
		s.o.Logger.Error("events of the tracking API cannot be stored, clients are told to send them again", slog.Any("error", err))
	}
}
