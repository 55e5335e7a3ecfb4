// SPDX-License-Identifier: Apache-2.0

package segment

import (
	"context"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/seguemta/segue/mta/event"
	"github.com/seguemta/segue/segment/tier"
)

// onePass is the store after every event up to a number, applied one by one.
func onePass(t *testing.T, events []event.Event, show func(testing.TB, *DB) string) string {
	t.Helper()
	d := open(t, testOptions(t, vfs.NewMem()))
	defer d.Close()
	for i := range events {
		apply(t, d, events[i:i+1])
	}
	return show(t, d)
}

// TestSplitsAndRepeatsChangeNothing holds that a log applied in any pieces, with
// any prefix given again at any time and the database reopened in between, makes
// the same store as one pass.
func TestSplitsAndRepeatsChangeNothing(t *testing.T) {
	for seed := range uint64(12) {
		rng := rand.New(rand.NewPCG(seed, 1))
		events := randomLog(rng, 40+rng.IntN(200))
		want := onePass(t, events, dump)
		fs := vfs.NewMem()
		d := open(t, testOptions(t, fs))
		for at := 0; at < len(events); {
			n := min(1+rng.IntN(60), len(events)-at)
			apply(t, d, events[rng.IntN(at+1):at+n])
			at += n
			if rng.IntN(3) == 0 {
				apply(t, d, events[:rng.IntN(at+1)])
			}
			if rng.IntN(4) == 0 {
				if err := d.Close(); err != nil {
					t.Fatal(err)
				}
				d = open(t, testOptions(t, fs))
			}
		}
		same(t, fmt.Sprintf("seed %d", seed), dump(t, d), want)
		if err := d.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// crash applies a random log while power is cut at a random moment, and returns
// the cursor that the caller had been promised by then, with what was left.
func crash(t *testing.T, seed uint64, noSync bool) (promised uint64, left *vfs.MemFS, events []event.Event) {
	t.Helper()
	rng := rand.New(rand.NewPCG(seed, 2))
	events = randomLog(rng, 300)
	fs := vfs.NewCrashableMem()
	o := testOptions(t, fs)
	o.private.noSync = noSync
	d := open(t, o)
	cut := rng.IntN(len(events))
	keep := rng.IntN(101)
	if noSync {
		keep = 0
	}
	cfg := vfs.CrashCloneCfg{UnsyncedDataPercent: keep, RNG: rng}
	for at := 0; at < len(events); {
		n := min(1+rng.IntN(40), len(events)-at)
		if at+n <= cut {
			apply(t, d, events[at:at+n])
			at += n
			continue
		}
		promised = uint64(at)
		done := make(chan error, 1)
		go func() { done <- d.Apply(context.Background(), epoch, events[at:at+n]) }()
		if rng.IntN(2) == 0 { // during the commit, else after it
			left = fs.CrashClone(cfg)
		}
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		if left == nil {
			promised = uint64(at + n)
			left = fs.CrashClone(cfg)
		}
		break
	}
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	return promised, left, events
}

// TestNothingPromisedIsLost holds that what Apply returned for survives a power
// cut, and that what is left is the store of exactly the events up to its
// cursor: no event is half applied, none is applied without its cursor.
func TestNothingPromisedIsLost(t *testing.T) {
	for seed := range uint64(40) {
		promised, left, events := crash(t, seed, false)
		d := open(t, testOptions(t, left))
		at := d.Cursor().Sequence
		if at < promised {
			t.Errorf("seed %d: the cursor is %d, %d was promised", seed, at, promised)
		}
		if seed%4 == 0 {
			if at > 0 {
				same(t, fmt.Sprintf("seed %d after the crash", seed), dump(t, d), onePass(t, events[:at], dump))
			}
			apply(t, d, events)
			same(t, fmt.Sprintf("seed %d after the replay", seed), summary(t, d), onePass(t, events, summary))
		}
		if err := d.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// TestNoSyncControl shows that the test above can fail.
func TestNoSyncControl(t *testing.T) {
	lost := 0
	for seed := range uint64(10) {
		promised, left, _ := crash(t, seed, true)
		d := open(t, testOptions(t, left))
		if d.Cursor().Sequence < promised {
			lost++
		}
		if err := d.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if lost == 0 {
		t.Fatal("commits without sync lost nothing: the crash test proves nothing")
	}
}

// model is the slow, obvious second implementation: it keeps every event of a
// contact and computes from all of them.
type model map[string][]event.Event

func (m model) tier(rules tier.Rules, address string, now event.Event) string {
	var s tier.State
	for _, e := range m[address] {
		if e.Kind == event.Engaged {
			s.LastEngaged = e.Time
		}
	}
	for _, e := range m[address] {
		if e.Kind != event.Delivered {
			continue
		}
		s.Sends++
		if s.FirstSent.IsZero() {
			s.FirstSent = e.Time
		}
		s.LastSent = e.Time
		if e.Time.After(s.LastEngaged) {
			s.SendsSinceEngagement++
		}
	}
	return rules.Of(s, now.Time).String()
}

func (m model) suppressed(address, stream string) bool {
	for _, e := range m[address] {
		switch {
		case (e.Kind == event.Bounced || e.Kind == event.DSN) && e.Verdict == "suppress":
			return true
		case e.Kind == event.Complained && (stream == "marketing" || stream == e.Stream):
			return true
		case e.Kind == event.Unsubscribed && stream == e.Stream:
			return true
		}
	}
	return false
}

func TestApplyAgainstTheModel(t *testing.T) {
	for seed := range uint64(10) {
		rng := rand.New(rand.NewPCG(seed, 3))
		events := randomLog(rng, 250)
		d := open(t, testOptions(t, vfs.NewMem()))
		m := model{}
		for i := range events {
			e := events[i]
			apply(t, d, events[i:i+1])
			m[e.Address] = append(m[e.Address], e)
			for _, stream := range []string{"marketing", "news", "transactional"} {
				got, s, err := d.Check(e.Contact, addr(t, e.Address), Mail{Stream: stream, Domain: "example.com"}, e.Time)
				if err != nil {
					t.Fatal(err)
				}
				if want := m.tier(tier.Default(), e.Address, e); got != want {
					t.Fatalf("seed %d, event %d: tier %s, want %s", seed, i, got, want)
				}
				if want := m.suppressed(e.Address, stream); (s != nil) != want {
					t.Fatalf("seed %d, event %d, %s: suppressed %v, want %v", seed, i, stream, s, want)
				}
			}
		}
		if err := d.Close(); err != nil {
			t.Fatal(err)
		}
	}
}
