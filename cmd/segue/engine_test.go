// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/seguemta/segue/mta/api"
	"github.com/seguemta/segue/mta/event"
)

// engine gives fixed answers; what it was ordered it says in them.
type engine struct {
	api.Methods
	start time.Time
}

func (e *engine) Health(context.Context) (api.Health, error) {
	return api.Health{Ready: true, Sequence: 30}, nil
}

func (e *engine) entry(n int) api.QueueEntry {
	return api.QueueEntry{
		ID: fmt.Sprintf("3K9F%d.0", n), Address: fmt.Sprintf("user%d@example.test", n), State: "waiting", Stream: "marketing", Segment: "trial", Tier: "dormant", Pool: "reengage",
		Queued: e.start.Add(-3 * time.Hour), Due: e.start.Add(10 * time.Minute), Expires: e.start.Add(72 * time.Hour), Attempts: 1, Reply: "451 later\x1b[2Jplease",
	}
}

// Queue has 250 recipients in pages of 100.
func (e *engine) Queue(_ context.Context, q api.QueueQuery) (api.QueueList, error) {
	if q.Tier == "dead" {
		return api.QueueList{}, nil
	}
	from, most := 0, min(q.Limit, 100)
	if q.After != "" {
		if _, err := fmt.Sscanf(q.After, "3K9F%d.0", &from); err != nil {
			return api.QueueList{}, err
		}
		from++
	}
	var out api.QueueList
	for n := from; n < 250 && len(out.Entries) < most; n++ {
		out.Entries = append(out.Entries, e.entry(n))
		out.Next = fmt.Sprintf("3K9F%d.0", n)
	}
	if len(out.Entries) < most {
		out.Next = ""
	}
	return out, nil
}

func (e *engine) QueueSummary(context.Context) (api.QueueSummary, error) {
	return api.QueueSummary{Waiting: 12, Held: 3, InFlight: 1, Lanes: []api.LaneCount{
		{Stream: "marketing", Segment: "trial", Tier: "new", Pool: "prime", Provider: "google", Waiting: 2},
		{Stream: "marketing", Segment: "trial", Tier: "dormant", Pool: "reengage", Plan: "gentle", Provider: "other", Waiting: 10, Held: 3, InFlight: 1},
	}}, nil
}

func (e *engine) QueueShow(_ context.Context, id string) (api.QueueDetail, error) {
	if id != "3K9F0.0" {
		return api.QueueDetail{}, api.Problem(http.StatusNotFound, "no message has the id "+id, "segue queue ls shows them")
	}
	at := time.Date(2026, 11, 23, 4, 5, 6, 0, time.UTC)
	return api.QueueDetail{QueueEntry: e.entry(0), Sender: "news@example.com", Size: 4096, Why: &api.Why{Text: "waits for 10m after a deferral"}, Events: []event.Event{
		{Sequence: 1, Time: at, Kind: event.Accepted},
		{Sequence: 2, Time: at.Add(time.Second), Kind: event.Deferred, Attempt: 1, Source: "a1", Host: "mx.example.test", Code: 451, Enhanced: "4.7.1", Reply: "later", Class: "SpamBlock", Subject: "ip"},
	}}, nil
}

func (e *engine) QueueWhy(_ context.Context, id string) (api.Why, error) {
	return api.Why{
		ID: id, State: "waiting", Code: "budget", Text: "waits for tomorrow's budget of a1 at google", Until: e.start.Add(5 * time.Hour), Expected: e.start.Add(50 * time.Hour),
		Ahead: 1200, Lane: "marketing/trial/dormant/reengage", Source: "a1", Provider: "google",
	}, nil
}

func (e *engine) QueueAct(_ context.Context, act api.QueueAct) (api.QueueActed, error) {
	switch {
	case act.ID == "GONE.0":
		return api.QueueActed{}, api.Problem(http.StatusNotFound, "GONE.0 is not in the queue", "")
	case act.ID != "":
		return api.QueueActed{Recipients: 1}, nil
	case act.All:
		return api.QueueActed{Recipients: 250}, nil
	default:
		return api.QueueActed{Recipients: 40}, nil
	}
}

