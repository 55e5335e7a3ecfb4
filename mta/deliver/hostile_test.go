// SPDX-License-Identifier: Apache-2.0

package deliver

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/seguemta/segue/mta/mtatest"
	"github.com/seguemta/segue/queue"
)

// TestHostileVerdicts: what a broken or hostile exchanger does is never held
// against the recipient, and bounces only where the exchanger said so.
func TestHostileVerdicts(t *testing.T) {
	for _, tt := range []struct {
		rules    string
		deferred bool
		class    string
		verdict  string
		pin      bool // a retry keeps the source
		failed   bool // the site backs off
		usable   bool // the connection takes more
	}{
		// Broken connections: nobody is to blame but the site.
		{"mail : close", true, "BadConnection", "infrastructure", false, true, false},
		{"rcpt : reset", true, "BadConnection", "infrastructure", false, true, false},
		{"data : close", true, "BadConnection", "infrastructure", false, true, false},
		{"dot : close", true, "BadConnection", "infrastructure", false, true, false},
		{"dot : reset", true, "BadConnection", "infrastructure", false, true, false},
		{"rcpt : hang", true, "BadConnection", "infrastructure", false, true, false},
		{"dot : hang", true, "BadConnection", "infrastructure", false, true, false},
		// What is no reply, and replies that cannot follow.
		{"mail : 999 ok", true, "BadConnection", "infrastructure", false, true, false},
		{"rcpt : flood 10000 550-5.1.1 no such user", true, "BadConnection", "infrastructure", false, true, false},
		{"rcpt : 354 go ahead", true, "BadConnection", "infrastructure", false, true, false},
		{"data : 250 ok", true, "BadConnection", "infrastructure", false, true, false},
		{"dot : drip 4m 550 5.1.1 no such user", true, "BadConnection", "infrastructure", false, true, false},
		{`data : 354 go ahead\r\n250 2.0.0 queued`, true, "BadConnection", "infrastructure", false, true, false},
		// 421 is an answer, and the site is left alone for a while.
		{"mail : 421 4.3.2 busy then close", true, "TransientFailure", "infrastructure", true, true, false},
		{"rcpt : 421 4.3.2 busy then close", true, "TransientFailure", "infrastructure", true, true, false},
		{"data : 421 4.3.2 busy then close", true, "TransientFailure", "infrastructure", true, true, false},
		{"dot : 421 4.3.2 busy then close", true, "TransientFailure", "infrastructure", true, true, false},
		// A refusal in the middle of the message is one of the message.
		{`data : 354 go ahead\r\n552 5.3.4 message too big`, false, "ContentRelated", "ignore", false, false, false},
		{"mail : 552 5.3.4 message too big", false, "ContentRelated", "ignore", false, false, true},
		{"rcpt : 452 4.5.3 too many recipients", true, "TooManyRecipients", "ignore", true, false, true},
		// About the recipient, before it was named.
		{"mail : 550 5.1.1 no such user", false, "InvalidRecipient", "infrastructure", false, false, true},
		{"mail : 552 5.2.2 mailbox full", false, "QuotaIssues", "infrastructure", false, false, true},
	} {
		t.Run(tt.rules, func(t *testing.T) {
			inBubble(t, nil, func(b *bed) {
				b.exchanger("203.0.112.1", tt.rules)
				res := b.deliver(letter("bob@one.example"))
				o := res.Outcomes[0]
				got := fmt.Sprintf("deferred=%t %s %s pin=%t failed=%t usable=%t mail=%t", o.Kind == queue.Deferred, o.Class, o.Verdict, o.Pin, res.Failed, res.Usable, res.MailSent)
				want := fmt.Sprintf("deferred=%t %s %s pin=%t failed=%t usable=%t mail=true", tt.deferred, tt.class, tt.verdict, tt.pin, tt.failed, tt.usable)
				if got != want || o.Kind == queue.Delivered {
					b.t.Errorf("got  %s\nwant %s", got, want)
				}
			})
		})
	}
}

// TestAnAnswerToAllSuppressesNobody: one of the recipients does not exist, and
// the answer to the message does not say which.
func TestAnAnswerToAllSuppressesNobody(t *testing.T) {
	for _, phase := range []string{"data", "dot"} {
		for to, want := range map[string]string{"ann@one.example": "count", "gone@one.example": "suppress"} {
			inBubble(t, nil, func(b *bed) {
				b.exchanger("203.0.112.1", "rcpt gone@ : 550 5.1.1 no such user", phase+" : 550 5.1.1 no such user")
				res := b.deliver(letter(to, "bob@one.example", "ann@one.example"))
				if o := res.Outcomes[0]; o.Kind != queue.Bounced || o.Verdict != want {
					b.t.Errorf("%s, %s of three: %+v, want %s", phase, to, o, want)
				}
			})
		}
	}
}

