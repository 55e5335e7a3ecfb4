// SPDX-License-Identifier: Apache-2.0

package simulate

import (
	"context"
	"maps"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"
)

// Counts is what the providers saw. Numbers are recipients where nothing else is
// said.
type Counts struct {
	Received   int                `json:"received"` // 250 after the final dot
	Rejected   int                `json:"rejected"` // 5xx to RCPT
	Deferred   int                `json:"deferred"` // 4xx to MAIL or RCPT
	Refused    int                `json:"refused"`  // connections greeted by 421
	Dropped    int                `json:"dropped"`  // connections cut in the middle of a message
	BySource   map[netip.Addr]int `json:"-"`        // received, by client address
	ByProvider map[string]int     `json:"-"`        // received
	Returned   int                `json:"returned"` // notifications sent back
	Complained int                `json:"complained"`
	Verified   int                `json:"verified"` // messages of the sample whose signatures are good
	Unverified int                `json:"unverified"`
}

// provider is one mailbox provider.
type provider struct {
	w  *World
	t  *Temper
	ln net.Listener

	mu      sync.Mutex
	counts  Counts
	clients map[netip.Addr]*client
	first   map[attempt]time.Time // greylisted and dropped attempts
}

// client is what a provider remembers of one client address.
type client struct {
	open   int // connections
	taken  int // recipients, for the quota
	second int64
	inside int // recipients in that second
}

// attempt names a recipient as one client address tried it.
type attempt struct {
	from    netip.Addr
	address string
}

func newProvider(w *World, t *Temper) *provider {
	return &provider{
		w: w, t: t, clients: make(map[netip.Addr]*client), first: make(map[attempt]time.Time),
		counts: Counts{BySource: make(map[netip.Addr]int)},
	}
}

func (p *provider) close() {
	if p.ln != nil {
		_ = p.ln.Close() // closed twice where Run ended before
	}
}

// serve lets clients in until ctx ends, and returns when all are gone.
func (p *provider) serve(ctx context.Context) error {
	return Accept(ctx, p.ln, func(c net.Conn) { p.greet(ctx, c) })
}

// greet lets a client in, or not.
func (p *provider) greet(ctx context.Context, c net.Conn) {
	from := netip.Addr{}
	if a, ok := c.RemoteAddr().(*net.TCPAddr); ok {
		from = a.AddrPort().Addr().Unmap()
	}
	p.mu.Lock()
	cl := p.client(from)
	full := p.t.Connections > 0 && cl.open >= p.t.Connections
	if full {
		p.counts.Refused++
	} else {
		cl.open++
	}
	p.mu.Unlock()
	s := p.session(c, from)
	if full {
		s.Refuse("421 4.3.2 " + p.t.Zone + " too many connections from your address")
		return
	}
	s.Serve(ctx)
	p.mu.Lock()
	cl.open--
	p.mu.Unlock()
}

func (p *provider) session(c net.Conn, from netip.Addr) *Session {
	return &Session{Conn: c, Host: p, Name: "mx." + p.t.Zone, Client: from, Keep: true, Chunking: true}
}

// client needs the lock.
func (p *provider) client(from netip.Addr) *client {
	cl := p.clients[from]
	if cl == nil {
		cl = &client{}
		p.clients[from] = cl
	}
	return cl
}

// Mail implements [Host]: a new client address has a quota.
func (p *provider) Mail(s *Session) Answer {
	if p.overQuota(s.Client) {
		return Answer{
			Reply: "421 4.7.28 Our system has detected an unusual rate of unsolicited mail originating from your IP address.", Cut: true,
		}
	}
	return Answer{}
}

// Rcpt implements [Host].
func (p *provider) Rcpt(s *Session, address string) Answer {
	_, domain, _ := strings.Cut(address, "@")
	exists, dead := p.w.o.Population.mailbox(address)
	temporary := ""
	switch {
	case p.w.byDomain[domain] != p:
		return p.reject("550 5.7.1 relaying denied")
	case p.tooFast(s.Client):
		temporary = "451 4.7.500 Server busy. Please try again later."
	case p.early(s.Client, address):
		temporary = "451 4.7.1 Greylisted, please try again in a moment"
	case (!exists || dead) && !p.t.Late:
		if p.t.UnknownUser != "" {
			return p.reject(p.t.UnknownUser)
		}
		return p.reject(notThere)
	}
	if temporary != "" {
		p.count(func(c *Counts) { c.Deferred++ })
	}
	return Answer{Reply: temporary}
}

func (p *provider) reject(reply string) Answer {
	p.count(func(c *Counts) { c.Rejected++ })
	return Answer{Reply: reply}
}

// Data implements [Host]: some connections are cut in the middle of a message.
func (p *provider) Data(s *Session) Answer { return Answer{Cut: slices.ContainsFunc(s.To, p.cuts)} }

// Done implements [Host].
func (p *provider) Done(s *Session) Answer {
	p.take(s)
	return Answer{}
}

// overQuota counts one recipient of a client address against its quota.
func (p *provider) overQuota(from netip.Addr) bool {
	if p.t.Quota == 0 || slices.Contains(p.w.o.Known, from) {
		return false
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if cl := p.client(from); cl.taken >= p.t.Quota {
		p.counts.Deferred++
		return true
	}
	return false
}

// tooFast counts one recipient of this second.
func (p *provider) tooFast(from netip.Addr) bool {
	if p.t.PerSecond == 0 {
		return false
	}
	now := p.w.o.Now().Unix()
	p.mu.Lock()
	defer p.mu.Unlock()
	cl := p.client(from)
	if cl.second != now {
		cl.second, cl.inside = now, 0
	}
	cl.inside++
	return cl.inside > p.t.PerSecond
}

// early reports whether a recipient is greylisted: at the first attempt of a
// client address, and for a moment after it.
func (p *provider) early(from netip.Addr, address string) bool {
	if !p.w.chance("greylist", address, p.t.Greylist) {
		return false
	}
	now := p.w.o.Now()
	p.mu.Lock()
	defer p.mu.Unlock()
	key := attempt{from, address}
	first, seen := p.first[key]
	if !seen {
		p.first[key] = now
		return true
	}
	return now.Sub(first) < p.t.GreylistFor
}

// cuts reports whether the connection is cut now: once for each chosen recipient.
func (p *provider) cuts(address string) bool {
	if !p.w.chance("drop", address, p.t.Drop) {
		return false
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	key := attempt{address: address}
	if _, seen := p.first[key]; seen {
		return false
	}
	p.first[key] = p.w.o.Now()
	p.counts.Dropped++
	return true
}

// count changes the counters.
func (p *provider) count(f func(*Counts)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	f(&p.counts)
}

// Counts is what arrived so far.
func (w *World) Counts() Counts {
	sum := Counts{BySource: make(map[netip.Addr]int), ByProvider: make(map[string]int)}
	for _, p := range w.providers {
		p.mu.Lock()
		c := p.counts
		c.BySource = maps.Clone(p.counts.BySource)
		p.mu.Unlock()
		sum.Received += c.Received
		sum.Rejected += c.Rejected
		sum.Deferred += c.Deferred
		sum.Refused += c.Refused
		sum.Dropped += c.Dropped
		sum.Returned += c.Returned
		sum.Complained += c.Complained
		sum.Verified += c.Verified
		sum.Unverified += c.Unverified
		sum.ByProvider[p.t.Name] = c.Received
		for a, n := range c.BySource {
			sum.BySource[a] += n
		}
	}
	return sum
}
