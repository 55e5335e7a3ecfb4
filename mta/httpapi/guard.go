// SPDX-License-Identifier: Apache-2.0

package httpapi

import (
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"github.com/seguemta/segue/mta/api"
)

// guard is what every request passes: it recovers from panics, sets deadlines,
// and turns away who may not ask.
func (s *server) guard(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		start := time.Now()
		a := &answer{ResponseWriter: w}
		defer func() {
			if p := recover(); p != nil {
				s.panicked(a, r, p)
			}
			s.log.Debug("request", slog.String("method", r.Method), slog.String("route", r.Pattern),
				slog.Int("status", a.status), slog.Duration("took", time.Since(start)))
		}()
		a.Header().Set("X-Content-Type-Options", "nosniff")
		a.Header().Set("Cache-Control", "no-store")
		if r.ContentLength != 0 {
			a.body = &timedBody{ReadCloser: r.Body, control: http.NewResponseController(w)}
			defer a.body.abandon()
			r = r.WithContext(r.Context()) // a copy: net/http wants to find its own body in the original
			r.Body = a.body
		}
		if refusal := s.refuse(r); refusal != nil {
			if refusal.Status == http.StatusUnauthorized {
				a.Header().Set("WWW-Authenticate", challenge(r))
			}
			s.fail(a, r, refusal)
			return
		}
		next.ServeHTTP(a, r)
	})
}

// timedBody gives each read its deadline and takes it away at the end: a
// deadline left behind would end a request that is merely being worked on.
type timedBody struct {
	io.ReadCloser
	control *http.ResponseController
	ended   bool // nothing more will come
}

// Read implements [io.Reader].
func (b *timedBody) Read(p []byte) (int, error) {
	_ = b.control.SetReadDeadline(time.Now().Add(readTimeout)) // not every connection has deadlines
	n, err := b.ReadCloser.Read(p)
	_ = b.control.SetReadDeadline(time.Time{})
	b.ended = b.ended || errors.Is(err, io.EOF)
	return n, err
}

// abandon bounds what comes after the answer: net/http reads on in a body that
// the handler left, and would do so for as long as a silent client stays.
func (b *timedBody) abandon() {
	if !b.ended {
		_ = b.control.SetReadDeadline(time.Now().Add(drainTimeout))
	}
}

// refuse says why a request is turned away, or nil.
func (s *server) refuse(r *http.Request) *api.Error {
	_, pattern := s.mux.Handler(r)
	if pattern == trackingPath {
		return nil
	}
	if !s.locked && !loopback(r.Host) {
		return api.Problem(http.StatusMisdirectedRequest, "wrong host",
			"an engine without a token answers only to localhost and loopback addresses: set http.token_file, or ask for 127.0.0.1")
	}
	if err := s.origin.Check(r); err != nil {
		return api.Problem(http.StatusForbidden, "wrong origin", "a browser may not send this from another site")
	}
	if s.locked && !s.isOpen(pattern) && !s.authorized(r) {
		return api.Problem(http.StatusUnauthorized, "token needed", "send the engine's token as Authorization: Bearer TOKEN (--token or SEGUE_TOKEN)")
	}
	return nil
}

func (s *server) isOpen(pattern string) bool {
	_, path, _ := strings.Cut(pattern, " ")
	return s.open[path]
}

// authorized compares the token in constant time.
func (s *server) authorized(r *http.Request) bool {
	scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	sum := sha256.Sum256([]byte(strings.TrimSpace(token)))
	same := subtle.ConstantTimeCompare(sum[:], s.token[:]) == 1
	return same && strings.EqualFold(scheme, "Bearer")
}

// challenge is the WWW-Authenticate of RFC 6750, section 3.
func challenge(r *http.Request) string {
	if r.Header.Get("Authorization") == "" {
		return `Bearer realm="segue"`
	}
	return `Bearer realm="segue", error="invalid_token"`
}

// loopback reports whether a Host header names this machine and no other.
func loopback(host string) bool {
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	host = strings.TrimSuffix(strings.TrimPrefix(host, "["), "]")
	if strings.EqualFold(strings.TrimSuffix(host, "."), "localhost") {
		return true
	}
	a, err := netip.ParseAddr(host)
	return err == nil && a.IsLoopback()
}

// nowhere answers requests that no endpoint takes.
func (s *server) nowhere(w http.ResponseWriter, r *http.Request) {
	var allowed []string
	for _, method := range []string{http.MethodGet, http.MethodPost, http.MethodDelete} {
		probe := &http.Request{Method: method, URL: &url.URL{Path: r.URL.Path, RawPath: r.URL.RawPath}, Host: r.Host}
		if _, pattern := s.mux.Handler(probe); pattern != "/" && pattern != "" {
			allowed = append(allowed, method)
		}
	}
	if len(allowed) == 0 || slices.Contains(allowed, r.Method) {
		s.fail(w, r, api.Problem(http.StatusNotFound, "no such endpoint", "/api/v1/openapi.json lists them"))
		return
	}
	w.Header().Set("Allow", strings.Join(allowed, ", "))
	s.fail(w, r, api.Problem(http.StatusMethodNotAllowed, "method not allowed", "this endpoint takes "+strings.Join(allowed, " and ")))
}

// panicked turns a panic into an answer and a log line, and the engine lives on.
func (s *server) panicked(a *answer, r *http.Request, p any) {
	if p == http.ErrAbortHandler { //nolint:errorlint,err113 // net/http compares it so
		panic(p)
	}
	s.log.Error("serving a request panicked", slog.String("method", r.Method), slog.String("route", r.Pattern),
		slog.Any("panic", p), slog.String("stack", string(debug.Stack())))
	if a.status == 0 {
		s.fail(a, r, api.Problem(http.StatusInternalServerError, "internal error", "this is a defect of segue: its log says more"))
	}
}
