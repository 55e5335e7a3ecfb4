// SPDX-License-Identifier: Apache-2.0

package inbound

import (
	"context"

	"github.com/seguemta/segue/mta/rfc5321"
	"github.com/seguemta/segue/mta/smtpserver"
)

// session is the policy of one conversation.
type session struct {
	s    *Server
	c    *smtpserver.Conn
	from rfc5321.Address
	to   rfc5321.Address
	kind Kind
}

var _ smtpserver.Handler = (*session)(nil)

// Mail implements smtpserver.Handler. Every sender may report: what counts is
// what was signed.
func (h *session) Mail(from rfc5321.Address, _ smtpserver.Params) error {
	h.from = from
	return nil
}

// Rcpt implements smtpserver.Handler.
func (h *session) Rcpt(to rfc5321.Address) error {
	kind, reason := h.s.classify(to)
	if reason == "" {
		h.to, h.kind = to, kind
		return nil
	}
	h.s.metrics.messages.WithLabelValues(string(reason)).Inc()
	h.s.opts.Unresolved(kind, reason)
	switch reason {
	case Relay:
		return rfc5321.Refuse(550, rfc5321.EnhancedCode{5, 7, 1}, "no relaying, this server takes reports about its own mail")
	case Expired:
		return rfc5321.Refuse(550, rfc5321.EnhancedCode{5, 1, 6}, "the mail that this address was for was sent too long ago")
	default:
		return rfc5321.Refuse(550, rfc5321.EnhancedCode{5, 1, 1}, "no such address, and no token of ours")
	}
}

// Data implements smtpserver.Handler.
func (h *session) Data(ctx context.Context, m smtpserver.Message) (rfc5321.Reply, error) {
	err := h.s.opts.Receive(ctx, &Feedback{
		Kind: h.kind, Recipient: h.to, From: h.from, Data: m.Data, Truncated: m.Truncated,
		RemoteAddr: h.c.RemoteAddr(), HELO: h.c.Helo(), Received: m.Received,
	})
	if err != nil {
		h.s.metrics.messages.WithLabelValues("failed").Inc()
		return rfc5321.Reply{}, err
	}
	h.s.metrics.messages.WithLabelValues(string(h.kind)).Inc()
	return rfc5321.Reply{Code: 250, Enhanced: rfc5321.EnhancedCode{2, 0, 0}, Text: "received"}, nil
}

// Reset implements smtpserver.Handler.
func (h *session) Reset() { h.from, h.to, h.kind = rfc5321.Address{}, rfc5321.Address{}, "" }
