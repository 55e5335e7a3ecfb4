// SPDX-License-Identifier: Apache-2.0

// Package submit is the door for mail: the SMTP submission listener (RFC 6409)
// with AUTH, credentials, trusted networks and their limits. It decides who may
// send as which domain and how much, and hands an [Envelope] to admission; what is
// done with the message, and its header, are not its business. It never relays for
// anyone who is not a credential's owner or in a trusted network.
//
// Make the [Accounts] with [NewAccounts], shared by all listeners, then a [Server]
// per listener with [New], and call [Server.Serve]. Lines, text, TLS and timeouts are package
// smtpserver's.
//
// # Who may send
//
// AUTH PLAIN and LOGIN are offered under TLS. Without TLS they are offered on a
// listener whose mode is none, and there only to loopback and to trusted networks:
// a password must not cross a network in clear. A client in a trusted network
// needs no AUTH and acts as one named credential. The domain of the envelope sender
// must be one of the credential's; the null sender passes, since the header's From is
// checked by admission.
//
// # Who guesses
//
// Failed logins are limited by client address and by account, a name that does
// not exist costs what a wrong password costs, and the hashes computed at one
// time are bounded; [Accounts] says which compromise keeps an owner from being
// locked out.
package submit

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/seguemta/segue/mta/rfc5321"
	"github.com/seguemta/segue/mta/smtpserver"
)

// Envelope is one message as it was submitted.
type Envelope struct {
	From rfc5321.Address   // zero for the null sender
	To   []rfc5321.Address // without repetitions, in the order given
	Data []byte            // header and body, lines end in CRLF, no bare CR or LF, no NUL; Admit may keep it

	Credential string   // name of the credential that submits
	Streams    []string // it may use, the first is its default
	Domains    []string // it may send as; empty = every domain of ours

	RemoteAddr netip.Addr // of the client; not valid where it has none
	HELO       string     // what the client called itself, printable ASCII
	TLS        bool
	Protocol   string    // for the Received line: ESMTPSA and the like
	UTF8       bool      // SMTPUTF8 was asked for: header or addresses may be UTF-8
	EightBit   bool      // Data has octets above 127
	Received   time.Time // when the last octet was read
	EnvelopeID string    // ENVID of the DSN extension, "" for none
}

// Options are what a Server needs. Hostname, Accounts and Admit have no default.
type Options struct {
	Hostname  string
	TLS       smtpserver.TLSMode // default none
	TLSConfig *tls.Config        // needed unless TLS is none

	Trust        []netip.Prefix // clients that need no AUTH
	TrustAs      string         // the credential they act as
	TrustDefault Credential     // what they act as where TrustAs is empty; default: any domain of ours, stream marketing

	MaxSize                  int64 // octets of a message; default 25 MiB
	MaxRecipients            int   // per transaction; default 1000
	MaxConnections           int   // default 1000
	MaxConnectionsPerAddress int   // default 100; clients in Trust are not bound by it
	Timeouts                 smtpserver.Timeouts
	Bytes                    *smtpserver.Budget // shared by listeners; default 256 MiB of its own

	Accounts  *Accounts
	OwnDomain func(domain string) bool // whether a domain is ours, for credentials that name none; default: none is

	// Admit takes a message and returns its id once it is safe: after the synced
	// commit. A *rfc5321.Refusal is told to the client; any other error is a bare 451.
	Admit func(ctx context.Context, e *Envelope) (id string, err error)

	Logger     *slog.Logger          // default discards
	Registerer prometheus.Registerer // default none
	Now        func() time.Time      // default time.Now
}

// Server is one submission listener. Its methods are safe for concurrent use.
type Server struct {
	opts    Options
	smtp    *smtpserver.Server
	metrics *metrics
}

// New checks the options and makes a Server.
func New(opts Options) (*Server, error) {
	if opts.Logger == nil {
		opts.Logger = slog.New(slog.DiscardHandler)
	}
	if opts.Now == nil {
		opts.Now = time.Now
	}
	if opts.OwnDomain == nil {
		opts.OwnDomain = func(string) bool { return false }
	}
	if opts.TrustDefault.Name == "" {
		opts.TrustDefault = Credential{Name: "trusted", Streams: []string{"marketing"}}
	}
	trust, err := cleanTrust(opts)
	if err != nil {
		return nil, fmt.Errorf("setting up the submission listener: %w", err)
	}
	opts.Trust = trust
	m, err := newMetrics(opts.Registerer)
	if err != nil {
		return nil, fmt.Errorf("setting up the submission listener: %w", err)
	}
	s := &Server{opts: opts, metrics: m}
	s.smtp, err = smtpserver.New(smtpserver.Options{
		Purpose: "submission", Hostname: opts.Hostname, TLS: opts.TLS, TLSConfig: opts.TLSConfig,
		MaxSize: opts.MaxSize, MaxRecipients: opts.MaxRecipients,
		MaxConnections: opts.MaxConnections, MaxConnectionsPerAddress: opts.MaxConnectionsPerAddress,
		Exempt: s.inTrust, UTF8: true, Timeouts: opts.Timeouts, Bytes: opts.Bytes,
		NewHandler: func(c *smtpserver.Conn) smtpserver.Handler { return newSession(s, c) },
		Logger:     opts.Logger, Registerer: opts.Registerer, Now: opts.Now,
	})
	if err != nil {
		return nil, err
	}
	return s, nil
}

// cleanTrust checks what the options say about trust and gives prefixes that
// match addresses in their plain form.
func cleanTrust(opts Options) ([]netip.Prefix, error) {
	var errs []error
	if opts.Accounts == nil {
		errs = append(errs, errors.New("no accounts"))
	} else if opts.TrustAs != "" {
		if _, ok := opts.Accounts.Lookup(opts.TrustAs); !ok {
			errs = append(errs, fmt.Errorf("trust_as names credential %q, which does not exist", opts.TrustAs))
		}
	}
	if opts.Admit == nil {
		errs = append(errs, errors.New("no admission"))
	}
	clean := make([]netip.Prefix, 0, len(opts.Trust))
	for _, p := range opts.Trust {
		if a := p.Addr(); a.Is4In6() && p.Bits() >= 96 {
			p = netip.PrefixFrom(a.Unmap(), p.Bits()-96)
		}
		if !p.IsValid() || p.Bits() == 0 {
			errs = append(errs, fmt.Errorf("trusting %s would make an open relay", p))
			continue
		}
		clean = append(clean, p.Masked())
	}
	return clean, errors.Join(errs...)
}

// Serve accepts submissions on ln until [Server.Shutdown], until ctx ends
// (connections are cut), or until ln fails. It closes ln.
func (s *Server) Serve(ctx context.Context, ln net.Listener) error { return s.smtp.Serve(ctx, ln) }

// Shutdown takes no new work: idle clients get 421, open transactions may finish until
// ctx ends. What is then cut is counted in a *[smtpserver.CutError].
func (s *Server) Shutdown(ctx context.Context) error { return s.smtp.Shutdown(ctx) }

// trusted is the credential that a client at addr acts as without AUTH.
func (s *Server) trusted(addr netip.Addr) (Credential, bool) {
	if !addr.IsValid() || !s.inTrust(addr) {
		return Credential{}, false
	}
	if s.opts.TrustAs == "" {
		return s.opts.TrustDefault, true
	}
	return s.opts.Accounts.Lookup(s.opts.TrustAs)
}

func (s *Server) inTrust(addr netip.Addr) bool {
	for _, p := range s.opts.Trust {
		if p.Contains(addr) {
			return true
		}
	}
	return false
}
