// SPDX-License-Identifier: Apache-2.0

package httpapi

import (
	"context"
	"encoding/json"
	"io"
	"strings"
	"time"

	"github.com/seguemta/segue/mta/api"
	"github.com/seguemta/segue/mta/event"
	"github.com/seguemta/segue/mta/wilson"
)

// fake is an engine that says what it was asked.
type fake struct {
	got    []any // arguments of the last call
	err    error
	health api.Health
	bare   bool // answers hold nothing
}

var day = time.Date(2026, 11, 23, 4, 5, 6, 7, time.UTC)

func answer1[T any](f *fake, out T, got ...any) (T, error) {
	f.got = got
	if f.err != nil || f.bare {
		var none T
		return none, f.err
	}
	return out, nil
}

func (f *fake) Health(context.Context) (api.Health, error) { return f.health, f.err }

func (f *fake) HealthReport(_ context.Context, q api.HealthQuery) (api.HealthReport, error) {
	rate := []api.Measure{{Name: "bounced", Level: "warn", Rate: wilson.Interval(8, 100), Limit: 0.02, Text: "t"}}
	return answer1(f, api.HealthReport{
		Now:     day,
		Alarms:  []api.Alarm{{Level: api.LevelStopped, Code: "open", About: "segment s", What: "w", Why: "y", Since: day, Until: day, Queued: 3, Undo: "u", Look: "l", Segment: "s"}},
		Sources: []api.SourceHealth{{Source: "a1", Provider: "google", State: "sending", Warmup: &api.Warmup{Plan: "w", Admit: []string{"new"}}, Limit: &api.Limit{Source: "a1", State: "slowed", Text: "t", Acts: []api.LimitAct{}}, Measures: rate, Paused: day}},
		Cohorts: []api.CohortHealth{{Kind: "segment", Name: "s", State: "open", Since: day, Until: day, Why: "y", Trial: &api.Trial{Begun: day, Size: 9, Admitted: 3, Concluded: 2}, Measures: rate, Queued: 3, Undo: "u"}},
	}, q)
}

func (f *fake) Acts(_ context.Context, q api.ActQuery) ([]event.Event, error) {
	return answer1(f, []event.Event{{Sequence: 9, Time: day, Kind: event.StageBack, Act: "stepped_back", Evidence: `{"used": 1}`, Undo: "u"}}, q)
}

func (f *fake) Queue(_ context.Context, q api.QueueQuery) (api.QueueList, error) {
	return answer1(f, api.QueueList{Entries: []api.QueueEntry{entry()}, Next: "1A.0"}, q)
}

func (f *fake) QueueSummary(context.Context) (api.QueueSummary, error) {
	return answer1(f, api.QueueSummary{Waiting: 3, Lanes: []api.LaneCount{{Stream: "marketing", Waiting: 3}}})
}

func entry() api.QueueEntry {
	return api.QueueEntry{ID: "1A.0", Address: "a@x.test", State: "waiting", Stream: "marketing", Tier: "new", Pool: "p", Queued: day, Due: day, Expires: day, Attempts: 2}
}

func (f *fake) QueueShow(_ context.Context, id string) (api.QueueDetail, error) {
	return answer1(f, api.QueueDetail{QueueEntry: entry(), Sender: "s@x.test", Size: 9, Why: &api.Why{ID: id}, Events: []event.Event{{Sequence: 1<<63 + 1, Time: day, Kind: event.Accepted}}}, id)
}

func (f *fake) QueueWhy(_ context.Context, id string) (api.Why, error) {
	return answer1(f, api.Why{ID: id, Code: "budget", Text: "waits", Until: day, Ahead: 4}, id)
}

func (f *fake) QueueAct(_ context.Context, act api.QueueAct) (api.QueueActed, error) {
	return answer1(f, api.QueueActed{Recipients: 7}, act)
}

func (f *fake) Segments(context.Context) ([]api.Segment, error) {
	return answer1(f, []api.Segment{{Name: "s", Order: 1, Rule: "a && b", State: "building", Progress: 0.5, Generation: 3, Members: 2, Entered: 4, Left: 5, Warnings: []api.SegmentWarning{{Kind: "few_members", Text: "w"}}}})
}

func (f *fake) Segment(_ context.Context, name string) (api.SegmentDetail, error) {
	r := api.SegmentResults{Sent: 9, Delivered: 8, Bounced: 1, Complained: 2, Unsubscribed: 3, Opened: 4, OpenedByMachine: 5, Clicked: 6, ClickedByMachine: 7}
	return answer1(f, api.SegmentDetail{
		Segment: api.Segment{Name: name, Warnings: []api.SegmentWarning{}}, Assign: []api.SegmentTier{{Tier: "new", Pool: "p"}}, Tiers: map[string]int64{"new": 1},
		Days: []api.SegmentDay{{Date: "2026-11-23", Size: 1, Entered: 2, Left: 1, Results: r}}, Results: r,
		Overlaps: []api.SegmentOverlap{{Segment: "o", Members: 3, Both: 1, Jaccard: 0.25, Smaller: 0.5}},
		Rates:    []api.SegmentRate{{What: "complained", Of: "delivered", Hits: 1, Total: 8, Share: 0.125, Low: 0.02, High: 0.47, Text: "t"}},
	}, name)
}

