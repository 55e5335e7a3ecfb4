// SPDX-License-Identifier: Apache-2.0

// Package simulate is a small internet on loopback for demonstrations,
// benchmarks and rehearsals: a DNS server, mailbox providers on addresses of their
// own, and the people whose mailboxes they hold. It is product code, but no
// production path imports it, and it knows nothing of the engine that it plays
// against.
//
// [NewPopulation] makes the people from a seed. [Open] binds the DNS server and
// one SMTP server per provider, all on one port; [World.Run] serves until its
// context ends; [World.Counts] says what arrived. Providers have tempers
// ([Temper]): they limit connections and rates, greylist, refuse unknown users at
// RCPT or bounce them later, cut connections in the middle of a message, and send
// back delivery status notifications (RFC 3464) and complaints (RFC 5965). What
// befalls a recipient follows from the seed and the address alone, so that two
// runs differ only by the order in which mail arrives.
//
// For rehearsals over weeks there is a model without a network beside it: [Reputation] is what a provider
// thinks of a source, [Temperaments] are what people do with their mail.
//
// The SMTP of the providers is a [Session] that asks a [Host]: [Accept] gives it
// connections, and mta/bench uses it for a sink without a world around it.
//
// A recipient counts as received once the 250 after the final dot is on its way.
// Connections are only ever cut before that dot, so that what a sender counts as
// delivered and what the providers count as received must be equal.
//
// The addresses 127.0.0.2 to 127.0.0.6 exist on Linux; elsewhere they have to be
// added to the loopback interface first.
package simulate

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"strings"
	"sync"
	"time"
)

// Options of a World. Population is required.
type Options struct {
	Population *Population
	Tempers    []Temper // nil = [Cast]
	Seed       uint64
	// Known are client addresses with a history: quotas for new addresses do not
	// apply to them.
	Known  []netip.Addr
	Logger *slog.Logger     // nil = discard
	Now    func() time.Time // nil = time.Now
}

// World is a running internet. Its methods are safe for concurrent use.
type World struct {
	o         Options
	log       *slog.Logger
	zone      *zone
	dns       *dnsServer
	port      uint16
	providers []*provider
	byDomain  map[string]*provider
	returns   *returns
}

// Open binds everything. Nothing is served before Run; what a caller does not Run
// it has to Close.
func Open(ctx context.Context, o Options) (*World, error) {
	if o.Population == nil {
		return nil, errors.New("opening a simulated internet: Population is required")
	}
	if o.Tempers == nil {
		o.Tempers = Cast()
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	w := &World{o: o, log: o.Logger, zone: newZone(), byDomain: make(map[string]*provider), returns: newReturns()}
	for i := range o.Tempers {
		w.providers = append(w.providers, newProvider(w, &o.Tempers[i]))
	}
	if err := w.publish(); err != nil {
		return nil, err
	}
	if err := w.listen(ctx); err != nil {
		w.Close()
		return nil, err
	}
	return w, nil
}

// publish writes the zone: each domain of the population points at the host of
// its provider.
func (w *World) publish() error {
	byName := make(map[string]*provider)
	for _, p := range w.providers {
		byName[p.t.Name] = p
	}
	for _, d := range w.o.Population.Domains {
		p := byName[d.Provider]
		if p == nil {
			if d.Provider == "" {
				continue // a typing error: no such domain
			}
			return fmt.Errorf("opening a simulated internet: domain %s has its mail at %s, which is not there", d.Name, d.Provider)
		}
		hosts := []string{"mx1." + p.t.Zone, "mx2." + p.t.Zone}
		if p.t.HostPerDomain {
			hosts = []string{strings.ReplaceAll(d.Name, ".", "-") + "." + p.t.Zone}
		}
		w.zone.addMX(d.Name, hosts)
		for _, h := range hosts {
			w.zone.addA(h, p.t.Address)
		}
		w.byDomain[d.Name] = p
	}
	return nil
}

// listenAttempts bounds the search for a port that is free on every address.
const listenAttempts = 20

// listen binds the DNS server, and the providers to one port on all addresses.
func (w *World) listen(ctx context.Context) error {
	var err error
	if w.dns, err = listenDNS(ctx, w.zone); err != nil {
		return err
	}
	for range listenAttempts {
		if err = w.bind(ctx); err == nil {
			return nil
		}
		for _, p := range w.providers {
			p.close()
		}
	}
	return fmt.Errorf("binding the simulated providers (on systems other than Linux, add 127.0.0.2 to 127.0.0.6 to the loopback interface first): %w", err)
}

func (w *World) bind(ctx context.Context) error {
	w.port = 0
	for _, p := range w.providers {
		var lc net.ListenConfig
		ln, err := lc.Listen(ctx, "tcp4", netip.AddrPortFrom(p.t.Address, w.port).String())
		if err != nil {
			return err
		}
		p.ln = ln
		if a, ok := ln.Addr().(*net.TCPAddr); ok && w.port == 0 {
			w.port = a.AddrPort().Port()
		}
	}
	return nil
}

// Close releases what Open bound; Run does so by itself.
func (w *World) Close() {
	for _, p := range w.providers {
		p.close()
	}
	if w.dns != nil {
		w.dns.close()
	}
}

// Run serves until ctx ends and returns when every connection is closed.
func (w *World) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var wg sync.WaitGroup
	wg.Go(func() { cancel(w.dns.serve(ctx)) })
	for _, p := range w.providers {
		wg.Go(func() { cancel(p.serve(ctx)) })
	}
	wg.Go(func() { w.sendReturns(ctx) })
	wg.Wait()
	if err := context.Cause(ctx); err != nil && !errors.Is(err, context.Canceled) && !errors.Is(err, context.DeadlineExceeded) {
		return fmt.Errorf("serving a simulated internet: %w", err)
	}
	return nil
}

// Resolver is where the DNS server listens, over UDP and TCP.
func (w *World) Resolver() netip.AddrPort { return w.dns.addr }

// Port is the port of every provider.
func (w *World) Port() uint16 { return w.port }

// Publish adds a TXT record, such as the public half of a signing key.
func (w *World) Publish(name, text string) { w.zone.addTXT(name, text) }

// ReturnTo says where bounces and complaints are sent: the feedback listener of
// the engine, and the address at which it takes complaints. Nothing comes back
// before this is called.
func (w *World) ReturnTo(listener netip.AddrPort, complaints string) {
	w.returns.direct(listener, complaints)
}

// Provider is the name of the provider that has a domain's mail, "" if nobody.
func (w *World) Provider(domain string) string {
	if p := w.byDomain[strings.ToLower(domain)]; p != nil {
		return p.t.Name
	}
	return ""
}
