// SPDX-License-Identifier: Apache-2.0

// Package smtpserver is the receiving side of SMTP (RFC 5321) that the
// submission and the feedback listener share: connections, lines, message text,
// limits, timeouts, TLS, AUTH exchanges and orderly ends. It is not a policy: who
// may send what is said by a [Handler], and it stores nothing.
//
// Call [New] with a function that makes handlers, then [Server.Serve] on a
// listener; [Server.Shutdown] ends it.
//
// # How it stands on go-smtp
//
// github.com/emersion/go-smtp reads commands and drives the session. It never
// sees the socket: each [Conn] sits between, hands it one clean command line at a
// time, and takes its reply before it reads the next. What go-smtp does not
// guard is done by the Conn, so that go-smtp cannot get it wrong:
//
//   - Message text never enters go-smtp. It is read here under a deadline that every
//     read renews, checked octet by octet (bare CR, bare LF, NUL, length of lines, one
//     way to end: CR LF . CR LF) and handed to the handler; go-smtp is told
//     of an empty message. Whatever goes wrong in it, no octet of it can become
//     a command: the connection ends.
//   - BDAT chunks (RFC 3030) are collected here and become a DATA of go-smtp.
//   - STARTTLS (RFC 3207) is done here: what the client sent ahead of the handshake
//     ends the connection, and a new conversation begins, with no memory of the old.
//   - Addresses are read from the command line by package rfc5321, since go-smtp
//     removes the quotes that make them safe to send on.
//   - An error of a handler is told to the client only if it is a
//     [rfc5321.Refusal]; any other is a 451 without words of ours inside.
//   - Replies to pipelined commands (RFC 2920) leave in one write.
package smtpserver

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/seguemta/segue/mta/rfc5321"
)

// TLSMode says when a listener speaks TLS.
type TLSMode string

// The ways to TLS.
const (
	TLSNone     TLSMode = "none"     // never: for loopback and trusted networks
	TLSStart    TLSMode = "starttls" // after STARTTLS (RFC 3207), port 587
	TLSImplicit TLSMode = "implicit" // from the first octet (RFC 8314), port 465
)

// Handler is the policy and the destination of one conversation. Its methods are
// called by one goroutine, in the order of the protocol: Mail, then Rcpt once or
// more, then Data, and Reset after whatever ended the transaction. An error that
// is (or wraps) a *[rfc5321.Refusal] is told to the client; for any other the
// client gets a bare 451 and the log gets the error. A refusal with code 421 also
// ends the connection.
type Handler interface {
	Mail(from rfc5321.Address, p Params) error
	Rcpt(to rfc5321.Address) error
	// Data takes the message and returns once it is safe. The context ends when
	// the server cuts its connections. The reply is the success that the client gets.
	Data(ctx context.Context, m Message) (rfc5321.Reply, error)
	Reset()
}

// Authenticator is a Handler that offers AUTH PLAIN and LOGIN (RFC 4954).
type Authenticator interface {
	Handler
	// AuthAllowed is asked whenever AUTH is offered or begun.
	AuthAllowed() bool
	// Authenticate returns nil where the password is that of name.
	Authenticate(ctx context.Context, name string, password []byte) error
}

// Params are the MAIL parameters that a Handler may want.
type Params struct {
	Size       int64  // SIZE as declared, octets; 0 = not
	UTF8       bool   // SMTPUTF8 (RFC 6531)
	EnvelopeID string // ENVID (RFC 3461), decoded, printable ASCII
}

// Message is what one transaction carried.
type Message struct {
	Data      []byte    // unstuffed, every line ends in CRLF, no bare CR or LF, no NUL; the handler may keep it
	Truncated bool      // only the first Options.Keep octets are here
	EightBit  bool      // some octet is above 127
	Received  time.Time // when its last octet was read
}

// Timeouts bound every wait for a client. Zero fields take the default.
type Timeouts struct {
	Command time.Duration // for a whole command line; default 5 min (RFC 5321 section 4.5.3.2.7)
	Data    time.Duration // for the next octets of message text; default 3 min (section 4.5.3.2.5)
	Message time.Duration // for a whole message: a drip must not hold memory for ever; default 30 min
	Write   time.Duration // for a reply to leave; default 1 min
	TLS     time.Duration // for a handshake; default 30 s
	Linger  time.Duration // to let a client read why it was cut before the socket closes; default 2 s
}