func (f *fake) TestSegment(_ context.Context, t api.SegmentTest) (api.SegmentTested, error) {
	return answer1(f, api.SegmentTested{
		Faults: []api.RuleFault{{Line: 1, Column: 2, Text: "t", Hint: "h"}}, Contacts: 1 << 33, Looked: 2, Sample: true, Members: 3, Low: 1, High: 4,
		Some: []api.SegmentMember{{Address: "a@x.test", Tier: "new"}},
	}, t)
}

func (f *fake) ExplainSegment(_ context.Context, name, address string) (api.SegmentExplained, error) {
	return answer1(f, api.SegmentExplained{
		Segment: name, Version: 1, Rule: "a && b", Address: address, Tier: "new", Member: true, Since: day, Cause: "import", Until: day, Then: true,
		Pairs: []api.SegmentExamined{{Account: "acme", Role: "buyer", Conditions: []api.SegmentCondition{
			{Text: "a", Negated: true, Depth: 1, Result: true, Reads: []api.SegmentReading{{Name: "a", Value: "1"}, {Name: "b", Missing: true}}},
		}}},
	}, name, address)
}

func (f *fake) SteerBreaker(_ context.Context, act api.BreakerAct) (api.BreakerActed, error) {
	return answer1(f, api.BreakerActed{Text: "held", Undo: "segue segment release a"}, act)
}

func (f *fake) RebuildSegment(_ context.Context, name string) error {
	_, err := answer1(f, 0, name)
	return err
}

func (f *fake) Contact(_ context.Context, address string) (api.Contact, error) {
	return answer1(f, api.Contact{
		Address: address, Tier: "new", Segments: []string{"s"}, LastSent: day, Attributes: map[string]string{"contact.a": "1"},
		Suppressions: []api.Suppression{{Address: address, Reason: "manual", Scope: "all", Created: day}},
	}, address)
}

func (f *fake) ImportContacts(_ context.Context, in api.Import, rows io.Reader) (api.Imported, error) {
	if f.err != nil {
		return answer1(f, api.Imported{}, in)
	}
	text, err := io.ReadAll(rows)
	if err != nil {
		return api.Imported{}, err
	}
	return answer1(f, api.Imported{Rows: int64(strings.Count(string(text), "\n")), Rejected: 1, Errors: []api.ImportError{{Row: 2, Column: "email", Reason: "no @"}}, Rejects: []byte("row,column\n")}, in, len(text))
}

func (f *fake) ExportContacts(_ context.Context, out api.Export, to io.Writer) (api.Exported, error) {
	if f.err == nil {
		if _, err := io.WriteString(to, "email\na@x.test\n"); err != nil {
			return api.Exported{}, err
		}
	}
	return answer1(f, api.Exported{Rows: 1}, out)
}

func (f *fake) Pools(context.Context) ([]api.Pool, error) {
	return answer1(f, []api.Pool{{Name: "p", Excess: "hold", Members: []api.Member{{Source: "a1", Weight: 2}}, Waiting: 1}})
}

func (f *fake) Sources(context.Context) ([]api.Source, error) {
	return answer1(f, []api.Source{{Name: "a1", Addresses: []string{"192.0.2.1"}, Budgets: []api.Warmup{{Plan: "w", Admit: []string{"new"}}}}})
}

func (f *fake) Source(_ context.Context, name string) (api.Source, error) {
	return answer1(f, api.Source{Name: name, Addresses: []string{}, Paused: day, Budgets: []api.Warmup{}}, name)
}

func (f *fake) Clock(context.Context) (api.Clock, error) {
	return answer1(f, api.Clock{Now: day, Wall: day, Jump: 3600, Frozen: true, Believed: day})
}

func (f *fake) ConfirmClock(context.Context) error {
	_, err := answer1(f, 0)
	return err
}

func (f *fake) PauseSource(_ context.Context, p api.Pause) error {
	_, err := answer1(f, 0, p)
	return err
}

