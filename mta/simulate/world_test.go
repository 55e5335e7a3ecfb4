// SPDX-License-Identifier: Apache-2.0

package simulate

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"net"
	"net/netip"
	"net/textproto"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/seguemta/segue/mta/arf"
	"github.com/seguemta/segue/mta/dsn"
)

// clock is a clock that tests turn.
type clock struct {
	mu sync.Mutex
	at time.Time
}

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.at
}

func (c *clock) add(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.at = c.at.Add(d)
}

// small is four people at four domains.
func small() *Population {
	p := &Population{
		People: []Person{
			{Address: "ann@a.test"},
			{Address: "gone@a.test", Dead: true},
			{Address: "bob@b.test"},
			{Address: "late@c.test", Dead: true},
			{Address: "cut@d.test"},
		},
		Domains: []Domain{{"a.test", "strict"}, {"b.test", "grey"}, {"c.test", "late"}, {"d.test", "rude"}, {typoDomain, ""}},
		index:   map[string]int{},
	}
	for i := range p.People {
		p.index[p.People[i].Address] = i
	}
	return p
}

func tempers() []Temper {
	at := func(n byte) netip.Addr { return netip.AddrFrom4([4]byte{127, 0, 0, n}) }
	return []Temper{
		{Name: "strict", Address: at(2), Zone: "strict.test", Connections: 1, Quota: 2},
		{Name: "grey", Address: at(3), Zone: "grey.test", Greylist: 1, GreylistFor: time.Second, Complain: 1},
		{Name: "late", Address: at(4), Zone: "late.test", Late: true, PerSecond: 2},
		{Name: "rude", Address: at(5), Zone: "rude.test", HostPerDomain: true, Drop: 1},
	}
}

