// SPDX-License-Identifier: Apache-2.0

package smtpclient

import (
	"context"
	"crypto/tls"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/seguemta/segue/mta/rfc5321"
)

// Extensions is what a server offers in answer to EHLO. Keywords are read in
// any case.
type Extensions struct {
	EHLO          bool  // false: the server knows HELO only
	Pipelining    bool  // RFC 2920
	EightBitMIME  bool  // RFC 6152
	SMTPUTF8      bool  // RFC 6531
	StartTLS      bool  // RFC 3207
	Chunking      bool  // RFC 3030
	EnhancedCodes bool  // RFC 2034
	DSN           bool  // RFC 3461
	RequireTLS    bool  // RFC 8689
	HasSize       bool  // RFC 1870
	Size          int64 // largest message in octets; 0: no limit named, or none that can be meant
	MaxRecipients int   // LIMITS RCPTMAX (RFC 9422); 0: none named
	MaxMails      int   // LIMITS MAILMAX: transactions in a connection; 0: none named
}

// minSize is what every server takes (RFC 5321 section 4.5.3.1.7). One that
// names less is asked by MAIL: mail does not bounce over a number that cannot be
// meant.
const minSize = 64 << 10

func (e *Extensions) add(text []byte) {
	keyword, args, _ := strings.Cut(strings.TrimSpace(string(clean(text))), " ")
	switch strings.ToUpper(keyword) {
	case "PIPELINING":
		e.Pipelining = true
	case "8BITMIME":
		e.EightBitMIME = true
	case "SMTPUTF8":
		e.SMTPUTF8 = true
	case "STARTTLS":
		e.StartTLS = true
	case "CHUNKING":
		e.Chunking = true
	case "ENHANCEDSTATUSCODES":
		e.EnhancedCodes = true
	case "DSN":
		e.DSN = true
	case "REQUIRETLS":
		e.RequireTLS = true
	case "SIZE":
		e.HasSize = true
		if n, err := strconv.ParseInt(strings.TrimSpace(args), 10, 64); err == nil && n >= minSize {
			e.Size = n
		}
	case "LIMITS":
		e.limits(args)
	}
}

func (e *Extensions) limits(args string) {
	for word := range strings.FieldsSeq(args) {
		name, value, _ := strings.Cut(word, "=")
		n, err := strconv.Atoi(value)
		if err != nil || n < 1 {
			continue
		}
		switch strings.ToUpper(name) {
		case "RCPTMAX":
			e.MaxRecipients = n
		case "MAILMAX":
			e.MaxMails = n
		}
	}
}

// greet takes the connection from connected to ready for MAIL.
func (c *Conn) greet(ctx context.Context) *Error {
	banner, err := c.await(PhaseBanner, c.opts.Timeouts.Banner, nil)
	if err != nil {
		return err
	}
	if banner.Code != 220 {
		return c.failReply(PhaseBanner, banner)
	}
	if err := c.hello(); err != nil {
		return err
	}
	return c.startTLS(ctx)
}

// hello says EHLO, and HELO to a server that does not know it (RFC 5321 section
// 3.2). A server that defers (4xx) or says 421 gets neither.
func (c *Conn) hello() *Error {
	c.ext = Extensions{}
	first, ext := true, Extensions{EHLO: true}
	reply, err := c.ask(PhaseHello, "EHLO "+c.opts.Hello, func(text []byte) {
		if !first {
			ext.add(text)
		}
		first = false
	})
	if err != nil {
		return err
	}
	if positive(reply) {
		c.ext = ext
		return nil
	}
	if !reply.Permanent() {
		return c.failReply(PhaseHello, reply)
	}
	helo, err := c.ask(PhaseHello, "HELO "+c.opts.Hello, nil)
	if err != nil {
		return err
	}
	if !positive(helo) {
		// The answer to EHLO is the one that explains.
		return c.failReply(PhaseHello, reply)
	}
	return nil
}

