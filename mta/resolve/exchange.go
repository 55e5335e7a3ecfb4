// SPDX-License-Identifier: Apache-2.0

package resolve

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strings"
	"time"

	"github.com/miekg/dns"
)

// udpSize is what we accept over UDP: it fits every path without fragments,
// which forgers and firewalls like too much (DNS Flag Day 2020).
const udpSize = 1232

// ask walks the list of servers until one answers with records, with NODATA or
// with NXDOMAIN. trusted says that the answer came from this machine.
func (c *Client) ask(ctx context.Context, k key) (m *dns.Msg, trusted bool, failure *Error) {
	failure = &Error{Kind: Timeout}
	n := len(c.opts.Servers)
	for range c.opts.Tries {
		first := int(c.first.Load())
		for i := range n {
			at := (first + i) % n
			server := c.opts.Servers[at]
			m, err := c.try(ctx, server, k)
			if err == nil && (m.Rcode == dns.RcodeSuccess || m.Rcode == dns.RcodeNameError) {
				c.first.Store(uint32(at)) //nolint:gosec // an index into a short list
				return m, server.Addr().Unmap().IsLoopback(), nil
			}
			if ended(ctx) != nil {
				return nil, false, failure
			}
			var late interface{ Timeout() bool }
			switch {
			case err == nil:
				failure = &Error{Kind: ServFail, Err: fmt.Errorf("%s says %s", server, dns.RcodeToString[m.Rcode])}
			case errors.As(err, &late) && late.Timeout():
				// A server that said "failure" says more than one that says nothing.
				if failure.Kind == Timeout {
					failure.Err = fmt.Errorf("asking %s: %w", server, err)
				}
			default:
				failure = &Error{Kind: ServFail, Err: fmt.Errorf("asking %s: %w", server, err)}
			}
		}
	}
	return nil, false, failure
}

// try asks one server, over TCP where UDP was too small, without EDNS0 where
// that was not understood (RFC 6891 section 6.2.2).
func (c *Client) try(ctx context.Context, server netip.AddrPort, k key) (*dns.Msg, error) {
	ctx, cancel := context.WithTimeout(ctx, c.opts.Timeout)
	defer cancel()
	q := query(k)
	m, err := c.overUDP(ctx, server, q)
	if err == nil && (m.Rcode == dns.RcodeFormatError || m.Rcode == dns.RcodeNotImplemented) {
		q.Extra = nil
		m, err = c.overUDP(ctx, server, q)
	}
	if err == nil && m.Truncated {
		m, err = c.overTCP(ctx, server, q)
	}
	return m, err
}

// query asks for recursion and, by the AD bit, to be told of validation (RFC
// 6840 section 5.7). The id is unpredictable, as the port of each socket is.
func query(k key) *dns.Msg {
	q := new(dns.Msg)
	q.SetQuestion(k.name, k.qtype)
	var id [2]byte
	_, _ = rand.Read(id[:]) // never fails
	q.Id = binary.BigEndian.Uint16(id[:])
	q.AuthenticatedData = true
	q.SetEdns0(udpSize, false)
	return q
}

func (c *Client) overUDP(ctx context.Context, server netip.AddrPort, q *dns.Msg) (*dns.Msg, error) {
	packed, err := q.Pack()
	if err != nil {
		return nil, fmt.Errorf("packing the question: %w", err)
	}
	conn, err := c.opts.Network.DialUDP(ctx, server)
	if err != nil {
		return nil, err
	}
	defer closeAfter(ctx, conn)()
	if _, err := conn.Write(packed); err != nil {
		return nil, err
	}
	b := make([]byte, udpSize)
	for {
		n, err := conn.Read(b)
		if err != nil {
			return nil, err
		}
		// What does not answer this question was not sent by the server we asked.
		m := new(dns.Msg)
		if err := m.Unpack(b[:n]); (err == nil || m.Truncated) && answers(m, q) {
			return m, nil
		}
	}
}

func (c *Client) overTCP(ctx context.Context, server netip.AddrPort, q *dns.Msg) (*dns.Msg, error) {
	packed, err := q.Pack()
	if err != nil {
		return nil, fmt.Errorf("packing the question: %w", err)
	}
	conn, err := c.opts.Network.Dial(ctx, netip.Addr{}, server)
	if err != nil {
		return nil, err
	}
	defer closeAfter(ctx, conn)()
	frame := binary.BigEndian.AppendUint16(nil, uint16(len(packed))) //nolint:gosec // a question has some 300 octets
	if _, err := conn.Write(append(frame, packed...)); err != nil {
		return nil, err
	}
	var size [2]byte
	if _, err := io.ReadFull(conn, size[:]); err != nil {
		return nil, err
	}
	b := make([]byte, binary.BigEndian.Uint16(size[:]))
	if _, err := io.ReadFull(conn, b); err != nil {
		return nil, err
	}
	m := new(dns.Msg)
	if err := m.Unpack(b); err != nil {
		return nil, fmt.Errorf("reading the answer: %w", err)
	}
	if !answers(m, q) {
		return nil, errors.New("the answer is to another question")
	}
	return m, nil
}

// ended is why ctx is over, nil while it is not. A socket can notice the
// caller's deadline before the context does; that is no fault of the server's.
func ended(ctx context.Context) error {
	if t, ok := ctx.Deadline(); ok && !time.Now().Before(t) && ctx.Err() == nil {
		return context.DeadlineExceeded
	}
	return context.Cause(ctx)
}

// closeAfter puts the deadline of ctx on the connection, cuts it when ctx is
// cancelled, and returns what ends both.
func closeAfter(ctx context.Context, conn net.Conn) func() {
	if t, ok := ctx.Deadline(); ok {
		_ = conn.SetDeadline(t)
	}
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })
	return func() {
		stop()
		_ = conn.Close()
	}
}

// answers checks id, direction and question (RFC 5452 section 9.1).
func answers(m, q *dns.Msg) bool {
	if m.Id != q.Id || !m.Response {
		return false
	}
	if len(m.Question) != 1 {
		// A server that does not know EDNS0 may not even repeat the question.
		return m.Rcode == dns.RcodeFormatError && len(m.Question) == 0
	}
	a, b := m.Question[0], q.Question[0]
	return a.Qtype == b.Qtype && a.Qclass == b.Qclass && strings.EqualFold(a.Name, b.Name)
}
