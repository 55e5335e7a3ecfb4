// SPDX-License-Identifier: Apache-2.0

package segment

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/seguemta/segue/mta/event"
	"github.com/seguemta/segue/segment/rule"
	"github.com/seguemta/segue/segment/tier"
)

// colleaguesOptions has segments that ask about colleagues.
func colleaguesOptions(tb testing.TB, fs vfs.FS, h *hand) Options {
	tb.Helper()
	o := testOptions(tb, fs)
	o.Segments = []Definition{
		{Name: "asleep", Where: `no_contact(now - contact.signed_up < days(30)) && has(account.plan)`},
		{Name: "champion", Where: `any_contact(role == "champion" && tier == "active")`},
		{Name: "trials", Where: `contacts(contact.status == "trial") >= 2`},
		{Name: "united", Where: `all_contacts(contact.status == "trial")`},
	}
	o.Now = h.Now
	return o
}

// called ingests one call about somebody and the account g1; a role is only
// said where somebody joins.
func called(tb testing.TB, d *DB, event, address, role string) {
	tb.Helper()
	call := Call{Kind: CallTrack, Email: address, Event: event, Time: d.now(), Context: CallContext{GroupID: "g1"}}
	if role != "" {
		call.Properties = map[string]any{"role": role}
	}
	errs, err := d.Ingest(context.Background(), []Call{call})
	if err != nil || errs[0] != nil {
		tb.Fatal(err, errs)
	}
}

// TestLiveColleagues holds that who has a colleague enters and leaves by what the
// colleague does, and by who comes and goes.
func TestLiveColleagues(t *testing.T) {
	h := &hand{t0()}
	fs := vfs.NewMem()
	d := open(t, colleaguesOptions(t, fs, h))
	importRow(t, d, "1.csv", "email,account,group_id,contact.status\na@example.com,Acme,g1,trial\nb@example.com,Acme,g1,paying\nc@example.com,Other,g2,trial\n")
	expect(t, d, 0, "entered united c@example.com (import)")
	last := d.LastFlip()
	importRow(t, d, "2.csv", "email,contact.status\nb@example.com,trial\n")
	expect(t, d, last, "entered trials a@example.com (account)", "entered united a@example.com (account)",
		"entered trials b@example.com (import)", "entered united b@example.com (import)")

	h.turn(tier.Day)
	last = d.LastFlip()
	called(t, d, EventAccountAddedUser, "c@example.com", "champion") // in two accounts
	expect(t, d, last, "entered trials c@example.com (tracking)")
	last = d.LastFlip()
	apply(t, d, log(event.Event{Kind: event.Engaged, Address: "c@example.com", Time: h.now}))
	expect(t, d, last, "new to active c@example.com (engaged)", "entered champion c@example.com (engaged)",
		"entered champion a@example.com (account)", "entered champion b@example.com (account)")

	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	d = open(t, colleaguesOptions(t, fs, h))
	defer d.Close()
	h.turn(tier.Day)
	last = d.LastFlip()
	called(t, d, EventAccountRemovedUser, "c@example.com", "")
	expect(t, d, last, "left champion a@example.com (account)", "left champion b@example.com (account)",
		"left champion c@example.com (tracking)", "left trials c@example.com (tracking)")
	last = d.LastFlip()
	called(t, d, EventAccountDeleted, "a@example.com", "")
	expect(t, d, last, "left trials a@example.com (tracking)", "left united a@example.com (tracking)",
		"left trials b@example.com (tracking)", "left united b@example.com (tracking)")
	recounted(t, d, "in the end")
}

