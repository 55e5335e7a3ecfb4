// SPDX-License-Identifier: Apache-2.0

package segment

import (
	"context"
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/seguemta/segue/mta/event"
	"github.com/seguemta/segue/segment/score"
	"github.com/seguemta/segue/segment/tier"
)

// scoreOptions has a model, and segments by its scores.
func scoreOptions(tb testing.TB, fs vfs.FS, h *hand) Options {
	tb.Helper()
	o := testOptions(tb, fs)
	o.Now = h.Now
	o.Segments = []Definition{
		{Name: "hot", Where: `score >= 80`},
		{Name: "busy", Where: `behaviour >= 20`},
		{Name: "fitting", Where: `fit >= 50`},
	}
	var err error
	o.Scores, err = score.New(o.Schema, score.Options{
		Fit: []score.FitRule{
			{Where: `account.employees >= 50`, Points: 20},
			{Where: `account.plan == "paid"`, Points: 30},
			{Where: `contact.status == "trial"`, Points: 10},
		},
		Activities: []score.Activity{
			{Event: "Pricing Viewed", Points: 20},
			{Event: "Pricing Viewed", Filter: `property.plan == "pro"`, Points: 20},
			{Event: EventEmailLinkClicked, Points: 10, PerDay: 20},
			{Event: EventEmailOpened, Points: 5, PerDay: 5},
			{Event: EventUnsubscribed, Points: -50},
		},
		FitMax: 50, BehaviourMax: 50, HalfLife: 30 * tier.Day,
	})
	if err != nil {
		tb.Fatal(err)
	}
	return o
}

// track ingests one event of a@example.com.
func track(tb testing.TB, d *DB, name string, at time.Time, properties map[string]any) {
	tb.Helper()
	c := Call{
		Kind: CallTrack, Email: "a@example.com", Event: name, Time: at, Properties: properties,
		MessageID: fmt.Sprintf("%s %d %v", name, at.UnixMicro(), properties),
	}
	if ua, ok := properties["agent"].(string); ok {
		c.Context.UserAgent = ua
	}
	errs, err := d.Ingest(context.Background(), []Call{c})
	if err != nil || errs[0] != nil {
		tb.Fatal(err, errs)
	}
}

func show(tb testing.TB, d *DB) Contact {
	tb.Helper()
	c, err := d.Contact(addr(tb, "a@example.com"), d.now())
	if err != nil {
		tb.Fatal(err)
	}
	return c
}

// TestScoreCrossesOnTheWheel follows a contact whose fit is clamped, whose
// behaviour makes it hot, and who cools by time alone.
func TestScoreCrossesOnTheWheel(t *testing.T) {
	h := &hand{t0()}
	d := open(t, scoreOptions(t, vfs.NewMem(), h))
	defer d.Close()
	importRow(t, d, "1.csv", "email,account,account.employees,account.plan,contact.status\na@example.com,Acme,500,paid,trial\n")
	expect(t, d, 0, "entered fitting a@example.com (import)")
	if s := show(t, d).Scores; s == nil || s.Fit != 50 || s.Score != 50 || len(s.Rules) != 3 {
		t.Errorf("60 of 50 are %+v", s)
	}
	last := d.LastFlip()
	track(t, d, "Pricing Viewed", h.now, map[string]any{"plan": "pro"})
	settle(t, d)
	got := flow(t, d, last)
	if joined := strings.Join(got, "; "); !strings.Contains(joined, "entered hot a@example.com") || !strings.Contains(joined, "entered busy a@example.com") {
		t.Errorf("after 40 points: %s", joined)
	}
	// 80 is 30 of behaviour: log2(4/3) half-lives from here.
	last = d.LastFlip()
	until := time.Duration(math.Log2(4.0/3) * float64(30*tier.Day))
	h.turn(until - 2*time.Second)
	settle(t, d)
	expect(t, d, last)
	h.turn(4 * time.Second)
	settle(t, d)
	expect(t, d, last, "left hot a@example.com (time)")
	last = d.LastFlip()
	h.turn(30*tier.Day - until - 4*time.Second)
	settle(t, d)
	expect(t, d, last)
	h.turn(4 * time.Second)
	settle(t, d)
	expect(t, d, last, "left busy a@example.com (time)")
}

// TestScoreEndsWithAComplaint takes the score of whoever complains, for good and
// after a restart.
func TestScoreEndsWithAComplaint(t *testing.T) {
	h := &hand{t0()}
	fs := vfs.NewMem()
	d := open(t, scoreOptions(t, fs, h))
	importRow(t, d, "1.csv", "email,account,account.employees,account.plan\na@example.com,Acme,500,paid\n")
	track(t, d, "Pricing Viewed", h.now, map[string]any{"plan": "pro"})
	apply(t, d, log(event.Event{Kind: event.Complained, Address: "a@example.com", Stream: "marketing", Time: h.now}))
	track(t, d, "Pricing Viewed", h.now.Add(-time.Hour), nil)
	for range 2 {
		s := show(t, d).Scores
		if s.Score != 0 || s.Behaviour != 0 || s.Fit != 50 || !strings.Contains(s.Why, "a complaint ended it") {
			t.Errorf("%+v", s)
		}
		if err := d.Close(); err != nil {
			t.Fatal(err)
		}
		d = open(t, scoreOptions(t, fs, h))
	}
	d.Close()
}

// TestScoreOfAnotherModelIsFoldedAgain opens the store with other points.
func TestScoreOfAnotherModelIsFoldedAgain(t *testing.T) {
	h := &hand{t0()}
	fs := vfs.NewMem()
	d := open(t, scoreOptions(t, fs, h))
	track(t, d, "Signed Up", h.now, map[string]any{"email": "a@example.com"})
	track(t, d, "Pricing Viewed", h.now, nil)
	if s := show(t, d).Scores; s.Behaviour != 20 {
		t.Errorf("%+v", s)
	}
	d.Close()
	o := scoreOptions(t, fs, h)
	var err error
	o.Scores, err = score.New(o.Schema, score.Options{Activities: []score.Activity{{Event: "Pricing Viewed", Points: 7}}, BehaviourMax: 50, HalfLife: 30 * tier.Day})
	if err != nil {
		t.Fatal(err)
	}
	d = open(t, o)
	defer d.Close()
	if s := show(t, d).Scores; s.Behaviour != 7 {
		t.Errorf("%+v", s)
	}
	track(t, d, "Pricing Viewed", h.now, map[string]any{"n": 2.0})
	if s := show(t, d).Scores; s.Behaviour != 14 {
		t.Errorf("%+v", s)
	}
}
