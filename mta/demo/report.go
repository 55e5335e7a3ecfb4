// SPDX-License-Identifier: Apache-2.0

package demo

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	"github.com/seguemta/segue/mta/api"
	"github.com/seguemta/segue/mta/event"
	"github.com/seguemta/segue/mta/simulate"
)

// Totals are recipients by what became of them. Accepted is the sum of the
// others; Deferred are those that still wait.
type Totals struct {
	Accepted   int `json:"accepted"`
	Delivered  int `json:"delivered"`
	Bounced    int `json:"bounced"`
	Expired    int `json:"expired"`
	Suppressed int `json:"suppressed"`
	Dropped    int `json:"dropped"`
	Held       int `json:"held"`
	Deferred   int `json:"deferred"`
}

// count adds one recipient.
func (t *Totals) count(last event.Kind) {
	t.Accepted++
	switch last {
	case event.Delivered:
		t.Delivered++
	case event.Bounced:
		t.Bounced++
	case event.Expired:
		t.Expired++
	case event.Suppressed:
		t.Suppressed++
	case event.Dropped:
		t.Dropped++
	case event.Held:
		t.Held++
	default:
		t.Deferred++
	}
}

func (t *Totals) add(o *Totals) {
	t.Accepted += o.Accepted
	t.Delivered += o.Delivered
	t.Bounced += o.Bounced
	t.Expired += o.Expired
	t.Suppressed += o.Suppressed
	t.Dropped += o.Dropped
	t.Held += o.Held
	t.Deferred += o.Deferred
}

// concluded is the right side of the equation.
func (t *Totals) concluded() int {
	return t.Delivered + t.Bounced + t.Expired + t.Suppressed + t.Dropped + t.Held + t.Deferred
}

// Lane is a lane at a provider, and the source of the last attempt, "" where there
// was none.
type Lane struct {
	Stream   string `json:"stream"`
	Segment  string `json:"segment"`
	Tier     string `json:"tier"`
	Pool     string `json:"pool"`
	Source   string `json:"source"`
	Provider string `json:"provider"`
}

// LaneTotals are the recipients of a lane.
type LaneTotals struct {
	Lane
	Totals
}

// Budget is one budget of the day. Source is set, or Plan, Segment and Tier are.
type Budget struct {
	Source   string `json:"source"`
	Plan     string `json:"plan"`
	Segment  string `json:"segment,omitempty"`
	Tier     string `json:"tier,omitempty"`
	Provider string `json:"provider"`
	Day      string `json:"day"`
	Allowed  int    `json:"allowed"`
	Used     int    `json:"used"`
}

// Sink is what the providers saw.
type Sink struct {
	simulate.Counts
	BySource   map[string]int `json:"by_source"`
	ByProvider map[string]int `json:"by_provider"`
}

// Feedback is what came back later, as the engine's log has it.
type Feedback struct {
	Bounces    int `json:"bounces"`
	Complaints int `json:"complaints"`
}

// Phases are the seconds from the start to the end of each phase.
type Phases struct {
	Imported  float64 `json:"imported"`
	Submitted float64 `json:"submitted"`
	Settled   float64 `json:"settled"`
}

// Report is what a demo found out.
type Report struct {
	Totals
	Took      float64        `json:"seconds"`
	Balanced  bool           `json:"balanced"`
	Problem   string         `json:"problem,omitempty"` // the first equation that does not hold
	Contacts  int            `json:"contacts"`
	Submitted int            `json:"submitted"` // messages that got their 250
	Retries   int            `json:"retries"`   // attempts that were deferred
	Lanes     []LaneTotals   `json:"lanes"`
	Budgets   []Budget       `json:"budgets"`
	Sink      Sink           `json:"sink"`
	Feedback  Feedback       `json:"feedback"`
	Why       *api.Why       `json:"why,omitempty"` // of one waiting recipient
	First     Counterfactual `json:"counterfactual"`
	Seconds   Phases         `json:"phases"`

	Seed      uint64 `json:"seed"`
	Providers int    `json:"providers"`
	Dir       string `json:"dir"`
	HTTP      string `json:"http"`
}

// looks bounds how often sink and log are compared before their difference is
// believed: a delivery may end between the two looks.
const looks = 10

// tell collects the report.
func (r *run) tell(ctx context.Context) error {
	p := &r.report
	p.Seed, p.Dir, p.HTTP, p.Providers = r.o.Seed, r.o.Dir, r.engine.HTTP.String(), len(simulate.Cast())
	p.Seconds.Settled = r.elapsed()
	var queue api.QueueSummary
	for range looks {
		before := r.world.Counts().Received
		if err := r.follow(ctx, "delivering", func() (int, bool) { return len(r.mails), true }); err != nil {
			return err
		}
		var err error
		if queue, err = r.engine.API.QueueSummary(ctx); err != nil {
			return fmt.Errorf("reading the queue: %w", err)
		}
		p.Totals = r.tally.totals()
		p.Sink = sinkOf(r.world.Counts())
		if before == p.Sink.Received && p.Delivered == p.Sink.Received && queue.InFlight == 0 {
			break
		}
	}
	p.Retries = r.tally.retries
	p.Feedback = Feedback{Bounces: r.tally.kinds[event.DSN], Complaints: r.tally.kinds[event.Complained]}
	r.tellLanes()
	if err := r.tellBudgets(ctx); err != nil {
		return err
	}
	if err := r.tellWhy(ctx); err != nil {
		return err
	}
	r.tellFirst()
	p.Problem = r.imbalance(&queue)
	p.Balanced = p.Problem == ""
	p.Took = r.elapsed()
	return nil
}

