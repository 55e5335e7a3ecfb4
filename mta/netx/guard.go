// SPDX-License-Identifier: Apache-2.0

package netx

import (
	"context"
	"fmt"
	"net"
	"net/netip"
)

// Guard decides which addresses mail may be sent to. The zero Guard allows
// public unicast addresses only.
type Guard struct {
	// Allow lists exceptions for rehearsals against a sink and for smarthosts
	// on the local network. An exception allows the address whatever it is.
	Allow []netip.Prefix
}

// Check returns an error that wraps [ErrForbiddenTarget] and names the reason
// when addr may not be dialled.
func (g Guard) Check(addr netip.Addr) error {
	plain := addr.Unmap().WithZone("")
	for _, p := range g.Allow {
		if p.Contains(plain) {
			return nil
		}
	}
	if why := reason(addr); why != "" {
		return fmt.Errorf("%w: %s is %s", ErrForbiddenTarget, addr, why)
	}
	return nil
}

// Network is n behind the guard: Dial fails for a forbidden target before a
// packet leaves. DialUDP and Listen pass, since they serve DNS and our own
// listeners.
func (g Guard) Network(n Network) Network { return guarded{n, g} }

type guarded struct {
	Network
	guard Guard
}

func (n guarded) Dial(ctx context.Context, local netip.Addr, remote netip.AddrPort) (net.Conn, error) {
	if err := n.guard.Check(remote.Addr()); err != nil {
		return nil, err
	}
	return n.Network.Dial(ctx, local, remote)
}

// Blocked reports whether addr lies in a range that no public mail exchanger
// can have.
func Blocked(addr netip.Addr) bool { return reason(addr) != "" }

// reason says why an address is blocked, "" when it is not.
func reason(addr netip.Addr) string {
	if !addr.IsValid() {
		return "no address"
	}
	if addr.Zone() != "" {
		return "scoped to an interface"
	}
	addr = addr.Unmap()
	if addr.Is4() {
		return reason4(addr)
	}
	return reason6(addr)
}

// reason4 decides on the leading bytes, without a table: it runs for every
// address of every delivery.
func reason4(addr netip.Addr) string {
	b := addr.As4()
	switch {
	case b[0] == 0:
		return "unspecified (this network)"
	case b[0] == 127:
		return "loopback"
	case b[0] == 10, b[0] == 172 && b[1]&0xf0 == 16, b[0] == 192 && b[1] == 168:
		return "private"
	case b[0] == 100 && b[1]&0xc0 == 64:
		return "shared by a carrier (CGNAT)"
	case b[0] == 169 && b[1] == 254:
		return "link-local"
	case b[0] == 192 && b[1] == 0 && b[2] == 0:
		return "reserved by IETF"
	case b[0] == 192 && b[1] == 0 && b[2] == 2, b[0] == 198 && b[1] == 51 && b[2] == 100, b[0] == 203 && b[1] == 0 && b[2] == 113:
		return "documentation"
	case b[0] == 192 && b[1] == 88 && b[2] == 99:
		return "a 6to4 relay"
	case b[0] == 198 && b[1]&0xfe == 18:
		return "for benchmarks"
	case b[0]&0xf0 == 224:
		return "multicast"
	case b[0]&0xf0 == 240:
		return "reserved or broadcast"
	default:
		return ""
	}
}

// reason6 starts from the rule that public unicast is 2000::/3 and the NAT64
// prefix 64:ff9b::/96; the rest only gives the reason a name.
func reason6(addr netip.Addr) string {
	b := addr.As16()
	switch {
	case addr.IsUnspecified():
		return "unspecified"
	case addr.IsLoopback():
		return "loopback"
	case b[0] == 0x00 && b[1] == 0x64 && b[2] == 0xff && b[3] == 0x9b && [8]byte(b[4:12]) == [8]byte{}:
		return translated(netip.AddrFrom4([4]byte(b[12:16])))
	case b[0]&0xfe == 0xfc:
		return "private (unique local)"
	case b[0] == 0xfe && b[1]&0xc0 == 0x80:
		return "link-local"
	case b[0] == 0xff:
		return "multicast"
	case b[0]&0xe0 != 0x20:
		return "not global unicast"
	case b[0] == 0x20 && b[1] == 0x01 && b[2]&0xfe == 0:
		return "reserved by IETF (2001::/23)"
	case b[0] == 0x20 && b[1] == 0x01 && b[2] == 0x0d && b[3] == 0xb8, b[0] == 0x3f && b[1] == 0xff && b[2]&0xf0 == 0:
		return "documentation"
	case b[0] == 0x20 && b[1] == 0x02:
		return translated(netip.AddrFrom4([4]byte(b[2:6])))
	default:
		return ""
	}
}

// translated judges an IPv6 address by the IPv4 address that it reaches.
func translated(inner netip.Addr) string {
	if why := reason4(inner); why != "" {
		return "a translation of " + inner.String() + ", which is " + why
	}
	return ""
}
