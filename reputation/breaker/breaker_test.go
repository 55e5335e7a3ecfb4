// SPDX-License-Identifier: Apache-2.0

package breaker

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/datadriven"

	"github.com/seguemta/segue/mta/event"
)

func start() time.Time { return time.Date(2026, 11, 26, 8, 0, 0, 0, time.UTC) }

const today = 20783 // 2026-11-26

// talk is a conversation about one cohort.
type talk struct {
	policy *Policy
	state  *State
	now    time.Time
	pools  []Pool
	b      strings.Builder
}

// play runs the conversations of a directory: one file each, the name is the sentence it shows.
func play(t *testing.T, dir string) {
	t.Helper()
	datadriven.Walk(t, dir, func(t *testing.T, path string) {
		t.Helper()
		c := &talk{policy: DefaultPolicy(), now: start()}
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
			t.Helper()
			c.b.Reset()
			c.run(t, d)
			if c.b.Len() == 0 {
				return "nothing changes\n"
			}
			return c.b.String()
		})
	})
}

// TestBreakerTalks and TestCanaryTalks: see their files.
func TestBreakerTalks(t *testing.T) { play(t, "testdata/breaker") }

func TestCanaryTalks(t *testing.T) { play(t, "testdata/canary") }

// say tells acts; those that evidence decided have it in numbers, too.
func (c *talk) say(acts []Act) {
	for _, a := range acts {
		judged := slices.Contains([]ActKind{Warned, Opened, ClosedAgain, TriedAgain, CanaryPassed, CanaryFailed}, a.Kind)
		if judged && a.Finding == nil && a.Counts == nil {
			fmt.Fprintf(&c.b, "without evidence: ")
		}
		fmt.Fprintf(&c.b, "%s  %s\n", a.Time.Format("02 15:04"), a)
	}
}

func (c *talk) run(t *testing.T, d *datadriven.TestData) {
	t.Helper()
	args, counts := map[string]string{}, map[string]uint64{}
	for _, a := range d.CmdArgs {
		args[a.Key] = strings.Join(a.Vals, " ")
		counts[a.Key], _ = strconv.ParseUint(args[a.Key], 10, 64)
	}
	ago, _ := time.ParseDuration(args["ago"])
	length, _ := time.ParseDuration(args["for"])
	hand := Hand{By: args["by"], Reason: args["reason"]}
	if length > 0 {
		hand.Until = c.now.Add(length)
	}
	switch d.Cmd {
	case "cohort":
		c.state, c.now, c.pools = New(Kind(args["kind"]), args["name"]), start(), nil
		if _, ok := args["proven"]; ok {
			c.state.Proven = c.now
		}
		fmt.Fprintf(&c.b, "it is %s\n", c.now.Format(time.DateTime))
	case "pool": // name=(tier active) delivered=...
		c.pools = append(c.pools, Pool{args["name"], read(counts)})
		fmt.Fprintf(&c.b, "small cohorts are filled with it\n")
	case "learn": // delivered=90 reporting=90 bounced=3 [sample] [admitted=N] [ago=2h]
		_, sample := args["sample"]
		o := Observation{Sent: c.now.Add(-ago), Day: today + int32(c.now.Add(-ago).Sub(start())/(24*time.Hour)), Sample: sample, Counts: read(counts)}
		c.policy.Observe(c.state, o)
		c.say(c.policy.Tick(c.state, c.now, c.pools...))
	case "wait":
		length, err := time.ParseDuration(d.CmdArgs[0].Key)
		if err != nil {
			t.Fatal(err)
		}
		c.now = c.now.Add(length)
		c.say(c.policy.Tick(c.state, c.now, c.pools...))
	case "unproven":
		n, _ := strconv.ParseUint(d.CmdArgs[0].Key, 10, 64)
		c.say(c.policy.Resize(c.state, c.now, n))
	case "ask": // of 100000 contacts [entered=2h]
		c.ask(counts["of"], c.now.Add(-ago))
	case "health":
		for _, f := range c.policy.Health(c.state, c.pools...) {
			fmt.Fprintf(&c.b, "%s: %s\n", f.Level, f)
		}
	case "store":
		c.store(t)
	case "hold":
		c.say(c.policy.Hold(c.state, c.now, hand))
	case "override":
		c.say(c.policy.Override(c.state, c.now, hand))
	case "release":
		c.say(c.policy.Release(c.state, c.now, hand.By, hand.Reason))
	case "next":
		fmt.Fprintf(&c.b, "%s\n", c.policy.Next(c.state, c.now).Format(time.DateTime))
	default:
		t.Fatalf("unknown command %s", d.Cmd)
	}
}