func sinkOf(c simulate.Counts) Sink {
	s := Sink{Counts: c, BySource: make(map[string]int), ByProvider: c.ByProvider}
	names := sourceNames()
	for a, n := range c.BySource {
		name := names[a.String()]
		if name == "" {
			name = a.String()
		}
		s.BySource[name] = n
	}
	return s
}

func (r *run) tellLanes() {
	for lane, sum := range r.tally.lanes() {
		r.report.Lanes = append(r.report.Lanes, LaneTotals{lane, *sum})
	}
	slices.SortFunc(r.report.Lanes, func(a, b LaneTotals) int {
		return cmp.Or(
			cmp.Compare(b.Stream, a.Stream), // transactional first
			cmp.Compare(segmentRank(a.Segment), segmentRank(b.Segment)), cmp.Compare(tierRank(a.Tier), tierRank(b.Tier)),
			cmp.Compare(a.Pool, b.Pool), cmp.Compare(a.Source, b.Source), cmp.Compare(a.Provider, b.Provider),
		)
	})
}

func segmentRank(name string) int {
	i := slices.Index([]string{"high-value-trial", "customers", "newsletter"}, name)
	if i < 0 {
		return len(name) + 10 //nolint:mnd // behind the known ones
	}
	return i
}

// tiers are the tiers in the order in which they spend a budget.
func tiers() []string { return []string{"active", "warm", "new", "cooling", "dormant", "dead"} }

func tierRank(name string) int { return slices.Index(tiers(), name) }

func (r *run) tellBudgets(ctx context.Context) error {
	list, err := r.engine.API.Warmup(ctx)
	if err != nil {
		return fmt.Errorf("reading the budgets: %w", err)
	}
	for _, b := range list {
		r.report.Budgets = append(r.report.Budgets, Budget{
			Source: b.Source, Plan: b.Plan, Segment: b.Segment, Tier: b.Tier, Provider: b.Provider,
			Day: b.Day, Allowed: b.Allowed, Used: b.Used,
		})
		if b.Source == coldSource {
			r.report.First.budget(&b)
		}
	}
	return nil
}

// tellWhy asks about a recipient that waits for tomorrow's budget, or about any
// other that waits.
func (r *run) tellWhy(ctx context.Context) error {
	for _, q := range []api.QueueQuery{
		{State: "waiting", Segment: "newsletter", Tier: "dormant", Limit: 1},
		{State: "waiting", Limit: 1},
	} {
		list, err := r.engine.API.Queue(ctx, q)
		if err != nil {
			return fmt.Errorf("reading the queue: %w", err)
		}
		if len(list.Entries) == 0 {
			continue
		}
		why, err := r.engine.API.QueueWhy(ctx, list.Entries[0].ID)
		if err != nil {
			return fmt.Errorf("asking why a message waits: %w", err)
		}
		r.report.Why = &why
		return nil
	}
	return nil
}

// imbalance names the first equation that does not hold, or "".
func (r *run) imbalance(queue *api.QueueSummary) string {
	p := &r.report
	var lanes Totals
	for i := range p.Lanes {
		lanes.add(&p.Lanes[i].Totals)
	}
	for _, e := range []struct {
		name        string
		left, right int
	}{
		{"submitted = accepted", p.Submitted, p.Accepted},
		{"accepted = events of acceptance", p.Accepted, r.tally.kinds[event.Accepted]},
		{"accepted = delivered + bounced + expired + suppressed + dropped + held + deferred", p.Accepted, p.concluded()},
		{"delivered = received by the sink", p.Delivered, p.Sink.Received},
		{"deferred = waiting in the queue", p.Deferred, queue.Waiting + queue.InFlight},
		{"held = parked in the queue", p.Held, queue.Held},
		{"outcomes without acceptance = 0", r.tally.kinds["unknown"], 0},
		{"recipients concluded twice = 0", r.tally.kinds["twice"], 0},
		{"messages with a bad signature = 0", p.Sink.Unverified, 0},
		{"bounces sent back = bounces understood", p.Sink.Returned, p.Feedback.Bounces},
		{"complaints sent back = complaints understood", p.Sink.Complained, p.Feedback.Complaints},
	} {
		if e.left != e.right {
			return fmt.Sprintf("%s does not hold: %d and %d", e.name, e.left, e.right)
		}
	}
	if lanes != p.Totals {
		return fmt.Sprintf("the lanes do not sum to the totals: %+v and %+v", lanes, p.Totals)
	}
	for _, b := range p.Budgets {
		if b.Used > b.Allowed {
			return fmt.Sprintf("used <= allowed does not hold: %d of %d at %s, source %q plan %q segment %q", b.Used, b.Allowed, b.Provider, b.Source, b.Plan, b.Segment)
		}
	}
	return ""
}
