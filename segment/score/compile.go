// SPDX-License-Identifier: Apache-2.0

package score

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"unicode/utf8"

	"github.com/seguemta/segue/segment/rule"
)

// computed reports whether a built-in name is one that follows from others: a
// fit that read it would run in circles, or change without a write.
func computed(name string) bool {
	return slices.Contains([]string{"tier", "stage", "score", "fit", "behaviour", "account_score"}, name)
}

func compileFit(schema *rule.Schema, f *FitRule) (*rule.Rule, *RuleError) {
	if badPoints(f.Points) {
		return nil, &RuleError{Key: "points", Err: fmt.Errorf("%g are no points: use a number other than 0, at most %d", f.Points, MaxPoints)}
	}
	set := schema.CompileSet([]rule.Definition{{Name: "fit", Where: f.Where}})
	if err := set.Err(0); err != nil {
		return nil, &RuleError{Key: "where", Err: err}
	}
	r := set.Rule(0)
	fixed := func(text string) *RuleError {
		return &RuleError{Key: "where", Err: &rule.Error{Line: 1, Column: 1, Text: text, Hint: "fit is about attributes; use dimension behaviour for what a contact does"}}
	}
	for _, name := range r.Reads() {
		if computed(name) {
			return nil, fixed(fmt.Sprintf("a fit rule may not read %s", name))
		}
	}
	switch {
	case len(set.Series()) > 0:
		return nil, fixed("a fit rule may not read events")
	case len(set.Counted()) > 0:
		return nil, fixed("a fit rule may not ask other contacts of the account")
	case r.TimeDependent():
		return nil, fixed("a fit rule may not depend on the time")
	}
	return r, nil
}

func compileActivity(schema *rule.Schema, a *Activity) (activity, *RuleError) {
	out := activity{points: a.Points, cap: a.PerDay, id: a.id()}
	switch {
	case a.Event == "":
		return out, &RuleError{Key: "event", Err: errors.New("it is empty: name the event that gives points")}
	case rule.CanonicalEvent(a.Event) == EventComplaint:
		return out, &RuleError{Key: "event", Err: fmt.Errorf("%q gives no points: it sets the score to 0 for good", a.Event)}
	case badPoints(a.Points):
		return out, &RuleError{Key: "points", Err: fmt.Errorf("%g are no points: use a number other than 0, at most %d", a.Points, MaxPoints)}
	case !(a.PerDay >= 0 && a.PerDay <= MaxPoints):
		return out, &RuleError{Key: "per_day", Err: fmt.Errorf("%g is no cap: use a number of points from 0, which is none, to %d", a.PerDay, MaxPoints)}
	case a.Filter == "":
		return out, nil
	}
	var err error
	if out.filter, err = compileFilter(schema, a.Event, a.Filter); err != nil {
		return out, &RuleError{Key: "filter", Err: err}
	}
	return out, nil
}

// compileFilter compiles the condition of an event's properties as part of the
// rule that counts such events: there is one language for both.
func compileFilter(schema *rule.Schema, event, filter string) (*rule.SeriesSpec, error) {
	before := "events(" + strconv.Quote(event) + ").where("
	set := schema.CompileSet([]rule.Definition{{Name: "filter", Where: before + filter + ").count() > 0"}})
	if err := set.Err(0); err != nil {
		return nil, moved(err, utf8.RuneCountInString(before))
	}
	// A bracket closed too early could say more than a filter.
	series, n := set.Series(), set.Rule(0).Node()
	if len(series) != 1 || n.Kind != rule.KindTest || n.Left.Events == nil || n.Left.Events.Older != 0 || n.Left.Events.Younger != 0 {
		return nil, &rule.Error{Line: 1, Column: 1, Text: "it is not one condition of an event's properties", Hint: `write property.x == "..."`}
	}
	return &series[0], nil
}

// moved shifts the places of faults to where they are in the filter alone.
func moved(err error, by int) error {
	var errs []error
	for _, f := range rule.Faults(err) {
		place := *f
		if place.Line == 1 {
			place.Column = max(1, place.Column-by)
		}
		errs = append(errs, &place)
	}
	if len(errs) == 0 {
		return err
	}
	return errors.Join(errs...)
}

// Fit returns the fit of a contact, 0 to FitMax. Where a contact has several
// accounts, ask for each and take the best: the rules that read account.x then
// speak of one account. It allocates nothing.
func (m *Model) Fit(v *rule.Values) float64 {
	sum := 0.0
	for i, r := range m.fit {
		if r.Match(v) {
			sum += m.options.Fit[i].Points
		}
	}
	return min(max(sum, 0), m.options.FitMax)
}

// Reads returns the names that fit rules read, sorted.
func (m *Model) Reads() []string {
	var names []string
	for _, r := range m.fit {
		names = append(names, r.Reads()...)
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// Reason is one fit rule as it stands for one contact.
type Reason struct {
	Where  string  `json:"where"`
	Points float64 `json:"points"`
	Holds  bool    `json:"holds"`
}

// Reasons says what the fit of a contact is made of, for people who look at one.
func (m *Model) Reasons(v *rule.Values) []Reason {
	out := make([]Reason, len(m.fit))
	for i, r := range m.fit {
		out[i] = Reason{Where: r.Text(), Points: m.options.Fit[i].Points, Holds: r.Match(v)}
	}
	return out
}
