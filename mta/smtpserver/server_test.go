// SPDX-License-Identifier: Apache-2.0

package smtpserver

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cockroachdb/datadriven"

	"github.com/seguemta/segue/mta/mtatest"
	"github.com/seguemta/segue/mta/rfc5321"
)

// recorder is a Handler that takes what it is given, but for some addresses,
// and writes everything down.
type recorder struct {
	c    *Conn
	log  *record
	from rfc5321.Address
	to   []string
	p    Params
	gate chan struct{} // Data waits for it where it is not nil
	busy chan struct{} // told when Data has begun
}

type record struct {
	sync.Mutex
	strings.Builder
}

func (r *record) printf(format string, args ...any) {
	r.Lock()
	defer r.Unlock()
	fmt.Fprintf(r, format, args...)
}

func (h *recorder) Mail(from rfc5321.Address, p Params) error {
	if from.Local == "secret" {
		return errors.New("a secret of ours")
	}
	h.from, h.p = from, p
	return nil
}

func (h *recorder) Rcpt(to rfc5321.Address) error {
	switch to.Local {
	case "no":
		return rfc5321.Refuse(550, rfc5321.EnhancedCode{5, 1, 1}, "no such mailbox")
	case "wrapped":
		return fmt.Errorf("looking: %w", rfc5321.Refuse(550, rfc5321.EnhancedCode{5, 1, 1}, "told to the client\r\n250 ok"))
	case "secret":
		return errors.New("a secret of ours")
	case "bye":
		return rfc5321.Refuse(421, rfc5321.EnhancedCode{4, 7, 0}, "go away")
	}
	h.to = append(h.to, to.String())
	return nil
}

func (h *recorder) Data(ctx context.Context, m Message) (rfc5321.Reply, error) {
	if h.gate != nil {
		h.busy <- struct{}{}
		select {
		case <-h.gate:
		case <-ctx.Done():
			h.log.printf("context ended\n")
			return rfc5321.Reply{}, ctx.Err()
		}
	}
	switch h.from.Local {
	case "disk":
		return rfc5321.Reply{}, errors.New("/var/lib/segue: no space left on device")
	case "policy":
		return rfc5321.Reply{}, fmt.Errorf("admitting: %w", rfc5321.Refuse(550, rfc5321.EnhancedCode{5, 7, 1}, "not as this sender"))
	case "panic":
		panic("a panic of ours")
	}
	data := string(m.Data)
	if len(data) > 200 {
		data = fmt.Sprintf("%s... %d octets", data[:20], len(data))
	}
	h.log.printf("message by %s at %s from <%s> to %s", h.c.Protocol(h.p.UTF8), h.c.Helo(), h.from, strings.Join(h.to, " "))
	if m.EightBit {
		h.log.printf(" 8bit")
	}
	if m.Truncated {
		h.log.printf(" truncated")
	}
	if h.p.EnvelopeID != "" {
		h.log.printf(" envid %s", h.p.EnvelopeID)
	}
	h.log.printf(": %q\n", data)
	return rfc5321.Reply{Code: 250, Enhanced: rfc5321.EnhancedCode{2, 0, 0}, Text: "queued as 7"}, nil
}

func (h *recorder) Reset() { h.from, h.to, h.p = rfc5321.Address{}, nil, Params{} }

// withAuth offers AUTH over TLS: anna has the password "tulip".
type withAuth struct{ *recorder }

func (h withAuth) AuthAllowed() bool { return h.c.TLS() }

func (h withAuth) Authenticate(_ context.Context, name string, password []byte) error {
	if name == "anna" && string(password) == "tulip" {
		return nil
	}
	return rfc5321.Refuse(535, rfc5321.EnhancedCode{5, 7, 8}, "wrong name or password")
}

// bench is a Server in an in-memory network.
type bench struct {
	t     *testing.T
	net   *mtatest.Net
	srv   *Server
	log   *record
	gate  chan struct{}
	busy  chan struct{}
	ended chan error
	tls   *tls.Config
	stop  context.CancelFunc
}

const benchAddr = "192.0.2.1:25"

func newBench(t *testing.T, opts Options) *bench {
	t.Helper()
	b := &bench{t: t, net: mtatest.NewNet(), log: &record{}, ended: make(chan error, 1)}
	cert, pool, err := mtatest.Certificate("mx.test")
	if err != nil {
		t.Fatal(err)
	}
	b.tls = &tls.Config{ServerName: "mx.test", RootCAs: pool}
	opts.Hostname = "mx.test"
	opts.TLSConfig = &tls.Config{Certificates: []tls.Certificate{cert}}
	opts.NewHandler = func(c *Conn) Handler {
		return withAuth{&recorder{c: c, log: b.log, gate: b.gate, busy: b.busy}}
	}
	if b.srv, err = New(opts); err != nil {
		t.Fatal(err)
	}
	return b
}

func (b *bench) start() *bench {
	b.t.Helper()
	ln, err := b.net.Listen(b.t.Context(), benchAddr)
	if err != nil {
		b.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	b.stop = cancel
	go func() { b.ended <- b.srv.Serve(ctx, ln) }()
	return b
}

func (b *bench) dial(from string) net.Conn {
	b.t.Helper()
	c, err := b.net.Dial(b.t.Context(), netip.MustParseAddr(from), netip.MustParseAddrPort(benchAddr))
	if err != nil {
		b.t.Fatal(err)
	}
	return c
}

func (b *bench) talk(from, script string) string {
	b.t.Helper()
	c := b.dial(from)
	defer c.Close()
	out, err := mtatest.Conversation(c, script, b.tls)
	if err != nil {
		b.t.Fatal(err)
	}
	return out
}

// close cuts what is left and checks that nothing stays behind.
func (b *bench) close() {
	b.t.Helper()
	b.stop()
	if err := <-b.ended; err != nil {
		b.t.Error(err)
	}
	if used := b.srv.opts.Bytes.Used(); used != 0 {
		b.t.Errorf("%d octets of the budget were not given back", used)
	}
	if len(b.srv.mu.conns) != 0 || len(b.srv.mu.perHost) != 0 {
		b.t.Error("connections were not forgotten")
	}
}

func TestConversations(t *testing.T) {
	datadriven.Walk(t, "testdata", func(t *testing.T, path string) {
		t.Helper()
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
			t.Helper()
			var out string
			synctest.Test(t, func(t *testing.T) {
				opts := Options{MaxSize: 2000, UTF8: true}
				from := "198.51.100.1"
				for _, a := range d.CmdArgs {
					switch a.Key {
					case "tls":
						opts.TLS = TLSMode(a.Vals[0])
					case "from":
						from = a.Vals[0]
					case "keep":
						d.ScanArgs(t, "keep", &opts.Keep)
					case "recipients":
						d.ScanArgs(t, "recipients", &opts.MaxRecipients)
					case "errors":
						d.ScanArgs(t, "errors", &opts.MaxErrors)
					case "idle":
						d.ScanArgs(t, "idle", &opts.MaxIdleCommands)
					case "bytes":
						var n int64
						d.ScanArgs(t, "bytes", &n)
						opts.Bytes = NewBudget(n)
					default:
						d.Fatalf(t, "unknown argument %s", a.Key)
					}
				}
				b := newBench(t, opts).start()
				out = b.talk(from, d.Input)
				b.close()
				out += b.log.String()
				if time.Since(time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)) > 24*time.Hour {
					t.Error("this took more than a day")
				}
			})
			return out
		})
	})
}
