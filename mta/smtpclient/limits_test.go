// SPDX-License-Identifier: Apache-2.0

package smtpclient_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seguemta/segue/mta/mtatest"
	"github.com/seguemta/segue/mta/netx"
	"github.com/seguemta/segue/mta/rfc5321"
	"github.com/seguemta/segue/mta/smtpclient"
)

func options(n netx.Network) smtpclient.Options {
	return smtpclient.Options{Network: n, Local: source, Remote: target, Host: "mx1.example.org", Hello: "a1.mail.example.net"}
}

// listen runs serve for the first connection to the target, in the bubble.
func listen(t *testing.T, n *mtatest.Net, serve func(c net.Conn)) (wait func()) {
	t.Helper()
	ln, err := n.Listen(t.Context(), target.String())
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		c, err := ln.Accept()
		if err != nil {
			return
		}
		defer c.Close()
		serve(c)
	}()
	return func() {
		ln.Close()
		<-done
	}
}

func TestBannerThatNeverEndsIsCutByTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := mtatest.NewNet()
		wait := listen(t, n, func(c net.Conn) {
			for {
				if _, err := io.WriteString(c, "220-one more line\r\n"); err != nil {
					return
				}
				time.Sleep(10 * time.Second)
			}
		})
		begin := time.Now()
		_, err := smtpclient.Dial(t.Context(), options(n))
		var e *smtpclient.Error
		if !errors.As(err, &e) || e.Phase != smtpclient.PhaseBanner || !e.Timeout() || time.Since(begin) != time.Minute {
			t.Errorf("%v after %s", err, time.Since(begin))
		}
		wait()
	})
}

func TestBannerThatFloodsIsCutBySize(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := mtatest.NewNet()
		sent := 0
		wait := listen(t, n, func(c net.Conn) {
			for {
				k, err := io.WriteString(c, "220-one more line\r\n")
				if sent += k; err != nil {
					return
				}
			}
		})
		_, err := smtpclient.Dial(t.Context(), options(n))
		if !errors.Is(err, smtpclient.ErrReply) {
			t.Errorf("got %v, want ErrReply", err)
		}
		wait()
		if sent > 256<<10 {
			t.Errorf("took %d octets", sent)
		}
	})
}

func TestManyRecipientsDoNotDeadlock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := mtatest.NewNet()
		n.Window = 12 << 10 // little more than a flight; replies fill it too
		x := &mtatest.Exchanger{Rules: mtatest.Script("rcpt : 250 2.1.5 " + strings.Repeat("very ", 40) + "fine")}
		if err := x.Start(n, target.String()); err != nil {
			t.Fatal(err)
		}
		defer x.Close()
		c, err := smtpclient.Dial(t.Context(), options(n))
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		tx := &smtpclient.Transaction{From: rfc5321.Address{Local: "b", Domain: "example.net"}, Parts: [][]byte{[]byte("x\r\n")}}
		for i := range 1000 {
			tx.To = append(tx.To, rfc5321.Address{Local: fmt.Sprintf("recipient-with-a-long-name-%d", i), Domain: "example.org"})
		}
		begin := time.Now()
		res := c.Send(t.Context(), tx)
		if res.Err != nil || time.Since(begin) != 0 {
			t.Fatalf("%v after %s", res.Err, time.Since(begin))
		}
		for i, o := range res.Recipients {
			if !o.Delivered() {
				t.Fatalf("recipient %d: %+v", i, o)
			}
		}
		if m := x.Messages(); len(m) != 1 || len(m[0].To) != 1000 {
			t.Errorf("%d messages", len(m))
		}
		if f := x.Flights(); f > 20 {
			t.Errorf("%d flights for 1000 recipients", f)
		}
	})
}

