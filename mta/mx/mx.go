// SPDX-License-Identifier: Apache-2.0

// Package mx says where the mail of a domain goes.
//
// [Router.Resolve] turns a recipient domain into a [Target]: the exchangers in
// the order to try (RFC 5321 section 5.1, shuffled where preferences are equal),
// the name of the site that they form, and the provider that runs it. Domains
// of one site share connections and limits; sites of one provider share budgets.
// [Router.Addresses] then turns an exchanger into addresses that the source can
// reach and that mail may go to.
//
// Both fail with an [*Error], which knows whether the mail waits or bounces and
// with which status. A domain that does not exist, that accepts no mail (RFC
// 7505) or whose exchangers cannot be names bounces; everything that a working
// DNS might answer otherwise tomorrow waits.
//
// The package opens no connection and keeps no state: lifetimes and caching are
// mta/resolve's.
package mx

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/seguemta/segue/mta/netx"
	"github.com/seguemta/segue/mta/resolve"
	"github.com/seguemta/segue/mta/rfc5321"
)

// Bounds on what a domain can make us do.
const (
	MaxHosts     = 20 // exchangers of a target
	MaxAddresses = 20 // addresses of an exchanger
)

// Host is one exchanger.
type Host struct {
	Name       string // lower case, without final dot; an address only where a route says so
	Port       uint16
	Preference uint16
}

// Target is where the mail of a domain goes.
type Target struct {
	Site     string // canonical name of the set of exchangers, see [SiteName]
	Provider string // "" where no provider matches
	Hosts    []Host // in the order to try; at least one
	// Until is how long this holds; zero: until the configuration changes.
	Until     time.Time
	Routed    bool // by a route, not by DNS
	Implicit  bool // no MX: the domain's own address (RFC 5321 section 5.1)
	Authentic bool // the MX answer was validated by DNSSEC
}

// Provider is a named group of sites.
type Provider struct {
	Name string
	// MX are host names or patterns like "*.google.com", which any name below
	// google.com matches. A site belongs to the provider when every one of its
	// hosts matches some pattern.
	MX []string
	// Domains are recipient domains that belong to it whatever their MX.
	Domains []string
}

// Options configure a [Router].
type Options struct {
	Resolver  resolve.Resolver // required
	Providers []Provider       // the first that matches counts; domains before patterns
	// Routes send a recipient domain to "host:port", "host", "address:port" or
	// "[v6]:port" instead of its MX.
	Routes map[string]string
	// Port of all exchangers but those of routes that name one; 0: 25.
	Port uint16
	// Guard decides which addresses may be used. Routes need to be allowed too
	// where they lead to a private address.
	Guard netx.Guard
	// Self are our own names. Where one is among the exchangers of a domain, those
	// of the same or worse preference are left out (RFC 5321 section 5.1). One that has
	// no MX is its own exchanger.
	Self []string
	// Rand shuffles; nil: a random seed.
	Rand *rand.Rand
}

// Router is safe for concurrent use.
type Router struct {
	opts   Options
	routes map[string]Host
	byName map[string]string // recipient domain -> provider
	self   map[string]bool

	mu   sync.Mutex
	rand *rand.Rand // guarded by mu
}

// New returns a router. It fails on a route or pattern that cannot be one.
func New(opts Options) (*Router, error) {
	if opts.Port == 0 {
		opts.Port = 25
	}
	r := &Router{opts: opts, routes: map[string]Host{}, byName: map[string]string{}, self: map[string]bool{}, rand: opts.Rand}
	if r.rand == nil {
		r.rand = rand.New(rand.NewPCG(rand.Uint64(), rand.Uint64())) //nolint:gosec // spreads load, guards nothing
	}
	for domain, via := range opts.Routes {
		host, err := parseRoute(via, opts.Port)
		if err != nil {
			return nil, fmt.Errorf("route of %s: %w", domain, err)
		}
		r.routes[plain(domain)] = host
	}
	for _, p := range opts.Providers {
		for _, pattern := range p.MX {
			if name := strings.TrimPrefix(plain(pattern), "*."); name == "" || strings.Contains(name, "*") {
				return nil, fmt.Errorf("provider %s: pattern %q: want a host name or *.domain", p.Name, pattern)
			}
		}
		for _, d := range p.Domains {
			if _, taken := r.byName[plain(d)]; !taken {
				r.byName[plain(d)] = p.Name
			}
		}
	}
	for _, name := range opts.Self {
		r.self[plain(name)] = true
	}
	return r, nil
}

func parseRoute(via string, port uint16) (Host, error) {
	if ap, err := netip.ParseAddrPort(via); err == nil && ap.Port() != 0 {
		return Host{Name: ap.Addr().String(), Port: ap.Port()}, nil
	}
	if addr, err := netip.ParseAddr(strings.Trim(via, "[]")); err == nil {
		return Host{Name: addr.String(), Port: port}, nil
	}
	name, service, found := strings.Cut(via, ":")
	if found {
		n, err := strconv.ParseUint(service, 10, 16)
		if err != nil || n == 0 {
			return Host{}, fmt.Errorf("%q: want host:port", via)
		}
		port = uint16(n)
	}
	host, err := rfc5321.ParseDomain(plain(name))
	if err != nil {
		return Host{}, fmt.Errorf("%q: want host:port: %w", via, err)
	}
	return Host{Name: host, Port: port}, nil
}

