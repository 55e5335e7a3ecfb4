// SPDX-License-Identifier: Apache-2.0

package segment

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// orders is a closed base of n contacts, of which each made as many orders as its
// number says, modulo 5.
func orders(tb testing.TB, fs vfs.FS, h *hand, n int) {
	tb.Helper()
	x := doing(tb, fs, h, Definition{Name: "none", Where: `contact.score > 1000`})
	var calls []Call
	for i := range n {
		who := fmt.Sprintf("u%d@example.com", i)
		calls = append(calls, Call{Kind: CallIdentify, MessageID: "i" + who, Email: who, Time: h.now})
		for k := range i % 5 {
			calls = append(calls, Call{Kind: CallTrack, MessageID: fmt.Sprint(k, who), Email: who, Event: "Order", Time: h.now.Add(-time.Duration(k) * time.Hour)})
		}
	}
	x.call(calls...)
	if err := x.d.Close(); err != nil {
		tb.Fatal(err)
	}
}

// ordered is a segment of who made enough orders.
func ordered(least int) Definition {
	return Definition{Name: "ordered", Where: fmt.Sprintf(`events("Order").count() >= %d`, least)}
}

func TestRebuildMakesSeriesFromTheLog(t *testing.T) {
	h := &hand{t0()}
	fs := vfs.NewMem()
	orders(t, fs, h, 50)
	x := doing(t, fs, h, ordered(3))
	x.expect(x.d.LastFlip())
	if got := infos(x.d); !slices.Equal(got, []string{"ordered live 0% 20"}) {
		t.Fatalf("segments %v", got)
	}
	last := x.d.LastFlip()
	x.did("u2@example.com", "Order", 0)
	x.expect(last, "entered ordered u2@example.com (tracking)")
	if err := x.d.Close(); err != nil {
		t.Fatal(err)
	}
	// What no rule reads any more is forgotten, and made anew from the log.
	x = doing(t, fs, h, Definition{Name: "none", Where: `contact.score > 1000`})
	x.n = 1000
	x.did("u7@example.com", "Order", 0)
	if err := x.d.Close(); err != nil {
		t.Fatal(err)
	}
	x = doing(t, fs, h, ordered(3))
	defer x.d.Close()
	if got := infos(x.d); !slices.Equal(got, []string{"ordered live 0% 22"}) {
		t.Fatalf("segments %v", got)
	}
	x.expect(x.d.LastFlip())
}

// TestRebuildOfSeriesGoesOnAfterACrash holds that events before, in and behind
// what a pass has stored count once, through a power cut.
func TestRebuildOfSeriesGoesOnAfterACrash(t *testing.T) {
	h := &hand{t0()}
	mem := vfs.NewCrashableMem()
	orders(t, mem, h, 100)
	later := func(fs vfs.FS) *doer {
		o := laterOptions(t, fs, h, ordered(3))
		return &doer{TB: t, d: open(t, o), h: h, n: 1000}
	}
	x := later(mem)
	for range 7 { // 55 contacts; 47 of them are stored
		if _, err := x.d.buildStep(context.Background()); err != nil {
			t.Fatal(err)
		}
	}
	for _, i := range []int{2, 52, 92} {
		x.did(fmt.Sprintf("u%d@example.com", i), "Order", 0)
	}
	for _, i := range []int{1, 51, 91} {
		x.did(fmt.Sprintf("u%d@example.com", i), "Order", 0)
	}
	left := mem.CrashClone(vfs.CrashCloneCfg{})
	if err := x.d.Close(); err != nil {
		t.Fatal(err)
	}
	x = later(left)
	defer x.d.Close()
	x.n = 2000
	x.did("u50@example.com", "Order", 0)
	settle(t, x.d)
	if got := infos(x.d); !slices.Equal(got, []string{"ordered live 0% 43"}) {
		t.Fatalf("segments %v", got)
	}
	for _, i := range []int{1, 51, 91} {
		x.did(fmt.Sprintf("u%d@example.com", i), "Order", 0)
	}
	if got := infos(x.d); !slices.Equal(got, []string{"ordered live 0% 46"}) {
		t.Fatalf("segments %v", got)
	}
	x.expect(x.d.LastFlip())
}

