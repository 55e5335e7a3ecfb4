// SPDX-License-Identifier: Apache-2.0

package segment

import (
	"context"
	"fmt"
	"slices"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// laterOptions leave all building to Tend, 8 contacts at a time.
func laterOptions(tb testing.TB, fs vfs.FS, h *hand, segments ...Definition) Options {
	tb.Helper()
	o := liveOptions(tb, fs, h)
	o.Segments = segments
	o.private.buildLater, o.private.window = true, 8
	return o
}

// trials is a base of n contacts of which the first half are on trial.
func trials(tb testing.TB, fs vfs.FS, h *hand, n int) {
	tb.Helper()
	d := open(tb, laterOptions(tb, fs, h, Definition{Name: "trial", Where: `contact.status == "trial"`}))
	settle(tb, d)
	text := "email,contact.status,contact.score\n"
	for i := range n {
		status := "trial"
		if i >= n/2 {
			status = "paying"
		}
		text += fmt.Sprintf("u%d@example.com,%s,%d\n", i, status, i)
	}
	importRow(tb, d, "trials.csv", text)
	if err := d.Close(); err != nil {
		tb.Fatal(err)
	}
}

func infos(d *DB) (list []string) {
	for _, s := range d.Segments() {
		list = append(list, fmt.Sprintf("%s %s %.0f%% %d", s.Name, s.State, 100*s.Progress, s.Members))
	}
	return list
}

// TestRebuildServesTheOldUntilTheSwap holds that a changed rule changes nobody
// until all are judged, that a segment never built has nobody and says so, that
// writes meanwhile count in both, and that all change at once.
func TestRebuildServesTheOldUntilTheSwap(t *testing.T) {
	h := &hand{t0()}
	fs := vfs.NewMem()
	trials(t, fs, h, 40)
	d := open(t, laterOptions(t, fs, h,
		Definition{Name: "trial", Order: 2, Where: `contact.status == "paying"`},
		Definition{Name: "high", Order: 1, Where: `contact.score >= 30`},
	))
	defer d.Close()
	if got := infos(d); !slices.Equal(got, []string{"high building 0% 0", "trial building 0% 20"}) {
		t.Fatalf("segments %v", got)
	}
	last := d.LastFlip()
	for range 2 {
		if _, err := d.buildStep(context.Background()); err != nil {
			t.Fatal(err)
		}
	}
	for who, want := range map[string]int{"u1@example.com": 1, "u39@example.com": 0} {
		if v := look(t, d, who); len(v.Segments) != want || want == 1 && v.Segments[0].Version != RuleVersion(`contact.status == "trial"`) {
			t.Errorf("%s is in %v", who, v.Segments)
		}
	}
	importRow(t, d, "1.csv", "email,contact.status,contact.score\nu1@example.com,paying,99\nu38@example.com,trial,1\n")
	expect(t, d, last, "left trial u1@example.com (import)", "entered trial u38@example.com (import)")
	last = d.LastFlip()
	settle(t, d)
	if got := infos(d); !slices.Equal(got, []string{"high live 0% 10", "trial live 0% 20"}) {
		t.Fatalf("segments %v", got)
	}
	got := flow(t, d, last)
	if len(got) != 2+10+40 || !slices.Contains(got, "rebuilt high +10 -0") || !slices.Contains(got, "rebuilt trial +20 -20") ||
		!slices.Contains(got, "entered high u1@example.com (definition)") || !slices.Contains(got, "left trial u38@example.com (definition)") {
		t.Errorf("flow %v", got)
	}
	if v := look(t, d, "u1@example.com"); len(v.Segments) != 2 {
		t.Errorf("u1 is in %v", v.Segments)
	}
	expect(t, d, d.LastFlip())
}

// TestRebuildGoesOnAfterACrash holds that a pass goes on behind what was stored
// of it, and misses nothing that was written before the power cut.
func TestRebuildGoesOnAfterACrash(t *testing.T) {
	h := &hand{t0()}
	mem := vfs.NewCrashableMem()
	trials(t, mem, h, 100)
	rules := []Definition{{Name: "high", Where: `contact.score >= 30`}}
	d := open(t, laterOptions(t, mem, h, rules...))
	for range 7 { // 55 contacts; 47 of them are stored
		if _, err := d.buildStep(context.Background()); err != nil {
			t.Fatal(err)
		}
	}
	importRow(t, d, "1.csv", "email,contact.score\nu2@example.com,77\nu35@example.com,7\nu52@example.com,3\nu90@example.com,1\n")
	left := mem.CrashClone(vfs.CrashCloneCfg{})
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	d = open(t, laterOptions(t, left, h, rules...))
	defer d.Close()
	if at := d.live.build.Cursor; at != 47 {
		t.Fatalf("the pass goes on behind %d", at)
	}
	settle(t, d)
	if got := infos(d); !slices.Equal(got, []string{"high live 0% 68"}) {
		t.Fatalf("segments %v", got)
	}
	expect(t, d, d.LastFlip())
}

// TestRebuildOfManyIsOneFlip holds that a swap of many memberships is told by
// one flip a segment.
func TestRebuildOfManyIsOneFlip(t *testing.T) {
	h := &hand{t0()}
	fs := vfs.NewMem()
	trials(t, fs, h, 2*swapListed+2)
	d := open(t, laterOptions(t, fs, h, Definition{Name: "trial", Where: `contact.status == "x"`}))
	defer d.Close()
	last := d.LastFlip()
	settle(t, d)
	expect(t, d, last, fmt.Sprintf("rebuilt trial +0 -%d", swapListed+1))
}

// TestRebuildForgetsRemoved holds that a segment that is no longer defined is
// gone, with its members.
func TestRebuildForgetsRemoved(t *testing.T) {
	h := &hand{t0()}
	fs := vfs.NewMem()
	trials(t, fs, h, 10)
	d := open(t, laterOptions(t, fs, h, Definition{Name: "high", Where: `contact.score >= 3`}))
	defer d.Close()
	if d.HasSegment("trial") || len(look(t, d, "u1@example.com").Segments) != 0 {
		t.Error("a removed segment is still there")
	}
	settle(t, d)
	have, err := d.store.Segments()
	if err != nil || len(have) != 1 || have[0].Name != "high" {
		t.Fatalf("stored segments %+v, %v", have, err)
	}
	expect(t, d, d.LastFlip())
}

// TestRebuildOfABrokenRule holds that a rule that does not compile has no members
// from the moment it is configured.
func TestRebuildOfABrokenRule(t *testing.T) {
	h := &hand{t0()}
	fs := vfs.NewMem()
	trials(t, fs, h, 10)
	d := open(t, laterOptions(t, fs, h, Definition{Name: "trial", Where: `contact.nothing == 1`}))
	defer d.Close()
	for range 2 {
		if got := infos(d); !slices.Equal(got, []string{"trial failed 0% 0"}) || len(look(t, d, "u1@example.com").Segments) != 0 || len(members(t, d)) != 0 {
			t.Fatalf("segments %v, u1 in %v, members %v", got, look(t, d, "u1@example.com").Segments, members(t, d))
		}
		settle(t, d)
	}
}

// TestRebuildMissesNothingWrittenMeanwhile holds that what is written while the
// pass reads, and somebody who comes in after its last window, are judged.
func TestRebuildMissesNothingWrittenMeanwhile(t *testing.T) {
	h := &hand{t0()}
	fs := vfs.NewMem()
	trials(t, fs, h, 20)
	d := open(t, laterOptions(t, fs, h, Definition{Name: "high", Where: `contact.score >= 15`}))
	defer d.Close()
	for n := 0; ; n++ {
		from, to, err := d.openWindow()
		if err != nil {
			t.Fatal(err)
		}
		if to < from {
			break
		}
		parts, err := d.judgeWindow(t.Context(), from, to)
		if err != nil {
			t.Fatal(err)
		}
		importRow(t, d, fmt.Sprintf("%d.csv", n), "email,contact.score\nu4@example.com,88\nu18@example.com,2\n")
		if err := d.takeWindow(from, to, parts); err != nil {
			t.Fatal(err)
		}
	}
	importRow(t, d, "new.csv", "email,contact.score\nnew@example.com,99\n")
	settle(t, d)
	if got := infos(d); !slices.Equal(got, []string{"high live 0% 6"}) {
		t.Fatalf("segments %v, members %v", got, members(t, d))
	}
	expect(t, d, d.LastFlip())
}
