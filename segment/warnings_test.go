// SPDX-License-Identifier: Apache-2.0

package segment

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/seguemta/segue/mta/event"
	"github.com/seguemta/segue/segment/stats"
)

// kinds is the warnings of a segment, without their words, each kind once.
func kinds(tb testing.TB, d *DB, name string) string {
	tb.Helper()
	var list []string
	for _, w := range figures(tb, d, name).Warnings {
		list = append(list, w.Kind)
	}
	return strings.Join(slices.Compact(list), " ")
}

// rated is a file of contacts u0, u1, ... of a status, of which the first few have
// a score.
func rated(from, to, few int, status string) string {
	var b strings.Builder
	b.WriteString("email,contact.status,contact.score\n")
	for i := from; i < to; i++ {
		score := ""
		if i < from+few {
			score = "1"
		}
		fmt.Fprintf(&b, "u%d@example.com,%s,%s\n", i, status, score)
	}
	return b.String()
}

// TestWarningsComeAndGo holds every warning to its limit, from both sides.
func TestWarningsComeAndGo(t *testing.T) {
	h := &hand{t0()}
	o := liveOptions(t, vfs.NewMem(), h)
	registry := prometheus.NewPedanticRegistry()
	o.Registerer = registry
	o.Segments = []Definition{
		{Name: "a", Where: `contact.status == "trial"`},
		{Name: "b", Where: `contact.status in ["trial", "old"]`},
		{Name: "c", Where: `contact.score > 0 || "vip" in tags`},
		{Name: "bad", Where: `contact.nothing == 1`},
	}
	d := open(t, o)
	defer d.Close()
	expectKinds := func(when, a, b, c string) {
		t.Helper()
		for name, want := range map[string]string{"a": a, "b": b, "c": c, "bad": ""} {
			if got := kinds(t, d, name); got != want {
				t.Errorf("%s: segment %s has %q, want %q", when, name, got, want)
			}
		}
	}
	expectKinds("at first", "", "", "")
	h.turn(stats.EmptyFor)
	expectKinds("after a week", "empty", "empty", "empty")
	importRow(t, d, "1.csv", rated(0, 99, 19, "trial"))
	expectKinds("with 99", "few_members overlap", "few_members overlap", "few_members overlap")
	h.turn(2 * time.Second)
	expectKinds("with 99", "few_members overlap", "few_members overlap", "few_members overlap thin_field")
	importRow(t, d, "2.csv", rated(99, 101, 2, "trial"))
	h.turn(2 * time.Second)
	expectKinds("with 101", "size_jump overlap", "size_jump overlap", "few_members overlap")
	importRow(t, d, "3.csv", rated(101, 400, 90, "old"))
	h.turn(25 * time.Hour)
	expectKinds("a day later", "overlap", "overlap", "overlap")
	h.turn(stats.UnusedFor)
	expectKinds("after 90 days", "overlap unused", "overlap unused", "overlap unused")
	apply(t, d, log(event.Event{Kind: event.Accepted, Address: "u1@example.com", Segment: "a", Time: h.now}))
	expectKinds("used", "overlap", "overlap unused", "overlap unused")
	h.turn(stats.UnusedFor + 24*time.Hour)
	if w := figures(t, d, "a").Warnings; len(w) != 2 || !strings.HasPrefix(w[1].Text, "not used for ") {
		t.Errorf("used once: %+v", w)
	}
	want := `# HELP segue_segment_members Contacts in a segment.
# TYPE segue_segment_members gauge
segue_segment_members{segment="a"} 101
segue_segment_members{segment="b"} 400
segue_segment_members{segment="bad"} 0
segue_segment_members{segment="c"} 111
`
	if err := testutil.GatherAndCompare(registry, strings.NewReader(want), "segue_segment_members"); err != nil {
		t.Error(err)
	}
	if n, err := testutil.GatherAndCount(registry, "segue_segment_warnings"); err != nil || n != 24 {
		t.Errorf("%d series of warnings, %v", n, err)
	}
}

// TestWarningsSayWhatIsSparse holds that a field counts as filled whichever
// account has it, and that tags, which are sparse by nature, are no warning.
func TestWarningsSayWhatIsSparse(t *testing.T) {
	h := &hand{t0()}
	o := liveOptions(t, vfs.NewMem(), h)
	o.Segments = []Definition{{Name: "x", Where: `account.plan == "paid" || contact.score > 0 || "vip" in tags || segment("y")`}, {Name: "y", Where: `role == "x"`}}
	d := open(t, o)
	defer d.Close()
	importRow(t, d, "1.csv", "email,account,account.plan,contact.score\na@example.com,acme,paid,\nb@example.com,acme,paid,\nc@example.com,,,\n")
	var got []string
	for _, w := range figures(t, d, "x").Warnings {
		if w.Kind == stats.KindField {
			got = append(got, w.Text)
		}
	}
	if len(got) != 1 || !strings.Contains(got[0], "contact.score, which 0 of 3 contacts have") {
		t.Errorf("warnings %q", got)
	}
}

// TestWarningsInAList holds that a list tells what each segment tells, a second
// old at most.
func TestWarningsInAList(t *testing.T) {
	h := &hand{t0()}
	d := open(t, liveOptions(t, vfs.NewMem(), h))
	defer d.Close()
	list := func() (names []string) {
		t.Helper()
		all, err := d.Overview(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for i := range all {
			names = append(names, fmt.Sprintf("%s %d +%d %d", all[i].Name, all[i].Members, all[i].Entered, len(all[i].Warnings)))
		}
		return names
	}
	before := list()
	importRow(t, d, "1.csv", statuses("trial", "a"))
	if got := list(); !slices.Equal(got, before) {
		t.Errorf("at once: %q", got)
	}
	h.turn(holdAtLeast)
	if got := list(); !slices.Contains(got, "trial 1 +1 1") {
		t.Errorf("a second later: %q", got)
	}
}