// TestBrokenChunking: a host that offers BDAT and does not know it gets the
// message by DATA, at once and for a day; the others are not held to it.
func TestBrokenChunking(t *testing.T) {
	for _, bdat := range []string{"502 5.5.1 what is that", "500 5.5.1 what is that", "503 5.5.1 out of order"} {
		inBubble(t, nil, func(b *bed) {
			e := b.start(&mtatest.Exchanger{Extensions: []string{"PIPELINING", "CHUNKING"}, Rules: mtatest.Script("bdat : " + bdat)}, "203.0.112.1")
			for n, wantConnections := range []int{2, 3} {
				res := b.deliver(letter("bob@one.example"))
				b.delivered(res)
				if !res.Usable || len(e.Messages()) != n+1 || e.Connections() != wantConnections {
					b.t.Fatalf("%d messages over %d connections: %+v", len(e.Messages()), e.Connections(), *res)
				}
			}
			wait(dataOnlyFor)
			b.delivered(b.deliver(letter("bob@one.example")))
			if e.Connections() != 5 {
				b.t.Fatalf("%d connections: BDAT is tried again after a day", e.Connections())
			}
		})
	}
}

// TestChunkingThatBreaksConnections: nobody knows if the message was taken, so it
// waits as any other; its next try is made with DATA.
func TestChunkingThatBreaksConnections(t *testing.T) {
	for _, act := range []string{"close", "reset", "hang"} {
		inBubble(t, nil, func(b *bed) {
			e := b.start(&mtatest.Exchanger{Extensions: []string{"PIPELINING", "CHUNKING"}, Rules: mtatest.Script("bdat : " + act)}, "203.0.112.1")
			res := b.deliver(letter("bob@one.example"))
			if o := res.Outcomes[0]; o.Kind != queue.Deferred || o.Verdict != "infrastructure" || e.Connections() != 1 {
				b.t.Fatalf("%s: %+v over %d connections", act, *res, e.Connections())
			}
			b.delivered(b.deliver(letter("bob@one.example")))
			b.only(e)
		})
	}
}

// TestTheEndOfAnEngineIsNoBrokenChunking.
func TestTheEndOfAnEngineIsNoBrokenChunking(t *testing.T) {
	inBubble(t, nil, func(b *bed) {
		b.start(&mtatest.Exchanger{Extensions: []string{"PIPELINING", "CHUNKING"}, Rules: mtatest.Script("dot : hang")}, "203.0.112.1")
		c := b.dial(letter("bob@one.example"))
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		if res := c.Send(ctx, letter("bob@one.example")); res.Outcomes[0].Kind != queue.Deferred || len(b.d.data.until) > 0 {
			b.t.Fatalf("%+v, noted: %v", *res, b.d.data.until)
		}
	})
}

func TestChunkingSwitchedOff(t *testing.T) {
	for _, off := range []bool{true, false} {
		inBubble(t, func(o *Options) { o.NoChunking = off }, func(b *bed) {
			e := b.start(&mtatest.Exchanger{Extensions: []string{"PIPELINING", "CHUNKING"}}, "203.0.112.1")
			b.delivered(b.deliver(letter("bob@one.example")))
			commands := fmt.Sprint(e.Commands())
			if list := e.Commands(); (list[3] == "DATA") != off {
				b.t.Fatalf("switched off: %t, said %s", off, commands)
			}
		})
	}
}

func TestHostsWithoutChunkingAreForgotten(t *testing.T) {
	now := time.Unix(0, 0)
	h := dataOnly{until: make(map[string]time.Time)}
	for i := range dataOnlyMost + 10 {
		h.note(fmt.Sprint(i), now.Add(time.Duration(i)))
	}
	if len(h.until) != dataOnlyMost || h.has("9", now) || !h.has("10", now) {
		t.Errorf("%d hosts are known", len(h.until))
	}
	h.note("10", now.Add(time.Hour))
	if later := now.Add(dataOnlyFor + time.Minute); len(h.until) != dataOnlyMost || h.has("11", later) || !h.has("10", later) {
		t.Error("a host is known for another time than a day")
	}
}
