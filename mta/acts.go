// SPDX-License-Identifier: Apache-2.0

package mta

import (
	"context"
	"encoding/json"
	"slices"

	"github.com/seguemta/segue/mta/api"
	"github.com/seguemta/segue/mta/event"
	"github.com/seguemta/segue/queue/schedule"
	"github.com/seguemta/segue/reputation/evidence"
	"github.com/seguemta/segue/reputation/warmup"
)

// acted makes an event the act that it is: what was done, what for, and the command that
// undoes it ("" = nothing does, such as what has ended by itself).
func acted(e event.Event, act string, because any, undo string) event.Event {
	text, _ := json.Marshal(because) //nolint:errchkjson // structs of numbers and text always marshal
	e.Act, e.Evidence, e.Undo = act, string(text), undo
	return e
}

// stageEvidence is what a warm-up was moved or kept for.
type stageEvidence struct {
	Day     string           `json:"day,omitempty"` // that was judged; not of acts by hand
	Used    int              `json:"used"`
	Allowed int              `json:"allowed"`
	From    int              `json:"from"` // stages from 1; one beyond the last is warm
	To      int              `json:"to"`
	Stages  int              `json:"stages"`
	Against string           `json:"against,omitempty"` // what speaks against going on
	Sample  *evidence.Counts `json:"sample,omitempty"`  // of the seven days up to Day
	By      string           `json:"by,omitempty"`      // of acts by hand: who and why
}

// Acts of warm-ups. Those of operators are told under the same names.
const (
	actAdvanced = "advanced"
	actBack     = "stepped_back"
	actHeld     = "held"
	actReleased = "released"
)

// stageUndo is the command that takes a warm-up back to where it was before an act.
func stageUndo(k schedule.BudgetKey, back warmup.Act) string {
	return "segue warmup " + string(back) + warmupTarget(k)
}

// warmupTarget is a warm-up as the commands about it name it.
func warmupTarget(k schedule.BudgetKey) string {
	to := " " + k.Source
	switch {
	case k.Domain != "":
		to = " --domain " + k.Domain
	case k.Source == "":
		to = " --segment " + k.Segment + " --tier " + k.Tier
	}
	return to + " --provider " + k.Provider
}

// Acts of the clock and of the outages of providers.
const (
	actFrozen      = "frozen"
	actSettled     = "settled"
	actProvisional = "provisional" // hard bounces suppress for a week only
	actPermanent   = "permanent"   // they suppress for good again
)

// maxActs is how many acts one answer has at most.
const maxActs = 1000

// Acts implements api.Methods: the newest first.
func (m methods) Acts(_ context.Context, q api.ActQuery) ([]event.Event, error) {
	out := []event.Event{}
	most := min(limit(q.Limit), maxActs)
	for before := q.Before; len(out) < most; {
		list, err := m.mail.Acts(before, maxActs)
		if err != nil || len(list) == 0 {
			return out, err
		}
		before = list[len(list)-1].Sequence
		list = slices.DeleteFunc(list, func(e event.Event) bool { return !wanted(&q, &e) })
		out = append(out, list[:min(len(list), most-len(out))]...)
	}
	return out, nil
}

// wanted reports whether a query asks for an act.
func wanted(q *api.ActQuery, e *event.Event) bool {
	named := q.Name == "" || slices.Contains([]string{e.Source, other(e.Provider), e.Segment, e.Batch, e.Campaign, e.SendingDomain}, q.Name)
	return named && (q.Source == "" || q.Source == e.Source) && (q.Provider == "" || q.Provider == other(e.Provider)) &&
		(q.Segment == "" || q.Segment == e.Segment)
}
