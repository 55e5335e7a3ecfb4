// SPDX-License-Identifier: Apache-2.0

package track

import (
	"strings"
	"time"
)

// maxAge is how old an event may be: what is older was stamped by a clock that
// was never set.
const maxAge = 20 * 365 * 24 * time.Hour

// when is the time of an event.
type when struct {
	at   time.Time // by our clock
	said bool      // the client gave one
}

// time says when an event happened. A client's clock may be wrong by years, and
// two readings of it are still as far apart as they were:
//
//	time = received - (sentAt - timestamp)
//
// Without sentAt the timestamp is believed. Nothing happens after it was received.
func (r *reader) time(b *batchOf) when {
	key := "timestamp"
	if r.fields[key] == nil {
		key = "originalTimestamp" // of RudderStack's clients
	}
	if r.fields[key] == nil {
		return when{at: b.received}
	}
	at, ok := parseTime(r.fields[key])
	if !ok {
		r.fail("bad_timestamp", "%s is a time of ISO 8601 with its zone, such as 2026-11-26T14:29:20.123Z", key)
		return when{at: b.received}
	}
	sent, ok := parseTime(b.sentAt)
	if !ok {
		sent, ok = parseTime(r.fields["sentAt"])
	}
	if ok {
		at = b.received.Add(at.Sub(sent)) // Sub is bounded by 292 years
	}
	if at.After(b.received) {
		at = b.received
	}
	if at.Before(b.received.Add(-maxAge)) {
		r.fail("bad_timestamp", "%s is more than 20 years ago", key)
	}
	return when{at: at, said: true}
}

// parseTime reads a time of ISO 8601 as clients of many languages write it: with T
// or a space, with any fraction, and with a zone as Z, +01:00 or +0100.
func parseTime(v any) (time.Time, bool) {
	text, ok := v.(string)
	if !ok || len(text) > 40 {
		return time.Time{}, false
	}
	text = strings.Replace(strings.TrimSpace(text), " ", "T", 1)
	for _, layout := range []string{time.RFC3339Nano, "2006-01-02T15:04:05.999999999Z0700", "2006-01-02T15:04Z07:00"} {
		if t, err := time.Parse(layout, text); err == nil {
			return t.UTC(), true
		}
	}
	return time.Time{}, false
}
