// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"net"
	"net/textproto"
	"strings"
	"sync"
	"testing"

	"github.com/seguemta/segue/mta/event"
	"github.com/seguemta/segue/mta/mtatest"
)

// signingKey is an RSA key in PEM, the same for all worlds: making one is slow.
var signingKey = func() func(t testing.TB) string {
	make := sync.OnceValues(func() (string, error) {
		key, err := rsa.GenerateKey(rand.Reader, 2048)
		if err != nil {
			return "", err
		}
		return string(pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)})), nil
	})
	return func(t testing.TB) string {
		t.Helper()
		text, err := make()
		if err != nil {
			t.Fatal(err)
		}
		return text
	}
}()

// client is a plain SMTP client; it says what it means and reads what it gets.
type client struct {
	*textproto.Conn
	raw net.Conn
}

// dial connects and greets.
func dial(addr string) (*client, error) {
	raw, err := net.Dial("tcp", addr)
	if err != nil {
		return nil, err
	}
	c := &client{textproto.NewConn(raw), raw}
	if _, _, err = c.ReadResponse(220); err == nil {
		err = c.cmd(250, "EHLO app.example.com")
	}
	if err != nil {
		_ = raw.Close()
		return nil, err
	}
	return c, nil
}

func (c *client) cmd(want int, format string, args ...any) error {
	if err := c.PrintfLine(format, args...); err != nil {
		return err
	}
	_, _, err := c.ReadResponse(want)
	return err
}

// send carries one message out and returns the text of the last reply.
func (c *client) send(from, text string, to ...string) (string, error) {
	if err := c.cmd(250, "MAIL FROM:<%s>", from); err != nil {
		return "", err
	}
	for _, a := range to {
		if err := c.cmd(250, "RCPT TO:<%s>", a); err != nil {
			return "", err
		}
	}
	if err := c.cmd(354, "DATA"); err != nil {
		return "", err
	}
	d := c.DotWriter()
	if _, err := d.Write([]byte(text)); err != nil {
		return "", err
	}
	if err := d.Close(); err != nil {
		return "", err
	}
	_, reply, err := c.ReadResponse(250)
	return reply, err
}

// letter is a small message; header lines end in \n.
func letter(header string) string {
	return header + "From: Shop <news@example.com>\nSubject: hello\n\nsecret-of-the-body\n"
}

// submit sends a message to the engine over SMTP and returns its id.
func (w *world) submit(header string, to ...string) string {
	w.t.Helper()
	c, err := dial(w.ip(1) + ":" + submissionPort)
	if err != nil {
		w.t.Fatal(err)
	}
	defer c.Close()
	reply, err := c.send("news@example.com", letter(header), to...)
	if err != nil {
		w.t.Fatal(err)
	}
	_, id, ok := strings.Cut(reply, "queued as ")
	if !ok {
		w.t.Fatalf("the reply names no id: %s", reply)
	}
	return strings.TrimSpace(id)
}

// submitEach sends a message to each of n addresses of a domain, over one connection.
func (w *world) submitEach(domain string, n int) {
	w.t.Helper()
	c, err := dial(w.ip(1) + ":" + submissionPort)
	if err != nil {
		w.t.Fatal(err)
	}
	defer c.Close()
	for i := range n {
		to := fmt.Sprintf("r%d@%s", i, domain)
		if _, err := c.send("news@example.com", letter(""), to); err != nil {
			w.t.Fatal(err)
		}
	}
}

// received counts messages by recipient.
func received(messages []mtatest.Message) map[string]int {
	m := map[string]int{}
	for i := range messages {
		for _, to := range messages[i].To {
			m[to]++
		}
	}
	return m
}

// events reads the whole log.
func (w *world) events() []event.Event {
	w.t.Helper()
	var list []event.Event
	for after := uint64(0); ; {
		page, err := w.api.Events(w.t.Context(), after, 5000)
		if err != nil {
			w.t.Fatal(err)
		}
		if len(page) == 0 {
			return list
		}
		list = append(list, page...)
		after = page[len(page)-1].Sequence
	}
}

// balance checks that every accepted recipient ended once, and returns how many
// events of each kind there are.
func (w *world) balance() map[event.Kind]int { return w.count(1) }

// balanceOpen checks that no recipient ended twice, while mail waits.
func (w *world) balanceOpen() map[event.Kind]int { return w.count(0) }

func (w *world) count(least int) map[event.Kind]int {
	w.t.Helper()
	type recipient struct {
		message uint64
		n       uint32
	}
	kinds := map[event.Kind]int{}
	ends := map[recipient]int{}
	for _, e := range w.events() {
		kinds[e.Kind]++
		r := recipient{e.Message, e.Recipient}
		switch {
		case e.Kind == event.Accepted:
			ends[r] += 0
		case e.Kind.Final():
			ends[r]++
		}
	}
	if len(ends) != kinds[event.Accepted] {
		w.t.Errorf("%d recipients are in the log, %d were accepted", len(ends), kinds[event.Accepted])
	}
	for r, n := range ends {
		if n < least || n > 1 {
			w.t.Errorf("recipient %v ended %d times", r, n)
		}
	}
	return kinds
}

// has reports whether an event of the kind about the address is in the log.
func (w *world) has(kind event.Kind, address string) bool {
	w.t.Helper()
	for _, e := range w.events() {
		if e.Kind == kind && e.Address == address {
			return true
		}
	}
	return false
}
