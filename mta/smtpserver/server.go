// SPDX-License-Identifier: Apache-2.0

package smtpserver

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/emersion/go-smtp"
)

// Server accepts connections and speaks SMTP on them. Its methods are safe for
// concurrent use.
type Server struct {
	opts     Options
	log      *slog.Logger
	metrics  *metrics
	buffers  sync.Pool // of *[]byte, for message text
	draining atomic.Bool

	mu struct {
		sync.Mutex
		listeners map[net.Listener]struct{}
		conns     map[*Conn]struct{}
		perHost   map[netip.Prefix]int
		empty     chan struct{} // closed when the last connection has gone; nil unless Shutdown waits
	}
}

// CutError is what [Server.Shutdown] returns when clients did not finish in time.
type CutError struct {
	Connections  int   // closed without a word
	Transactions int   // of them between MAIL and the reply to the message
	Err          error // why the wait ended
}

// Error says how many were cut.
func (e *CutError) Error() string {
	return fmt.Sprintf("cut %d connections, %d of them within a transaction: %v", e.Connections, e.Transactions, e.Err)
}

// Unwrap gives the reason, usually that of a context.
func (e *CutError) Unwrap() error { return e.Err }

// New checks the options and makes a Server.
func New(opts Options) (*Server, error) {
	opts.setDefaults()
	if err := opts.validate(); err != nil {
		return nil, fmt.Errorf("setting up the %s listener: %w", opts.Purpose, err)
	}
	m, err := newMetrics(opts.Registerer, opts.Purpose)
	if err != nil {
		return nil, fmt.Errorf("setting up the %s listener: %w", opts.Purpose, err)
	}
	s := &Server{
		opts:    opts,
		log:     opts.Logger.With(slog.String("listener", opts.Purpose)),
		metrics: m,
	}
	size := max(bigBuffer, opts.MaxLine+64)
	s.buffers.New = func() any {
		b := make([]byte, size)
		return &b
	}
	s.mu.listeners = map[net.Listener]struct{}{}
	s.mu.conns = map[*Conn]struct{}{}
	s.mu.perHost = map[netip.Prefix]int{}
	return s, nil
}

// Serve accepts connections on ln until [Server.Shutdown] (it then returns nil
// once the last connection has ended; at once, where Shutdown came first), until ctx ends (connections are cut
// without a word), or until ln fails. It closes ln.
func (s *Server) Serve(ctx context.Context, ln net.Listener) error {
	if !s.addListener(ln) {
		return ln.Close()
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stop := context.AfterFunc(ctx, func() { s.removeListener(ln) })
	defer stop()

	inner := s.inner()
	h := newHandoff(ln.Addr())
	gone := make(chan struct{})
	go func() {
		defer close(gone)
		_ = inner.Serve(h) // ends with the hand-off, and for no other reason
	}()
	var conns sync.WaitGroup
	err := s.accept(ctx, ln, acceptor{handoff: h, conns: &conns})
	s.removeListener(ln)
	if err != nil {
		cancel()
	}
	conns.Wait()
	h.stop()
	<-gone
	return err
}

// inner is the go-smtp server that interprets command lines. Timeouts, limits
// and TLS are ours: it has none.
func (s *Server) inner() *smtp.Server {
	inner := smtp.NewServer(smtp.BackendFunc(newSession))
	inner.Domain = s.opts.Hostname
	inner.MaxLineLength = 0
	inner.MaxMessageBytes = s.opts.MaxSize
	inner.AllowInsecureAuth = true // the handler decides, see session.Auth
	inner.EnableSMTPUTF8 = s.opts.UTF8
	inner.EnableDSN = true // parameters are read, the extension is not offered
	inner.ErrorLog = errorLog{s.log}
	return inner
}

// errorLog carries go-smtp's rare words (a panic in a handler) to slog.
type errorLog struct{ log *slog.Logger }

func (l errorLog) Printf(format string, args ...any) {
	l.log.Error("smtp conversation failed", slog.String("error", fmt.Sprintf(format, args...)))
}

func (l errorLog) Println(args ...any) {
	l.log.Error("smtp conversation failed", slog.String("error", fmt.Sprint(args...)))
}

type acceptor struct {
	handoff *handoff
	conns   *sync.WaitGroup
}

const maxAcceptFailures = 20

func (s *Server) accept(ctx context.Context, ln net.Listener, a acceptor) error {
	failures := 0
	for {
		nc, err := ln.Accept()
		switch {
		case err == nil:
			failures = 0
			s.start(ctx, nc, a)
		case s.draining.Load() || ctx.Err() != nil:
			return nil
		case errors.Is(err, net.ErrClosed) || failures >= maxAcceptFailures:
			return fmt.Errorf("accepting a connection: %w", err)
		default: // out of descriptors, most likely: wait for some to come back
			failures++
			s.log.Warn("accepting a connection failed", slog.String("error", err.Error()))
			pause(ctx, time.Duration(failures)*50*time.Millisecond)
		}
	}
}

func pause(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	}
}

