// SPDX-License-Identifier: Apache-2.0

package bench

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"io"
	"maps"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/seguemta/segue/mta/netx"
	"github.com/seguemta/segue/mta/simulate"
)

// SinkOptions say how a Sink behaves and when it has seen enough. Listen is
// required.
type SinkOptions struct {
	Network  netx.Network  // nil = the system's
	Listen   []string      // ADDRESS:PORT, of this machine
	Name     string        // of the host in greetings; "" = sink.example
	Messages int           // Run ends after so many; 0 = it goes on
	Duration time.Duration // Run ends after it; 0 = it goes on
	Quiet    time.Duration // Run ends when nothing came for so long after the first message; 0 = it goes on
	Delay    time.Duration // before the reply to a message
	Rules    []Rule        // the first that fits answers; delays add up
	Seed     uint64        // of the rules' shares
	// SignedEach looks at every so manieth message for a DKIM-Signature field;
	// 0 = never.
	SignedEach int
	Chunking   bool // offer BDAT
	// Ledger gets each recipient of a message that was taken, one a line, as often
	// as it comes.
	Ledger io.Writer
}

// SinkReport is what arrived. A message counts when its 250 is on the way.
type SinkReport struct {
	Messages    int            `json:"messages"`
	Recipients  int            `json:"recipients"`
	Unique      int            `json:"unique"`     // different recipients
	Duplicates  int            `json:"duplicates"` // recipients that had come before
	Octets      int64          `json:"octets"`
	Connections int            `json:"connections"` // made
	First       time.Time      `json:"first"`
	Last        time.Time      `json:"last"`
	Rate        float64        `json:"rate"`     // messages a second, between these two
	Signed      int            `json:"signed"`   // of those looked at
	Unsigned    int            `json:"unsigned"` // of those looked at
	Rules       map[string]int `json:"rules"`    // how often each rule answered
}

// maxUnique bounds the recipients that a sink remembers: 16 million, in some 500 MB. Those
// beyond are counted as neither unique nor duplicate.
const maxUnique = 16 << 20

// linger is how long connections live after the last message, so that its 250
// gets through.
const linger = 200 * time.Millisecond

// Sink is a mail server that takes everything, but for its rules.
type Sink struct {
	o      SinkOptions
	lns    []net.Listener
	turns  atomic.Uint64 // connections and transactions, numbered for the rules
	looked atomic.Uint64 // messages, numbered for SignedEach
	enough chan struct{} // closed when Messages have come

	mu     sync.Mutex
	report SinkReport
	seen   map[uint64]struct{} // sums of recipients
	hash   maphash.Seed
	hits   map[hit]int // of rules that looked at a recipient and chose it
	ledger *bufio.Writer
	broken error // the ledger's
}

// hit names a rule and a recipient.
type hit struct {
	rule int
	to   string
}

// NewSink binds the addresses. What is not run has to be closed.
func NewSink(ctx context.Context, o SinkOptions) (*Sink, error) {
	if o.Network == nil {
		o.Network = netx.System{}
	}
	if o.Name == "" {
		o.Name = "sink.example"
	}
	k := &Sink{
		o: o, hash: maphash.MakeSeed(), enough: make(chan struct{}), seen: make(map[uint64]struct{}), hits: make(map[hit]int),
		report: SinkReport{Rules: map[string]int{}},
	}
	if o.Ledger != nil {
		k.ledger = bufio.NewWriter(o.Ledger)
	}
	if len(o.Listen) == 0 {
		return nil, errors.New("listening: say where, ADDRESS:PORT")
	}
	for _, address := range o.Listen {
		if err := k.bind(ctx, address); err != nil {
			k.Close()
			return nil, fmt.Errorf("listening at %s: %w", address, err)
		}
	}
	return k, nil
}

func (k *Sink) bind(ctx context.Context, address string) error {
	at, err := netip.ParseAddrPort(address)
	if err != nil {
		return err
	}
	if err := here(at.Addr()); err != nil {
		return err
	}
	ln, err := k.o.Network.Listen(ctx, address)
	if err != nil {
		return err
	}
	k.lns = append(k.lns, ln)
	return nil
}

// Addrs are where it listens.
func (k *Sink) Addrs() []net.Addr {
	var list []net.Addr
	for _, ln := range k.lns {
		list = append(list, ln.Addr())
	}
	return list
}

// Close frees the addresses; Run does so by itself.
func (k *Sink) Close() {
	for _, ln := range k.lns {
		_ = ln.Close() // closed twice where Run ended before
	}
}

// Run takes mail until the options or ctx say that it is enough.
func (k *Sink) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var wg sync.WaitGroup
	failed := make(chan error, len(k.lns))
	for _, ln := range k.lns {
		wg.Go(func() {
			if err := simulate.Accept(ctx, ln, func(c net.Conn) { k.greet(ctx, c) }); err != nil {
				failed <- err
			}
		})
	}
	err := k.wait(ctx, failed)
	pause(ctx, linger)
	cancel()
	wg.Wait()
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.ledger != nil && k.broken == nil {
		k.broken = k.ledger.Flush()
	}
	if err == nil && k.broken != nil {
		err = fmt.Errorf("writing the ledger: %w", k.broken)
	}
	return err
}

// wait returns when it is enough.
func (k *Sink) wait(ctx context.Context, failed <-chan error) error {
	var over <-chan time.Time
	if k.o.Duration > 0 {
		timer := time.NewTimer(k.o.Duration)
		defer timer.Stop()
		over = timer.C
	}
	var look <-chan time.Time
	if k.o.Quiet > 0 {
		const share = 10 // how late silence may be seen
		ticker := time.NewTicker(max(k.o.Quiet/share, time.Millisecond))
		defer ticker.Stop()
		look = ticker.C
	}
	for {
		select {
		case <-k.enough:
			return nil
		case <-over:
			return nil
		case <-ctx.Done():
			return nil
		case err := <-failed:
			return fmt.Errorf("accepting connections: %w", err)
		case <-look:
			if last := k.Report().Last; !last.IsZero() && time.Since(last) >= k.o.Quiet {
				return nil
			}
		}
	}
}

// Report is what arrived so far. It may be asked while Run runs.
func (k *Sink) Report() SinkReport {
	k.mu.Lock()
	defer k.mu.Unlock()
	r := k.report
	r.Rules = maps.Clone(r.Rules)
	r.Unique = len(k.seen)
	if took := r.Last.Sub(r.First).Seconds(); took > 0 {
		r.Rate = float64(r.Messages) / took
	}
	return r
}