// TestLiveColleaguesByTimeAlone holds that silence of all brings them in, to the
// second, and that one who comes back takes them out.
func TestLiveColleaguesByTimeAlone(t *testing.T) {
	h := &hand{t0()}
	d := open(t, colleaguesOptions(t, vfs.NewMem(), h))
	defer d.Close()
	importRow(t, d, "1.csv", "email,account,account.plan,contact.signed_up\na@example.com,Acme,paid,2026-05-31\nb@example.com,Acme,paid,2026-05-01\n")
	last := d.LastFlip()
	h.now = time.Date(2026, 5, 31, 0, 0, 0, 0, time.UTC).Add(30*tier.Day - time.Second)
	settle(t, d)
	expect(t, d, last)
	h.turn(time.Second)
	settle(t, d)
	expect(t, d, last, "entered asleep a@example.com (time)", "entered asleep b@example.com (account)")
	last = d.LastFlip()
	importRow(t, d, "2.csv", "email,contact.signed_up\nb@example.com,"+h.now.Format("2006-01-02")+"\n")
	expect(t, d, last, "left asleep a@example.com (account)", "left asleep b@example.com (import)")
}

// TestLiveColleaguesByEvents holds that an account enters by silence of everybody,
// and leaves when one signs in; an event for another account wakes nobody. The
// segment is defined when the events are there already.
func TestLiveColleaguesByEvents(t *testing.T) {
	h := &hand{t0()}
	fs := vfs.NewMem()
	d := open(t, liveOptions(t, fs, h))
	importRow(t, d, "1.csv", "email,account,group_id\na@example.com,Acme,g1\nb@example.com,Acme,g1\nb@example.com,Other,g2\n")
	called(t, d, EventSignedIn, "a@example.com", "")
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	o := liveOptions(t, fs, h)
	o.Segments = []Definition{
		{Name: "all", Where: `contacts(segment("asleep")) >= 2`},
		{Name: "asleep", Where: `no_contact(events("Signed In").within(days(30)).count() > 0) && has(role)`},
	}
	d = open(t, o)
	defer d.Close()
	for _, address := range []string{"a@example.com", "b@example.com"} {
		called(t, d, EventAccountAddedUser, address, "user")
	}
	last := d.LastFlip()
	h.turn(30*tier.Day - time.Second)
	settle(t, d)
	expect(t, d, last)
	h.turn(time.Second)
	settle(t, d)
	expect(t, d, last, "entered asleep a@example.com (time)", "entered asleep b@example.com (account)",
		"entered all a@example.com (time)", "entered all b@example.com (account)")
	last = d.LastFlip()
	call := Call{Kind: CallTrack, Email: "b@example.com", Event: EventSignedIn, Time: h.now, Context: CallContext{GroupID: "g2"}}
	if _, err := d.Ingest(t.Context(), []Call{call}); err != nil {
		t.Fatal(err)
	}
	expect(t, d, last, "new to active b@example.com (signed in)")
	last = d.LastFlip()
	called(t, d, EventSignedIn, "b@example.com", "")
	expect(t, d, last, "left asleep a@example.com (account)", "left asleep b@example.com (tracking)",
		"left all a@example.com (account)", "left all b@example.com (tracking)")
	recounted(t, d, "in the end")
}

// TestLiveColleaguesErased holds that who was erased counts no more, and is not
// asked again; that a segment can be built anew by what is counted; and that a
// definition that nobody counts for can be tried.
func TestLiveColleaguesErased(t *testing.T) {
	h := &hand{t0()}
	d := open(t, colleaguesOptions(t, vfs.NewMem(), h))
	defer d.Close()
	importRow(t, d, "1.csv", "email,account,group_id,contact.status\na@example.com,Acme,g1,trial\nb@example.com,Acme,g1,trial\nc@example.com,Acme,g1,paying\n")
	tried := func(where string, want uint64) {
		t.Helper()
		if x, err := d.Try(t.Context(), Definition{Where: where}); err != nil || x.Faults != nil || x.Members != want {
			t.Errorf("%s: %+v, %v; want %d members", where, x, err, want)
		}
	}
	tried(`contacts(contact.status == "paying") == 1`, 3)
	tried(`contacts(segment("trials") && contact.status == "trial") == 2`, 3)
	tried(`no_contact(contact.status == "paying")`, 0)
	last := d.LastFlip()
	if _, err := d.Erase("c@example.com"); err != nil {
		t.Fatal(err)
	}
	expect(t, d, last, "left trials  (erased)", "entered united a@example.com (account)", "entered united b@example.com (account)")
	last = d.LastFlip()
	if err := d.Rebuild("united"); err != nil {
		t.Fatal(err)
	}
	importRow(t, d, "2.csv", "email,contact.status\nb@example.com,paying\n")
	settle(t, d)
	expect(t, d, last, "left trials a@example.com (account)", "left trials b@example.com (import)",
		"left united a@example.com (account)", "left united b@example.com (import)")
	recounted(t, d, "in the end")
}

