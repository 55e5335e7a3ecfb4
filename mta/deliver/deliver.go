// SPDX-License-Identifier: Apache-2.0

// Package deliver carries the queue's transactions to mail exchangers: it finds
// the hosts of a site, connects from the source's address, signs, sends, and says
// what each answer means. It is the queue's Transport.
//
// [New]; the queue then calls [Deliverer.Dial] and the connection's Send. The
// protocol is in mta/smtpclient, the routing in mta/mx, the signing in dkim; here
// is only what joins them: the order in which hosts are tried, the fall-back to
// clear text when an opportunistic handshake fails, the return path that names the
// recipient, and the headers that a message gets when it leaves.
//
// What breaks is the site's: mail waits, and neither recipient nor source is blamed
// for a connection. A host that offers BDAT and does not know it gets the message by
// DATA, at once and for a day.
//
// A message is signed when it is first about to leave. The headers made then
// come back in the outcome of a deferral, so that a retry sends the same bytes.
package deliver

import (
	"context"
	"errors"
	"iter"
	"log/slog"
	"net/netip"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/seguemta/segue/dkim"
	"github.com/seguemta/segue/mta/mx"
	"github.com/seguemta/segue/mta/netx"
	"github.com/seguemta/segue/mta/resolve"
	"github.com/seguemta/segue/mta/rfc5321"
	"github.com/seguemta/segue/mta/smtpclient"
	"github.com/seguemta/segue/mta/verp"
	"github.com/seguemta/segue/queue"
)

// maxAttempts bounds the failures that may heal (a dead address, a host that DNS
// does not answer for) before one connection is given up, so that a domain with
// many dead hosts cannot hold a connection for hours (RFC 5321 section 5.1 asks
// for at least two). A host that can never be reached costs nothing and is passed
// over: the mail bounces only where all hosts are like that.
const maxAttempts = 6

// Source is an egress.
type Source struct {
	V4, V6   netip.Addr // zero = none of that family; both zero = the system chooses
	Hostname string     // in EHLO
}

// Domain is a sending domain.
type Domain struct {
	Signer     *dkim.Signer  // nil = not signed
	Backend    func() string // what makes the signatures now, a metric label; nil = "crypto/rsa"
	ReturnPath string        // domain of the return path; "" = the submitted sender is kept
	Complaints string        // address that messages ask to have complaints sent to (RFC 9477); "" = they do not ask
	FeedbackID string        // who sends, in the Feedback-ID of marketing mail; "" = it has none
}

func (d Domain) backend() string {
	if d.Backend == nil {
		return "crypto/rsa"
	}
	return d.Backend()
}

// Router finds where mail goes.
type Router interface {
	Resolve(ctx context.Context, domain string) (mx.Target, error)
	Addresses(ctx context.Context, h mx.Host, f resolve.Families) ([]netip.AddrPort, error)
}

// Classifier says what a reply is, what it means, and of a verdict of reputation
// whose: that of the ip, the domain or the content.
type Classifier interface {
	Classify(provider string, r rfc5321.Reply) (class, verdict, subject string)
}

// Options of delivery. Router, Sources and Classifier are required.
type Options struct {
	Router     Router
	Sources    map[string]Source
	Domains    map[string]Domain
	Tokens     *verp.Ring // nil = no return paths and references
	Classifier Classifier
	Marketing  Marketing
	Network    netx.Network // nil = the operating system's, which dials anything: put a Guard in front
	TLS        smtpclient.TLSPolicy
	Timeouts   smtpclient.Timeouts
	NoChunking bool // DATA also where BDAT is offered
	Logger     *slog.Logger
	Registry   prometheus.Registerer
	Now        func() time.Time
}

// Deliverer is a queue.Transport. It is safe for concurrent use.
type Deliverer struct {
	o       Options
	log     *slog.Logger
	metrics *metrics
	data    dataOnly
}

