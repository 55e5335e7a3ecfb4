// SPDX-License-Identifier: Apache-2.0

package smtpserver

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
)

// line sends a command and returns the last line of the reply.
func ask(t *testing.T, c net.Conn, r *bufio.Reader, s string) string {
	t.Helper()
	if s != "" {
		if _, err := io.WriteString(c, s+"\r\n"); err != nil {
			t.Fatal(err)
		}
	}
	for {
		line, err := r.ReadString('\n')
		if err != nil {
			return "closed"
		}
		if line[3] != '-' {
			return strings.TrimSpace(line)
		}
	}
}

func hello(t *testing.T, b *bench, commands ...string) (net.Conn, *bufio.Reader) {
	t.Helper()
	c := b.dial("198.51.100.1")
	r := bufio.NewReader(c)
	for _, s := range append([]string{"", "EHLO c.test"}, commands...) {
		if got := ask(t, c, r, s); got[0] != '2' && got[0] != '3' {
			t.Fatalf("%q: %s", s, got)
		}
	}
	return c, r
}

func TestShutdownLetsTransactionsFinish(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, Options{}).start()
		idle, idleR := hello(t, b)
		silent := b.dial("198.51.100.1")
		open, openR := hello(t, b, "MAIL FROM:<a@x.test>", "RCPT TO:<b@y.test>")
		text, textR := hello(t, b, "MAIL FROM:<a@x.test>", "RCPT TO:<b@y.test>", "DATA")
		synctest.Wait()

		down := make(chan error, 1)
		begin := time.Now()
		go func() {
			ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
			defer cancel()
			down <- b.srv.Shutdown(ctx)
		}()
		if got := ask(t, idle, idleR, ""); got != "421 4.3.2 mx.test is shutting down" {
			t.Errorf("idle: %s", got)
		}
		silentR := bufio.NewReader(silent)
		if got := ask(t, silent, silentR, "") + " " + ask(t, silent, silentR, ""); got != "220 mx.test ESMTP 421 4.3.2 mx.test is shutting down" {
			t.Errorf("silent: %s", got)
		}
		synctest.Wait()
		if _, err := b.net.Dial(t.Context(), netip.MustParseAddr("198.51.100.1"), netip.MustParseAddrPort(benchAddr)); err == nil {
			t.Error("a new connection was taken")
		}
		if got := ask(t, text, textR, "x\r\n."); got != "250 2.0.0 queued as 7" {
			t.Errorf("text: %s", got)
		}
		if got := ask(t, text, textR, ""); !strings.HasPrefix(got, "421") {
			t.Errorf("after the text: %s", got)
		}
		if got := ask(t, open, openR, "DATA"); !strings.HasPrefix(got, "354") {
			t.Errorf("open: %s", got)
		}
		if got := ask(t, open, openR, "x\r\n."); got != "250 2.0.0 queued as 7" {
			t.Errorf("open: %s", got)
		}
		if err := <-down; err != nil {
			t.Error(err)
		}
		if d := time.Since(begin); d > 5*time.Second {
			t.Errorf("took %v", d)
		}
		if err := b.srv.Shutdown(t.Context()); err != nil {
			t.Error(err)
		}
		b.close()
	})
}

func TestShutdownCutsAndCounts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		reg := prometheus.NewPedanticRegistry()
		b := newBench(t, Options{Registerer: reg, Purpose: "submission"})
		b.gate, b.busy = make(chan struct{}), make(chan struct{}, 1)
		b.start()
		open, openR := hello(t, b, "MAIL FROM:<a@x.test>")
		text, textR := hello(t, b, "MAIL FROM:<a@x.test>", "RCPT TO:<b@y.test>", "DATA")
		_, _ = io.WriteString(text, "x\r\n.\r\n")
		<-b.busy
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		var cut *CutError
		if err := b.srv.Shutdown(ctx); !errors.As(err, &cut) || cut.Transactions != 2 || cut.Connections != 2 {
			t.Errorf("%v", err)
		}
		if got := ask(t, open, openR, ""); got != "closed" {
			t.Error(got)
		}
		if got := ask(t, text, textR, ""); got != "closed" && got[:3] != "451" { // whichever comes first
			t.Error(got)
		}
		b.close()
		if b.log.String() != "context ended\n" {
			t.Error(b.log.String())
		}
		if n := testutil.ToFloat64(b.srv.metrics.cut.WithLabelValues("submission")); n != 2 {
			t.Errorf("counted %v", n)
		}
		// A second listener shares the metrics of the first.
		if _, err := New(Options{Hostname: "x.test", NewHandler: b.srv.opts.NewHandler, Registerer: reg}); err != nil {
			t.Error(err)
		}
		problems, err := testutil.GatherAndLint(reg)
		if err != nil || len(problems) > 0 {
			t.Error(problems, err)
		}
	})
}

func TestServeEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, Options{}).start()
		c, r := hello(t, b, "MAIL FROM:<a@x.test>")
		b.close()
		if got := ask(t, c, r, ""); got != "closed" {
			t.Error(got)
		}
	})
}

// A stop may come before the goroutine that serves: that is no failure.
func TestServeAfterShutdownReturns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, Options{})
		ln, err := b.net.Listen(t.Context(), benchAddr)
		if err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(b.srv.Shutdown(t.Context()), b.srv.Serve(t.Context(), ln)); err != nil {
			t.Error(err)
		}
		if _, err := ln.Accept(); !errors.Is(err, net.ErrClosed) {
			t.Errorf("the listener goes on: %v", err)
		}
	})
}

func TestConnectionLimits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, Options{MaxConnections: 3, MaxConnectionsPerAddress: 2}).start()
		first := func(from string) (net.Conn, string) {
			c := b.dial(from)
			return c, ask(t, c, bufio.NewReader(c), "")
		}
		one, s := first("192.0.2.1")
		if s != "220 mx.test ESMTP" {
			t.Error(s)
		}
		first("192.0.2.1")
		if _, s := first("192.0.2.1"); s != "421 4.3.2 mx.test too many connections, try again later" {
			t.Error(s)
		}
		first("192.0.2.2")
		if _, s := first("192.0.2.3"); !strings.HasPrefix(s, "421 4.3.2") {
			t.Error(s)
		}
		_ = one.Close()
		synctest.Wait()
		if _, s := first("192.0.2.3"); !strings.HasPrefix(s, "220") {
			t.Error(s)
		}
		b.close()
	})
}

// Networks that are exempt may open as many as there are at all.
func TestConnectionsOfExemptAddresses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ours := netip.MustParsePrefix("10.0.0.0/8")
		b := newBench(t, Options{MaxConnections: 5, MaxConnectionsPerAddress: 1, Exempt: ours.Contains}).start()
		for _, x := range []struct{ from, want string }{
			{"10.0.0.1", "220"},
			{"10.0.0.1", "220"},
			{"10.0.0.1", "220"},
			{"192.0.2.1", "220"},
			{"192.0.2.1", "421"},
			{"10.0.0.1", "220"},
			{"10.0.0.1", "421"},
		} {
			c := b.dial(x.from)
			if got := ask(t, c, bufio.NewReader(c), ""); !strings.HasPrefix(got, x.want) {
				t.Errorf("%s: %s, wanted %s", x.from, got, x.want)
			}
		}
		b.close()
	})
}

func TestOptionsAreChecked(t *testing.T) {
	_, err := New(Options{TLS: "sometimes", MaxLine: 5, Keep: 10, MaxSize: 5})
	for _, want := range []string{"hostname is empty", "no handler", `tls mode "sometimes"`, "longest line of 5", "keeping 10 octets"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v: does not say %s", err, want)
		}
	}
	if _, err := New(Options{Hostname: "x.test", NewHandler: func(*Conn) Handler { return nil }, TLS: TLSStart}); err == nil {
		t.Error("no certificate was asked for")
	}
}

type failing struct{ net.Listener }

func (failing) Accept() (net.Conn, error) { return nil, errors.New("too many open files") }

func TestAcceptFailureEndsServe(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, Options{})
		ln, err := b.net.Listen(t.Context(), benchAddr)
		if err != nil {
			t.Fatal(err)
		}
		if err := b.srv.Serve(t.Context(), failing{ln}); err == nil || !strings.Contains(err.Error(), "too many open files") {
			t.Error(err)
		}
	})
}
