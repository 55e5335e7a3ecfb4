// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/seguemta/segue/dkim"
	"github.com/seguemta/segue/mta/event"
	"github.com/seguemta/segue/mta/mtatest"
	"github.com/seguemta/segue/mta/rfc5321"
	"github.com/seguemta/segue/queue/store"
)

// deepMore is the configuration of a deep queue; deepPlan makes its source one
// that may reach nobody today.
const (
	deepMore = `
[[source]]
name = "d1"
addresses = ["%s.12"]
%s
[[pool]]
name = "deep"
[[pool.member]]
source = "d1"
[[tier]]
name = "new"
pool = "deep"
`
	deepPlan = `
plan = "nobody"
[[plan]]
name = "nobody"
[[plan.stage]]
tiers = ["new"]
per_day = { default = 0, other = 0, total = 0 }
`
)

// deepSites is how many sites the domains of a deep queue share.
const deepSites = 200

// A queue of QUEUED (500,000) messages over DOMAINS (20,000) domains, a twentieth of both
// under the race detector: what it takes to start with it, to live with it and to send
// from it, beside a shallow queue of the same shape, over SENT (one for each domain) deliveries.
// Times are printed, and only what is out of all proportion fails.
func TestDeepQueue(t *testing.T) {
	share := 1
	if raced {
		share = 20
	}
	queued, domains := mtatest.EnvNumber(t, "QUEUED", 500_000/share), mtatest.EnvNumber(t, "DOMAINS", 20_000/share)
	sent := min(mtatest.EnvNumber(t, "SENT", domains), queued)
	program(t) // is built here, not while the clock runs
	shallow := newDepth(t, sent, domains).measure(sent)
	deep := newDepth(t, queued, domains).measure(sent)
	var b strings.Builder
	for _, row := range []struct {
		name string
		of   func(*depth) any
	}{
		{"recipients queued", func(d *depth) any { return d.queued }},
		{"written to the store in", func(d *depth) any { return d.took.fill.Round(time.Millisecond) }},
		{"contacts caught up after", func(d *depth) any { return d.took.follow.Round(time.Millisecond) }},
		{"start to ready", func(d *depth) any { return d.took.ready.Round(time.Millisecond) }},
		{"start to first delivery", func(d *depth) any { return d.took.first.Round(time.Millisecond) }},
		{"VmRSS when ready, MiB", func(d *depth) any { return mib(d.ready.rss) }},
		{"VmRSS while sending, MiB", func(d *depth) any { return mib(d.sending.rss) }},
		{"VmHWM at the end, MiB", func(d *depth) any { return mib(d.end.peak) }},
		{"heap while sending, MiB", func(d *depth) any { return mib(d.sending.heap) }},
		{"deliveries a second", func(d *depth) any { return int(d.rate) }},
		{"GET /metrics", func(d *depth) any { return d.took.metrics.Round(100 * time.Microsecond) }},
		{"GET /readyz", func(d *depth) any { return d.took.readyz.Round(100 * time.Microsecond) }},
		{"segue queue ls", func(d *depth) any { return d.took.ls.Round(time.Millisecond) }},
		{"segue queue ls --domain", func(d *depth) any { return d.took.lsDomain.Round(time.Millisecond) }},
		{"stop", func(d *depth) any { return d.took.stop.Round(time.Millisecond) }},
	} {
		fmt.Fprintf(&b, "%-26s %12v %12v\n", row.name, row.of(shallow), row.of(deep))
	}
	t.Logf("%d domains at %d sites\n%-26s %12s %12s\n%s", domains, deepSites, "", "shallow", "deep", b.String())
	if deep.rate < 0.5*shallow.rate {
		t.Errorf("%.0f deliveries a second from a deep queue, %.0f from a shallow one", deep.rate, shallow.rate)
	}
	// What a queue adds is a window per domain, not the mail: see engine.md. 100 MiB per
	// 100,000 is far more than that, and far less than the mail.
	if limit := shallow.end.peak + int64(queued/100_000+1)*(100<<20); deep.end.peak > limit {
		t.Errorf("%d MiB with a deep queue, %d with a shallow one", mib(deep.end.peak), mib(shallow.end.peak))
	}
}

