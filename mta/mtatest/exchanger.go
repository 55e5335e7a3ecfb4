// SPDX-License-Identifier: Apache-2.0

package mtatest

import (
	"bufio"
	"context"
	"crypto/tls"
	"net"
	"net/netip"
	"strings"
	"sync"

	"github.com/seguemta/segue/mta/netx"
)

// Exchanger is a mail server that plays a part. Without rules it is a decent
// modern one which accepts everything. Set the fields before Start.
type Exchanger struct {
	Name       string      // its host name; "" is mx.test
	Extensions []string    // EHLO keywords; nil: PIPELINING 8BITMIME SMTPUTF8 SIZE ENHANCEDSTATUSCODES; CHUNKING is served where named
	TLS        *tls.Config // offers STARTTLS
	Rules      []Rule      // see [Script]

	mu struct {
		sync.Mutex
		messages    []Message
		commands    []string
		violations  []string
		counts      map[string]int
		clients     map[netip.Addr]*client
		connections int
		flights     int
		open        map[net.Conn]bool
	}
	ln   net.Listener
	done chan struct{}
	wait sync.WaitGroup
}

// Message is one message that an exchanger answered with 2xx.
type Message struct {
	From, MailArgs string
	To             []string // accepted ones
	Data           []byte   // as the sender had it: dots unstuffed, without the final dot
	Hello          string
	TLS            bool
	Remote         netip.AddrPort // the peer, so Remote.Addr() is the source
}

// Start listens at addr on n and serves until Close.
func (e *Exchanger) Start(n netx.Network, addr string) error {
	ln, err := n.Listen(context.Background(), addr)
	if err != nil {
		return err
	}
	if e.Name == "" {
		e.Name = "mx.test"
	}
	if e.Extensions == nil {
		e.Extensions = []string{"PIPELINING", "8BITMIME", "SMTPUTF8", "SIZE", "ENHANCEDSTATUSCODES"}
	}
	e.ln, e.done = ln, make(chan struct{})
	e.mu.counts, e.mu.open = map[string]int{}, map[net.Conn]bool{}
	e.mu.clients = map[netip.Addr]*client{}
	e.wait.Go(e.accept)
	return nil
}

// Close stops listening, cuts all connections and waits for their goroutines.
func (e *Exchanger) Close() error {
	_ = e.ln.Close()
	e.mu.Lock()
	close(e.done)
	for c := range e.mu.open {
		_ = c.Close()
	}
	e.mu.Unlock()
	e.wait.Wait()
	return nil
}

// Addr is where it listens.
func (e *Exchanger) Addr() netip.AddrPort { return addrPort(e.ln.Addr()) }

// Messages lists the accepted messages.
func (e *Exchanger) Messages() []Message {
	e.mu.Lock()
	defer e.mu.Unlock()
	return append([]Message(nil), e.mu.messages...)
}

// Behave gives it other rules, for what comes from now on.
func (e *Exchanger) Behave(rules []Rule) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.Rules = rules
}

// Commands lists every command line received, over all connections.
func (e *Exchanger) Commands() []string {
	e.mu.Lock()
	defer e.mu.Unlock()
	return append([]string(nil), e.mu.commands...)
}

// Violations lists what clients did that they may not.
func (e *Exchanger) Violations() []string {
	e.mu.Lock()
	defer e.mu.Unlock()
	return append([]string(nil), e.mu.violations...)
}

// Connections is how many were accepted.
func (e *Exchanger) Connections() int {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.mu.connections
}

// Flights is how many commands came without another one right behind them: the
// number of times a client waited for us.
func (e *Exchanger) Flights() int {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.mu.flights
}

func (e *Exchanger) accept() {
	for {
		c, err := e.ln.Accept()
		if err != nil {
			return
		}
		e.mu.Lock()
		select {
		case <-e.done:
			_ = c.Close()
		default:
			e.mu.connections++
			e.mu.open[c] = true
			e.wait.Go(func() { e.serve(c) })
		}
		e.mu.Unlock()
	}
}

func (e *Exchanger) serve(c net.Conn) {
	s := &session{e: e, raw: c, rw: c, br: bufio.NewReader(c)}
	e.record(func() {
		s.client = e.client(addrPort(c.RemoteAddr()).Addr())
		s.client.open++
	})
	defer func() {
		_ = c.Close()
		e.mu.Lock()
		delete(e.mu.open, c)
		s.client.open--
		s.release()
		e.mu.Unlock()
	}()
	s.run()
}

// rule finds the rule for a command and counts the command.
func (e *Exchanger) rule(s *session, phase, line string) *Rule {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.mu.counts[phase]++
	lower := strings.ToLower(line)
	if phase == "mail" {
		defer s.begin() // in the same breath, or two connections pass for one
	}
	for i := range e.Rules {
		r := &e.Rules[i]
		if r.Phase == phase && (r.Nth == 0 || r.Nth == e.mu.counts[phase]) && strings.Contains(lower, r.Match) && s.meets(r) {
			return r
		}
	}
	return nil
}

func (e *Exchanger) record(f func()) {
	e.mu.Lock()
	defer e.mu.Unlock()
	f()
}

func (e *Exchanger) offers(keyword string) bool {
	for _, x := range e.Extensions {
		if word, _, _ := strings.Cut(x, " "); strings.EqualFold(word, keyword) {
			return true
		}
	}
	return false
}

func addrPort(a net.Addr) netip.AddrPort {
	if t, ok := a.(*net.TCPAddr); ok {
		ap := t.AddrPort()
		return netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port())
	}
	return netip.AddrPort{}
}
