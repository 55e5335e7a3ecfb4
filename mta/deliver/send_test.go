// SPDX-License-Identifier: Apache-2.0

package deliver

import (
	"bytes"
	"context"
	"net/netip"
	"strings"
	"testing"
	"time"

	oracle "github.com/emersion/go-msgauth/dkim"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/seguemta/segue/dkim"
	"github.com/seguemta/segue/mta/rfc5321"
	"github.com/seguemta/segue/mta/verp"
	"github.com/seguemta/segue/queue"
)

// TestStaleConnection: that a kept connection is gone says nothing about the
// site. The mail goes over a new one, signed once and charged once.
func TestStaleConnection(t *testing.T) {
	for name, rule := range map[string]string{
		"closed": "dot @1 : 250 2.0.0 ok then close", "closed at MAIL": "mail @2 : close",
		"421 at MAIL": "mail @2 : 421 4.4.2 idle too long then close",
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, nil, func(b *bed) {
				e := b.exchanger("203.0.112.1", rule)
				c := b.dial(letter("bob@one.example"))
				b.delivered(c.Send(context.Background(), letter("bob@one.example")))
				wait(time.Minute)
				res := c.Send(context.Background(), letter("eve@one.example"))
				b.delivered(res)
				if !res.Usable || len(e.Messages()) != 2 || e.Connections() != 2 {
					b.t.Fatalf("%d messages over %d connections: %+v", len(e.Messages()), e.Connections(), *res)
				}
			})
		})
	}
}

// TestStaleConnectionToASilentSite: nothing was sent, so nothing is charged.
func TestStaleConnectionToASilentSite(t *testing.T) {
	inBubble(t, nil, func(b *bed) {
		b.exchanger("203.0.112.1", "dot @1 : 250 2.0.0 ok then close")
		c := b.dial(letter("bob@one.example"))
		b.delivered(c.Send(context.Background(), letter("bob@one.example")))
		b.net.Blackhole(netip.MustParseAddrPort("203.0.112.1:25"))
		b.unsent(c.Send(context.Background(), letter("eve@one.example")), queue.Deferred, "NoAnswerFromHost", "infrastructure")
	})
}

// TestServerThatSpeaksOutOfTurn: a connection that is unusable from its first
// moment is not an idle one. One renewal, then the site backs off.
func TestServerThatSpeaksOutOfTurn(t *testing.T) {
	inBubble(t, nil, func(b *bed) {
		e := b.exchanger("203.0.112.1", `ehlo : 250 mx.test\r\n250 unasked`)
		res := b.deliver(letter("bob@one.example"))
		if o := res.Outcomes[0]; o.Kind != queue.Deferred || o.Verdict != "infrastructure" || res.MailSent || !res.Failed || res.Usable {
			b.t.Fatalf("%+v", *res)
		}
		if e.Connections() != 2 {
			b.t.Fatalf("%d connections, want 2", e.Connections())
		}
	})
}

func TestClosingInMailFails(t *testing.T) {
	inBubble(t, nil, func(b *bed) {
		b.exchanger("203.0.112.1", "mail : 421 4.7.0 enough for today then close")
		res := b.deliver(letter("bob@one.example"))
		o := res.Outcomes[0]
		if o.Kind != queue.Deferred || o.Reply.Code != 421 || !res.Failed || !res.MailSent || res.Usable {
			b.t.Fatalf("%+v", *res)
		}
	})
}

