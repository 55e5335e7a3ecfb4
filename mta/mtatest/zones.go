// SPDX-License-Identifier: Apache-2.0

package mtatest

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"sync"
	"time"

	"github.com/miekg/dns"
)

// Zones is a DNS server made of master-file text: it answers what a recursive
// resolver would, CNAMEs followed, with NXDOMAIN where neither the name nor one
// below it exists and a SOA that carries the negative TTL. Methods are safe for
// concurrent use; changes apply to the next query.
type Zones struct {
	mu struct {
		sync.Mutex
		records  map[string][]dns.RR
		fates    map[string]Fate
		queries  []string
		negative uint32
		authentic,
		bare bool
	}
}

// Fate is what befalls queries for a name.
type Fate struct {
	Rcode    int           // dns.RcodeServerFailure and the like
	Silent   bool          // no answer at all
	Delay    time.Duration // before the answer
	Forge    bool          // the answer has another id, as a blind forgery would
	Question bool          // the answer is to another question
	Times    int           // how many queries; 0: all
}

// NewZones reads records in master-file form, all names absolute with or
// without the dot, default TTL one hour. It panics on text it cannot read.
func NewZones(text string) *Zones {
	z := &Zones{}
	z.mu.fates = map[string]Fate{}
	z.mu.negative = 300
	z.Replace(text)
	return z
}

// Replace puts other records in place of all.
func (z *Zones) Replace(text string) {
	parser := dns.NewZoneParser(strings.NewReader(text), ".", "")
	parser.SetDefaultTTL(3600)
	records := map[string][]dns.RR{}
	for rr, ok := parser.Next(); ok; rr, ok = parser.Next() {
		name := strings.ToLower(rr.Header().Name)
		records[name] = append(records[name], rr)
	}
	if err := parser.Err(); err != nil {
		panic(fmt.Sprintf("mtatest: zone text: %v", err))
	}
	z.mu.Lock()
	defer z.mu.Unlock()
	z.mu.records = records
}

// Fail gives queries for name (any type) a fate; the zero Fate heals them.
func (z *Zones) Fail(name string, f Fate) {
	z.mu.Lock()
	defer z.mu.Unlock()
	if f == (Fate{}) {
		delete(z.mu.fates, canonical(name))
		return
	}
	z.mu.fates[canonical(name)] = f
}

// Negative sets the TTL of negative answers.
func (z *Zones) Negative(ttl time.Duration) {
	z.mu.Lock()
	defer z.mu.Unlock()
	z.mu.negative = uint32(ttl / time.Second) //nolint:gosec // tests give small ones
}

// Authentic sets the AD bit on answers.
func (z *Zones) Authentic(on bool) {
	z.mu.Lock()
	defer z.mu.Unlock()
	z.mu.authentic = on
}

// Bare makes the server an old one, which answers EDNS0 with FORMERR.
func (z *Zones) Bare(on bool) {
	z.mu.Lock()
	defer z.mu.Unlock()
	z.mu.bare = on
}

// Queries lists what was asked: "example.org. MX", with " tcp" behind it over TCP.
func (z *Zones) Queries() []string {
	z.mu.Lock()
	defer z.mu.Unlock()
	return append([]string(nil), z.mu.queries...)
}

// Handle answers one packed query: the [DNSHandler] for [Net.HandleDNS].
func (z *Zones) Handle(query []byte, tcp bool) []byte {
	q := new(dns.Msg)
	if err := q.Unpack(query); err != nil || len(q.Question) != 1 {
		return nil
	}
	m, fate := z.answer(q, tcp)
	if fate.Delay > 0 {
		t := time.NewTimer(fate.Delay)
		<-t.C
	}
	if m == nil {
		return nil
	}
	size := dns.MinMsgSize
	if opt := q.IsEdns0(); opt != nil {
		size = int(opt.UDPSize())
	}
	if !tcp {
		m.Truncate(size)
		if m.Truncated {
			m.Answer = nil
		}
	}
	packed, err := m.Pack()
	if err != nil {
		return nil
	}
	return packed
}

