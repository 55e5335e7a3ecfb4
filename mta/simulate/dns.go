// SPDX-License-Identifier: Apache-2.0

package simulate

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"sync"

	"github.com/miekg/dns"
)

// recordTTL is what every answer lives, in seconds.
const recordTTL = 300

// zone is all the names there are.
type zone struct {
	mu      sync.RWMutex
	records map[string][]dns.RR // by lower-case name with final dot
}

func newZone() *zone { return &zone{records: make(map[string][]dns.RR)} }

func header(name string, kind uint16) dns.RR_Header {
	return dns.RR_Header{Name: dns.CanonicalName(name), Rrtype: kind, Class: dns.ClassINET, Ttl: recordTTL}
}

func (z *zone) add(rr dns.RR) {
	z.mu.Lock()
	defer z.mu.Unlock()
	name := rr.Header().Name
	for _, have := range z.records[name] {
		if dns.IsDuplicate(have, rr) {
			return
		}
	}
	z.records[name] = append(z.records[name], rr)
}

func (z *zone) addMX(domain string, hosts []string) {
	for i, h := range hosts {
		z.add(&dns.MX{Hdr: header(domain, dns.TypeMX), Preference: uint16(10 * (i + 1)), Mx: dns.CanonicalName(h)})
	}
}

func (z *zone) addA(host string, a netip.Addr) {
	z.add(&dns.A{Hdr: header(host, dns.TypeA), A: a.AsSlice()})
}

// maxText is the longest string within a TXT record.
const maxText = 255

func (z *zone) addTXT(name, text string) {
	rr := &dns.TXT{Hdr: header(name, dns.TypeTXT)}
	for len(text) > maxText {
		rr.Txt, text = append(rr.Txt, text[:maxText]), text[maxText:]
	}
	rr.Txt = append(rr.Txt, text)
	z.add(rr)
}

// lookupTXT is the form in which DKIM verifiers ask.
func (z *zone) lookupTXT(name string) ([]string, error) {
	z.mu.RLock()
	defer z.mu.RUnlock()
	var list []string
	for _, rr := range z.records[dns.CanonicalName(name)] {
		if t, ok := rr.(*dns.TXT); ok {
			list = append(list, strings.Join(t.Txt, ""))
		}
	}
	if len(list) == 0 {
		return nil, &net.DNSError{Err: "no such record", Name: name, IsNotFound: true}
	}
	return list, nil
}

// answer is what a resolver that knows everything says.
func (z *zone) answer(q *dns.Msg) *dns.Msg {
	m := new(dns.Msg)
	m.SetReply(q)
	m.Authoritative, m.RecursionAvailable = true, true
	if len(q.Question) != 1 {
		return m.SetRcode(q, dns.RcodeFormatError)
	}
	name := dns.CanonicalName(q.Question[0].Name)
	z.mu.RLock()
	defer z.mu.RUnlock()
	for _, rr := range z.records[name] {
		if rr.Header().Rrtype == q.Question[0].Qtype {
			m.Answer = append(m.Answer, rr)
		}
	}
	if len(m.Answer) > 0 {
		return m
	}
	if len(z.records[name]) == 0 && !z.above(name) {
		m.Rcode = dns.RcodeNameError
	}
	m.Ns = []dns.RR{&dns.SOA{
		Hdr: header(".", dns.TypeSOA), Ns: "ns.test.", Mbox: "hostmaster.test.",
		Serial: 1, Refresh: recordTTL, Retry: recordTTL, Expire: recordTTL, Minttl: recordTTL,
	}}
	return m
}

// above reports whether there are names below this one, which then exists too.
func (z *zone) above(name string) bool {
	for n := range z.records {
		if strings.HasSuffix(n, "."+name) {
			return true
		}
	}
	return false
}

// dnsServer answers from a zone over UDP and TCP.
type dnsServer struct {
	addr netip.AddrPort
	udp  *dns.Server
	tcp  *dns.Server
}

// listenDNS binds one port of 127.0.0.1 for both.
func listenDNS(ctx context.Context, z *zone) (*dnsServer, error) {
	handler := dns.HandlerFunc(func(w dns.ResponseWriter, q *dns.Msg) {
		m := z.answer(q)
		if _, ok := w.RemoteAddr().(*net.UDPAddr); ok {
			size := dns.MinMsgSize
			if opt := q.IsEdns0(); opt != nil {
				size = max(size, int(opt.UDPSize()))
				m.SetEdns0(opt.UDPSize(), false)
			}
			m.Truncate(size)
		}
		_ = w.WriteMsg(m) // whoever asked is gone
	})
	var lc net.ListenConfig
	var err error
	for range listenAttempts {
		var ln net.Listener
		if ln, err = lc.Listen(ctx, "tcp4", "127.0.0.1:0"); err != nil {
			break
		}
		addr := ln.Addr().(*net.TCPAddr).AddrPort()
		var pc net.PacketConn
		if pc, err = lc.ListenPacket(ctx, "udp4", net.JoinHostPort("127.0.0.1", strconv.Itoa(int(addr.Port())))); err != nil {
			_ = ln.Close()
			continue
		}
		return &dnsServer{
			addr: netip.AddrPortFrom(addr.Addr().Unmap(), addr.Port()),
			udp:  &dns.Server{PacketConn: pc, Handler: handler},
			tcp:  &dns.Server{Listener: ln, Handler: handler},
		}, nil
	}
	return nil, fmt.Errorf("binding the simulated DNS server: %w", err)
}

// serve answers until ctx ends. It closes the sockets.
func (s *dnsServer) serve(ctx context.Context) error {
	errs := make(chan error, 2)
	go func() { errs <- s.udp.ActivateAndServe() }()
	go func() { errs <- s.tcp.ActivateAndServe() }()
	list := make([]error, 0, cap(errs))
	select {
	case <-ctx.Done():
	case err := <-errs:
		list = append(list, err)
	}
	s.close()
	for len(list) < cap(errs) {
		list = append(list, <-errs)
	}
	if ctx.Err() != nil {
		return nil
	}
	return list[0]
}

func (s *dnsServer) close() {
	_ = s.udp.PacketConn.Close() // closed twice where Run ended before
	_ = s.tcp.Listener.Close()
}