// start makes nc a Conn and sends it to go-smtp, or turns it away.
func (s *Server) start(ctx context.Context, nc net.Conn, a acceptor) {
	c := newConn(ctx, s, nc)
	c.handoff = a.handoff
	c.done = a.conns.Done
	if reason := s.add(c); reason != "" {
		s.metrics.refused.WithLabelValues(s.opts.Purpose, reason).Inc()
		s.turnAway(c, reason)
		return
	}
	a.conns.Add(1)
	if s.opts.TLS != TLSImplicit {
		c.handoff.give(&face{c: c})
		return
	}
	go func() { //nolint:contextcheck // a Conn has the context that it was made with
		if err := c.handshake(); err != nil {
			s.log.Debug("tls handshake failed", slog.String("error", err.Error()))
			c.shut()
			return
		}
		c.handoff.give(&face{c: c})
	}()
}

// turnAway answers in the banner's place and closes.
func (s *Server) turnAway(c *Conn, reason string) {
	defer c.cancel() // closes the socket
	if s.opts.TLS != TLSImplicit {
		text := "421 4.3.2 " + s.opts.Hostname + " too many connections, try again later\r\n"
		if reason == refusedDraining {
			text = "421 4.3.2 " + s.opts.Hostname + " is shutting down\r\n"
		}
		if err := c.raw.SetWriteDeadline(time.Now().Add(time.Second)); err == nil {
			_, _ = c.raw.Write([]byte(text)) // a courtesy: whoever does not read it sees the close
		}
	}
}

// Why a connection was turned away, label "reason".
const (
	refusedTotal    = "total"
	refusedAddress  = "address"
	refusedDraining = "draining"
)

func (s *Server) add(c *Conn) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.draining.Load():
		return refusedDraining
	case len(s.mu.conns) >= s.opts.MaxConnections:
		return refusedTotal
	case s.mu.perHost[c.host] >= s.opts.MaxConnectionsPerAddress && !s.opts.Exempt(c.remote):
		return refusedAddress
	}
	s.mu.conns[c] = struct{}{}
	s.mu.perHost[c.host]++
	s.metrics.connections.WithLabelValues(s.opts.Purpose).Inc()
	return ""
}

func (s *Server) remove(c *Conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.mu.conns, c)
	if s.mu.perHost[c.host]--; s.mu.perHost[c.host] == 0 {
		delete(s.mu.perHost, c.host)
	}
	s.metrics.connections.WithLabelValues(s.opts.Purpose).Dec()
	if len(s.mu.conns) == 0 && s.mu.empty != nil {
		close(s.mu.empty)
		s.mu.empty = nil
	}
}

func (s *Server) addListener(ln net.Listener) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.draining.Load() {
		return false
	}
	s.mu.listeners[ln] = struct{}{}
	return true
}

func (s *Server) removeListener(ln net.Listener) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.mu.listeners, ln)
	_ = ln.Close() // twice at worst
}
