// SPDX-License-Identifier: Apache-2.0

package mta

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/seguemta/segue/mta/api"
	"github.com/seguemta/segue/mta/arf"
	"github.com/seguemta/segue/mta/event"
	"github.com/seguemta/segue/reputation/evidence"
	"github.com/seguemta/segue/reputation/warmup"
)

// steep is a plan of two stages, 20 and 60 a day, on the only source that takes
// active contacts, at a provider of its own. Breakers are off: they would hold who bounces.
func steep() *strings.Replacer {
	return strings.NewReplacer(
		"[http]", "[breaker]\nenabled = false\n[http]",
		`excess = "overflow"`, `excess = "hold"`, `overflow = "standard"`, "",
		`per_day = { default = 2 }`, "per_day = { default = 20 }\n[[plan.stage]]\ntiers = [\"active\"]\nper_day = { default = 60 }",
		"[[pool]]\nname = \"standard\"", "[[provider]]\nname = \"google\"\nmx = [\"mx.dest.example\"]\n[[pool]]\nname = \"standard\"",
	)
}

// importNamed makes n contacts PREFIX0, PREFIX1, ... that engaged a day ago.
func (w *town) importNamed(prefix string, n int) {
	w.t.Helper()
	var rows strings.Builder
	rows.WriteString("email,last_engaged_at,first_sent_at\n")
	day := time.Now().Add(-24 * time.Hour).UTC().Format(time.RFC3339)
	for i := range n {
		fmt.Fprintf(&rows, "%s%d@dest.example,%s,%s\n", prefix, i, day, day)
	}
	if _, err := w.Methods().ImportContacts(w.t.Context(), api.Import{Name: "c.csv"}, strings.NewReader(rows.String())); err != nil {
		w.t.Fatal(err)
	}
}

// send submits a message to each of PREFIX from..to-1 and waits for their end.
func (w *town) send(prefix string, from, to int) {
	w.t.Helper()
	for i := from; i < to; i++ {
		w.submit("", fmt.Sprintf("%s%d@dest.example", prefix, i))
	}
	time.Sleep(time.Minute)
	synctest.Wait()
}

// nextDay is a night: the engine stops before midnight and starts after it, so
// that the hours between cost nothing.
func (w *town) nextDay(days int) {
	w.t.Helper()
	w.stop()
	time.Sleep(time.Until(time.Now().Truncate(24*time.Hour).AddDate(0, 0, days).Add(time.Minute)))
	w.run()
	synctest.Wait()
}

// budget is the cold source's at a provider.
func (w *town) budget(provider string) api.Warmup {
	w.t.Helper()
	list, err := w.Methods().Warmup(w.t.Context())
	if err != nil {
		w.t.Fatal(err)
	}
	for _, b := range list {
		if b.Source == "cold" && b.Provider == provider {
			return b
		}
	}
	w.t.Fatalf("no budget at %s in %+v", provider, list)
	return api.Warmup{}
}

// told are the reasons of the events of a kind.
func (w *town) told(kind event.Kind) string {
	w.t.Helper()
	list, err := w.mail.Events(0, 10_000)
	if err != nil {
		w.t.Fatal(err)
	}
	var out []string
	for _, e := range list {
		if e.Kind == kind {
			out = append(out, e.Provider+": "+e.Reason)
		}
	}
	return strings.Join(out, "\n")
}