// TestFanOutOfColleagues holds that thousands of colleagues are followed in
// batches, also after a power cut.
func TestFanOutOfColleagues(t *testing.T) {
	h := &hand{t0()}
	fs := vfs.NewCrashableMem()
	o := colleaguesOptions(t, fs, h)
	d := open(t, o)
	const n = fanOutAtOnce + 2*fanOutBatch
	text := "email,account,group_id,contact.status\n"
	for i := range n {
		text += fmt.Sprintf("u%d@example.com,Acme,g1,paying\n", i)
	}
	importRow(t, d, "1.csv", text)
	settle(t, d)
	size := func(name string) int {
		for _, s := range d.Segments() {
			if s.Name == name {
				return s.Members
			}
		}
		return -1
	}
	importRow(t, d, "2.csv", "email,contact.status\nu1@example.com,trial\nu2@example.com,trial\n")
	if got := size("trials"); got != fanOutAtOnce {
		t.Fatalf("%d members in the commit of the change", got)
	}
	left := fs.CrashClone(vfs.CrashCloneCfg{})
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	o = colleaguesOptions(t, left, h)
	d = open(t, o)
	defer d.Close()
	if more, err := d.fanOut(); err != nil || !more || size("trials") != fanOutAtOnce+fanOutBatch {
		t.Fatalf("%d members after the restart and a batch, more %v, %v", size("trials"), more, err)
	}
	settle(t, d)
	if got := size("trials"); got != n {
		t.Fatalf("%d members in the end", got)
	}
	expect(t, d, d.LastFlip())
	recounted(t, d, "in the end")
}

// TestLiveLists holds that lists move contacts in and out at once.
func TestLiveLists(t *testing.T) {
	h := &hand{t0()}
	o := liveOptions(t, vfs.NewMem(), h)
	o.Segments = []Definition{{Name: "vips", Where: `contact.status == "trial"`, Include: []string{"vip"}, Exclude: []string{"staff"}}}
	d := open(t, o)
	defer d.Close()
	importRow(t, d, "1.csv", "email,contact.status\na@example.com,trial\nb@example.com,paying\n")
	expect(t, d, 0, "entered vips a@example.com (import)")
	last := d.LastFlip()
	imports(t, d, ImportOptions{Name: "2.csv"}, "list,email\nvip,b@example.com\nstaff,a@example.com\n")
	expect(t, d, last, "left vips a@example.com (import)", "entered vips b@example.com (import)")
	last = d.LastFlip()
	imports(t, d, ImportOptions{Name: "3.csv"}, "list,email\nstaff,b@example.com\n")
	expect(t, d, last, "left vips b@example.com (import)")
}

