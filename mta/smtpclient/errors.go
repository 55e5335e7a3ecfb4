// SPDX-License-Identifier: Apache-2.0

package smtpclient

import (
	"context"
	"errors"
	"net/netip"
	"strings"

	"github.com/seguemta/segue/mta/rfc5321"
)

// Phase is where in the dialogue something happened.
type Phase string

// The phases in the order of a delivery.
const (
	PhaseConnect  Phase = "connect"
	PhaseBanner   Phase = "banner"
	PhaseHello    Phase = "ehlo"
	PhaseStartTLS Phase = "starttls" // the command and the handshake
	PhaseCheck    Phase = "check"    // refused here, before MAIL was sent
	PhaseReset    Phase = "rset"
	PhaseMail     Phase = "mail"
	PhaseRcpt     Phase = "rcpt"
	PhaseData     Phase = "data" // the command and its 354
	PhaseBody     Phase = "body" // while the message was written
	PhaseDot      Phase = "dot"  // after the final dot, or the last octet of BDAT LAST
	PhaseQuit     Phase = "quit"
)

// Errors that an [*Error] may wrap.
var (
	// ErrReply says that the server sent something that is no SMTP reply, or a
	// reply that cannot follow the command.
	ErrReply = errors.New("malformed or unexpected reply")
	// ErrNoTLS says that the policy requires TLS and the server does not offer it.
	ErrNoTLS = errors.New("server does not offer STARTTLS, which the policy requires")
	// ErrLineEnding says that a message holds a bare CR or LF. Sent on, it could
	// smuggle a second message past a lenient server.
	ErrLineEnding = errors.New("message holds a bare CR or LF")
)

// Error says why a connection to an exchanger cannot be used. It is always
// temporary: it says nothing about a recipient. A 5xx banner is in Reply, but
// the next host of the site may still greet us.
type Error struct {
	Phase  Phase
	Host   string         // MX name
	Remote netip.AddrPort // the address that was dialled
	Reply  rfc5321.Reply  // the reply that ended it (4xx, 5xx, 421); Code 0: none came

	// Sent: the end of the message had left and no reply came, so the message may have
	// been accepted (RFC 1047). A retry may duplicate it.
	Sent bool
	// TLSFailed: the handshake failed under TLSOpportunistic. The caller may
	// dial again with TLSNone (RFC 7435 section 3: some is better than none).
	TLSFailed bool
	// Stale: the connection had been used before and broke before any reply to
	// this transaction: the server had most likely closed it while idle (its 421
	// may be in Reply). Nothing was answered, and most likely nothing read; dial again.
	Stale bool
	// Chunking: the server offers CHUNKING and broke at BDAT, or may have. The next
	// connection to this host is better made with [Options.NoChunking]. Where BDAT was
	// refused as a command (Reply says so, and Sent is false), it may be made at once.
	Chunking bool

	Err error // the cause; nil where Reply says it all
}

// Error is one line: host, phase and cause.
func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString("smtp ")
	b.WriteString(string(e.Phase))
	if e.Host != "" || e.Remote.IsValid() {
		b.WriteString(" with ")
		b.WriteString(e.Host)
		if e.Remote.IsValid() {
			b.WriteString("[" + e.Remote.String() + "]")
		}
	}
	if e.Reply.Code != 0 {
		b.WriteString(": server said " + e.Reply.String())
	}
	if e.Err != nil {
		b.WriteString(": " + e.Err.Error())
	}
	if e.Sent {
		b.WriteString(" (after the message was sent: it may have been accepted)")
	}
	return b.String()
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// Timeout reports whether a deadline passed, ours or the kernel's.
func (e *Error) Timeout() bool {
	var t interface{ Timeout() bool }
	return errors.Is(e.Err, context.DeadlineExceeded) || (errors.As(e.Err, &t) && t.Timeout())
}

// fail marks the connection unusable and says why. The first reason stays.
func (c *Conn) fail(p Phase, err error) *Error {
	e := &Error{Phase: p, Host: c.opts.Host, Remote: c.opts.Remote, Err: err}
	if c.broken == nil {
		c.broken = e
	}
	return e
}

// failReply is fail for a reply that ends the connection.
func (c *Conn) failReply(p Phase, r rfc5321.Reply) *Error {
	e := c.fail(p, nil)
	e.Reply = r
	return e
}