// TestRetrySendsTheSameBytes: greylisting remembers the source, and a receiver
// that took the first try for a duplicate must see the same message.
func TestRetrySendsTheSameBytes(t *testing.T) {
	for _, phase := range []string{"rcpt", "dot"} {
		inBubble(t, nil, func(b *bed) {
			e := b.exchanger("203.0.112.1", phase+" @1 : 451 4.7.1 greylisted, try again later")
			j := letter("bob@one.example")
			first := b.deliver(j)
			o := first.Outcomes[0]
			if o.Kind != queue.Deferred || !o.Pin || first.Failed || !first.MailSent || !first.Usable {
				b.t.Fatalf("%+v", *first)
			}
			fields := string(o.Signature)
			if strings.Count(fields, "DKIM-Signature: ") != 2 || strings.Count(fields, "X-Segue-Ref: ") != 1 || !strings.HasPrefix(fields, "DKIM-Signature: ") || !strings.HasSuffix(fields, "\r\n") {
				b.t.Fatalf("kept %q", fields)
			}
			wait(time.Hour)
			again := letter("bob@one.example")
			again.Recipients[0].Signature = o.Signature
			b.delivered(b.deliver(again))
			if got := string(b.only(e).Data); got != fields+header+text {
				b.t.Fatalf("the retry sent %q", got)
			}
			// What would have been sent otherwise is not the same.
			fresh, err := b.d.sign(j)
			if err != nil || bytes.Equal(fresh, o.Signature) {
				b.t.Fatalf("an hour changes no signature (%v)", err)
			}
		})
	}
}

func TestReputationDoesNotPin(t *testing.T) {
	for _, tt := range []struct {
		reply string
		kind  queue.Kind
		pin   bool
	}{
		{"550 5.7.1 198.51.100.4 is listed at zen.spamhaus.org", queue.Bounced, false},
		{"450 4.7.1 198.51.100.4 is listed at zen.spamhaus.org", queue.Deferred, false},
		{"450 4.2.0 greylisted", queue.Deferred, true},
	} {
		inBubble(t, nil, func(b *bed) {
			b.exchanger("203.0.112.1", "rcpt : "+tt.reply)
			o := b.deliver(letter("bob@one.example")).Outcomes[0]
			if o.Kind != tt.kind || o.Pin != tt.pin || (o.Verdict == "reputation") == tt.pin {
				b.t.Fatalf("%s: %+v", tt.reply, o)
			}
			if (len(o.Signature) > 0) != (tt.kind == queue.Deferred) {
				b.t.Fatalf("%s: keeps %q", tt.reply, o.Signature)
			}
		})
	}
}

// TestOnlyAnAnswerAboutTheRecipientSuppresses: MAIL names none.
func TestOnlyAnAnswerAboutTheRecipientSuppresses(t *testing.T) {
	for phase, want := range map[string]string{"mail": "infrastructure", "rcpt": "suppress", "data": "suppress", "dot": "suppress"} {
		inBubble(t, nil, func(b *bed) {
			b.exchanger("203.0.112.1", phase+" : 550 5.1.1 user unknown")
			res := b.deliver(letter("bob@one.example"))
			if o := res.Outcomes[0]; o.Kind != queue.Bounced || o.Verdict != want || !res.MailSent || !res.Usable || res.Failed {
				b.t.Fatalf("%s: %+v", phase, *res)
			}
		})
	}
}

func TestReturnPath(t *testing.T) {
	inBubble(t, nil, func(b *bed) {
		e := b.exchanger("203.0.112.1")
		null := letter("bob@one.example")
		null.Message.Sender = rfc5321.Address{}
		plain := letter("bob@one.example")
		plain.Message.Domain = "bare.example"
		for _, j := range []*queue.Job{letter("bob@one.example"), null, plain} {
			b.delivered(b.deliver(j))
		}
		m := e.Messages()
		local, domain, _ := strings.Cut(m[0].From, "@")
		if mid, n, err := b.o.Tokens.Decode(verp.ReturnPath, local); err != nil || mid != 4711 || n != 7 || domain != "bounces.sender.example" {
			b.t.Fatalf("%q names %d.%d (%v)", m[0].From, mid, n, err)
		}
		_, after, _ := strings.Cut(string(m[0].Data), "X-Segue-Ref: ")
		ref, _, _ := strings.Cut(after, "\r\n")
		if mid, n, err := b.o.Tokens.Decode(verp.Reference, ref); err != nil || mid != 4711 || n != 7 {
			b.t.Fatalf("%q names %d.%d (%v)", ref, mid, n, err)
		}
		if m[1].From != "" || m[2].From != "ann@sender.example" {
			b.t.Fatalf("null sender %q, domain without return path %q", m[1].From, m[2].From)
		}
	})
}

