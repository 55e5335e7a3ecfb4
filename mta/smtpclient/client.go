// SPDX-License-Identifier: Apache-2.0

// Package smtpclient is the sending half of SMTP (RFC 5321) for a queue: one
// [Conn] to one address of one mail exchanger, which hands over one
// [Transaction] after another.
//
// A delivery does this:
//
//  1. [Dial] connects from the source's address, reads the banner, says EHLO
//     with the source's own name (HELO to servers of the last century), starts
//     TLS if the policy wants it and the server offers it, and says EHLO again.
//  2. [Conn.Send] runs one transaction: MAIL, all RCPT and DATA leave in one
//     flight where the server offers PIPELINING (RFC 2920), one by one where
//     not. Where it offers CHUNKING (RFC 3030) the message goes by BDAT, from the
//     second one on in the same flight. Each recipient gets its own [Outcome].
//  3. Send again while [Result.Reusable]; RSET is sent only when the last
//     transaction was left half open, and then in the same flight.
//  4. [Conn.Close] says QUIT and does not wait long for the answer.
//
// What went wrong is one of two things. A reply that refuses a recipient is an
// Outcome: 4xx temporary, 5xx permanent. A connection that cannot be used is an
// [*Error]: it says in which [Phase] and whether the final dot had left
// ([Error.Sent]), in which case nobody can know if the message was taken (RFC
// 1047). An Error never speaks about a recipient and is always temporary:
// another host or a later attempt may work. [Result.MailSent] says whether
// MAIL was put on the wire, which is when a budget is charged.
//
// Nothing here waits for ever: each reply has a deadline, each write has one, the
// transaction has one, and replies are bounded in lines and octets. Cancelling
// the context cuts the connection.
//
// The package does not choose hosts (mta/mx), sign (dkim), retry, or decide
// what a reply means (reputation/bounce).
package smtpclient

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"strings"
	"time"

	"github.com/seguemta/segue/mta/netx"
)

// TLSPolicy says what to do about STARTTLS (RFC 3207).
type TLSPolicy string

// The policies. The zero value is [TLSOpportunistic].
const (
	TLSNone          TLSPolicy = "none"          // never, also when offered: the redial after a broken handshake
	TLSOpportunistic TLSPolicy = "opportunistic" // when offered; the certificate is not checked (RFC 7435)
	TLSRequired      TLSPolicy = "required"      // no mail in clear; the certificate is not checked
	TLSVerified      TLSPolicy = "verified"      // no mail in clear; the certificate must be valid for Host
)

// Timeouts bound each phase. Zero fields take the default named beside them.
// RFC 5321 section 4.5.3.2 asks for at least 5 minutes for banner, MAIL and RCPT,
// 2 for DATA, 3 for a block and 10 after the dot. We keep those that would
// repeat or lose a message if cut short; a server that has not said its banner
// after a minute holds a connection that another server could use.
type Timeouts struct {
	Connect time.Duration // 30 s
	Banner  time.Duration // 60 s
	Hello   time.Duration // 60 s: EHLO, HELO
	TLS     time.Duration // 60 s: STARTTLS and the handshake
	Mail    time.Duration // 5 min: MAIL, and RSET in front of it
	Rcpt    time.Duration // 5 min, for each recipient
	Data    time.Duration // 2 min: the 354
	Write   time.Duration // 3 min: each write, so that a peer which stops reading is noticed
	Total   time.Duration // 30 min: a transaction up to the end of its message; Dot comes on top
	Dot     time.Duration // 10 min: cutting this short is how duplicates are made
	Quit    time.Duration // 2 s
}

func (t Timeouts) withDefaults() Timeouts {
	set := func(d *time.Duration, def time.Duration) {
		if *d <= 0 {
			*d = def
		}
	}
	set(&t.Connect, 30*time.Second)
	set(&t.Banner, time.Minute)
	set(&t.Hello, time.Minute)
	set(&t.TLS, time.Minute)
	set(&t.Mail, 5*time.Minute)
	set(&t.Rcpt, 5*time.Minute)
	set(&t.Data, 2*time.Minute)
	set(&t.Write, 3*time.Minute)
	set(&t.Total, 30*time.Minute)
	set(&t.Dot, 10*time.Minute)
	set(&t.Quit, 2*time.Second)
	return t
}

// Options say how and to whom to connect.
type Options struct {
	Network   netx.Network   // nil: the operating system's
	Local     netip.Addr     // source address to bind; zero: the system chooses
	Remote    netip.AddrPort // the exchanger
	Host      string         // its name in the MX record: for SNI, certificate and errors
	Hello     string         // our name in EHLO, the source's hostname; required
	TLS       TLSPolicy      // "": opportunistic
	TLSConfig *tls.Config    // roots, session cache, minimum version; nil: Go's defaults. It is cloned
	Timeouts  Timeouts
	// NoChunking uses DATA also where CHUNKING is offered.
	NoChunking bool
	Logger     *slog.Logger // debug level only; nil: silent
}

