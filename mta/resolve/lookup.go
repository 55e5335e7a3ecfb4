// SPDX-License-Identifier: Apache-2.0

package resolve

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/miekg/dns"
)

// maxChain is how many CNAMEs are followed.
const maxChain = 8

// lookup answers from the cache or asks. The error is an *Error or the context's.
func (c *Client) lookup(ctx context.Context, name string, qtype uint16) (entry, error) {
	k := key{strings.ToLower(dns.Fqdn(name)), qtype}
	if !validName(k.name) {
		// What cannot be a name does not exist, and no server need hear of it.
		return entry{}, &Error{Kind: NXDomain, Name: name, Type: dns.TypeToString[qtype], Err: errBadName}
	}
	e, hit := c.cache.get(k, c.opts.Now())
	if !hit {
		var err error
		e, err = c.flights.do(ctx, k, func() (entry, error) { return c.resolve(ctx, k) })
		if err != nil {
			return entry{}, err
		}
	}
	c.count(e, hit)
	if e.err != nil {
		return entry{}, e.err
	}
	return e, nil
}

var errBadName = errors.New("not a domain name")

// validName bounds the labels and refuses what would need an escape: a name of
// mail has neither.
func validName(name string) bool {
	if strings.ContainsAny(name, "\\ \t\r\n\x00") {
		return false
	}
	_, ok := dns.IsDomainName(name)
	return ok
}

func (c *Client) count(e entry, hit bool) {
	result, cached := "ok", "miss"
	if e.err != nil {
		result = string(e.err.Kind)
	}
	if hit {
		cached = "hit"
	}
	c.lookups.WithLabelValues(result, cached).Inc()
}

// resolve asks the servers, follows aliases and keeps the answer. It fails only
// with the context.
func (c *Client) resolve(ctx context.Context, k key) (entry, error) {
	if over := ended(ctx); over != nil {
		return entry{}, over
	}
	select {
	case c.slots <- struct{}{}:
		defer func() { <-c.slots }()
	case <-ctx.Done():
		return entry{}, context.Cause(ctx)
	}
	if e, ok := c.cache.get(k, c.opts.Now()); ok {
		return e, nil // it came while we waited
	}
	chain := chase{want: k, at: k.name, ttl: maxTTL, authentic: true}
	for range maxChain {
		m, trusted, err := c.ask(ctx, key{chain.at, k.qtype})
		if err != nil {
			if over := ended(ctx); over != nil {
				return entry{}, over
			}
			return c.keep(k, chain.failed(err)), nil
		}
		if done := chain.follow(m, trusted); done {
			return c.keep(k, chain.entry(m)), nil
		}
	}
	return c.keep(k, chain.failed(&Error{Kind: ServFail, Err: errChain})), nil
}

var errChain = errors.New("too many aliases in a row")

// keep puts an entry into the cache for its lifetime.
func (c *Client) keep(k key, l lasting) entry {
	e := l.entry
	now := c.opts.Now()
	e.meta.Until = now.Add(l.ttl)
	if e.err != nil {
		e.err.Until = e.meta.Until
	}
	if l.ttl > 0 {
		c.cache.put(k, e)
	}
	return e
}

// lasting is an entry and how long it holds.
type lasting struct {
	entry
	ttl time.Duration
}

// chase follows aliases through one or more answers.
type chase struct {
	want      key
	at        string // the name whose records are wanted now
	ttl       time.Duration
	authentic bool
	records   []dns.RR
}

// follow takes one answer in and reports whether the end of the chain is in it.
func (s *chase) follow(m *dns.Msg, trusted bool) bool {
	s.authentic = s.authentic && trusted && m.AuthenticatedData
	moved := false
	for range maxChain {
		next := ""
		for _, rr := range m.Answer {
			h := rr.Header()
			if h.Class != dns.ClassINET || !strings.EqualFold(h.Name, s.at) {
				continue
			}
			if h.Rrtype == s.want.qtype {
				s.records = append(s.records, rr)
				s.last(h.Ttl)
			} else if alias, ok := rr.(*dns.CNAME); ok {
				next = strings.ToLower(alias.Target)
				s.last(h.Ttl)
			}
		}
		if len(s.records) > 0 {
			return true
		}
		if next == "" {
			break
		}
		s.at, moved = next, true
	}
	// A chain that ends in NXDOMAIN, or without a step in this answer, is over.
	return m.Rcode == dns.RcodeNameError || !moved
}

func (s *chase) last(ttl uint32) {
	s.ttl = min(s.ttl, time.Duration(ttl)*time.Second)
}

// entry is what the chain came to.
func (s *chase) entry(m *dns.Msg) lasting {
	if len(s.records) > 0 {
		return lasting{entry{Meta{Authentic: s.authentic}, s.records, nil}, max(s.ttl, minTTL)}
	}
	kind := NoData
	if m.Rcode == dns.RcodeNameError {
		kind = NXDomain
	}
	e := &Error{Kind: kind, Name: s.name(), Type: dns.TypeToString[s.want.qtype]}
	return lasting{entry{Meta{Authentic: s.authentic}, nil, e}, min(s.ttl, negativeTTL(m))}
}

func (s *chase) failed(err *Error) lasting {
	err.Name, err.Type = s.name(), dns.TypeToString[s.want.qtype]
	return lasting{entry{Meta{}, nil, err}, failureTTL}
}

func (s *chase) name() string { return strings.TrimSuffix(s.want.name, ".") }

// negativeTTL is the lesser of the SOA's own TTL and its minimum (RFC 2308
// section 5). Without a SOA the answer is not kept.
func negativeTTL(m *dns.Msg) time.Duration {
	for _, rr := range m.Ns {
		if soa, ok := rr.(*dns.SOA); ok {
			ttl := time.Duration(min(soa.Hdr.Ttl, soa.Minttl)) * time.Second
			return min(max(ttl, minTTL), maxNegative)
		}
	}
	return 0
}
