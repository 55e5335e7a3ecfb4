// SPDX-License-Identifier: Apache-2.0

package segment

import (
	"context"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/seguemta/segue/segment/score"
	"github.com/seguemta/segue/segment/tier"
)

// accountScores has the model of scoreOptions, and what rules say of accounts.
func accountScores(tb testing.TB, fs vfs.FS, h *hand, segments ...Definition) Options {
	tb.Helper()
	o := scoreOptions(tb, fs, h)
	o.Segments = segments
	o.private.buildLater, o.private.window = true, 8
	return o
}

func warmAccounts() []Definition {
	return []Definition{{Name: "warm-account", Where: `account_score >= 60`}}
}

// did ingests an event of somebody.
func did(tb testing.TB, d *DB, address, name string, at time.Time) {
	tb.Helper()
	c := Call{Kind: CallTrack, Email: address, Event: name, Time: at, MessageID: fmt.Sprint(address, name, at.UnixMicro())}
	if errs, err := d.Ingest(context.Background(), []Call{c}); err != nil || errs[0] != nil {
		tb.Fatal(err, errs)
	}
}

// shownScore is the score of the primary account as people see it, nil for none.
func shownScore(tb testing.TB, d *DB, address string) *float64 {
	tb.Helper()
	c, err := d.Contact(addr(tb, address), d.now())
	if err != nil || len(c.Accounts) == 0 {
		tb.Fatal(err, c.Accounts)
	}
	return c.Accounts[0].Score
}

func near(a *float64, b float64) bool { return a != nil && math.Abs(*a-b) < 1e-6 }

// TestScoreOfAccountsReachesColleagues follows an account that its contacts make warm
// and cold: by events, attributes, time, and by who comes, leaves and is erased.
func TestScoreOfAccountsReachesColleagues(t *testing.T) {
	h := &hand{t0()}
	fs := vfs.NewMem()
	d := open(t, accountScores(t, fs, h, warmAccounts()...))
	settle(t, d)
	last := d.LastFlip()
	importRow(t, d, "1.csv", "email,account,group_id,account.employees,account.plan\na@example.com,Acme,g1,500,paid\nb@example.com,Acme,g1,500,paid\nc@example.com,Other,g2,1,free\n")
	expect(t, d, last)
	did(t, d, "b@example.com", "Pricing Viewed", h.now) // 50 and 20
	expect(t, d, last, "entered warm-account b@example.com (tracking)", "entered warm-account a@example.com (account)")
	for _, who := range []string{"a@example.com", "b@example.com"} {
		if v := look(t, d, who); v.First != "warm-account" || !near(shownScore(t, d, who), 70) {
			t.Errorf("%s: %+v, %v", who, v, shownScore(t, d, who))
		}
	}
	x, err := d.Explain("warm-account", addr(t, "a@example.com"))
	if err != nil || len(x.Pairs) != 1 || x.Pairs[0].Conditions[0].String() != "account_score >= 60  [account_score = 70]  true" || x.Until.Sub(h.now.Add(30*tier.Day)).Abs() > time.Second || x.UntilSays {
		t.Errorf("explained: %+v, %v", x, err)
	}
	last = d.LastFlip() // 60 is 10 of behaviour: one half-life
	h.turn(30*tier.Day - 2*time.Second)
	settle(t, d)
	expect(t, d, last)
	h.turn(4 * time.Second)
	settle(t, d)
	expect(t, d, last, "left warm-account a@example.com (time)", "left warm-account b@example.com (time)")

	last = d.LastFlip()
	did(t, d, "a@example.com", "Pricing Viewed", h.now)
	did(t, d, "a@example.com", "Pricing Viewed", h.now.Add(-time.Second))
	expect(t, d, last, "entered warm-account a@example.com (tracking)", "entered warm-account b@example.com (account)")
	d.Close()
	d = open(t, accountScores(t, fs, h, warmAccounts()...))
	defer func() { d.Close() }()
	last = d.LastFlip()
	called(t, d, EventAccountAddedUser, "c@example.com", "user")
	expect(t, d, last, "entered warm-account c@example.com (tracking)")
	last = d.LastFlip()
	called(t, d, EventAccountRemovedUser, "a@example.com", "") // who made it so
	expect(t, d, last, "left warm-account a@example.com (tracking)", "left warm-account b@example.com (account)", "left warm-account c@example.com (account)")
	last = d.LastFlip()
	did(t, d, "c@example.com", "Pricing Viewed", h.now)
	expect(t, d, last, "entered warm-account c@example.com (tracking)", "entered warm-account b@example.com (account)")
	last = d.LastFlip()
	if _, err := d.Erase("c@example.com"); err != nil {
		t.Fatal(err)
	}
	if got := strings.Join(flow(t, d, last), "; "); !strings.Contains(got, "left warm-account b@example.com (account)") {
		t.Errorf("after the best contact was erased: %s", got)
	}
	settle(t, d)
	agrees(t, d)
	if _, found, err := d.store.Ranked(3); err != nil || found {
		t.Errorf("the erased contact is still ranked: %v, %v", found, err)
	}
}

