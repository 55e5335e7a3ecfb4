// SPDX-License-Identifier: Apache-2.0

package smtpserver

import (
	"context"
	"log/slog"
)

// Shutdown ends the server in two steps. First it takes no new work: listeners
// close, idle clients get 421 and a client in a transaction gets it when that
// has ended. When ctx ends, what is left is cut and counted, and the error is a
// *[CutError]. A second call waits like the first.
func (s *Server) Shutdown(ctx context.Context) error {
	empty, conns := s.drain()
	for _, c := range conns {
		c.interrupt()
	}
	select {
	case <-empty:
		return nil
	case <-ctx.Done():
	}
	return s.cut(ctx)
}

func (s *Server) drain() (<-chan struct{}, []*Conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.draining.Store(true)
	for ln := range s.mu.listeners {
		_ = ln.Close() // Serve notices, and has nothing else to tell
	}
	conns := make([]*Conn, 0, len(s.mu.conns))
	for c := range s.mu.conns {
		conns = append(conns, c)
	}
	if s.mu.empty == nil {
		s.mu.empty = make(chan struct{})
	}
	empty := s.mu.empty
	if len(conns) == 0 {
		close(empty)
		s.mu.empty = nil
	}
	return empty, conns
}

func (s *Server) cut(ctx context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	e := &CutError{Err: ctx.Err()}
	for c := range s.mu.conns {
		e.Connections++
		if c.cut() {
			e.Transactions++
		}
	}
	if e.Connections == 0 {
		return nil
	}
	s.metrics.cut.WithLabelValues(s.opts.Purpose).Add(float64(e.Transactions))
	s.log.Warn("connections cut at shutdown", slog.Int("connections", e.Connections), slog.Int("transactions", e.Transactions))
	return e
}
