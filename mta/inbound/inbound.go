// SPDX-License-Identifier: Apache-2.0

// Package inbound is the door for feedback: an SMTP listener for the mail that
// comes back because mail went out. It takes delivery status notifications (RFC
// 3464) at the return paths that we signed, complaint reports (RFC 5965) at a
// few named addresses, unsubscribe mail at the tokens that we made for it, and mail to
// postmaster and abuse (RFC 2142), and hands each to the engine, which finds out what it
// says and whom it blames. It is not a mail server: there are no mailboxes and nothing
// is relayed.
//
// Make a [Server] with [New] and call [Server.Serve]. Lines, text, TLS and timeouts
// are package smtpserver's.
//
// A token that we did not sign, that was altered, or that is too old, is refused with
// 550 at RCPT, before its message costs anything, and counted by kind and reason; so is
// any other recipient. A message is acknowledged once it is
// safe. One transaction carries one recipient (a second gets 452 and comes by itself), so
// that a report is either taken or not.
package inbound

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/seguemta/segue/mta/rfc5321"
	"github.com/seguemta/segue/mta/smtpserver"
)

// Kind says what a recipient stands for.
type Kind string

// The recipients that exist.
const (
	Bounce      Kind = "bounce"      // a return path: its local part is the token
	Report      Kind = "report"      // a feedback address: tokens are within the message
	Unsubscribe Kind = "unsubscribe" // unsubscribe mail: its local part is the token
	Role        Kind = "role"        // postmaster or abuse: a person should read it
	Nobody      Kind = "nobody"      // no address of ours
)

// Reason is why a recipient is refused; "" = it is not.
type Reason string

// The reasons.
const (
	Unknown      Reason = "unknown"       // at one of our domains, and no address of ours
	Forged       Reason = "forged"        // it has the form of a token, and was altered or made up
	Expired      Reason = "expired"       // a token of ours, about mail of too long ago
	LaterVersion Reason = "later_version" // a token of a later release, or made up
	Relay        Reason = "relay"         // at a domain that is not ours
)

// Feedback is one message that came back.
type Feedback struct {
	Kind       Kind
	Recipient  rfc5321.Address // for a Bounce and an Unsubscribe, Local is the token as it came, in whatever case
	From       rfc5321.Address // zero for the null sender, as a DSN should have
	Data       []byte          // lines end in CRLF, no bare CR or LF, no NUL; Receive may keep it
	Truncated  bool            // Data is the head of a larger message; a DSN has its facts there
	RemoteAddr netip.Addr
	HELO       string // what the client called itself, printable ASCII
	Received   time.Time
}

// Options are what a Server needs. Hostname, Domains, Resolve and Receive have no
// default.
type Options struct {
	Hostname  string
	TLS       smtpserver.TLSMode // none or starttls; default none
	TLSConfig *tls.Config

	Domains []string // of return paths, in lower-case A-labels
	Reports []string // for reports: local parts at these domains and at Hostname, or whole addresses; default fbl

	// Resolve says what a local part is that is no named address: a Bounce or an
	// Unsubscribe, and why it is refused all the same. It must be quick: strangers call it
	// as often as they like.
	Resolve func(local string) (Kind, Reason)
	// Receive takes one message and returns once it is safe. Any error that is no
	// *rfc5321.Refusal is a 451, and the sender tries again.
	Receive func(ctx context.Context, f *Feedback) error
	// Unresolved is told of every recipient that was refused; default nobody is.
	Unresolved func(kind Kind, reason Reason)

	MaxSize                  int64 // octets on the wire; default 32 MiB: many bounces carry the whole message back
	Keep                     int64 // octets of it that Receive gets; default 1 MiB
	MaxConnections           int   // default 200
	MaxConnectionsPerAddress int   // default 20
	Timeouts                 smtpserver.Timeouts
	Bytes                    *smtpserver.Budget // shared by listeners; default 256 MiB of its own

	Logger     *slog.Logger          // default discards
	Registerer prometheus.Registerer // default none
	Now        func() time.Time      // default time.Now
}

