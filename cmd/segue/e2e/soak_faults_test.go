// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/textproto"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/seguemta/segue/mta/api"
	"github.com/seguemta/segue/mta/mtatest"
	"github.com/seguemta/segue/mta/rfc5321"
)

// Contacts with a part of their own, by number.
func isDead(contact int) bool       { return contact%97 == 5 }  // refused at RCPT for good
func isLateDead(contact int) bool   { return contact%89 == 7 }  // a bounce comes later
func isFull(contact int) bool       { return contact%41 == 3 }  // at times a bounce that does not suppress
func isComplainer(contact int) bool { return contact%53 == 11 } // at times a complaint

// faults are the hosts of a soak and what they do wrong.
type faults struct {
	w     *world
	l     *soakLedger
	hosts []*mailhost

	mu   sync.Mutex
	grey map[string]bool // recipients that a greylisting host has told to come again
	back chan feedback   // bounces and complaints on their way
	sent atomic.Int64    // of them
	lost atomic.Int64    // there were too many
}

// feedback is mail to the feedback listener.
type feedback struct {
	from, to string
	text     []byte
}

// makeFaults makes one host per domain. Two in three are decent and only
// defer, refuse and take their time; each of the others has a vice.
func makeFaults(t *testing.T, w *world, l *soakLedger) *faults {
	t.Helper()
	f := &faults{w: w, l: l, grey: make(map[string]bool), back: make(chan feedback, 1000)}
	cert, _, err := mtatest.Certificate("mx.test")
	if err != nil {
		t.Fatal(err)
	}
	var zone strings.Builder
	for n := range soakDomains {
		h := &mailhost{
			name: fmt.Sprintf("mx%d.test", n), rand: rand.New(rand.NewPCG(uint64(n), 1)),
			temper: temper{slow: 0.01, defers: 0.01}, rcpt: f.rcpt, took: f.took,
		}
		switch {
		case n < 16:
		case n < 20: // 16, 17 greylist, see rcpt
			h.temper.breaks = 0.0005
		case n < 22:
			h.temper.breaks = 0.01
		case n == 22:
			h.tls = &tls.Config{Certificates: []tls.Certificate{cert}}
			h.temper.noTLS = 0.05
		}
		if err := h.listen(f.addr(n)); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(h.close)
		f.hosts = append(f.hosts, h)
		fmt.Fprintf(&zone, "mx%d.test. 30 IN A %s\n%s. 20 IN MX 10 mx%d.test.\n", n, w.ip(50+n), soakDomain(n), n)
	}
	w.zones.Replace(zone.String())
	return f
}

// closing is the host whose port is closed at times.
const closing = soakDomains - 1

func (f *faults) addr(n int) string { return f.w.ip(50+n) + ":" + mailPort }

// rcpt is a host's reply to a recipient.
func (f *faults) rcpt(h *mailhost, to string) string {
	contact := contactOf(to)
	switch domain := contact % soakDomains; {
	case contact < 0:
		return "550 5.7.1 relaying denied"
	case isDead(contact):
		return "550 5.1.1 no such user"
	case (domain == 16 || domain == 17) && f.early(to):
		return "451 4.7.1 Greylisted, please try again in a moment"
	case h.chance(0.05):
		return "451 4.2.0 mailbox busy, try again later"
	case h.chance(0.02):
		return "554 5.7.1 message refused by policy"
	}
	return "250 2.1.5 ok"
}

// early reports whether a recipient has to come again. It forgets one time in two.
func (f *faults) early(to string) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.grey[to] = !f.grey[to]
	return f.grey[to]
}

// took writes the ledger and decides what comes back.
func (f *faults) took(h *mailhost, p *parcel, answered bool) {
	f.l.took(p, answered)
	if !answered || p.from == "" {
		return
	}
	for _, to := range p.to {
		contact := contactOf(to)
		switch {
		case isLateDead(contact):
			f.report(feedback{to: p.from, text: bounceMail(p.from, to)})
		case isFull(contact) && h.chance(0.1):
			f.report(feedback{to: p.from, text: bounceFor(p.from, to, rfc5321.EnhancedCode{5, 2, 2}, "552 5.2.2 mailbox is full")})
		case isComplainer(contact) && h.chance(0.1):
			f.report(feedback{from: "fbl@" + soakDomain(0), to: "fbl@bounce.example.com", text: complaint(&mtatest.Message{From: p.from}, string(p.head))})
		}
	}
}

