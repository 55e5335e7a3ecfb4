// SPDX-License-Identifier: Apache-2.0

package deliver

import (
	"bytes"
	"context"
	"math/rand/v2"
	"net/netip"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/seguemta/segue/dkim"
	"github.com/seguemta/segue/mta/mtatest"
	"github.com/seguemta/segue/mta/mx"
	"github.com/seguemta/segue/mta/netx"
	"github.com/seguemta/segue/mta/resolve"
	"github.com/seguemta/segue/mta/rfc5321"
	"github.com/seguemta/segue/mta/verp"
	"github.com/seguemta/segue/queue"
	"github.com/seguemta/segue/queue/store"
	"github.com/seguemta/segue/reputation/bounce"
)

// The internet of these tests. Host n of a domain has the address 203.0.112.n.
const zone = `
pair.example.    IN MX 10 mx1.example.
pair.example.    IN MX 20 mx2.example.
one.example.     IN MX 10 mx1.example.
dual.example.    IN MX 10 both.example.
six.example.     IN MX 10 six.host.example.
inside.example.  IN MX 10 lo.example.
inside.example.  IN MX 20 lan.example.
mixed.example.   IN MX 10 lo.example.
mixed.example.   IN MX 20 mx2.example.
null.example.    IN MX 0 .
literal.example. IN MX 10 203.0.112.1.
ghosts.example.  IN MX 1 g1.example.
ghosts.example.  IN MX 2 g2.example.
ghosts.example.  IN MX 3 g3.example.
ghosts.example.  IN MX 4 g4.example.
ghosts.example.  IN MX 5 g5.example.
ghosts.example.  IN MX 6 g6.example.
ghosts.example.  IN MX 7 g7.example.
ghosts.example.  IN MX 8 mx1.example.
many.example.    IN MX 10 many.host.example.
many.host.example. IN A 203.0.112.101
many.host.example. IN A 203.0.112.102
many.host.example. IN A 203.0.112.103
many.host.example. IN A 203.0.112.104
many.host.example. IN A 203.0.112.105
many.host.example. IN A 203.0.112.106
many.host.example. IN A 203.0.112.107
mx1.example.     IN A 203.0.112.1
mx2.example.     IN A 203.0.112.2
both.example.    IN A 203.0.112.3
both.example.    IN AAAA 2600::3
six.host.example. IN AAAA 2600::6
lo.example.      IN A 127.0.0.1
lan.example.     IN A 10.0.0.1
`

const (
	header = "From: Ann <ann@sender.example>\r\nTo: bob@one.example\r\nSubject: hello\r\nDate: Sat, 01 Jan 2000 00:00:00 +0000\r\n\r\n"
	text   = "Hello,\r\n.dots are kept\r\nbye\r\n"
)

// bed is a Deliverer in a small internet.
type bed struct {
	t     *testing.T
	net   *mtatest.Net
	zones *mtatest.Zones
	o     Options
	d     *Deliverer
}

// classify is bounce.Table as the engine uses it.
type classify func(provider string, r rfc5321.Reply) (class, verdict, subject string)

func (c classify) Classify(provider string, r rfc5321.Reply) (class, verdict, subject string) {
	return c(provider, r)
}

// alarmist holds every reply against the contact.
func alarmist(string, rfc5321.Reply) (class, verdict, subject string) {
	return "InvalidRecipient", "suppress", ""
}

// inBubble runs f in a bubble of simulated time; change may be nil.
func inBubble(t *testing.T, change func(o *Options), f func(b *bed)) {
	t.Helper()
	signer, _ := newSigner(t)
	synctest.Test(t, func(t *testing.T) {
		b := &bed{t: t, net: mtatest.NewNet(), zones: mtatest.NewZones(zone)}
		b.net.HandleDNS(dnsServer(), b.zones.Handle)
		b.o = b.options(signer)
		if change != nil {
			change(&b.o)
		}
		var err error
		if b.d, err = New(b.o); err != nil {
			t.Fatal(err)
		}
		f(b)
	})
}

func dnsServer() netip.AddrPort { return netip.MustParseAddrPort("127.0.0.53:53") }

func (b *bed) options(signer *dkim.Signer) Options {
	b.t.Helper()
	client, err := resolve.New(resolve.Options{Servers: []netip.AddrPort{dnsServer()}, Network: b.net})
	if err != nil {
		b.t.Fatal(err)
	}
	router, err := mx.New(mx.Options{Resolver: client, Rand: rand.New(rand.NewPCG(1, 2))})
	if err != nil {
		b.t.Fatal(err)
	}
	table, err := bounce.Builtin()
	if err != nil {
		b.t.Fatal(err)
	}
	tokens, err := verp.Generate(bytes.NewReader(make([]byte, verp.SecretSize)))
	if err != nil {
		b.t.Fatal(err)
	}
	return Options{
		Router: router, Tokens: tokens, Network: netx.Guard{}.Network(b.net), Registry: prometheus.NewRegistry(),
		Sources: map[string]Source{
			"four": {V4: netip.MustParseAddr("198.51.100.4"), Hostname: "four.sender.example"},
			"six":  {V6: netip.MustParseAddr("2600:a::6"), Hostname: "six.sender.example"},
			"both": {V4: netip.MustParseAddr("198.51.100.4"), V6: netip.MustParseAddr("2600:a::6"), Hostname: "both.sender.example"},
			"none": {Hostname: "none.sender.example"},
		},
		Domains: map[string]Domain{
			"sender.example": {Signer: signer, ReturnPath: "bounces.sender.example"},
			"bare.example":   {},
		},
		Classifier: classify(func(provider string, r rfc5321.Reply) (class, verdict, subject string) {
			res := table.Classify(provider, r)
			return string(res.Class), string(res.Verdict), string(res.Subject)
		}),
	}
}