func TestSeveralRecipients(t *testing.T) {
	inBubble(t, nil, func(b *bed) {
		e := b.exchanger("203.0.112.1", "rcpt bob@ : 550 5.1.1 no such user", "rcpt carol@ : 450 4.2.0 greylisted")
		j := letter("ann@one.example", "bob@one.example", "carol@one.example", "dave@one.example")
		j.Recipients[0].Signature = []byte("X-Ann: hers alone\r\n")
		res := b.deliver(j)
		b.delivered(res)
		if m := b.only(e); strings.Join(m.To, " ") != "ann@one.example dave@one.example" || bytes.Contains(m.Data, []byte("X-Ann")) {
			b.t.Fatalf("taken for %v: %s", m.To, m.Data)
		}
		for i, want := range []queue.Outcome{
			{Kind: queue.Delivered, Reply: rfc5321.Reply{Code: 250}},
			{Kind: queue.Bounced, Reply: rfc5321.Reply{Code: 550}, Verdict: "suppress"},
			{Kind: queue.Deferred, Reply: rfc5321.Reply{Code: 450}, Pin: true, Verdict: "ignore"},
			{Kind: queue.Delivered, Reply: rfc5321.Reply{Code: 250}},
		} {
			o := res.Outcomes[i]
			if o.Kind != want.Kind || o.Reply.Code != want.Reply.Code || o.Pin != want.Pin || o.Verdict != want.Verdict {
				b.t.Errorf("recipient %d: %+v, want %+v", i, o, want)
			}
			// The headers name the first recipient: nobody may keep them for itself.
			if len(o.Signature) > 0 || o.Host != "mx1.example" {
				b.t.Errorf("recipient %d: %+v", i, o)
			}
		}
	})
}

func TestSignaturesVerify(t *testing.T) {
	_, txt := newSigner(t)
	for _, hashed := range []bool{false, true} {
		inBubble(t, nil, func(b *bed) {
			e := b.exchanger("203.0.112.1")
			j := letter("bob@one.example")
			if hashed {
				hash := dkim.HashBody([]byte(text))
				j.Message.BodyHash = hash[:]
			}
			b.delivered(b.deliver(j))
			list, err := oracle.VerifyWithOptions(bytes.NewReader(b.only(e).Data), &oracle.VerifyOptions{
				LookupTXT: func(name string) ([]string, error) { return []string{txt[name]}, nil },
			})
			if err != nil || len(list) != 2 {
				b.t.Fatalf("%d signatures: %v", len(list), err)
			}
			for _, v := range list {
				signed := strings.Join(v.HeaderKeys, " ")
				if v.Err != nil || v.Domain != "sender.example" || !strings.Contains(strings.ToLower(signed), "from") {
					b.t.Errorf("%s over %s: %v", v.Domain, signed, v.Err)
				}
			}
		})
	}
}

func TestUnsignedDomain(t *testing.T) {
	for _, name := range []string{"bare.example", "unknown.example"} {
		inBubble(t, nil, func(b *bed) {
			e := b.exchanger("203.0.112.1")
			j := letter("bob@one.example")
			j.Message.Domain = name
			b.delivered(b.deliver(j))
			data := string(b.only(e).Data)
			if !strings.HasPrefix(data, "X-Segue-Ref: ") || strings.Contains(data, "DKIM") || !strings.HasSuffix(data, "\r\n"+header+text) {
				b.t.Fatalf("sent %q", data)
			}
		})
	}
}

func TestWithoutTokensNothingIsAdded(t *testing.T) {
	inBubble(t, func(o *Options) { o.Tokens, o.Domains = nil, nil }, func(b *bed) {
		e := b.exchanger("203.0.112.1")
		b.delivered(b.deliver(letter("bob@one.example")))
		if m := b.only(e); string(m.Data) != header+text || m.From != "ann@sender.example" {
			b.t.Fatalf("sent %q from %q", m.Data, m.From)
		}
	})
}

