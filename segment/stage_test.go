// SPDX-License-Identifier: Apache-2.0

package segment

import (
	"context"
	"slices"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/seguemta/segue/segment/tier"
)

// stageSegments give stages, and read them.
func stageSegments() []Definition {
	return []Definition{
		{Name: "paying", Order: 1, Stage: "customer", Where: `contact.status == "paying"`},
		{Name: "trial", Order: 2, Stage: "trial", Where: `now - contact.signed_up < days(14)`},
		{Name: "grant", Order: 3, Stage: "customer", Where: `account.plan == "grant"`},
		{Name: "buyers", Order: 4, Where: `stage == "customer"`},
		{Name: "early", Order: 5, Where: `stage == "trial" && now - contact.signed_up < days(7)`},
		{Name: "nowhere", Order: 6, Where: `!has(stage)`},
		{Name: "house", Order: 7, Where: `any_contact(stage in ["customer", "advocate"])`},
		{Name: "warm", Order: 8, Where: `segment("buyers") || stage.startsWith("tr")`},
	}
}

// TestLiveStage holds that rules see the stage of the first segment with one that
// the contact is in, at once, by time alone, among colleagues and after a restart.
func TestLiveStage(t *testing.T) {
	h := &hand{t0()}
	fs := vfs.NewMem()
	d := open(t, laterOptions(t, fs, h, stageSegments()...))
	settle(t, d)
	last := d.LastFlip()
	importRow(t, d, "1.csv", "email,account,contact.status,contact.signed_up\na@example.com,Acme,paying,2026-05-31T12:00:00Z\nb@example.com,Acme,,2026-05-31T12:00:00Z\nc@example.com,,,2026-01-01\n")
	expect(t, d, last,
		"entered paying a@example.com (import)", "entered trial a@example.com (import)", "entered buyers a@example.com (import)", "entered house a@example.com (import)", "entered warm a@example.com (import)",
		"entered trial b@example.com (import)", "entered early b@example.com (import)", "entered warm b@example.com (import)", "entered house b@example.com (import)",
		"entered nowhere c@example.com (import)")
	c := show(t, d)
	if c.Stage != "customer" || c.StageBy != "paying" {
		t.Errorf("a is in stage %q by %q", c.Stage, c.StageBy)
	}
	last = d.LastFlip()
	importRow(t, d, "2.csv", "email,contact.status\na@example.com,former\n")
	expect(t, d, last, "left paying a@example.com (import)", "left buyers a@example.com (import)", "entered early a@example.com (import)",
		"left house a@example.com (import)", "left house b@example.com (account)")
	d.Close()
	d = open(t, laterOptions(t, fs, h, stageSegments()...))
	defer func() { d.Close() }()
	last = d.LastFlip()
	h.turn(13*tier.Day - 1)
	settle(t, d)
	expect(t, d, last, "left early a@example.com (time)", "left early b@example.com (time)")
	last = d.LastFlip()
	h.turn(1)
	settle(t, d)
	expect(t, d, last, "left trial a@example.com (time)", "left trial b@example.com (time)", "left warm a@example.com (time)", "left warm b@example.com (time)",
		"entered nowhere a@example.com (time)", "entered nowhere b@example.com (time)")
	last = d.LastFlip()
	importRow(t, d, "3.csv", "email,account,account.plan\na@example.com,Acme,grant\n")
	if got := strings.Join(flow(t, d, last), "; "); !strings.Contains(got, "entered buyers b@example.com (account)") || !strings.Contains(got, "entered house a@example.com (account)") {
		t.Errorf("with the account's plan: %s", got)
	}
	agrees(t, d)
	if c := show(t, d); c.Stage != "customer" || c.StageBy != "grant" {
		t.Errorf("a is in stage %q by %q", c.Stage, c.StageBy)
	}
	x, err := d.Explain("buyers", addr(t, "a@example.com"))
	if err != nil || !x.Member || len(x.Pairs) != 1 || x.Pairs[0].Conditions[0].String() != `stage == "customer"  [stage = customer because of segment grant]  true` {
		t.Errorf("explained: %+v, %v", x, err)
	}
	if got, err := d.Try(context.Background(), Definition{Where: `stage == "customer" && any_contact(stage == "customer")`}); err != nil || got.Members != 2 {
		t.Errorf("tried: %+v, %v", got, err)
	}
}

// TestLiveStageInAnotherOrder holds that who reads the stage keeps its members
// until they are made anew, where the order of the segments or a stage changes.
func TestLiveStageInAnotherOrder(t *testing.T) {
	h := &hand{t0()}
	fs := vfs.NewMem()
	d := open(t, laterOptions(t, fs, h, stageSegments()...))
	settle(t, d)
	importRow(t, d, "1.csv", "email,contact.status,contact.signed_up\na@example.com,paying,2026-05-31\nb@example.com,paying,2026-01-01\n")
	in := func(who, segment string) bool {
		return slices.ContainsFunc(look(t, d, who).Segments, func(m *Match) bool { return m.Name == segment })
	}
	again := func(change func(list []Definition)) {
		t.Helper()
		d.Close()
		list := stageSegments()
		change(list)
		d = open(t, laterOptions(t, fs, h, list...))
		if !in("a@example.com", "buyers") || !in("b@example.com", "buyers") {
			t.Errorf("before the swap: %v, %v", look(t, d, "a@example.com").Segments, look(t, d, "b@example.com").Segments)
		}
		importRow(t, d, "2.csv", "email,contact.status\nb@example.com,paying\n") // judged again meanwhile
		agrees(t, d)
		settle(t, d)
		agrees(t, d)
	}
	again(func(list []Definition) { list[1].Order = 0 })
	if in("a@example.com", "buyers") || !in("a@example.com", "early") || !in("b@example.com", "buyers") {
		t.Errorf("with trial first: %v, %v", look(t, d, "a@example.com").Segments, look(t, d, "b@example.com").Segments)
	}
	d.Close()
	d = open(t, laterOptions(t, fs, h, stageSegments()...))
	settle(t, d)
	again(func(list []Definition) { list[0].Stage = "client" })
	if in("b@example.com", "buyers") || in("b@example.com", "nowhere") {
		t.Errorf("with another word: %v", look(t, d, "b@example.com").Segments)
	}
	d.Close()
}

// TestModelStageOfItself holds that a segment whose stage follows from itself is
// refused with its place, and takes no other with it but those that read a stage.
func TestModelStageOfItself(t *testing.T) {
	h := &hand{t0()}
	d := open(t, laterOptions(t, vfs.NewMem(), h,
		Definition{Name: "a", Order: 1, Stage: "one", Where: `contact.score > 1 && stage == "two"`},
		Definition{Name: "b", Order: 2, Where: `any_contact(has(stage))`},
		Definition{Name: "c", Order: 3, Where: `contact.score > 1`},
	))
	defer d.Close()
	var got []string
	for _, s := range d.Segments() {
		got = append(got, s.Name+": "+s.Error)
	}
	want := `a: 1:22: the segment refers to itself: "a" -> "a" (break the circle: whoever reads the stage refers to each segment that has one)
b: 1:17: segment "a" is broken itself (repair that one first)
c: `
	if strings.Join(got, "\n") != want {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), want)
	}
}
