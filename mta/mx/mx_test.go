// SPDX-License-Identifier: Apache-2.0

package mx_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/miekg/dns"
	"pgregory.net/rapid"

	"github.com/seguemta/segue/mta/mtatest"
	"github.com/seguemta/segue/mta/mx"
	"github.com/seguemta/segue/mta/netx"
	"github.com/seguemta/segue/mta/resolve"
)

const zone = `
example.org.      300 IN MX 20 backup.example.net.
example.org.      300 IN MX 10 mx1.example.org.
example.org.      300 IN MX 10 MX2.example.org.
example.org.      300 IN MX 10 mx1.example.org.
shop.example.     IN MX 1 aspmx.l.google.com.
shop.example.     IN MX 5 alt1.aspmx.l.google.com.
shop.example.     IN MX 5 alt2.aspmx.l.google.com.
mixed.example.    IN MX 1 aspmx.l.google.com.
mixed.example.    IN MX 9 mx.mixed.example.
old.example.      IN MX 1 aspmx.l.google.com.
old.example.      IN MX 9 aspmx2.googlemail.com.
implicit.example. 200 IN A 203.0.112.9
nothing.example.  IN TXT "no mail here"
null.example.     IN MX 0 .
nullish.example.  IN MX 0 .
nullish.example.  IN MX 5 mx1.example.org.
literal.example.  IN MX 5 192.0.2.1.
ours.example.     IN MX 5 mx1.example.org.
ours.example.     IN MX 10 us.example.com.
ours.example.     IN MX 10 mx3.example.org.
only-ours.example. IN MX 10 us.example.com.
us.example.com.   IN A 203.0.112.8
aliased.example.  IN MX 5 alias.example.org.
alias.example.org. IN CNAME mx1.example.org.
mx1.example.org.  IN A 203.0.112.1
mx1.example.org.  IN A 203.0.112.2
mx1.example.org.  IN AAAA 2600::1
four.example.org. IN A 203.0.112.4
local.example.org. IN A 127.0.0.1
local.example.org. IN AAAA ::1
half.example.org. IN A 10.0.0.1
half.example.org. IN A 203.0.112.5
`

func newRouter(t *testing.T, opts mx.Options) (*mx.Router, *mtatest.Zones) {
	t.Helper()
	server := netip.MustParseAddrPort("127.0.0.53:53")
	n, z := mtatest.NewNet(), mtatest.NewZones(zone)
	n.HandleDNS(server, z.Handle)
	client, err := resolve.New(resolve.Options{Servers: []netip.AddrPort{server}, Network: n})
	if err != nil {
		t.Fatal(err)
	}
	opts.Resolver = client
	if opts.Rand == nil {
		opts.Rand = rand.New(rand.NewPCG(1, 2))
	}
	if opts.Providers == nil {
		opts.Providers = []mx.Provider{
			{Name: "google", MX: []string{"*.google.com.", "*.GoogleMail.com"}},
			{Name: "house", MX: []string{"mx1.example.org", "mx2.example.org"}, Domains: []string{"Implicit.example"}},
			{Name: "late", Domains: []string{"implicit.example", "corp.example"}},
		}
	}
	r, err := mx.New(opts)
	if err != nil {
		t.Fatal(err)
	}
	return r, z
}

// bed is a router in front of zones.
type bed struct {
	t *testing.T
	r *mx.Router
	z *mtatest.Zones
}

func inBubble(t *testing.T, opts mx.Options, f func(b bed)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		r, z := newRouter(t, opts)
		f(bed{t, r, z})
	})
}

func show(target mx.Target) string {
	var hosts []string
	for _, h := range target.Hosts {
		hosts = append(hosts, fmt.Sprintf("%d %s:%d", h.Preference, h.Name, h.Port))
	}
	return fmt.Sprintf("%s [%s] %s", target.Site, target.Provider, strings.Join(hosts, ", "))
}