func provider(name string) api.Provider {
	act := api.LimitAct{Act: "suspend", Time: day, Text: "t", Undo: "u", Evidence: json.RawMessage(`{"count":3}`)}
	return api.Provider{
		Name: name, Normal: api.ProviderRate{Rate: 2, Connections: 3, PerConnection: 4}, Reports: true,
		Sources: []api.Limit{{
			Source: "a1", State: "suspended", Rule: "r", Until: day, Strikes: 2, Suspended: true, Rate: 1, Connections: 1, PerConnection: 1,
			Pin: &api.Pin{By: "ann", Reason: "r", At: day}, Lanes: []api.LaneLimit{{Target: "segment", Name: "s", Rule: "r", Strikes: 1, Until: day}},
			Matches: []api.Matches{{Rule: "r", Of: "source", N: 1, Last: day}}, Acts: []api.LimitAct{act},
		}},
	}
}

func (f *fake) Providers(context.Context) ([]api.Provider, error) {
	return answer1(f, []api.Provider{provider("google")})
}

func (f *fake) Provider(_ context.Context, name string) (api.Provider, error) {
	return answer1(f, provider(name), name)
}

func (f *fake) CancelLimits(_ context.Context, c api.LimitCancel) (api.LimitActs, error) {
	return answer1(f, api.LimitActs{Acts: provider("google").Sources[0].Acts}, c)
}

func (f *fake) PinLimits(_ context.Context, p api.LimitPin) (api.LimitActs, error) {
	return answer1(f, api.LimitActs{Acts: provider("google").Sources[0].Acts}, p)
}

func (f *fake) ReloadThrottleRules(context.Context) (api.ThrottleRules, error) {
	return answer1(f, api.ThrottleRules{File: "own.txt", Rules: 7})
}

func (f *fake) Warmup(context.Context) ([]api.Warmup, error) {
	return answer1(f, []api.Warmup{{Source: "a1", Plan: "w", Day: "2026-11-23", Allowed: 5, Used: 1, Admit: []string{"new"}}})
}

func (f *fake) SteerWarmup(_ context.Context, act api.WarmupAct) error {
	_, err := answer1(f, 0, act)
	return err
}

func (f *fake) AddEvidence(_ context.Context, in api.Evidence) (api.EvidenceAdded, error) {
	return answer1(f, api.EvidenceAdded{Rows: len(in.Rows)}, in)
}

func (f *fake) Suppressions(_ context.Context, q api.SuppressionQuery) ([]api.Suppression, error) {
	return answer1(f, []api.Suppression{{Address: "a@x.test", Reason: "manual", Scope: "all"}}, q)
}

func (f *fake) EraseContact(_ context.Context, who api.Erase) (api.Erased, error) {
	return answer1(f, api.Erased{Hash: "01ab", At: day, Files: "done", FilesDone: day, Counts: api.EraseCounts{Contacts: 1, Mail: 2}, EventsUntil: day, SentUntil: day, Backups: "b"}, who)
}

func (f *fake) Suppress(_ context.Context, s api.Suppression) error {
	_, err := answer1(f, 0, s)
	return err
}

func (f *fake) Lift(_ context.Context, s api.Suppression) error {
	_, err := answer1(f, 0, s)
	return err
}

func (f *fake) ImportSuppressions(_ context.Context, in api.SuppressionImport, rows io.Reader) (api.Imported, error) {
	if f.err != nil {
		return answer1(f, api.Imported{}, in)
	}
	text, err := io.ReadAll(rows)
	if err != nil {
		return api.Imported{}, err
	}
	return answer1(f, api.Imported{Kind: "suppressions", Rows: 2, Rejected: 1, Errors: []api.ImportError{{Row: 2, Column: "email", Reason: "no @"}}, Rejects: []byte("row,column\n")}, in, len(text))
}

func (f *fake) ExportSuppressions(_ context.Context, out api.SuppressionExport, to io.Writer) (api.Exported, error) {
	if f.err == nil {
		if _, err := io.WriteString(to, "email\na@x.test\n"); err != nil {
			return api.Exported{}, err
		}
	}
	return answer1(f, api.Exported{Rows: 1}, out)
}

func (f *fake) UndoSuppressions(_ context.Context, u api.Undo) (api.Undone, error) {
	return answer1(f, api.Undone{Lifted: 3, DryRun: true}, u)
}

func (f *fake) ReloadBounceRules(context.Context) (api.BounceRules, error) {
	return answer1(f, api.BounceRules{File: "own.txt", Rules: 7})
}

func (f *fake) ClassifyReply(_ context.Context, q api.Reply) (api.Classified, error) {
	return answer1(f, api.Classified{Class: "SpamBlock", Verdict: "reputation", Subject: "ip", Rule: "r"}, q)
}

func (f *fake) Events(_ context.Context, after uint64, limit int) ([]event.Event, error) {
	return answer1(f, []event.Event{{Sequence: after + 1, Time: day, Kind: event.Delivered, Code: 250}}, after, limit)
}

func (f *fake) Submit(_ context.Context, m api.Message) (api.Submitted, error) {
	return answer1(f, api.Submitted{ID: "1A"}, m)
}