// Resolve says where the mail of a domain goes. The domain is in A-labels.
func (r *Router) Resolve(ctx context.Context, domain string) (Target, error) {
	domain = plain(domain)
	if host, ok := r.routes[domain]; ok {
		t := Target{Hosts: []Host{host}, Routed: true, Site: hostPort(host)}
		t.Provider = r.provider(domain, t.Hosts)
		return t, nil
	}
	answer, err := r.opts.Resolver.LookupMX(ctx, domain)
	switch resolve.KindOf(err) {
	case resolve.NoData:
		return r.implicit(ctx, domain, err)
	default:
		if err != nil {
			return Target{}, lookupError(domain, err)
		}
	}
	hosts, failure := r.hosts(domain, answer)
	if failure != nil {
		return Target{}, failure
	}
	return Target{
		Site: siteOf(hosts), Provider: r.provider(domain, hosts), Hosts: r.order(hosts), Until: answer.Until, Authentic: answer.Authentic,
	}, nil
}

// implicit routes a domain without MX to its own address, which must exist and not be ours.
func (r *Router) implicit(ctx context.Context, domain string, noMX error) (Target, error) {
	addrs, err := r.opts.Resolver.LookupAddrs(ctx, domain, resolve.Both)
	if err != nil {
		return Target{}, lookupError(domain, err)
	}
	if r.self[domain] {
		return Target{}, &Error{Kind: Loop, Domain: domain, Until: addrs.Until}
	}
	hosts := []Host{{Name: domain, Port: r.opts.Port}}
	t := Target{Site: domain, Provider: r.provider(domain, hosts), Hosts: hosts, Implicit: true, Until: addrs.Until}
	if until := untilOf(noMX); !until.IsZero() && until.Before(t.Until) {
		t.Until = until
	}
	return t, nil
}

// hosts takes what is usable from an MX answer.
func (r *Router) hosts(domain string, answer resolve.MXAnswer) ([]Host, *Error) {
	var hosts []Host
	limit := -1 // preference from which on we would send to ourselves
	for _, rec := range answer.Records {
		if r.self[rec.Host] && (limit < 0 || int(rec.Preference) < limit) {
			limit = int(rec.Preference)
		}
		// What is no host name (an address, "localhost.", a lone dot) leads nowhere.
		name, err := rfc5321.ParseDomain(rec.Host)
		if err != nil {
			continue
		}
		hosts = append(hosts, Host{Name: name, Port: r.opts.Port, Preference: rec.Preference})
	}
	switch {
	case len(hosts) == 0 && len(answer.Records) == 1 && answer.Records[0].Host == "":
		return nil, &Error{Kind: NullMX, Domain: domain, Until: answer.Until}
	case len(hosts) == 0:
		return nil, &Error{Kind: NoRoute, Domain: domain, Until: answer.Until}
	}
	if limit >= 0 {
		hosts = slices.DeleteFunc(hosts, func(h Host) bool { return int(h.Preference) >= limit })
	}
	if len(hosts) == 0 {
		return nil, &Error{Kind: Loop, Domain: domain, Until: answer.Until}
	}
	slices.SortFunc(hosts, func(a, b Host) int {
		if a.Preference != b.Preference {
			return int(a.Preference) - int(b.Preference)
		}
		return strings.Compare(a.Name, b.Name)
	})
	seen := map[string]bool{}
	hosts = slices.DeleteFunc(hosts, func(h Host) bool {
		again := seen[h.Name]
		seen[h.Name] = true
		return again
	})
	return hosts[:min(len(hosts), MaxHosts)], nil
}

// order shuffles hosts of equal preference; the slice is sorted by preference.
func (r *Router) order(hosts []Host) []Host {
	r.mu.Lock()
	defer r.mu.Unlock()
	for from := 0; from < len(hosts); {
		to := from + 1
		for to < len(hosts) && hosts[to].Preference == hosts[from].Preference {
			to++
		}
		equal := hosts[from:to]
		r.rand.Shuffle(len(equal), func(i, j int) { equal[i], equal[j] = equal[j], equal[i] })
		from = to
	}
	return hosts
}

// provider names the provider of a domain and its hosts.
func (r *Router) provider(domain string, hosts []Host) string {
	if name, ok := r.byName[domain]; ok {
		return name
	}
	for _, p := range r.opts.Providers {
		all := len(p.MX) > 0
		for _, h := range hosts {
			all = all && slices.ContainsFunc(p.MX, func(pattern string) bool { return matches(plain(pattern), h.Name) })
		}
		if all {
			return p.Name
		}
	}
	return ""
}

func matches(pattern, host string) bool {
	if suffix, ok := strings.CutPrefix(pattern, "*"); ok {
		return len(host) > len(suffix) && strings.HasSuffix(host, suffix)
	}
	return pattern == host
}

func plain(s string) string { return strings.ToLower(strings.TrimSuffix(strings.TrimSpace(s), ".")) }

func hostPort(h Host) string {
	if addr, err := netip.ParseAddr(h.Name); err == nil {
		return netip.AddrPortFrom(addr, h.Port).String()
	}
	return h.Name + ":" + strconv.Itoa(int(h.Port))
}
