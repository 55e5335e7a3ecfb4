// SPDX-License-Identifier: Apache-2.0

package mtatest

import (
	"io"
	"net"
	"os"
	"sync"
	"syscall"
	"time"
)

// stream is one direction of a connection: a bounded buffer.
type stream struct {
	mu     sync.Mutex
	cond   sync.Cond
	buf    []byte
	window int
	eof    bool  // the writer has closed: EOF after what is buffered
	gone   bool  // the reader has closed: writes fail
	reset  error // cut: both sides fail at once
}

func newStream(window int) *stream {
	s := &stream{window: window}
	s.cond.L = &s.mu
	return s
}

func (s *stream) update(f func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f()
	s.cond.Broadcast()
}

// deadline is a point in time after which waits on a stream fail.
type deadline struct {
	passed bool // guarded by the stream's lock
	timer  *time.Timer
}

func (s *stream) setDeadline(d *deadline, t time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if d.timer != nil {
		d.timer.Stop()
		d.timer = nil
	}
	d.passed = false
	s.cond.Broadcast()
	if t.IsZero() {
		return
	}
	wait := time.Until(t)
	if wait <= 0 {
		d.passed = true
		return
	}
	var timer *time.Timer
	timer = time.AfterFunc(wait, func() {
		s.update(func() {
			if d.timer == timer {
				d.passed = true
			}
		})
	})
	d.timer = timer
}

func (s *stream) read(p []byte, d *deadline, closed *bool) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for {
		switch {
		case *closed:
			return 0, net.ErrClosed
		case s.reset != nil:
			return 0, s.reset
		case d.passed:
			return 0, os.ErrDeadlineExceeded
		case len(s.buf) > 0:
			n := copy(p, s.buf)
			s.buf = s.buf[:copy(s.buf, s.buf[n:])]
			s.cond.Broadcast()
			return n, nil
		case s.eof:
			return 0, io.EOF
		case len(p) == 0:
			return 0, nil
		}
		s.cond.Wait()
	}
}

func (s *stream) write(p []byte, d *deadline, closed *bool) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	done := 0
	for {
		switch {
		case *closed:
			return done, net.ErrClosed
		case s.reset != nil:
			return done, s.reset
		case s.gone || s.eof:
			return done, syscall.EPIPE
		case d.passed:
			return done, os.ErrDeadlineExceeded
		case len(p) == done:
			return done, nil
		}
		if n := min(s.window-len(s.buf), len(p)-done); n > 0 {
			s.buf = append(s.buf, p[done:done+n]...)
			done += n
			s.cond.Broadcast()
			if done == len(p) {
				return done, nil
			}
		}
		s.cond.Wait()
	}
}

// Conn is one end of an in-memory connection. Methods are safe for concurrent
// use as those of net.Conn are.
type Conn struct {
	in, out       *stream
	local, remote net.Addr
	rd, wd        deadline
	rclosed       bool // guarded by in.mu
	wclosed       bool // guarded by out.mu
}

var _ net.Conn = (*Conn)(nil)

// newConns returns both ends. The windows are what client and server may send
// before the other reads.
func newConns(client, server net.Addr, upWindow, downWindow int) (*Conn, *Conn) {
	up, down := newStream(upWindow), newStream(downWindow)
	return &Conn{in: down, out: up, local: client, remote: server}, &Conn{in: up, out: down, local: server, remote: client}
}

// Read returns what the peer has written; io.EOF once it has closed and all is read.
func (c *Conn) Read(p []byte) (int, error) {
	n, err := c.in.read(p, &c.rd, &c.rclosed)
	return n, c.wrap("read", err)
}

// Write waits while the peer's window is full.
func (c *Conn) Write(p []byte) (int, error) {
	n, err := c.out.write(p, &c.wd, &c.wclosed)
	return n, c.wrap("write", err)
}

func (c *Conn) wrap(op string, err error) error {
	if err == nil || err == io.EOF { //nolint:errorlint // io.EOF is never wrapped by a net.Conn
		return err
	}
	return &net.OpError{Op: op, Net: "mem", Source: c.local, Addr: c.remote, Err: err}
}

// CloseWrite ends our direction: the peer reads what is buffered, then EOF.
func (c *Conn) CloseWrite() error {
	c.out.update(func() { c.out.eof = true })
	return nil
}

// Close ends both directions. What we wrote can still be read by the peer.
func (c *Conn) Close() error {
	c.in.update(func() { c.rclosed, c.in.gone = true, true })
	c.out.update(func() { c.wclosed, c.out.eof = true, true })
	c.stopTimers()
	return nil
}

// Reset cuts the connection as a TCP RST does: the peer's next read or write
// fails, and what was buffered is lost.
func (c *Conn) Reset() {
	cut := func(s *stream) { s.update(func() { s.reset, s.buf = syscall.ECONNRESET, nil }) }
	cut(c.in)
	cut(c.out)
	_ = c.Close()
}

func (c *Conn) stopTimers() {
	c.in.setDeadline(&c.rd, time.Time{})
	c.out.setDeadline(&c.wd, time.Time{})
}

// LocalAddr is our end.
func (c *Conn) LocalAddr() net.Addr { return c.local }

// RemoteAddr is the peer's end.
func (c *Conn) RemoteAddr() net.Addr { return c.remote }

// SetDeadline sets both deadlines.
func (c *Conn) SetDeadline(t time.Time) error {
	_ = c.SetReadDeadline(t)
	return c.SetWriteDeadline(t)
}

// SetReadDeadline bounds reads, also one that is waiting.
func (c *Conn) SetReadDeadline(t time.Time) error {
	c.in.setDeadline(&c.rd, t)
	return nil
}

// SetWriteDeadline bounds writes, also one that is waiting.
func (c *Conn) SetWriteDeadline(t time.Time) error {
	c.out.setDeadline(&c.wd, t)
	return nil
}
