// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/seguemta/segue/mta/event"
	"github.com/seguemta/segue/mta/mtatest"
)

// soakMore is the configuration of a soak: four sources, and an age that lets
// everything end soon after the load has. The first table continues the pool.
const soakMore = `
[[pool.member]]
source = "a2"
[[pool.member]]
source = "a3"
[[pool.member]]
source = "a4"
[[source]]
name = "a2"
addresses = ["%[1]s.12"]
[[source]]
name = "a3"
addresses = ["%[1]s.13"]
[[source]]
name = "a4"
addresses = ["%[1]s.14"]
[[stream]]
name = "marketing"
max_age = "90s"
[[stream]]
name = "transactional"
max_age = "1m"
`

// The engine runs for SOAK (60s; 15s under the race detector) at half of what it can
// take on this machine, or at SOAK_RATE messages a second, while everything around it fails in
// turn. Nothing may grow, nothing may be lost, and nothing may arrive twice unless a
// connection broke after the final dot.
func TestSoak(t *testing.T) {
	t.Parallel()
	length := soakLength(t)
	w := newWorld(t)
	w.more = fmt.Sprintf(soakMore, w.net)
	l := newSoakLedger()
	f := makeFaults(t, w, l)
	w.start()
	w.usage() // the first request makes what later ones share
	before := w.usage()

	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	loading, stopLoad := context.WithCancel(ctx)
	listening, acting := &crew{}, &crew{}
	listening.run(func() error { return l.follow(ctx, w) })
	listening.run(func() error { return f.feedBack(ctx) })
	acting.run(func() error { return f.weather(loading) })
	acting.run(func() error { return f.operate(loading) })
	load := startLoad(loading, w, l)
	rate := soakRate(loading, t, load, length)
	acting.run(func() error { load.pace(loading, rate); return nil })
	samples := w.sample(l, length)
	stopLoad()
	if err := errors.Join(load.wait(), acting.wait()); err != nil {
		t.Error(err)
	}
	within(t, 4*time.Minute, "every recipient to end", func() bool { return l.waiting() == 0 && w.depth() == 0 })
	stop()
	if err := listening.wait(); err != nil {
		t.Error(err)
	}
	var after usage
	calm := func() bool {
		after = w.usage()
		return after.goroutines <= before.goroutines+5 && after.sockets <= before.sockets+2
	}
	defer func() { soakTable(t, before, samples, after) }()
	wait(t, "goroutines and sockets to be as few as before", calm)
	if after.files > before.files+100 {
		t.Errorf("%d files are open, %d were before", after.files, before.files)
	}
	balanced(t, l, f, load)
	flat(t, samples)
	w.stop()
	w.verify()
}

// soakLength is SOAK.
func soakLength(t *testing.T) time.Duration {
	t.Helper()
	text := os.Getenv("SOAK")
	switch {
	case text == "" && raced:
		return 15 * time.Second
	case text == "":
		return time.Minute
	}
	d, err := time.ParseDuration(text)
	if err != nil || d < 10*time.Second {
		t.Fatalf("SOAK=%s: it is a duration of at least 10s, such as 1h", text)
	}
	return d
}

// soakRate is SOAK_RATE, or half of what the engine is measured to take.
func soakRate(ctx context.Context, t *testing.T, load *soakLoad, length time.Duration) float64 {
	t.Helper()
	if n := mtatest.EnvNumber(t, "SOAK_RATE", 0); n > 0 {
		return float64(n)
	}
	full := load.measure(ctx, min(20*time.Second, length/5))
	t.Logf("the engine takes %.0f messages a second while everything fails in turn; the load is half of it", full)
	if full < 2 {
		t.Fatalf("%.1f messages a second are no load", full)
	}
	return full / 2
}

// sample is what the engine took at one moment of a soak.
type sample struct {
	at time.Duration
	usage
	depth, messages, ended int
}

