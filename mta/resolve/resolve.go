// SPDX-License-Identifier: Apache-2.0

// Package resolve asks the DNS what a mail sender needs to know: MX, addresses,
// TXT, PTR, with their lifetimes and with an honest answer to why there is none.
//
// A sender must tell four kinds of "no" apart ([Kind]): the name does not exist
// (mail bounces), it exists without such records (mail may go to its address),
// the servers failed, or nobody answered (both: mail waits). The standard
// library's resolver folds them together and gives no lifetimes.
//
// [New] makes a [Client], which is a stub: it asks recursive servers, those of
// /etc/resolv.conf unless told otherwise, over UDP with EDNS0 (1232 octets, the
// size that is not fragmented), over TCP when an answer is truncated, one after
// another when they fail. Answers are cached by their TTL, negative ones as RFC
// 2308 says, failures for seconds; equal questions wait for one query. The AD
// bit is believed only from a server on this machine, since anybody on the way
// could set it: run a validating resolver on 127.0.0.1.
//
// Names are A-labels (mta/rfc5321 makes them). The package routes no mail: see
// mta/mx.
package resolve

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/miekg/dns"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/seguemta/segue/mta/netx"
)

// Resolver is what the rest of Segue asks. [Client] is the one that asks the
// DNS. Errors are *[Error], or that of the context. Implementations are safe
// for concurrent use.
type Resolver interface {
	// LookupMX returns the MX records of a domain in the order of the answer. A
	// null MX is one record with the Host "".
	LookupMX(ctx context.Context, domain string) (MXAnswer, error)
	// LookupAddrs returns the addresses of a host in the given families. An
	// address as host is its own answer.
	LookupAddrs(ctx context.Context, host string, families Families) (AddrAnswer, error)
	// LookupTXT returns TXT records, the strings of each joined.
	LookupTXT(ctx context.Context, name string) (TXTAnswer, error)
	// LookupPTR returns the names of an address, without the final dot.
	LookupPTR(ctx context.Context, addr netip.Addr) (PTRAnswer, error)
}

var _ Resolver = (*Client)(nil)

// Families is a set of address families.
type Families uint8

// The families.
const (
	IPv4 Families = 1 << iota
	IPv6
	Both = IPv4 | IPv6
)

// Meta is what every answer carries.
type Meta struct {
	Until     time.Time // when the answer ends; zero: never (an address asked for itself)
	Authentic bool      // validated by DNSSEC, said by a resolver on this machine
}

// MX is one record; Host is in lower case without the final dot.
type MX struct {
	Host       string
	Preference uint16
}

// MXAnswer is the answer of LookupMX. No answer is empty: that is an [*Error].
type MXAnswer struct {
	Meta
	Records []MX
}

// AddrAnswer is the answer of LookupAddrs, IPv6 first.
type AddrAnswer struct {
	Meta
	Addrs []netip.Addr
}

// TXTAnswer is the answer of LookupTXT.
type TXTAnswer struct {
	Meta
	Texts []string
}

// PTRAnswer is the answer of LookupPTR.
type PTRAnswer struct {
	Meta
	Names []string
}

// Options configure a [Client].
type Options struct {
	// Servers are recursive resolvers, asked in this order. Empty: those of
	// /etc/resolv.conf.
	Servers []netip.AddrPort
	// Network carries the queries; nil: the operating system's.
	Network netx.Network
	// Timeout is for one try at one server; 0: 3 s. A recursive server that asks
	// slow authorities needs some seconds, and mail can wait.
	Timeout time.Duration
	// Tries is how often the list of servers is walked; 0: 2.
	Tries int
	// CacheSize bounds the entries; 0: 65,536, which is some 30 MB.
	CacheSize int
	// Concurrency bounds the queries under way; 0: 128.
	Concurrency int
	// Now is the clock of the cache; nil: time.Now.
	Now func() time.Time
	// Registerer takes segue_dns_lookups_total; nil: no metrics.
	Registerer prometheus.Registerer
}

// Lifetimes of cache entries. The lower bound keeps a TTL of 0 from asking for
// every message; the upper ones keep a mistake in a zone from staying for weeks.
const (
	minTTL      = 5 * time.Second
	maxTTL      = 24 * time.Hour
	maxNegative = 30 * time.Minute // RFC 2308 section 5 allows hours; a repaired domain should get its mail
	failureTTL  = 10 * time.Second // RFC 2308 section 7 allows 5 minutes
)

// Client asks recursive DNS servers. It is safe for concurrent use.
type Client struct {
	opts    Options
	cache   *cache
	flights flights
	slots   chan struct{}
	first   atomic.Uint32 // index of the server that answered last
	lookups *prometheus.CounterVec
}