// TestRebuildMissesNoEventMeanwhile holds that an event that comes while the pass
// reads its contact counts once.
func TestRebuildMissesNoEventMeanwhile(t *testing.T) {
	h := &hand{t0()}
	fs := vfs.NewMem()
	orders(t, fs, h, 30)
	x := &doer{TB: t, d: open(t, laterOptions(t, fs, h, ordered(4))), h: h, n: 1000}
	defer x.d.Close()
	for n := 0; ; n++ {
		from, to, err := x.d.openWindow()
		if err != nil {
			t.Fatal(err)
		}
		if to < from {
			break
		}
		if n == 0 {
			x.did("u2@example.com", "Order", 0) // before the pass reads it
		}
		parts, err := x.d.judgeWindow(t.Context(), from, to)
		if err != nil {
			t.Fatal(err)
		}
		if n == 0 {
			x.did("u2@example.com", "Order", 0) // after that: four now
			x.did("u1@example.com", "Order", 0)
			x.did("u1@example.com", "Order", 0) // three now
		}
		x.did("u26@example.com", "Order", time.Duration(n)*time.Hour) // in every step: five in the end
		if err := x.d.takeWindow(from, to, parts); err != nil {
			t.Fatal(err)
		}
	}
	settle(t, x.d)
	var want []string
	for _, i := range []int{2, 26, 4, 9, 14, 19, 24, 29} {
		want = append(want, fmt.Sprintf("member of ordered u%d@example.com", i))
	}
	slices.Sort(want)
	if got := members(t, x.d); !slices.Equal(got, want) {
		t.Fatalf("members %v", got)
	}
	last := x.d.LastFlip()
	x.did("u1@example.com", "Order", 0)
	x.expect(last, "entered ordered u1@example.com (tracking)")
}

// TestRebuildOfASharedSeries holds that a rule that reads what another one reads
// already is built from the series, also beyond the retention of the log.
func TestRebuildOfASharedSeries(t *testing.T) {
	h := &hand{t0()}
	fs := vfs.NewMem()
	orders(t, fs, h, 20)
	x := doing(t, fs, h, ordered(3))
	h.turn(500 * 24 * time.Hour)
	if n, err := x.d.TrimEvents(context.Background(), h.now); err != nil || n == 0 {
		t.Fatal(n, err)
	}
	x.expect(x.d.LastFlip())
	if err := x.d.Close(); err != nil {
		t.Fatal(err)
	}
	x = doing(t, fs, h, ordered(3), Definition{Name: "once", Where: `events("Order").first() < now - days(400)`})
	defer x.d.Close()
	if got := strings.Join(infos(x.d), ", "); got != "ordered live 0% 8, once live 0% 16" {
		t.Fatalf("segments %v", got)
	}
}

// TestRebuildAfterARuleWasBroken holds that events that nobody kept while a rule
// did not compile count once it does again.
func TestRebuildAfterARuleWasBroken(t *testing.T) {
	h := &hand{t0()}
	fs := vfs.NewMem()
	orders(t, fs, h, 20)
	def := Definition{Name: "ordered", Where: `events("Order").count() >= 3 && contact.status != "x"`}
	for _, later := range []bool{false, true} {
		if err := doing(t, fs, h, def).d.Close(); err != nil {
			t.Fatal(err)
		}
		o := laterOptions(t, fs, h, def)
		o.private.buildLater = later // or the broken rule is never swapped in
		full := o.Schema
		o.Schema = nil
		broken := &doer{TB: t, d: open(t, o), h: h, n: 1000}
		if later {
			broken.n = 2000
		}
		broken.did(map[bool]string{false: "u2@example.com", true: "u7@example.com"}[later], "Order", 0)
		if got := members(t, broken.d); len(got) != 0 {
			t.Errorf("members of a broken rule: %v", got)
		}
		if err := broken.d.Close(); err != nil {
			t.Fatal(err)
		}
		o.Schema = full
		x := &doer{TB: t, d: open(t, o), h: h}
		settle(t, x.d)
		if got := len(members(t, x.d)); later && got != 10 || !later && got != 9 {
			t.Errorf("later %v: %d members", later, got)
		}
		x.expect(x.d.LastFlip())
		if err := x.d.Close(); err != nil {
			t.Fatal(err)
		}
	}
}