// depth is an engine with a queue of some depth, and what was measured of it.
type depth struct {
	*world
	t               *testing.T
	queued, domains int
	body            string
	hash            dkim.BodyHash

	mu      sync.Mutex
	got     []uint8 // by message: how often it arrived
	arrived int
	marks   map[int]chan time.Time // when so many had arrived

	ready, sending, end usage
	rate                float64 // deliveries a second
	took                struct {
		fill, follow, ready, first, metrics, readyz, ls, lsDomain, stop time.Duration
	}
}

// newDepth makes the world, the sites and the queue.
func newDepth(t *testing.T, queued, domains int) *depth {
	t.Helper()
	d := &depth{world: newWorld(t), t: t, queued: queued, domains: domains, got: make([]uint8, queued), marks: make(map[int]chan time.Time)}
	d.memtable = "64MiB"                                                                            // the default
	d.body = strings.Repeat("so much to say, and nobody to say it to today, we shall wait\r\n", 32) // 2 kB
	d.hash = dkim.HashBody([]byte(d.body))
	var zone strings.Builder
	for n := range deepSites {
		h := &mailhost{name: fmt.Sprintf("mx%d.test", n), took: d.arrive, rand: rand.New(rand.NewPCG(1, 1))}
		if err := h.listen(d.ip(50+n) + ":" + mailPort); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(h.close)
		fmt.Fprintf(&zone, "%s. 3600 IN A %s\n", h.name, d.ip(50+n))
	}
	for n := range domains {
		fmt.Fprintf(&zone, "%s. 3600 IN MX 10 mx%d.test.\n", deepDomain(n), n%deepSites)
	}
	d.zones.Replace(zone.String())
	d.fill()
	// The contacts learn of the mail as they would have when it came: an engine
	// that is behind by half a million events is another measurement.
	d.more = fmt.Sprintf(deepMore, d.net, deepPlan)
	began := time.Now()
	d.startWithin(10 * time.Minute)
	within(t, 10*time.Minute, "the contacts to know everybody", func() bool { return int(d.metric("segue_contacts")) >= queued })
	d.took.follow = time.Since(began)
	d.stop()
	return d
}

func deepDomain(n int) string { return fmt.Sprintf("d%d.example", n) }