// crowd is an account of n contacts, of which the first has done most.
func crowd(tb testing.TB, d *DB, n int) {
	tb.Helper()
	var b strings.Builder
	b.WriteString("email,account,group_id,account.plan\n")
	for i := range n {
		fmt.Fprintf(&b, "u%d@example.com,Acme,g1,paid\n", i)
	}
	importRow(tb, d, "crowd.csv", b.String())
	for i := range 40 {
		did(tb, d, fmt.Sprintf("u%d@example.com", i), "Pricing Viewed", d.now())
	}
}

// TestScoreOfAccountsOfACrowd holds that an event in an account of thousands reads a
// few ranks and judges nobody else, unless a rule can tell; that then all follow in
// batches, also after a power cut; and that when the best contact falls, the next
// best takes its place.
func TestScoreOfAccountsOfACrowd(t *testing.T) {
	h := &hand{t0()}
	fs := vfs.NewCrashableMem()
	d := open(t, accountScores(t, fs, h, warmAccounts()...))
	settle(t, d)
	const n = fanOutAtOnce + 3*fanOutBatch
	crowd(t, d, n) // 30 and 20
	read := 0
	if _, err := d.store.Ranks(1, 1, func(uint64) bool { read++; return false }); err != nil || read != 1 {
		t.Errorf("%d ranks of one fit were read, %v", read, err)
	}
	members := func() int { return d.Segments()[0].Members }
	did(t, d, "u7@example.com", "Pricing Viewed", h.now.Add(-time.Second)) // 30 and nearly 40
	if got := members(); got != fanOutAtOnce+1 && got != fanOutAtOnce {
		t.Fatalf("%d members in the commit of the event", got)
	}
	left := fs.CrashClone(vfs.CrashCloneCfg{})
	d.Close()
	d = open(t, accountScores(t, left, h, warmAccounts()...))
	defer func() { d.Close() }()
	settle(t, d)
	if got := members(); got != n {
		t.Fatalf("%d of %d members in the end", got, n)
	}
	agrees(t, d)
	deadlines := func(what string) {
		t.Helper()
		want := h.now.Add(time.Duration(math.Log2(40.0/30) * float64(30*tier.Day)))
		for id := uint64(1); id <= n; id++ {
			if a, _ := d.mem.armed(id); instant(a.second).Sub(want).Abs() > time.Minute {
				t.Fatalf("%s: contact %d is due %s, not about %s", what, id, instant(a.second), want)
			}
		}
	}
	deadlines("warm")
	last := d.LastFlip()
	did(t, d, "u7@example.com", "Pricing Viewed", h.now)
	did(t, d, "u8@example.com", "Pricing Viewed", h.now.Add(-time.Second))
	if d.live.spreading {
		t.Error("a score that rises by what no rule can tell is told to all")
	}
	expect(t, d, last)
	did(t, d, "u7@example.com", EventUnsubscribed, h.now) // the next best is u8, as good as u7 was first
	settle(t, d)
	expect(t, d, last)
	if got := shownScore(t, d, "u99@example.com"); !near(got, 70) && *got < 69.9 {
		t.Errorf("u8 makes it %v", *got)
	}
	did(t, d, "u8@example.com", EventUnsubscribed, h.now) // the next ones have 20
	settle(t, d)
	if got := members(); got != 0 {
		t.Fatalf("%d members when the best two fell", got)
	}
	agrees(t, d)
}

