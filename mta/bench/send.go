// SPDX-License-Identifier: Apache-2.0

package bench

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/seguemta/segue/mta/netx"
)

// SendOptions say what to send. To is required, and Messages or Duration.
type SendOptions struct {
	Network     netx.Network   // nil = the system's
	To          netip.AddrPort // an address of this machine
	Connections int            // 0 = 1
	Messages    int            // how many to send; 0 = no bound but Duration
	Duration    time.Duration  // begin no message after it; 0 = no bound but Messages
	Rate        float64        // messages a second; 0 = as fast as they are accepted
	Size        int            // octets of a message with its header; 0 = 10 KiB
	From        string         // "" = news@example.com
	Domains     []string       // of recipients, in turn; nil = Destinations(1)
	Recipients  int            // different ones; 0 = another for each message
	Prefix      string         // of recipients, before a number; "" = "r"
	Stream      string         // the X-Segue-Stream field; "" = none
	// Retry sends a message again that was answered 4xx or was cut, until it is
	// accepted. Without it every message is sent once.
	Retry bool
	// Patience is how long the server may be away before Send gives up; 0 = 10 s.
	Patience time.Duration
	// Ledger gets the recipient of each message that was answered 250, one a line.
	Ledger io.Writer
}

// Defaults of SendOptions.
const (
	DefaultSize     = 10 << 10
	DefaultPatience = 10 * time.Second
)

// SendReport is what came of it.
type SendReport struct {
	Sent     int            `json:"sent"`     // messages begun, each counted once
	Accepted int            `json:"accepted"` // answered 250
	Errors   map[string]int `json:"errors"`   // attempts that were not accepted: by reply code, or "connection"
	First    time.Time      `json:"first"`    // when the first message began
	Last     time.Time      `json:"last"`     // the last 250
	Rate     float64        `json:"rate"`     // accepted a second, between these two
	// Acceptance is from the flight that ends with the final dot to its 250.
	Acceptance Latency `json:"acceptance"`
	// Transaction is from MAIL to that 250.
	Transaction Latency `json:"transaction"`
}

// Destinations are the first n recipient domains of a benchmark: dest0.example,
// dest1.example and so on.
func Destinations(n int) []string {
	list := make([]string, n)
	for i := range list {
		list[i] = fmt.Sprintf("dest%d.example", i)
	}
	return list
}

func (o *SendOptions) complete() error {
	switch {
	case !o.To.IsValid() || o.To.Port() == 0:
		return errors.New("sending: say where to, ADDRESS:PORT")
	case o.Messages <= 0 && o.Duration <= 0:
		return errors.New("sending: say how many messages, or for how long")
	}
	if err := here(o.To.Addr()); err != nil {
		return fmt.Errorf("sending to %w", err)
	}
	if o.Network == nil {
		o.Network = netx.System{}
	}
	o.Connections = max(o.Connections, 1)
	if o.Size <= 0 {
		o.Size = DefaultSize
	}
	if o.From == "" {
		o.From = "news@example.com"
	}
	if len(o.Domains) == 0 {
		o.Domains = Destinations(1)
	}
	if o.Prefix == "" {
		o.Prefix = "r"
	}
	if o.Patience <= 0 {
		o.Patience = DefaultPatience
	}
	return nil
}

// A sender is one run of Send.
type sender struct {
	o     SendOptions
	start time.Time
	next  atomic.Int64
	tail  []byte // of every message

	mu     sync.Mutex
	ledger *bufio.Writer
	broken error // the ledger's
	report SendReport
	accept histogram
	whole  histogram
}

// Send sends until all is sent, the time is over or ctx ends; messages under way
// are finished. The report is there also when the error is not nil, which says
// that the server was away for too long, or that the ledger cannot be written. A
// message that was refused is no error: see the report.
func Send(ctx context.Context, o SendOptions) (*SendReport, error) {
	if err := o.complete(); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	s := &sender{o: o, start: time.Now(), report: SendReport{Errors: map[string]int{}}}
	s.tail = body(o.Size - len(s.header(nil, 0)))
	if o.Ledger != nil {
		s.ledger = bufio.NewWriter(o.Ledger)
	}
	var wg sync.WaitGroup
	for range o.Connections {
		l := &line{s: s, errors: map[string]int{}}
		wg.Go(func() {
			if err := l.run(ctx); err != nil {
				cancel(err)
			}
			s.add(l)
		})
	}
	wg.Wait()
	r := s.finish()
	err := s.broken
	if s.ledger != nil && err == nil {
		err = s.ledger.Flush()
	}
	if err != nil {
		return r, fmt.Errorf("writing the ledger: %w", err)
	}
	if cause := context.Cause(ctx); cause != nil && !errors.Is(cause, context.Canceled) && !errors.Is(cause, context.DeadlineExceeded) {
		return r, cause
	}
	return r, nil
}

// turn returns the number of the next message when its time has come.
func (s *sender) turn(ctx context.Context) (int, bool) {
	n := int(s.next.Add(1)) - 1
	if ctx.Err() != nil || (s.o.Messages > 0 && n >= s.o.Messages) {
		return 0, false
	}
	var due time.Duration
	if s.o.Rate > 0 {
		due = time.Duration(float64(n) / s.o.Rate * float64(time.Second))
	}
	if s.o.Duration > 0 && max(due, time.Since(s.start)) >= s.o.Duration {
		return 0, false
	}
	return n, due == 0 || pause(ctx, due-time.Since(s.start))
}

// pause waits and reports whether ctx is still there.
func pause(ctx context.Context, d time.Duration) bool {
	if d <= 0 {
		return ctx.Err() == nil
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// add takes what one connection counted.
func (s *sender) add(l *line) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.report.Sent += l.sent
	s.report.Accepted += l.accepted
	for code, n := range l.errors {
		s.report.Errors[code] += n
	}
	if !l.first.IsZero() && (s.report.First.IsZero() || l.first.Before(s.report.First)) {
		s.report.First = l.first
	}
	if l.last.After(s.report.Last) {
		s.report.Last = l.last
	}
	s.accept.merge(&l.accept)
	s.whole.merge(&l.whole)
}

func (s *sender) finish() *SendReport {
	r := s.report
	r.Errors = maps.Clone(r.Errors)
	if took := r.Last.Sub(r.First).Seconds(); took > 0 {
		r.Rate = float64(r.Accepted) / took
	}
	r.Acceptance, r.Transaction = s.accept.latency(), s.whole.latency()
	return &r
}

// enter writes an accepted recipient into the ledger.
func (s *sender) enter(address []byte) {
	if s.ledger == nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	_, err := s.ledger.Write(append(address, '\n'))
	if s.broken == nil {
		s.broken = err
	}
}
