// SPDX-License-Identifier: Apache-2.0

package smtpserver

import (
	"bufio"
	"context"
	"io"
	"net"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seguemta/segue/mta/mtatest"
	"github.com/seguemta/segue/mta/rfc5321"
)

// smuggled is every end of text that some server has taken for the true one.
// None may end a message here, none may reach a handler.
var smuggled = []string{
	"\n.\n", "\r.\r", "\r\n.\r", "\n.\r\n", "\r.\r\n", "\r\n.\n", "\r\r\n.\r\r\n", "\r\r\n.\r\n", "\r\n.\r\r\n", "\n.\r",
	"\r\n\x00.\r\n", "\r\n.\x00\r\n", "\x00\r\n.\r\n", "\r\n.\r\x00\n", "\r\x00\n.\r\n", "\n\x00.\n",
	"\r\n.\rx\r\n", "\r.\n", "\n\n.\n\n", "\u2028.\u2028\r\n\n",
}

func TestSmuggling(t *testing.T) {
	for _, mode := range []string{"none", "implicit"} {
		for _, end := range smuggled {
			for _, pieces := range []bool{false, true} {
				synctest.Test(t, func(t *testing.T) {
					b := newBench(t, Options{TLS: TLSMode(mode)}).start()
					script := "<\nEHLO client.test\nMAIL FROM:<a@x.test>\nRCPT TO:<b@y.test>\nDATA\n"
					if mode == "implicit" {
						script = "handshake\n" + script
					}
					text := "first" + end + "MAIL FROM:<evil@x.test>\r\nRCPT TO:<victim@y.test>\r\nDATA\r\nsecond\r\n.\r\n"
					if pieces {
						for i := range len(text) {
							script += "raw " + quote(text[i:i+1]) + "\n"
						}
					} else {
						script += "raw " + quote(text) + "\n"
					}
					out := b.talk("198.51.100.1", script+"< 9\n")
					b.close()
					_, tail, _ := strings.Cut(out, "354 ")
					_, tail, _ = strings.Cut(tail, "\n")
					if !strings.HasPrefix(tail, "550 ") || strings.Count(tail, "\n") != 2 || !strings.HasSuffix(tail, "(closed)\n") {
						t.Errorf("%q (%s, in pieces: %v) was answered %q", end, mode, pieces, tail)
					}
					if b.log.String() != "" {
						t.Errorf("%q (%s, in pieces: %v) let through %s", end, mode, pieces, b.log)
					}
				})
			}
		}
	}
}

// quote is a Go string that strconv.Unquote gives back octet by octet.
func quote(s string) string {
	const hex = "0123456789abcdef"
	var q strings.Builder
	q.WriteByte('"')
	for i := range len(s) {
		q.WriteString(`\x`)
		q.WriteByte(hex[s[i]>>4])
		q.WriteByte(hex[s[i]&15])
	}
	q.WriteByte('"')
	return q.String()
}

// TestSmugglingStops sends only the false end and then waits, as a client does
// that takes it for the true one: the answer must not take a timeout.
func TestSmugglingStops(t *testing.T) {
	for _, end := range smuggled {
		if strings.HasSuffix(end, "\r") {
			continue // the octet that would tell has not come
		}
		synctest.Test(t, func(t *testing.T) {
			b := newBench(t, Options{}).start()
			begin := time.Now()
			b.talk("198.51.100.1", "<\nEHLO c.test\nMAIL FROM:<a@x.test>\nRCPT TO:<b@y.test>\nDATA\nraw "+quote("first"+end)+"\n< 2\n")
			if d := time.Since(begin); d > 5*time.Second {
				t.Errorf("%q: answered after %v", end, d)
			}
			b.close()
		})
	}
}