// TestUnsignableMessageWaits: nothing of it goes out, and the connection stays.
func TestUnsignableMessageWaits(t *testing.T) {
	inBubble(t, nil, func(b *bed) {
		e := b.exchanger("203.0.112.1")
		c := b.dial(letter("bob@one.example"))
		bad := letter("bob@one.example")
		bad.Body = []byte("Subject: from nobody\r\n\r\n" + text)
		bad.Message.HeaderSize = int64(len(bad.Body) - len(text))
		res := c.Send(context.Background(), bad)
		if o := res.Outcomes[0]; o.Kind != queue.Deferred || res.Failed || res.MailSent || !res.Usable || len(o.Signature) > 0 {
			b.t.Fatalf("%+v", *res)
		}
		b.delivered(c.Send(context.Background(), letter("bob@one.example")))
		if got := strings.Count(strings.Join(e.Commands(), "\n"), "MAIL FROM"); got != 1 {
			b.t.Fatalf("%d transactions, want 1", got)
		}
	})
}

// TestUTF8IsAskedForWhereNeeded: a message that was submitted with SMTPUTF8 and
// needs none reaches old servers.
func TestUTF8IsAskedForWhereNeeded(t *testing.T) {
	for subject, want := range map[string]bool{"hello": false, "grüße": true} {
		inBubble(t, nil, func(b *bed) {
			e := b.exchanger("203.0.112.1")
			j := letter("bob@one.example")
			head := strings.Replace(header, "hello", subject, 1)
			j.Body, j.Message.HeaderSize, j.Message.UTF8 = []byte(head+text), int64(len(head)), true
			b.delivered(b.deliver(j))
			if m := b.only(e); strings.Contains(m.MailArgs, "SMTPUTF8") != want {
				b.t.Fatalf("%s: MAIL says %q", subject, m.MailArgs)
			}
		})
	}
}

// TestCutWhileSending: after the dot nobody knows; the budget is charged and the
// headers are kept.
func TestCutWhileSending(t *testing.T) {
	inBubble(t, nil, func(b *bed) {
		b.exchanger("203.0.112.1", "dot : hang")
		c := b.dial(letter("bob@one.example"))
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		res := c.Send(ctx, letter("bob@one.example"))
		o := res.Outcomes[0]
		if o.Kind != queue.Deferred || o.Class != "BadConnection" || o.Pin || len(o.Signature) == 0 || !res.MailSent || res.Usable {
			b.t.Fatalf("%+v", *res)
		}
		if !strings.Contains(o.Reply.Text, "may have been accepted") {
			b.t.Fatalf("reason %q", o.Reply.Text)
		}
	})
}

func TestMetrics(t *testing.T) {
	inBubble(t, nil, func(b *bed) {
		b.exchanger("203.0.112.1")
		j := letter("bob@one.example")
		b.delivered(b.deliver(j))
		j.Provider = "google"
		b.delivered(b.deliver(j))
		families, err := b.o.Registry.(prometheus.Gatherer).Gather()
		if err != nil {
			b.t.Fatal(err)
		}
		got := map[string]uint64{}
		for _, f := range families {
			for _, m := range f.GetMetric() {
				got[f.GetName()+" "+m.GetLabel()[0].GetValue()] = m.GetHistogram().GetSampleCount()
			}
		}
		for series, n := range map[string]uint64{
			"segue_delivery_seconds other": 1, "segue_delivery_seconds google": 1, "segue_sign_seconds crypto/rsa": 2,
		} {
			if got[series] != n {
				b.t.Errorf("%s counts %d, want %d", series, got[series], n)
			}
		}
	})
}

func TestNewRefusesWhatIsMissing(t *testing.T) {
	full := Options{Router: empty{}, Sources: map[string]Source{"a": {}}, Classifier: classify(alarmist)}
	if _, err := New(full); err != nil {
		t.Fatal(err)
	}
	for i := range 3 {
		o := full
		switch i {
		case 0:
			o.Router = nil
		case 1:
			o.Sources = nil
		case 2:
			o.Classifier = nil
		}
		if _, err := New(o); err == nil {
			t.Errorf("case %d was taken", i)
		}
	}
}
