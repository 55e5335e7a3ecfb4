// SPDX-License-Identifier: Apache-2.0

package mtatest

import (
	"cmp"
	"context"
	"fmt"
	"net"
	"net/netip"
	"os"
	"sync"
	"syscall"

	"github.com/seguemta/segue/mta/netx"
)

// DefaultWindow is how many bytes a peer may be behind before writes wait.
const DefaultWindow = 64 << 10

// Net is an in-memory network. Addresses are real, so that guards, source
// binding and DNS behave as outside. Inside a testing/synctest bubble it has to
// be made there.
type Net struct {
	// Window overrides [DefaultWindow] for connections dialled from now on, and
	// ReplyWindow overrides it for what the listening side writes.
	Window, ReplyWindow int
	// Default is the address of a connection that names no source. The zero
	// value stands for 198.51.100.1.
	Default netip.Addr

	mu struct {
		sync.Mutex
		listeners map[netip.AddrPort]*listener
		dns       map[netip.AddrPort]DNSHandler
		fate      map[netip.AddrPort]error
		plumbed   map[netip.Addr]bool
		dials     []Dialled
		port      uint16
	}
}

// Dialled is one attempt to connect.
type Dialled struct {
	Local  netip.Addr // as asked for: invalid where the choice was left open
	Remote netip.AddrPort
}

// DNSHandler answers one packed query; nil is silence. It is called on its
// own goroutine. tcp tells the transport.
type DNSHandler func(query []byte, tcp bool) []byte

var _ netx.Network = (*Net)(nil)

// NewNet returns an empty network: every dial is refused.
func NewNet() *Net {
	n := &Net{}
	n.mu.listeners = map[netip.AddrPort]*listener{}
	n.mu.dns = map[netip.AddrPort]DNSHandler{}
	n.mu.fate = map[netip.AddrPort]error{}
	return n
}

// errBlackhole marks an address where packets vanish.
var errBlackhole = fmt.Errorf("mtatest: black hole")

// Blackhole makes dials to remote hang until their context ends, as a firewall
// that drops packets does. DNS queries there get no answer.
func (n *Net) Blackhole(remote netip.AddrPort) { n.Fail(remote, errBlackhole) }

// Fail makes dials to remote fail with err; nil heals it. An address where
// nobody listens refuses by itself.
func (n *Net) Fail(remote netip.AddrPort, err error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if err == nil {
		delete(n.mu.fate, remote)
		return
	}
	n.mu.fate[remote] = err
}

// Plumb limits the source addresses that this machine has. Without a call any
// address may be bound.
func (n *Net) Plumb(addrs ...netip.Addr) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.mu.plumbed = map[netip.Addr]bool{}
	for _, a := range addrs {
		n.mu.plumbed[a] = true
	}
}

// Dials lists all TCP dials so far, failed ones included.
func (n *Net) Dials() []Dialled {
	n.mu.Lock()
	defer n.mu.Unlock()
	return append([]Dialled(nil), n.mu.dials...)
}

// Dial connects to a listener of this network.
func (n *Net) Dial(ctx context.Context, local netip.Addr, remote netip.AddrPort) (net.Conn, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	fail := func(err error) (net.Conn, error) {
		return nil, &net.OpError{Op: "dial", Net: "tcp", Addr: net.TCPAddrFromAddrPort(remote), Err: err}
	}
	n.mu.Lock()
	n.mu.dials = append(n.mu.dials, Dialled{local, remote})
	fate, ln, dns := n.mu.fate[remote], n.mu.listeners[remote], n.mu.dns[remote]
	bound := !local.IsValid() || n.mu.plumbed == nil || n.mu.plumbed[local]
	n.mu.port++
	from := netip.AddrPortFrom(n.source(local), 32768+n.mu.port%28000)
	n.mu.Unlock()
	switch {
	case !bound:
		return fail(os.NewSyscallError("bind", syscall.EADDRNOTAVAIL))
	case local.IsValid() && local.Is4() != remote.Addr().Is4():
		return fail(netx.ErrFamily)
	case fate == errBlackhole: //nolint:errorlint // a marker, never wrapped
		<-ctx.Done()
		return fail(context.Cause(ctx))
	case fate != nil:
		return fail(fate)
	case ln == nil && dns == nil:
		return fail(os.NewSyscallError("connect", syscall.ECONNREFUSED))
	}
	up, down := n.windows()
	client, server := newConns(net.TCPAddrFromAddrPort(from), net.TCPAddrFromAddrPort(remote), up, down)
	if ln == nil {
		go serveTCP(server, dns)
		return client, nil
	}
	if !ln.offer(server) {
		return fail(os.NewSyscallError("connect", syscall.ECONNREFUSED))
	}
	return client, nil
}

func (n *Net) windows() (up, down int) {
	up = cmp.Or(n.Window, DefaultWindow)
	return up, cmp.Or(n.ReplyWindow, up)
}

func (n *Net) source(local netip.Addr) netip.Addr {
	switch {
	case local.IsValid():
		return local
	case n.Default.IsValid():
		return n.Default
	default:
		return netip.AddrFrom4([4]byte{198, 51, 100, 1})
	}
}

// Listen accepts connections at "addr:port"; the address must be a literal.
// Port 0 picks a free one.
func (n *Net) Listen(_ context.Context, addr string) (net.Listener, error) {
	at, err := netip.ParseAddrPort(addr)
	if err != nil {
		return nil, fmt.Errorf("listening at %q: %w", addr, err)
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	for port := uint16(20000); at.Port() == 0; port++ {
		if free := netip.AddrPortFrom(at.Addr(), port); n.mu.listeners[free] == nil {
			at = free
		}
	}
	if n.mu.listeners[at] != nil {
		return nil, &net.OpError{Op: "listen", Net: "tcp", Addr: net.TCPAddrFromAddrPort(at), Err: syscall.EADDRINUSE}
	}
	ln := &listener{net: n, at: at, backlog: make(chan *Conn, 1024), done: make(chan struct{})}
	n.mu.listeners[at] = ln
	return ln, nil
}

// listener hands out the server ends.
type listener struct {
	net     *Net
	at      netip.AddrPort
	backlog chan *Conn
	once    sync.Once
	done    chan struct{}
}

func (l *listener) offer(c *Conn) bool {
	select {
	case <-l.done:
		return false
	default:
	}
	select {
	case l.backlog <- c:
		return true
	default:
		return false
	}
}

// Accept returns the next connection.
func (l *listener) Accept() (net.Conn, error) {
	select {
	case c := <-l.backlog:
		return c, nil
	case <-l.done:
		return nil, &net.OpError{Op: "accept", Net: "tcp", Addr: l.Addr(), Err: net.ErrClosed}
	}
}

// Close frees the address and cuts connections that nobody accepted.
func (l *listener) Close() error {
	l.once.Do(func() {
		l.net.mu.Lock()
		delete(l.net.mu.listeners, l.at)
		l.net.mu.Unlock()
		close(l.done)
	})
	for {
		select {
		case c := <-l.backlog:
			c.Reset()
		default:
			return nil
		}
	}
}

// Addr is where it listens.
func (l *listener) Addr() net.Addr { return net.TCPAddrFromAddrPort(l.at) }