func (f *faults) report(r feedback) {
	select {
	case f.back <- r:
	default:
		f.lost.Add(1)
	}
}

// feedBack carries bounces and complaints to the engine until ctx ends.
func (f *faults) feedBack(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case r := <-f.back:
			c, err := dial(f.w.ip(1) + ":" + feedbackPort)
			if err != nil {
				return fmt.Errorf("connecting to the feedback listener: %w", err)
			}
			_, err = c.send(r.from, string(r.text), r.to)
			_ = c.Close()
			if reply, ok := errors.AsType[*textproto.Error](err); ok && reply.Code == 451 {
				// Quicker than the conclusion of the message that it is about.
				time.AfterFunc(time.Second, func() { f.report(r) })
				continue
			}
			if err != nil {
				return fmt.Errorf("handing over feedback to %s: %w", r.to, err)
			}
			f.sent.Add(1)
		}
	}
}

// weather makes DNS fail now and then, and closes a port for a while. Each failure
// ends after two seconds, whether somebody met it or not: one that waited for a
// victim would meet every probe of a site that backs off.
func (f *faults) weather(ctx context.Context) error {
	for turn := 0; pauseFor(ctx, 5*time.Second); turn++ {
		fate := mtatest.Fate{Rcode: dns.RcodeServerFailure}
		if turn%2 == 1 {
			fate = mtatest.Fate{Silent: true}
		}
		names := []string{soakDomain(turn % soakDomains), fmt.Sprintf("mx%d.test", (turn+7)%soakDomains)}
		for _, name := range names {
			f.w.zones.Fail(name, fate)
		}
		pauseFor(ctx, 2*time.Second)
		for _, name := range names {
			f.w.zones.Fail(name, mtatest.Fate{})
		}
		switch h := f.hosts[closing]; turn % 8 {
		case 2:
			h.close()
		case 4:
			if err := h.listen(f.addr(closing)); err != nil {
				return fmt.Errorf("opening a port again: %w", err)
			}
		}
	}
	return nil
}

// operate is an operator who is never idle: mail is held and released, a source
// paused and resumed, suppressions are lifted, the queue is looked at.
func (f *faults) operate(ctx context.Context) error {
	for turn := 0; pauseFor(ctx, time.Second); turn++ {
		err := f.act(ctx, turn)
		if err != nil && ctx.Err() == nil {
			return fmt.Errorf("operating, turn %d: %w", turn, err)
		}
	}
	// What is held must not stay so.
	_, err := f.w.api.QueueAct(context.WithoutCancel(ctx), api.QueueAct{Action: "release", Query: api.QueueQuery{State: "held"}})
	return err
}

func (f *faults) act(ctx context.Context, turn int) error {
	var err error
	switch turn % 8 {
	case 0:
		_, err = f.w.api.QueueAct(ctx, api.QueueAct{Action: "hold", Name: "soak", All: true})
	case 2:
		_, err = f.w.api.QueueAct(ctx, api.QueueAct{Action: "release", Query: api.QueueQuery{State: "held"}})
	case 3:
		err = f.w.api.PauseSource(ctx, api.Pause{Source: "a2", Until: time.Now().Add(2 * time.Second)})
	case 4:
		err = f.w.api.PauseSource(ctx, api.Pause{Source: "a2"})
	case 5, 6:
		var list api.QueueList
		if list, err = f.w.api.Queue(ctx, api.QueueQuery{}); err == nil && len(list.Entries) > 0 {
			_, err = f.w.api.QueueWhy(ctx, list.Entries[turn%len(list.Entries)].ID)
			if isNotFound(err) {
				err = nil // it has left meanwhile
			}
		}
	case 7:
		err = f.forgive(ctx)
	}
	return err
}

// forgive lifts some suppressions, so that there is always somebody left to
// bounce and to complain.
func (f *faults) forgive(ctx context.Context) error {
	list, err := f.w.api.Suppressions(ctx, api.SuppressionQuery{})
	if err != nil {
		return err
	}
	for i := 0; i < len(list); i += 3 {
		err := f.w.api.Lift(ctx, api.Suppression{Address: list[i].Address, Scope: list[i].Scope, Evidence: "the mailbox is back"})
		if err != nil && !isNotFound(err) {
			return err
		}
	}
	return nil
}

func isNotFound(err error) bool {
	e, ok := errors.AsType[*api.Error](err)
	return ok && e.Status == http.StatusNotFound
}