// New returns a client. It fails when there is no server to ask.
func New(opts Options) (*Client, error) {
	if len(opts.Servers) == 0 {
		conf, err := dns.ClientConfigFromFile("/etc/resolv.conf")
		if err != nil {
			return nil, fmt.Errorf("reading the system's resolvers: %w (name some under [dns] servers)", err)
		}
		for _, s := range conf.Servers {
			if addr, err := netip.ParseAddr(s); err == nil {
				opts.Servers = append(opts.Servers, netip.AddrPortFrom(addr, 53))
			}
		}
		if len(opts.Servers) == 0 {
			return nil, errors.New("no resolver in /etc/resolv.conf: name some under [dns] servers")
		}
	}
	if opts.Network == nil {
		opts.Network = netx.System{}
	}
	if opts.Timeout <= 0 {
		opts.Timeout = 3 * time.Second
	}
	if opts.Tries <= 0 {
		opts.Tries = 2
	}
	if opts.CacheSize <= 0 {
		opts.CacheSize = 65_536
	}
	if opts.Concurrency <= 0 {
		opts.Concurrency = 128
	}
	if opts.Now == nil {
		opts.Now = time.Now
	}
	c := &Client{opts: opts, cache: newCache(opts.CacheSize), slots: make(chan struct{}, opts.Concurrency)}
	c.lookups = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "segue_dns_lookups_total",
		Help: "DNS questions by outcome. Many servfail or timeout: look at the resolver; mail waits meanwhile.",
	}, []string{
		"result", // ok nxdomain nodata servfail timeout
		"cache",  // hit miss
	})
	if opts.Registerer != nil {
		if err := opts.Registerer.Register(c.lookups); err != nil {
			return nil, fmt.Errorf("registering metrics: %w", err)
		}
	}
	return c, nil
}

// LookupMX returns the MX records of a domain.
func (c *Client) LookupMX(ctx context.Context, domain string) (MXAnswer, error) {
	e, err := c.lookup(ctx, domain, dns.TypeMX)
	if err != nil {
		return MXAnswer{}, err
	}
	a := MXAnswer{Meta: e.meta}
	for _, rr := range e.records {
		if mx, ok := rr.(*dns.MX); ok {
			a.Records = append(a.Records, MX{plainName(mx.Mx), mx.Preference})
		}
	}
	return a, nil
}

// LookupTXT returns the TXT records of a name.
func (c *Client) LookupTXT(ctx context.Context, name string) (TXTAnswer, error) {
	e, err := c.lookup(ctx, name, dns.TypeTXT)
	if err != nil {
		return TXTAnswer{}, err
	}
	a := TXTAnswer{Meta: e.meta}
	for _, rr := range e.records {
		if txt, ok := rr.(*dns.TXT); ok {
			a.Texts = append(a.Texts, strings.Join(txt.Txt, ""))
		}
	}
	return a, nil
}

// LookupPTR returns the names of an address.
func (c *Client) LookupPTR(ctx context.Context, addr netip.Addr) (PTRAnswer, error) {
	name, err := dns.ReverseAddr(addr.Unmap().WithZone("").String())
	if err != nil {
		return PTRAnswer{}, &Error{Kind: NXDomain, Name: addr.String(), Type: "PTR", Err: err}
	}
	e, err := c.lookup(ctx, name, dns.TypePTR)
	if err != nil {
		return PTRAnswer{}, err
	}
	a := PTRAnswer{Meta: e.meta}
	for _, rr := range e.records {
		if ptr, ok := rr.(*dns.PTR); ok {
			a.Names = append(a.Names, plainName(ptr.Ptr))
		}
	}
	return a, nil
}

// LookupAddrs asks for A and AAAA at once. One family is enough for an answer;
// where neither has one, the error that may heal is the one returned.
func (c *Client) LookupAddrs(ctx context.Context, host string, families Families) (AddrAnswer, error) {
	if addr, err := netip.ParseAddr(strings.Trim(host, "[]")); err == nil {
		return AddrAnswer{Addrs: []netip.Addr{addr.Unmap()}}, nil
	}
	var six, four entry
	var err6, err4 error
	var wait sync.WaitGroup
	if families&IPv6 != 0 {
		wait.Go(func() { six, err6 = c.lookup(ctx, host, dns.TypeAAAA) })
	}
	if families&IPv4 != 0 {
		four, err4 = c.lookup(ctx, host, dns.TypeA)
	}
	wait.Wait()
	a := AddrAnswer{Meta: joinMeta(six.meta, four.meta)}
	for _, rr := range append(append([]dns.RR(nil), six.records...), four.records...) {
		if addr, ok := address(rr); ok {
			a.Addrs = append(a.Addrs, addr)
		}
	}
	if len(a.Addrs) > 0 {
		return a, nil
	}
	if err := worse(err6, err4); err != nil {
		return AddrAnswer{}, err
	}
	return AddrAnswer{}, &Error{Kind: NoData, Name: host, Type: "A"}
}

func address(rr dns.RR) (netip.Addr, bool) {
	switch rr := rr.(type) {
	case *dns.A:
		addr, ok := netip.AddrFromSlice(rr.A)
		return addr.Unmap(), ok
	case *dns.AAAA:
		addr, ok := netip.AddrFromSlice(rr.AAAA)
		return addr.Unmap(), ok
	default:
		return netip.Addr{}, false
	}
}

// joinMeta is the meta of two answers taken together.
func joinMeta(a, b Meta) Meta {
	switch {
	case a.Until.IsZero():
		return b
	case b.Until.IsZero():
		return a
	case b.Until.Before(a.Until):
		a.Until = b.Until
	}
	a.Authentic = a.Authentic && b.Authentic
	return a
}

func plainName(s string) string { return strings.ToLower(strings.TrimSuffix(s, ".")) }
