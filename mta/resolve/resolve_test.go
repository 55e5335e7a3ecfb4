// SPDX-License-Identifier: Apache-2.0

package resolve_test

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/miekg/dns"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/seguemta/segue/mta/mtatest"
	"github.com/seguemta/segue/mta/resolve"
)

var (
	near = netip.MustParseAddrPort("127.0.0.53:53")
	far  = netip.MustParseAddrPort("192.0.2.53:53")
)

const zone = `
example.org.       300 IN MX 10 MX1.example.org.
example.org.       300 IN MX 20 mx2.example.org.
mx1.example.org.   60  IN A 198.51.100.1
mx1.example.org.   120 IN AAAA 2001:db8::1
mx2.example.org.   IN A 198.51.100.2
alias.example.org. 30  IN CNAME example.org.
one.example.org.   IN CNAME two.example.org.
two.example.org.   IN CNAME one.example.org.
gone.example.org.  IN CNAME nowhere.example.net.
null.example.org.  IN MX 0 .
zero.example.org.  0 IN TXT "a" "b"
zero.example.org.  0 IN TXT "c"
1.100.51.198.in-addr.arpa. IN PTR Mail.Example.Org.
`

// bed is a resolver in front of zones.
type bed struct {
	*resolve.Client
	t     *testing.T
	net   *mtatest.Net
	zones *mtatest.Zones
}

func newBed(t *testing.T, opts resolve.Options) *bed {
	t.Helper()
	b := &bed{t: t, net: mtatest.NewNet(), zones: mtatest.NewZones(zone)}
	if opts.Servers == nil {
		opts.Servers = []netip.AddrPort{near}
	}
	for _, s := range opts.Servers {
		b.net.HandleDNS(s, b.zones.Handle)
	}
	opts.Network = b.net
	var err error
	if b.Client, err = resolve.New(opts); err != nil {
		t.Fatal(err)
	}
	return b
}

// inBubble runs f in a bubble with a fresh resolver.
func inBubble(t *testing.T, opts resolve.Options, f func(b *bed)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		f(newBed(t, opts))
		time.Sleep(time.Hour) // let delayed answers run out
	})
}

func TestAnswers(t *testing.T) {
	inBubble(t, resolve.Options{}, func(b *bed) {
		t := b.t
		now := time.Now()
		mx, err := b.LookupMX(t.Context(), "Example.ORG")
		want := []resolve.MX{{"mx1.example.org", 10}, {"mx2.example.org", 20}}
		if err != nil || !slices.Equal(mx.Records, want) || mx.Until != now.Add(300*time.Second) {
			t.Errorf("MX: %+v, %v", mx, err)
		}
		a, err := b.LookupAddrs(t.Context(), "mx1.example.org.", resolve.Both)
		if err != nil || fmt.Sprint(a.Addrs) != "[2001:db8::1 198.51.100.1]" || a.Until != now.Add(time.Minute) {
			t.Errorf("both families: %+v, %v", a, err)
		}
		if a, err = b.LookupAddrs(t.Context(), "mx1.example.org", resolve.IPv4); err != nil || fmt.Sprint(a.Addrs) != "[198.51.100.1]" {
			t.Errorf("IPv4: %+v, %v", a, err)
		}
		if a, err = b.LookupAddrs(t.Context(), "[192.0.2.7]", resolve.Both); err != nil || fmt.Sprint(a.Addrs) != "[192.0.2.7]" || !a.Until.IsZero() {
			t.Errorf("literal: %+v, %v", a, err)
		}
		txt, err := b.LookupTXT(t.Context(), "zero.example.org")
		if err != nil || !slices.Equal(txt.Texts, []string{"ab", "c"}) {
			t.Errorf("TXT: %+v, %v", txt, err)
		}
		ptr, err := b.LookupPTR(t.Context(), netip.MustParseAddr("::ffff:198.51.100.1"))
		if err != nil || !slices.Equal(ptr.Names, []string{"mail.example.org"}) {
			t.Errorf("PTR: %+v, %v", ptr, err)
		}
		if mx, err = b.LookupMX(t.Context(), "null.example.org"); err != nil || !slices.Equal(mx.Records, []resolve.MX{{"", 0}}) {
			t.Errorf("null MX: %+v, %v", mx, err)
		}
		if mx, err = b.LookupMX(t.Context(), "alias.example.org"); err != nil || len(mx.Records) != 2 || mx.Until != now.Add(30*time.Second) {
			t.Errorf("through an alias: %+v, %v", mx, err)
		}
	})
}