func (e *engine) Segments(context.Context) ([]api.Segment, error) {
	return []api.Segment{
		{
			Name: "trial", Order: 10, Version: 2, Rule: `contact.status == "trial"`, State: "building", Progress: 0.415, Generation: 3, Members: 1234, Entered: 12, Left: 3,
			Warnings: []api.SegmentWarning{{Kind: "overlap", Text: "overlaps with eu"}, {Kind: "overlap", Text: "overlaps with us"}, {Kind: "unused", Text: "never used in 91 days"}},
		},
		{Name: "broken", Order: 20, Version: 1, State: "failed", Error: "no attribute has the name contact.sttus"},
	}, nil
}

func (e *engine) Segment(ctx context.Context, name string) (api.SegmentDetail, error) {
	list, err := e.Segments(ctx)
	if name != "trial" {
		return api.SegmentDetail{}, api.Problem(http.StatusNotFound, "no segment has the name "+name, "")
	}
	return api.SegmentDetail{
		Segment: list[0], Pool: "standard", Assign: []api.SegmentTier{{Tier: "dormant", Pool: "reengage", Plan: "gentle"}},
		Tiers: map[string]int64{"new": 1000, "dormant": 200, "active": 34},
		Days: []api.SegmentDay{
			{Date: "2026-11-22", Size: 1225, Entered: 25}, {Date: "2026-11-23", Size: 1234, Entered: 12, Left: 3, Results: api.SegmentResults{Sent: 1000, Delivered: 990}},
		},
		Overlaps: []api.SegmentOverlap{{Segment: "eu", Members: 5000, Both: 1000, Jaccard: 0.191, Smaller: 0.81}},
		Results:  api.SegmentResults{Sent: 1000, Delivered: 990, Complained: 1},
		Rates: []api.SegmentRate{
			{What: "complained", Of: "delivered", Hits: 1, Total: 990, Share: 1.0 / 990, Low: 0.00018, High: 0.0057}, {What: "clicked", Of: "delivered"},
		},
	}, err
}

func (e *engine) TestSegment(_ context.Context, t api.SegmentTest) (api.SegmentTested, error) {
	switch t.Where {
	case "bad":
		return api.SegmentTested{Faults: []api.RuleFault{{Line: 1, Column: 4, Text: "no attribute has the name contact.sttus", Hint: "did you mean contact.status?"}, {Text: "too long"}}}, nil
	case "many":
		return api.SegmentTested{Contacts: 2_000_000, Looked: 19_000, Sample: true, Members: 200_000, Low: 191_000, High: 209_000}, nil
	default:
		return api.SegmentTested{Contacts: 1200, Looked: 1200, Members: uint64(len(t.Include) + len(t.Exclude)), Some: []api.SegmentMember{{Address: "a@example.test", Tier: "new"}}}, nil
	}
}

func (e *engine) ExplainSegment(_ context.Context, name, address string) (api.SegmentExplained, error) {
	x := api.SegmentExplained{Segment: name, Address: address, Pairs: []api.SegmentExamined{
		{Account: "acme", Role: "buyer", Holds: true, Conditions: []api.SegmentCondition{
			{Text: `account.plan == "paid"`, Result: true, Reads: []api.SegmentReading{{Name: "account.plan", Value: "paid"}}},
			{Text: `contact.x == contact.y`, Depth: 1, Negated: true, Reads: []api.SegmentReading{{Name: "contact.x", Missing: true}, {Name: "contact.y", Value: "1"}}},
		}},
		{Account: "hooli"},
	}}
	switch name {
	case "trial":
		x.Member, x.Since, x.Cause, x.Until = true, e.start.Add(-49*time.Hour), "import", e.start.Add(5*time.Hour)
	case "old":
		x.Member = true
	default:
		x.Until, x.Then = e.start.Add(5*time.Hour), true
	}
	return x, nil
}

func (e *engine) RebuildSegment(_ context.Context, name string) error {
	if name != "trial" {
		return api.Problem(http.StatusConflict, "segments are being built: try again when that is done", "")
	}
	return nil
}

func (e *engine) SteerBreaker(_ context.Context, x api.BreakerAct) (api.BreakerActed, error) {
	if x.Name == "nobody" {
		return api.BreakerActed{}, api.Problem(http.StatusNotFound, "nothing holds "+x.Kind+" "+x.Name, "")
	}
	until := ""
	if !x.Until.IsZero() {
		until = " for " + x.Until.Sub(e.start).Round(time.Hour).String()
	}
	return api.BreakerActed{Text: fmt.Sprintf("%s of %s %s by %s: %s%s", x.Action, x.Kind, x.Name, x.By, x.Reason, until), Undo: "undo"}, nil
}

