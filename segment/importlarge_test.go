// SPDX-License-Identifier: Apache-2.0

package segment

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/seguemta/segue/mta/mtatest"
)

// TestImportLargeFile imports 20,000 rows, or SEGUE_IMPORT_ROWS, from disk to
// disk, and reports speed and memory.
func TestImportLargeFile(t *testing.T) {
	n := 20_000
	if testing.Short() {
		n = 5_000
	}
	n = mtatest.EnvNumber(t, "SEGUE_IMPORT_ROWS", n)
	dir := t.TempDir()
	path := filepath.Join(dir, "people.csv")
	w, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	writePeople(t, w, n)
	in, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	o := testOptions(t, nil)
	o.Dir = filepath.Join(dir, "contacts")
	d := open(t, o)
	defer d.Close()
	var peak uint64
	start := time.Now()
	r, err := d.Import(context.Background(), ImportOptions{Reader: in, Name: path, Progress: func(r ImportResult) {
		if r.Rows%50_000 == 0 {
			var m runtime.MemStats
			runtime.ReadMemStats(&m)
			peak = max(peak, m.HeapInuse)
		}
	}})
	took := time.Since(start)
	if err != nil || r.Rows != uint64(n) || r.Created != uint64(n) || d.Contacts() != n {
		t.Fatalf("result %+v of %d contacts, %v", r, d.Contacts(), err)
	}
	t.Logf("%d rows in %s: %.0f rows/s, heap at most %d MiB, resident at most %s", n, took.Round(time.Millisecond),
		float64(n)/took.Seconds(), peak>>20, peakResident())
	// What grows with the contacts is their state in memory, 32 bytes each. The rest
	// leaves room for four write buffers of 32 MiB, which a build with the race
	// detector keeps on the heap; on a busy machine that many wait for the disk.
	if limit := uint64(128<<20 + 80*n); peak > limit {
		t.Errorf("the heap reached %d MiB, at most %d are allowed", peak>>20, limit>>20)
	}
	start = time.Now()
	all, err := d.Overview(context.Background())
	if err != nil || d.Contacts() != n {
		t.Fatalf("%d contacts, %v", d.Contacts(), err)
	}
	t.Logf("figures in %s: %d segments", time.Since(start).Round(time.Millisecond), len(all))
}

func writePeople(t *testing.T, w io.WriteCloser, n int) {
	t.Helper()
	var b bytes.Buffer
	b.WriteString("email,user_id,account,last_sent_at,last_engaged_at,sends_since_engagement,contact.status,contact.score,contact.tags,account.employees\n")
	for i := range n {
		fmt.Fprintf(&b, "person.%d@domain%d.example,user-%d,Company %d,2026-05-%02d,2026-04-%02d,%d,trial,%d,a|b,%d\n",
			i, i%977, i, i/20, 1+i%28, 1+i%27, i%12, i%100, i/20%200)
		if b.Len() > 1<<20 || i == n-1 {
			if _, err := w.Write(b.Bytes()); err != nil {
				t.Fatal(err)
			}
			b.Reset()
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
}

// peakResident is the largest resident size of this process, as the system says.
func peakResident() string {
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return "unknown"
	}
	for line := range strings.Lines(string(status)) {
		if rest, ok := strings.CutPrefix(line, "VmHWM:"); ok {
			return strings.TrimSpace(rest)
		}
	}
	return "unknown"
}
