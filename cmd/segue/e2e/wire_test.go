// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"bufio"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"io"
	"net"
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"
)

// wire is a client that sends whatever octets it likes. A server that has closed
// is for the next reply to find out.
type wire struct {
	t   testing.TB
	tcp *net.TCPConn
	net.Conn
	r *bufio.Reader
}

// wire connects from the nth address of the world to a port of the engine.
func (w *world) wire(from int, port string) *wire {
	w.t.Helper()
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(w.ip(from))}, Timeout: patience}
	raw, err := d.Dial("tcp", w.ip(1)+":"+port)
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { _ = raw.Close() })
	_ = raw.SetDeadline(time.Now().Add(patience))
	return &wire{t: w.t, tcp: raw.(*net.TCPConn), Conn: raw, r: bufio.NewReader(raw)}
}

// wireTLS is wire on a port with TLS from the first octet.
func (w *world) wireTLS(from int, port string) *wire {
	w.t.Helper()
	c := w.wire(from, port)
	c.handshake()
	return c
}

func (c *wire) handshake() {
	c.t.Helper()
	over := tls.Client(c.Conn, &tls.Config{InsecureSkipVerify: true})
	if err := over.Handshake(); err != nil {
		c.t.Fatal(err)
	}
	c.Conn, c.r = over, bufio.NewReader(over)
}

func (c *wire) say(text string) { _, _ = io.WriteString(c.Conn, text) }

// dribble says it octet by octet.
func (c *wire) dribble(text string) {
	for i := range len(text) {
		c.say(text[i : i+1])
	}
}

// reply is the last line of the next reply, "closed" where there is none.
func (c *wire) reply() string {
	for {
		line, err := c.r.ReadString('\n')
		if err != nil {
			if errors.Is(err, os.ErrDeadlineExceeded) {
				c.t.Errorf("no reply within %s", patience)
			}
			return "closed"
		}
		if len(line) < 4 || line[3] != '-' {
			return strings.TrimSpace(line)
		}
	}
}

// rest is every reply until the server closes.
func (c *wire) rest() []string {
	var list []string
	for {
		r := c.reply()
		if r == "closed" {
			return list
		}
		list = append(list, r)
	}
}

// ask says lines one by one and expects a code for each.
func (c *wire) ask(want string, lines ...string) {
	c.t.Helper()
	for _, line := range lines {
		c.say(line + "\r\n")
		c.expect(want)
	}
}

func (c *wire) expect(want string) {
	c.t.Helper()
	if got := c.reply(); !strings.HasPrefix(got, want) {
		c.t.Errorf("answered %q, not %s", got, want)
	}
}

// ends expects replies of these codes, and then that the server closes.
func (c *wire) ends(want ...string) {
	c.t.Helper()
	got := c.rest()
	if len(got) != len(want) {
		c.t.Errorf("answered %q, not %q", got, want)
		return
	}
	for i := range want {
		if !strings.HasPrefix(got[i], want[i]) {
			c.t.Errorf("answered %q, not %q", got, want)
		}
	}
}

// reset closes with RST, as a process that is killed with unread input.
func (c *wire) reset() {
	_ = c.tcp.SetLinger(0)
	_ = c.tcp.Close()
}

// plain is the argument of AUTH PLAIN.
func plain(name, password string) string {
	return base64.StdEncoding.EncodeToString([]byte("\x00" + name + "\x00" + password))
}

// kilobytes reads a field such as VmRSS of what the kernel says about the process.
func (p *process) kilobytes(field string) int {
	p.t.Helper()
	text, err := os.ReadFile("/proc/" + strconv.Itoa(p.cmd.Process.Pid) + "/status")
	if err != nil {
		p.t.Fatal(err)
	}
	m := regexp.MustCompile(`(?m)^` + field + `:\s+(\d+) kB`).FindStringSubmatch(string(text))
	if m == nil {
		p.t.Fatalf("no %s in\n%s", field, text)
	}
	n, err := strconv.Atoi(m[1])
	if err != nil {
		p.t.Fatal(err)
	}
	return n
}
