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
	"github.com/seguemta/segue/mta/smtpserver"
	"github.com/seguemta/segue/mta/verp"
	"github.com/seguemta/segue/queue/store"
	"github.com/seguemta/segue/reputation/bounce"
)

// feedback turns bounce mail, complaint reports and unsubscribe mail into events. Only
// what carries a token of ours blames anybody; everything else is counted and changes
// nothing. What it makes of mail is in this file, whom it is about in blame.go.
type feedback struct {
	mail    *store.Store
	tokens  *verp.Ring
	table   *bounce.Classifier
	shared  func(stream string) bool // whether several recipients may leave under one token
	redact  func(*event.Event) bool
	opt     func(ctx context.Context, token string) error // out: what an unsubscribe token asks for
	forward *forwarder
	kept    time.Duration // for so long after a delivery feedback is understood
	now     func() time.Time
	log     *slog.Logger

	unresolved *prometheus.CounterVec
	repeated   *prometheus.CounterVec
}

// unresolved says that feedback is about no recipient of ours.
type unresolved struct {
	reason inbound.Reason
	text   string
}

func (u *unresolved) Error() string { return "feedback names no recipient of ours: " + u.text }

// noReport is the reason of mail to a feedback address that is no report.
const noReport inbound.Reason = "no_report"

func (e *Engine) makeFeedback() error {
	_, kept := e.queue.Retention()
	e.feedback = &feedback{
		mail: e.mail, tokens: e.plan.secrets.tokens, table: e.plan.bounces, redact: e.people.Redact, kept: kept, now: e.o.Now,
		log:     e.log.With(slog.String("component", "feedback")),
		shared:  func(stream string) bool { return e.plan.stream(stream).Transactional },
		opt:     e.optout.unsubscribe,
		forward: newForwarder(e),
		unresolved: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "segue_feedback_unresolved_total",
			Help: "Feedback that is about no recipient of ours and changed nothing, by what it came as and why: forged, expired, later_version, unknown, relay, no_report.",
		}, []string{"kind", "reason"}),
		repeated: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "segue_feedback_repeated_total",
			Help: "Feedback that said again what was known: it changed and counted nothing.",
		}, []string{"kind"}),
	}
	e.o.Registry.MustRegister(e.feedback.unresolved, e.feedback.repeated)
	e.optout.repeated = e.feedback.repeated.WithLabelValues(string(event.Unsubscribed))
	return nil
}

func (e *Engine) newFeedbackListener(l *config.Listener, tlsConfig *tls.Config, bytes *smtpserver.Budget, log *slog.Logger) (listener, error) {
	domains := make([]string, 0, len(e.c.Domains))
	for _, d := range e.c.Domains {
		domains = append(domains, d.ReturnPath)
	}
	return inbound.New(inbound.Options{
		Hostname: e.c.Hostname, TLS: smtpserver.TLSMode(l.TLS), TLSConfig: tlsConfig, Domains: domains, Reports: e.c.Feedback.Complaints,
		Resolve: e.feedback.resolve, Receive: e.feedback.receive,
		Unresolved:     func(kind inbound.Kind, reason inbound.Reason) { e.feedback.missed(kind, reason) },
		MaxConnections: l.MaxConnections, MaxConnectionsPerAddress: l.MaxConnectionsPerAddress, Timeouts: timeouts(l),
		Bytes: bytes, Logger: log, Registerer: e.o.Registry, Now: e.o.Now,
	})
}

func (f *feedback) missed(kind inbound.Kind, reason inbound.Reason) {
	f.unresolved.WithLabelValues(string(kind), string(reason)).Inc()
}

// resolve implements inbound.Options.Resolve.
func (f *feedback) resolve(local string) (inbound.Kind, inbound.Reason) {
	id, err := f.decode(verp.ReturnPath, local)
	switch reason := reasonOf(err); reason {
	case "":
		if f.expired(id) {
			return inbound.Bounce, inbound.Expired
		}
		return inbound.Bounce, ""
	case inbound.Unknown: // it may be of the other kind
	default:
		return inbound.Bounce, reason
	}
	_, err = f.tokens.DecodeUnsubscribe(local)
	switch reason := reasonOf(err); reason {
	case inbound.Unknown:
		return inbound.Nobody, reason
	default:
		return inbound.Unsubscribe, reason
	}
}

// reasonOf is why a token is not taken; "" where it is.
func reasonOf(err error) inbound.Reason {
	switch {
	case err == nil:
		return ""
	case errors.Is(err, verp.ErrForged), errors.Is(err, verp.ErrUnknownKey):
		return inbound.Forged
	case errors.Is(err, verp.ErrVersion):
		return inbound.LaterVersion
	default:
		return inbound.Unknown
	}
}

