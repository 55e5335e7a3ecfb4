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

func repeated(d *DB) float64 { return testutil.ToFloat64(d.metrics.tracking.repeated) }