func TestWhyThereIsNoAnswer(t *testing.T) {
	inBubble(t, resolve.Options{}, func(b *bed) {
		t := b.t
		b.zones.Fail("broken.example.org", mtatest.Fate{Rcode: dns.RcodeServerFailure})
		b.zones.Fail("refused.example.org", mtatest.Fate{Rcode: dns.RcodeRefused})
		b.zones.Fail("silent.example.org", mtatest.Fate{Silent: true})
		for name, want := range map[string]resolve.Kind{
			"nowhere.example.net":                resolve.NXDomain,
			"gone.example.org":                   resolve.NXDomain,
			"mx1.example.org":                    resolve.NoData,
			"org":                                resolve.NoData, // only names below it exist
			"broken.example.org":                 resolve.ServFail,
			"refused.example.org":                resolve.ServFail,
			"one.example.org":                    resolve.ServFail, // a loop of aliases
			"silent.example.org":                 resolve.Timeout,
			"a..b":                               resolve.NXDomain,
			"with space.example":                 resolve.NXDomain,
			`back\slash.example`:                 resolve.NXDomain,
			strings.Repeat("x", 64) + ".example": resolve.NXDomain,
		} {
			_, err := b.LookupMX(t.Context(), name)
			var e *resolve.Error
			if errors.As(err, &e) && e.Until.Before(time.Now()) && e.Err == nil {
				t.Errorf("%s: no time to ask again", name)
			}
			if !errors.As(err, &e) || e.Kind != want || e.Temporary() != (want == resolve.ServFail || want == resolve.Timeout) {
				t.Errorf("%s: %v, want %s", name, err, want)
			}
		}
	})
}

func TestAddressesOfOneFamilyAreEnough(t *testing.T) {
	inBubble(t, resolve.Options{}, func(b *bed) {
		t := b.t
		if a, err := b.LookupAddrs(t.Context(), "mx2.example.org", resolve.Both); err != nil || len(a.Addrs) != 1 {
			t.Errorf("IPv4 only: %+v, %v", a, err)
		}
		_, err := b.LookupAddrs(t.Context(), "mx2.example.org", resolve.IPv6)
		if resolve.KindOf(err) != resolve.NoData {
			t.Errorf("no IPv6: %v", err)
		}
	})
}

func TestCacheKeepsWhatTTLsAllow(t *testing.T) {
	inBubble(t, resolve.Options{}, func(b *bed) {
		t := b.t
		ask := func(name string, want int) {
			t.Helper()
			before := len(b.zones.Queries())
			_, _ = b.LookupTXT(t.Context(), name)
			if got := len(b.zones.Queries()) - before; got != want {
				t.Errorf("%s: %d queries, want %d", name, got, want)
			}
		}
		b.zones.Replace("t.example. 60 IN TXT x\nzero.example. 0 IN TXT x\nlong.example. 9999999 IN TXT x\n")
		b.zones.Fail("bad.example", mtatest.Fate{Rcode: dns.RcodeServerFailure})
		ask("t.example", 1)
		ask("T.Example.", 0)
		time.Sleep(59 * time.Second)
		ask("t.example", 0)
		time.Sleep(time.Second)
		ask("t.example", 1)

		ask("zero.example", 1) // five seconds at least
		ask("zero.example", 0)
		time.Sleep(5 * time.Second)
		ask("zero.example", 1)

		ask("long.example", 1) // a day at most
		time.Sleep(24 * time.Hour)
		ask("long.example", 1)

		ask("none.example", 1) // the SOA says 300 s
		time.Sleep(299 * time.Second)
		ask("none.example", 0)
		time.Sleep(time.Second)
		ask("none.example", 1)

		b.zones.Negative(10 * time.Hour)
		ask("never.example", 1) // half an hour at most
		time.Sleep(30 * time.Minute)
		ask("never.example", 1)

		ask("bad.example", 2) // two rounds
		ask("bad.example", 0)
		time.Sleep(10 * time.Second)
		ask("bad.example", 2)
	})
}

