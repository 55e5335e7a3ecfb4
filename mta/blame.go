// SPDX-License-Identifier: Apache-2.0

package mta

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/seguemta/segue/mta/event"
	"github.com/seguemta/segue/mta/inbound"
	"github.com/seguemta/segue/mta/rfc5321"
	"github.com/seguemta/segue/mta/rfc5322"
	"github.com/seguemta/segue/queue/store"
	"github.com/seguemta/segue/reputation/bounce"
)

// references are what may be a reference of ours in a message that came back:
// X-Segue-Ref, the CFBL-Feedback-ID of RFC 9477, and the parts of a Feedback-ID.
func references(h rfc5322.Header) []string {
	list := append(h.Values("X-Segue-Ref"), h.Values("CFBL-Feedback-ID")...)
	for _, id := range h.Values("Feedback-ID") {
		list = append(list, strings.Split(id, ":")...)
	}
	return list
}

// transaction is the delivered recipients of one, who share one token. Marketing
// mail has one recipient in each.
type transaction map[store.ID]store.Sent

// group looks the recipients of a token up. Feedback can be quicker than the conclusion
// of its message: it is asked to come again.
func (f *feedback) group(token store.ID) (transaction, error) {
	g, err := f.delivered(token)
	if err != nil || len(g) > 0 {
		return g, err
	}
	if _, err := f.mail.Message(token.Message); err == nil {
		return nil, fmt.Errorf("feedback about %s, which is still in the queue", token)
	}
	// It may have left the queue between the two looks.
	if g, err = f.delivered(token); err != nil || len(g) > 0 {
		return g, err
	}
	return nil, &unresolved{inbound.Expired, token.String() + " is not in the sent index, or was delivered too long ago"}
}

// delivered reads the sent index as far as it counts.
func (f *feedback) delivered(token store.ID) (transaction, error) {
	g := transaction{}
	oldest := f.now().Add(-f.kept)
	own, err := f.mail.SentRecord(token)
	switch {
	case errors.Is(err, store.ErrNotFound):
	case err != nil:
		return nil, err
	case !f.shared(own.Stream):
		if own.Time.After(oldest) {
			g[token] = own
		}
		return g, nil
	}
	// The recipient itself may have been refused, and others not.
	all, err := f.mail.SentOf(token.Message)
	for id, s := range all {
		if s.Token == token.Recipient && s.Time.After(oldest) {
			g[id] = s
		}
	}
	return g, err
}

// expired reports a token of ours that is about nothing any more. It is not where the
// store cannot tell: whoever takes the mail finds out.
func (f *feedback) expired(token store.ID) bool {
	_, err := f.group(token)
	u, ok := errors.AsType[*unresolved](err)
	return ok && u.reason == inbound.Expired
}

// culprit is whom a report is about.
type culprit struct {
	id     store.ID
	sent   store.Sent
	named  bool // the report names its address
	nobody bool // it is one of several, and nobody knows which
	of     int  // how many
}

// whom is the recipient that one of the addresses names. Where none is named and the
// token is one recipient's alone, it is that one.
func (g transaction) whom(addresses ...string) culprit {
	ids := slices.SortedFunc(maps.Keys(g), func(a, b store.ID) int { return int(a.Recipient) - int(b.Recipient) })
	for _, a := range addresses {
		for _, id := range ids {
			if same(g[id].Address, a) {
				return culprit{id: id, sent: g[id], named: true, of: len(g)}
			}
		}
	}
	return culprit{id: ids[0], sent: g[ids[0]], nobody: len(g) > 1, of: len(g)}
}

// culprits are the recipients that a report names, each once; where it names none, what
// whom says of that.
func (g transaction) culprits(addresses []string) []culprit {
	var list []culprit
	for _, a := range addresses {
		c := g.whom(a)
		if c.named && !slices.ContainsFunc(list, func(x culprit) bool { return x.id == c.id }) {
			list = append(list, c)
		}
	}
	if len(list) == 0 {
		list = append(list, g.whom())
	}
	return list
}

func same(address, reported string) bool {
	a, err := rfc5321.ParseAddress(address)
	b, bad := rfc5321.ParseAddress(reported)
	return err == nil && bad == nil && a.Key() == b.Key()
}

// fact is one thing that feedback says about one recipient.
type fact struct {
	id    store.ID
	event event.Event
	asks  store.Heard // what was heard of it before makes it a repetition
	marks store.Heard
}

