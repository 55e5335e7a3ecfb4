// SPDX-License-Identifier: Apache-2.0

package queue

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/seguemta/segue/mta/event"
	"github.com/seguemta/segue/mta/rfc5321"
	"github.com/seguemta/segue/queue/schedule"
	"github.com/seguemta/segue/queue/store"
)

// world is what stands around a queue in these tests: peers that answer as told, contacts, routes, budgets.
type world struct {
	mu         sync.Mutex
	answer     func(r *store.Entry) Outcome // nil = delivered
	dial       func(job *Job) *Result       // nil = connected
	received   map[store.ID]int             // acknowledged by the peer
	tiers      map[string]string            // of addresses
	suppressed map[string]string
	lagging    bool
	people     map[string]Person   // of addresses
	segments   map[string][]string // that addresses are in; the first decides their lane
	asked      int                 // contacts that were checked
	caps       func(now time.Time) []schedule.Cap
	mail       func(job *Job)            // when MAIL is sent; nil = nothing
	pause      func(ctx context.Context) // before the peer answers
	order      []string                  // addresses as they were received
	lookup     func(ctx context.Context) // before a domain is resolved
	lookups    int                       // under way
	providers  map[string]string         // of domains
	clock      skew
	forgetful  bool // the control: budgets do not remember what was used
}

// skew is the clock on the wall, which a test sets.
type skew struct {
	mu    sync.Mutex
	off   time.Duration
	doubt time.Time // since then it is not believed; zero = it is
}

func (s *skew) now() time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	return time.Now().Round(0).Add(s.off)
}

func (s *skew) settled() time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.doubt.IsZero() {
		return s.doubt
	}
	return time.Now().Round(0).Add(s.off)
}

// freeze makes the clock doubtful: it goes on, and settled stands still.
func (s *skew) freeze() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.doubt = time.Now().Round(0).Add(s.off)
}

// set makes the clock step and ends the doubt.
func (s *skew) set(by time.Duration) (from, to time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	from = time.Now().Round(0).Add(s.off)
	s.off, s.doubt = s.off+by, time.Time{}
	return from, from.Add(by)
}

func newWorld() *world {
	return &world{
		received: map[store.ID]int{}, tiers: map[string]string{}, suppressed: map[string]string{},
		people: map[string]Person{}, segments: map[string][]string{},
	}
}

func (w *world) Dial(_ context.Context, job *Job) (Connection, *Result) {
	if w.dial != nil {
		if res := w.dial(job); res != nil {
			return nil, res
		}
	}
	return w, nil
}

func (w *world) Close() {}