func TestCacheIsBounded(t *testing.T) {
	inBubble(t, resolve.Options{CacheSize: 2}, func(b *bed) {
		t := b.t
		b.zones.Replace("a. IN TXT x\nb. IN TXT x\nc. IN TXT x\n")
		for _, name := range []string{"a", "b", "a", "c", "a", "b"} {
			if _, err := b.LookupTXT(t.Context(), name); err != nil {
				t.Fatal(err)
			}
		}
		// b was the least used when c came.
		if got := strings.Join(b.zones.Queries(), ", "); got != "a. TXT, b. TXT, c. TXT, b. TXT" {
			t.Errorf("asked %s", got)
		}
	})
}

func TestEqualQuestionsShareOneQuery(t *testing.T) {
	inBubble(t, resolve.Options{}, func(b *bed) {
		t := b.t
		b.zones.Fail("example.org", mtatest.Fate{Delay: time.Second})
		var wait sync.WaitGroup
		for range 50 {
			wait.Go(func() {
				if _, err := b.LookupMX(t.Context(), "example.org"); err != nil {
					t.Error(err)
				}
			})
		}
		wait.Wait()
		if n := len(b.zones.Queries()); n != 1 {
			t.Errorf("%d queries, want 1", n)
		}
	})
}

func TestFollowersSurviveACancelledLeader(t *testing.T) {
	inBubble(t, resolve.Options{}, func(b *bed) {
		t := b.t
		b.zones.Fail("example.org", mtatest.Fate{Delay: 2 * time.Second})
		ctx, cancel := context.WithCancel(t.Context())
		var wait sync.WaitGroup
		wait.Go(func() {
			if _, err := b.LookupMX(ctx, "example.org"); !errors.Is(err, context.Canceled) || resolve.KindOf(err) != "" {
				t.Errorf("leader: %v", err)
			}
		})
		synctest.Wait()
		wait.Go(func() {
			if _, err := b.LookupMX(t.Context(), "example.org"); err != nil {
				t.Errorf("follower: %v", err)
			}
		})
		synctest.Wait()
		cancel()
		wait.Wait()
	})
}

func TestTruncatedAnswersComeOverTCP(t *testing.T) {
	inBubble(t, resolve.Options{}, func(b *bed) {
		t := b.t
		var big strings.Builder
		for i := range 100 {
			fmt.Fprintf(&big, "big.example. IN MX %d host-with-a-long-name-%d.big.example.\n", i, i)
		}
		b.zones.Replace(big.String())
		mx, err := b.LookupMX(t.Context(), "big.example")
		if err != nil || len(mx.Records) != 100 {
			t.Errorf("%d records, %v", len(mx.Records), err)
		}
		if got := b.zones.Queries(); !slices.Equal(got, []string{"big.example. MX", "big.example. MX tcp"}) {
			t.Errorf("asked %q", got)
		}
	})
}

func TestAnotherServerIsAsked(t *testing.T) {
	two := resolve.Options{Servers: []netip.AddrPort{far, near}}
	for name, breakIt := range map[string]func(b *bed){
		"silent":  func(b *bed) { b.net.Blackhole(far) },
		"refused": func(b *bed) { b.net.HandleDNS(far, nil) },
		"failing": func(b *bed) {
			b.net.HandleDNS(far, func(q []byte, tcp bool) []byte {
				m := new(dns.Msg)
				if err := m.Unpack(q); err != nil {
					return nil
				}
				r := new(dns.Msg)
				r.SetRcode(m, dns.RcodeServerFailure)
				packed, _ := r.Pack()
				return packed
			})
		},
		"garbage": func(b *bed) { b.net.HandleDNS(far, func([]byte, bool) []byte { return []byte("no DNS") }) },
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, two, func(b *bed) {
				t := b.t
				breakIt(b)
				if _, err := b.LookupMX(t.Context(), "example.org"); err != nil {
					t.Errorf("first question: %v", err)
				}
				begin := time.Now()
				if _, err := b.LookupTXT(t.Context(), "zero.example.org"); err != nil || time.Since(begin) != 0 {
					t.Errorf("second question: %v after %s; want the good server first", err, time.Since(begin))
				}
			})
		})
	}
}