// fact begins one. An event about one of several names none of them: nobody is blamed,
// and their common lane is.
func (f *feedback) fact(token store.ID, c culprit, kind event.Kind) fact {
	x := fact{id: c.id, event: about(c.id, c.sent, kind)}
	if c.nobody {
		x.event.Recipient, x.event.Address, x.event.Contact, x.event.Batch = token.Recipient, "", 0, ""
	}
	return x
}

// reported is the fact of a report about one recipient.
func (f *feedback) reported(token store.ID, c culprit, kind event.Kind, heard store.Heard, reason string) fact {
	x := f.fact(token, c, kind)
	x.event.Reason = reason
	x.asks, x.marks = heard, heard
	if c.nobody {
		x.asks, x.marks = store.HeardUnnamed, store.HeardUnnamed
	}
	return x
}

// failed is the fact of one failed recipient of a notification.
func (f *feedback) failed(token store.ID, c culprit, reply rfc5321.Reply) fact {
	x := f.fact(token, c, event.DSN)
	e := &x.event
	res := f.table.Classify(c.sent.Provider, reply)
	said(e, reply, res)
	x.asks, x.marks = store.HeardBounce, store.HeardBounce
	switch {
	case c.nobody:
		e.Verdict, e.Reason = string(bounce.Ignore), fmt.Sprintf("the notification names none of the %d recipients of its transaction", c.of)
		x.asks, x.marks = store.HeardUnnamed, store.HeardUnnamed
	case res.Verdict != bounce.Suppress:
	case c.named:
		x.asks, x.marks = store.HeardHardBounce, store.HeardHardBounce|store.HeardBounce
	default:
		// Somebody behind an alias or a list is gone, not our recipient.
		e.Verdict, e.Reason = string(bounce.Count), "the notification is about another address"
	}
	return x
}

// answered is the fact that a program answered for a recipient. Nothing failed: a bounce
// that comes later is no repetition of it.
func (f *feedback) answered(token store.ID, c culprit, reply rfc5321.Reply) fact {
	x := f.fact(token, c, event.DSN)
	said(&x.event, reply, bounce.AutoReplied())
	x.asks, x.marks = store.HeardAnswer, store.HeardAnswer
	return x
}

// said puts a reply and what it means into an event.
func said(e *event.Event, reply rfc5321.Reply, res bounce.Result) {
	e.Code, e.Enhanced, e.Reply = reply.Code, reply.Enhanced.String(), reply.Text
	e.Class, e.Verdict, e.Subject = string(res.Class), string(res.Verdict), string(res.Subject)
}

// about is an event about a recipient that was delivered.
func about(id store.ID, s store.Sent, kind event.Kind) event.Event {
	_, domain, _ := strings.Cut(s.Address, "@")
	return event.Event{
		Kind: kind, Message: id.Message, Recipient: id.Recipient, Address: s.Address, Contact: s.Contact, Stream: s.Stream,
		Segment: s.Segment, SegmentVersion: s.SegmentVersion, Tier: s.Tier, Pool: s.Pool, Campaign: s.Campaign, Batch: s.Batch,
		Source: s.Source, Provider: s.Provider, Domain: domain,
	}
}

// commit makes facts durable, each once: what was heard is written beside its event. once
// is a name that whoever reports gave the report, "" = none: under a name that was used
// nothing is taken. It returns how many facts were new.
func (f *feedback) commit(ctx context.Context, facts []fact, once string) (int, error) {
	if len(facts) == 0 {
		return 0, nil
	}
	now := f.now()
	for i := range facts {
		facts[i].event.Time = now
		f.redact(&facts[i].event) // the log learns no address anew that was erased
	}
	var fresh []*fact
	err := f.mail.Commit(ctx, func(tx *store.Tx) error {
		fresh = nil
		records := make(map[store.ID]store.Sent)
		for i := range facts {
			x := &facts[i]
			s, ok := records[x.id]
			if !ok {
				var err error
				if s, err = tx.SentRecord(x.id); err != nil {
					return fmt.Errorf("reading what was sent to %s: %w", x.id, err)
				}
			}
			if s.Heard&x.asks == 0 {
				s.Heard |= x.marks
				records[x.id] = s
				fresh = append(fresh, x)
			}
		}
		for id, s := range records {
			tx.Sent(id, &s)
		}
		for _, x := range fresh {
			tx.Event(&x.event)
		}
		if once != "" {
			tx.PutState(once, fmt.Appendf(nil, "%d", now.Unix()))
		}
		return nil
	})
	if err != nil {
		return 0, err
	}
	for i := range facts {
		if x := &facts[i]; !slices.Contains(fresh, x) {
			f.repeated.WithLabelValues(string(x.event.Kind)).Inc()
		}
	}
	return len(fresh), nil
}
