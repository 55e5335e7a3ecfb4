// SPDX-License-Identifier: Apache-2.0

package smtpclient_test

import (
	"bytes"
	"crypto/tls"
	"io"
	"net"
	"net/netip"
	"sync"
	"testing"
	"time"

	"github.com/emersion/go-smtp"

	"github.com/seguemta/segue/mta/mtatest"
	"github.com/seguemta/segue/mta/rfc5321"
	"github.com/seguemta/segue/mta/smtpclient"
)

// mailbox is a backend of another SMTP implementation.
type mailbox struct {
	mu   sync.Mutex
	data [][]byte
}

func (m *mailbox) NewSession(*smtp.Conn) (smtp.Session, error) { return m, nil }
func (m *mailbox) Mail(string, *smtp.MailOptions) error        { return nil }
func (m *mailbox) Reset()                                      {}
func (m *mailbox) Logout() error                               { return nil }

func (m *mailbox) Rcpt(to string, _ *smtp.RcptOptions) error {
	if to == "bob@example.org" {
		return &smtp.SMTPError{Code: 550, EnhancedCode: smtp.EnhancedCode{5, 1, 1}, Message: "no such user"}
	}
	return nil
}

func (m *mailbox) Data(r io.Reader) error {
	b, err := io.ReadAll(r)
	m.mu.Lock()
	defer m.mu.Unlock()
	m.data = append(m.data, b)
	return err
}

func TestRealSocketsTLSAndAnotherImplementation(t *testing.T) {
	cert, pool, err := mtatest.Certificate("mx1.example.org")
	if err != nil {
		t.Fatal(err)
	}
	box := &mailbox{}
	server := smtp.NewServer(box)
	server.Domain, server.TLSConfig, server.EnableSMTPUTF8 = "mx1.example.org", &tls.Config{Certificates: []tls.Certificate{cert}}, true
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go func() { _ = server.Serve(ln) }()
	defer server.Close()
	c, err := smtpclient.Dial(t.Context(), smtpclient.Options{
		Local: netip.MustParseAddr("127.0.0.1"), Remote: ln.Addr().(*net.TCPAddr).AddrPort(), Host: "mx1.example.org", Hello: "localhost",
		TLS: smtpclient.TLSVerified, TLSConfig: &tls.Config{RootCAs: pool},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if c.TLS() == nil || len(c.TLS().VerifiedChains) == 0 || !c.Extensions().Pipelining {
		t.Errorf("TLS %v, extensions %+v", c.TLS(), c.Extensions())
	}
	big := bytes.Repeat([]byte(".line with a dot\r\n..two\r\n.\r\n"), 20_000)
	for _, body := range [][]byte{[]byte(".\r\n"), []byte("a\r\n\r\n.b"), big} {
		to := []rfc5321.Address{{Local: "a", Domain: "example.org"}, {Local: "bob", Domain: "example.org"}}
		res := c.Send(t.Context(), &smtpclient.Transaction{From: rfc5321.Address{Local: "s", Domain: "example.net"}, To: to, Parts: [][]byte{[]byte("H: x\r\n\r\n"), body}})
		if res.Err != nil || !res.Recipients[0].Delivered() || res.Recipients[1].Enhanced != (rfc5321.EnhancedCode{5, 1, 1}) {
			t.Fatalf("%+v", res)
		}
		got := box.data[len(box.data)-1]
		want := append([]byte("H: x\r\n\r\n"), body...)
		if !bytes.HasSuffix(want, []byte("\r\n")) {
			want = append(want, "\r\n"...)
		}
		if !bytes.Equal(got, want) {
			t.Errorf("%d octets arrived, %d sent", len(got), len(want))
		}
	}
}

func TestRealPeerThatStopsReadingDoesNotHangUs(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	stop := make(chan struct{})
	defer close(stop)
	go func() {
		c, err := ln.Accept()
		if err != nil {
			return
		}
		defer c.Close()
		b := make([]byte, 512)
		for _, say := range []string{"220 hi\r\n", "250 hi\r\n", "250 ok\r\n", "250 ok\r\n", "354 go\r\n"} {
			_, _ = io.WriteString(c, say)
			if say != "354 go\r\n" {
				_, _ = c.Read(b)
			}
		}
		<-stop
	}()
	c, err := smtpclient.Dial(t.Context(), smtpclient.Options{
		Remote: ln.Addr().(*net.TCPAddr).AddrPort(), Hello: "localhost", Timeouts: smtpclient.Timeouts{Write: 200 * time.Millisecond},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	body := bytes.Repeat([]byte("0123456789\r\n"), 2<<20)
	res := c.Send(t.Context(), &smtpclient.Transaction{To: []rfc5321.Address{{Local: "a", Domain: "example.org"}}, Parts: [][]byte{body}})
	if res.Err == nil || res.Err.Phase != smtpclient.PhaseBody || !res.Err.Timeout() || res.Err.Sent {
		t.Errorf("%+v", res)
	}
}