// Options are what a Server needs. Only Hostname and NewHandler have no default.
type Options struct {
	Purpose   string // the listener's purpose, label in metrics and logs; default "smtp"
	Hostname  string // in the banner and the reply to EHLO
	TLS       TLSMode
	TLSConfig *tls.Config // needed unless TLS is none (the default)

	MaxSize       int64 // octets of a message on the wire; default 25 MiB
	Keep          int64 // octets of it that are kept, at most; default MaxSize
	MaxLine       int   // octets in a line without CRLF; default 998 (RFC 5322 section 2.1.1): longer lines are cut or refused by receivers
	MaxRecipients int   // per transaction; default 1000

	MaxConnections           int // default 1000
	MaxConnectionsPerAddress int // per IPv4 address or IPv6 /64; default 100: a sending application opens tens
	MaxErrors                int // replies of 4xx and 5xx between two accepted messages; default 1000 + MaxRecipients: a dirty list is no attack
	MaxIdleCommands          int // NOOP, RSET and the like between two accepted messages; default 500

	Exempt     func(netip.Addr) bool // whom MaxConnectionsPerAddress does not bind; default nobody
	UTF8       bool                  // offer SMTPUTF8
	Postmaster string                // the domain of <postmaster> without one (RFC 5321 section 4.5.1); default: not accepted
	Timeouts   Timeouts
	Bytes      *Budget // memory for messages being received, shared by listeners; default 256 MiB of its own

	NewHandler func(*Conn) Handler // called at EHLO, anew after STARTTLS

	Logger     *slog.Logger          // default discards
	Registerer prometheus.Registerer // default none
	Now        func() time.Time      // default time.Now
}

const (
	defaultMaxSize = 25 << 20
	defaultBytes   = 256 << 20
	maxLineLimit   = 1 << 20
)

func (o *Options) setDefaults() {
	o.Purpose = cmp.Or(o.Purpose, "smtp")
	o.TLS = cmp.Or(o.TLS, TLSNone)
	o.MaxSize = cmp.Or(o.MaxSize, defaultMaxSize)
	o.Keep = cmp.Or(o.Keep, o.MaxSize)
	o.MaxLine = cmp.Or(o.MaxLine, 998)
	o.MaxRecipients = cmp.Or(o.MaxRecipients, 1000)
	o.MaxConnections = cmp.Or(o.MaxConnections, 1000)
	o.MaxConnectionsPerAddress = cmp.Or(o.MaxConnectionsPerAddress, 100)
	o.MaxErrors = cmp.Or(o.MaxErrors, 1000+o.MaxRecipients)
	o.MaxIdleCommands = cmp.Or(o.MaxIdleCommands, 500)
	t := &o.Timeouts
	t.Command = cmp.Or(t.Command, 5*time.Minute)
	t.Data = cmp.Or(t.Data, 3*time.Minute)
	t.Message = cmp.Or(t.Message, 30*time.Minute)
	t.Write = cmp.Or(t.Write, time.Minute)
	t.TLS = cmp.Or(t.TLS, 30*time.Second)
	t.Linger = cmp.Or(t.Linger, 2*time.Second)
	if o.Bytes == nil {
		o.Bytes = NewBudget(defaultBytes)
	}
	if o.Exempt == nil {
		o.Exempt = func(netip.Addr) bool { return false }
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
}

// validate reports every problem of the options at once.
func (o *Options) validate() error {
	var errs []error
	if o.Hostname == "" {
		errs = append(errs, errors.New("hostname is empty"))
	}
	if o.NewHandler == nil {
		errs = append(errs, errors.New("no handler"))
	}
	switch o.TLS {
	case TLSNone:
	case TLSStart, TLSImplicit:
		if o.TLSConfig == nil {
			errs = append(errs, fmt.Errorf("tls mode %s needs a certificate", o.TLS))
		}
	default:
		errs = append(errs, fmt.Errorf("tls mode %q is none of none, starttls, implicit", o.TLS))
	}
	if o.MaxLine < 78 || o.MaxLine > maxLineLimit {
		errs = append(errs, fmt.Errorf("longest line of %d octets is not within 78 to %d", o.MaxLine, maxLineLimit))
	}
	if o.Keep > o.MaxSize {
		errs = append(errs, fmt.Errorf("keeping %d octets of at most %d", o.Keep, o.MaxSize))
	}
	return errors.Join(errs...)
}
