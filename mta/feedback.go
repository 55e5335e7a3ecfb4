// SPDX-License-Identifier: Apache-2.0

package mta

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/seguemta/segue/config"
	"github.com/seguemta/segue/mta/arf"
	"github.com/seguemta/segue/mta/dsn"
	"github.com/seguemta/segue/mta/event"
	"github.com/seguemta/segue/mta/inbound"
	"github.com/seguemta/segue/mta/rfc5321"
	"github.com/seguemta/segue/mta/rfc5322"
	"github.com/seguemta/segue/mta/smtpserver"
	"github.com/seguemta/segue/mta/verp"
	"github.com/seguemta/segue/queue/store"
	"github.com/seguemta/segue/reputation/bounce"
)

// feedback turns bounce mail and complaint reports into events. Only what
// carries a token of ours blames anybody; everything else is counted and
// changes nothing.
type feedback struct {
	mail       *store.Store
	tokens     *verp.Ring
	table      *bounce.Classifier
	shared     func(stream string) bool // whether several recipients may leave under one token
	redact     func(*event.Event) bool
	now        func() time.Time
	log        *slog.Logger
	unresolved prometheus.Counter
}

// errUnresolved says that a report names no recipient of ours.
var errUnresolved = errors.New("feedback names no recipient of ours")

func (e *Engine) newFeedbackListener(l *config.Listener, tlsConfig *tls.Config, bytes *smtpserver.Budget, log *slog.Logger) (listener, error) {
	f := &feedback{
		mail: e.mail, tokens: e.plan.secrets.tokens, table: e.plan.bounces, log: log, unresolved: e.observer.unresolved, redact: e.people.Redact, now: e.o.Now,
		shared: func(stream string) bool { return e.plan.stream(stream).Transactional },
	}
	domains := make([]string, 0, len(e.c.Domains))
	for _, d := range e.c.Domains {
		domains = append(domains, d.ReturnPath)
	}
	return inbound.New(inbound.Options{
		Hostname: e.c.Hostname, TLS: smtpserver.TLSMode(l.TLS), TLSConfig: tlsConfig, Domains: domains,
		Resolve: func(local string) bool {
			_, _, err := f.tokens.Decode(verp.ReturnPath, local)
			return err == nil
		},
		Receive: f.receive, Unresolved: func(string) { f.unresolved.Inc() },
		MaxConnections: l.MaxConnections, MaxConnectionsPerAddress: l.MaxConnectionsPerAddress, Timeouts: timeouts(l),
		Bytes: bytes, Logger: log, Registerer: e.o.Registry, Now: e.o.Now,
	})
}

// receive takes one message; nil means that its facts are durable, or that it
// states none.
func (f *feedback) receive(ctx context.Context, in *inbound.Feedback) error {
	events, err := f.read(in)
	if errors.Is(err, errUnresolved) {
		f.unresolved.Inc()
		f.log.Info("feedback without a token of ours changed nothing", slog.String("kind", string(in.Kind)))
		return nil
	}
	if err != nil || len(events) == 0 {
		return err
	}
	for i := range events {
		events[i].Time = f.now()
		f.redact(&events[i]) // the log learns no address anew that was erased
	}
	return f.mail.Commit(ctx, func(tx *store.Tx) error {
		for i := range events {
			tx.Event(&events[i])
		}
		return nil
	})
}

// read finds out what a message states about whom.
func (f *feedback) read(in *inbound.Feedback) ([]event.Event, error) {
	if report, err := arf.Parse(in.Data); err == nil {
		return f.complaint(in, &report)
	}
	if in.Kind != inbound.Bounce {
		return nil, errUnresolved
	}
	id, err := f.decode(verp.ReturnPath, in.Recipient.Local)
	if err != nil {
		return nil, err
	}
	report, err := dsn.Parse(withReturnPath(in))
	if err != nil {
		f.log.Info("mail to a return path is no delivery status notification, ignored")
		return nil, nil
	}
	return f.bounced(id, &report)
}

// withReturnPath is a message as a final delivery stores it (RFC 5321 section 4.4): the
// null sender is one of the marks of a bounce.
func withReturnPath(in *inbound.Feedback) []byte {
	if in.From.Local != "" {
		return in.Data
	}
	return append([]byte("Return-Path: <>\r\n"), in.Data...)
}

// bounced makes an event of each failed recipient of a notification.
func (f *feedback) bounced(id store.ID, report *dsn.Report) ([]event.Event, error) {
	sent, err := f.sent(id)
	if err != nil {
		return nil, err
	}
	var list []event.Event
	for _, r := range report.Recipients {
		if r.Action != dsn.Failed && r.Action != dsn.Answered && r.Action != "" {
			continue
		}
		reply := r.Reply()
		whom, sent, named, err := f.whom(id, sent, r.Final, r.Original)
		if err != nil {
			return nil, err
		}
		e := about(whom, sent, event.DSN)
		e.Code, e.Enhanced, e.Reply = reply.Code, reply.Enhanced.String(), reply.Text
		res := bounce.AutoReplied()
		if r.Action != dsn.Answered {
			res = f.table.Classify(sent.Provider, reply)
		}
		e.Class, e.Verdict, e.Subject = string(res.Class), string(res.Verdict), string(res.Subject)
		if !named && res.Verdict == bounce.Suppress {
			// Somebody behind an alias or a list is gone, not our recipient.
			e.Verdict, e.Reason = string(bounce.Count), "the notification is about another address"
		}
		list = append(list, e)
	}
	return list, nil
}