func open(t *testing.T, c *clock) *World {
	t.Helper()
	w, err := Open(t.Context(), Options{Population: small(), Tempers: tempers(), Now: c.now})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- w.Run(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return w
}

// typist is a hand that types SMTP.
type typist struct {
	t *testing.T
	c net.Conn
	r *textproto.Reader
}

func dial(t *testing.T, w *World, host byte) *typist {
	t.Helper()
	c, err := net.Dial("tcp", fmt.Sprintf("127.0.0.%d:%d", host, w.Port()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	c.SetDeadline(time.Now().Add(10 * time.Second))
	return &typist{t, c, textproto.NewReader(bufio.NewReader(c))}
}

// talk sends lines at once and compares the codes of the replies.
func (c *typist) talk(lines string, codes ...int) {
	c.t.Helper()
	if lines != "" {
		fmt.Fprintf(c.c, "%s\r\n", strings.ReplaceAll(lines, "\n", "\r\n"))
	}
	for _, code := range codes {
		if _, msg, err := c.r.ReadResponse(code); err != nil {
			c.t.Fatalf("after %q: %v %s", lines, err, msg)
		}
	}
}

func TestSession(t *testing.T) {
	t.Parallel()
	w := open(t, &clock{at: noon()})
	c := dial(t, w, 2)
	c.talk("", 220)
	c.talk("MAIL FROM:<x@y>", 503)
	c.talk("EHLO me\nBLAH\nRCPT TO:<ann@a.test>\nMAIL FROM:x@y", 250, 500, 503, 501)
	c.talk("MAIL FROM:<x@y> SIZE=5\nRCPT TO:<ann@a.test>\nRCPT TO:<gone@a.test>\nRCPT TO:<nobody@a.test>\nRCPT TO:<bob@b.test>\nDATA",
		250, 250, 550, 550, 550, 354)
	c.talk("Subject: dots\n\n..stuffed\n.", 250)

	second := dial(t, w, 2)
	second.talk("", 421) // one connection at a time

	c.talk("MAIL FROM:<x@y>\nRCPT TO:<ann@a.test>\nDATA", 250, 250, 354)
	c.talk("\n.", 250)
	c.talk("MAIL FROM:<x@y>", 421) // the quota of a client without history
	got := w.Counts()
	if got.Received != 2 || got.Rejected != 3 || got.Refused != 1 || got.Deferred != 1 || got.BySource[netip.MustParseAddr("127.0.0.1")] != 2 {
		t.Errorf("counted %+v", got)
	}
}

func TestGreylistAndRate(t *testing.T) {
	t.Parallel()
	clk := &clock{at: noon()}
	w := open(t, clk)
	c := dial(t, w, 3)
	c.talk("", 220)
	c.talk("EHLO me\nMAIL FROM:<x@y>\nRCPT TO:<bob@b.test>\nRCPT TO:<bob@b.test>", 250, 250, 451, 451)
	clk.add(2 * time.Second)
	c.talk("RCPT TO:<bob@b.test>", 250)

	c = dial(t, w, 4)
	c.talk("", 220)
	c.talk("EHLO me\nMAIL FROM:<x@y>\nRCPT TO:<late@c.test>\nRCPT TO:<late@c.test>\nRCPT TO:<late@c.test>", 250, 250, 250, 250, 451)
	clk.add(time.Second)
	c.talk("RCPT TO:<late@c.test>", 250)
}

// TestDrop: the connection is cut before the final dot, once.
func TestDrop(t *testing.T) {
	t.Parallel()
	w := open(t, &clock{at: noon()})
	for _, cut := range []bool{true, false} {
		c := dial(t, w, 5)
		c.talk("", 220)
		c.talk("EHLO me\nMAIL FROM:<x@y>\nRCPT TO:<cut@d.test>\nDATA", 250, 250, 250, 354)
		fmt.Fprint(c.c, "Subject: x\r\n\r\n.\r\n")
		line, err := c.r.ReadLine()
		if cut != (err != nil) {
			t.Errorf("cut %v: read %q, %v", cut, line, err)
		}
	}
	if got := w.Counts(); got.Received != 1 || got.Dropped != 1 {
		t.Errorf("counted %+v", got)
	}
}

// TestFeedback sends what a late bouncer and a complainer send, and reads it with
// the engine's parsers.
func TestFeedback(t *testing.T) {
	t.Parallel()
	clk := &clock{at: noon()}
	w := open(t, clk)
	mails := make(chan [2]string, 4)
	ln := fakeListener(t, mails)
	w.ReturnTo(ln, "fbl@bounce.test")
	for _, x := range []struct {
		host byte
		to   string
	}{{4, "late@c.test"}, {3, "bob@b.test"}} {
		c := dial(t, w, x.host)
		c.talk("", 220)
		c.talk("EHLO me\nMAIL FROM:<token@bounce.test>", 250, 250)
		if x.host == 3 {
			c.talk("RCPT TO:<"+x.to+">", 451)
			clk.add(2 * time.Second)
		}
		c.talk("RCPT TO:<"+x.to+">\nDATA", 250, 354)
		c.talk("X-Segue-Ref: ref\nSubject: x\n\nbody\n.", 250)
	}
	clk.add(2 * returnAfter)
	for range 2 {
		var m [2]string
		select {
		case m = <-mails:
		case <-time.After(10 * time.Second):
			t.Fatal("no feedback came")
		}
		switch m[0] {
		case "token@bounce.test":
			r, err := dsn.Parse([]byte(m[1]))
			if err != nil || len(r.Recipients) != 1 || r.Recipients[0].Final != "late@c.test" || r.Recipients[0].Status != [3]int{5, 1, 1} || r.Returned.Get("X-Segue-Ref") != "ref" {
				t.Errorf("notification: %v %+v", err, r)
			}
		case "fbl@bounce.test":
			r, err := arf.Parse([]byte(m[1]))
			if err != nil || !r.Type.Complaint() || r.Returned.Get("X-Segue-Ref") != "ref" {
				t.Errorf("complaint: %v %+v", err, r)
			}
		default:
			t.Errorf("mail to %q", m[0])
		}
	}
}

// fakeListener takes mail and passes on recipient and text.
func fakeListener(t *testing.T, mails chan<- [2]string) netip.AddrPort {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close() })
	go func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				r := textproto.NewReader(bufio.NewReader(c))
				to := ""
				fmt.Fprint(c, "220 hi\r\n")
				for {
					line, err := r.ReadLine()
					switch {
					case err != nil:
						return
					case strings.HasPrefix(line, "RCPT TO:"):
						to = strings.Trim(line[len("RCPT TO:"):], "<>")
					case line == "DATA":
						fmt.Fprint(c, "354 go\r\n")
						b, _ := r.ReadDotBytes()
						mails <- [2]string{to, string(bytes.ReplaceAll(b, []byte("\n"), []byte("\r\n")))}
					}
					fmt.Fprint(c, "250 ok\r\n")
				}
			}()
		}
	}()
	return ln.Addr().(*net.TCPAddr).AddrPort()
}

