// SPDX-License-Identifier: Apache-2.0

package deliver

import (
	"context"
	"crypto/tls"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/seguemta/segue/mta/mtatest"
	"github.com/seguemta/segue/mta/mx"
	"github.com/seguemta/segue/mta/resolve"
	"github.com/seguemta/segue/queue"
)

func TestSecondHostTakesWhatTheFirstRefuses(t *testing.T) {
	for _, rules := range [][]string{nil, {"banner : 554 5.3.2 not today then close"}, {"ehlo : 421 4.3.2 busy then close"}} {
		inBubble(t, nil, func(b *bed) {
			if rules != nil { // else nobody listens
				b.exchanger("203.0.112.1", rules...)
			}
			second := b.exchanger("203.0.112.2")
			res := b.deliver(letter("bob@pair.example"))
			b.delivered(res)
			if got := res.Outcomes[0].Host; got != "mx2.example" {
				b.t.Fatalf("host %q", got)
			}
			b.only(second)
		})
	}
}

func TestSecondAddressAfterABlackHole(t *testing.T) {
	inBubble(t, nil, func(b *bed) {
		b.net.Blackhole(netip.MustParseAddrPort("203.0.112.3:25"))
		e := b.exchanger("2600::3")
		j := letter("bob@dual.example")
		j.Source = "both"
		began := time.Now()
		b.delivered(b.deliver(j))
		if took := time.Since(began); took != 30*time.Second {
			b.t.Fatalf("the first address was given %s, want the connect timeout of 30s", took)
		}
		if m := b.only(e); m.Remote.Addr() != b.o.Sources["both"].V6 || m.Hello != "both.sender.example" {
			b.t.Fatalf("came from %s as %s", m.Remote, m.Hello)
		}
	})
}

func TestTLS(t *testing.T) {
	cert, _, err := mtatest.Certificate("mx1.example")
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name        string
		rules       []string
		encrypted   bool
		connections int
	}{
		{"encrypted where offered", nil, true, 1},
		{"clear after a broken handshake", []string{"handshake : close"}, false, 2},
		{"clear after a silent handshake", []string{"handshake : hang"}, false, 2},
		{"clear where STARTTLS is refused", []string{"starttls : 454 4.7.0 not now"}, false, 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			inBubble(t, nil, func(b *bed) {
				e := b.start(&mtatest.Exchanger{
					TLS:   &tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS12},
					Rules: mtatest.Script(tt.rules...),
				}, "203.0.112.1")
				b.delivered(b.deliver(letter("bob@one.example")))
				if m := b.only(e); m.TLS != tt.encrypted || e.Connections() != tt.connections {
					b.t.Fatalf("TLS %t over %d connections", m.TLS, e.Connections())
				}
			})
		})
	}
}

// TestGreetingNeverSuppresses: no host has heard of the recipient yet, whatever
// its words and whatever a classifier makes of them.
func TestGreetingNeverSuppresses(t *testing.T) {
	for _, rule := range []string{
		"banner : 550 5.1.1 user unknown then close",
		"banner : 521 5.3.2 host does not accept mail then close",
		"banner : 554 no then close",
		"ehlo : 421 5.1.2 domain not found then close",
		"ehlo : 550 5.1.1 no such user\nhelo : 550 5.1.1 no such user",
		"starttls : 421 5.1.10 null mx then close",
	} {
		inBubble(t, nil, func(b *bed) {
			for _, addr := range []string{"203.0.112.1", "203.0.112.2"} {
				b.start(&mtatest.Exchanger{TLS: &tls.Config{MinVersion: tls.VersionTLS12}, Rules: mtatest.Script(rule)}, addr)
			}
			for _, c := range []Classifier{b.o.Classifier, classify(alarmist)} {
				b.o.Classifier, b.o.Registry = c, nil
				d, err := New(b.o)
				if err != nil {
					b.t.Fatal(err)
				}
				b.d = d
				res := b.deliver(letter("bob@pair.example"))
				o := res.Outcomes[0]
				if o.Kind != queue.Deferred || o.Verdict == "suppress" || o.Verdict == "count" || o.Verdict == "" || o.Class == "InvalidRecipient" {
					b.t.Errorf("%s: %+v", rule, o)
				}
				if o.Reply.Code < 400 || o.Host != "mx1.example" || res.MailSent || !res.Failed {
					b.t.Errorf("%s: %+v", rule, *res)
				}
			}
		})
	}
}

// TestGreetingKeepsTheBlame: a block list in the banner is against the source.
func TestGreetingKeepsTheBlame(t *testing.T) {
	inBubble(t, nil, func(b *bed) {
		b.exchanger("203.0.112.1", "banner : 554 5.7.1 198.51.100.4 is listed at zen.spamhaus.org then close")
		res := b.deliver(letter("bob@one.example"))
		b.unsent(res, queue.Deferred, "SpamBlock", "reputation")
	})
}

func TestForbiddenAddressesBounce(t *testing.T) {
	inBubble(t, nil, func(b *bed) {
		res := b.deliver(letter("bob@inside.example"))
		o := res.Outcomes[0]
		if o.Kind != queue.Bounced || o.Verdict == "suppress" || o.Reply.Code != 550 || res.MailSent {
			b.t.Fatalf("%+v", *res)
		}
		e := b.exchanger("203.0.112.2")
		b.delivered(b.deliver(letter("bob@mixed.example")))
		b.only(e)
		for _, d := range b.net.Dials() {
			if a := d.Remote.Addr(); a.IsLoopback() || a.IsPrivate() {
				b.t.Fatalf("%s was dialled", a)
			}
		}
	})
}

