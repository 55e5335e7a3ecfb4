// SPDX-License-Identifier: Apache-2.0

package mta

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/seguemta/segue/config"
	"github.com/seguemta/segue/mta/event"
	"github.com/seguemta/segue/queue/schedule"
	"github.com/seguemta/segue/queue/store"
	"github.com/seguemta/segue/reputation/bounce"
)

// tightRules act on little.
const tightRules = `rule busy
text busy
when 2 in 10m slow rate 1/m for 5m
when 4 in 30m suspend source for 1h
next wait
yes 421 busy now
no 421 later

rule content
text spammy
when 2 in 10m suspend segment for 30m
next change it
yes 550 spammy
no 550 later

rate bounces
counts bounced
sample 20
in 1h
low 10% slow to 50% for 1h
next look

rate complaints
counts complained
sample 5
in 24h
low 10% suspend source for 2h
next look
`

// lab is a queue's store with the consumer of its log, at a time of its own. It is the queue
// that the consumer talks to.
type lab struct {
	*throttles
	t       testing.TB
	c       *config.Config
	now     *atomic.Int64
	store   *store.Store
	crashed event.Cursor
	limits  map[pair]schedule.Limit
	holds   map[string]func(store.Class) bool
}

func newLab(t testing.TB, fs vfs.FS) *lab {
	t.Helper()
	w := &town{t: t, dir: t.TempDir()}
	text := fmt.Sprintf(testConfig, w.dir) + "[[provider]]\nname = \"yahoo\"\nmx = [\"mx.dest.example\"]\n" + w.ruled(tightRules)
	c, problems := config.Parse("segue.toml", []byte(text))
	for _, p := range problems {
		if !p.Warning {
			t.Fatal(p)
		}
	}
	l := &lab{t: t, c: c, now: &atomic.Int64{}}
	l.now.Store(time.Date(2026, 11, 23, 8, 0, 0, 0, time.UTC).UnixMilli())
	l.open(fs)
	return l
}

func (l *lab) clock() time.Time { return time.UnixMilli(l.now.Load()).UTC() }

// open opens a store, and has it closed at the end.
func (l *lab) open(fs vfs.FS) {
	l.t.Helper()
	s, err := store.Open(store.Options{Dir: "queue", FS: fs, MemTableSize: 1 << 20, Now: l.clock})
	if err != nil {
		l.t.Fatal(err)
	}
	l.t.Cleanup(func() { _ = s.Close() })
	l.store = s
	l.start(eventPage)
}

// start makes the consumer, as a start of the engine does.
func (l *lab) start(page int) {
	l.t.Helper()
	l.limits, l.holds = map[pair]schedule.Limit{}, map[string]func(store.Class) bool{}
	var err error
	if l.throttles, err = newThrottles(l.c, l.store, l, l.clock, slog.New(slog.DiscardHandler)); err != nil {
		l.t.Fatal(err)
	}
	l.page = page
}

// Limit implements enforcer.
func (l *lab) Limit(x schedule.Limit) {
	p := pair{x.Source, x.Provider}
	if l.limits[p] = x; x == (schedule.Limit{Source: x.Source, Provider: x.Provider}) {
		delete(l.limits, p)
	}
}

// HoldAt implements enforcer.
func (l *lab) HoldAt(provider string, holds func(store.Class) bool) { l.holds[provider] = holds }

// turn takes one page, or says that there is none.
func (l *lab) turn() bool {
	l.t.Helper()
	before := l.consumed()
	more, _, err := l.step(l.t.Context())
	if err != nil {
		l.t.Fatal(err)
	}
	return more || l.consumed() != before
}

// outcome is everything that the consumer knows, has done, and has told the queue.
func (l *lab) outcome() string {
	l.t.Helper()
	var b strings.Builder
	acts := map[pair][]string{}
	list, err := l.store.Events(0, 1_000_000)
	if err != nil {
		l.t.Fatal(err)
	}
	for i := range list {
		if e := &list[i]; e.Kind == event.Throttled {
			p := pair{e.Source, e.Provider}
			acts[p] = append(acts[p], e.Reason)
		}
	}
	for _, p := range slices.SortedFunc(maps.Keys(l.states), pair.compare) {
		state, err := l.states[p].Encode()
		if err != nil {
			l.t.Fatal(err)
		}
		last, err := json.Marshal(l.acts[p])
		if err != nil {
			l.t.Fatal(err)
		}
		fmt.Fprintf(&b, "%v\n%s\n%s\n%+v\n%s\n", p, state, last, l.limits[p], strings.Join(acts[p], "\n"))
		for _, segment := range []string{"s0", "s1"} {
			holds := l.holds[other(p.provider)]
			fmt.Fprintf(&b, "%s is held: %v\n", segment, holds != nil && holds(store.Class{Segment: segment}))
		}
	}
	return b.String()
}

// a saying is what one transaction, or one report, adds to the log.
type saying struct {
	pause  time.Duration // before it
	events []event.Event
}