// Conn is one connection, ready for a transaction. It belongs to one goroutine;
// only [Conn.Abort] may be called from others.
type Conn struct {
	raw    net.Conn // the TCP connection: closing it ends every wait
	rw     net.Conn // raw, or TLS on top of it
	br     *bufio.Reader
	buf    []byte // written by us, not yet sent
	text   []byte // scratch of the reply reader
	opts   Options
	ext    Extensions
	tls    *tls.ConnectionState
	done   int       // transactions that ran on this connection
	dirty  bool      // the server may hold a half-open transaction: RSET first
	proven bool      // a message was taken by BDAT here
	until  time.Time // when the running transaction has to be through, its last answer apart
	broken *Error    // why the connection cannot be used; nil while it can
}

// Sizes of the buffers of a connection.
const (
	writeBuffer = 16 << 10
	readBuffer  = 4 << 10 // also the longest reply line
)

// Dial connects and greets, and returns a connection ready for [Conn.Send].
// Every error is an [*Error].
func Dial(ctx context.Context, opts Options) (*Conn, error) {
	if opts.Network == nil {
		opts.Network = netx.System{}
	}
	if opts.Logger == nil {
		opts.Logger = slog.New(slog.DiscardHandler)
	}
	if opts.TLS == "" {
		opts.TLS = TLSOpportunistic
	}
	opts.Timeouts = opts.Timeouts.withDefaults()
	if opts.Hello == "" || strings.ContainsAny(opts.Hello, " \r\n\t") {
		return nil, &Error{Phase: PhaseConnect, Err: fmt.Errorf("EHLO name %q: %w", opts.Hello, errHello)}
	}
	dialCtx, cancel := context.WithTimeoutCause(ctx, opts.Timeouts.Connect, errConnectTimeout)
	defer cancel()
	raw, err := opts.Network.Dial(dialCtx, opts.Local, opts.Remote)
	if err != nil {
		if cause := context.Cause(dialCtx); cause != nil {
			err = cause
		}
		return nil, &Error{Phase: PhaseConnect, Host: opts.Host, Remote: opts.Remote, Err: err}
	}
	c := &Conn{raw: raw, rw: raw, br: bufio.NewReaderSize(raw, readBuffer), buf: make([]byte, 0, writeBuffer), opts: opts}
	stop := context.AfterFunc(ctx, c.Abort)
	failure := c.greet(ctx)
	if !stop() && failure == nil {
		failure = c.fail(PhaseHello, context.Cause(ctx))
	}
	if failure != nil {
		if ctx.Err() != nil {
			failure.Err = context.Cause(ctx)
		}
		opts.Logger.LogAttrs(ctx, slog.LevelDebug, "connection failed",
			slog.String("host", opts.Host), slog.String("phase", string(failure.Phase)), slog.Any("error", failure))
		c.Abort()
		return nil, failure
	}
	return c, nil
}

var (
	errHello          = errors.New("not a host name")
	errConnectTimeout = fmt.Errorf("connecting: %w", context.DeadlineExceeded)
	errEarly          = errors.New("server answered before the end of the message")
)

// Extensions is what the server offered in its last EHLO.
func (c *Conn) Extensions() Extensions { return c.ext }

// TLS is the state of the encrypted session, nil in clear. Its VerifiedChains
// are empty unless the policy was [TLSVerified].
func (c *Conn) TLS() *tls.ConnectionState { return c.tls }

// Remote is the address that the connection goes to.
func (c *Conn) Remote() netip.AddrPort { return c.opts.Remote }

// Host is the exchanger's name as given to [Dial].
func (c *Conn) Host() string { return c.opts.Host }

// Transactions is how many ran on this connection.
func (c *Conn) Transactions() int { return c.done }

// Abort cuts the connection at once, without QUIT. It may be called from any
// goroutine; a running Send then fails.
func (c *Conn) Abort() { _ = c.raw.Close() }

// Close ends the connection with QUIT if it is still usable (RFC 5321 section
// 4.1.1.10) and waits for the answer no longer than Timeouts.Quit.
func (c *Conn) Close() error {
	if c.broken == nil {
		c.line("QUIT")
		_ = c.rw.SetDeadline(time.Now().Add(c.opts.Timeouts.Quit))
		if _, err := c.rw.Write(c.buf); err == nil {
			_, _ = c.readReply(nil)
		}
		_ = c.fail(PhaseQuit, net.ErrClosed)
	}
	return c.hangUp()
}

// hangUp closes the socket under TLS: a close_notify to a peer that stopped
// reading would wait for seconds.
func (c *Conn) hangUp() error { return c.raw.Close() }