// A stage whose volume was used is kept while the evidence of seven days is
// bad, left backwards once where it is worse, and left forwards when it is forgotten.
func TestGateHoldsAndStepsBackOnBounces(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newTown(t, "rcpt bad : 550 5.1.1 no such user")
		w.change = steep()
		w.run()
		w.importNamed("c", 100)
		w.importNamed("bad", 15)
		w.send("c", 0, 20)
		w.nextDay(1)
		if b := w.budget("google"); b.Stage != 2 || b.Allowed != 60 || !strings.HasPrefix(b.Reason, "advances to stage 2 of 2: 20 of 20 used") {
			t.Fatalf("after a good day: %+v", b)
		}
		w.send("c", 20, 35)
		w.send("bad", 0, 15)
		w.nextDay(1)
		b := w.budget("google")
		if want := "steps back to stage 1 of 2: 30 % (19.1 to 43.8 %, 15 of 50) bounced of those attempted, above 3 times 5 %"; b.Stage != 1 || b.Allowed != 20 || b.Reason != want {
			t.Fatalf("after a bad day: %+v, want %q", b, want)
		}
		if got := w.told(event.StageBack); got != "google: "+b.Reason {
			t.Errorf("told: %q", got)
		}
		if want := "50 attempted, 35 delivered, 0 refused for reputation, 15 bounced, complaints unknown, 0 unsubscribed"; b.Evidence != want {
			t.Errorf("evidence %q, want %q", b.Evidence, want)
		}
		w.nextDay(1) // a quiet day: 24 hours see no more than 1.25 days
		if b = w.budget("google"); !strings.HasPrefix(b.Reason, "stays at stage 1 of 2: 0 of 20 used on 2000-01-03, but 30 %") {
			t.Fatalf("one bad day leads one step back, not another on the next day: %+v", b)
		}
		w.send("c", 35, 55)
		w.nextDay(1)
		if b = w.budget("google"); b.Stage != 1 || !strings.Contains(b.Reason, "20 of 20 used on 2000-01-04, but 21.4 %") || !strings.HasSuffix(b.Reason, "bounced of those attempted, above 5 %") {
			t.Fatalf("the bad day still holds, and leads no second step: %+v", b)
		}
		if got := w.told(event.StageHeld); got != "google: "+b.Reason {
			t.Errorf("told: %q", got)
		}
		w.nextDay(4) // the bad day is the eighth
		w.send("c", 55, 75)
		w.nextDay(1)
		if b = w.budget("google"); b.Stage != 2 || !strings.HasPrefix(b.Reason, "advances to stage 2 of 2") {
			t.Fatalf("when it is over: %+v", b)
		}
		w.stop()
		w.verify()
	})
}

// Deferrals for reputation hold; a recipient that is tried all day counts once.
func TestGateHoldsOnDeferrals(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newTown(t, "rcpt late : 421 4.7.0 [TSS04] Messages from 192.0.2.11 temporarily deferred due to unexpected volume or user complaints - 4.16.55.1; see https://postmaster.yahooinc.com/error-codes")
		w.change = strings.NewReplacer(append(pairs(), "google", "yahoo", "[http]\n", "[throttle]\nenabled = false\n[http]\n")...) // nothing slows it
		w.run()
		w.importNamed("c", 20)
		w.importNamed("late", 6)
		w.send("late", 0, 6)
		w.send("c", 0, 14)
		time.Sleep(30 * time.Minute) // some retries
		synctest.Wait()
		day := warmup.DayOf(time.Now(), time.UTC)
		c := w.evidence.book.Counts(evidence.Key{Scope: evidence.Source, Name: "cold", Provider: "yahoo", Day: day})
		if c != (evidence.Counts{Attempted: 20, Delivered: 14, Deferred: 6}) {
			t.Fatalf("%+v", c)
		}
		w.nextDay(1)
		if b := w.budget("yahoo"); b.Stage != 1 || !strings.Contains(b.Reason, "but 30 % (14.5 to 51.9 %, 6 of 20) refused for reputation of those attempted, above 10 %") {
			t.Fatalf("%+v", b)
		}
		w.stop()
	})
}

func pairs() []string {
	return []string{
		`excess = "overflow"`, `excess = "hold"`, `overflow = "standard"`, "",
		`per_day = { default = 2 }`, "per_day = { default = 20 }\n[[plan.stage]]\ntiers = [\"active\"]\nper_day = { default = 60 }",
		"[[pool]]\nname = \"standard\"", "[[provider]]\nname = \"yahoo\"\nmx = [\"mx.dest.example\"]\n[[pool]]\nname = \"standard\"",
	}
}

