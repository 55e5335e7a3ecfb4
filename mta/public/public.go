// SPDX-License-Identifier: Apache-2.0

// Package public is the outside of the engine over HTTP: what the links in mail lead
// to, and nothing else. Today that is unsubscribing.
//
// POST /u/TOKEN with List-Unsubscribe=One-Click in its body, as a form of either kind, is
// the one-click unsubscribe of RFC 8058: no cookie, no login, no redirect. It answers 200
// when the unsubscribe is durable, also when it was already. The button of the page that
// GET shows posts the same form. GET and HEAD change nothing: programs that look at
// links before people do would unsubscribe whole lists.
//
// Anybody can reach the listener, so it gives nothing away and waits for nobody: a token
// that is not ours gets the same 404 as any other path, bodies and headers are bounded,
// every step has a timeout, and an address may ask only so often. Behind a proxy, the
// proxy's address is that of everybody, so what it says of its clients is believed where the
// operator names it.
//
// [New] makes the handler, [NewServer] the server around it, [Limit] bounds its
// connections. What a token asks for is done by whoever assembles the engine.
package public

import (
	"context"
	"errors"
	"log/slog"
	"mime"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// ErrUnknown is wrapped by errors about a token that is not ours.
var ErrUnknown = errors.New("the token is not one of ours")

// Tokens knows what unsubscribe tokens mean. Errors about one that is not ours wrap
// [ErrUnknown]; after any other, the caller should come again.
type Tokens interface {
	// Check says whether a token is ours. It changes nothing.
	Check(token string) error
	// Unsubscribe does what a token asks for, once or again. nil means that it is durable.
	Unsubscribe(ctx context.Context, token string) error
}

// Options of the handler. Tokens is required.
type Options struct {
	Tokens  Tokens
	Rate    int            // requests of one address in Per; 0 = any number
	Per     time.Duration  // 0 = a minute
	Proxies []netip.Prefix // whose X-Forwarded-For is believed

	Logger     *slog.Logger          // nil = discard
	Registerer prometheus.Registerer // nil = no metrics
	Now        func() time.Time      // nil = time.Now
}

// prefix is what the path of an unsubscribe link begins with.
const prefix = "/u/"

// Bounds of what a stranger may send.
const (
	maxBody  = 8 << 10 // octets; a form of one field has some hundred
	maxToken = 128
)

// server serves requests. It does not change after New.
type server struct {
	o        Options
	limit    *limiter
	requests *prometheus.CounterVec
}

// New returns the handler. It may serve any number of requests at a time.
func New(o Options) http.Handler {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Per <= 0 {
		o.Per = time.Minute
	}
	s := &server{o: o, limit: newLimiter(o.Rate, o.Per, o.Now), requests: prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "segue_public_requests_total",
		Help: "Requests from outside by what came of them: unsubscribed, page, forged (a token that is not ours, or no path of ours), bad (no one-click form), limited, failed.",
	}, []string{"result"})}
	for _, result := range []string{unsubscribed, page, forged, bad, limited, failed} {
		s.requests.WithLabelValues(result)
	}
	if o.Registerer != nil {
		o.Registerer.MustRegister(s.requests)
	}
	return s
}

// Results of a request.
const (
	unsubscribed = "unsubscribed"
	page         = "page"
	forged       = "forged"
	bad          = "bad"
	limited      = "limited"
	failed       = "failed"
)

// ServeHTTP implements [http.Handler].
func (s *server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	protect(w.Header())
	result := s.serve(w, r)
	s.requests.WithLabelValues(result).Inc()
}

// protect sets the fields of every answer: nothing is kept, framed or passed on.
func protect(h http.Header) {
	h.Set("Cache-Control", "no-store")
	h.Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("X-Robots-Tag", "noindex, nofollow")
}

// serve answers and says what came of it.
func (s *server) serve(w http.ResponseWriter, r *http.Request) string {
	if !s.limit.allow(client(r, s.o.Proxies)) {
		w.Header().Set("Retry-After", "60")
		write(w, http.StatusTooManyRequests, tooMany)
		return limited
	}
	token, ok := strings.CutPrefix(r.URL.Path, prefix)
	if !ok || token == "" || len(token) > maxToken {
		write(w, http.StatusNotFound, notFound)
		return forged
	}
	switch r.Method {
	case http.MethodPost:
		return s.post(w, r, token)
	case http.MethodGet, http.MethodHead:
		if err := s.o.Tokens.Check(token); err != nil {
			return s.refuse(w, err)
		}
		write(w, http.StatusOK, question)
		return page
	default:
		w.Header().Set("Allow", "GET, HEAD, POST")
		write(w, http.StatusMethodNotAllowed, notFound)
		return bad
	}
}

// post unsubscribes.
func (s *server) post(w http.ResponseWriter, r *http.Request, token string) string {
	if err := s.o.Tokens.Check(token); err != nil {
		return s.refuse(w, err)
	}
	r.Body = http.MaxBytesReader(w, r.Body, maxBody)
	if !oneClick(r) {
		write(w, http.StatusBadRequest, noForm)
		return bad
	}
	// Whoever breaks the connection off has asked all the same.
	if err := s.o.Tokens.Unsubscribe(context.WithoutCancel(r.Context()), token); err != nil {
		return s.refuse(w, err)
	}
	write(w, http.StatusOK, done)
	return unsubscribed
}

// oneClick reports whether a body is the form of RFC 8058.
func oneClick(r *http.Request) bool {
	kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil {
		return false
	}
	switch kind {
	case "application/x-www-form-urlencoded":
		err = r.ParseForm()
	case "multipart/form-data":
		err = r.ParseMultipartForm(maxBody) // all of it fits: nothing goes to disk
	default:
		return false
	}
	return err == nil && r.PostForm.Get("List-Unsubscribe") == "One-Click"
}

// refuse answers an error. What it says of our inside goes to the log alone.
func (s *server) refuse(w http.ResponseWriter, err error) string {
	if errors.Is(err, ErrUnknown) {
		write(w, http.StatusNotFound, notFound)
		return forged
	}
	s.o.Logger.Error("an unsubscribe failed, whoever asked is told to come again", slog.Any("error", err))
	w.Header().Set("Retry-After", "60")
	write(w, http.StatusServiceUnavailable, comeAgain)
	return failed
}

// client is the address that a request counts for: an IPv4 address or an IPv6 /64. A
// proxy that is believed names it last in X-Forwarded-For; that may be another proxy, who
// named its own before.
func client(r *http.Request, proxies []netip.Prefix) netip.Addr {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		return netip.Addr{}
	}
	addr, err := netip.ParseAddr(host)
	if err != nil {
		return netip.Addr{}
	}
	addr = addr.Unmap()
	for _, text := range slices.Backward(strings.Split(strings.Join(r.Header.Values("X-Forwarded-For"), ","), ",")) {
		a, err := netip.ParseAddr(strings.TrimSpace(text))
		if err != nil || !believed(addr, proxies) {
			break
		}
		addr = a.Unmap()
	}
	if addr.Is6() {
		p, _ := addr.Prefix(64) // an IPv6 address has 64 bits
		addr = p.Addr()
	}
	return addr
}

func believed(addr netip.Addr, proxies []netip.Prefix) bool {
	for _, p := range proxies {
		if p.Contains(addr) {
			return true
		}
	}
	return false
}
