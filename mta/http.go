// SPDX-License-Identifier: Apache-2.0

package mta

import (
	"context"
	"log/slog"

	"github.com/prometheus/client_golang/prometheus/collectors"

	"github.com/seguemta/segue/mta/httpapi"
)

// makeHTTP binds the inside: API, metrics, health, and the tracking API.
func (e *Engine) makeHTTP() error {
	e.o.Registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}), newStages(e), newStandings(e), newDisks(e))
	if e.c.HTTP.Address.IsZero() {
		return nil
	}
	token, err := readToken(string(e.c.HTTP.TokenFile))
	if err != nil {
		return err
	}
	tracking, err := e.newTracking()
	if err != nil {
		return err
	}
	log := e.log.With(slog.String("component", "http"))
	handler := httpapi.New(httpapi.Options{Methods: e.Methods(), Token: token, Metrics: e.o.Registry, Logger: log, Version: e.o.Version, Tracking: tracking})
	address := e.c.HTTP.Address.String()
	ln, err := e.o.Network.Listen(context.Background(), address)
	if err != nil {
		return bindError("http", address, err)
	}
	e.onStop("http "+address, func() error { return closed(ln.Close()) })
	srv := httpapi.NewServer(handler, log)
	e.servers = append(e.servers, &server{name: "http " + address, purpose: "http", ln: ln, serve: func(ctx, hard context.Context) error {
		return serveHTTP(ctx, hard, srv, func() error { return srv.Serve(ln) })
	}})
	return nil
}
