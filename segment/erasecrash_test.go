// SPDX-License-Identifier: Apache-2.0

package segment

import (
	"context"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/seguemta/segue/mta/event"
	"github.com/seguemta/segue/segment/store"
)

// eraseAndCut erases ann while power is cut at a random moment. It returns the last
// step that was acknowledged: 0 none, 1 erased, 2 the mail is concluded, 3 the
// files are done.
func eraseAndCut(t *testing.T, seed uint64, noSync bool) (done int, left *vfs.MemFS) {
	t.Helper()
	rng := rand.New(rand.NewPCG(seed, 5))
	h := &hand{t0()}
	fs := vfs.NewCrashableMem()
	o := eraseOptions(t, fs, h)
	o.private.noSync = noSync
	d := open(t, o)
	settleIn(t, d, h)
	keep := rng.IntN(101)
	if noSync {
		keep = 0
	}
	cfg := vfs.CrashCloneCfg{UnsyncedDataPercent: keep, RNG: rng}
	var e Erased
	steps := []func() error{
		func() (err error) { e, err = d.Erase(annAddress); return err },
		func() (err error) { e, err = d.MailErased(e, 1); return err },
		func() error { _, err := d.Scrub(context.Background()); return err },
	}
	at, during := rng.IntN(len(steps)), rng.IntN(2) == 0
	for i, step := range steps[:at+1] {
		failed := make(chan error, 1)
		go func() { failed <- step() }()
		if i == at && during {
			left = fs.CrashClone(cfg)
		}
		if err := <-failed; err != nil {
			t.Fatal(err)
		}
		if left == nil {
			done = i + 1
		}
	}
	if left == nil {
		left = fs.CrashClone(cfg)
	}
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	return done, left
}

// TestEraseSurvivesACrash holds that an erasure is there wholly or not at all, wholly
// where it was acknowledged; that what was under way is known after the start and
// can be finished; and that the log, applied again, brings nothing back.
func TestEraseSurvivesACrash(t *testing.T) {
	for seed := range uint64(40) {
		done, left := eraseAndCut(t, seed, false)
		h := &hand{t0()}
		d := open(t, eraseOptions(t, left, h))
		v := look(t, d, annAddress)
		if v.Known {
			if done > 0 {
				t.Errorf("seed %d: an acknowledged erasure is lost", seed)
			}
			if got := members(t, d); v.ID != annsID || !slices.Contains(got, "member of beta "+annAddress) {
				t.Errorf("seed %d: half of her is left: %+v, %v", seed, v, got)
			}
			erase(t, d, annAddress)
		}
		if s := look(t, d, annAddress).Suppressed; s == nil {
			t.Errorf("seed %d: she may be mailed", seed)
		}
		pending, err := d.Erasures()
		if err != nil || done >= 2 && len(pending) != 0 {
			t.Errorf("seed %d: after step %d pending %+v, %v", seed, done, pending, err)
		}
		for _, e := range pending {
			if e.Address != annAddress {
				t.Errorf("seed %d: whose mail? %+v", seed, e)
			}
			if _, err := d.MailErased(e, 0); err != nil {
				t.Fatal(err)
			}
		}
		apply(t, d, log(slices.Repeat([]event.Event{{Kind: event.Delivered, Message: 9, Address: annAddress, Time: h.now.Add(time.Minute)}}, 9)...))
		if _, err := d.Scrub(context.Background()); err != nil {
			t.Fatal(err)
		}
		if got := traces(t, d); len(got) != 0 {
			t.Errorf("seed %d: after step %d left: %v", seed, done, got)
		}
		if got := members(t, d); strings.Contains(strings.Join(got, "\n"), "ann.") || d.Contacts() != 1 {
			t.Errorf("seed %d: %v", seed, got)
		}
		if err := d.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// TestEraseCrashControl shows that the test above can fail.
func TestEraseCrashControl(t *testing.T) {
	lost := 0
	for seed := range uint64(12) {
		done, left := eraseAndCut(t, seed, true)
		s, err := store.Open(store.Options{Dir: "contacts", FS: left, Secret: []byte(strings.Repeat("k", 32))})
		if err != nil {
			t.Fatal(err)
		}
		have, err := s.ErasureOf(store.HashAddress([]byte(strings.Repeat("k", 32)), annAddress))
		if err != nil {
			t.Fatal(err)
		}
		if done > 0 && have.At.IsZero() {
			lost++
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if lost == 0 {
		t.Fatal("commits without sync lost no erasure: the crash test proves nothing")
	}
}