// complaint makes an event of a report, by the signed reference in the message
// that it returns or by our return path.
func (f *feedback) complaint(in *inbound.Feedback, report *arf.Report) ([]event.Event, error) {
	id, err := f.subject(in, report)
	if err != nil {
		return nil, err
	}
	sent, err := f.sent(id)
	if err != nil {
		return nil, err
	}
	kind := event.Complained
	switch {
	case report.Type == arf.OptOut:
		kind = event.Unsubscribed
	case !report.Type.Complaint():
		f.log.Info("feedback report of a type that says nothing about the recipient, ignored", slog.String("type", string(report.Type)))
		return nil, nil
	}
	id, sent, _, err = f.whom(id, sent, report.Recipients...)
	if err != nil {
		return nil, err
	}
	e := about(id, sent, kind)
	e.Reason = string(report.Type)
	return []event.Event{e}, nil
}

// subject is the recipient that a report is about.
func (f *feedback) subject(in *inbound.Feedback, report *arf.Report) (store.ID, error) {
	if in.Kind == inbound.Bounce {
		return f.decode(verp.ReturnPath, in.Recipient.Local)
	}
	for _, ref := range references(report.Returned) {
		if id, err := f.decode(verp.Reference, ref); err == nil {
			return id, nil
		}
	}
	for _, path := range append([]string{report.MailFrom}, report.Returned.Values("Return-Path")...) {
		local, _, _ := strings.Cut(strings.Trim(path, "<> "), "@")
		if id, err := f.decode(verp.ReturnPath, local); err == nil {
			return id, nil
		}
	}
	return store.ID{}, errUnresolved
}

func references(h rfc5322.Header) []string { return h.Values("X-Segue-Ref") }

func (f *feedback) decode(kind verp.Kind, token string) (store.ID, error) {
	mid, n, err := f.tokens.Decode(kind, strings.TrimSpace(token))
	if err != nil {
		return store.ID{}, fmt.Errorf("%w: %w", errUnresolved, err)
	}
	return store.ID{Message: mid, Recipient: n}, nil
}

// sent looks a recipient up. Feedback can be quicker than the conclusion of its
// message: it is asked to come again.
func (f *feedback) sent(id store.ID) (store.Sent, error) {
	sent, err := f.mail.SentRecord(id)
	if !errors.Is(err, store.ErrNotFound) {
		return sent, err
	}
	if _, err := f.mail.Recipient(id); err == nil {
		return store.Sent{}, fmt.Errorf("feedback about %s, which is still in the queue", id)
	}
	// It may have left the queue between the two looks.
	if sent, err = f.mail.SentRecord(id); errors.Is(err, store.ErrNotFound) {
		err = fmt.Errorf("%w: %s is not in the sent index", errUnresolved, id)
	}
	return sent, err
}

// whom finds out which recipient of a transaction a report is about. A token
// names the first; of a transactional message others may have left with it, and the
// report names one of them by address. named is whether anybody of ours is named.
func (f *feedback) whom(id store.ID, sent store.Sent, addresses ...string) (store.ID, store.Sent, bool, error) {
	for _, a := range addresses {
		if same(sent.Address, a) {
			return id, sent, true, nil
		}
	}
	if !f.shared(sent.Stream) {
		return id, sent, false, nil
	}
	all, err := f.mail.SentOf(id.Message)
	if err != nil {
		return id, sent, false, err
	}
	for other, s := range all {
		if !s.Time.Equal(sent.Time) || s.Source != sent.Source || s.Provider != sent.Provider {
			continue // it left in another transaction, under its own token
		}
		for _, a := range addresses {
			if same(s.Address, a) {
				return other, s, true, nil
			}
		}
	}
	return id, sent, false, nil
}

func same(address, reported string) bool {
	a, err := rfc5321.ParseAddress(reported)
	return err == nil && a.Key() == strings.ToLower(address)
}

// about is an event about a recipient that was delivered.
func about(id store.ID, s store.Sent, kind event.Kind) event.Event {
	_, domain, _ := strings.Cut(s.Address, "@")
	return event.Event{
		Kind: kind, Message: id.Message, Recipient: id.Recipient, Address: s.Address, Contact: s.Contact, Stream: s.Stream,
		Segment: s.Segment, SegmentVersion: s.SegmentVersion, Tier: s.Tier, Pool: s.Pool, Campaign: s.Campaign,
		Source: s.Source, Provider: s.Provider, Domain: domain,
	}
}
