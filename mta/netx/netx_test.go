// SPDX-License-Identifier: Apache-2.0

package netx_test

import (
	"errors"
	"io"
	"net"
	"net/netip"
	"testing"

	"github.com/seguemta/segue/mta/mtatest/peer"
	"github.com/seguemta/segue/mta/netx"
)

func TestGuardBlocksEverythingThatIsNotPublicUnicast(t *testing.T) {
	for _, s := range []string{
		"0.0.0.0", "0.1.2.3", "127.0.0.1", "127.9.9.9", "10.0.0.1", "172.16.0.1", "172.31.255.255", "192.168.1.1",
		"100.64.0.1", "100.127.255.255", "169.254.169.254", "192.0.0.8", "192.0.2.1", "198.51.100.7", "203.0.113.9",
		"192.88.99.1", "198.18.0.1", "198.19.255.255", "224.0.0.1", "239.1.1.1", "240.0.0.1", "255.255.255.255",
		"::", "::1", "::ffff:127.0.0.1", "::ffff:10.1.1.1", "::127.0.0.1", "fe80::1", "fe80::1%eth0", "2600::1%eth0", "fc00::1", "fd12::1",
		"fec0::1", "ff02::1", "100::1", "2001::1", "2001:db8::1", "3fff::1", "5f00::1", "64:ff9b::7f00:1", "64:ff9b::a00:1", "64:ff9b:1::1",
		"2002:7f00:1::", "2002:c0a8:101::1", "4000::1",
	} {
		addr := netip.MustParseAddr(s)
		if !netx.Blocked(addr) {
			t.Errorf("Blocked(%s) = false", s)
		}
		if err := (netx.Guard{}).Check(addr); !errors.Is(err, netx.ErrForbiddenTarget) {
			t.Errorf("Check(%s) = %v, want ErrForbiddenTarget", s, err)
		}
	}
	for _, s := range []string{
		"8.8.8.8", "1.1.1.1", "100.63.255.255", "100.128.0.1", "172.15.0.1", "172.32.0.1", "192.0.1.1", "198.20.0.1", "223.255.255.255",
		"2600::1", "2a00:1450::1b", "2001:4860::8888", "2001:200::1", "64:ff9b::808:808", "2002:808:808::1", "::ffff:8.8.8.8", "3fff:1000::1",
	} {
		if err := (netx.Guard{}).Check(netip.MustParseAddr(s)); err != nil {
			t.Errorf("Check(%s) = %v, want nil", s, err)
		}
	}
	if err := (netx.Guard{}).Check(netip.Addr{}); !errors.Is(err, netx.ErrForbiddenTarget) {
		t.Errorf("Check(zero) = %v", err)
	}
}

func TestGuardAllowsWhatARehearsalNames(t *testing.T) {
	g := netx.Guard{Allow: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("fd00::/8")}}
	for s, want := range map[string]bool{"127.0.0.5": true, "::ffff:127.0.0.5": true, "fd00::9": true, "10.0.0.1": false, "::1": false} {
		if got := g.Check(netip.MustParseAddr(s)) == nil; got != want {
			t.Errorf("Check(%s) allowed = %t, want %t", s, got, want)
		}
	}
}

func TestGuardedNetworkDialsNothingForbidden(t *testing.T) {
	ln, err := netx.System{}.Listen(t.Context(), "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	remote := ln.Addr().(*net.TCPAddr).AddrPort()
	if _, err := (netx.Guard{}).Network(netx.System{}).Dial(t.Context(), netip.Addr{}, remote); !errors.Is(err, netx.ErrForbiddenTarget) {
		t.Fatalf("Dial = %v, want ErrForbiddenTarget", err)
	}
	allowed := netx.Guard{Allow: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}}.Network(netx.System{})
	c, err := allowed.Dial(t.Context(), netip.Addr{}, remote)
	if err != nil {
		t.Fatal(err)
	}
	c.Close()
}

func TestSystemBindsTheSourceAddress(t *testing.T) {
	ln, err := netx.System{}.Listen(t.Context(), "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	local := netip.MustParseAddr("127.0.0.77")
	c, err := netx.System{}.Dial(t.Context(), local, ln.Addr().(*net.TCPAddr).AddrPort())
	if err != nil {
		peer.Missing(t, "the address 127.0.0.77", "Linux has all of 127.0.0.0/8; elsewhere add it as an alias of lo0: "+err.Error())
	}
	defer c.Close()
	s, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if got := s.RemoteAddr().(*net.TCPAddr).AddrPort().Addr(); got != local {
		t.Errorf("peer saw %s, want %s", got, local)
	}
}

func TestSystemRefusesMixedFamilies(t *testing.T) {
	_, err := netx.System{}.Dial(t.Context(), netip.MustParseAddr("127.0.0.1"), netip.MustParseAddrPort("[::1]:25"))
	if !errors.Is(err, netx.ErrFamily) {
		t.Errorf("Dial = %v, want ErrFamily", err)
	}
}

func TestSystemDialUDPSendsDatagrams(t *testing.T) {
	pc, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer pc.Close()
	c, err := netx.System{}.DialUDP(t.Context(), pc.LocalAddr().(*net.UDPAddr).AddrPort())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := io.WriteString(c, "ping"); err != nil {
		t.Fatal(err)
	}
	b := make([]byte, 16)
	if n, _, err := pc.ReadFrom(b); err != nil || string(b[:n]) != "ping" {
		t.Errorf("read %q, %v", b[:n], err)
	}
}