// receive takes one message; nil means that its facts are durable, or that it
// states none.
func (f *feedback) receive(ctx context.Context, in *inbound.Feedback) error {
	err := f.take(ctx, in)
	if u, ok := errors.AsType[*unresolved](err); ok {
		f.missed(in.Kind, u.reason)
		f.log.Info("feedback changed nothing", slog.String("kind", string(in.Kind)), slog.String("reason", u.text))
		return nil
	}
	return err
}

func (f *feedback) take(ctx context.Context, in *inbound.Feedback) error {
	if in.Kind == inbound.Unsubscribe {
		return f.opt(ctx, in.Recipient.Local)
	}
	facts, err := f.read(in)
	if _, lost := errors.AsType[*unresolved](err); lost && in.Kind == inbound.Role {
		return f.forward.forward(ctx, in) // somebody writes to us
	}
	if err != nil {
		return err
	}
	_, err = f.commit(ctx, facts, "")
	return err
}

// read finds out what a message states about whom.
func (f *feedback) read(in *inbound.Feedback) ([]fact, error) {
	if report, err := arf.Parse(in.Data); err == nil {
		return f.complaint(in, &report)
	}
	if in.Kind != inbound.Bounce {
		return nil, &unresolved{noReport, "it is no report"}
	}
	id, err := f.token(verp.ReturnPath, in.Recipient.Local)
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

// bounced makes a fact of each recipient of a notification that failed or whose program
// answered.
func (f *feedback) bounced(id store.ID, report *dsn.Report) ([]fact, error) {
	group, err := f.group(id)
	if err != nil {
		return nil, err
	}
	var list []fact
	for _, r := range report.Recipients {
		if r.Action != dsn.Failed && r.Action != dsn.Answered && r.Action != "" {
			continue
		}
		c := group.whom(r.Final, r.Original)
		if r.Action == dsn.Answered {
			list = append(list, f.answered(id, c, r.Reply()))
			continue
		}
		list = append(list, f.failed(id, c, r.Reply()))
	}
	return list, nil
}

// complaint makes facts of a report, by the signed reference in the message that it
// returns or by our return path.
func (f *feedback) complaint(in *inbound.Feedback, report *arf.Report) ([]fact, error) {
	kind, heard, ok := kindOf(report.Type)
	if !ok {
		f.log.Info("feedback report of a type that says nothing about the recipient, ignored", slog.String("type", string(report.Type)))
		return nil, nil
	}
	id, err := f.subject(in, report)
	if err != nil {
		return nil, err
	}
	group, err := f.group(id)
	if err != nil {
		return nil, err
	}
	var list []fact
	for _, c := range group.culprits(report.Recipients) {
		list = append(list, f.reported(id, c, kind, heard, string(report.Type)))
	}
	return list, nil
}

// kindOf is what a type of report says about a recipient; false = nothing.
func kindOf(t arf.Type) (event.Kind, store.Heard, bool) {
	switch {
	case t == arf.OptOut:
		return event.Unsubscribed, store.HeardUnsubscribe, true
	case t == arf.NotSpam:
		return event.NotSpam, store.HeardNotSpam, true
	case t.Complaint():
		return event.Complained, store.HeardComplaint, true
	default:
		return "", 0, false
	}
}

// subject is the recipient that a report is about. The first token that is ours
// decides; where none is, the reason is that of the first which looks like one.
func (f *feedback) subject(in *inbound.Feedback, report *arf.Report) (store.ID, error) {
	if in.Kind == inbound.Bounce {
		return f.token(verp.ReturnPath, in.Recipient.Local)
	}
	var first error
	try := func(kind verp.Kind, text string) (store.ID, bool) {
		id, err := f.token(kind, text)
		if u, ok := errors.AsType[*unresolved](err); ok && u.reason != inbound.Unknown && first == nil {
			first = err
		}
		return id, err == nil
	}
	for _, ref := range references(report.Returned) {
		if id, ok := try(verp.Reference, ref); ok {
			return id, nil
		}
	}
	for _, path := range append([]string{report.MailFrom}, report.Returned.Values("Return-Path")...) {
		local, _, _ := strings.Cut(strings.Trim(path, "<> "), "@")
		if id, ok := try(verp.ReturnPath, local); ok {
			return id, nil
		}
	}
	if first == nil {
		first = &unresolved{inbound.Unknown, "the report holds no token"}
	}
	return store.ID{}, first
}

// token reads a token.
func (f *feedback) token(kind verp.Kind, text string) (store.ID, error) {
	id, err := f.decode(kind, text)
	if err != nil {
		return store.ID{}, &unresolved{reasonOf(err), err.Error()}
	}
	return id, nil
}

func (f *feedback) decode(kind verp.Kind, text string) (store.ID, error) {
	mid, n, err := f.tokens.Decode(kind, strings.TrimSpace(text))
	if err != nil {
		return store.ID{}, fmt.Errorf("reading a token: %w", err)
	}
	return store.ID{Message: mid, Recipient: n}, nil
}
