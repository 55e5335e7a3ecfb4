// SPDX-License-Identifier: Apache-2.0

package mtatest_test

import (
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seguemta/segue/mta/mtatest"
)

var server = netip.MustParseAddrPort("203.0.113.25:25")

// pair returns both ends of a connection.
func pair(t *testing.T, n *mtatest.Net) (client, peer *mtatest.Conn) {
	t.Helper()
	ln, err := n.Listen(t.Context(), server.String())
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	c, err := n.Dial(t.Context(), netip.MustParseAddr("192.0.2.1"), server)
	if err != nil {
		t.Fatal(err)
	}
	p, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	return c.(*mtatest.Conn), p.(*mtatest.Conn)
}

func TestConnIsBufferedAndClosesEachDirection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, p := pair(t, mtatest.NewNet())
		if _, err := io.WriteString(c, "hello"); err != nil { // nobody reads yet
			t.Fatal(err)
		}
		_ = c.CloseWrite()
		if b, err := io.ReadAll(p); err != nil || string(b) != "hello" {
			t.Errorf("peer read %q, %v", b, err)
		}
		if _, err := io.WriteString(p, "bye"); err != nil {
			t.Errorf("the other direction is open: %v", err)
		}
		_ = p.Close()
		if b, err := io.ReadAll(c); err != nil || string(b) != "bye" {
			t.Errorf("read %q, %v", b, err)
		}
		if _, err := c.Write([]byte("x")); !errors.Is(err, syscall.EPIPE) {
			t.Errorf("write to nobody: %v", err)
		}
		if got := p.RemoteAddr().(*net.TCPAddr).AddrPort().Addr(); got != netip.MustParseAddr("192.0.2.1") {
			t.Errorf("peer sees %s", got)
		}
		_ = c.Close()
		if _, err := c.Read(make([]byte, 1)); !errors.Is(err, net.ErrClosed) {
			t.Errorf("read after close: %v", err)
		}
	})
}

func TestWindowBlocksAndDeadlinesEndTheWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := mtatest.NewNet()
		n.Window = 10
		c, p := pair(t, n)
		begin := time.Now()
		_ = c.SetWriteDeadline(begin.Add(time.Minute))
		k, err := c.Write(make([]byte, 25))
		if k != 10 || !errors.Is(err, os.ErrDeadlineExceeded) || time.Since(begin) != time.Minute {
			t.Errorf("wrote %d, %v after %s", k, err, time.Since(begin))
		}
		_ = c.SetWriteDeadline(time.Time{})
		time.AfterFunc(time.Hour, func() { _, _ = io.CopyN(io.Discard, p, 25) })
		if k, err := c.Write(make([]byte, 15)); k != 15 || err != nil || time.Since(begin) != time.Hour+time.Minute {
			t.Errorf("wrote %d, %v after %s", k, err, time.Since(begin))
		}
		_ = c.SetReadDeadline(time.Unix(1, 0))
		if _, err := c.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("a deadline in the past: %v", err)
		}
		synctest.Wait()
		_, _ = p.Write([]byte("lost"))
		p.Reset()
		if _, err := c.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("after a reset: %v", err)
		}
	})
}

func TestDialFates(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := mtatest.NewNet()
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if _, err := n.Dial(ctx, netip.Addr{}, server); !errors.Is(err, syscall.ECONNREFUSED) {
			t.Errorf("nobody listens: %v", err)
		}
		n.Blackhole(server)
		if _, err := n.Dial(ctx, netip.Addr{}, server); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("black hole: %v", err)
		}
		n.Fail(server, nil)
		n.Plumb(netip.MustParseAddr("192.0.2.1"))
		if _, err := n.Dial(t.Context(), netip.MustParseAddr("192.0.2.2"), server); !errors.Is(err, syscall.EADDRNOTAVAIL) {
			t.Errorf("a source we do not have: %v", err)
		}
		if got := len(n.Dials()); got != 3 {
			t.Errorf("%d dials", got)
		}
	})
}