// New makes a Deliverer.
func New(o Options) (*Deliverer, error) {
	if o.Router == nil || len(o.Sources) == 0 || o.Classifier == nil {
		return nil, errors.New("making delivery: Router, Sources and Classifier are required")
	}
	if o.Network == nil {
		o.Network = netx.System{}
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	d := &Deliverer{o: o, log: o.Logger, metrics: newMetrics(o.Registry), data: dataOnly{until: make(map[string]time.Time)}}
	for _, domain := range o.Domains {
		if domain.Signer != nil {
			d.metrics.signer(domain.backend())
		}
	}
	return d, nil
}

// Dial implements queue.Transport: the hosts in their order, each by its
// addresses, until one greets.
func (d *Deliverer) Dial(ctx context.Context, job *queue.Job) (queue.Connection, *queue.Result) {
	c, res := d.dial(ctx, job)
	if res != nil {
		return nil, res
	}
	return &connection{d: d, c: c}, nil
}

func (d *Deliverer) dial(ctx context.Context, job *queue.Job) (*smtpclient.Conn, *queue.Result) {
	target, err := d.o.Router.Resolve(ctx, job.Domain)
	if err != nil {
		return nil, d.unroutable(job, err)
	}
	src := d.o.Sources[job.Source]
	var failures []error
	hopeful := 0
	for addr, err := range d.addresses(ctx, target.Hosts, families(src)) {
		if err == nil {
			var c *smtpclient.Conn
			if c, err = d.connect(ctx, src, addr.host, addr.AddrPort); err == nil {
				return c, nil
			}
		}
		failures = append(failures, err)
		if !permanent(err) {
			hopeful++
		}
		if hopeful == maxAttempts || ctx.Err() != nil {
			break
		}
	}
	if len(failures) == 0 {
		failures = append(failures, errNoAddress)
	}
	return nil, d.unreached(job, mx.Hopeful(failures...))
}

// address is an address of a host.
type address struct {
	netip.AddrPort
	host string
}

// addresses yields where to connect, host by host, or why a host has nothing.
func (d *Deliverer) addresses(ctx context.Context, hosts []mx.Host, f resolve.Families) iter.Seq2[address, error] {
	return func(yield func(address, error) bool) {
		for _, h := range hosts {
			list, err := d.o.Router.Addresses(ctx, h, f)
			if err != nil && !yield(address{host: h.Name}, err) {
				return
			}
			for _, a := range list {
				if !yield(address{a, h.Name}, nil) {
					return
				}
			}
		}
	}
}

func (d *Deliverer) connect(ctx context.Context, src Source, host string, addr netip.AddrPort) (*smtpclient.Conn, error) {
	o := smtpclient.Options{
		Network: d.o.Network, Local: src.V4, Remote: addr, Host: host, Hello: src.Hostname,
		TLS: d.o.TLS, Timeouts: d.o.Timeouts, Logger: d.log, NoChunking: d.o.NoChunking || d.data.has(host, d.o.Now()),
	}
	if addr.Addr().Is6() && !addr.Addr().Is4In6() {
		o.Local = src.V6
	}
	c, err := smtpclient.Dial(ctx, o)
	var e *smtpclient.Error
	if errors.As(err, &e) && e.TLSFailed {
		o.TLS = smtpclient.TLSNone
		c, err = smtpclient.Dial(ctx, o)
	}
	return c, err
}

// families are those that a source can bind; a source without addresses leaves
// the choice to the system.
func families(src Source) resolve.Families {
	none := !src.V4.IsValid() && !src.V6.IsValid()
	var f resolve.Families
	if src.V4.IsValid() || none {
		f |= resolve.IPv4
	}
	if src.V6.IsValid() || none {
		f |= resolve.IPv6
	}
	return f
}

// errNoAddress says that a router named neither an address nor a reason.
var errNoAddress = errors.New("the site has no address to connect to")

// permanent reports a host that no later attempt will reach either.
func permanent(err error) bool {
	e, ok := errors.AsType[*mx.Error](err)
	return ok && e.Permanent()
}

// Verdicts that delivery itself has to know.
const (
	suppress       = "suppress"
	count          = "count"
	reputation     = "reputation"
	infrastructure = "infrastructure"
)

// unreached defers a job whose site did not greet. What a host says before it was
// told of a recipient is about us or about itself, never about the contact.
func (d *Deliverer) unreached(job *queue.Job, err error) *queue.Result {
	if routing, ok := errors.AsType[*mx.Error](err); ok {
		return d.unroutable(job, routing)
	}
	res := queue.DeferAll(job, err.Error())
	var e *smtpclient.Error
	for i := range res.Outcomes {
		o := &res.Outcomes[i]
		o.Class, o.Verdict = "NoAnswerFromHost", infrastructure
		if !errors.As(err, &e) {
			continue
		}
		o.Host = e.Host
		if e.Reply.Code == 0 {
			continue
		}
		o.Reply = e.Reply
		if class, verdict, subject := d.o.Classifier.Classify(job.Provider, e.Reply); verdict != suppress && verdict != count {
			o.Class, o.Verdict, o.Subject = class, verdict, subject
		}
	}
	return res
}

// unroutable is the result for a domain without a usable route: bounced where it
// never can be reached, else deferred, and the machine asks again.
func (d *Deliverer) unroutable(job *queue.Job, err error) *queue.Result {
	res := queue.DeferAll(job, err.Error())
	var e *mx.Error
	if !errors.As(err, &e) {
		return res
	}
	reply := e.Reply()
	class, verdict, subject := d.o.Classifier.Classify(job.Provider, reply)
	if !e.Permanent() && (verdict == suppress || verdict == count) {
		verdict = infrastructure
	}
	for i := range res.Outcomes {
		res.Outcomes[i] = queue.Outcome{Kind: queue.Deferred, Reply: reply, Class: class, Verdict: verdict, Subject: subject}
		if e.Permanent() {
			res.Outcomes[i].Kind = queue.Bounced
		}
	}
	return res
}