// sayings draws a log: transactions of several recipients, whose replies repeat, and reports of
// complaints, some of them twice.
func sayings(rng *rand.Rand, n int) []saying {
	pauses := []time.Duration{0, 10 * time.Second, time.Minute, 3 * time.Minute, 40 * time.Minute, 5 * time.Hour}
	replies := []event.Event{
		{Kind: event.Delivered},
		{Kind: event.Delivered},
		{Kind: event.Delivered},
		{Kind: event.Deferred, Code: 421, Reply: "busy now", Verdict: string(bounce.Reputation)},
		{Kind: event.Deferred, Code: 450, Reply: "later"},
		{Kind: event.Bounced, Code: 550, Reply: "spammy"},
		{Kind: event.Bounced, Code: 550, Enhanced: "5.1.1", Reply: "nobody", Verdict: string(bounce.Suppress)},
		{Kind: event.Deferred, Reply: "no route to host"},
		{Kind: event.Bounced, Reply: "no such domain"},
	}
	var list []saying
	var delivered []event.Event
	for len(list) < n {
		s := saying{pause: pauses[min(rng.IntN(12), rng.IntN(len(pauses)))]}
		if len(delivered) > 0 && rng.IntN(6) == 0 {
			e := delivered[rng.IntN(len(delivered))]
			s.events = []event.Event{{Kind: event.Complained, Message: e.Message, Recipient: e.Recipient}}
			list = append(list, s)
			continue
		}
		e := event.Event{
			Message: uint64(len(list) + 1), Stream: []string{"marketing", transactional}[rng.IntN(5)/4], Segment: fmt.Sprint("s", rng.IntN(2)),
			Source: []string{"a1", "cold"}[rng.IntN(2)], Provider: []string{"yahoo", ""}[rng.IntN(4)/3], Site: fmt.Sprint("site", rng.IntN(3)),
		}
		for i := range 1 + rng.IntN(4) {
			r := replies[rng.IntN(len(replies))]
			x := e
			x.Recipient, x.Kind, x.Code, x.Enhanced, x.Reply, x.Verdict = uint32(i), r.Kind, r.Code, r.Enhanced, r.Reply, r.Verdict
			if r.Code == 0 && r.Kind == event.Bounced {
				x.Source, x.Site = "", "" // nobody was asked
			}
			if s.events = append(s.events, x); x.Kind == event.Delivered {
				delivered = append(delivered, x)
			}
		}
		list = append(list, s)
	}
	return list
}

// say writes it to the log.
func (l *lab) say(s *saying) {
	l.t.Helper()
	l.now.Add(s.pause.Milliseconds())
	err := l.store.Commit(l.t.Context(), func(tx *store.Tx) error {
		for i := range s.events {
			e := s.events[i]
			tx.Event(&e)
			if e.Kind == event.Delivered {
				tx.Sent(store.ID{Message: e.Message, Recipient: e.Recipient}, &store.Sent{Source: e.Source, Provider: e.Provider, Time: e.Time})
			}
		}
		return nil
	})
	if err != nil {
		l.t.Fatal(err)
	}
}

// TestAutomationDoesNotDependOnPages: however the log is cut into pages, whether they come as it is
// written or long after, and wherever the consumer is stopped and started, it knows the same, has
// done the same, and has told it once.
func TestAutomationDoesNotDependOnPages(t *testing.T) {
	acts := 0
	for seed := range uint64(2) {
		log := sayings(rand.New(rand.NewPCG(seed, 1)), 120)
		want := ""
		for _, way := range []struct {
			page, restart int // turns between two starts; 0 = none
			live          bool
		}{{eventPage, 0, false}, {1, 0, false}, {1, 1, false}, {3, 7, false}, {64, 1, false}, {eventPage, 0, true}, {1, 3, true}} {
			l := newLab(t, vfs.NewMem())
			l.page = way.page
			turns := 0
			catchUp := func() {
				for l.turn() {
					if turns++; way.restart > 0 && turns%way.restart == 0 {
						l.crash()
					}
				}
			}
			for i := range log {
				if l.say(&log[i]); way.live {
					catchUp()
				}
			}
			l.now.Add(time.Hour.Milliseconds())
			catchUp()
			got := l.outcome()
			if want == "" {
				want, acts = got, acts+strings.Count(got, "undo: ")
			}
			if got != want {
				t.Errorf("seed %d, %+v:\n%s\nwant\n%s", seed, way, got, want)
			}
		}
	}
	if acts < 20 {
		t.Errorf("only %d acts: the log is too quiet to prove anything", acts)
	}
}

// crash leaves the consumer what is stored. Where that is no more than at the last crash it does
// nothing: a consumer that never gets further would never end.
func (l *lab) crash() {
	l.t.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	at, err := l.store.Cursor(throttleCursor)
	if err == nil && at != l.crashed {
		l.crashed, err = at, l.load()
	}
	if err != nil {
		l.t.Fatal(err)
	}
}

// TestAutomationTellsOnceAcrossPowerCuts: wherever the power goes while the consumer works, each
// act is one event, and everything goes on as if nothing had happened.
func TestAutomationTellsOnceAcrossPowerCuts(t *testing.T) {
	for seed := range uint64(2) {
		rng := rand.New(rand.NewPCG(seed, 2))
		log := sayings(rng, 150)
		mem := vfs.NewCrashableMem()
		l := newLab(t, mem)
		for i := range log {
			l.say(&log[i])
		}
		l.now.Add(time.Hour.Milliseconds())
		written, _ := l.store.Durable()
		var cuts []*vfs.MemFS
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() {
			defer close(done)
			for n := uint64(1); ctx.Err() == nil && len(cuts) < 8; {
				durable, changed := l.store.Durable()
				if durable < written+n {
					await(ctx, changed, 0)
					continue
				}
				n = durable - written + 1 + uint64(rng.IntN(3))
				cuts = append(cuts, mem.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: rng.IntN(101), RNG: rng}))
			}
		}()
		l.page = 5
		for l.turn() {
		}
		stop()
		<-done
		want := l.outcome()
		for i, fs := range cuts {
			cut := *l
			cut.open(fs)
			for cut.turn() {
			}
			if got := cut.outcome(); got != want {
				t.Errorf("seed %d, cut %d of %d:\n%s\nwant\n%s", seed, i, len(cuts), got, want)
			}
			_ = cut.store.Close()
		}
		if len(cuts) < 3 {
			t.Errorf("seed %d: only %d cuts", seed, len(cuts))
		}
	}
}
