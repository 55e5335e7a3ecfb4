// SPDX-License-Identifier: Apache-2.0

package mta

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/seguemta/segue/config"
	"github.com/seguemta/segue/mta/admit"
	"github.com/seguemta/segue/mta/inbound"
	"github.com/seguemta/segue/mta/rfc5321"
	"github.com/seguemta/segue/mta/rfc5322"
	"github.com/seguemta/segue/queue/store"
)

// forwarder hands mail to postmaster and abuse on to somebody who reads it: the one
// thing that the feedback listener passes on. It leaves as a message of ours, from the
// null sender, with what came attached, so that nothing that happens to it comes back;
// mail that a program wrote ends here.
type forwarder struct {
	to      rfc5321.Address // zero = nobody reads it
	domains []config.Domain
	admit   func(ctx context.Context, env *admit.Envelope) (uint64, error)
	now     func() time.Time
	log     *slog.Logger
	total   *prometheus.CounterVec

	rate config.Rate
	mu   sync.Mutex
	left float64 // how many may go now; it fills up with time
	at   time.Time
}

func newForwarder(e *Engine) *forwarder {
	f := &forwarder{
		domains: e.c.Domains, now: e.o.Now, log: e.log.With(slog.String("component", "feedback")),
		rate: e.c.Feedback.ForwardRate, left: float64(e.c.Feedback.ForwardRate.Count), at: e.o.Now(),
		admit: func(ctx context.Context, env *admit.Envelope) (uint64, error) {
			if err := e.room(); err != nil {
				return 0, err
			}
			return e.admit.Admit(ctx, env)
		},
		total: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "segue_feedback_forwarded_total",
			Help: "Mail to postmaster and abuse by what became of it: forwarded; automatic (a program wrote it, it ends here); limited (told to come again); loop and nobody (refused).",
		}, []string{"result"}),
	}
	if e.c.Feedback.Forward != "" {
		f.to, _ = rfc5321.ParseAddress(e.c.Feedback.Forward) // the configuration was checked
	}
	e.o.Registry.MustRegister(f.total)
	return f
}

// forward passes one message on; nil means that it is safe, or that it ends here.
func (f *forwarder) forward(ctx context.Context, in *inbound.Feedback) error {
	header, _ := rfc5322.ParseHeader(in.Data)
	count := func(result string) { f.total.WithLabelValues(result).Inc() }
	switch {
	case in.From.IsZero() || automatic(header):
		count("automatic")
		f.log.Info("mail of a program to postmaster or abuse ends here", slog.String("from", in.From.String()), slog.String("to", in.Recipient.String()))
		return nil
	case len(header.Values("Received")) > admit.MaxHops:
		count("loop")
		return rfc5321.Refuse(554, rfc5321.EnhancedCode{5, 4, 6}, "the message goes in circles")
	case f.to.IsZero():
		count("nobody")
		return rfc5321.Refuse(550, rfc5321.EnhancedCode{5, 7, 1}, "nobody reads this mailbox, and this is no report about mail of ours")
	case !f.take():
		count("limited")
		return rfc5321.Refuse(451, rfc5321.EnhancedCode{4, 7, 1}, "too much mail for this mailbox, come again later")
	}
	domain := f.domain(in.Recipient.Domain)
	mid, err := f.admit(ctx, &admit.Envelope{
		To: []rfc5321.Address{f.to}, Data: f.compose(in, header, domain), Streams: []string{transactional},
		Remote: in.RemoteAddr, Hello: in.HELO, Protocol: "ESMTP",
	})
	if err != nil {
		f.give()
		return fmt.Errorf("forwarding mail to %s: %w", in.Recipient, err)
	}
	count("forwarded")
	f.log.Info("mail forwarded", slog.String("to", in.Recipient.String()), slog.String("message", store.FormatMessage(mid)))
	return nil
}