// converse plays a client against an exchanger.
func converse(t *testing.T, e *mtatest.Exchanger, script string) string {
	t.Helper()
	n := mtatest.NewNet()
	if err := e.Start(n, server.String()); err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	c, err := n.Dial(t.Context(), netip.Addr{}, server)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	said, err := mtatest.Conversation(c, script, nil)
	if err != nil {
		t.Fatal(err)
	}
	return said
}

func TestExchangerTakesChunks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := &mtatest.Exchanger{Extensions: []string{"PIPELINING", "CHUNKING"}, Rules: mtatest.Script("chunk @3 : 552 5.3.4 too big", "bdat @6 : 500 5.5.1 what")}
		said := converse(t, e, `<
> MAIL FROM:<a@x.test>
> RCPT TO:<b@y.test>
raw "BDAT 3\r\n.\r\nBDAT 4 LAST\r\nab\r\n"
< 4
raw "BDAT 6 LAST\r\nRSET\r\n"
<
> MAIL FROM:<a@x.test>
> RCPT TO:<b@y.test>
raw "BDAT 3\r\n123BDAT 1 LAST\r\n4"
< 4
RSET
raw "BDAT 2\r\n\r\n"
< 2
`)
		want := `220 mx.test ESMTP
250 2.1.0 ok
250 2.1.5 ok
250 2.0.0 3 octets
250 2.0.0 queued
503 5.5.1 no message to add to
250 2.1.0 ok
250 2.1.5 ok
552 5.3.4 too big
503 5.5.1 no message to add to
250 2.0.0 flushed
500 5.5.1 what
500 5.5.2 unknown command
`
		if said != want {
			t.Errorf("it said\n%s", said)
		}
		if m := e.Messages(); len(m) != 1 || string(m[0].Data) != ".\r\nab\r\n" || len(e.Violations()) > 0 {
			t.Errorf("it has %+v, %q", m, e.Violations())
		}
	})
}

func TestExchangerWithoutPipeliningOrChunking(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for ext, script := range map[string]string{"CHUNKING": `raw "BDAT 1 LAST\r\nxNOOP\r\n"`, "PIPELINING": "> BDAT 0 LAST", "SIZE": `raw "NOOP\r\nNOOP\r\n"`} {
			e := &mtatest.Exchanger{Extensions: []string{ext}}
			converse(t, e, "<\n"+script+"\n<\n")
			if v := e.Violations(); len(v) != 1 {
				t.Errorf("%s: %q", ext, v)
			}
		}
	})
}

func TestExchangerDripsFloodsAndSips(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		e := &mtatest.Exchanger{Rules: mtatest.Script("mail : drip 1m 250 ok", "banner : flood 3 220-more then 220 end", "body : sip 2 1h")}
		said := converse(t, e, "<\nMAIL FROM:<a@x.test>\nRCPT TO:<b@y.test>\nDATA\n> 12345\nwait 150m\n")
		if said != "220-more\n220-more\n220-more\n220 end\n250 ok\n250 2.1.5 ok\n354 go ahead\n" {
			t.Errorf("it said\n%s", said)
		}
		if took := time.Since(began); took != 8*time.Minute+150*time.Minute {
			t.Errorf("it took %s", took)
		}
	})
}

func TestScriptRefusesWhatItCannotRead(t *testing.T) {
	for _, line := range []string{"mail", "nonsense : close", "mail @x : close", "mail : delay soon", "body : read many", "body : sip 5", "mail over=many : close", "mail from=me : close", "mail past=x : close", "mail open= : close", "mail for=ever : close", "mail over=1/x : close", "mail under=1 : close", "mail : drip 250", "ehlo : flood many 250"} {
		func() {
			defer func() { _ = recover() }()
			if rules := mtatest.Script(line); line != "mail @x : close" {
				t.Errorf("%q was read: %+v", line, rules)
			}
		}()
	}
	if rules := mtatest.Script("# nothing\n\nmail bob@ @3 : delay 1s then 450 later then close"); len(rules) != 1 || rules[0].Nth != 3 || rules[0].Match != "bob@" || len(rules[0].Acts) != 3 {
		t.Errorf("%+v", rules)
	}
}
