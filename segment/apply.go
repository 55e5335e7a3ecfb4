// SPDX-License-Identifier: Apache-2.0

package segment

import (
	"context"
	"encoding/hex"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/seguemta/segue/mta/event"
	"github.com/seguemta/segue/mta/rfc5321"
	"github.com/seguemta/segue/segment/store"
)

// applyBatch is the most events of one commit: enough to share a sync between
// thousands, few enough to keep the writer free for others.
const applyBatch = 4096

// Apply folds events of the queue's log into the contacts, each exactly once:
// the cursor moves in the same synced batch as the effects, and events at or
// below it are skipped, so a log may be replayed from anywhere. A new epoch (the
// queue's store was recreated) starts the count anew. Events must be in order;
// otherwise nothing of the call beyond the fault is applied and the error wraps
// [ErrOrder].
//
// accepted makes a contact of a recipient nobody knew. delivered counts. A
// bounce with verdict "suppress" suppresses the address altogether; those with
// verdict "count" are counted, and suppress by [SoftBounceRule]. A complaint suppresses marketing and the stream it
// is about, an unsubscription its stream. engaged counts as an answer to
// everything sent before. suppress_added and suppress_lifted are records of what
// [DB.Suppress] and [DB.Lift] already did, and change nothing here.
//
// What happened to somebody who was erased changes nothing, whenever it comes.
//
// Time is that of the event, so that a replay gives the same state.
//
// What happened to a contact's mail is also an event of the contact, under the
// names of Segment's e-mail specification; see mailEventName.
func (d *DB) Apply(ctx context.Context, epoch uint64, events []event.Event) error {
	d.write.Lock()
	defer d.write.Unlock()
	if d.write.closed {
		return errClosed
	}
	from := d.Cursor()
	if from.Epoch != epoch {
		from = event.Cursor{Epoch: epoch}
	}
	for len(events) > 0 && events[0].Sequence <= from.Sequence {
		events = events[1:]
	}
	for len(events) > 0 {
		if err := ctx.Err(); err != nil {
			return err
		}
		n := min(len(events), applyBatch)
		next, err := d.applySome(from, events[:n])
		if err != nil {
			return err
		}
		from, events = next, events[n:]
	}
	return nil
}

// applySome applies events that all lie behind the cursor, in one commit.
func (d *DB) applySome(from event.Cursor, events []event.Event) (event.Cursor, error) {
	t := d.begin()
	defer t.close()
	t.epoch = from.Epoch
	kept, err := t.watch(events)
	if err != nil {
		return from, err
	}
	for i := range events {
		e := &events[i]
		if e.Sequence <= from.Sequence {
			return from, fmt.Errorf("%w: %d after %d", ErrOrder, e.Sequence, from.Sequence)
		}
		if err := t.apply(e); err != nil {
			return from, fmt.Errorf("applying event %d: %w", e.Sequence, err)
		}
		from.Sequence = e.Sequence
	}
	last := events[len(events)-1].Time
	t.b.Cursor(consumer, store.Cursor{Epoch: from.Epoch, Sequence: from.Sequence, Time: last})
	if err := t.commit(); err != nil {
		return from, err
	}
	kept()
	d.metrics.events.Add(float64(len(events)))
	d.place.Lock()
	d.place.cursor = from
	d.place.Unlock()
	return from, nil
}

// concerns reports whether an event can change a contact at all.
func concerns(e *event.Event) bool {
	switch e.Kind {
	case event.Accepted, event.Delivered, event.Complained, event.Unsubscribed, event.Engaged, event.Bounced, event.DSN:
		return true
	case event.Deferred:
		return e.Verdict == verdictCount
	case event.Expired:
		return e.Reason != unsent
	default:
		return false
	}
}

// unsent is the reason of mail that expired before any attempt.
const unsent = "unsent"

// Verdicts that change a contact.
const (
	verdictSuppress = "suppress"
	verdictCount    = "count"
)