func TestNothingWithBareLineEndsLeaves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := mtatest.NewNet()
		x := &mtatest.Exchanger{}
		if err := x.Start(n, target.String()); err != nil {
			t.Fatal(err)
		}
		defer x.Close()
		c, err := smtpclient.Dial(t.Context(), options(n))
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		to := []rfc5321.Address{{Local: "a", Domain: "example.org"}}
		for _, body := range []string{"\n.\n", "\r.\r", "\r\n.\r", "\n.\r\n", "\r.\r\n", "\r\n.\n", "\r\r\n.\r\r\n", "\x00\n", "a\r"} {
			res := c.Send(t.Context(), &smtpclient.Transaction{To: to, Parts: [][]byte{[]byte("x"), []byte(body), []byte("x")}})
			if o := res.Recipients[0]; o.Code != 554 || o.Phase != smtpclient.PhaseCheck || res.MailSent || !res.Reusable {
				t.Errorf("%q: %+v", body, res)
			}
		}
		evil := []rfc5321.Address{{Local: "x>\r\nRCPT TO:<y", Domain: "example.org"}, {Local: "a", Domain: "example.org"}, {}}
		res := c.Send(t.Context(), &smtpclient.Transaction{To: evil, Parts: [][]byte{[]byte("x\r\n.\r\nMAIL FROM:<>\r\n")}})
		if res.Recipients[0].Code != 553 || !res.Recipients[1].Delivered() || res.Recipients[2].Code != 553 {
			t.Errorf("%+v", res)
		}
		m := x.Messages()
		if len(m) != 1 || len(m[0].To) != 1 || !bytes.Equal(m[0].Data, []byte("x\r\n.\r\nMAIL FROM:<>\r\n")) {
			t.Errorf("the peer got %+v", m)
		}
	})
}

func TestTheSourceIsBound(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := mtatest.NewNet()
		x := &mtatest.Exchanger{}
		if err := x.Start(n, target.String()); err != nil {
			t.Fatal(err)
		}
		defer x.Close()
		opts := options(n)
		c, err := smtpclient.Dial(t.Context(), opts)
		if err != nil {
			t.Fatal(err)
		}
		c.Send(t.Context(), &smtpclient.Transaction{To: []rfc5321.Address{{Local: "a b", Domain: "example.org"}}, Parts: [][]byte{[]byte("secret\r\n")}})
		c.Close()
		if m := x.Messages(); len(m) != 1 || m[0].Remote.Addr() != source || m[0].Hello != opts.Hello || m[0].From != "" || m[0].To[0] != `"a b"@example.org` {
			t.Errorf("the peer saw %+v", m)
		}
	})
}

func TestAbortFromAnotherGoroutine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := mtatest.NewNet()
		x := &mtatest.Exchanger{Rules: mtatest.Script("dot : hang")}
		if err := x.Start(n, target.String()); err != nil {
			t.Fatal(err)
		}
		defer x.Close()
		c, err := smtpclient.Dial(t.Context(), options(n))
		if err != nil {
			t.Fatal(err)
		}
		time.AfterFunc(time.Second, c.Abort)
		res := c.Send(t.Context(), &smtpclient.Transaction{To: []rfc5321.Address{{Local: "a", Domain: "example.org"}}, Parts: [][]byte{[]byte("x\r\n")}})
		if res.Err == nil || !res.Err.Sent || res.Reusable {
			t.Errorf("%+v", res)
		}
		again := c.Send(t.Context(), &smtpclient.Transaction{To: []rfc5321.Address{{Local: "a", Domain: "example.org"}}})
		if again.Err == nil || again.MailSent || again.Recipients[0].Answered() {
			t.Errorf("a dead connection: %+v", again)
		}
	})
}

func TestCancelledBeforeDial(t *testing.T) {
	ctx, cancel := context.WithCancelCause(t.Context())
	why := errors.New("shutting down")
	cancel(why)
	_, err := smtpclient.Dial(ctx, options(mtatest.NewNet()))
	if !errors.Is(err, why) {
		t.Errorf("got %v, want the cause", err)
	}
	opts := options(mtatest.NewNet())
	opts.Hello = "two words"
	if _, err := smtpclient.Dial(t.Context(), opts); err == nil {
		t.Error("a bad EHLO name was taken")
	}
}
