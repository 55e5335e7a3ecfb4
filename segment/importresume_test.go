// SPDX-License-Identifier: Apache-2.0

package segment

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"reflect"
	"strconv"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// people writes a file of n rows, some bad, some naming a contact again.
func people(n int, seed uint64) string {
	rng := rand.New(rand.NewPCG(seed, 9))
	var b strings.Builder
	b.WriteString("email,user_id,account,last_sent_at,last_engaged_at,sends_since_engagement,contact.status,contact.score,account.employees\n")
	for i := range n {
		who := i
		if rng.IntN(10) == 0 {
			who = rng.IntN(n)
		}
		score := strconv.Itoa(rng.IntN(100))
		if rng.IntN(50) == 0 {
			score = "a lot"
		}
		fmt.Fprintf(&b, "u%d@example.com,user%d,\"Company, %d\",2026-05-%02d,2026-04-%02d,%d,%s,%s,%d\n", who, rng.IntN(n),
			rng.IntN(1+n/20), 1+rng.IntN(28), 1+rng.IntN(28), rng.IntN(12), []string{"trial", "customer", ""}[rng.IntN(3)], score, rng.IntN(200))
	}
	return b.String()
}

// TestImportGoesOnAfterACrash cuts the power at random commits, several times,
// and holds that store, result and rejected rows end as without.
func TestImportGoesOnAfterACrash(t *testing.T) {
	text := people(3500, 1)
	calm := open(t, testOptions(t, vfs.NewMem()))
	defer calm.Close()
	want, wantBad, err := load(t, calm, "people.csv", text)
	if err != nil {
		t.Fatal(err)
	}
	if want.Rejected == 0 || want.Updated == 0 || want.Moved == 0 {
		t.Fatalf("the file is too tame: %+v", want)
	}
	for seed := range uint64(2) {
		rng := rand.New(rand.NewPCG(seed, 4))
		fs := vfs.NewCrashableMem()
		for {
			left := 1 + rng.IntN(3)
			var crashed *vfs.MemFS
			d := open(t, testOptions(t, fs))
			ctx, cancel := context.WithCancel(context.Background())
			var bad file
			got, err := d.Import(ctx, ImportOptions{
				Reader: strings.NewReader(text), Name: "people.csv",
				Rejected: func() (io.WriteCloser, error) { return &bad, nil },
				Progress: func(r ImportResult) {
					if left--; left == 0 && r.Rows < want.Rows {
						crashed = fs.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: rng.IntN(101), RNG: rng})
						cancel()
					}
				},
			})
			cancel()
			if crashed == nil {
				if err != nil {
					t.Fatal(err)
				}
				got.Resumed = 0
				if !reflect.DeepEqual(got, want) {
					t.Errorf("seed %d: result %+v, want %+v", seed, got, want)
				}
				same(t, fmt.Sprintf("seed %d", seed), summary(t, d), summary(t, calm))
				same(t, fmt.Sprintf("seed %d, rejected", seed), bad.String(), wantBad)
			} else if !errors.Is(err, context.Canceled) {
				t.Fatal(err)
			}
			if err := d.Close(); err != nil {
				t.Fatal(err)
			}
			if crashed == nil {
				break
			}
			fs = crashed
		}
	}
}

// interrupt imports text until some rows are committed, and stops.
func interrupt(t *testing.T, d *DB, text string, rows uint64) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	_, err := d.Import(ctx, ImportOptions{Reader: strings.NewReader(text), Name: "p.csv", Progress: func(r ImportResult) {
		if r.Rows >= rows {
			cancel()
		}
	}})
	if !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
}

func TestImportNoticesAChangedFile(t *testing.T) {
	text := people(3000, 2) // longer than the fingerprint
	for name, other := range map[string]string{
		"changed": text[:fingerprint] + strings.Replace(text[fingerprint:], "trial", "Trial", 1),
		"cut":     text[:fingerprint+100],
	} {
		d := mem(t)
		interrupt(t, d, text, 2000)
		if _, _, err := load(t, d, "p.csv", other); !errors.Is(err, ErrChanged) {
			t.Fatalf("%s: %v", name, err)
		}
		if r, _, err := load(t, d, "p.csv", other); err != nil || r.Resumed != 0 {
			t.Fatalf("%s, again: %+v, %v", name, r, err)
		}
	}
}
