// SPDX-License-Identifier: Apache-2.0

package mtatest

import (
	"context"
	"encoding/binary"
	"io"
	"net"
	"net/netip"
	"os"
	"sync"
	"syscall"
	"time"
)

// HandleDNS answers queries at addr, over UDP and TCP. nil takes it away.
func (n *Net) HandleDNS(addr netip.AddrPort, h DNSHandler) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if h == nil {
		delete(n.mu.dns, addr)
		return
	}
	n.mu.dns[addr] = h
}

// DialUDP returns a socket whose datagrams the DNS handler at remote answers.
// Without one, reads fail as after an ICMP port unreachable.
func (n *Net) DialUDP(_ context.Context, remote netip.AddrPort) (net.Conn, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	local := netip.AddrPortFrom(n.source(netip.Addr{}), 5353)
	c := &datagrams{local: net.UDPAddrFromAddrPort(local), remote: net.UDPAddrFromAddrPort(remote), handler: n.mu.dns[remote]}
	c.dead = n.mu.fate[remote] != nil
	c.cond.L = &c.mu
	return c, nil
}

// datagrams is a connected UDP socket in front of a handler.
type datagrams struct {
	local, remote net.Addr
	handler       DNSHandler
	dead          bool // packets vanish

	mu     sync.Mutex
	cond   sync.Cond
	queue  [][]byte
	closed bool
	passed bool
	timer  *time.Timer
	err    error
}

func (c *datagrams) Write(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.closed:
		return 0, net.ErrClosed
	case c.dead:
		return len(p), nil
	case c.handler == nil:
		c.err = os.NewSyscallError("read", syscall.ECONNREFUSED)
		c.cond.Broadcast()
		return len(p), nil
	}
	query := append([]byte(nil), p...)
	go func() {
		if answer := c.handler(query, false); answer != nil {
			c.mu.Lock()
			c.queue = append(c.queue, answer)
			c.cond.Broadcast()
			c.mu.Unlock()
		}
	}()
	return len(p), nil
}

func (c *datagrams) Read(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for {
		switch {
		case c.closed:
			return 0, net.ErrClosed
		case len(c.queue) > 0:
			n := copy(p, c.queue[0])
			c.queue = c.queue[1:]
			return n, nil
		case c.err != nil:
			return 0, &net.OpError{Op: "read", Net: "udp", Addr: c.remote, Err: c.err}
		case c.passed:
			return 0, &net.OpError{Op: "read", Net: "udp", Addr: c.remote, Err: os.ErrDeadlineExceeded}
		}
		c.cond.Wait()
	}
}

func (c *datagrams) Close() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closed = true
	if c.timer != nil {
		c.timer.Stop()
	}
	c.cond.Broadcast()
	return nil
}

func (c *datagrams) LocalAddr() net.Addr              { return c.local }
func (c *datagrams) RemoteAddr() net.Addr             { return c.remote }
func (c *datagrams) SetWriteDeadline(time.Time) error { return nil }
func (c *datagrams) SetDeadline(t time.Time) error    { return c.SetReadDeadline(t) }

func (c *datagrams) SetReadDeadline(t time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.timer != nil {
		c.timer.Stop()
		c.timer = nil
	}
	wait := time.Until(t)
	c.passed = !t.IsZero() && wait <= 0
	c.cond.Broadcast()
	if t.IsZero() || wait <= 0 {
		return nil
	}
	var timer *time.Timer
	timer = time.AfterFunc(wait, func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		if c.timer == timer {
			c.passed = true
			c.cond.Broadcast()
		}
	})
	c.timer = timer
	return nil
}

// serveTCP answers length-prefixed queries (RFC 1035 section 4.2.2) until the
// client closes.
func serveTCP(c net.Conn, h DNSHandler) {
	defer c.Close()
	for {
		var size [2]byte
		if _, err := io.ReadFull(c, size[:]); err != nil {
			return
		}
		query := make([]byte, binary.BigEndian.Uint16(size[:]))
		if _, err := io.ReadFull(c, query); err != nil {
			return
		}
		answer := h(query, true)
		if answer == nil {
			return
		}
		frame := binary.BigEndian.AppendUint16(nil, uint16(len(answer))) //nolint:gosec // a DNS message is at most 64 KiB
		if _, err := c.Write(append(frame, answer...)); err != nil {
			return
		}
	}
}