func TestResolve(t *testing.T) {
	opts := mx.Options{
		Self: []string{"US.example.com."},
		Routes: map[string]string{
			"corp.example": "smtp.corp.example:2525", "plain.example": "Relay.Example", "v4.example": "192.0.2.9:26", "v6.example": "[2001:db8::9]:26",
			"bare6.example": "[2001:db8::9]",
		},
	}
	inBubble(t, opts, func(b bed) {
		t, r := b.t, b.r
		for domain, want := range map[string]string{
			"shop.example":     "(alt1|alt2)?.aspmx.l.google.com [google] 1 aspmx.l.google.com:25, 5 alt2.aspmx.l.google.com:25, 5 alt1.aspmx.l.google.com:25",
			"mixed.example":    "(aspmx.l.google.com|mx.mixed.example) [] 1 aspmx.l.google.com:25, 9 mx.mixed.example:25",
			"old.example":      "(aspmx.l.google|aspmx2.googlemail).com [google] 1 aspmx.l.google.com:25, 9 aspmx2.googlemail.com:25",
			"implicit.example": "implicit.example [house] 0 implicit.example:25",
			"nullish.example":  "mx1.example.org [house] 5 mx1.example.org:25",
			"ours.example":     "mx1.example.org [house] 5 mx1.example.org:25",
			"aliased.example":  "alias.example.org [] 5 alias.example.org:25",
			"CORP.example.":    "smtp.corp.example:2525 [late] 0 smtp.corp.example:2525",
			"plain.example":    "relay.example:25 [] 0 relay.example:25",
			"v4.example":       "192.0.2.9:26 [] 0 192.0.2.9:26",
			"v6.example":       "[2001:db8::9]:26 [] 0 2001:db8::9:26",
			"bare6.example":    "[2001:db8::9]:25 [] 0 2001:db8::9:25",
		} {
			got, err := r.Resolve(t.Context(), domain)
			if domain == "shop.example" { // the order of equals is another test
				slices.SortFunc(got.Hosts[1:], func(a, b mx.Host) int { return strings.Compare(b.Name, a.Name) })
			}
			if err != nil || show(got) != want {
				t.Errorf("%s:\n got %s, %v\nwant %s", domain, show(got), err, want)
			}
		}
	})
}