const (
	// maxLine is generous: a notification quotes what others wrote, and is only read.
	maxLine = 64 << 10
	// maxErrors is how many wrong recipients a stranger may try on one connection.
	maxErrors       = 10
	maxIdleCommands = 50
)

// Server is one feedback listener. Its methods are safe for concurrent use.
type Server struct {
	opts    Options
	smtp    *smtpserver.Server
	metrics *metrics
	domains map[string]bool
	reports map[string]bool
	roles   map[string]bool
}

// New checks the options and makes a Server.
func New(opts Options) (*Server, error) {
	var errs []error
	if len(opts.Domains) == 0 {
		errs = append(errs, errors.New("no return-path domain"))
	}
	if opts.Resolve == nil || opts.Receive == nil {
		errs = append(errs, errors.New("nobody to resolve tokens or to receive"))
	}
	if err := errors.Join(errs...); err != nil {
		return nil, fmt.Errorf("setting up the feedback listener: %w", err)
	}
	if opts.Unresolved == nil {
		opts.Unresolved = func(Kind, Reason) {}
	}
	if len(opts.Reports) == 0 {
		opts.Reports = []string{"fbl"}
	}
	m, err := newMetrics(opts.Registerer)
	if err != nil {
		return nil, fmt.Errorf("setting up the feedback listener: %w", err)
	}
	s := &Server{opts: opts, metrics: m, domains: set(opts.Domains), reports: set(opts.Reports), roles: set([]string{"postmaster", "abuse"})}
	s.smtp, err = smtpserver.New(smtpserver.Options{
		Purpose: "feedback", Hostname: opts.Hostname, Postmaster: opts.Hostname, TLS: opts.TLS, TLSConfig: opts.TLSConfig,
		MaxSize: cmp.Or(opts.MaxSize, 32<<20), Keep: min(cmp.Or(opts.Keep, 1<<20), cmp.Or(opts.MaxSize, 32<<20)),
		MaxLine: maxLine, MaxRecipients: 1, MaxErrors: maxErrors, MaxIdleCommands: maxIdleCommands,
		MaxConnections: cmp.Or(opts.MaxConnections, 200), MaxConnectionsPerAddress: cmp.Or(opts.MaxConnectionsPerAddress, 20),
		UTF8: true, Timeouts: opts.Timeouts, Bytes: opts.Bytes,
		NewHandler: func(c *smtpserver.Conn) smtpserver.Handler { return &session{s: s, c: c} },
		Logger:     opts.Logger, Registerer: opts.Registerer, Now: opts.Now,
	})
	if err != nil {
		return nil, err
	}
	return s, nil
}

func set(names []string) map[string]bool {
	m := make(map[string]bool, len(names))
	for _, n := range names {
		m[strings.ToLower(n)] = true
	}
	return m
}

// Serve accepts feedback on ln until [Server.Shutdown], until ctx ends
// (connections are cut), or until ln fails. It closes ln.
func (s *Server) Serve(ctx context.Context, ln net.Listener) error { return s.smtp.Serve(ctx, ln) }

// Shutdown takes no new work: idle clients get 421, open transactions may finish
// until ctx ends. What is then cut is counted in a *[smtpserver.CutError].
func (s *Server) Shutdown(ctx context.Context) error { return s.smtp.Shutdown(ctx) }

// classify says what a recipient stands for, and why it is refused all the same.
func (s *Server) classify(to rfc5321.Address) (Kind, Reason) {
	local := strings.ToLower(to.Local)
	path := s.domains[to.Domain]
	ours := path || strings.EqualFold(to.Domain, s.opts.Hostname)
	switch {
	case s.reports[local+"@"+to.Domain], ours && s.reports[local]:
		return Report, ""
	case ours && s.roles[local]:
		return Role, ""
	case !ours:
		return Nobody, Relay
	case !path:
		return Nobody, Unknown
	default:
		return s.opts.Resolve(to.Local)
	}
}
