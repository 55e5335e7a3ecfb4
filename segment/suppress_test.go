// SPDX-License-Identifier: Apache-2.0

package segment

import (
	"errors"
	"fmt"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/seguemta/segue/mta/event"
)

func TestFeedbackSuppresses(t *testing.T) {
	cases := []struct {
		name    string
		event   event.Event
		streams map[string]string // stream -> reason
	}{
		{
			"hard bounce",
			event.Event{Kind: event.Bounced, Verdict: "suppress", Code: 550, Enhanced: "5.1.1", Reply: "no such user", Stream: "news"},
			map[string]string{"marketing": "hard_bounce", "transactional": "hard_bounce", "news": "hard_bounce"},
		},
		{
			"dsn",
			event.Event{Kind: event.DSN, Verdict: "suppress", Stream: "news"},
			map[string]string{"marketing": "hard_bounce", "transactional": "hard_bounce"},
		},
		{"soft bounce", event.Event{Kind: event.Bounced, Verdict: "count"}, map[string]string{"marketing": "", "transactional": ""}},
		{"reputation", event.Event{Kind: event.Bounced, Verdict: "reputation"}, map[string]string{"marketing": ""}},
		{
			"complaint about news",
			event.Event{Kind: event.Complained, Stream: "news"},
			map[string]string{"marketing": "complaint", "news": "complaint", "transactional": ""},
		},
		{
			"complaint about transactional",
			event.Event{Kind: event.Complained, Stream: "transactional"},
			map[string]string{"marketing": "complaint", "transactional": "complaint"},
		},
		{
			"unsubscribe",
			event.Event{Kind: event.Unsubscribed, Stream: "news"},
			map[string]string{"news": "unsubscribe", "marketing": "", "transactional": ""},
		},
		{"operator's lift", event.Event{Kind: event.SuppressLift, Stream: "news"}, map[string]string{"news": "", "marketing": ""}},
		{"operator's record", event.Event{Kind: event.SuppressAdded}, map[string]string{"marketing": ""}},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			d := mem(t)
			a := addr(t, "a@example.com")
			c.event.Address = "A@Example.com"
			apply(t, d, log(event.Event{Kind: event.Accepted, Address: "a@example.com"}, c.event))
			for stream, want := range c.streams {
				_, s, err := d.Check(1, a, Mail{Stream: stream, Domain: "example.com"}, t0())
				if err != nil {
					t.Fatal(err)
				}
				if got := reasonOf(s); got != want {
					t.Errorf("stream %s: %q, want %q", stream, got, want)
				}
				v, err := d.Look(a, Mail{Stream: stream, Domain: "example.com"}, t0())
				if err != nil || reasonOf(v.Suppressed) != want {
					t.Errorf("stream %s: look says %q, %v, want %q", stream, reasonOf(v.Suppressed), err, want)
				}
			}
		})
	}
}

func reasonOf(s *Suppression) string {
	if s == nil {
		return ""
	}
	return s.Reason
}

func TestSuppressAndLift(t *testing.T) {
	fs := vfs.NewMem()
	o := testOptions(t, fs)
	reg := prometheus.NewPedanticRegistry()
	o.Registerer = reg
	d := open(t, o)
	a := addr(t, "x@example.com")
	check := func(stream, domain, want string) {
		t.Helper()
		_, s, err := d.Check(0, a, Mail{Stream: stream, Domain: domain}, t0())
		if err != nil || reasonOf(s) != want {
			t.Errorf("%s from %s: %q, %v, want %q", stream, domain, reasonOf(s), err, want)
		}
	}
	add := func(x Suppression, want bool) {
		t.Helper()
		if added, err := d.Suppress(a, x); err != nil || added != want {
			t.Errorf("%+v: %v, %v, want %v", x, added, err, want)
		}
	}
	add(Suppression{Scope: "domain:Shop.Example"}, true)
	check("marketing", "shop.example", "manual")
	check("marketing", "example.com", "")
	add(Suppression{Scope: "stream:news", Reason: "policy", Expires: t0().Add(time.Hour)}, true)
	add(Suppression{Scope: "stream:news", Reason: "policy", Expires: t0().Add(time.Minute)}, false)
	add(Suppression{Scope: "stream:news", Reason: "policy", Expires: t0().Add(2 * time.Hour)}, true)
	add(Suppression{Scope: "stream:old", Expires: t0()}, true)
	check("news", "example.com", "policy")
	check("old", "example.com", "")
	add(Suppression{Reason: "made up"}, true)
	add(Suppression{Scope: "all"}, false)
	check("news", "example.com", "made up")
	for _, bad := range []string{"stream:", "domain:", "domain:-x", "nonsense", "ALL"} {
		if _, err := d.Suppress(a, Suppression{Scope: bad}); !errors.Is(err, ErrScope) {
			t.Errorf("scope %q: %v", bad, err)
		}
		if _, err := d.Lift(a, bad, Because{}); !errors.Is(err, ErrScope) {
			t.Errorf("lifting scope %q: %v", bad, err)
		}
	}
	want := `
# HELP segue_suppressions_total Suppressions added, by reason. A jump in hard_bounce points at a bad list, one in complaint at a bad campaign.
# TYPE segue_suppressions_total counter
segue_suppressions_total{reason="complaint"} 0
segue_suppressions_total{reason="hard_bounce"} 0
segue_suppressions_total{reason="invalid"} 0
segue_suppressions_total{reason="manual"} 2
segue_suppressions_total{reason="other"} 1
segue_suppressions_total{reason="policy"} 2
segue_suppressions_total{reason="soft_bounce"} 0
segue_suppressions_total{reason="unsubscribe"} 0
`
	if err := testutil.GatherAndCompare(reg, strings.NewReader(want), "segue_suppressions_total"); err != nil {
		t.Error(err)
	}
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	d = open(t, testOptions(t, fs))
	defer d.Close()
	check("marketing", "example.com", "made up")
	if lifted, err := d.Lift(a, "all", Because{Cause: "asked us"}); err != nil || len(lifted) != 1 {
		t.Fatalf("lifted %+v, %v", lifted, err)
	}
	check("marketing", "example.com", "")
	check("marketing", "shop.example", "manual")
	check("news", "example.com", "policy")
	if lifted, err := d.Lift(a, "", Because{}); err != nil || len(lifted) != 3 {
		t.Fatalf("lifted %+v, %v", lifted, err)
	}
	check("marketing", "shop.example", "")
	check("news", "shop.example", "")
	if lifted, err := d.Lift(a, "", Because{}); err != nil || lifted != nil {
		t.Fatalf("lifted %+v, %v", lifted, err)
	}
	if d.mem.suppressions() != 0 || len(d.mem.first) != 0 || len(d.mem.more) != 0 {
		t.Fatal("memory keeps lifted suppressions")
	}
	flips, err := d.ReadFlips(0, 100)
	if err != nil || len(flips) != 9 || flips[8].Kind != FlipLifted || flips[8].Sequence != 9 {
		t.Fatalf("flips %+v, %v", flips, err)
	}
	if err := d.TruncateFlips(7); err != nil {
		t.Fatal(err)
	}
	if flips, err := d.ReadFlips(0, 100); err != nil || len(flips) != 2 || flips[0].Sequence != 8 {
		t.Fatalf("flips %+v, %v", flips, err)
	}
}

