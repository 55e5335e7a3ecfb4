// SPDX-License-Identifier: Apache-2.0

package submit

import (
	"context"
	"errors"
	"log/slog"

	"github.com/seguemta/segue/mta/rfc5321"
	"github.com/seguemta/segue/mta/smtpserver"
)

// session is the policy of one conversation.
type session struct {
	s    *Server
	c    *smtpserver.Conn
	name string // of the credential that authenticated; "" = none

	// The open transaction.
	cred    Credential
	from    rfc5321.Address
	params  smtpserver.Params
	to      []rfc5321.Address
	seen    map[rfc5321.Address]bool
	charged int // recipients taken from the hourly limit and not yet committed
}

var _ smtpserver.Authenticator = (*session)(nil)

func newSession(s *Server, c *smtpserver.Conn) *session { return &session{s: s, c: c} }

// AuthAllowed implements smtpserver.Authenticator.
func (h *session) AuthAllowed() bool {
	if h.c.TLS() {
		return true
	}
	addr := h.c.RemoteAddr()
	return (h.s.opts.TLS == "" || h.s.opts.TLS == smtpserver.TLSNone) && (addr.IsLoopback() || h.s.inTrust(addr))
}

// Authenticate implements smtpserver.Authenticator.
func (h *session) Authenticate(ctx context.Context, name string, password []byte) error {
	cred, err := h.s.opts.Accounts.Verify(ctx, h.c.RemoteAddr(), name, password)
	if err != nil {
		result, level := failure(err)
		h.s.metrics.logins.WithLabelValues(result).Inc()
		h.s.opts.Logger.Log(ctx, level, "login failed", slog.String("remote", h.c.RemoteAddr().String()), slog.String("result", result))
		return err
	}
	h.s.metrics.logins.WithLabelValues("ok").Inc()
	h.name = cred.Name
	return nil
}

// failure tells a login that was wrong from one that was not looked at, of which
// there may be any number: they are counted, and do not fill the log.
func failure(err error) (string, slog.Level) {
	if r, ok := errors.AsType[*rfc5321.Refusal](err); ok && r.Reply.Temporary() {
		return "limited", slog.LevelDebug
	}
	return "failed", slog.LevelInfo
}

// credential is who the client is now: its login, which a reload may have
// taken away, or its network.
func (h *session) credential() (Credential, bool) {
	if h.name != "" {
		return h.s.opts.Accounts.Lookup(h.name)
	}
	return h.s.trusted(h.c.RemoteAddr())
}

// Mail implements smtpserver.Handler.
func (h *session) Mail(from rfc5321.Address, p smtpserver.Params) error {
	cred, ok := h.credential()
	if !ok {
		return rfc5321.Refuse(530, rfc5321.EnhancedCode{5, 7, 0}, "authentication required")
	}
	if !from.IsZero() && !cred.MaySendAs(from.Domain, h.s.opts.OwnDomain) {
		return rfc5321.Refuse(550, rfc5321.EnhancedCode{5, 7, 1}, "this credential may not send as "+from.Domain)
	}
	h.cred, h.from, h.params = cred, from, p
	return nil
}

// Rcpt implements smtpserver.Handler. A recipient named twice is one recipient.
func (h *session) Rcpt(to rfc5321.Address) error {
	if h.seen[to] {
		return nil
	}
	if !h.s.opts.Accounts.charge(h.cred) {
		return rfc5321.Refuse(452, rfc5321.EnhancedCode{4, 7, 1}, "the hourly limit of this credential is reached, try again later")
	}
	h.charged++
	if h.seen == nil {
		h.seen = map[rfc5321.Address]bool{}
	}
	h.seen[to] = true
	h.to = append(h.to, to)
	return nil
}

// Data implements smtpserver.Handler.
func (h *session) Data(ctx context.Context, m smtpserver.Message) (rfc5321.Reply, error) {
	id, err := h.s.opts.Admit(ctx, &Envelope{
		From: h.from, To: h.to, Data: m.Data,
		Credential: h.cred.Name, Streams: h.cred.Streams, Domains: h.cred.Domains,
		RemoteAddr: h.c.RemoteAddr(), HELO: h.c.Helo(), TLS: h.c.TLS(), Protocol: h.c.Protocol(h.params.UTF8),
		UTF8: h.params.UTF8, EightBit: m.EightBit, Received: m.Received, EnvelopeID: h.params.EnvelopeID,
	})
	h.s.metrics.observe(result(err), h.s.opts.Now().Sub(m.Received))
	if err != nil {
		return rfc5321.Reply{}, err
	}
	h.charged = 0
	return rfc5321.Reply{Code: 250, Enhanced: rfc5321.EnhancedCode{2, 0, 0}, Text: "queued as " + id}, nil
}

func result(err error) string {
	if err == nil {
		return "accepted"
	}
	if r, ok := errors.AsType[*rfc5321.Refusal](err); ok && r.Reply.Permanent() {
		return "refused"
	}
	return "deferred"
}

// Reset implements smtpserver.Handler: what was charged and not sent is given back.
func (h *session) Reset() {
	if h.charged > 0 {
		h.s.opts.Accounts.refund(h.cred, h.charged)
	}
	h.cred, h.from, h.params = Credential{}, rfc5321.Address{}, smtpserver.Params{}
	h.to, h.seen, h.charged = nil, nil, 0
}