func TestDNS(t *testing.T) {
	t.Parallel()
	w := open(t, &clock{at: noon()})
	w.Publish("k._domainkey.x.test", strings.Repeat("p", 300))
	ask := func(network, name string, kind uint16) *dns.Msg {
		t.Helper()
		q := new(dns.Msg).SetQuestion(dns.Fqdn(name), kind)
		m, _, err := (&dns.Client{Net: network}).Exchange(q, w.Resolver().String())
		if err != nil {
			t.Fatal(err)
		}
		return m
	}
	for _, network := range []string{"udp", "tcp"} {
		if m := ask(network, "a.test", dns.TypeMX); len(m.Answer) != 2 || m.Answer[0].(*dns.MX).Mx != "mx1.strict.test." {
			t.Errorf("%s: MX of a.test: %v", network, m)
		}
	}
	if m := ask("udp", "d-test.rude.test", dns.TypeA); len(m.Answer) != 1 || m.Answer[0].(*dns.A).A.String() != "127.0.0.5" {
		t.Errorf("A of the host of d.test: %v", m)
	}
	if m := ask("udp", typoDomain, dns.TypeMX); m.Rcode != dns.RcodeNameError || len(m.Ns) != 1 {
		t.Errorf("a typing error: %v", m)
	}
	if m := ask("udp", "a.test", dns.TypeAAAA); m.Rcode != dns.RcodeSuccess || len(m.Answer) != 0 || len(m.Ns) != 1 {
		t.Errorf("no such type: %v", m)
	}
	if m := ask("udp", "rude.test", dns.TypeA); m.Rcode != dns.RcodeSuccess {
		t.Errorf("a name above others: %v", m)
	}
	if m := ask("tcp", "k._domainkey.x.test", dns.TypeTXT); len(strings.Join(m.Answer[0].(*dns.TXT).Txt, "")) != 300 {
		t.Errorf("a long text: %v", m)
	}
}

// FuzzSession: whatever a client says, the server answers or hangs up.
func FuzzSession(f *testing.F) {
	f.Add([]byte("EHLO x\r\nMAIL FROM:<a@b>\r\nRCPT TO:<ann@a.test>\r\nDATA\r\nx\r\n.\r\nQUIT\r\n"))
	f.Add([]byte("MAIL FROM:<\r\nRCPT\r\n\r\n\n.\r\nDATA\r\n"))
	f.Add([]byte("EHLO x\r\nMAIL FROM:<a@b>\r\nRCPT TO:<ann@a.test>\r\nBDAT 3\r\na\r\nBDAT 4 LAST\r\nb\r\nBDAT x\r\n"))
	f.Add([]byte("HELO\r\nRSET\r\nNOOP\r\nRCPT TO: <@>\r\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		w := &World{o: Options{Population: small(), Now: noon}, zone: newZone(), byDomain: map[string]*provider{}, returns: newReturns()}
		p := newProvider(w, &Temper{Name: "strict", Zone: "strict.test"})
		w.providers = []*provider{p}
		w.byDomain["a.test"] = p
		here, there := net.Pipe()
		go func() {
			here.Write(text)
			here.Close()
		}()
		s := p.session(deaf{there}, netip.Addr{})
		s.Chunking = true
		s.Serve(t.Context())
		there.Close()
		if n := bytes.Count(bytes.ToUpper(text), []byte("DAT")); p.counts.Received > n*maxTargets {
			t.Errorf("%d recipients for %d messages", p.counts.Received, n)
		}
	})
}

// deaf is a connection whose peer does not listen.
type deaf struct{ net.Conn }

func (deaf) Write(b []byte) (int, error) { return len(b), nil }
