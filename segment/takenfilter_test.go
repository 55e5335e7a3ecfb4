// SPDX-License-Identifier: Apache-2.0

package segment

import (
	"encoding/binary"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/seguemta/segue/segment/store"
)

func randomHash(r *rand.Rand) (h store.MessageHash) {
	binary.LittleEndian.PutUint64(h[:], r.Uint64())
	binary.LittleEndian.PutUint64(h[8:], r.Uint64())
	return h
}

// TestTakenFilter fills three layers: every id is found, and hardly any other is.
func TestTakenFilter(t *testing.T) {
	t.Parallel()
	var of takenDay
	const n = takenFirst*takenShare*17 + 1000
	r := rand.New(rand.NewPCG(1, 2))
	for range n {
		of.add(randomHash(r))
	}
	if len(of.layers) != 3 {
		t.Errorf("%d layers", len(of.layers))
	}
	again, wrong := rand.New(rand.NewPCG(1, 2)), 0
	for range n {
		if !of.has(randomHash(again)) {
			t.Fatal("an id is not found")
		}
		if of.has(randomHash(r)) {
			wrong++
		}
	}
	if wrong > n/200 {
		t.Errorf("%d of %d others are found", wrong, n)
	}
}

// TestTakenAfterOpen sends calls again on later days, before and after the store was
// opened anew.
func TestTakenAfterOpen(t *testing.T) {
	t.Parallel()
	h := &hand{t0()}
	o := testOptions(t, vfs.NewMem())
	o.Now = h.Now
	d := open(t, o)
	calls := scored(0, 50, 50, func(i int) float64 { return float64(i) })
	send := func(d *DB, want float64) {
		t.Helper()
		before := repeated(d)
		if errs, err := d.Ingest(t.Context(), calls); err != nil || errs[0] != nil {
			t.Fatal(errs, err)
		}
		if got := repeated(d) - before; got != want {
			t.Errorf("%v of %d calls are recognised, not %v", got, len(calls), want)
		}
	}
	send(d, 0)
	h.turn(takenDays * 24 * time.Hour)
	send(d, 50)
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	d = open(t, o)
	send(d, 50)
	h.turn(24 * time.Hour)
	send(d, 0)
	send(d, 50)
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
}

// TestTakenFills opens a store in which a day has more message ids than a first call
// waits for: all are recognised before and after the rest is read, and those that come
// meanwhile.
func TestTakenFills(t *testing.T) {
	t.Parallel()
	h := &hand{t0()}
	o := testOptions(t, vfs.NewMem())
	o.Now = h.Now
	d := open(t, o)
	today := day(h.Now())
	r := rand.New(rand.NewPCG(3, 4))
	n := takenRead + takenStep + takenStep/2
	ids := make([]store.MessageHash, n)
	b := d.store.Batch()
	for i := range ids {
		ids[i] = randomHash(r)
		b.Taken(today, ids[i], store.Applied)
	}
	if err := b.Commit(); err != nil {
		t.Fatal(err)
	}
	of := func() *takenDay {
		t.Helper()
		d.write.Lock()
		defer d.write.Unlock()
		of, err := d.taken.day(d.store, today)
		if err != nil {
			t.Fatal(err)
		}
		return of
	}
	check := func(all bool) {
		t.Helper()
		x := of()
		if x.all != all {
			t.Errorf("each id may be there: %v, want %v", x.all, all)
		}
		for _, id := range ids {
			if !x.has(id) {
				t.Fatal("an id is not found")
			}
		}
	}
	check(true)
	late := randomHash(r)
	of().add(late)
	for steps := 0; ; steps++ {
		more, err := d.fillTaken()
		if err != nil {
			t.Fatal(err)
		}
		if !more {
			if steps != 2 {
				t.Errorf("%d steps", steps)
			}
			break
		}
		check(steps == 0)
	}
	if !of().has(late) || of().has(randomHash(r)) {
		t.Error("what came meanwhile is not found, or a stranger is")
	}
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
}

func repeated(d *DB) float64 { return testutil.ToFloat64(d.metrics.tracking.repeated) }
