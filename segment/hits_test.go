// SPDX-License-Identifier: Apache-2.0

package segment

import (
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/seguemta/segue/mta/event"
	"github.com/seguemta/segue/segment/store"
	"github.com/seguemta/segue/segment/tier"
)

const browser = "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0 Safari/537.36"

// click ingests a click on a link of message 5, as our own links or another
// sender's server tell of it.
func click(tb testing.TB, d *DB, link, agent string, at time.Time) {
	tb.Helper()
	track(tb, d, EventEmailLinkClicked, at, map[string]any{"email_id": "5", "link_url": link, "agent": agent, "machine": false})
}

// mailed is a database in which message 5 was delivered to a contact at the
// instant at which the clock stands.
func mailed(tb testing.TB, fs vfs.FS, h *hand) *DB {
	tb.Helper()
	o := scoreOptions(tb, fs, h)
	o.Segments = append(o.Segments, Definition{Name: "engaged", Where: `tier == "active"`})
	d := open(tb, o)
	importRow(tb, d, "1.csv", "email,first_sent_at,last_engaged_at\na@example.com,2024-01-01,2024-02-01\n")
	apply(tb, d, log(event.Event{Kind: event.Delivered, Address: "a@example.com", Message: 5, Time: h.now}))
	return d
}

// TestMachinesNeverPromote lets a gateway follow every link of a mail: the tier
// stands, the score is 0, and contact show says why.
func TestMachinesNeverPromote(t *testing.T) {
	h := &hand{t0()}
	d := mailed(t, vfs.NewMem(), h)
	defer d.Close()
	before, last := show(t, d).Tier, d.LastFlip()
	for i := range 4 {
		h.turn(500 * time.Millisecond)
		click(t, d, fmt.Sprint("https://example.com/", i), browser, h.now)
	}
	if hits := show(t, d).Hits; len(hits) != 4 || !hits[0].Held {
		t.Errorf("while they are held: %+v", hits)
	}
	h.turn(2 * time.Minute)
	settle(t, d)
	c := show(t, d)
	if c.Tier != before || c.Scores.Score != 0 || len(flow(t, d, last)) != 0 {
		t.Errorf("tier %s, scores %+v, flow %v", c.Tier, c.Scores, flow(t, d, last))
	}
	if len(c.Hits) != 4 {
		t.Fatalf("%+v", c.Hits)
	}
	for _, hit := range c.Hits {
		if hit.Held || !hit.Machine || !strings.Contains(hit.Reason, "4 different links within 1.5s") {
			t.Errorf("%+v", hit)
		}
	}
	if n := heldEntries(t, d); n != 1 {
		t.Errorf("%d entries are in the wheel, wanted the one to forget the requester", n)
	}
	h.turn(61 * tier.Day)
	settle(t, d)
	if n := heldEntries(t, d); n != 0 {
		t.Errorf("%d entries are never forgotten", n)
	}
}

func heldEntries(tb testing.TB, d *DB) (n int) {
	tb.Helper()
	if err := d.store.HeldDue(0, 1<<32-1, func(store.HeldDue) error { n++; return nil }); err != nil {
		tb.Fatal(err)
	}
	return n
}

// TestTiersFollowPeople lets a person click, once held also over a restart: the
// tier rises when the hold is over, not before, and falls by the wheel.
func TestTiersFollowPeople(t *testing.T) {
	h := &hand{t0()}
	fs := vfs.NewMem()
	d := mailed(t, fs, h)
	h.turn(time.Hour)
	last := d.LastFlip()
	click(t, d, "https://example.com/", browser, h.now)
	h.turn(44 * time.Second)
	settle(t, d)
	expect(t, d, last)
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	o := scoreOptions(t, fs, h)
	o.Segments = append(o.Segments, Definition{Name: "engaged", Where: `tier == "active"`})
	d = open(t, o)
	defer d.Close()
	h.turn(2 * time.Second)
	settle(t, d)
	got := strings.Join(flow(t, d, last), "; ")
	if !strings.Contains(got, "to active a@example.com (email link clicked)") || !strings.Contains(got, "entered engaged a@example.com") {
		t.Errorf("flow: %s", got)
	}
	c := show(t, d)
	if c.Tier != "active" || !c.LastEngaged.Equal(t0().Add(time.Hour)) || c.Scores.Behaviour < 9.9 || c.Hits[0].Machine || !strings.Contains(c.Hits[0].Reason, "human") {
		t.Errorf("%+v %+v %+v", c.Tier, c.Scores, c.Hits)
	}
	last = d.LastFlip()
	h.turn(31 * tier.Day)
	settle(t, d)
	expect(t, d, last, "left engaged a@example.com (time)", "active to warm a@example.com (time)")
}

// TestMachinesAreLearnedByDomain scans mail after mail of one domain.
func TestMachinesAreLearnedByDomain(t *testing.T) {
	h := &hand{t0()}
	d := mailed(t, vfs.NewMem(), h)
	defer d.Close()
	sequence := uint64(1)
	for message := uint64(10); message < 16; message++ {
		sequence++
		apply(t, d, []event.Event{{Sequence: sequence, Kind: event.Delivered, Address: "a@example.com", Message: message, Time: h.now}})
		h.turn(90 * time.Second)
		for i := range 4 {
			track(t, d, EventEmailLinkClicked, h.now, map[string]any{"email_id": strings.ToUpper(strconv.FormatUint(message, 36)), "link_url": fmt.Sprint(i), "agent": browser})
		}
		h.turn(10 * time.Minute)
		settle(t, d)
	}
	if c := show(t, d); !strings.Contains(c.Hits[0].Reason, "of the mails have every link followed, after 1m30s on average") {
		t.Errorf("%+v", c.Hits[0])
	}
	v, err := d.store.Gateway("example.com")
	if err != nil || v == nil {
		t.Fatal("nothing was learned", err)
	}
	tx := d.begin()
	defer tx.close()
	g, err := tx.gateway("example.com")
	if err != nil {
		t.Fatal(err)
	}
	if _, _, ok := g.Sweeps(); !ok {
		t.Errorf("%+v is no sweeper", g)
	}
}
