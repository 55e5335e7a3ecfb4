// SPDX-License-Identifier: Apache-2.0

// Package httpapi serves api.Methods over HTTP (RFC 9110): the inside of an
// engine, for operators, their scripts and a Prometheus. It translates: what an order does, and
// whether it may, is decided by the Methods. It is not the outside: unsubscribe links
// and tracking have a listener of their own.
//
// Call [New] with the Methods and serve the handler with [NewServer]. One table of
// endpoints, a file per noun, registers the routes and is the OpenAPI document at
// /api/v1/openapi.json, so that neither can be forgotten.
//
// # Who may ask
//
// /healthz, /readyz and /metrics are open. Everything else, profiles of the
// program among it, needs the token as a bearer (RFC 6750). Without a token (on loopback only: the configuration refuses it
// elsewhere) the Host header must name this machine, so that no web page reaches the engine by
// pointing a name of its own at 127.0.0.1. With and without, a browser may not
// send orders from another origin, and no GET changes anything.
//
// The tracking API below /v1/ is a stranger here: package mta/track serves it, and
// lets in who has a write key. It shares the listener, the timeouts and the guard
// against panics, and is not in the document.
//
// Errors are problem documents (RFC 9457).
package httpapi

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"log/slog"
	"net"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/seguemta/segue/mta/api"
)

// Options of the handler. Methods is required.
type Options struct {
	Methods api.Methods
	Token   string              // "" = none: only for a loopback listener
	Metrics prometheus.Gatherer // nil = an empty page
	Logger  *slog.Logger        // nil = discard
	Version string              // in the OpenAPI document; "" = devel
	// Tracking serves what is below /v1/, for anyone: it has keys of its own, and the
	// token, the origin and the host of a request are not looked at. nil = nothing.
	Tracking http.Handler
}

// server is what endpoints share. It does not change after New.
type server struct {
	methods api.Methods
	log     *slog.Logger
	token   [sha256.Size]byte // of the token: comparing hashes takes the same time for every guess
	locked  bool              // there is a token
	origin  *http.CrossOriginProtection
	mux     *http.ServeMux
	open    map[string]bool // routes that need no token
}

// New returns the handler. It may serve any number of requests at a time.
func New(o Options) http.Handler {
	if o.Metrics == nil {
		o.Metrics = prometheus.NewRegistry()
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Version == "" {
		o.Version = "devel"
	}
	s := &server{
		methods: o.Methods, log: o.Logger, token: sha256.Sum256([]byte(o.Token)), locked: o.Token != "",
		origin: http.NewCrossOriginProtection(), mux: http.NewServeMux(), open: make(map[string]bool),
	}
	for _, e := range table(o) {
		s.mux.HandleFunc(e.route(), func(w http.ResponseWriter, r *http.Request) { e.serve(s, w, r) })
		s.open[e.path] = e.open
	}
	if o.Tracking != nil {
		s.mux.Handle(trackingPath, o.Tracking)
	}
	s.mux.HandleFunc("/", s.nowhere)
	return s.guard(s.mux)
}

// table is every endpoint; the last one describes them all.
func table(o Options) []endpoint {
	var list []endpoint
	for _, noun := range [][]endpoint{
		healthEndpoints(),
		{metricsEndpoint(o.Metrics)},
		clockEndpoints(), reputationEndpoints(),
		queueEndpoints(), segmentEndpoints(), breakerEndpoints(), contactEndpoints(),
		sourceEndpoints(), providerEndpoints(), suppressionEndpoints(), bounceEndpoints(), feedbackEndpoints(),
		{eventsEndpoint(), messagesEndpoint()},
		profileEndpoints(),
	} {
		list = append(list, noun...)
	}
	var text json.RawMessage
	list = append(list, answers(endpoint{
		method: http.MethodGet, path: "/api/v1/openapi.json", name: "openapi",
		summary: "This API as an OpenAPI 3.1 document.",
	}, func(api.Methods, *http.Request) (json.RawMessage, error) { return text, nil }))
	text = document(list, o.Version)
	return list
}

// trackingPath is where Options.Tracking serves.
const trackingPath = "/v1/"

// Timeouts of a server that do not depend on the endpoint. Bodies have their
// own, see readTimeout.
const (
	headerTimeout = 10 * time.Second
	idleTimeout   = 2 * time.Minute
	maxHeader     = 64 << 10 // octets
)

// NewServer returns an HTTP server with the timeouts that the handler of [New]
// counts on: it bounds headers, the handler bounds bodies. Its Shutdown ends what
// would last for minutes, and waits for the rest.
func NewServer(h http.Handler, log *slog.Logger) *http.Server {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	stop, cancel := context.WithCancel(context.Background())
	srv := &http.Server{
		Handler: h, ReadHeaderTimeout: headerTimeout, IdleTimeout: idleTimeout, MaxHeaderBytes: maxHeader,
		ErrorLog:    slog.NewLogLogger(log.Handler(), slog.LevelDebug),
		BaseContext: func(net.Listener) context.Context { return context.WithValue(context.Background(), stopKey{}, stop) },
	}
	srv.RegisterOnShutdown(cancel)
	return srv
}

// stopKey is where the context of a request holds the one that ends with Shutdown.
type stopKey struct{}

// stopping is closed when the server is shut down; nil where it never is.
func stopping(r *http.Request) <-chan struct{} {
	stop, ok := r.Context().Value(stopKey{}).(context.Context)
	if !ok {
		return nil
	}
	return stop.Done()
}