// newSigner signs with an RSA and an Ed25519 key; txt are their records.
func newSigner(t *testing.T) (signer *dkim.Signer, txt map[string]string) {
	t.Helper()
	o, txt := dkim.Options{}, map[string]string{}
	for selector, file := range map[string]string{"rsa": "rsa2048.pem", "ed": "ed25519.pem"} {
		pem, err := os.ReadFile("../../dkim/testdata/" + file)
		if err != nil {
			t.Fatal(err)
		}
		key, _, err := dkim.ParseKey(pem)
		if err != nil {
			t.Fatal(err)
		}
		if txt[selector+"._domainkey.sender.example"], err = dkim.PublicRecord(key); err != nil {
			t.Fatal(err)
		}
		o.Keys = append(o.Keys, dkim.Key{Domain: "sender.example", Selector: selector, Signer: key})
	}
	signer, err := dkim.NewSigner(o)
	if err != nil {
		t.Fatal(err)
	}
	return signer, txt
}

// exchanger starts a mail server on port 25 of addr.
func (b *bed) exchanger(addr string, rules ...string) *mtatest.Exchanger {
	return b.start(&mtatest.Exchanger{Rules: mtatest.Script(rules...)}, addr)
}

func (b *bed) start(e *mtatest.Exchanger, addr string) *mtatest.Exchanger {
	b.t.Helper()
	if err := e.Start(b.net, netip.AddrPortFrom(netip.MustParseAddr(addr), 25).String()); err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(func() { _ = e.Close() })
	return e
}

// letter is a message to the given recipients, of which the first decides the domain.
func letter(to ...string) *queue.Job {
	j := &queue.Job{
		Source: "four", MessageID: 4711, Body: []byte(header + text),
		Message: &store.Message{
			Sender: rfc5321.Address{Local: "ann", Domain: "sender.example"}, Domain: "sender.example",
			Size: int64(len(header) + len(text)), HeaderSize: int64(len(header)),
		},
	}
	id := store.ID{Message: j.MessageID, Recipient: 7}
	for _, s := range to {
		local, domain, _ := strings.Cut(s, "@")
		j.Domain = domain
		e := store.Entry{ID: id}
		id.Recipient++
		e.Address = rfc5321.Address{Local: local, Domain: domain}
		j.Recipients = append(j.Recipients, e)
	}
	return j
}

// dial expects a connection.
func (b *bed) dial(j *queue.Job) queue.Connection {
	b.t.Helper()
	c, res := b.d.Dial(context.Background(), j)
	if res != nil {
		b.t.Fatalf("dialling: %+v", *res)
	}
	b.t.Cleanup(c.Close)
	return c
}

// deliver carries a job out on a connection of its own.
func (b *bed) deliver(j *queue.Job) *queue.Result {
	b.t.Helper()
	c, res := b.d.Dial(context.Background(), j)
	if res == nil {
		res = c.Send(context.Background(), j)
		c.Close()
	}
	if len(res.Outcomes) != len(j.Recipients) {
		b.t.Fatalf("%d outcomes for %d recipients", len(res.Outcomes), len(j.Recipients))
	}
	return res
}

// delivered expects that a job's first recipient got the mail.
func (b *bed) delivered(res *queue.Result) {
	b.t.Helper()
	if o := res.Outcomes[0]; o.Kind != queue.Delivered || !res.MailSent || res.Failed {
		b.t.Fatalf("not delivered: %+v", *res)
	}
}

// unsent expects an outcome of a job that never came as far as MAIL.
func (b *bed) unsent(res *queue.Result, kind queue.Kind, class, verdict string) {
	b.t.Helper()
	o := res.Outcomes[0]
	if o.Kind != kind || o.Class != class || o.Verdict != verdict {
		b.t.Fatalf("kind %d, class %q, verdict %q; want %d, %q, %q: %+v", o.Kind, o.Class, o.Verdict, kind, class, verdict, o.Reply)
	}
	if res.MailSent || !res.Failed || res.Usable || o.Pin || len(o.Signature) > 0 {
		b.t.Fatalf("a job that reached nobody: %+v", *res)
	}
}

// wait lets simulated time pass.
func wait(d time.Duration) { <-time.After(d) }

// only is the one message that an exchanger took.
func (b *bed) only(e *mtatest.Exchanger) mtatest.Message {
	b.t.Helper()
	list := e.Messages()
	if len(list) != 1 {
		b.t.Fatalf("%d messages arrived, want 1", len(list))
	}
	if v := e.Violations(); len(v) > 0 {
		b.t.Fatal(v)
	}
	return list[0]
}