func TestPermanentAndTemporary(t *testing.T) {
	inBubble(t, mx.Options{Self: []string{"us.example.com"}}, func(b bed) {
		t, r, z := b.t, b.r, b.z
		z.Fail("broken.example", mtatest.Fate{Rcode: dns.RcodeServerFailure})
		z.Fail("silent.example", mtatest.Fate{Silent: true})
		for domain, want := range map[string]string{
			"no-such.example":   "bad_domain 550 5.1.2 domain no-such.example does not exist",
			"null.example":      "null_mx 556 5.1.10 domain null.example accepts no mail (null MX)",
			"nothing.example":   "no_address 550 5.4.4 nothing.example has neither a mail exchanger nor an address",
			"literal.example":   "no_route 550 5.4.4 the MX records of literal.example name no host",
			"only-ours.example": "loop 554 5.4.6 mail for only-ours.example loops back to this server",
			"us.example.com":    "loop 554 5.4.6 mail for us.example.com loops back to this server",
			"broken.example":    "dns 451 4.4.3 DNS gave no answer about broken.example",
			"silent.example":    "dns 451 4.4.3 DNS gave no answer about silent.example",
		} {
			_, err := r.Resolve(t.Context(), domain)
			var e *mx.Error
			if !errors.As(err, &e) {
				t.Errorf("%s: %v", domain, err)
				continue
			}
			if got := string(e.Kind) + " " + e.Reply().String(); got != want || e.Permanent() != (e.Kind != mx.DNS) {
				t.Errorf("%s: got %s, permanent = %t; want %s", domain, got, e.Permanent(), want)
			}
			if !e.Until.After(time.Now()) {
				t.Errorf("%s: until %s", domain, e.Until)
			}
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := r.Resolve(ctx, "later.example"); !errors.Is(err, context.Canceled) {
			t.Errorf("cancelled: %v", err)
		}
	})
}

func TestUntilIsTheShorterLifetime(t *testing.T) {
	inBubble(t, mx.Options{}, func(b bed) {
		t, r, z := b.t, b.r, b.z
		for domain, want := range map[string]time.Duration{"example.org": 300 * time.Second, "implicit.example": 200 * time.Second} {
			if got, err := r.Resolve(t.Context(), domain); err != nil || time.Until(got.Until) != want {
				t.Errorf("%s: %s, %v; want %s", domain, time.Until(got.Until), err, want)
			}
		}
		z.Negative(50 * time.Second)
		time.Sleep(time.Hour)
		if got, err := r.Resolve(t.Context(), "implicit.example"); err != nil || time.Until(got.Until) != 50*time.Second {
			t.Errorf("implicit: %s, %v", time.Until(got.Until), err)
		}
	})
}

func TestEqualPreferencesShareTheLoad(t *testing.T) {
	inBubble(t, mx.Options{}, func(b bed) {
		t, r := b.t, b.r
		first := map[string]int{}
		for range 400 {
			target, err := r.Resolve(t.Context(), "example.org")
			if err != nil || len(target.Hosts) != 3 || target.Hosts[2].Name != "backup.example.net" {
				t.Fatalf("%s, %v", show(target), err)
			}
			if target.Site != "(backup.example.net|mx1.example.org|mx2.example.org)" {
				t.Fatalf("site %s", target.Site)
			}
			first[target.Hosts[0].Name]++
		}
		if first["mx1.example.org"] < 150 || first["mx2.example.org"] < 150 {
			t.Errorf("first choices %v", first)
		}
	})
}

func TestHostsAreCapped(t *testing.T) {
	inBubble(t, mx.Options{}, func(b bed) {
		t, r, z := b.t, b.r, b.z
		var big strings.Builder
		for i := range 50 {
			fmt.Fprintf(&big, "big.example. IN MX %d h%d.big.example.\nh0.big.example. IN A 203.0.112.%d\n", i, i, i)
		}
		z.Replace(big.String())
		target, err := r.Resolve(t.Context(), "big.example")
		if err != nil || len(target.Hosts) != mx.MaxHosts || target.Hosts[19].Name != "h19.big.example" {
			t.Errorf("%d hosts, %v", len(target.Hosts), err)
		}
		addrs, err := r.Addresses(t.Context(), target.Hosts[0], resolve.Both)
		if err != nil || len(addrs) != mx.MaxAddresses {
			t.Errorf("%d addresses, %v", len(addrs), err)
		}
	})
}

func TestAddresses(t *testing.T) {
	inBubble(t, mx.Options{}, func(b bed) {
		t, r, z := b.t, b.r, b.z
		z.Fail("broken.example.org", mtatest.Fate{Rcode: dns.RcodeServerFailure})
		for _, c := range []struct {
			host     string
			families resolve.Families
			want     string
		}{
			{"mx1.example.org", resolve.IPv4, "203.0.112.1:25 203.0.112.2:25"},
			{"mx1.example.org", resolve.IPv6, "[2600::1]:25"},
			{"mx1.example.org", resolve.Both, "203.0.112.1:25 203.0.112.2:25 [2600::1]:25"},
			{"half.example.org", resolve.Both, "203.0.112.5:25"},
			{"four.example.org", resolve.IPv6, "no_family false"},
			{"local.example.org", resolve.Both, "forbidden true"},
			{"no-such.example.org", resolve.Both, "no_address true"},
			{"no-such.example.org", resolve.IPv6, "no_address true"},
			{"nothing.example", resolve.IPv4, "no_address true"},
			{"broken.example.org", resolve.IPv4, "dns false"},
			{"2600::1", resolve.IPv6, "[2600::1]:25"},
			{"2600::1", resolve.IPv4, "no_family false"},
			{"127.0.0.1", resolve.IPv4, "forbidden true"},
		} {
			addrs, err := r.Addresses(t.Context(), mx.Host{Name: c.host, Port: 25}, c.families)
			var words []string
			for _, a := range addrs {
				words = append(words, a.String())
			}
			if len(words) > 1 { // IPv4 is shuffled
				slices.Sort(words[:2])
			}
			got := strings.Join(words, " ")
			if e, ok := errors.AsType[*mx.Error](err); ok {
				got = fmt.Sprintf("%s %t", e.Kind, e.Permanent())
				if e.Kind == mx.Forbidden && !errors.Is(err, netx.ErrForbiddenTarget) {
					t.Errorf("%s: %v does not wrap ErrForbiddenTarget", c.host, err)
				}
			}
			if got != c.want {
				t.Errorf("%s %d: got %s (%v), want %s", c.host, c.families, got, err, c.want)
			}
		}
	})
	allow := mx.Options{Guard: netx.Guard{Allow: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}}}
	inBubble(t, allow, func(b bed) {
		t, r := b.t, b.r
		addrs, err := r.Addresses(t.Context(), mx.Host{Name: "local.example.org", Port: 2526}, resolve.Both)
		if err != nil || fmt.Sprint(addrs) != "[127.0.0.1:2526]" {
			t.Errorf("rehearsal: %v, %v", addrs, err)
		}
	})
}