func (z *Zones) answer(q *dns.Msg, tcp bool) (*dns.Msg, Fate) {
	z.mu.Lock()
	defer z.mu.Unlock()
	question := q.Question[0]
	name := strings.ToLower(question.Name)
	entry := name + " " + dns.TypeToString[question.Qtype]
	if tcp {
		entry += " tcp"
	}
	z.mu.queries = append(z.mu.queries, entry)
	fate, failed := z.mu.fates[name]
	if failed && fate.Times > 0 {
		if fate.Times--; fate.Times == 0 {
			delete(z.mu.fates, name)
		} else {
			z.mu.fates[name] = fate
		}
	}
	m := new(dns.Msg)
	m.SetReply(q)
	m.RecursionAvailable, m.AuthenticatedData = true, z.mu.authentic
	switch {
	case fate.Silent:
		return nil, fate
	case fate.Rcode != 0:
		m.Rcode = fate.Rcode
	case z.mu.bare && q.IsEdns0() != nil:
		m.Rcode = dns.RcodeFormatError
	default:
		z.fill(m, name, question.Qtype)
	}
	if fate.Forge {
		m.Id++
	}
	if fate.Question {
		m.Question[0].Name = "other." + m.Question[0].Name
	}
	if q.IsEdns0() != nil && !z.mu.bare {
		m.SetEdns0(1232, false)
	}
	return m, fate
}

// fill answers from the records, following CNAMEs.
func (z *Zones) fill(m *dns.Msg, name string, qtype uint16) {
	for range 16 {
		next := ""
		for _, rr := range z.mu.records[name] {
			switch rr.Header().Rrtype {
			case qtype:
				m.Answer = append(m.Answer, rr)
				next = ""
			case dns.TypeCNAME:
				m.Answer = append(m.Answer, rr)
				next = strings.ToLower(rr.(*dns.CNAME).Target)
			}
		}
		if next == "" {
			break
		}
		name = next
	}
	if len(m.Answer) > 0 && m.Answer[len(m.Answer)-1].Header().Rrtype == qtype {
		return
	}
	if !z.exists(name) {
		m.Rcode = dns.RcodeNameError
	}
	m.Ns = append(m.Ns, &dns.SOA{
		Hdr: dns.RR_Header{Name: ".", Rrtype: dns.TypeSOA, Class: dns.ClassINET, Ttl: z.mu.negative},
		Ns:  "ns.test.", Mbox: "hostmaster.test.", Serial: 1, Refresh: 3600, Retry: 600, Expire: 86400, Minttl: z.mu.negative,
	})
}

func (z *Zones) exists(name string) bool {
	for known := range z.mu.records {
		if known == name || strings.HasSuffix(known, "."+name) {
			return true
		}
	}
	return false
}

// Serve answers on a real loopback socket, UDP and TCP on one port, until stop.
func (z *Zones) Serve() (addr netip.AddrPort, stop func(), err error) {
	var lc net.ListenConfig
	ln, err := lc.Listen(context.Background(), "tcp", "127.0.0.1:0")
	if err != nil {
		return netip.AddrPort{}, nil, err
	}
	pc, err := lc.ListenPacket(context.Background(), "udp", ln.Addr().String())
	if err != nil {
		_ = ln.Close()
		return netip.AddrPort{}, nil, err
	}
	var wait sync.WaitGroup
	wait.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			wait.Go(func() { serveTCP(c, z.Handle) })
		}
	})
	wait.Go(func() {
		b := make([]byte, 4096)
		for {
			n, from, err := pc.ReadFrom(b)
			if err != nil {
				return
			}
			if answer := z.Handle(b[:n], false); answer != nil {
				_, _ = pc.WriteTo(answer, from)
			}
		}
	})
	return addrPort(ln.Addr()), func() {
		_ = ln.Close()
		_ = pc.Close()
		wait.Wait()
	}, nil
}

func canonical(name string) string { return strings.ToLower(dns.Fqdn(name)) }
