// SPDX-License-Identifier: Apache-2.0

// Package netx is the only door to the network: every connection that Segue
// opens or accepts goes through a [Network], so that tests and the simulator
// can put another one in its place, and so that one rule decides which
// addresses may be dialled at all.
//
// [System] is the operating system's network. It binds the address of the
// source that sends, which is what makes several sources on one machine
// possible. [Guard] is the rule: a recipient's DNS is not ours, and a domain
// whose MX points at 127.0.0.1 or at a private network must not make us talk
// to our own machines (RFC 5321 section 5.1 leaves this to the sender; RFC 6890
// lists the addresses). [Guard.Network] puts the rule in front of any Network.
//
// The package resolves no names: see mta/resolve.
package netx

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
)

// Errors of this package.
var (
	// ErrForbiddenTarget says that an address is not one that mail may be sent
	// to: loopback, private, link-local and other special ranges.
	ErrForbiddenTarget = errors.New("target address is not allowed")
	// ErrFamily says that the local and the remote address are not of one family.
	ErrFamily = errors.New("local and remote address are of different families")
)

// Network opens and accepts connections. Implementations are safe for
// concurrent use.
type Network interface {
	// Dial connects over TCP. The zero local address leaves the choice to the
	// system; otherwise the connection is bound to it, and the error says so
	// when this machine does not have it.
	Dial(ctx context.Context, local netip.Addr, remote netip.AddrPort) (net.Conn, error)
	// DialUDP returns a connected datagram socket: each Write is one datagram,
	// each Read returns one.
	DialUDP(ctx context.Context, remote netip.AddrPort) (net.Conn, error)
	// Listen accepts TCP connections at "host:port"; port 0 picks a free one.
	Listen(ctx context.Context, addr string) (net.Listener, error)
}

// System is the network of the operating system. The zero value is ready.
type System struct{}

var _ Network = System{}

// Dial connects over TCP, from local if it is valid.
func (System) Dial(ctx context.Context, local netip.Addr, remote netip.AddrPort) (net.Conn, error) {
	d := net.Dialer{Control: control}
	if local.IsValid() {
		local, remote = local.Unmap(), netip.AddrPortFrom(remote.Addr().Unmap(), remote.Port())
		if local.Is4() != remote.Addr().Is4() {
			return nil, fmt.Errorf("dialling %s from %s: %w", remote, local, ErrFamily)
		}
		d.LocalAddr = net.TCPAddrFromAddrPort(netip.AddrPortFrom(local, 0))
	}
	return d.DialContext(ctx, "tcp", remote.String())
}

// DialUDP returns a connected UDP socket.
func (System) DialUDP(ctx context.Context, remote netip.AddrPort) (net.Conn, error) {
	var d net.Dialer
	return d.DialContext(ctx, "udp", remote.String())
}

// Listen accepts TCP connections at addr.
func (System) Listen(ctx context.Context, addr string) (net.Listener, error) {
	var lc net.ListenConfig
	return lc.Listen(ctx, "tcp", addr)
}