func TestDNSFailureDefers(t *testing.T) {
	for _, tt := range []struct {
		name string
		fate mtatest.Fate
	}{
		{"one.example", mtatest.Fate{Rcode: dns.RcodeServerFailure}},
		{"mx1.example", mtatest.Fate{Rcode: dns.RcodeServerFailure}},
		{"mx1.example", mtatest.Fate{Silent: true}},
	} {
		inBubble(t, nil, func(b *bed) {
			b.zones.Fail(tt.name, tt.fate)
			res := b.deliver(letter("bob@one.example"))
			b.unsent(res, queue.Deferred, "DNSFailure", "infrastructure")
			if r := res.Outcomes[0].Reply; r.Code != 451 || !strings.Contains(r.Text, tt.name) {
				b.t.Fatalf("%s: reply %v", tt.name, r)
			}
		})
	}
}

func TestDomainThatTakesNoMailBounces(t *testing.T) {
	inBubble(t, nil, func(b *bed) {
		b.unsent(b.deliver(letter("bob@nowhere.example")), queue.Bounced, "BadDomain", "suppress")
		b.unsent(b.deliver(letter("bob@null.example")), queue.Bounced, "BadDomain", "suppress")
	})
}

// A domain whose records are wrong exists, and may be put right tomorrow.
func TestDomainWithoutAUsableMXIsNoReasonToSuppress(t *testing.T) {
	inBubble(t, nil, func(b *bed) {
		b.unsent(b.deliver(letter("bob@literal.example")), queue.Bounced, "RoutingErrors", "count")
	})
}

// TestRefusedConnectionsDefer bounds how many dead addresses one connection tries.
func TestRefusedConnectionsDefer(t *testing.T) {
	inBubble(t, nil, func(b *bed) {
		b.unsent(b.deliver(letter("bob@many.example")), queue.Deferred, "NoAnswerFromHost", "infrastructure")
		if n := len(b.net.Dials()); n != maxAttempts {
			b.t.Fatalf("%d addresses were dialled, want %d", n, maxAttempts)
		}
	})
}

// TestHostsWithoutAddressAreSkipped: seven names that lead nowhere must not hide
// the host that works, nor bounce its mail.
func TestHostsWithoutAddressAreSkipped(t *testing.T) {
	inBubble(t, nil, func(b *bed) {
		e := b.exchanger("203.0.112.1")
		b.delivered(b.deliver(letter("bob@ghosts.example")))
		b.only(e)
	})
}

func TestSourceFamilies(t *testing.T) {
	for _, tt := range []struct {
		source, domain string
		local          string // "" = not reached, "any" = left to the system
	}{
		{"four", "dual.example", "198.51.100.4"},
		{"six", "dual.example", "2600:a::6"},
		{"both", "six.example", "2600:a::6"},
		{"none", "one.example", "any"},
		{"none", "six.example", "any"},
		{"four", "six.example", ""},
		{"six", "one.example", ""},
		{"unknown", "one.example", ""},
	} {
		inBubble(t, nil, func(b *bed) {
			for _, addr := range []string{"203.0.112.1", "203.0.112.3", "2600::3", "2600::6"} {
				b.exchanger(addr)
			}
			j := letter("bob@" + tt.domain)
			j.Source = tt.source
			res := b.deliver(j)
			dials := b.net.Dials()
			switch {
			case tt.local == "":
				if o := res.Outcomes[0]; o.Kind != queue.Deferred || res.MailSent || !res.Failed || len(dials) > 0 {
					b.t.Fatalf("%v: %+v after %v", tt, *res, dials)
				}
				return
			case tt.local == "any" && dials[0].Local.IsValid():
				b.t.Fatalf("%v: bound to %s", tt, dials[0].Local)
			case tt.local != "any" && dials[0].Local.String() != tt.local:
				b.t.Fatalf("%v: bound to %s", tt, dials[0].Local)
			}
			b.delivered(res)
		})
	}
}

// TestStopWhileDialling: the engine ends and a host that never answers must not
// keep it.
func TestStopWhileDialling(t *testing.T) {
	inBubble(t, nil, func(b *bed) {
		b.net.Blackhole(netip.MustParseAddrPort("203.0.112.1:25"))
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		_, res := b.d.Dial(ctx, letter("bob@pair.example"))
		b.unsent(res, queue.Deferred, "NoAnswerFromHost", "infrastructure")
		if n := len(b.net.Dials()); n != 1 || slices.Contains(b.zones.Queries(), "mx2.example. A") {
			b.t.Fatalf("%d dials, %v", n, b.zones.Queries())
		}
	})
}

// empty is a router that breaks its word.
type empty struct{}

func (empty) Resolve(context.Context, string) (mx.Target, error) {
	return mx.Target{Hosts: []mx.Host{{Name: "mx1.example", Port: 25}}}, nil
}

func (empty) Addresses(context.Context, mx.Host, resolve.Families) ([]netip.AddrPort, error) {
	return nil, nil
}

func TestRouterWithoutAddress(t *testing.T) {
	inBubble(t, func(o *Options) { o.Router = empty{} }, func(b *bed) {
		b.unsent(b.deliver(letter("bob@one.example")), queue.Deferred, "NoAnswerFromHost", "infrastructure")
	})
}
