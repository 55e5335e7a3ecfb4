// SPDX-License-Identifier: Apache-2.0

package mta

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"

	"github.com/seguemta/segue/config"
	"github.com/seguemta/segue/mta/deliver"
	"github.com/seguemta/segue/mta/public"
	"github.com/seguemta/segue/queue"
	"github.com/seguemta/segue/segment"
)

// makeOptout makes what unsubscribes, by mail or by a link.
func (e *Engine) makeOptout() error {
	streams := make([]string, 0, len(e.plan.streams))
	for name := range e.plan.streams {
		streams = append(streams, name)
	}
	known, err := newScopes(e.mail, streams)
	if err != nil {
		return err
	}
	e.optout = &optout{mail: e.mail, people: e.people, tokens: e.plan.secrets.tokens, scopes: known, redact: e.people.Redact}
	return nil
}

// marketing is what delivery adds to marketing mail.
func (e *Engine) marketing() deliver.Marketing {
	return deliver.Marketing{
		Is:  func(stream string) bool { return !e.plan.stream(stream).Transactional },
		URL: e.c.Public.URL, Token: func(job *queue.Job) string { return e.optout.token(job) },
	}
}

// makePublic binds the outside: unsubscribe links.
func (e *Engine) makePublic() error {
	p := &e.c.Public
	if p.Address.IsZero() {
		return nil
	}
	log := e.log.With(slog.String("component", "public"))
	handler := public.New(public.Options{
		Tokens: links{e.optout, e.feedback.missed}, Rate: int(p.Rate.Count), Per: p.Rate.Per, Proxies: config.Prefixes(p.Proxies),
		Logger: log, Registerer: e.o.Registry, Now: e.o.Now,
	})
	srv := public.NewServer(handler, log)
	if p.CertFile != "" {
		cert, err := newCertificate(p.CertFile, p.KeyFile, e.o.Now, log)
		if err != nil {
			return fmt.Errorf("[public]: %w", err)
		}
		srv.TLSConfig = cert.config()
	}
	address := p.Address.String()
	ln, err := e.o.Network.Listen(context.Background(), address)
	if err != nil {
		return bindError("public", address, err)
	}
	e.onStop("public "+address, func() error { return closed(ln.Close()) })
	bounded := public.Limit(ln, p.MaxConnections)
	serve := func() error { return srv.Serve(bounded) }
	if srv.TLSConfig != nil {
		serve = func() error { return srv.ServeTLS(bounded, "", "") }
	}
	e.servers = append(e.servers, &server{name: "public " + address, purpose: "public", ln: ln, serve: func(ctx, hard context.Context) error {
		return serveHTTP(ctx, hard, srv, serve)
	}})
	return nil
}

// serveHTTP serves until ctx ends, then gives what is under way until hard ends.
func serveHTTP(ctx, hard context.Context, srv *http.Server, serve func() error) error {
	done := make(chan error, 1)
	go func() { done <- serve() }()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
	}
	err := srv.Shutdown(hard)
	if errors.Is(err, context.Canceled) {
		err = srv.Close()
	}
	if served := <-done; !errors.Is(served, http.ErrServerClosed) && !errors.Is(served, net.ErrClosed) {
		err = errors.Join(err, served)
	}
	return err
}

// softBounces is the rule for addresses that keep failing for now.
func softBounces(s *config.Suppression) segment.SoftBounceRule {
	return segment.SoftBounceRule{Score: s.SoftBounces, HalfLife: s.HalfLife.Std(), Over: s.Over.Std(), Expires: s.Expires.Std()}
}