func TestForgedAnswersAreIgnored(t *testing.T) {
	for name, fate := range map[string]mtatest.Fate{"id": {Forge: true, Times: 1}, "question": {Question: true, Times: 1}} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, resolve.Options{}, func(b *bed) {
				t := b.t
				b.zones.Fail("example.org", fate)
				begin := time.Now()
				if _, err := b.LookupMX(t.Context(), "example.org"); err != nil || time.Since(begin) != 3*time.Second {
					t.Errorf("%v after %s; want the answer to the second try", err, time.Since(begin))
				}
			})
		})
	}
}

func TestServerWithoutEDNS(t *testing.T) {
	inBubble(t, resolve.Options{}, func(b *bed) {
		t := b.t
		b.zones.Bare(true)
		if _, err := b.LookupMX(t.Context(), "example.org"); err != nil {
			t.Error(err)
		}
	})
}

func TestAuthenticDataIsBelievedFromLoopbackOnly(t *testing.T) {
	for server, want := range map[netip.AddrPort]bool{near: true, far: false} {
		inBubble(t, resolve.Options{Servers: []netip.AddrPort{server}}, func(b *bed) {
			t := b.t
			b.zones.Authentic(true)
			if a, err := b.LookupMX(t.Context(), "example.org"); err != nil || a.Authentic != want {
				t.Errorf("%s: authentic = %t, %v; want %t", server, a.Authentic, err, want)
			}
		})
	}
	inBubble(t, resolve.Options{}, func(b *bed) {
		t := b.t
		if a, err := b.LookupMX(t.Context(), "example.org"); err != nil || a.Authentic {
			t.Errorf("without AD: authentic = %t, %v", a.Authentic, err)
		}
	})
}

func TestContextEndsALookup(t *testing.T) {
	inBubble(t, resolve.Options{}, func(b *bed) {
		t := b.t
		b.zones.Fail("example.org", mtatest.Fate{Silent: true})
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		begin := time.Now()
		_, err := b.LookupMX(ctx, "example.org")
		if !errors.Is(err, context.DeadlineExceeded) || resolve.KindOf(err) != "" || time.Since(begin) != time.Second {
			t.Errorf("%v after %s", err, time.Since(begin))
		}
		b.zones.Fail("example.org", mtatest.Fate{})
		if _, err := b.LookupMX(t.Context(), "example.org"); err != nil {
			t.Errorf("a cancelled lookup was cached: %v", err)
		}
	})
}

func TestMetrics(t *testing.T) {
	reg := prometheus.NewPedanticRegistry()
	inBubble(t, resolve.Options{Registerer: reg}, func(b *bed) {
		t := b.t
		_, _ = b.LookupMX(t.Context(), "example.org")
		_, _ = b.LookupMX(t.Context(), "example.org")
		_, _ = b.LookupMX(t.Context(), "none.example")
	})
	want := `
# HELP segue_dns_lookups_total DNS questions by outcome. Many servfail or timeout: look at the resolver; mail waits meanwhile.
# TYPE segue_dns_lookups_total counter
segue_dns_lookups_total{cache="hit",result="ok"} 1
segue_dns_lookups_total{cache="miss",result="nxdomain"} 1
segue_dns_lookups_total{cache="miss",result="ok"} 1
`
	if err := testutil.GatherAndCompare(reg, strings.NewReader(want)); err != nil {
		t.Error(err)
	}
}

func TestRealSockets(t *testing.T) {
	z := mtatest.NewZones(zone + "big.example. IN TXT " + strings.Repeat(`"`+strings.Repeat("x", 200)+`" `, 20) + "\n")
	addr, stop, err := z.Serve()
	if err != nil {
		t.Fatal(err)
	}
	defer stop()
	r, err := resolve.New(resolve.Options{Servers: []netip.AddrPort{addr}})
	if err != nil {
		t.Fatal(err)
	}
	if mx, err := r.LookupMX(t.Context(), "example.org"); err != nil || len(mx.Records) != 2 {
		t.Errorf("MX: %+v, %v", mx, err)
	}
	if txt, err := r.LookupTXT(t.Context(), "big.example"); err != nil || len(txt.Texts[0]) != 4000 {
		t.Errorf("TXT over TCP: %v", err)
	}
	if _, err := r.LookupMX(t.Context(), "nowhere.example"); resolve.KindOf(err) != resolve.NXDomain {
		t.Errorf("NXDOMAIN: %v", err)
	}
}