func TestFlipNumbersSurviveTruncation(t *testing.T) {
	fs := vfs.NewMem()
	d := open(t, testOptions(t, fs))
	if _, err := d.Suppress(addr(t, "a@example.com"), Suppression{}); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(d.TruncateFlips(1<<63), d.Close()); err != nil {
		t.Fatal(err)
	}
	d = open(t, testOptions(t, fs))
	defer d.Close()
	if _, err := d.Suppress(addr(t, "b@example.com"), Suppression{}); err != nil {
		t.Fatal(err)
	}
	if flips, err := d.ReadFlips(0, 10); err != nil || len(flips) != 1 || flips[0].Sequence != 2 {
		t.Fatalf("flips %+v, %v", flips, err)
	}
}

// Flips are cut off page by page. What that leaves in memory until the next flush
// must grow with the pages, not with their square: 3,000 took 150 MB.
func TestTruncationOfFlipsStaysSmall(t *testing.T) {
	d := mem(t)
	held := func() uint64 {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	before, after := held(), uint64(0)
	for i := range 3000 {
		if _, err := d.Suppress(addr(t, fmt.Sprintf("u%d@example.com", i)), Suppression{}); err != nil {
			t.Fatal(err)
		}
		flips, err := d.ReadFlips(after, 500)
		if err != nil || len(flips) != 1 {
			t.Fatalf("%d flips, %v", len(flips), err)
		}
		after = flips[0].Sequence
		if err := d.TruncateFlips(after); err != nil {
			t.Fatal(err)
		}
	}
	if grown := int64(held()) - int64(before); grown > 30<<20 {
		t.Errorf("3000 pages of flips hold %d bytes", grown)
	}
	if flips, err := d.ReadFlips(0, 10); err != nil || len(flips) != 0 {
		t.Errorf("left are %+v, %v", flips, err)
	}
}

func TestSuppressionPages(t *testing.T) {
	d := mem(t)
	for i := range 25 {
		if _, err := d.Suppress(addr(t, fmt.Sprintf("u%d@example.com", i)), Suppression{}); err != nil {
			t.Fatal(err)
		}
	}
	seen := map[string]bool{}
	place, pages := "", 0
	for {
		list, next, err := d.Suppressions(Query{After: place, Limit: 10})
		if err != nil {
			t.Fatal(err)
		}
		for _, x := range list {
			seen[x.Address] = true
		}
		pages++
		if place = next; next == "" {
			break
		}
	}
	if len(seen) != 25 || pages != 3 {
		t.Fatalf("%d addresses on %d pages", len(seen), pages)
	}
	list, _, err := d.Suppressions(Query{Prefix: "U1", Scope: "all", Reason: "manual"})
	if err != nil || len(list) != 11 {
		t.Fatalf("%d with prefix u1, %v", len(list), err)
	}
	if _, _, err := d.Suppressions(Query{After: "rubbish"}); err == nil {
		t.Fatal("a bad page mark was taken")
	}
}

func TestAnotherKeyIsRefused(t *testing.T) {
	fs := vfs.NewMem()
	if err := open(t, testOptions(t, fs)).Close(); err != nil {
		t.Fatal(err)
	}
	o := testOptions(t, fs)
	o.SuppressionKey = []byte(strings.Repeat("x", 32))
	if _, err := Open(o); !errors.Is(err, ErrSecret) {
		t.Fatalf("error %v", err)
	}
}
