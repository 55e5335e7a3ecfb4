// SPDX-License-Identifier: Apache-2.0

package config

import (
	"net"
	"net/netip"
	"strconv"
	"strings"
)

// Addr is one IPv4 or IPv6 address without zone or port.
type Addr struct{ netip.Addr }

// UnmarshalText parses an address; one that names no host (0.0.0.0, ::) or
// many (multicast) is refused.
func (a *Addr) UnmarshalText(text []byte) error {
	parsed, err := netip.ParseAddr(string(text))
	if err != nil || parsed.Zone() != "" {
		return notA(text, "an IP address", `write "192.0.2.10" or "2001:db8::10", no name, no port`)
	}
	parsed = parsed.Unmap()
	if parsed.IsUnspecified() || parsed.IsMulticast() {
		return notA(text, "the address of one host", `write an address of this machine`)
	}
	*a = Addr{parsed}
	return nil
}

// Addrs returns the standard library's addresses.
func Addrs(list []Addr) []netip.Addr {
	out := make([]netip.Addr, len(list))
	for i, a := range list {
		out[i] = a.Addr
	}
	return out
}

// Server is the address of a DNS server, written "127.0.0.1:53"; the port may
// be left out.
type Server struct{ netip.AddrPort }

// UnmarshalText parses a server; the port defaults to 53.
func (s *Server) UnmarshalText(text []byte) error {
	if addr, err := netip.ParseAddr(string(text)); err == nil {
		*s = Server{netip.AddrPortFrom(addr, 53)}
		return nil
	}
	parsed, err := netip.ParseAddrPort(string(text))
	if err != nil || parsed.Port() == 0 {
		return notA(text, "the address of a DNS server", `write an IP address, with a port if it is not 53: "127.0.0.1:53"`)
	}
	*s = Server{parsed}
	return nil
}

// Listen is an address to accept connections on, written "127.0.0.1:2587",
// "[::1]:2587", or ":8080" for every address of the machine. Port 0 takes a
// free one. The zero Listen is none at all.
type Listen struct {
	Host netip.Addr // the zero Addr is every address of the machine
	Port uint16
	set  bool
}

// UnmarshalText parses a listening address. Names are refused: what they mean
// may change between a check and a start.
func (l *Listen) UnmarshalText(text []byte) error {
	fail := notA(text, "an address to listen on", `write "127.0.0.1:2587", "[::1]:2587", or ":8080" for all addresses`)
	host, port, err := net.SplitHostPort(string(text))
	if err != nil {
		return fail
	}
	number, err := strconv.ParseUint(port, 10, 16)
	if err != nil {
		return fail
	}
	*l = Listen{Port: uint16(number), set: true}
	if host == "" {
		return nil
	}
	if l.Host, err = netip.ParseAddr(host); err != nil {
		*l = Listen{}
		return fail
	}
	return nil
}

// IsZero reports whether no address was given, not even ":0".
func (l Listen) IsZero() bool { return !l.set }

// String returns the address in the form that [net.Listen] takes.
func (l Listen) String() string {
	if l.IsZero() {
		return ""
	}
	host := ""
	if l.Host.IsValid() {
		host = l.Host.String()
	}
	return net.JoinHostPort(host, strconv.Itoa(int(l.Port)))
}

// MarshalText is the inverse of UnmarshalText.
func (l Listen) MarshalText() ([]byte, error) { return []byte(l.String()), nil }

// Loopback reports whether only this machine can reach the address.
func (l Listen) Loopback() bool { return l.Host.IsValid() && l.Host.IsLoopback() }

// clashes reports whether both cannot be listened on at the same time.
func (l Listen) clashes(other Listen) bool {
	if l.IsZero() || other.IsZero() || l.Port == 0 || l.Port != other.Port {
		return false
	}
	a, b := l.Host.Unmap(), other.Host.Unmap()
	return a == b || covers(a, b) || covers(b, a)
}

// covers reports whether listening on host a takes host b as well: no host
// and [::] take both families, 0.0.0.0 takes IPv4.
func covers(a, b netip.Addr) bool {
	switch {
	case !a.IsValid(), a == netip.IPv6Unspecified():
		return true
	case a == netip.IPv4Unspecified():
		return b.Is4()
	default:
		return false
	}
}

// HostPort is a host and a port, written "smtp.corp.example:25"; the host may
// be an IP address, an IPv6 one in brackets.
type HostPort struct {
	Host string
	Port uint16
}

// UnmarshalText parses a host with its port.
func (h *HostPort) UnmarshalText(text []byte) error {
	fail := notA(text, "a host with a port", `write "smtp.corp.example:25"`)
	host, port, err := net.SplitHostPort(string(text))
	if err != nil {
		return fail
	}
	number, err := strconv.ParseUint(port, 10, 16)
	if err != nil || number == 0 {
		return fail
	}
	if _, err := netip.ParseAddr(host); err != nil && !isDomain(host) {
		return fail
	}
	*h = HostPort{Host: strings.ToLower(host), Port: uint16(number)}
	return nil
}

// String returns host:port, "" for the zero HostPort.
func (h HostPort) String() string {
	if h.Host == "" {
		return ""
	}
	return net.JoinHostPort(h.Host, strconv.Itoa(int(h.Port)))
}

// MarshalText is the inverse of UnmarshalText.
func (h HostPort) MarshalText() ([]byte, error) { return []byte(h.String()), nil }

// isDomain reports whether a text is a domain name in its DNS form: labels of
// letters, digits, hyphens and underscores, not all digits at the end
// (RFC 1035, section 2.3.1; RFC 5890 for names beyond ASCII, which are written
// in their xn-- form).
func isDomain(name string) bool {
	if name == "" || len(name) > 253 {
		return false
	}
	last := ""
	for label := range strings.SplitSeq(name, ".") {
		if !isLabel(label) {
			return false
		}
		last = label
	}
	return strings.Trim(last, "0123456789") != ""
}

func isLabel(label string) bool {
	if label == "" || len(label) > 63 || label[0] == '-' || label[len(label)-1] == '-' {
		return false
	}
	for _, c := range []byte(label) {
		letter := 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z'
		if !letter && (c < '0' || c > '9') && c != '-' && c != '_' {
			return false
		}
	}
	return true
}