// FuzzConn sends anything at a Server. It must end, give every octet of memory
// back, and hand on clean messages only.
func FuzzConn(f *testing.F) {
	const hello = "EHLO c.test\r\nMAIL FROM:<a@x.test>\r\nRCPT TO:<b@y.test>\r\n"
	f.Add([]byte(hello + "DATA\r\nx\r\n.\r\nQUIT\r\n"))
	f.Add([]byte(hello + "BDAT 3\r\nabcBDAT 2 LAST\r\n\r\nNOOP\r\n"))
	f.Add([]byte(hello + "DATA\r\nx\n.\nMAIL FROM:<a@x.test>\r\n"))
	f.Add([]byte("EHLO c.test\r\nAUTH LOGIN\r\nYW5uYQ==\r\ndHVsaXA=\r\nMAIL FROM:<\"> <\"@x.test>\r\n"))
	f.Add([]byte("STARTTLS\r\nEHLO x\r\n"))
	for _, s := range smuggled {
		f.Add([]byte(hello + "DATA\r\nx" + s + "y\r\n.\r\n"))
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		synctest.Test(t, func(t *testing.T) {
			b := newBench(t, Options{MaxSize: 500, Keep: 300, Bytes: NewBudget(40000), UTF8: true}).start()
			b.srv.opts.NewHandler = func(c *Conn) Handler { return checker{t: t, recorder: &recorder{c: c, log: b.log}} }
			c := b.dial("198.51.100.1")
			var replies string
			done := make(chan struct{})
			go func() {
				defer close(done)
				r := bufio.NewReader(c)
				for {
					line, err := r.ReadString('\n')
					if err != nil {
						return
					}
					if len(line) < 5 || !strings.HasSuffix(line, "\r\n") || line[0] < '2' || line[0] > '5' {
						t.Errorf("reply %q", line)
					}
					replies += line
				}
			}()
			_, _ = c.Write(in)
			if h, ok := c.(*mtatest.Conn); ok {
				_ = h.CloseWrite()
			}
			<-done
			_ = c.Close()
			b.close()
			if !strings.HasPrefix(replies, "220 ") {
				t.Errorf("began with %q", replies)
			}
		})
	})
}

type checker struct {
	*recorder
	t *testing.T
}

func (h checker) Data(ctx context.Context, m Message) (rfc5321.Reply, error) {
	if _, err := checkText(m.Data, 998); err != nil || len(m.Data) > 302 {
		h.t.Errorf("%d octets, %v: %q", len(m.Data), err, m.Data)
	}
	if n := len(m.Data); n > 0 && m.Data[n-1] != '\n' {
		h.t.Errorf("no line end at the end of %q", m.Data)
	}
	for _, a := range append(h.to, h.from.String()) {
		if b, err := rfc5321.ParseAddress(a); a != "" && (err != nil || b.String() != a) {
			h.t.Errorf("address %q: %v", a, err)
		}
	}
	if strings.ContainsFunc(h.c.Helo(), func(r rune) bool { return r <= ' ' || r > '~' }) {
		h.t.Errorf("name %q", h.c.Helo())
	}
	return h.recorder.Data(ctx, m)
}

func (h checker) AuthAllowed() bool { return true }

func (h checker) Authenticate(context.Context, string, []byte) error { return nil }

func TestIPv6AndMapped(t *testing.T) {
	for in, want := range map[string][2]string{
		"192.0.2.7:25":              {"192.0.2.7", "192.0.2.7/32"},
		"[::ffff:192.0.2.7]:25":     {"192.0.2.7", "192.0.2.7/32"},
		"[2001:db8:1:2:3:4:5:6]:25": {"2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"},
		"[fe80::1%eth0]:25":         {"fe80::1", "fe80::/64"},
	} {
		a := remoteAddr(addrConn{addr: in})
		if a.String() != want[0] || hostOf(a).String() != want[1] {
			t.Errorf("%s: %s, counted as %s", in, a, hostOf(a))
		}
	}
	if remoteAddr(addrConn{addr: "pipe"}).IsValid() || hostOf(netip.Addr{}).IsValid() {
		t.Error("a pipe has an address")
	}
}

type addrConn struct {
	net.Conn
	addr string
}

func (c addrConn) RemoteAddr() net.Addr { return addrConn{addr: c.addr} }
func (c addrConn) Network() string      { return "tcp" }
func (c addrConn) String() string       { return c.addr }

var _ io.Reader = addrConn{}