// Google sends no reports: no complaint is unknown. Figures of Postmaster Tools
// stand in for them, and hold.
func TestGateTakesImportedFigures(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newTown(t)
		w.change = steep()
		w.run()
		w.importNamed("c", 20)
		w.send("c", 0, 20)
		post := func(rows ...api.EvidenceRow) error {
			_, err := w.Methods().AddEvidence(t.Context(), api.Evidence{Rows: rows})
			return err
		}
		day := time.Now().UTC().Format(time.DateOnly)
		for want, row := range map[string]api.EvidenceRow{
			`row 1: there is no kind "x", only postmaster and snds`:                  {Kind: "x", Day: day},
			`row 1: day "today" is not a date such as 2026-11-23`:                    {Kind: "postmaster", Day: "today"},
			`row 1: day 1999-01-01 is not one of the last 30`:                        {Kind: "postmaster", Day: "1999-01-01"},
			`row 1: "example.net" is none of our domains`:                            {Kind: "postmaster", Key: "example.net", Day: day},
			`row 1: "192.0.2.99" is the address of no source`:                        {Kind: "snds", Key: "192.0.2.99", Day: day, Filter: "red"},
			`row 1: snds has a filter (green, yellow or red) and a complaint_rate`:   {Kind: "snds", Key: "192.0.2.11", Day: day},
			`row 1: there is no provider "microsoft": say which of ours it is about`: {Kind: "snds", Key: "192.0.2.11", Day: day, Filter: "red"},
			`row 1: a rate of 2 is not between 0 and 1`:                              {Kind: "postmaster", Key: "example.com", Day: day, SpamRate: 2},
		} {
			if err := post(row); err == nil || !strings.HasSuffix(err.Error(), want) {
				t.Errorf("%+v: %v, want %q", row, err, want)
			}
		}
		if err := post(); err == nil {
			t.Error("no rows are no evidence")
		}
		good := api.EvidenceRow{Kind: "postmaster", Key: "Example.COM", Day: day, SpamRate: 0.3}
		for range 2 { // the second takes the place of the first
			if err := post(good); err != nil {
				t.Fatal(err)
			}
		}
		w.nextDay(1)
		b := w.budget("google")
		if want := "stays at stage 1 of 2, the first: 30 % (14.5 to 51.9 %, 6 of 20) complained of those delivered, above 3 times 0.1 %"; b.Stage != 1 || b.Reason != want {
			t.Fatalf("%+v, want %q", b, want)
		}
		w.stop()
	})
}

// A complaint that comes three days later counts for the day of delivery, once,
// whenever the power is cut.
func TestEvidenceCountsOnceForTheDayOfDelivery(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newTown(t, "rcpt bad : 550 5.1.1 no such user")
		mail := vfs.NewCrashableMem()
		w.mailFS = mail
		w.change = steep()
		w.run()
		w.importNamed("c", 3)
		w.importNamed("bad", 1)
		w.send("c", 0, 3)
		w.send("bad", 0, 1)
		day := warmup.DayOf(time.Now(), time.UTC)
		w.nextDay(3)
		m := w.mx.Messages()[0]
		complaint := arf.Build(arf.Feedback{
			From: "fbl@dest.example", To: "fbl@bounce.example.com", Date: time.Now(), MessageID: "a1@dest.example",
			Report: arf.Report{Type: arf.Abuse, Recipients: m.To}, Original: m.Data, HeaderOnly: true,
		})
		for range 2 { // reports come twice
			if r := w.report("fbl@bounce.example.com", complaint); r.Code != 250 {
				t.Fatal(r)
			}
		}
		rng := rand.New(rand.NewPCG(1, 7))
		want := evidence.Counts{Attempted: 4, Delivered: 3, Bounced: 1, Complained: 1}
		keys := []evidence.Key{
			{Scope: evidence.Source, Name: "cold", Provider: "google", Day: day},
			{Scope: evidence.Domain, Name: "example.com", Provider: "google", Day: day},
			{Scope: evidence.Route, Name: "cold/example.com", Provider: "google", Day: day},
			{Scope: evidence.Lane, Name: "/active", Provider: "google", Day: day},
		}
		for i := range 6 {
			if i > 0 {
				mail = mail.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: i * 20, RNG: rng})
				w.stop()
				w.mailFS = mail
				w.run()
			}
			synctest.Wait()
			for _, k := range keys {
				if got := w.evidence.book.Counts(k); got != want {
					t.Fatalf("after %d cuts %+v: %+v, want %+v", i, k, got, want)
				}
			}
		}
		// A day that is forgotten leaves nothing behind.
		w.nextDay(evidence.Keep)
		w.send("fresh", 0, 1)
		n := 0
		err := w.mail.States(countPrefix, func(name string, _ []byte) error {
			k, ok := parseCount(name)
			if n++; !ok || k.Day <= day {
				t.Errorf("%s is left", name)
			}
			return nil
		})
		if err != nil || n != len(keys) {
			t.Errorf("%d counts of today, %v", n, err)
		}
		w.stop()
		w.verify()
	})
}

// The consumer pins the log: what it has not counted is not truncated.
func TestEvidencePinsTheLog(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newTown(t)
		w.run()
		w.send("c", 0, 2)
		durable, _ := w.mail.Durable()
		if got := w.evidence.consumed(); got != durable {
			t.Errorf("counted up to %d of %d", got, durable)
		}
		if k, ok := parseCount("evidence/count/x"); ok {
			t.Errorf("%+v", k)
		}
		if k, ok := parseFigure("evidence/figure/x"); ok {
			t.Errorf("%+v", k)
		}
		w.stop()
	})
}
