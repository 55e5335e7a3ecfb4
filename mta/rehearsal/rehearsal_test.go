// SPDX-License-Identifier: Apache-2.0

package rehearsal

import (
	"encoding/json"
	"errors"
	"slices"
	"testing"

	"github.com/seguemta/segue/reputation/evidence"
	"github.com/seguemta/segue/reputation/plans"
	"github.com/seguemta/segue/reputation/warmup"
)

// options are a small run of a published plan.
func options(t *testing.T, plan string) Options {
	t.Helper()
	p, ok := plans.Find(plan)
	if !ok {
		t.Fatalf("no plan %s", plan)
	}
	return Options{Seed: 1, Days: 10, Contacts: 2000, Plan: p.Plan(), Limits: evidence.Limits{Deferred: 0.10, Bounced: 0.05, Complained: 0.001, Unsubscribed: 0.01, StepBack: 3}}
}

// played plays the arms of some names, by name; without names all.
func played(t *testing.T, o Options, names ...string) map[string]Outcome {
	t.Helper()
	r, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	out := make(map[string]Outcome)
	for _, a := range Arms() {
		if len(names) == 0 || slices.Contains(names, a.Name) {
			out[a.Name] = r.Play(a)
		}
	}
	return out
}

func text(t *testing.T, v any) string {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestRepeats(t *testing.T) {
	t.Parallel()
	o := options(t, "sparkpost")
	first := text(t, played(t, o))
	if again := text(t, played(t, o)); again != first {
		t.Errorf("the same options gave\n%s\nand then\n%s", first, again)
	}
	o.Seed = 2
	if text(t, played(t, o)) == first {
		t.Error("another seed changed nothing")
	}
}

// TestEveryMessageIsAccountedFor: what was queued has ended in one way, or waits.
func TestEveryMessageIsAccountedFor(t *testing.T) {
	t.Parallel()
	for _, a := range Arms() {
		o := options(t, "sparkpost")
		r, err := New(o)
		if err != nil {
			t.Fatal(err)
		}
		w := newWorld(&o, a, r.people)
		w.run()
		waits, held := make([]int, len(w.figures)), make([]int, len(w.figures))
		for i := range w.mails {
			s := w.contacts[w.mails[i].contact].segment
			switch w.mails[i].standing {
			case waiting:
				waits[s]++
			case parked:
				waits[s]++
				held[s]++
			default:
			}
		}
		for i, f := range w.figures {
			if f.Queued == 0 || f.Queued != f.Delivered+f.Bounced+f.Suppressed+f.Expired+f.Waiting {
				t.Errorf("%s, %s: it does not add up: %+v", a.Name, segments()[i], f)
			}
			if f.Waiting != waits[i] || w.guard.parked(i) != held[i] {
				t.Errorf("%s, %s: %d wait, %d of them held; counted were %d and %d", a.Name, segments()[i], waits[i], held[i], f.Waiting, w.guard.parked(i))
			}
		}
	}
}

// TestBudgetsHold looks at the ends of a week's days.
func TestBudgetsHold(t *testing.T) {
	t.Parallel()
	o := options(t, "responsys") // a plan with providers of its own
	for i := range o.Plan.Stages {
		per := make(map[string]int)
		for name, n := range o.Plan.Stages[i].PerDay {
			per[name] = n / 100
		}
		o.Plan.Stages[i].PerDay = per
	}
	full := 0
	for o.Days = 1; o.Days <= 7; o.Days++ {
		r, err := New(o)
		if err != nil {
			t.Fatal(err)
		}
		w := newWorld(&o, Arms()[0], r.people)
		w.run()
		for key, c := range w.ramp.caps {
			switch n := w.ramp.used[key].n; {
			case n > c.Allowed:
				t.Errorf("day %d: %s used %d of %d", o.Days, key, n, c.Allowed)
			case n == c.Allowed:
				full++
			}
		}
	}
	if full < 4 {
		t.Errorf("%d budgets were used up: this tests nothing", full)
	}
}

// TestTheBadSegmentIsHeld: its canary costs least, a breaker alone more, and with neither every
// dead address is written to.
func TestTheBadSegmentIsHeld(t *testing.T) {
	t.Parallel()
	o := options(t, "sparkpost")
	o.Contacts = 6_000
	r, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	all := r.Result(nil)
	by := played(t, o)
	bounced := func(arm string) int { return by[arm].Segments[Bad].Bounced }
	if all.Dead < all.Imported*17/100 || all.Dead > all.Imported*23/100 || bounced("plain warm-up") != all.Dead || bounced("neither of the two") != all.Dead {
		t.Errorf("%d of %d are dead; %d and %d were written to", all.Dead, all.Imported, bounced("plain warm-up"), bounced("neither of the two"))
	}
	if bounced("all on") > all.Dead/10 || bounced("no canary") <= bounced("all on") || bounced("no canary") >= all.Dead {
		t.Errorf("%d bounced with a canary, %d with a breaker alone, of %d", bounced("all on"), bounced("no canary"), all.Dead)
	}
	for arm, x := range by {
		guarded := x.Breaker || x.Canary
		if held := x.Segments[Bad].HeldDays > 0; held != guarded || guarded != (len(x.Acts) > 0) {
			t.Errorf("%s: held is %v after %q", arm, held, x.Acts)
		}
	}
}

// TestTierOrder: mail that people want reaches the inbox, and what nobody reads waits.
func TestTierOrder(t *testing.T) {
	t.Parallel()
	o := options(t, "sparkpost")
	o.Contacts, o.Days = 4000, 14
	by := played(t, o, "all on", "no tier order")
	with, without := by["all on"].All, by["no tier order"].All
	if with.EngagedInbox < without.EngagedInbox*5/4 || with.Bounced >= without.Bounced || with.Expired+with.Waiting <= without.Expired+without.Waiting {
		t.Errorf("with %+v\nwithout %+v", with, without)
	}
}

// TestGatesSpeak: evidence holds the warm-up, and days are lost, once a limit is passed.
func TestGatesSpeak(t *testing.T) {
	t.Parallel()
	o := options(t, "sparkpost")
	plain := Arms()[len(Arms())-1]
	gated := plain
	gated.Gates = true
	r, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	before := r.Play(plain)
	o.Limits = evidence.Limits{Deferred: 1, Bounced: 1, Complained: 1, Unsubscribed: 1}
	if r, err = New(o); err != nil {
		t.Fatal(err)
	}
	if a := r.Play(gated); a.All != before.All || a.Lost != 0 {
		t.Errorf("gates without limits change something: %+v, without gates %+v", a, before)
	}
	o.Limits.Bounced = 0.002
	if r, err = New(o); err != nil {
		t.Fatal(err)
	}
	if a, b := r.Play(plain), r.Play(gated); a.Lost != 0 || b.Lost == 0 || b.Stage >= a.Stage {
		t.Errorf("lost %d and %d days, at stages %d and %d", a.Lost, b.Lost, a.Stage, b.Stage)
	}
}

// TestQuota: a provider that takes little defers the rest, which is tried again and not lost.
func TestQuota(t *testing.T) {
	t.Parallel()
	o := options(t, "sparkpost")
	r, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	w := newWorld(&o, Arms()[0], r.people)
	for _, opinion := range w.opinions {
		opinion.Quota = 40
	}
	w.run()
	got, free := w.outcome(), r.Play(Arms()[0])
	if got.All.Deferred == 0 || got.Refused == 0 || got.All.Delivered == 0 || got.All.Delivered > free.All.Delivered*4/5 || free.All.Deferred > 0 {
		t.Errorf("%+v\nwithout a quota\n%+v", got, free)
	}
}

// TestAListTooSmallForItsPlan: where the tiers that a stage admits do not use it up, the
// plan does not go on, and the next tier waits for good. The manual says so.
func TestAListTooSmallForItsPlan(t *testing.T) {
	t.Parallel()
	o := options(t, "braze-conservative")
	o.Days = 30
	by := played(t, o, "all on", "plain warm-up")
	const warm = 10 // the stage that admits them
	with, plain := by["all on"], by["plain warm-up"]
	if with.Stage >= warm || with.All.Engaged >= plain.All.Engaged/2 || plain.Stage < warm {
		t.Errorf("with tiers stage %d, %+v\nwithout %d, %+v", with.Stage, with.All, plain.Stage, plain.All)
	}
}

func TestOptions(t *testing.T) {
	t.Parallel()
	good := options(t, "sparkpost")
	for _, change := range []func(*Options){
		func(o *Options) { o.Days = 0 },
		func(o *Options) { o.Days = MostDays + 1 },
		func(o *Options) { o.Contacts = LeastContacts - 1 },
		func(o *Options) { o.Contacts = MostContacts + 1 },
		func(o *Options) { o.Plan = warmup.Plan{} },
	} {
		o := good
		change(&o)
		if _, err := New(o); !errors.Is(err, ErrOptions) {
			t.Errorf("%+v: %v", o, err)
		}
	}
}
