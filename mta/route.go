// SPDX-License-Identifier: Apache-2.0

package mta

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"github.com/seguemta/segue/config"
	"github.com/seguemta/segue/mta/mx"
	"github.com/seguemta/segue/mta/netx"
	"github.com/seguemta/segue/mta/resolve"
	"github.com/seguemta/segue/queue"
)

// routeFor is how long the queue keeps a route at most, and how soon it asks again
// after a failure that does not say itself.
const (
	routeFor   = time.Hour
	routeRetry = time.Minute
)

// newRouter makes the way to mail exchangers: our DNS client, the rules of MX,
// the guard against addresses that are nobody's business.
func newRouter(c *config.Config, o *Options) (*mx.Router, netx.Guard, error) {
	guard := netx.Guard{Allow: config.Prefixes(c.Rehearsal.PrivateTargets)}
	servers := make([]netip.AddrPort, len(c.DNS.Servers))
	for i, s := range c.DNS.Servers {
		servers[i] = s.AddrPort
	}
	client, err := resolve.New(resolve.Options{Servers: servers, Network: o.Network, Now: o.Now, Registerer: o.Registry})
	if err != nil {
		return nil, guard, fmt.Errorf("making the DNS client: %w", err)
	}
	opts := mx.Options{Resolver: client, Routes: make(map[string]string), Port: uint16(c.Delivery.Port), Guard: guard, Self: []string{c.Hostname}} //nolint:gosec // checked to be a port
	for _, p := range c.Providers {
		opts.Providers = append(opts.Providers, mx.Provider{Name: p.Name, MX: p.MX, Domains: p.Domains})
	}
	for _, r := range c.Routes {
		opts.Routes[r.Domain] = r.Via.String()
	}
	router, err := mx.New(opts)
	if err != nil {
		return nil, guard, fmt.Errorf("making the router: %w", err)
	}
	return router, guard, nil
}

// routes plugs the router into the queue.
type routes struct {
	router   *mx.Router
	classify classifier
	now      func() time.Time
}

// Resolve implements queue.Resolver.
func (r routes) Resolve(ctx context.Context, domain string) queue.Route {
	now := r.now()
	t, err := r.router.Resolve(ctx, domain)
	if err == nil {
		return queue.Route{Site: t.Site, Provider: t.Provider, Until: bounded(t.Until, now, routeFor)}
	}
	route := queue.Route{Until: now.Add(routeRetry), Failure: err.Error()}
	route.Reply.Text = err.Error()
	if e, ok := errors.AsType[*mx.Error](err); ok {
		route.Permanent, route.Reply, route.Until = e.Permanent(), e.Reply(), bounded(e.Until, now, routeRetry)
		// The same reply means the same, whoever finds that the domain takes no mail.
		route.Class, route.Verdict, _ = r.classify.Classify("", route.Reply)
		if route.Failure = e.Reply().Text; e.Err != nil {
			route.Failure += " (" + e.Err.Error() + ")"
		}
	}
	return route
}

// bounded keeps a time within (now, now+most].
func bounded(t, now time.Time, most time.Duration) time.Time {
	if limit := now.Add(most); t.IsZero() || t.After(limit) {
		return limit
	}
	if t.Before(now.Add(time.Second)) {
		return now.Add(time.Second)
	}
	return t
}