func (e *engine) Contact(_ context.Context, address string) (api.Contact, error) {
	if address == "nobody@example.test" {
		return api.Contact{}, api.Problem(http.StatusNotFound, "no contact has the address "+address, "")
	}
	return api.Contact{
		Address: address, ID: 7, Account: "acme", Tier: "cooling", TierReason: "last engaged 60 days ago", Segments: []string{"trial", "eu"}, Sends: 9, SendsSince: 4,
		Accounts: []api.Membership{{Name: "Acme", GroupID: "g1", Parent: "Holding", Role: "champion", Score: new(70.25)}, {Name: "Acme"}},
		Stage:    "trial", StageBy: "trials", Scores: &api.ContactScores{Score: 70.25, Fit: 50, Behaviour: 20.25, Why: "20.2 of 50"},
		LastSent: e.start.Add(-49 * time.Hour), Attributes: map[string]string{"contact.status": "trial"},
		Suppressions: []api.Suppression{{Address: address, Reason: "complaint", Scope: "stream:marketing", Source: "feedback", Created: time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)}},
	}, nil
}

func (e *engine) ExportContacts(_ context.Context, out api.Export, to io.Writer) (api.Exported, error) {
	switch out.Segment {
	case "":
		_, err := fmt.Fprintf(to, "%s %s gzip=%v raw=%v\n", out.Kind, out.Format, out.Gzip, out.Raw)
		return api.Exported{Rows: 1}, err
	case "slow":
		if _, err := io.WriteString(to, strings.Repeat("a@example.test\n", 10_000)); err != nil {
			return api.Exported{}, err
		}
		return api.Exported{}, errors.New("the disk is gone")
	default:
		return api.Exported{}, api.Problem(http.StatusNotFound, "no segment has the name "+out.Segment, "")
	}
}

func (e *engine) EraseContact(_ context.Context, who api.Erase) (api.Erased, error) {
	if who.Contact == "nobody" {
		return api.Erased{}, api.Problem(http.StatusNotFound, "nobody has this user id, and it is no address", "")
	}
	return api.Erased{
		Hash: "0123456789abcdef", At: e.start.Add(-time.Hour), Files: "pending", Counts: api.EraseCounts{Contacts: 1, Events: 12, Mail: 2},
		EventsUntil: e.start.Add(7 * 24 * time.Hour), SentUntil: e.start.Add(60 * 24 * time.Hour), Backups: "copies made before must expire",
	}, nil
}

func (e *engine) ImportContacts(_ context.Context, in api.Import, rows io.Reader) (api.Imported, error) {
	r := bufio.NewReader(rows)
	if head, err := r.Peek(2); err == nil && head[0] == 0x1f {
		if z, err := gzip.NewReader(r); err == nil {
			r = bufio.NewReader(z)
		}
	}
	head, err := r.ReadString('\n')
	if err != nil || !strings.HasPrefix(head, "email") {
		return api.Imported{}, api.Problem(http.StatusUnprocessableEntity, "columns cannot be imported", "there is no column email in "+in.Name)
	}
	out := api.Imported{Kind: in.Kind}
	for {
		line, err := r.ReadString('\n')
		if err != nil {
			return out, nil
		}
		out.Rows++
		if strings.Contains(line, "@") {
			out.Created++
			continue
		}
		if out.Rejected++; out.Rejects == nil {
			out.Rejects = []byte("row,column,reason,line\n")
		}
		if len(out.Errors) < 100 {
			out.Errors = append(out.Errors, api.ImportError{Row: uint64(out.Rows), Column: "email", Reason: "no @"})
		}
		out.Rejects = fmt.Appendf(out.Rejects, "%d,email,no @,%s\n", out.Rows, strings.TrimSpace(line))
	}
}

func (e *engine) Pools(context.Context) ([]api.Pool, error) {
	return []api.Pool{{Name: "prime", Excess: "overflow", Overflow: "standard", Waiting: 5, Members: []api.Member{{Source: "a1", Weight: 3}, {Source: "a2", Weight: 1}}}}, nil
}

