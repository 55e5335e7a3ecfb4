// SPDX-License-Identifier: Apache-2.0

package public

import (
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"time"
)

// limiter bounds how often an address may ask: so many times in a window of its own,
// which begins with its first request.
type limiter struct {
	most int
	per  time.Duration
	now  func() time.Time

	mu   sync.Mutex
	seen map[netip.Addr]window
}

type window struct {
	ends time.Time
	n    int
}

// maxSeen bounds the addresses that are remembered. When there are more, windows that
// have ended go; if none has, all do: a flood from so many addresses is not stopped by
// counting each.
const maxSeen = 100_000

func newLimiter(most int, per time.Duration, now func() time.Time) *limiter {
	return &limiter{most: most, per: per, now: now, seen: make(map[netip.Addr]window)}
}

// allow counts one request.
func (l *limiter) allow(addr netip.Addr) bool {
	if l.most <= 0 {
		return true
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	now := l.now()
	w, ok := l.seen[addr]
	// A window that ends too late was opened before the clock was set back.
	if !ok || !now.Before(w.ends) || w.ends.Sub(now) > l.per {
		if !ok && len(l.seen) >= maxSeen {
			l.forget(now)
		}
		w = window{ends: now.Add(l.per)}
	}
	w.n++
	l.seen[addr] = w
	return w.n <= l.most
}

func (l *limiter) forget(now time.Time) {
	for a, w := range l.seen {
		if !now.Before(w.ends) {
			delete(l.seen, a)
		}
	}
	if len(l.seen) >= maxSeen {
		clear(l.seen)
	}
}

// Timeouts of the server: a form of one field needs none of them.
const (
	headerTimeout = 5 * time.Second
	readTimeout   = 10 * time.Second
	writeTimeout  = 20 * time.Second // waits for the disk, too
	idleTimeout   = 30 * time.Second
	maxHeader     = 8 << 10
)

// NewServer returns an HTTP server with the timeouts that suit strangers.
func NewServer(h http.Handler, log *slog.Logger) *http.Server {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	return &http.Server{
		Handler: h, ReadHeaderTimeout: headerTimeout, ReadTimeout: readTimeout, WriteTimeout: writeTimeout, IdleTimeout: idleTimeout,
		MaxHeaderBytes: maxHeader, ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelDebug),
	}
}

// Limit bounds the connections of a listener: what comes above waits in the kernel
// until one ends.
func Limit(ln net.Listener, most int) net.Listener {
	return &bounded{Listener: ln, places: make(chan struct{}, most), closed: make(chan struct{})}
}

// bounded is a listener that hands out a place with each connection.
type bounded struct {
	net.Listener
	places chan struct{}
	once   sync.Once
	closed chan struct{}
}

// Accept implements [net.Listener].
func (b *bounded) Accept() (net.Conn, error) {
	select {
	case b.places <- struct{}{}:
	case <-b.closed:
		return nil, net.ErrClosed
	}
	c, err := b.Listener.Accept()
	if err != nil {
		<-b.places
		return nil, err
	}
	return &placed{Conn: c, leave: sync.OnceFunc(func() { <-b.places })}, nil
}

// Close implements [net.Listener].
func (b *bounded) Close() error {
	b.once.Do(func() { close(b.closed) })
	return b.Listener.Close()
}

// placed is a connection that gives its place back.
type placed struct {
	net.Conn
	leave func()
}

// Close implements [net.Conn].
func (p *placed) Close() error {
	p.leave()
	return p.Conn.Close()
}