func (w *world) Send(ctx context.Context, job *Job) *Result {
	if w.mail != nil {
		w.mail(job)
	}
	if w.pause != nil {
		w.pause(ctx)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	res := &Result{MailSent: true, Usable: true, Outcomes: make([]Outcome, len(job.Recipients))}
	for i := range job.Recipients {
		e := &job.Recipients[i]
		res.Outcomes[i] = Outcome{Kind: Delivered, Reply: rfc5321.Reply{Code: 250}}
		if w.answer != nil {
			res.Outcomes[i] = w.answer(e)
		}
		if res.Outcomes[i].Kind == Delivered {
			w.received[e.ID]++
			w.order = append(w.order, e.Address.Local)
		}
	}
	return res
}

func (w *world) Resolve(ctx context.Context, domain string) Route {
	w.mu.Lock()
	block := w.lookup
	w.lookups++
	w.mu.Unlock()
	if block != nil {
		block(ctx)
	}
	w.mu.Lock()
	w.lookups--
	w.mu.Unlock()
	return Route{Site: "mx." + domain, Provider: w.providers[domain], Until: w.clock.now().Add(time.Hour)}
}

func (w *world) Check(e *store.Entry, _ store.Class, _ *store.Message) (string, string, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.asked++
	if w.lagging {
		return "", w.suppressed[e.Address.Local], ErrLagging
	}
	return w.tiers[e.Address.Local], w.suppressed[e.Address.Local], nil
}

func (w *world) Person(e *store.Entry) (Person, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.people[e.Address.Local], nil
}

func (w *world) Standing(e *store.Entry, c store.Class, _ *store.Message) (Standing, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	s := Standing{Segments: w.segments[e.Address.Local], Class: c, Version: 7}
	s.Class.Segment = ""
	if len(s.Segments) > 0 {
		s.Class.Segment = s.Segments[0]
	}
	return s, nil
}

func (w *world) Caps(now time.Time, used func(schedule.BudgetKey, schedule.Day) store.Counter) []schedule.Cap {
	if w.caps == nil {
		return nil
	}
	list := w.caps(now)
	for i := range list {
		if w.forgetful {
			break
		}
		c := used(list[i].Key, list[i].Day)
		list[i].Used, list[i].UsedNew, list[i].Leased = c.Used, c.UsedNew, c.Leased
	}
	return list
}

func (w *world) Roll(time.Time, func(schedule.BudgetKey, schedule.Day) store.Counter) []Change {
	return nil
}

// dayCap is a budget of n recipients for source a1 on now's day.
func dayCap(n int) func(now time.Time) []schedule.Cap {
	return func(now time.Time) []schedule.Cap {
		start := now.UTC().Truncate(24 * time.Hour)
		end := start.Add(24 * time.Hour)
		return []schedule.Cap{{
			Key: schedule.BudgetKey{Source: "a1", Provider: schedule.Other}, Day: schedule.Day(start.Unix() / 86400),
			Start: start, End: end, Open: start, Close: end, Allowed: n,
		}}
	}
}

// running is a queue that runs.
type running struct {
	*Queue
	t    testing.TB
	w    *world
	st   *store.Store
	quit func() int // ends the queue
	stop func() int // and closes its store
}

var ranks = map[string]int{"active": 0, "warm": 1, "new": 2, "cooling": 3, "dormant": 4, "dead": 5}

// options are those of a queue with one source and two pools.
func options(w *world, st *store.Store) Options {
	return Options{
		Store: st, Transport: w, Resolver: w, Contacts: w, Budgets: w,
		Sources: []schedule.DefineSource{{Name: "a1", Budgeted: w.caps != nil}},
		Pools:   []schedule.DefinePool{{Name: "main", Members: []schedule.Member{{Source: "a1", Weight: 1}}}, {Name: "other", Members: []schedule.Member{{Source: "a1", Weight: 1}}}},
		Lane: func(c store.Class) schedule.Class {
			return schedule.Class{Stream: c.Stream, Segment: c.Segment, Tier: c.Tier, Pool: c.Pool, Rank: ranks[c.Tier], Weight: 1, Transactional: c.Stream == "transactional"}
		},
		Relane: func(c store.Class, tier string) store.Class { c.Tier = tier; return c },
		Now:    w.clock.now, Settled: w.clock.settled,
	}
}

func start(t testing.TB, fs vfs.FS, w *world) *running {
	t.Helper()
	return startWith(t, fs, w, func(*Options) {})
}

// startWith starts a queue with other options; before is called when it is made, before it runs.
func startWith(t testing.TB, fs vfs.FS, w *world, change func(*Options), before ...func(*Queue)) *running {
	t.Helper()
	st, err := store.Open(store.Options{Dir: "queue", FS: fs, MemTableSize: 1 << 20, IDBlock: 10, Now: w.clock.now})
	if err != nil {
		t.Fatal(err)
	}
	o := options(w, st)
	change(&o)
	q, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range before {
		f(q)
	}
	ctx, cancel := context.WithCancel(context.Background())
	hard, cut := context.WithCancel(context.Background())
	done := make(chan int, 1)
	go func() {
		done <- q.Run(ctx, hard)
	}()
	r := &running{Queue: q, t: t, w: w, st: st}
	r.quit = sync.OnceValue(func() int {
		cancel()
		n := <-done
		cut()
		return n
	})
	stopped := false
	r.stop = func() int {
		if stopped {
			return 0
		}
		stopped = true
		n := r.quit()
		if err := st.Close(); err != nil {
			t.Error(err)
		}
		return n
	}
	t.Cleanup(func() { r.stop() })
	return r
}

// send enqueues one message to an active recipient and returns its id.
func (r *running) send(local string) store.ID {
	r.t.Helper()
	mid, err := r.Enqueue(context.Background(), r.message(local, "active"))
	if err != nil {
		r.t.Fatal(err)
	}
	return store.ID{Message: mid}
}

func (r *running) message(local, tier string) *Submission {
	return &Submission{
		Body: []byte("Subject: x\r\n\r\nbody\r\n"),
		Recipients: []Recipient{{
			Address: rfc5321.Address{Local: local, Domain: "example.com"},
			Class:   store.Class{Stream: "marketing", Tier: tier, Pool: "main"}, Expires: r.w.clock.now().Add(24 * time.Hour),
		}},
	}
}

// until waits until no recipient is left in the queue but n, with a bound that
// only a broken test reaches.
func (r *running) until(n int) {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Hour)
	defer cancel()
	look := 10 * time.Millisecond // at first: simulated hours have many of these
	for {
		_, changed := r.st.Durable()
		var now Count // between two steps: within one, who comes back is counted nowhere
		if err := r.ask(ctx, func(time.Time) { now = r.Total() }); err != nil {
			r.t.Fatal(err)
		}
		if now.Waiting+now.Held == n && now.InFlight == 0 {
			return
		}
		select {
		case <-changed:
			look = 10 * time.Millisecond
		case <-time.After(look):
			look = min(2*look, time.Second)
		case <-ctx.Done():
			r.t.Fatalf("%d recipients expected in the queue, it holds %+v", n, r.Total())
		}
	}
}

// kinds are the kinds of a recipient's events, in order.
func (r *running) kinds(id store.ID) string {
	r.t.Helper()
	list, err := r.st.Timeline(id.Message)
	if err != nil {
		r.t.Fatal(err)
	}
	s := ""
	for _, e := range list {
		if e.Recipient == id.Recipient {
			s += string(e.Kind) + " "
		}
	}
	return s
}

func (r *running) last(id store.ID) event.Event {
	r.t.Helper()
	list, err := r.st.Timeline(id.Message)
	if err != nil || len(list) == 0 {
		r.t.Fatalf("no events of %s: %v", id, err)
	}
	return list[len(list)-1]
}

func (r *running) verify() {
	r.t.Helper()
	list, err := store.Verify(r.st)
	if err != nil {
		r.t.Fatal(err)
	}
	for _, v := range list {
		r.t.Errorf("violation: %s", v)
	}
}

func deferred(text string) Outcome {
	return Outcome{Kind: Deferred, Reply: rfc5321.Reply{Code: 451, Text: text}, Pin: true}
}

func name(i int) string { return fmt.Sprintf("r%d", i) }

// dice throws a number below n, for several goroutines that share a seed.
func dice(rng *rand.Rand) func(n int) int {
	var mu sync.Mutex
	return func(n int) int {
		mu.Lock()
		defer mu.Unlock()
		return rng.IntN(n)
	}
}