// startTLS does what the policy says. When a server that offers STARTTLS
// refuses it, opportunistic mail goes on in clear on the same connection.
func (c *Conn) startTLS(ctx context.Context) *Error {
	required := c.opts.TLS == TLSRequired || c.opts.TLS == TLSVerified
	switch {
	case c.opts.TLS == TLSNone:
		return nil
	case !c.ext.StartTLS && required:
		return c.fail(PhaseStartTLS, ErrNoTLS)
	case !c.ext.StartTLS:
		return nil
	}
	reply, err := c.ask(PhaseStartTLS, "STARTTLS", nil)
	switch {
	case err != nil:
		return c.tlsFailed(err)
	case reply.Code != 220 && required:
		return c.failReply(PhaseStartTLS, reply)
	case reply.Code != 220:
		c.ext.StartTLS = false
		return nil
	case c.br.Buffered() > 0:
		// Clear text behind the 220 would be read as if it came through TLS.
		return c.fail(PhaseStartTLS, fmt.Errorf("%w: clear text after the answer to STARTTLS", ErrReply))
	}
	if err := c.handshake(ctx); err != nil {
		return c.tlsFailed(err)
	}
	// In TLS 1.3 the server may still refuse the handshake when we believe it done.
	return c.tlsFailed(c.hello())
}

// tlsFailed marks the error of a server that said nothing any more once TLS was
// asked for: opportunistic mail may be sent to it in clear.
func (c *Conn) tlsFailed(e *Error) *Error {
	if e != nil && e.Reply.Code == 0 {
		e.TLSFailed = c.opts.TLS == TLSOpportunistic
	}
	return e
}

func (c *Conn) handshake(ctx context.Context) *Error {
	cfg := &tls.Config{MinVersion: tls.VersionTLS12}
	if c.opts.TLSConfig != nil {
		cfg = c.opts.TLSConfig.Clone()
	}
	cfg.ServerName = strings.TrimSuffix(c.opts.Host, ".")
	cfg.InsecureSkipVerify = c.opts.TLS != TLSVerified
	_ = c.raw.SetDeadline(time.Now().Add(c.opts.Timeouts.TLS))
	session := tls.Client(c.raw, cfg)
	if err := session.HandshakeContext(ctx); err != nil {
		return c.fail(PhaseStartTLS, fmt.Errorf("tls handshake: %w", err))
	}
	state := session.ConnectionState()
	c.rw, c.tls = session, &state
	c.br.Reset(session)
	return nil
}

// ask sends one command and reads its reply; 421 is an error.
func (c *Conn) ask(p Phase, line string, each func(text []byte)) (rfc5321.Reply, *Error) {
	c.line(line)
	werr := c.flush()
	timeout := c.timeout(p)
	if werr != nil {
		timeout = min(timeout, grace)
	}
	r, err := c.await(p, timeout, each)
	if err != nil && werr != nil {
		err.Err = werr
	}
	return r, err
}

// await reads one reply within the timeout; 421 is an error, since the server
// closes after it (RFC 5321 section 3.8).
func (c *Conn) await(p Phase, timeout time.Duration, each func(text []byte)) (rfc5321.Reply, *Error) {
	deadline := time.Now().Add(timeout)
	if p != PhaseDot {
		deadline = c.by(timeout)
	}
	_ = c.rw.SetReadDeadline(deadline)
	r, err := c.readReply(each)
	if err != nil {
		return rfc5321.Reply{}, c.fail(p, fmt.Errorf("reading the reply: %w", err))
	}
	if r.Code == 421 {
		return r, c.failReply(p, r)
	}
	return r, nil
}

// by is when something that may take d has to be over: never later than the
// whole transaction.
func (c *Conn) by(d time.Duration) time.Time {
	t := time.Now().Add(d)
	if !c.until.IsZero() && c.until.Before(t) {
		return c.until
	}
	return t
}

// timeout is how long the reply of a phase may take.
func (c *Conn) timeout(p Phase) time.Duration {
	t := &c.opts.Timeouts
	switch p {
	case PhaseBanner:
		return t.Banner
	case PhaseHello:
		return t.Hello
	case PhaseStartTLS:
		return t.TLS
	case PhaseRcpt:
		return t.Rcpt
	case PhaseData:
		return t.Data
	case PhaseDot:
		return t.Dot
	case PhaseQuit:
		return t.Quit
	default:
		return t.Mail
	}
}

func positive(r rfc5321.Reply) bool { return r.Code >= 200 && r.Code < 300 }

// grace is how long we look for the server's last words after it stopped
// taking ours.
const grace = time.Second