// sample looks at the engine for as long as the soak lasts.
func (w *world) sample(l *soakLedger, length time.Duration) []sample {
	w.t.Helper()
	var list []sample
	began := time.Now()
	tick := time.NewTicker(max(time.Second, length/240))
	defer tick.Stop()
	for time.Since(began) < length {
		select {
		case <-w.ended:
			w.t.Fatalf("the engine ended: %v", w.err)
		case <-tick.C:
		}
		s := sample{at: time.Since(began), usage: w.usage(), depth: w.depth()}
		s.messages, _, s.ended = l.count()
		list = append(list, s)
	}
	return list
}

// depth is how many recipients are in the queue.
func (w *world) depth() int {
	w.t.Helper()
	s := w.summary()
	return s.Waiting + s.Held + s.InFlight
}

// flat compares the last quarter of a soak with the second: the first is when
// caches fill.
func flat(t *testing.T, samples []sample) {
	t.Helper()
	const share = 1.25
	for _, m := range []struct {
		name  string
		spare int64 // what may come on top
		of    func(*sample) int64
	}{
		{"VmRSS", 32 << 20, func(s *sample) int64 { return s.rss }},
		{"heap in use", 16 << 20, func(s *sample) int64 { return s.heap }},
		{"goroutines", 100, func(s *sample) int64 { return int64(s.goroutines) }},
		{"sockets", 50, func(s *sample) int64 { return int64(s.sockets) }},
		{"files", 100, func(s *sample) int64 { return int64(s.files) }},
	} {
		n := len(samples)
		second, last := median(samples[n/4:n/2], m.of), median(samples[n-n/4:], m.of)
		if limit := int64(share*float64(second)) + m.spare; last > limit {
			t.Errorf("%s grows: %d in the last quarter, %d in the second", m.name, last, second)
		}
	}
}

func median(list []sample, of func(*sample) int64) int64 {
	values := make([]int64, len(list))
	for i := range list {
		values[i] = of(&list[i])
	}
	slices.Sort(values)
	return values[len(values)/2]
}

// balanced checks the ledger, and that the soak has seen what it is for.
func balanced(t *testing.T, l *soakLedger, f *faults, load *soakLoad) {
	t.Helper()
	for _, wrong := range l.check() {
		t.Error(wrong)
	}
	t.Logf("%d messages, %d recipients, %d refused for now; %d arrived, %d more without an answer; %d reports came back, %d were too many; events: %v",
		l.messages, l.recipients, load.later.Load(), l.arrived, l.repeated, f.sent.Load(), f.lost.Load(), l.kinds)
	if l.kinds[event.Delivered] < l.recipients/2 {
		t.Errorf("%d of %d recipients were delivered: this was no soak but an outage", l.kinds[event.Delivered], l.recipients)
	}
	for _, kind := range []event.Kind{event.Delivered, event.Deferred, event.Bounced, event.Suppressed, event.DSN, event.Held, event.Released, event.SuppressLift} {
		if l.kinds[kind] == 0 {
			t.Errorf("nothing was %s in the whole soak", kind)
		}
	}
}

// soakTable prints some of the samples.
func soakTable(t *testing.T, before usage, samples []sample, after usage) {
	t.Helper()
	var b strings.Builder
	row := func(at string, u *usage, depth, messages, ended int) {
		fmt.Fprintf(&b, "%8s %8d %8d %10d %8d %6d %9d %7d %9d %9d\n", at, mib(u.rss), mib(u.heap), u.goroutines, u.sockets, u.files, mib(u.data), depth, messages, ended)
	}
	fmt.Fprintf(&b, "%8s %8s %8s %10s %8s %6s %9s %7s %9s %9s\n", "at", "RSS MiB", "heap MiB", "goroutines", "sockets", "files", "data MiB", "depth", "messages", "ended")
	row("before", &before, 0, 0, 0)
	step := max(1, len(samples)/24)
	for i := step - 1; i < len(samples); i += step {
		s := &samples[i]
		row(s.at.Round(time.Second).String(), &s.usage, s.depth, s.messages, s.ended)
	}
	row("after", &after, 0, 0, 0)
	t.Logf("the soak:\n%s", b.String())
}
