// SPDX-License-Identifier: Apache-2.0

package mta

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"sync"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/seguemta/segue/mta/event"
	"github.com/seguemta/segue/mta/inbound"
	"github.com/seguemta/segue/mta/public"
	"github.com/seguemta/segue/mta/rfc5321"
	"github.com/seguemta/segue/mta/verp"
	"github.com/seguemta/segue/queue"
	"github.com/seguemta/segue/queue/store"
	"github.com/seguemta/segue/segment"
)

// optout makes unsubscribe tokens and does what they ask for, by mail or by a link.
type optout struct {
	mail   *store.Store
	people *segment.DB
	tokens *verp.Ring
	scopes *scopes
	redact func(*event.Event) bool

	repeated prometheus.Counter
	turn     [64]sync.Mutex // by address: of two requests one is the repetition
}

// token makes the token of a job's only recipient.
func (o *optout) token(job *queue.Job) string {
	r := &job.Recipients[0]
	return o.tokens.EncodeUnsubscribe(&verp.Subscription{
		Address: o.people.Head(r.Address), Scope: verp.Tag(scopeOf(job.Message)),
		Message: job.MessageID, Recipient: r.ID.Recipient,
	})
}

// unsubscribe does what an unsubscribe token asks for: the recipient wants no more mail
// of the stream or list that the token came with. It returns when that is durable and every
// check sees it. A token never expires: what is still known of the mail attributes the
// unsubscribe and decides nothing.
func (o *optout) unsubscribe(ctx context.Context, token string) error {
	sub, err := o.tokens.DecodeUnsubscribe(token)
	if err != nil {
		return &unresolved{reasonOf(err), err.Error()}
	}
	scope := o.scopes.of(sub.Scope)
	if scope == "" {
		return &unresolved{inbound.Unknown, "the stream or list of the token is not known here any more"}
	}
	e, err := o.event(&sub, scope)
	if err != nil {
		return err
	}
	turn := &o.turn[sub.Address[0]%byte(len(o.turn))]
	turn.Lock()
	defer turn.Unlock()
	if o.people.Unsubscribed(segment.Head(sub.Address), scope) {
		o.repeated.Inc()
		return nil
	}
	err = o.mail.Commit(ctx, func(tx *store.Tx) error {
		tx.Event(&e)
		return nil
	})
	if err != nil {
		return fmt.Errorf("writing an unsubscribe: %w", err)
	}
	// The event does the same a moment later, and after a crash. Mail that is about to
	// leave is not to slip through in between.
	return o.people.Unsubscribe(&e)
}

// event is the fact that somebody unsubscribed, with what is known of the mail.
func (o *optout) event(sub *verp.Subscription, scope string) (event.Event, error) {
	id := store.ID{Message: sub.Message, Recipient: sub.Recipient}
	e := event.Event{Kind: event.Unsubscribed, Message: id.Message, Recipient: id.Recipient}
	sent, err := o.mail.SentRecord(id)
	switch {
	case err == nil:
		e = about(id, sent, event.Unsubscribed)
	case errors.Is(err, store.ErrNotFound):
		if r, err := o.mail.Recipient(id); err == nil { // a retry: it was seen and then refused
			e.Address = r.Address.String()
		}
	default:
		return e, err
	}
	e.Scope = scope
	if a, err := rfc5321.ParseAddress(e.Address); err != nil || o.people.Head(a) != segment.Head(sub.Address) {
		// Nothing is known of the mail, or its number came again in another store.
		e = event.Event{Kind: event.Unsubscribed, Scope: scope, Hash: hex.EncodeToString(sub.Address[:])}
	}
	o.redact(&e)
	return e, nil
}

// links implements public.Tokens.
type links struct {
	o      *optout
	missed func(inbound.Kind, inbound.Reason)
}

// Check implements public.Tokens.
func (l links) Check(token string) error {
	if _, err := l.o.tokens.DecodeUnsubscribe(token); err != nil {
		return l.lost(&unresolved{reasonOf(err), err.Error()})
	}
	return nil
}

// Unsubscribe implements public.Tokens.
func (l links) Unsubscribe(ctx context.Context, token string) error {
	err := l.o.unsubscribe(ctx, token)
	if u, ok := errors.AsType[*unresolved](err); ok {
		return l.lost(u)
	}
	return err
}

// lost counts a token that is not ours.
func (l links) lost(u *unresolved) error {
	l.missed(inbound.Unsubscribe, u.reason)
	return fmt.Errorf("%w: %s", public.ErrUnknown, u.text)
}
