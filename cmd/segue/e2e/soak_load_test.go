// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"context"
	"errors"
	"fmt"
	"net/textproto"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// How often the outside acts.
const (
	eventsEvery = 200 * time.Millisecond
	paceEvery   = 20 * time.Millisecond
)

// pauseFor waits, and reports whether ctx goes on.
func pauseFor(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}

// crew is goroutines that work beside a test, and what went wrong in them.
type crew struct {
	wg   sync.WaitGroup
	mu   sync.Mutex
	errs []error
}

func (c *crew) run(f func() error) {
	c.wg.Go(func() {
		if err := f(); err != nil {
			c.mu.Lock()
			c.errs = append(c.errs, err)
			c.mu.Unlock()
		}
	})
}

// wait waits until all have ended.
func (c *crew) wait() error {
	c.wg.Wait()
	c.mu.Lock()
	defer c.mu.Unlock()
	return errors.Join(c.errs...)
}

// soakLoad submits messages as fast as permits come.
type soakLoad struct {
	w       *world
	l       *soakLedger
	permits chan struct{}
	later   atomic.Int64 // answered with 4xx
	crew
}

// startLoad opens the submitters: most keep their connections, two open one
// for every few messages.
func startLoad(ctx context.Context, w *world, l *soakLedger) *soakLoad {
	s := &soakLoad{w: w, l: l, permits: make(chan struct{}, 64)}
	for _, perConnection := range []int{1000, 1000, 1000, 500, 500, 500, 3, 1} {
		s.run(func() error { return s.submit(ctx, perConnection) })
	}
	return s
}

func (s *soakLoad) submit(ctx context.Context, perConnection int) error {
	for {
		c, err := dial(s.w.ip(1) + ":" + submissionPort)
		if err != nil {
			return fmt.Errorf("connecting to submit: %w", err)
		}
		for range perConnection {
			select {
			case <-ctx.Done():
				return c.Close()
			case <-s.permits:
			}
			if err := s.one(c); err != nil {
				return errors.Join(err, c.Close())
			}
		}
		err = errors.Join(c.cmd(221, "QUIT"), c.Close())
		if err != nil {
			return fmt.Errorf("leaving: %w", err)
		}
	}
}

// one submits a message. A refusal for now is counted, it is the engine's right.
func (s *soakLoad) one(c *client) error {
	n := s.l.next()
	p := plan(n)
	to := make([]string, len(p.to))
	for i := range to {
		to[i] = soakAddress(p.to[i])
	}
	_, err := c.send("news@example.com", soakText(n, &p), to...)
	var reply *textproto.Error
	switch {
	case err == nil:
		s.l.answer(n)
		return nil
	case errors.As(err, &reply) && reply.Code/100 == 4 && reply.Code != 421:
		s.later.Add(1)
		return c.cmd(250, "RSET")
	default:
		return fmt.Errorf("submitting message %d: %w", n, err)
	}
}

// soakText is the text of a message, as long as its plan says.
func soakText(n int, p *letterPlan) string {
	var b strings.Builder
	b.Grow(p.size + 256)
	if p.transactional {
		b.WriteString("X-Segue-Stream: transactional\n")
	}
	fmt.Fprintf(&b, "X-Segue-Metadata: {\"n\":%d}\nFrom: Shop <news@example.com>\nSubject: soak %d\n\n", n, n)
	for line := fmt.Sprintf("%d: so much to say, and an hour to say it in\n", n); b.Len() < p.size; {
		b.WriteString(line)
	}
	return b.String()
}

// pace gives permits at a rate until ctx ends. What nobody takes is lost: a load
// that has fallen behind does not catch up.
func (s *soakLoad) pace(ctx context.Context, perSecond float64) {
	for began, given := time.Now(), 0; pauseFor(ctx, paceEvery); {
		for due := int(time.Since(began).Seconds() * perSecond); given < due; given++ {
			select {
			case s.permits <- struct{}{}:
			default:
			}
		}
	}
}

// flood gives permits as long as no more than most recipients wait.
func (s *soakLoad) flood(ctx context.Context, most int) {
	for ctx.Err() == nil {
		if s.l.waiting() > most {
			pauseFor(ctx, paceEvery)
			continue
		}
		select {
		case <-ctx.Done():
		case s.permits <- struct{}{}:
		}
	}
}

// measure floods the engine for a while and returns how many messages a second went
// through: accepted, less what piled up.
func (s *soakLoad) measure(ctx context.Context, d time.Duration) float64 {
	before, _, _ := s.l.count()
	piled := s.l.waiting()
	began := time.Now()
	ctx, stop := context.WithTimeout(ctx, d)
	defer stop()
	s.flood(ctx, 5000)
	after, recipients, _ := s.l.count()
	perMessage := float64(recipients) / float64(max(1, after))
	through := float64(after-before) - float64(s.l.waiting()-piled)/perMessage
	return through / time.Since(began).Seconds()
}
