// SPDX-License-Identifier: Apache-2.0

package mtatest

import (
	"bytes"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net"
	"net/http"
	"sync"
)

// Flaky is an HTTP proxy on a bad day. Before it asks Target it may answer 503 or
// 429 by itself; afterwards it may close the connection in place of the answer, so that
// the client does not know what became of its request. The dice are seeded.
type Flaky struct {
	Target http.RoundTripper
	Host   string // whom Target asks, host:port
	Seed   uint64

	mu struct {
		sync.Mutex
		dice  *rand.Rand
		count FlakyCount
	}
}

// FlakyCount is what became of requests.
type FlakyCount struct {
	Passed      int // the client has the answer
	Unavailable int // 503
	TooMany     int // 429
	Lost        int // closed before the request was handed on, or Target was away
	Unheard     int // closed in place of the answer
}

// Start listens on an address and serves until the returned function is called.
func (f *Flaky) Start(address string) (at string, stop func(), err error) {
	f.mu.dice = rand.New(rand.NewPCG(f.Seed, 1)) //nolint:gosec // dice, not keys
	ln, err := net.Listen("tcp", address)        //nolint:noctx // of a test
	if err != nil {
		return "", nil, fmt.Errorf("starting a flaky proxy: %w", err)
	}
	srv := &http.Server{Handler: f} //nolint:gosec // its clients are ours
	go func() { _ = srv.Serve(ln) }()
	return ln.Addr().String(), func() { _ = srv.Close() }, nil
}

// ServeHTTP implements http.Handler. Six requests of ten go wrong.
func (f *Flaky) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	switch lot := f.lot(); {
	case lot < 15:
		f.note(&f.mu.count.Unavailable)
		http.Error(w, "try again", http.StatusServiceUnavailable)
	case lot < 30:
		f.note(&f.mu.count.TooMany)
		w.Header().Set("Retry-After", "0")
		http.Error(w, "slow down", http.StatusTooManyRequests)
	case lot < 40:
		f.note(&f.mu.count.Lost)
		panic(http.ErrAbortHandler)
	default:
		f.forward(w, r, body, lot < 60)
	}
}

func (f *Flaky) forward(w http.ResponseWriter, r *http.Request, body []byte, unheard bool) {
	out := r.Clone(r.Context())
	out.URL.Scheme, out.URL.Host, out.RequestURI = "http", f.Host, ""
	out.Body = io.NopCloser(bytes.NewReader(body))
	out.ContentLength = int64(len(body))
	answer, err := f.Target.RoundTrip(out)
	if err != nil {
		f.note(&f.mu.count.Lost)
		panic(http.ErrAbortHandler)
	}
	text, err := io.ReadAll(answer.Body)
	_ = answer.Body.Close()
	if err != nil || unheard {
		f.note(&f.mu.count.Unheard)
		panic(http.ErrAbortHandler)
	}
	maps.Copy(w.Header(), answer.Header)
	f.note(&f.mu.count.Passed)
	w.WriteHeader(answer.StatusCode)
	_, _ = w.Write(text) // a client that has gone asks again
}

func (f *Flaky) lot() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.mu.dice.IntN(100)
}

func (f *Flaky) note(n *int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	*n++
}

// Count is what became of requests so far.
func (f *Flaky) Count() FlakyCount {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.mu.count
}