// fill writes the queue into the store as admission and the queue write it, in
// groups: half a million submissions over SMTP take minutes that show nothing.
func (d *depth) fill() {
	d.t.Helper()
	began := time.Now()
	s, err := store.Open(store.Options{Dir: filepath.Join(d.dir, "data", "queue")})
	if err != nil {
		d.t.Fatal(err)
	}
	const group = 500
	now := time.Now().UTC()
	for from := 0; from < d.queued; from += group {
		err := s.Commit(context.Background(), func(tx *store.Tx) error {
			for n := from; n < min(from+group, d.queued); n++ {
				if err := d.add(tx, n, now); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			d.t.Fatal(err)
		}
	}
	if err := s.Close(); err != nil {
		d.t.Fatal(err)
	}
	d.took.fill = time.Since(began)
}

// add writes one message.
func (d *depth) add(tx *store.Tx, n int, now time.Time) error {
	header := fmt.Sprintf("From: Shop <news@example.com>\r\nSubject: %d\r\nDate: %s\r\nMessage-ID: <%d@example.com>\r\n\r\n", n, now.Format(time.RFC1123Z), n)
	to := rfc5321.Address{Local: fmt.Sprintf("r%d", n), Domain: deepDomain(n % d.domains)}
	m := store.Message{
		Received: now, Sender: rfc5321.Address{Local: "news", Domain: "example.com"}, Recipients: 1, Remaining: 1,
		Size: int64(len(header) + len(d.body)), HeaderSize: int64(len(header)), Stream: "marketing", Credential: "local", Domain: "example.com", BodyHash: d.hash[:],
	}
	mid := tx.NewMessage()
	tx.AddMessage(mid, &m, []byte(header+d.body))
	class := store.Class{Stream: m.Stream, Tier: "new", Pool: "deep"}
	id, _ := tx.Class(class)
	tx.Add(store.ID{Message: mid}, store.Recipient{Address: to, Class: id, Due: tx.Now(), Queued: tx.Now(), Expires: tx.Now().Add(24 * time.Hour)})
	tx.Event(&event.Event{
		Kind: event.Accepted, Message: mid, Address: to.String(), Sender: m.Sender.String(), Stream: m.Stream, Tier: class.Tier, Pool: class.Pool,
		Credential: m.Credential, Domain: to.Domain, Size: m.Size,
	})
	return nil
}

// arrive counts a message that a mailhost took.
func (d *depth) arrive(_ *mailhost, p *parcel, _ bool) {
	n, err := strconv.Atoi(p.field("Subject"))
	d.mu.Lock()
	defer d.mu.Unlock()
	if err != nil || n < 0 || n >= d.queued || len(p.to) != 1 || p.to[0] != fmt.Sprintf("r%d@%s", n, deepDomain(n%d.domains)) {
		d.t.Errorf("a message that nobody sent arrived for %v", p.to)
		return
	}
	if d.got[n]++; d.got[n] > 1 {
		d.t.Errorf("message %d arrived %d times", n, d.got[n])
	}
	d.arrived++
	if at := d.marks[d.arrived]; at != nil {
		at <- time.Now()
	}
}

// mark is told when n messages have arrived.
func (d *depth) mark(n int) <-chan time.Time {
	at := make(chan time.Time, 1)
	d.mu.Lock()
	d.marks[n] = at
	d.mu.Unlock()
	return at
}

// measure starts the engine, waits for so many deliveries, and stops it.
func (d *depth) measure(sent int) *depth {
	d.t.Helper()
	d.more = fmt.Sprintf(deepMore, d.net, "")
	first, quarter, last := d.mark(1), d.mark(max(1, sent/4)), d.mark(sent)
	began := time.Now()
	d.startWithin(10 * time.Minute)
	d.took.ready = time.Since(began)
	d.ready = d.usage()
	at := d.await(first)
	d.took.first = at.Sub(began)
	from := d.await(quarter)
	d.look()
	to := d.await(last)
	d.end = d.usage()
	d.rate = float64(sent-sent/4) / to.Sub(from).Seconds()
	stopping := time.Now()
	d.stop()
	d.took.stop = time.Since(stopping)
	d.count()
	return d
}

func (d *depth) await(at <-chan time.Time) time.Time {
	d.t.Helper()
	select {
	case t := <-at:
		return t
	case <-d.ended:
		d.t.Fatalf("the engine ended: %v", d.err)
	case <-time.After(10 * time.Minute):
		d.t.Fatalf("the deliveries do not come: %d of %d so far", d.arrived, d.queued)
	}
	return time.Time{}
}

// look asks the engine what operators and monitoring ask, while it sends.
func (d *depth) look() {
	d.t.Helper()
	d.sending = d.usage()
	least := func(f func()) (best time.Duration) {
		for range 3 {
			began := time.Now()
			f()
			if took := time.Since(began); best == 0 || took < best {
				best = took
			}
		}
		return best
	}
	get := func(path string) func() {
		return func() {
			if code, text := d.get(path); code != http.StatusOK {
				d.t.Errorf("%s: %d %s", path, code, text)
			}
		}
	}
	d.took.metrics, d.took.readyz = least(get("/metrics")), least(get("/readyz"))
	d.took.ls = least(func() { d.must("queue", "ls") })
	d.took.lsDomain = least(func() { d.must("queue", "ls", "--domain", deepDomain(d.domains-1)) })
}

// count checks, in the store of an engine that has stopped, that what arrived and
// what waits are everything, and that nothing else has happened.
func (d *depth) count() {
	d.t.Helper()
	s, err := store.Open(store.Options{Dir: filepath.Join(d.dir, "data", "queue")})
	if err != nil {
		d.t.Fatal(err)
	}
	defer s.Close()
	waiting := 0
	err = s.Backlogs(func(b store.Backlog) error {
		waiting += b.Count
		return nil
	})
	if err != nil {
		d.t.Fatal(err)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if waiting+d.arrived != d.queued {
		d.t.Errorf("%d wait and %d arrived of %d", waiting, d.arrived, d.queued)
	}
	list, err := store.Verify(s)
	if err != nil {
		d.t.Fatal(err)
	}
	for _, v := range list {
		d.t.Errorf("violation: %s", v)
	}
}
