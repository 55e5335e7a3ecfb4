// SPDX-License-Identifier: Apache-2.0

package mta

import (
	"math/rand/v2"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// TestCanarySurvivesPowerLoss: the power goes while a trial begins, and again when it has
// passed. The same contacts go first, nobody is lost, and who is proven stays proven.
func TestCanarySurvivesPowerLoss(t *testing.T) {
	for seed := range uint64(4) {
		synctest.Test(t, func(t *testing.T) { canarySurvives(t, seed) })
	}
}

func canarySurvives(t *testing.T, seed uint64) {
	t.Helper()
	rng := rand.New(rand.NewPCG(seed, 6))
	fs := vfs.NewCrashableMem()
	w := newTown(t)
	table := "batches = false\n"
	if seed%2 == 1 {
		table = "segments = false\n"
	}
	w.mailFS, w.change = fs, twoSegments("[http]", "[canary]\nleast = 4\nshare = 0.1\n"+table+"[http]")
	w.run()
	cut := func() {
		w.t.Helper()
		left := fs.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: rng.IntN(101), RNG: rng})
		w.stop()
		w.mailFS, fs = left, left
		w.run()
	}
	w.members("trial", "ok", "fair", 40)
	w.mailTo("", "ok", 0, 40)
	time.Sleep(firstGather + time.Duration(rng.IntN(400))*time.Millisecond)
	before := w.first()
	cut()
	w.gathered()
	went := slices.Compact(w.first())
	if len(went) < 4 || len(went) > 25 {
		t.Errorf("seed %d: %d went first, %d before the cut", seed, len(went), len(before))
	}
	w.later(4*time.Hour + time.Minute)
	time.Sleep(time.Duration(rng.IntN(300)) * time.Millisecond)
	cut()
	w.judged()
	all := w.first()
	if n := len(slices.Compact(slices.Clone(all))); n != 40 || len(all) > 45 {
		t.Errorf("seed %d: %d of 40 arrived, %d times; acts %s; held %v", seed, n, len(all), w.acts(), w.heldUnder())
	}
	w.mailTo("", "ok", 0, 40)
	w.judged()
	if n := w.delivered("ok") - len(all); n != 40 {
		t.Errorf("seed %d: %d of 40 who are proven went; acts %s", seed, n, w.acts())
	}
	w.stop()
	w.verify()
}