func TestPortOfARehearsal(t *testing.T) {
	inBubble(t, mx.Options{Port: 2526, Routes: map[string]string{"r.example": "sink.example"}}, func(b bed) {
		t, r := b.t, b.r
		for _, domain := range []string{"example.org", "implicit.example", "r.example"} {
			if target, err := r.Resolve(t.Context(), domain); err != nil || target.Hosts[0].Port != 2526 {
				t.Errorf("%s: %s, %v", domain, show(target), err)
			}
		}
	})
}

func TestNewRefusesWhatCannotBe(t *testing.T) {
	for _, via := range []string{"", ":25", "host:0", "host:70000", "host:smtp", "a b:25", "-x:25"} {
		if _, err := mx.New(mx.Options{Routes: map[string]string{"d.example": via}}); err == nil || !strings.Contains(err.Error(), "d.example") {
			t.Errorf("route %q: %v", via, err)
		}
	}
	for _, pattern := range []string{"", "*", "*.", "a.*.com", "*google.com"} {
		if _, err := mx.New(mx.Options{Providers: []mx.Provider{{Name: "p", MX: []string{pattern}}}}); err == nil {
			t.Errorf("pattern %q was taken", pattern)
		}
	}
}

func TestHopeful(t *testing.T) {
	perm, perm2, temp, other := &mx.Error{Kind: mx.NoAddress}, &mx.Error{Kind: mx.Forbidden}, &mx.Error{Kind: mx.DNS}, errors.New("connection refused")
	for _, c := range []struct {
		errs []error
		want error
	}{
		{nil, nil},
		{[]error{nil, perm, perm2}, perm},
		{[]error{perm, temp, perm2}, temp},
		{[]error{perm, other}, other},
	} {
		if got := mx.Hopeful(c.errs...); got != c.want { //nolint:errorlint // identity
			t.Errorf("Hopeful(%v) = %v", c.errs, got)
		}
	}
}

func TestSiteNameIsCanonical(t *testing.T) {
	label := rapid.SampledFrom([]string{"a", "b", "mx", "mx1", "com", "org"})
	host := rapid.Custom(func(t *rapid.T) string {
		return strings.Join(rapid.SliceOfN(label, 1, 4).Draw(t, "labels"), ".")
	})
	set := rapid.SliceOfN(host, 1, 25)
	plain := func(hosts []string) string { // the slow name: the set itself
		s := slices.Clone(hosts)
		slices.Sort(s)
		return strings.Join(slices.Compact(s), " ")
	}
	rapid.Check(t, func(t *rapid.T) {
		a, b := set.Draw(t, "a"), set.Draw(t, "b")
		shuffled := rapid.Permutation(a).Draw(t, "shuffled")
		if mx.SiteName(a) != mx.SiteName(append(shuffled, a[0])) {
			t.Fatalf("order or repetition changes %q", mx.SiteName(a))
		}
		if (mx.SiteName(a) == mx.SiteName(b)) != (plain(a) == plain(b)) {
			t.Fatalf("%q and %q: %q, %q", a, b, mx.SiteName(a), mx.SiteName(b))
		}
		if len(mx.SiteName(a)) > 200 {
			t.Fatalf("%d octets", len(mx.SiteName(a)))
		}
	})
}

func TestSiteNames(t *testing.T) {
	for want, hosts := range map[string][]string{
		"":                      {},
		"mx.example.org":        {"mx.example.org"},
		"(mx1|mx2).example.org": {"mx2.example.org", "mx1.example.org"},
		"(alt1|alt2|alt3|alt4)?.aspmx.l.google.com":        {"aspmx.l.google.com", "alt1.aspmx.l.google.com", "alt2.aspmx.l.google.com", "alt3.aspmx.l.google.com", "alt4.aspmx.l.google.com"},
		"(alt1.aspmx|alt2.aspmx|aspmx|other).l.google.com": {"aspmx.l.google.com", "alt1.aspmx.l.google.com", "alt2.aspmx.l.google.com", "other.l.google.com"},
		"(a.example.net|b.example.com)":                    {"b.example.com", "a.example.net"},
		"(x)?.mail.example":                                {"mail.example", "x.mail.example"},
	} {
		if got := mx.SiteName(hosts); got != want {
			t.Errorf("%v: got %s, want %s", hosts, got, want)
		}
	}
}
