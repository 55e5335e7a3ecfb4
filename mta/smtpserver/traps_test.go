// SPDX-License-Identifier: Apache-2.0

package smtpserver

import (
	"fmt"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
)

const envelope = "MAIL FROM:<a@x.test>\r\nRCPT TO:<b@y.test>\r\n"

// A chunk that arrives with its command in one read: its lines are text, however
// long, and count for nothing but themselves.
func TestALongLineWithinAChunkIsNoCommandLine(t *testing.T) {
	for _, x := range []struct {
		line int
		want string
	}{{990, "250 2.0.0 queued as 7"}, {5000, "550 5.6.0 line 1 is longer than 998 octets"}, {maxCommand + 100, "550 5.6.0 line 1 is longer"}} {
		synctest.Test(t, func(t *testing.T) {
			b := newBench(t, Options{}).start()
			text := strings.Repeat("x", x.line) + "\r\n"
			out := b.talk("198.51.100.1", "<\nEHLO c.test\nraw "+quote(fmt.Sprintf("%sBDAT %d LAST\r\n%sNOOP\r\n", envelope, len(text), text))+"\n< 4\n")
			b.close()
			if !strings.Contains(out, "recipient ok\n"+x.want) || !strings.HasSuffix(out, "250 2.0.0 I have successfully done nothing\n") {
				t.Errorf("a line of %d octets in a chunk was answered\n%s", x.line, out)
			}
		})
	}
}

// A size is a promise. Memory is taken as octets come, so that a few clients who
// promise much and send nothing leave room for those who send.
func TestPromisesTakeNoMemory(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, Options{Bytes: NewBudget(100 << 20)}).start()
		for range 20 {
			b.dialAndSay("EHLO c.test\r\n" + envelope + "BDAT 25000000 LAST\r\n")
			b.dialAndSay("EHLO c.test\r\nMAIL FROM:<a@x.test> SIZE=25000000\r\nRCPT TO:<b@y.test>\r\nDATA\r\n")
		}
		synctest.Wait()
		if used := b.srv.opts.Bytes.Used(); used != 0 {
			t.Errorf("promises of 40 messages took %d octets", used)
		}
		for range 5 {
			b.dialAndSay("EHLO c.test\r\n" + envelope + "BDAT 25000000 LAST\r\nx")
		}
		synctest.Wait()
		if used := b.srv.opts.Bytes.Used(); used > 5*maxFirstBody {
			t.Errorf("five octets took %d", used)
		}
		out := b.talk("198.51.100.9", "<\nEHLO c.test\nMAIL FROM:<a@x.test>\nRCPT TO:<b@y.test>\nDATA\n> hello\n> .\n<\n")
		if !strings.HasSuffix(out, "250 2.0.0 queued as 7\n") {
			t.Errorf("who sends was answered\n%s", out)
		}
		b.close()
	})
}

// dialAndSay leaves a connection behind on which something was said.
func (b *bench) dialAndSay(text string) {
	b.t.Helper()
	if _, err := b.dial("198.51.100.1").Write([]byte(text)); err != nil {
		b.t.Fatal(err)
	}
}

// counting counts the writes to its connections.
type counting struct {
	net.Listener
	writes *atomic.Int64
}

func (l counting) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return countingConn{c, l.writes}, nil
}

type countingConn struct {
	net.Conn
	writes *atomic.Int64
}

func (c countingConn) Write(p []byte) (int, error) {
	c.writes.Add(1)
	return c.Conn.Write(p)
}

// Replies to a pipelined group leave together (RFC 2920 section 3.2).
func TestRepliesOfAGroupLeaveInOneWrite(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, Options{})
		ln, err := b.net.Listen(t.Context(), benchAddr)
		if err != nil {
			t.Fatal(err)
		}
		var writes atomic.Int64
		ended := make(chan error, 1)
		go func() { ended <- b.srv.Serve(t.Context(), counting{ln, &writes}) }()
		c, r := hello(t, b)
		before := writes.Load()
		group := "MAIL FROM:<a@x.test>\r\n" + strings.Repeat("RCPT TO:<b@y.test>\r\n", 50) + "DATA\r\n"
		if _, err := c.Write([]byte(group)); err != nil {
			t.Fatal(err)
		}
		for range 52 {
			if got := ask(t, c, r, ""); got[0] != '2' && got[0] != '3' {
				t.Fatal(got)
			}
		}
		if n := writes.Load() - before; n != 1 {
			t.Errorf("52 replies left in %d writes", n)
		}
		if got := ask(t, c, r, "x\r\n."); got != "250 2.0.0 queued as 7" {
			t.Error(got)
		}
		if err := b.srv.Shutdown(t.Context()); err != nil {
			t.Error(err)
		}
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}
