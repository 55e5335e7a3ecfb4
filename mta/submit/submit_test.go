// SPDX-License-Identifier: Apache-2.0

package submit

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
	"time"

	"github.com/cockroachdb/datadriven"

	"github.com/seguemta/segue/mta/mtatest"
	"github.com/seguemta/segue/mta/rfc5321"
	"github.com/seguemta/segue/mta/smtpserver"
)

// cheap is a hash of a password that costs nothing to check.
func cheap(password string) string {
	h := hash{memory: 8, passes: 1, lanes: 1, salt: []byte("saltsalt")}
	h.key = h.derive([]byte(password), 16)
	return h.String()
}

// ledger is an admission that writes down what it takes.
type ledger struct {
	sync.Mutex
	strings.Builder
	n int
}

func (l *ledger) admit(_ context.Context, e *Envelope) (string, error) {
	l.Lock()
	defer l.Unlock()
	switch e.From.Local {
	case "disk":
		return "", errors.New("/var/lib/segue: no space left on device")
	case "policy":
		return "", fmt.Errorf("admitting: %w", rfc5321.Refuse(550, rfc5321.EnhancedCode{5, 7, 1}, "header says otherwise"))
	}
	l.n++
	to := make([]string, 0, len(e.To))
	for _, a := range e.To {
		to = append(to, a.String())
	}
	fmt.Fprintf(l, "%s %v submits by %s at %s from <%s> to %s, %d octets", e.Credential, e.Streams, e.Protocol, e.RemoteAddr, e.From, strings.Join(to, " "), len(e.Data))
	if e.EnvelopeID != "" {
		fmt.Fprintf(l, ", envid %s", e.EnvelopeID)
	}
	if e.EightBit {
		fmt.Fprint(l, ", 8bit")
	}
	if e.UTF8 {
		fmt.Fprint(l, ", utf8")
	}
	fmt.Fprintln(l)
	return fmt.Sprintf("%04x", l.n), nil
}

func accounts(t *testing.T) *Accounts {
	t.Helper()
	a, err := NewAccounts(AccountsOptions{
		Credentials: []Credential{
			{Name: "shop", PasswordHash: cheap("tulip"), Streams: []string{"marketing", "transactional"}, Domains: []string{"example.com", "*.shop.example"}},
			{Name: "slow", PasswordHash: cheap("rose"), Streams: []string{"transactional"}, PerHour: 3},
			{Name: "net", Streams: []string{"transactional"}, Domains: []string{"net.example"}},
		},
		FailuresPerAddress: 4, FailuresPerAccount: 6,
	})
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func own(domain string) bool { return domain == "ours.example" || domain == "example.com" }

// site is a listener in an in-memory network.
type site struct {
	t      *testing.T
	net    *mtatest.Net
	srv    *Server
	ledger *ledger
	tls    *tls.Config
	stop   context.CancelFunc
	ended  chan error
}

const siteAddr = "192.0.2.1:587"

func open(t *testing.T, opts Options) *site {
	t.Helper()
	s := &site{t: t, net: mtatest.NewNet(), ledger: &ledger{}, ended: make(chan error, 1)}
	cert, pool, err := mtatest.Certificate("mta1.example.net")
	if err != nil {
		t.Fatal(err)
	}
	s.tls = &tls.Config{ServerName: "mta1.example.net", RootCAs: pool}
	opts.Hostname, opts.TLSConfig = "mta1.example.net", &tls.Config{Certificates: []tls.Certificate{cert}}
	opts.OwnDomain, opts.Admit = own, s.ledger.admit
	if opts.Accounts == nil {
		opts.Accounts = accounts(t)
	}
	if s.srv, err = New(opts); err != nil {
		t.Fatal(err)
	}
	ln, err := s.net.Listen(t.Context(), siteAddr)
	if err != nil {
		t.Fatal(err)
	}
	var ctx context.Context
	ctx, s.stop = context.WithCancel(context.Background())
	go func() { s.ended <- s.srv.Serve(ctx, ln) }()
	return s
}

func (s *site) talk(from, script string) string {
	s.t.Helper()
	c, err := s.net.Dial(s.t.Context(), netip.MustParseAddr(from), netip.MustParseAddrPort(siteAddr))
	if err != nil {
		s.t.Fatal(err)
	}
	defer c.Close()
	out, err := mtatest.Conversation(c, script, s.tls)
	if err != nil {
		s.t.Fatal(err)
	}
	return out
}

func (s *site) close() {
	s.t.Helper()
	s.stop()
	if err := <-s.ended; err != nil {
		s.t.Error(err)
	}
}

func TestConversations(t *testing.T) {
	datadriven.Walk(t, "testdata", func(t *testing.T, path string) {
		t.Helper()
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
			t.Helper()
			var out string
			synctest.Test(t, func(t *testing.T) {
				opts, from := Options{MaxRecipients: 5}, "198.51.100.1"
				for _, a := range d.CmdArgs {
					switch a.Key {
					case "tls":
						opts.TLS = smtpserver.TLSMode(a.Vals[0])
					case "from":
						from = a.Vals[0]
					case "trust":
						opts.Trust = append(opts.Trust, netip.MustParsePrefix(a.Vals[0]))
					case "as":
						opts.TrustAs = a.Vals[0]
					default:
						d.Fatalf(t, "unknown argument %s", a.Key)
					}
				}
				s := open(t, opts)
				begin := time.Now()
				out = s.talk(from, d.Input)
				if took := time.Since(begin); took > 0 {
					out += fmt.Sprintf("(took %s)\n", took)
				}
				s.close()
				out += s.ledger.String()
			})
			return out
		})
	})
}

func TestOptionsAreChecked(t *testing.T) {
	_, err := New(Options{Trust: []netip.Prefix{netip.MustParsePrefix("0.0.0.0/0"), netip.MustParsePrefix("::ffff:0:0/96"), {}}})
	for _, want := range []string{"no accounts", "no admission", "0.0.0.0/0 would make an open relay"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v: does not say %q", err, want)
		}
	}
	if err != nil && strings.Count(err.Error(), "open relay") != 3 {
		t.Error(err)
	}
	_, err = New(Options{Accounts: accounts(t), TrustAs: "nobody", Admit: (&ledger{}).admit, Hostname: "x.example"})
	if err == nil || !strings.Contains(err.Error(), `trust_as names credential "nobody"`) {
		t.Error(err)
	}
}