func (c *talk) store(t *testing.T) {
	t.Helper()
	b, err := c.state.Encode()
	if err != nil {
		t.Fatal(err)
	}
	if c.state, err = Decode(b); err != nil {
		t.Fatal(err)
	}
	fmt.Fprintf(&c.b, "stored and loaded\n")
}

// read makes counts; what was delivered or refused is concluded and answered.
func read(n map[string]uint64) Counts {
	c := Counts{
		Admitted: n["admitted"], Delivered: n["delivered"], Reporting: n["reporting"], Bounced: n["bounced"],
		Spam: n["spam"], Complained: n["complained"], Unsubscribed: n["unsubscribed"],
	}
	c.Answered = c.Delivered + c.Bounced + c.Spam
	c.Concluded = c.Answered + n["expired"]
	return c
}

// ask asks for so many contacts and says how many go, and why the others do not.
func (c *talk) ask(contacts uint64, entered time.Time) {
	goes, sample, why := 0, 0, ""
	for id := range contacts {
		a := c.policy.Asks(c.state, c.now, Contact{ID: id + 1, Entered: entered})
		switch {
		case a.Go:
			goes++
			if a.Sample {
				sample++
			}
		default:
			why = a.Why
		}
	}
	fmt.Fprintf(&c.b, "%d of %d go, %d as a sample\n", goes, contacts, sample)
	if why != "" {
		fmt.Fprintf(&c.b, "%s\n", why)
	}
}

// TestFrom: what events count as.
func TestFrom(t *testing.T) {
	for _, tt := range []struct {
		e       event.Event
		reports bool
		want    Counts
		ok      bool
	}{
		{event.Event{Kind: event.Delivered}, true, Counts{Concluded: 1, Answered: 1, Delivered: 1, Reporting: 1}, true},
		{event.Event{Kind: event.Delivered}, false, Counts{Concluded: 1, Answered: 1, Delivered: 1}, true},
		{event.Event{Kind: event.Bounced, Code: 550, Verdict: "suppress", Class: "InvalidRecipient"}, true, Counts{Concluded: 1, Answered: 1, Bounced: 1}, true},
		{event.Event{Kind: event.Bounced, Code: 550, Verdict: "reputation", Class: "SpamBlock"}, true, Counts{Concluded: 1, Answered: 1, Spam: 1}, true},
		{event.Event{Kind: event.Bounced, Code: 552, Verdict: "count", Class: "QuotaIssues"}, true, Counts{Concluded: 1, Answered: 1}, true},
		{event.Event{Kind: event.Bounced, Verdict: "suppress"}, true, Counts{Concluded: 1}, true}, // our own routing, no provider
		{event.Event{Kind: event.Expired}, true, Counts{Concluded: 1}, true},
		{event.Event{Kind: event.Complained}, true, Counts{Complained: 1}, true},
		{event.Event{Kind: event.Complained}, false, Counts{}, false},
		{event.Event{Kind: event.Unsubscribed}, false, Counts{Unsubscribed: 1}, true},
		{event.Event{Kind: event.Deferred, Code: 421, Class: "SpamBlock"}, true, Counts{}, false},
	} {
		if got, ok := From(&tt.e, tt.reports); got != tt.want || ok != tt.ok {
			t.Errorf("%+v: %+v %v", tt.e, got, ok)
		}
	}
}
