// SPDX-License-Identifier: Apache-2.0

package segment

import (
	"slices"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/seguemta/segue/mta/event"
)

// A contact turned warm long after the deadline at which it was judged, and the database is
// opened again. Whoever becomes active then leaves the segment of the warm.
func TestTierIsRememberedAsItWasJudged(t *testing.T) {
	fs, now := vfs.NewMem(), t0()
	start := func() *DB {
		o := testOptions(t, fs)
		o.Segments = []Definition{{Name: "warm", Where: `tier == "warm"`}, {Name: "fresh", Where: `now - contact.signed_up < days(10)`}}
		o.Now = func() time.Time { return now }
		return open(t, o)
	}
	is := func(d *DB, want ...string) {
		t.Helper()
		if got := members(t, d); !slices.Equal(got, want) {
			t.Errorf("members are %v; want %v", got, want)
		}
	}
	d := start()
	importRow(t, d, "base", "email,contact.signed_up\nu1@example.com,"+now.Format(time.RFC3339)+"\n")
	engaged := func(d *DB, seq uint64, address string) {
		apply(t, d, []event.Event{{Kind: event.Engaged, Sequence: seq, Address: address, Time: now}})
		settle(t, d)
	}
	engaged(d, 1, "u1@example.com")
	now = now.Add(40 * 24 * time.Hour) // what was due after ten days is judged now
	settle(t, d)
	is(d, "member of warm u1@example.com")
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	d = start()
	is(d, "member of warm u1@example.com")
	engaged(d, 2, "u1@example.com")
	is(d)
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
}