// apply folds one event.
func (t *tx) apply(e *event.Event) error {
	if e.Kind == event.Unsubscribed && e.Address == "" && e.Hash != "" {
		return t.unsubscribeHash(e)
	}
	if !concerns(e) || e.Address == "" && e.Message != 0 { // about somebody who was erased
		return nil
	}
	t.result(e)
	addr, err := rfc5321.ParseAddress(e.Address)
	if err != nil {
		t.d.metrics.strange.Inc()
		t.d.log.Warn("event has no usable address", slog.Uint64("sequence", e.Sequence), slog.String("kind", string(e.Kind)))
		return nil
	}
	k := addr.Key()
	if t.d.forgotten(k, e.Time) {
		return nil
	}
	id, err := t.find(e.Contact, k)
	if err != nil {
		return err
	}
	switch e.Kind {
	case event.Accepted, event.Delivered, event.Engaged:
		if id == 0 {
			if id, err = t.create(addr, store.Contact{Created: e.Time, Source: sourceMail}); err != nil {
				return err
			}
		}
	default:
	}
	if id != 0 {
		t.softBounce(id, e)
	}
	if e.Kind == event.Deferred || e.Kind == event.Expired {
		return nil
	}
	if id != 0 {
		t.causes[id] = string(e.Kind)
	}
	switch {
	case id == 0 || e.Kind == event.Unsubscribed:
	case e.Kind == event.Accepted:
		t.admitted(id, k, e)
	default:
		t.count(id, k, e)
	}
	t.feedback(id, k, e)
	if id == 0 {
		return nil
	}
	if e.Kind == event.Delivered {
		t.learnDelivery(addr.Domain, e.Time)
	}
	return t.mailEvent(id, e)
}

// admitted notes a change of tier that came between the look of admission and the
// event of the mail. Who follows the flips may have gone by when the mail was not
// queued yet, and where an import made the contact in between there was no flip at all.
func (t *tx) admitted(id uint64, addressKey string, e *event.Event) {
	st, now := t.peek(id), t.d.settled()
	is := t.d.tiers.Of(history(&st), now).String()
	if e.Tier == "" || e.Tier == is {
		return
	}
	t.flip(store.Flip{Time: now, Contact: id, Address: addressKey, Kind: FlipTier, From: e.Tier, To: is, Cause: string(e.Kind)})
}

// count folds an event into a contact's state and notes a change of tier.
func (t *tx) count(id uint64, addressKey string, e *event.Event) {
	if (e.Kind == event.Bounced || e.Kind == event.DSN) && e.Verdict != verdictSuppress && e.Verdict != verdictCount {
		return
	}
	st := t.state(id)
	before := t.d.tiers.Of(history(st), e.Time)
	fold(st, e)
	if after := t.d.tiers.Of(history(st), e.Time); after != before {
		t.flip(store.Flip{
			Time: e.Time, Contact: id, Address: addressKey, Kind: FlipTier,
			From: before.String(), To: after.String(), Cause: string(e.Kind),
		})
		t.told[id] = after
	}
}

// fold is the pure effect of one event on one state.
func fold(st *store.State, e *event.Event) {
	at := seconds(e.Time)
	switch e.Kind {
	case event.Delivered:
		st.Sends++
		if at > st.LastEngaged || st.LastEngaged == 0 {
			st.Since++
		}
		if st.FirstSent == 0 || at < st.FirstSent {
			st.FirstSent = at
		}
		st.LastSent = max(st.LastSent, at)
	case event.Bounced, event.DSN:
		if e.Verdict == verdictCount {
			st.SoftBounces++
		}
	case event.Complained:
		st.Complaints++
	case event.Engaged:
		engaged(st, at)
	default:
	}
}

// engaged is the effect of a sign of life.
func engaged(st *store.State, at uint32) {
	if at >= st.LastEngaged {
		st.LastEngaged = at
		st.Since = 0
		st.SoftBounces = 0
	}
}

