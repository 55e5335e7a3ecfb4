// SPDX-License-Identifier: Apache-2.0

package smtpserver

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"sync"
	"time"

	"github.com/seguemta/segue/mta/rfc5321"
)

// What the client did that ends its connection.
var (
	errDraining    = errors.New("shutting down")
	errLongCommand = errors.New("command line too long")
	errTooMuch     = errors.New("more than twice the largest message")
)

const (
	smallBuffer = 4 << 10   // while commands are read: what an idle connection holds
	bigBuffer   = 32 << 10  // while message text is read
	maxCommand  = 12288 + 2 // RFC 4954 section 4: the longest AUTH line
	maxReplies  = 16 << 10  // pipelined replies held back
)

// Conn is one client connection. Everything but the part under mu belongs to
// the one goroutine that speaks with the client: go-smtp's.
type Conn struct {
	srv     *Server
	handoff *handoff
	done    func() // told once, when the connection is closed
	ctx     context.Context
	cancel  context.CancelFunc // also closes the socket
	keep    func() bool        // undoes that
	raw     net.Conn
	nc      net.Conn // raw, or TLS over it
	remote  netip.Addr
	host    netip.Prefix // whom limits count
	tls     bool

	buf   []byte // small, or *big
	r, w  int    // buf[r:w] is read and not yet used
	small []byte
	big   *[]byte // from Server.buffers while message text is read

	out   []byte // replies that have not left
	reply []byte // what go-smtp answered to the current command

	command     command
	greeted     bool
	esmtp       bool
	helo        string
	authed      bool
	authOffered bool
	last        int            // code of the last reply of go-smtp where it awaits more: 334, 354
	override    *rfc5321.Reply // said in place of go-smtp's reply
	dead        bool           // nothing more is read or said
	linger      bool           // let the client read our last words
	upgraded    bool           // a new conversation begins over TLS
	closed      bool

	rcpts    int   // accepted in this transaction
	declared int64 // SIZE of MAIL, octets
	text     text
	errors   int // 4xx and 5xx since the last accepted message
	idle     int // commands that lead nowhere since then

	mu struct {
		sync.Mutex
		idle bool // waits for a command outside a transaction
		inTx bool // between MAIL and the reply to the message
	}
}

func newConn(ctx context.Context, s *Server, nc net.Conn) *Conn {
	ctx, cancel := context.WithCancel(ctx)
	c := &Conn{
		srv: s, ctx: ctx, cancel: cancel, raw: nc, nc: nc,
		remote: remoteAddr(nc), small: make([]byte, smallBuffer),
	}
	c.buf = c.small
	c.host = hostOf(c.remote)
	c.keep = context.AfterFunc(ctx, func() { _ = nc.Close() })
	return c
}

// remoteAddr is the client's address, IPv4 also where it came in IPv6 form. It
// is not valid where the connection has none (a pipe): trusted by nobody.
func remoteAddr(nc net.Conn) netip.Addr {
	if nc.RemoteAddr() == nil {
		return netip.Addr{}
	}
	ap, err := netip.ParseAddrPort(nc.RemoteAddr().String())
	if err != nil {
		return netip.Addr{}
	}
	return ap.Addr().Unmap().WithZone("")
}

// hostOf is whom a limit per address counts: an IPv4 address, or an IPv6 /64,
// since one host has all of it.
func hostOf(a netip.Addr) netip.Prefix {
	bits := 64
	if a.Is4() {
		bits = 32
	}
	p, err := a.Prefix(bits)
	if err != nil {
		return netip.Prefix{}
	}
	return p
}

// RemoteAddr is the client's address; the zero Addr where it has none.
func (c *Conn) RemoteAddr() netip.Addr { return c.remote }

// TLS reports whether the conversation is encrypted.
func (c *Conn) TLS() bool { return c.tls }

// Helo is what the client called itself, printable ASCII.
func (c *Conn) Helo() string { return c.helo }

// Protocol is the "with" of a Received line (RFC 3848, RFC 6531): SMTP, ESMTP,
// ESMTPS, ESMTPA, ESMTPSA, or UTF8 in front of the last four in a transaction
// with SMTPUTF8.
func (c *Conn) Protocol(utf8 bool) string {
	if !c.esmtp {
		return "SMTP"
	}
	p := "ESMTP"
	if utf8 {
		p = "UTF8SMTP"
	}
	if c.tls {
		p += "S"
	}
	if c.authed {
		p += "A"
	}
	return p
}

// fill reads once from the client, after everything said has left.
func (c *Conn) fill() error {
	if c.r > 0 {
		copy(c.buf, c.buf[c.r:c.w])
		c.r, c.w = 0, c.w-c.r
	}
	if c.w == len(c.buf) {
		grown := make([]byte, min(2*len(c.buf), maxCommand+smallBuffer))
		copy(grown, c.buf[:c.w])
		c.buf = grown
	}
	n, err := c.nc.Read(c.buf[c.w:])
	c.w += n
	if n > 0 {
		return nil
	}
	if err == nil {
		err = io.ErrNoProgress
	}
	return err
}