// TestLiveBuiltInNames holds that every built-in name that a record knows reaches
// the rules.
func TestLiveBuiltInNames(t *testing.T) {
	h := &hand{t0()}
	o := liveOptions(t, vfs.NewMem(), h)
	o.Segments = nil
	for name, where := range map[string]string{
		"role": `role == "buyer"`, "tags": `"vip" in tags`, "lists": `"press" in lists`, "language": `language == "de-CH"`,
		"zone": `time_zone == "Europe/Zurich"`, "source": `source == "fair"`, "batch": `has(import_batch)`,
		"consent": `consent_at == timestamp("2026-01-02")`, "created": `created_at <= now && has(created_at)`, "tier": `tier == "new"`,
	} {
		o.Segments = append(o.Segments, Definition{Name: name, Where: where})
	}
	d := open(t, o)
	defer d.Close()
	importRow(t, d, "1.csv", "email,account,role,tags,lists,language,time_zone,source,consent_at\na@example.com,Acme,buyer,vip,press,de-CH,Europe/Zurich,fair,2026-01-02\n")
	v, err := d.Look(addr(t, "a@example.com"), Mail{Stream: "marketing", Domain: "example.com"}, h.now)
	if err != nil || len(v.Segments) != len(o.Segments) {
		t.Errorf("in %v, %v", v.Segments, err)
	}
}

// TestRebuildOfColleagues holds that what a pass has counted stays true for
// contacts that the next pass has not come to, and that both go on after a power
// cut.
func TestRebuildOfColleagues(t *testing.T) {
	h := &hand{t0()}
	fs := vfs.NewCrashableMem()
	o := liveOptions(t, fs, h)
	d := open(t, o)
	text := "email,account,group_id,contact.status\n"
	for i := range 30 {
		text += fmt.Sprintf("u%d@example.com,Acme,g1,paying\n", i)
	}
	importRow(t, d, "1.csv", text)
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	for cut := range 12 { // after so many steps somebody writes, then the power goes
		left := fs.CrashClone(vfs.CrashCloneCfg{})
		o = liveOptions(t, left, h)
		o.Segments = []Definition{
			{Name: "some", Where: `any_contact(contact.status == "trial")`},
			{Name: "nested", Where: `contacts(segment("some")) >= 30`},
		}
		o.private.buildLater, o.private.window = true, 8
		d = open(t, o)
		step := func() {
			if _, err := d.buildStep(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		for range cut {
			step()
		}
		importRow(t, d, "2.csv", "email,contact.status\nu29@example.com,trial\n")
		step()
		left = left.CrashClone(vfs.CrashCloneCfg{})
		if err := d.Close(); err != nil {
			t.Fatal(err)
		}
		o.FS = left
		d = open(t, o)
		settle(t, d)
		for _, s := range d.Segments() {
			if s.Members != 30 || s.State != StateLive {
				t.Errorf("cut %d: %s has %d members, %s", cut, s.Name, s.Members, s.State)
			}
		}
		expect(t, d, d.LastFlip())
		recounted(t, d, fmt.Sprint("cut ", cut))
		if err := d.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// recounted compares every tally with its edges, counted anew.
func recounted(tb testing.TB, d *DB, what string) {
	tb.Helper()
	type place struct {
		x       *tally
		account uint64
	}
	want, seen := map[place]rule.Count{}, uint64(0)
	err := d.store.Edges(func(account, edge uint64) error {
		seen++
		for _, x := range d.live.counts.list {
			c := want[place{x, account}]
			c.Of++
			if x.has(edge) {
				c.True++
			}
			want[place{x, account}] = c
		}
		return nil
	})
	if err != nil {
		tb.Fatal(err)
	}
	for _, x := range d.live.counts.list {
		sum := uint64(0)
		for account := range uint64(max(len(x.number), len(d.live.counts.of))) {
			c := want[place{x, account}]
			sum += c.True
			if got := d.live.committed(x, account); got != c {
				tb.Fatalf("%s: %v counted for account %d, want %v", what, got, account, c)
			}
		}
		if n := x.bits.GetCardinality(); n != sum || d.live.counts.edges.GetCardinality() != seen {
			tb.Fatalf("%s: %d bits, %d of edges that are there; %d edges, want %d", what, n, sum, d.live.counts.edges.GetCardinality(), seen)
		}
	}
}