func (e *engine) Sources(ctx context.Context) ([]api.Source, error) {
	w, _ := e.Warmup(ctx)
	return []api.Source{
		{Name: "a1", Hostname: "a1.example.net", Addresses: []string{"192.0.2.10", "2001:db8::10"}, Plan: "standard", Budgets: w},
		{Name: "a2", Hostname: "a2.example.net", Addresses: []string{"192.0.2.11"}, Paused: api.UntilResumed(), Pauses: []api.Pause{{Provider: "google", Until: api.UntilResumed()}}},
	}, nil
}

func (e *engine) Source(ctx context.Context, name string) (api.Source, error) {
	list, err := e.Sources(ctx)
	for _, s := range list {
		if s.Name == name {
			return s, err
		}
	}
	return api.Source{}, api.Problem(http.StatusNotFound, "no source has the name "+name, "")
}

func (e *engine) Clock(context.Context) (api.Clock, error) {
	now := time.Date(2026, 11, 23, 9, 0, 0, 0, time.UTC)
	return api.Clock{Now: now, Wall: now.Add(5 * time.Hour), Jump: 5 * 3600, Frozen: true, Believed: now.Add(5*time.Hour + 7*time.Minute)}, nil
}

func (e *engine) ConfirmClock(context.Context) error { return nil }

func (e *engine) PauseSource(ctx context.Context, p api.Pause) error {
	_, err := e.Source(ctx, p.Source)
	return err
}

func (e *engine) Warmup(context.Context) ([]api.Warmup, error) {
	return []api.Warmup{{Source: "a1", Plan: "standard", Provider: "google", Day: "2026-11-23", Stage: 2, Stages: 8, Allowed: 500, Used: 123, Admit: []string{"active", "new"}, Reason: "90 % of 500 not used yet"}}, nil
}

func (e *engine) Suppressions(_ context.Context, q api.SuppressionQuery) ([]api.Suppression, error) {
	return []api.Suppression{{Address: "a@example.test", Reason: "manual", Scope: "all", Source: "operator", Evidence: fmt.Sprintf("asked %q %d", q.Address, q.Limit)}}, nil
}

func (e *engine) Suppress(_ context.Context, s api.Suppression) error {
	if s.Scope == "moon" {
		return api.Problem(http.StatusBadRequest, "bad scope", `"moon" is not all, stream:NAME or domain:NAME`)
	}
	return nil
}

func (e *engine) Lift(_ context.Context, s api.Suppression) error {
	if s.Address == "angry@example.test" && s.Evidence == "" {
		return api.Problem(http.StatusConflict, "angry@example.test is suppressed (all) for complaint: it is lifted with a reason only", "say why (--reason)")
	}
	return nil
}

func (e *engine) ImportSuppressions(_ context.Context, in api.SuppressionImport, rows io.Reader) (api.Imported, error) {
	text, err := io.ReadAll(rows)
	if err != nil {
		return api.Imported{}, err
	}
	if in.Format == "moon" {
		return api.Imported{}, api.Problem(http.StatusBadRequest, "nothing was imported", "format")
	}
	return api.Imported{
		Kind: "suppressions", Rows: int64(bytes.Count(text, []byte("\n"))), Created: 1, Updated: 1, Unchanged: 1, Rejected: 1,
		Errors: []api.ImportError{{Row: 3, Column: "email", Reason: "it is not an address"}}, Rejects: []byte("row,column,reason\n3,email,it is not an address\n"),
	}, nil
}

func (e *engine) ExportSuppressions(_ context.Context, out api.SuppressionExport, to io.Writer) (api.Exported, error) {
	_, err := fmt.Fprintf(to, "%s %s %s raw=%v\n", out.Format, out.Reason, out.Scope, out.Raw)
	return api.Exported{Rows: 1}, err
}

// Events are thirty.
func (e *engine) Events(_ context.Context, after uint64, limit int) ([]event.Event, error) {
	var list []event.Event
	for n := after + 1; n <= 30 && len(list) < limit; n++ {
		k := event.Delivered
		if n%3 == 0 {
			k = event.Bounced
		}
		list = append(list, event.Event{
			Sequence: n, Time: time.Date(2026, 11, 23, 4, 0, int(n), 0, time.UTC), Kind: k, Message: 36 + n, Address: "a@example.test",
			Stream: "marketing", Tier: "new", Source: "a1", Code: 250, Reply: "ok",
		})
	}
	return list, nil
}
