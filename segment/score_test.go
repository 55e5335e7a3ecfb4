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
	"github.com/seguemta/segue/segment/store"
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

// scoreOfAVisitor is the behaviour of ann, who did something before and after she
// gave her address, as it is at once and when it is folded again.
func scoreOfAVisitor(t *testing.T, calls []Call, known bool) (now, again float64) {
	t.Helper()
	h := &hand{t0()}
	d := open(t, scoreOptions(t, vfs.NewMem(), h))
	defer d.Close()
	if known {
		importRow(t, d, "1.csv", "email\na@example.com\n")
	}
	for i := range calls {
		calls[i].MessageID = fmt.Sprint(i)
		for _, err := range ingest(t, d, calls[i:i+1]) {
			if err != nil {
				t.Fatal(err)
			}
		}
	}
	h.turn(10 * time.Minute)
	settle(t, d)
	agrees(t, d)
	c := show(t, d)
	list, err := d.events(c.ID, minTime, math.MaxInt)
	if err != nil {
		t.Fatal(err)
	}
	s, err := d.folded(c.ID, store.Behaviour{}, false, nil)
	if err != nil || len(list) == 0 {
		t.Fatal(err, list)
	}
	b := d.scores.Behaviour(s)
	return c.Scores.Behaviour, b.ValueAt(h.now.UnixMicro())
}

// TestScoreOfAVisitorCountsOnce holds that what somebody did before the address was
// known counts once, whether the address makes a contact or is one's already.
func TestScoreOfAVisitorCountsOnce(t *testing.T) {
	at := func(n int) time.Time { return t0().Add(time.Duration(n-60) * time.Minute) }
	viewed := func(n int, who Call) Call {
		who.Kind, who.Event, who.Time = CallTrack, "Pricing Viewed", at(n)
		return who
	}
	clicked := Call{
		Kind: CallTrack, Anonymous: "x", Event: EventEmailLinkClicked, Time: at(2), Context: CallContext{UserAgent: browser},
		Properties: map[string]any{"link_url": "https://example.com/"},
	}
	named := Call{Kind: CallIdentify, Anonymous: "x", Traits: map[string]any{"email": "a@example.com"}, Time: at(3)}
	for name, calls := range map[string][]Call{
		"one":      {viewed(1, Call{Anonymous: "x"}), named},
		"after it": {viewed(1, Call{Anonymous: "x"}), named, viewed(4, Call{Email: "a@example.com"})},
		"a click":  {clicked, named},
		"both":     {viewed(1, Call{Anonymous: "x"}), clicked, named},
	} {
		for _, known := range []bool{false, true} {
			t.Run(fmt.Sprint(name, known), func(t *testing.T) {
				now, again := scoreOfAVisitor(t, calls, known)
				if math.Abs(now-again) > 1e-6 {
					t.Errorf("behaviour %g, of the same events folded again %g", now, again)
				}
			})
		}
	}
}
