// SPDX-License-Identifier: Apache-2.0

package segment

import (
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/seguemta/segue/segment/store"
	"github.com/seguemta/segue/segment/tier"
)

// TestVerifierFindsAndRepairs holds that a membership and a deadline that are
// wrong are found within a day, counted, and put right.
func TestVerifierFindsAndRepairs(t *testing.T) {
	h := &hand{t0()}
	o := liveOptions(t, vfs.NewMem(), h)
	d := open(t, o)
	defer d.Close()
	importRow(t, d, "1.csv", "email,contact.status,contact.signed_up\na@example.com,trial,2026-01-01\nb@example.com,x,2026-06-01\n")
	settle(t, d)
	last := d.LastFlip()
	trial := &d.live.current.list[d.live.current.find("trial")]
	trial.roster.put(1, false)
	d.mem.arm(armed{id: 2, second: seconds(h.now.Add(tier.Day * 1000))})
	for range 25 {
		h.turn(time.Hour)
		settle(t, d)
	}
	if n := testutil.ToFloat64(d.metrics.disagreements); n != 2 {
		t.Errorf("%v disagreements", n)
	}
	if got := flow(t, d, last); len(got) != 1 || got[0] != "entered trial a@example.com (verifier)" {
		t.Errorf("flow %v", got)
	}
	h.turn(7 * tier.Day)
	settle(t, d)
	if got := flow(t, d, last); len(got) != 2 || got[1] != "left fresh b@example.com (time)" {
		t.Errorf("flow %v", got)
	}
}

// TestVerifierReadsFromDisk holds that what is kept in memory of an account, of a
// contact's address or of a record does not hide what it did wrong.
func TestVerifierReadsFromDisk(t *testing.T) {
	h := &hand{t0()}
	o := liveOptions(t, vfs.NewMem(), h)
	o.Segments = []Definition{{Name: "paid", Where: `account.plan == "paid"`}}
	d := open(t, o)
	defer d.Close()
	importRow(t, d, "1.csv", "email,account,account.plan\na@example.com,Acme,paid\n")
	settle(t, d)
	last := d.LastFlip()
	d.accounts.known = map[uint64]*knownAccount{1: {record: store.Account{Name: "Acme"}}}
	call := Call{Kind: CallIdentify, MessageID: "x", Time: h.now, Email: "a@example.com", Traits: map[string]any{"score": 7.0}}
	if errs, err := d.Ingest(t.Context(), []Call{call}); err != nil || errs[0] != nil {
		t.Fatal(errs, err)
	}
	day := func() {
		t.Helper()
		for range 25 {
			h.turn(time.Hour)
			settle(t, d)
		}
	}
	day()
	if got := flow(t, d, last); len(got) != 2 || got[0] != "left paid a@example.com (tracking)" || got[1] != "entered paid a@example.com (verifier)" {
		t.Errorf("flow %v", got)
	}
	d.mem.unindex(1)
	day()
	if v, err := d.Look(addr(t, "a@example.com"), Mail{Stream: "marketing", Domain: "example.com"}, h.now); err != nil || v.First != "paid" {
		t.Errorf("%+v: %v", v, err)
	}
}

// TestVerifierGoesSlowly holds that a day's work is spread over the day.
func TestVerifierGoesSlowly(t *testing.T) {
	var v verifier
	now := t0()
	v.due(now, 86_400, 24*time.Hour)
	for range 10 {
		now = now.Add(time.Second)
		n := v.due(now, 86_400, 24*time.Hour)
		if n > 1 {
			t.Fatalf("%d contacts in a second", n)
		}
		v.owed -= float64(n)
	}
	if n := v.due(now.Add(time.Hour), 86_400, 24*time.Hour); n != verifyBatch {
		t.Fatalf("%d contacts in one go", n)
	}
}
