// SPDX-License-Identifier: Apache-2.0

package simulate

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"net/smtp"
	"sync"
	"time"

	msgauth "github.com/emersion/go-msgauth/dkim"

	"github.com/seguemta/segue/mta/arf"
	"github.com/seguemta/segue/mta/dsn"
	"github.com/seguemta/segue/mta/rfc5321"
)

// Delays of what comes back, and how often it is looked for.
const (
	returnAfter = time.Second
	returnEvery = 200 * time.Millisecond
)

// sampleOf is one in how many messages whose signatures are verified.
const sampleOf = 100

// returned is one report on its way back.
type returned struct {
	p         *provider
	due       time.Time
	to        string // "" = the address for complaints
	from      string // envelope sender; "" = the null reverse-path
	text      []byte
	complaint bool
}

// returns is what is to be sent back, and where.
type returns struct {
	mu         sync.Mutex
	listener   netip.AddrPort
	complaints string
	list       []returned
}

func newReturns() *returns { return &returns{} }

func (r *returns) direct(listener netip.AddrPort, complaints string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.listener, r.complaints = listener, complaints
}

func (r *returns) add(x returned) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.list = append(r.list, x)
}

// due takes the reports whose time has come.
func (r *returns) due(now time.Time) []returned {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.listener.IsValid() {
		return nil
	}
	var now1, later []returned
	for _, x := range r.list {
		if x.due.After(now) {
			later = append(later, x)
			continue
		}
		if x.to == "" {
			x.to = r.complaints
		}
		now1 = append(now1, x)
	}
	r.list = later
	return now1
}

// Returning is how many reports are still to be sent back.
func (w *World) Returning() int {
	w.returns.mu.Lock()
	defer w.returns.mu.Unlock()
	return len(w.returns.list)
}

// take counts a message as received, before its 250 leaves, and decides what
// comes back because of it.
func (p *provider) take(s *Session) {
	p.mu.Lock()
	p.counts.Received += len(s.To)
	p.counts.BySource[s.Client] += len(s.To)
	p.client(s.Client).taken += len(s.To)
	p.mu.Unlock()
	for _, to := range s.To {
		p.answer(s, to)
	}
	if digest(p.w.o.Seed, "sample", s.Sender, s.To[0])%sampleOf == 0 {
		p.verify(s.Message)
	}
}

// answer decides about the report for one recipient.
func (p *provider) answer(s *Session, to string) {
	exists, dead := p.w.o.Population.mailbox(to)
	switch {
	case s.Sender == "":
		// What has no return path gets no notification (RFC 5321 section 4.5.5).
	case p.t.Late && (!exists || dead):
		p.notify(s, to, rfc5321.EnhancedCode{5, 1, 1}, "550 5.1.1 <"+to+">: user does not exist")
	case p.w.chance("full", to, p.t.Full):
		p.notify(s, to, rfc5321.EnhancedCode{5, 2, 2}, "552 5.2.2 <"+to+">: mailbox is full")
	case p.w.chance("complain", to, p.t.Complain):
		p.complain(s, to)
	}
}

func (p *provider) notify(s *Session, to string, status rfc5321.EnhancedCode, text string) {
	now := p.w.o.Now()
	host := "mx." + p.t.Zone
	p.w.returns.add(returned{
		p: p, due: now.Add(returnAfter), to: s.Sender,
		text: dsn.Build(dsn.Notification{
			From: "MAILER-DAEMON@" + host, To: s.Sender, Date: now, MessageID: p.messageID(to), ReportingMTA: host, Arrival: now,
			Original: bytes.Clone(s.Message), HeaderOnly: true,
			Recipients: []dsn.Recipient{{
				Final: to, Action: dsn.Failed, Status: status, RemoteMTA: host, DiagnosticType: "smtp", Diagnostic: text, LastAttempt: now,
			}},
		}),
	})
}

func (p *provider) complain(s *Session, to string) {
	now := p.w.o.Now()
	from := "feedback@" + p.t.Zone
	p.w.returns.add(returned{
		p: p, due: now.Add(returnAfter), from: from, complaint: true,
		text: arf.Build(arf.Feedback{
			From: from, To: "fbl", Date: now, MessageID: p.messageID(to), Original: bytes.Clone(s.Message), HeaderOnly: true,
			Report: arf.Report{
				Type: arf.Abuse, UserAgent: "Simulated/1.0", MailFrom: s.Sender, Arrival: now, SourceIP: s.Client, ReportingMTA: "mx." + p.t.Zone,
			},
		}),
	})
}

func (p *provider) messageID(to string) string {
	return fmt.Sprintf("%016x@%s", digest(p.w.o.Seed, "id", to, p.w.o.Now().String()), p.t.Zone)
}

// verify checks the DKIM signatures of a message.
func (p *provider) verify(message []byte) {
	list, err := msgauth.VerifyWithOptions(bytes.NewReader(message), &msgauth.VerifyOptions{LookupTXT: p.w.zone.lookupTXT})
	good := err == nil && len(list) > 0
	for _, v := range list {
		good = good && v.Err == nil
	}
	p.count(func(c *Counts) {
		if good {
			c.Verified++
		} else {
			c.Unverified++
		}
	})
}

// sendReturns sends reports back until ctx ends.
func (w *World) sendReturns(ctx context.Context) {
	tick := time.NewTicker(returnEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		list := w.returns.due(w.o.Now())
		if len(list) == 0 {
			continue
		}
		sent, err := w.deliver(ctx, list)
		if err != nil && ctx.Err() == nil {
			w.log.Warn("sending feedback failed, trying again", slog.Any("error", err))
		}
		for _, x := range list[sent:] {
			x.due = w.o.Now().Add(returnAfter)
			w.returns.add(x)
		}
	}
}

// deliver sends reports over one connection and says how many were taken or
// refused for good.
func (w *World) deliver(ctx context.Context, list []returned) (int, error) {
	w.returns.mu.Lock()
	listener := w.returns.listener
	w.returns.mu.Unlock()
	var d net.Dialer
	conn, err := d.DialContext(ctx, "tcp", listener.String())
	if err != nil {
		return 0, err
	}
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
	defer stop()
	_ = conn.SetDeadline(time.Now().Add(sessionIdle))
	c, err := smtp.NewClient(conn, listener.Addr().String())
	if err != nil {
		return 0, err
	}
	for i, x := range list {
		if err := send(c, &x); err != nil {
			return i, err
		}
		x.p.count(func(c *Counts) {
			if x.complaint {
				c.Complained++
			} else {
				c.Returned++
			}
		})
	}
	return len(list), c.Quit()
}

func send(c *smtp.Client, x *returned) error {
	if err := c.Mail(x.from); err != nil {
		return err
	}
	if err := c.Rcpt(x.to); err != nil {
		return err
	}
	w, err := c.Data()
	if err != nil {
		return err
	}
	if _, err := w.Write(x.text); err != nil {
		return err
	}
	return w.Close()
}