// TestScoreOfAccountsComesLater opens a store with a rule by the score of accounts that
// no rule read before: contacts are ranked in the pass, what is written meanwhile and
// a power cut included. Without the rule nothing is kept.
func TestScoreOfAccountsComesLater(t *testing.T) {
	h := &hand{t0()}
	fs := vfs.NewCrashableMem()
	d := open(t, accountScores(t, fs, h, Definition{Name: "hot", Where: `score >= 80`}))
	settle(t, d)
	crowd(t, d, 100)
	if _, found, err := d.store.Ranking(); err != nil || found || d.live.ranks != nil {
		t.Fatalf("nobody reads the score of an account: %v, %v", found, err)
	}
	if got := shownScore(t, d, "u99@example.com"); !near(got, 50) {
		t.Errorf("people see %v", got)
	}
	tried := func(want uint64) {
		t.Helper()
		if x, err := d.Try(t.Context(), Definition{Where: `account_score >= 50 && any_contact(account_score < 51)`}); err != nil || x.Faults != nil || x.Members != want {
			t.Errorf("tried: %+v, %v", x, err)
		}
	}
	tried(100)
	d.Close()
	rule := []Definition{{Name: "hot", Where: `score >= 80`}, {Name: "warm-account", Where: `account_score >= 60`}}
	d = open(t, accountScores(t, fs, h, rule...))
	for range 5 {
		if _, err := d.buildStep(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	did(t, d, "u3@example.com", "Pricing Viewed", h.now.Add(-time.Second))  // behind the cursor
	did(t, d, "u90@example.com", "Pricing Viewed", h.now.Add(-time.Second)) // before it
	did(t, d, "u90@example.com", "Pricing Viewed", h.now)
	called(t, d, EventAccountRemovedUser, "u2@example.com", "")
	if _, err := d.Erase("u1@example.com"); err != nil {
		t.Fatal(err)
	}
	left := fs.CrashClone(vfs.CrashCloneCfg{})
	d.Close()
	d = open(t, accountScores(t, left, h, rule...))
	did(t, d, "u3@example.com", EventUnsubscribed, h.now)
	last := d.LastFlip()
	settle(t, d)
	if list := d.Segments(); list[1].State != StateLive || list[1].Members != 98 {
		t.Errorf("%+v", list[1])
	}
	agrees(t, d)
	if !slices.Contains(flow(t, d, last), "rebuilt warm-account +98 -0") {
		t.Errorf("flow %v", flow(t, d, last))
	}
	tried(0) // 70, of which u90 has nearly 40
	d.Close()
	d = open(t, accountScores(t, left, h, rule[:1]...))
	settle(t, d)
	did(t, d, "u90@example.com", EventUnsubscribed, h.now) // nobody ranks it
	d.Close()
	d = open(t, accountScores(t, left, h, rule...))
	settle(t, d)
	agrees(t, d)
	if got := shownScore(t, d, "u5@example.com"); !near(got, 50) || d.Segments()[1].Members != 0 {
		t.Errorf("ranked again: %v, %+v", *got, d.Segments()[1])
	}
	for range 2 { // the swap keeps them for who reads by the old rules, the next open does not
		d.Close()
		d = open(t, accountScores(t, left, h, rule[:1]...))
		settle(t, d)
	}
	defer d.Close()
	if _, found, err := d.store.Ranked(5); err != nil || found {
		t.Errorf("ranks are kept for nobody: %v, %v", found, err)
	}
}

// TestScoreOfAccountsOfAnotherModel holds that members stand until everybody is ranked
// by the new points, and that three contacts may add up.
func TestScoreOfAccountsOfAnotherModel(t *testing.T) {
	h := &hand{t0()}
	fs := vfs.NewMem()
	rules := append(warmAccounts(), Definition{Name: "with-warm", Where: `segment("warm-account") || any_contact(account_score > 60)`})
	d := open(t, accountScores(t, fs, h, rules...))
	settle(t, d)
	crowd(t, d, 50)
	did(t, d, "u0@example.com", "Pricing Viewed", h.now.Add(-time.Second)) // 30 and nearly 40
	d.Close()
	o := accountScores(t, fs, h, rules...)
	var err error
	o.Scores, err = score.New(o.Schema, score.Options{
		Activities: []score.Activity{{Event: "Pricing Viewed", Points: 25}}, BehaviourMax: 50, HalfLife: 30 * tier.Day, Account: score.AccountTop3,
	})
	if err != nil {
		t.Fatal(err)
	}
	d = open(t, o)
	defer d.Close()
	last := d.LastFlip()
	did(t, d, "u45@example.com", "Pricing Viewed", h.now)
	expect(t, d, last)
	settle(t, d)
	if list := d.Segments(); list[0].Members != 50 || list[1].Members != 50 {
		t.Errorf("%+v", list)
	}
	if got := shownScore(t, d, "u0@example.com"); !near(got, 100) && *got < 99.9 {
		t.Errorf("twice 25 and twice 25 are %v", got)
	}
	last = d.LastFlip()
	for i := range 38 {
		did(t, d, fmt.Sprintf("u%d@example.com", i), score.EventComplaint, h.now)
	}
	expect(t, d, last) // u38, u39 and u45 are left
	did(t, d, "u45@example.com", score.EventComplaint, h.now)
	settle(t, d)
	if list := d.Segments(); list[0].Members != 0 || list[1].Members != 0 {
		t.Errorf("two times 25: %+v", list)
	}
	agrees(t, d)
}

// TestScoreOfAccountsGoesOver follows an account whose best contact is another one as
// time goes by: who is active fades, who fits stays. And one whose best contact falls,
// so that the next best crosses a level sooner than that would have.
func TestScoreOfAccountsGoesOver(t *testing.T) {
	h := &hand{t0()}
	d := open(t, accountScores(t, vfs.NewMem(), h,
		Definition{Name: "above-58", Where: `account_score >= 58`}, Definition{Name: "above-50", Where: `account_score >= 50`}))
	defer d.Close()
	settle(t, d)
	importRow(t, d, "1.csv", "email,account,account.employees,account.plan,contact.status\nfit@example.com,Holding,500,paid,trial\nfit@example.com,Acme,,,\nbusy@example.com,Acme,,,trial\n")
	for i := range 3 {
		did(t, d, "busy@example.com", "Pricing Viewed", h.now.Add(-time.Duration(i)*time.Second))
	}
	settle(t, d)
	last := d.LastFlip() // 10 and nearly 60 of 50, until it is 48
	h.turn(time.Duration(math.Log2(60.0/48)*float64(30*tier.Day)) - time.Minute)
	settle(t, d)
	expect(t, d, last)
	h.turn(2 * time.Minute)
	settle(t, d)
	expect(t, d, last, "left above-58 fit@example.com (time)", "left above-58 busy@example.com (time)")
	last = d.LastFlip()
	h.turn(900 * tier.Day)
	settle(t, d)
	expect(t, d, last)
	if got := shownScore(t, d, "busy@example.com"); !near(got, 50) {
		t.Errorf("fit makes it %v", got)
	}

	for i := range 3 {
		did(t, d, "fit@example.com", "Pricing Viewed", h.now.Add(-time.Duration(i)*time.Second))
	}
	did(t, d, "busy@example.com", "Pricing Viewed", h.now) // 10 and 20
	importRow(t, d, "2.csv", "email,account,contact.status,account.employees,account.plan\nbusy@example.com,Second,trial,500,paid\n")
	settle(t, d)
	last = d.LastFlip()
	did(t, d, "fit@example.com", EventUnsubscribed, h.now) // 50 and 10; busy has 50 and 20
	settle(t, d)
	expect(t, d, last)
	h.turn(time.Duration(math.Log2(20.0/8)*float64(30*tier.Day)) + time.Minute)
	settle(t, d)
	expect(t, d, last, "left above-58 fit@example.com (time)", "left above-58 busy@example.com (time)")
}
