// SPDX-License-Identifier: Apache-2.0

package mta

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/seguemta/segue/mta/api"
	"github.com/seguemta/segue/reputation/breaker"
)

// maxCohort bounds the name of a cohort that an operator gives: a state has it as its key.
const (
	maxCohort   = 500
	aCohortName = "a name has 1 to 500 octets of UTF-8, and no control characters"
)

// cohortName reports whether a cohort may have a name: its state must be found under it when it was
// stored and read again, and an operator must be able to type it.
func cohortName(s string) bool {
	return s != "" && len(s) <= maxCohort && utf8.ValidString(s) && !strings.ContainsFunc(s, func(r rune) bool { return r < ' ' })
}

// SteerBreaker implements api.Methods. The act is durable and in force when it returns;
// mail that was held is given back from then on.
func (m methods) SteerBreaker(ctx context.Context, o api.BreakerAct) (api.BreakerActed, error) {
	k := cohortKey{breaker.Kind(o.Kind), o.Name}
	if err := m.checkAct(k, &o); err != nil {
		return api.BreakerActed{}, err
	}
	if o.By = strings.TrimSpace(o.By); o.By == "" {
		o.By = "an operator"
	}
	hand := breaker.Hand{By: o.By, Reason: o.Reason, Until: o.Until}
	var done api.BreakerActed
	err := m.breakers.change(ctx, func(x *breakerChange) error {
		if o.Action == "release" && x.look(k) == nil && !m.breakers.canary.tries(k.kind) {
			return notFound("nothing holds " + o.Kind + " " + o.Name)
		}
		unheard := x.look(k) == nil && k.kind != breaker.Segment
		acts := x.act(k, func(s *breaker.State) []breaker.Act {
			switch p := m.breakers.policy; o.Action {
			case "hold":
				return p.Hold(s, x.now, hand)
			case "override":
				return p.Override(s, x.now, hand)
			default:
				return p.Release(s, x.now, o.By, o.Reason)
			}
		})
		last := &acts[len(acts)-1]
		done = api.BreakerActed{Text: last.String(), Undo: last.Undo()}
		if unheard { // it may come yet, or the name is wrong: whoever has a bad list to stop must not believe that it is stopped
			done.Text += fmt.Sprintf("; no mail of a %s of this name has ended yet: is the name right?", o.Kind)
		}
		return nil
	})
	return done, err
}

// checkAct says what is wrong with an order.
func (m methods) checkAct(k cohortKey, o *api.BreakerAct) error {
	switch o.Action {
	case "hold", "override", "release":
	default:
		return api.Problem(http.StatusBadRequest, "unknown action "+o.Action, "hold, release and override are known")
	}
	if err := checkTexts(o.By, o.Reason); err != nil {
		return badRequest("bad order", err) // a state that is longer than one may be could not be read again
	}
	switch {
	case !isKind(k.kind):
		return api.Problem(http.StatusBadRequest, "unknown kind "+o.Kind, "segment, batch and campaign are known")
	case !cohortName(k.name):
		return api.Problem(http.StatusBadRequest, "bad name", aCohortName)
	case !o.Until.IsZero() && o.Action == "release":
		return api.Problem(http.StatusBadRequest, "a release has no end", "leave until out, or override the breaker until then")
	case !o.Until.IsZero() && !o.Until.After(m.o.Now()):
		return api.Problem(http.StatusBadRequest, "it ends in the past", o.Until.Format(time.RFC3339))
	}
	if k.kind != breaker.Segment || m.breakers.state(k) != nil {
		return nil
	}
	for _, s := range m.c.Segments {
		if s.Name == k.name {
			return nil
		}
	}
	return notFound("no segment has the name " + k.name + ": segue segment ls shows them")
}
