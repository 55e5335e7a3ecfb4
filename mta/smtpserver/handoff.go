// SPDX-License-Identifier: Apache-2.0

package smtpserver

import (
	"net"
	"sync"
)

// handoff is the listener that go-smtp sees: its connections are those that the
// Server has let in, and those that begin anew after STARTTLS.
type handoff struct {
	addr  net.Addr
	conns chan net.Conn
	ended chan struct{}
	once  sync.Once
}

func newHandoff(addr net.Addr) *handoff {
	return &handoff{addr: addr, conns: make(chan net.Conn), ended: make(chan struct{})}
}

// give must not be called after stop.
func (h *handoff) give(c net.Conn) {
	select {
	case h.conns <- c:
	case <-h.ended:
		_ = c.Close() // nobody is left to speak to it
	}
}

func (h *handoff) stop() { h.once.Do(func() { close(h.ended) }) }

// Accept implements net.Listener.
func (h *handoff) Accept() (net.Conn, error) {
	select {
	case c := <-h.conns:
		return c, nil
	case <-h.ended:
		return nil, net.ErrClosed
	}
}

// Close implements net.Listener.
func (h *handoff) Close() error {
	h.stop()
	return nil
}

// Addr implements net.Listener.
func (h *handoff) Addr() net.Addr { return h.addr }