// automatic reports mail that a program wrote (RFC 3834), which must not be answered
// and which nobody waits to have read.
func automatic(h rfc5322.Header) bool {
	auto, _, _ := strings.Cut(h.Get("Auto-Submitted"), ";")
	if auto = strings.ToLower(strings.TrimSpace(auto)); auto != "" && auto != "no" {
		return true
	}
	switch strings.ToLower(strings.TrimSpace(h.Get("Precedence"))) {
	case "bulk", "junk", "list", "auto_reply":
		return true
	}
	return h.Has("List-Id") || h.Has("List-Unsubscribe") || strings.TrimSpace(h.Get("Return-Path")) == "<>"
}

// take takes a place under the rate; false where there is none.
func (f *forwarder) take() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	now := f.now()
	most := float64(f.rate.Count)
	f.left = min(most, f.left+max(0, now.Sub(f.at).Seconds())*f.rate.PerSecond())
	f.at = now
	if f.left < 1 {
		return false
	}
	f.left--
	return true
}

// give gives a place back that was not used.
func (f *forwarder) give() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.left++
}

// domain is the sending domain that a domain of return paths belongs to.
func (f *forwarder) domain(path string) string {
	for _, d := range f.domains {
		if d.ReturnPath == path {
			return d.Name
		}
	}
	return f.domains[0].Name
}

// compose is the message that leaves.
func (f *forwarder) compose(in *inbound.Feedback, header rfc5322.Header, domain string) []byte {
	boundary := chooseBoundary(in.Data)
	var b bytes.Buffer
	line := func(format string, args ...any) { fmt.Fprintf(&b, format+"\r\n", args...) }
	line("From: <postmaster@%s>", domain)
	line("To: <%s>", f.to)
	line("Reply-To: <%s>", in.From)
	line("Subject: [%s] %s", in.Recipient, subject(header.Get("Subject")))
	line("Auto-Submitted: auto-forwarded")
	line("MIME-Version: 1.0")
	line("Content-Type: multipart/mixed; boundary=%q", boundary)
	line("")
	line("--%s", boundary)
	line("Content-Type: text/plain; charset=utf-8")
	line("")
	line("Mail to %s from %s, received at %s from %s.", in.Recipient, in.From, in.Received.UTC().Format(time.RFC1123Z), in.RemoteAddr)
	if in.Truncated {
		line("It is long: only its beginning is attached.")
	}
	line("")
	line("--%s", boundary)
	attach(&b, in.Data)
	line("--%s--", boundary)
	return b.Bytes()
}

// maxSubject bounds what is shown of a stranger's subject, in octets.
const maxSubject = 200

// subject is a stranger's subject as part of ours: one line of printable ASCII.
func subject(text string) string {
	text = strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' {
			return '?'
		}
		return r
	}, text)
	if len(text) > maxSubject {
		text = text[:maxSubject]
	}
	return text
}

// longLine is the longest line that SMTP carries, without its end (RFC 5321 section
// 4.5.3.1.6).
const longLine = 998

// attach writes the part with the original: as a message where it can be carried as it
// is, else as a file.
func attach(b *bytes.Buffer, data []byte) {
	plain := true
	for line := range bytes.Lines(data) {
		plain = plain && len(bytes.TrimRight(line, "\r\n")) <= longLine
	}
	if plain {
		b.WriteString("Content-Type: message/rfc822\r\nContent-Transfer-Encoding: 8bit\r\n\r\n")
		b.Write(data)
		b.WriteString("\r\n")
		return
	}
	b.WriteString("Content-Type: application/octet-stream; name=\"message.eml\"\r\nContent-Disposition: attachment; filename=\"message.eml\"\r\n" +
		"Content-Transfer-Encoding: base64\r\n\r\n")
	text := base64.StdEncoding.EncodeToString(data)
	for len(text) > 0 {
		n := min(len(text), 76)
		b.WriteString(text[:n] + "\r\n")
		text = text[n:]
	}
}

// chooseBoundary is a boundary that does not occur in the data.
func chooseBoundary(data []byte) string {
	sum := sha256.Sum256(data)
	for {
		b := "=_" + hex.EncodeToString(sum[:12])
		if !bytes.Contains(data, []byte(b)) {
			return b
		}
		sum = sha256.Sum256(sum[:])
	}
}