// widen takes a large buffer for message text, narrow gives it back.
func (c *Conn) widen() {
	if c.big != nil {
		return
	}
	b, ok := c.srv.buffers.Get().(*[]byte)
	if !ok {
		return // the pool holds nothing else
	}
	c.w = copy(*b, c.buf[c.r:c.w])
	c.r = 0
	c.buf, c.big = *b, b
}

func (c *Conn) narrow() {
	if c.big == nil || c.w-c.r > smallBuffer {
		return
	}
	c.w = copy(c.small, c.buf[c.r:c.w])
	c.r = 0
	c.buf = c.small
	c.srv.buffers.Put(c.big)
	c.big = nil
}

// flush sends what was said.
func (c *Conn) flush() error {
	if len(c.out) == 0 {
		return nil
	}
	if err := c.raw.SetWriteDeadline(time.Now().Add(c.srv.opts.Timeouts.Write)); err != nil {
		return err
	}
	_, err := c.nc.Write(c.out)
	c.out = c.out[:0]
	return err
}

// line is the next line with its CRLF, valid until the next read.
func (c *Conn) line() ([]byte, error) {
	if c.srv.draining.Load() && !c.inTx() {
		return nil, errDraining
	}
	line, err := c.cutLine()
	if line != nil || err != nil {
		return line, err
	}
	if err := c.flush(); err != nil {
		return nil, err
	}
	c.narrow()
	if err := c.wait(); err != nil {
		return nil, err
	}
	for line == nil && err == nil {
		if err = c.fill(); err == nil {
			line, err = c.cutLine()
		}
	}
	return line, c.awake(err)
}

// cutLine takes a line off the buffer; nil where none is complete.
func (c *Conn) cutLine() ([]byte, error) {
	got := c.buf[c.r:c.w]
	i := bytes.IndexByte(got, '\n')
	switch {
	case i < 0 && len(got) > maxCommand, i > maxCommand:
		return nil, errLongCommand
	case i < 0:
		if j := bytes.IndexByte(got, '\r'); j >= 0 && j < len(got)-1 {
			return nil, errBareLineEnd
		}
		return nil, nil
	case i == 0, got[i-1] != '\r', bytes.IndexByte(got[:i-1], '\r') >= 0:
		return nil, errBareLineEnd
	}
	c.r += i + 1
	return got[:i+1], nil
}

// wait marks the connection as one that a shutdown may wake.
func (c *Conn) wait() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.srv.draining.Load() && !c.mu.inTx {
		return errDraining
	}
	c.mu.idle = !c.mu.inTx
	return c.raw.SetReadDeadline(time.Now().Add(c.srv.opts.Timeouts.Command))
}

func (c *Conn) awake(err error) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	idle := c.mu.idle
	c.mu.idle = false
	if idle && c.srv.draining.Load() && errors.Is(err, os.ErrDeadlineExceeded) {
		return errDraining
	}
	return err
}

// interrupt wakes an idle connection, which then finds that the server drains.
func (c *Conn) interrupt() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.mu.idle {
		_ = c.raw.SetReadDeadline(time.Unix(1, 0)) // fails on a closed socket only
	}
}

// cut closes without a word and reports whether a transaction was open.
func (c *Conn) cut() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.cancel()
	return c.mu.inTx
}

func (c *Conn) inTx() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.mu.inTx
}

func (c *Conn) setTx(open bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.mu.inTx = open
}

// handshake puts TLS over the socket.
func (c *Conn) handshake() error {
	ctx, cancel := context.WithTimeout(c.ctx, c.srv.opts.Timeouts.TLS)
	defer cancel()
	if err := c.wait(); err != nil {
		return err
	}
	if err := c.raw.SetWriteDeadline(time.Now().Add(c.srv.opts.Timeouts.TLS)); err != nil {
		return err
	}
	t := tls.Server(c.raw, c.srv.opts.TLSConfig)
	if err := c.awake(t.HandshakeContext(ctx)); err != nil {
		return err
	}
	c.nc, c.tls = t, true
	return nil
}

// shut says the last words and closes.
func (c *Conn) shut() {
	if c.closed {
		return
	}
	c.closed, c.dead = true, true
	if err := c.flush(); err == nil && c.linger {
		c.drainInput()
	}
	c.keep()
	c.cancel()
	_ = c.raw.Close() // nothing is left to say or to lose
	c.forget()
	c.setTx(false)
	if c.big != nil {
		c.srv.buffers.Put(c.big)
		c.big, c.buf = nil, nil
	}
	c.srv.remove(c)
	c.done()
}

// drainInput reads and forgets until the client closes: a socket closed with
// unread input makes most systems throw away the reply that is under way.
func (c *Conn) drainInput() {
	type halfCloser interface{ CloseWrite() error }
	if h, ok := c.nc.(halfCloser); ok {
		_ = h.CloseWrite() // what follows ends by the deadline anyway
	}
	if err := c.raw.SetReadDeadline(time.Now().Add(c.srv.opts.Timeouts.Linger)); err != nil {
		return
	}
	for {
		if _, err := c.raw.Read(c.buf); err != nil {
			return
		}
	}
}
