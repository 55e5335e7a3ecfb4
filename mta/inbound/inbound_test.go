// SPDX-License-Identifier: Apache-2.0

package inbound

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/cockroachdb/datadriven"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/seguemta/segue/mta/mtatest"
	"github.com/seguemta/segue/mta/smtpserver"
)

// diary writes down what the listener hands on.
type diary struct {
	sync.Mutex
	strings.Builder
}

func (d *diary) printf(format string, args ...any) {
	d.Lock()
	defer d.Unlock()
	fmt.Fprintf(d, format, args...)
}

func (d *diary) receive(_ context.Context, f *Feedback) error {
	if strings.Contains(string(f.Data), "disk full") {
		return errors.New("/var/lib/segue: no space left on device")
	}
	data := string(f.Data)
	if len(data) > 100 {
		data = fmt.Sprintf("%.20q... %d octets", data, len(data))
	} else {
		data = fmt.Sprintf("%q", data)
	}
	d.printf("%s for %s from <%s> by %s at %s truncated=%v: %s\n", f.Kind, f.Recipient, f.From, f.HELO, f.RemoteAddr, f.Truncated, data)
	return nil
}

// resolve knows a token of each kind and of each fault.
func resolve(local string) (Kind, Reason) {
	switch strings.ToLower(local) {
	case "b-token123":
		return Bounce, ""
	case "u-token123":
		return Unsubscribe, ""
	case "b-old":
		return Bounce, Expired
	case "b-forged":
		return Bounce, Forged
	case "u-next":
		return Unsubscribe, LaterVersion
	default:
		return Nobody, Unknown
	}
}

const addr = "192.0.2.1:25"

func talk(t *testing.T, opts Options, script string) string {
	t.Helper()
	n, d := mtatest.NewNet(), &diary{}
	cert, pool, err := mtatest.Certificate("mta1.example.net")
	if err != nil {
		t.Fatal(err)
	}
	opts.Hostname, opts.TLS, opts.TLSConfig = "mta1.example.net", smtpserver.TLSStart, &tls.Config{Certificates: []tls.Certificate{cert}}
	opts.Domains, opts.Resolve, opts.Receive = []string{"bounce.example.com", "bounce.example.org"}, resolve, d.receive
	opts.Unresolved = func(kind Kind, reason Reason) { d.printf("unresolved: %s %s\n", kind, reason) }
	s, err := New(opts)
	if err != nil {
		t.Fatal(err)
	}
	ln, err := n.Listen(t.Context(), addr)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- s.Serve(ctx, ln) }()
	c, err := n.Dial(t.Context(), netip.Addr{}, netip.MustParseAddrPort(addr))
	if err != nil {
		t.Fatal(err)
	}
	out, err := mtatest.Conversation(c, script, &tls.Config{ServerName: "mta1.example.net", RootCAs: pool})
	if err != nil {
		t.Fatal(err)
	}
	_ = c.Close()
	synctest.Wait()
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	return out + d.String()
}

func TestConversations(t *testing.T) {
	datadriven.Walk(t, "testdata", func(t *testing.T, path string) {
		t.Helper()
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
			t.Helper()
			var out string
			synctest.Test(t, func(t *testing.T) {
				var opts Options
				d.MaybeScanArgs(t, "keep", &opts.Keep)
				d.MaybeScanArgs(t, "max", &opts.MaxSize)
				out = talk(t, opts, d.Input)
			})
			return out
		})
	})
}

func TestShutdown(t *testing.T) {
	s, err := New(Options{
		Hostname: "x.example", Domains: []string{"b.example"}, Resolve: resolve, Receive: (&diary{}).receive,
		Registerer: prometheus.NewPedanticRegistry(),
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Shutdown(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestCounts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		reg := prometheus.NewPedanticRegistry()
		for range 2 { // the second listener adds to the counters of the first
			talk(t, Options{Registerer: reg}, "<\nEHLO x\nMAIL FROM:<>\nRCPT TO:<b-forged@bounce.example.com>\nRCPT TO:<x@y.example>\n"+
				"RCPT TO:<b-token123@bounce.example.com>\nDATA\n> .\n<\n")
		}
		want := `
			# HELP segue_feedback_total Mail at the feedback listener. Much forged is someone who makes bounces up, or tokens of a lost signing key; much relay is someone who looks for an open relay.
			# TYPE segue_feedback_total counter
			segue_feedback_total{result="bounce"} 2
			segue_feedback_total{result="forged"} 2
			segue_feedback_total{result="relay"} 2
		`
		if err := testutil.GatherAndCompare(reg, strings.NewReader(want), "segue_feedback_total"); err != nil {
			t.Error(err)
		}
	})
}

func TestOptionsAreChecked(t *testing.T) {
	_, err := New(Options{})
	for _, want := range []string{"no return-path domain", "nobody to resolve"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v: does not say %s", err, want)
		}
	}
	if _, err := New(Options{Domains: []string{"b.example"}, Resolve: resolve, Receive: (&diary{}).receive}); err == nil {
		t.Error("no hostname was asked for")
	}
}
