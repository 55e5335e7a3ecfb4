// SPDX-License-Identifier: Apache-2.0

package segment

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/seguemta/segue/segment/store"
)

// grep finds ann in the files of a directory.
func grep(tb testing.TB, dir string) []string {
	tb.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil || len(files) == 0 {
		tb.Fatal(files, err)
	}
	var list []string
	for _, f := range files {
		text, err := os.ReadFile(f)
		if errors.Is(err, os.ErrNotExist) {
			continue // removed since
		}
		if err != nil {
			tb.Fatal(err)
		}
		for _, what := range marks() {
			if bytes.Contains(text, []byte(what)) {
				list = append(list, filepath.Base(f)+" holds "+what)
			}
		}
	}
	return list
}

// TestEraseTakesTheBytesOutOfTheFiles looks into the files of a store on disk: one
// in whose log everything still is, and one whose tables have several levels.
func TestEraseTakesTheBytesOutOfTheFiles(t *testing.T) {
	for _, written := range []string{"in the log", "in tables", "in tables and logs"} {
		t.Run(written, func(t *testing.T) {
			h := &hand{t0()}
			o := eraseOptions(t, nil, h)
			o.Dir = filepath.Join(t.TempDir(), "contacts")
			d := open(t, o)
			defer func() { d.Close() }()
			if written != "in the log" {
				fill(t, d, 3000)
			}
			settleIn(t, d, h)
			if written != "in the log" {
				if err := d.store.Scrub(context.Background(), [][]byte{{1}}); err != nil {
					t.Fatal(err)
				}
			}
			if written == "in tables and logs" {
				if _, _, err := load(t, d, "b.csv", "email,language\n"+annAddress+",de\n"); err != nil {
					t.Fatal(err)
				}
			}
			if len(grep(t, o.Dir)) < 4 {
				t.Fatalf("before: %v", grep(t, o.Dir))
			}
			if e := concluded(t, d, annAddress); e.Done.IsZero() {
				t.Errorf("%+v", e)
			}
			until := time.Now().Add(20 * time.Second) // old files are removed behind the back of who asked
			for len(grep(t, o.Dir)) > 0 && time.Now().Before(until) {
				<-time.After(10 * time.Millisecond)
			}
			if left := grep(t, o.Dir); len(left) != 0 {
				t.Errorf("left: %v", left)
			}
		})
	}
}

// fill imports contacts.
func fill(tb testing.TB, d *DB, n int) {
	tb.Helper()
	var b strings.Builder
	b.WriteString("email,contact.status\n")
	for i := range n {
		fmt.Fprintf(&b, "c%d@dest.example,paid\n", i)
	}
	if _, _, err := load(tb, d, fmt.Sprint(n, ".csv"), b.String()); err != nil {
		tb.Fatal(err)
	}
}

// TestEraseWaitsForAnExport: who reads an older state keeps the bytes on disk.
func TestEraseWaitsForAnExport(t *testing.T) {
	h := &hand{t0()}
	d := open(t, eraseOptions(t, vfs.NewMem(), h))
	defer d.Close()
	settleIn(t, d, h)
	err := d.store.Snapshot(func(*store.Store) error {
		if _, err := d.MailErased(erase(t, d, annAddress), 0); err != nil {
			return err
		}
		_, err := d.Scrub(context.Background())
		return err
	})
	if !errors.Is(err, ErrPinned) {
		t.Errorf("while an export runs: %v", err)
	}
	if more, err := d.Scrub(context.Background()); !more || err != nil {
		t.Errorf("after it: %v, %v", more, err)
	}
}

// TestEraseWhileSegmentsAreBuilt erases a contact that the pass over all contacts
// has read and not taken in.
func TestEraseWhileSegmentsAreBuilt(t *testing.T) {
	h := &hand{t0()}
	fs := vfs.NewMem()
	o := eraseOptions(t, fs, h)
	d := open(t, o)
	settleIn(t, d, h)
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	o.Segments[0].Where = `"beta" in lists && contact.status != "x"`
	o.private.buildLater = true
	d = open(t, o)
	defer d.Close()
	for done := false; !done; {
		from, to, err := d.openWindow()
		if err != nil || from == 0 {
			t.Fatalf("the pass is through without meeting her: %d, %v", from, err)
		}
		parts, err := d.judgeWindow(context.Background(), from, to)
		if err != nil {
			t.Fatal(err)
		}
		if done = to >= annsID; done {
			erase(t, d, annAddress)
		}
		if err := d.takeWindow(from, to, parts); err != nil {
			t.Fatal(err)
		}
	}
	settle(t, d)
	if got := members(t, d); !slices.Equal(got, []string{"member of beta bob@dest.example", "member of trial bob@dest.example"}) {
		t.Errorf("%v", got)
	}
}

// TestEraseTwiceBeforeTheFilesAreDone erases somebody, lets it in again and erases it
// once more: what is left of the first time in the files is still to be taken out.
func TestEraseTwiceBeforeTheFilesAreDone(t *testing.T) {
	h := &hand{t0()}
	d := open(t, eraseOptions(t, vfs.NewMem(), h))
	defer d.Close()
	settleIn(t, d, h)
	left := func() map[string]bool {
		x, err := d.store.ErasureOf(erase(t, d, annAddress).key)
		if err != nil || x.Stage == store.EraseDone {
			t.Fatal(x, err)
		}
		list := map[string]bool{}
		for _, p := range x.Left {
			list[string(p)] = true
		}
		return list
	}
	first := left()
	h.turn(time.Minute)
	if _, err := d.Lift(addr(t, annAddress), "", Because{Stated: true}); err != nil {
		t.Fatal(err)
	}
	importRow(t, d, "again.csv", "email\n"+annAddress+"\n")
	second := left()
	for p := range first {
		if !second[p] {
			t.Errorf("%q is left in the files", p)
		}
	}
	if len(second) <= len(first) {
		t.Errorf("%d prefixes after %d", len(second), len(first))
	}
}