// feedback adds the suppressions that an event calls for.
func (t *tx) feedback(id uint64, addressKey string, e *event.Event) {
	var scopes []string
	var reason string
	switch e.Kind {
	case event.Bounced, event.DSN:
		if e.Verdict != verdictSuppress {
			return
		}
		scopes, reason = []string{ScopeAll}, ReasonHardBounce
	case event.Complained:
		scopes, reason = []string{StreamScope(marketing)}, ReasonComplaint
		if e.Stream != "" && e.Stream != marketing {
			scopes = append(scopes, StreamScope(e.Stream))
		}
	case event.Unsubscribed:
		scopes, reason = []string{unsubscribedFrom(e)}, ReasonUnsubscribe
	default:
		return
	}
	h := t.d.hashes.Address(addressKey)
	for _, s := range scopes {
		x := store.Suppression{
			Hash: h, Scope: s, Address: addressKey, Reason: reason,
			Source: SourceEvent, Evidence: evidence(e), Created: e.Time,
		}
		if reason == ReasonHardBounce {
			x.Provider = e.Provider
			if doubt, ok := t.doubts[e.Sequence]; ok {
				provisional(&x, doubt)
			}
		}
		t.addSuppression(x, id, e.Time)
	}
}

// unsubscribedFrom is the scope that an unsubscribe is about.
func unsubscribedFrom(e *event.Event) string {
	if scope, err := parseScope(e.Scope); err == nil {
		return scope
	}
	return StreamScope(orElse(e.Stream, marketing))
}

// unsubscribeHash suppresses an address of which nothing is known but the head of
// its hash: the link in a mail that is long forgotten.
func (t *tx) unsubscribeHash(e *event.Event) error {
	var h store.Hash
	if n, err := hex.Decode(h[:], []byte(e.Hash[:min(len(e.Hash), 2*len(store.Head{}))])); err != nil || n != len(store.Head{}) {
		t.d.metrics.strange.Inc()
		t.d.log.Warn("event has no usable hash", slog.Uint64("sequence", e.Sequence), slog.String("kind", string(e.Kind)))
		return nil
	}
	t.addSuppression(store.Suppression{
		Hash: h, Scope: unsubscribedFrom(e), Reason: ReasonUnsubscribe,
		Source: SourceEvent, Evidence: evidence(e), Created: e.Time,
	}, 0, e.Time)
	return nil
}

// evidence is what a person later reads to understand a suppression.
func evidence(e *event.Event) string {
	text := fmt.Sprintf("%s, message %s.%d", e.Kind, messageID(e), e.Recipient)
	if e.Code != 0 {
		text += fmt.Sprintf(": %d %s", e.Code, e.Enhanced)
	} else if e.Enhanced != "" {
		text += ": " + e.Enhanced
	}
	if e.Reply != "" {
		text += " " + e.Reply
	}
	return bounded(text)
}

// bounded cuts evidence to what is kept of it.
func bounded(text string) string {
	if len(text) > maxEvidence {
		text = strings.ToValidUTF8(text[:maxEvidence], "")
	}
	return text
}

// maxEvidence bounds what a stranger's server can make us store, in bytes.
const maxEvidence = 512

// Cursor is the place of this database in the queue's event log.
func (d *DB) Cursor() event.Cursor {
	d.place.Lock()
	defer d.place.Unlock()
	return d.place.cursor
}

// Lag is for how long contacts have been behind a log whose last durable event
// is head: 0 when nothing is missing, else the age of the first event that is.
// first returns when the first event behind a sequence happened; it is called once
// for each place where contacts are found behind. Marketing waits while the lag is
// above 30 s.
func (d *DB) Lag(head event.Cursor, now time.Time, first func(behind uint64) (time.Time, error)) (time.Duration, error) {
	d.place.Lock()
	defer d.place.Unlock()
	p := &d.place
	if head.Sequence == 0 || head.Epoch == p.cursor.Epoch && head.Sequence <= p.cursor.Sequence {
		return 0, nil
	}
	at := event.Cursor{Epoch: head.Epoch}
	if head.Epoch == p.cursor.Epoch {
		at.Sequence = p.cursor.Sequence
	}
	if p.missing != at || p.since.IsZero() {
		since, err := first(at.Sequence)
		if err != nil {
			return 0, fmt.Errorf("reading what contacts are behind: %w", err)
		}
		p.missing, p.since = at, since
	}
	if now.Before(p.since) {
		p.since = now // the clock was set back: nobody can be behind for less than no time
	}
	return now.Sub(p.since), nil
}
