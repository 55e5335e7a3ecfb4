// SPDX-License-Identifier: Apache-2.0

// Package plans is the published warm-up schedules by name, and the answer to
// what a plan means for a list: how long it takes, who is written to on which day, where
// mail waits. It is pure: the schedules are data (plans.txt, which says where each
// comes from and what it counts), and a [Forecast] is the arithmetic of package warmup,
// the same that gives the scheduler its budgets, played over days.
//
// Begin with [Find] and [Predict].
//
// # Schedules are data
//
// They disagree by two orders of magnitude: on day 14 one allows 2,000 recipients, another
// 600,000. None is right for everybody, so none is a default. A [[plan]] of an operator's own
// takes the place of a published one of the same name: a new release that knows another
// name must not break a configuration that had it first.
package plans

import (
	_ "embed" // plans.txt
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/seguemta/segue/reputation/warmup"
)

//go:embed plans.txt
var published string

// Published is a schedule that somebody published.
type Published struct {
	Name   string         `json:"name"`
	From   string         `json:"from"` // who
	Unit   string         `json:"unit"` // what its figures count
	Notes  []string       `json:"notes"`
	Stages []warmup.Stage `json:"stages"`
}

// All are the published schedules in the order of the file.
func All() []Published {
	list, err := parse(published)
	if err != nil {
		return nil // a test reads the file
	}
	return list
}

// Names are the names of the published schedules.
func Names() []string {
	var names []string
	for _, p := range All() {
		names = append(names, p.Name)
	}
	return names
}

// Find is the published schedule of a name.
func Find(name string) (Published, bool) {
	for _, p := range All() {
		if p.Name == name {
			return p, true
		}
	}
	return Published{}, false
}

// Plan is the schedule as the scheduler uses it, over the whole day.
func (p *Published) Plan() warmup.Plan {
	return warmup.Plan{Name: p.Name, Pace: true, Stages: p.Stages}
}

// ErrFile is wrapped by what is wrong with a file of schedules.
var ErrFile = errors.New("bad file of schedules")

// parse reads schedules in the form that plans.txt describes.
func parse(text string) ([]Published, error) {
	var list []*reading
	n := 0
	for line := range strings.Lines(text) {
		n++
		word, rest, _ := strings.Cut(strings.TrimSpace(line), " ")
		rest = strings.TrimSpace(rest)
		switch {
		case word == "" || strings.HasPrefix(word, "#"):
			continue
		case word == "plan":
			list = append(list, &reading{p: Published{Name: rest}, figures: make(map[string][]int)})
			continue
		case len(list) == 0:
			return nil, fmt.Errorf("%w: line %d: %s stands before the first plan", ErrFile, n, word)
		}
		if err := list[len(list)-1].line(word, rest); err != nil {
			return nil, fmt.Errorf("%w: line %d: %w", ErrFile, n, err)
		}
	}
	out := make([]Published, 0, len(list))
	for _, r := range list {
		if err := r.finish(); err != nil {
			return nil, fmt.Errorf("%w: plan %s: %w", ErrFile, r.p.Name, err)
		}
		out = append(out, r.p)
	}
	return out, nil
}

// reading is a schedule that is being read.
type reading struct {
	p       Published
	tiers   []from
	figures map[string][]int
}

// from is the tiers that stages from one on admit.
type from struct {
	stage int
	tiers []string
}

func (r *reading) line(word, rest string) error {
	switch word {
	case "from":
		r.p.From = rest
	case "unit":
		r.p.Unit = rest
	case "note":
		r.p.Notes = append(r.p.Notes, rest)
	case "tiers":
		f := strings.Fields(rest)
		if len(f) < 2 {
			return errors.New("tiers need a stage and a name")
		}
		n, err := strconv.Atoi(f[0])
		if err != nil || n < 1 {
			return fmt.Errorf("%q is not the number of a stage", f[0])
		}
		r.tiers = append(r.tiers, from{n, f[1:]})
	default:
		figures, err := readFigures(rest)
		if err != nil {
			return err
		}
		r.figures[word] = figures
	}
	return nil
}

// maxStages bounds what a file can ask for.
const maxStages = 1000

// readFigures reads "50 2x100 ~150".
func readFigures(text string) ([]int, error) {
	var list []int
	for word := range strings.FieldsSeq(text) {
		times, figure, repeated := strings.Cut(word, "x")
		n := 1
		if !repeated {
			figure = times
		} else if v, err := strconv.Atoi(times); err != nil || v < 1 {
			return nil, fmt.Errorf("%q is not how often a figure stands", times)
		} else {
			n = v
		}
		v, err := strconv.Atoi(strings.TrimPrefix(figure, "~"))
		if err != nil || v < 0 {
			return nil, fmt.Errorf("%q is not a number of recipients", figure)
		}
		if n > maxStages-len(list) {
			return nil, fmt.Errorf("more than %d stages", maxStages)
		}
		list = append(list, slices.Repeat([]int{v}, n)...)
	}
	return list, nil
}

// finish makes the stages: as many as the longest row has. A row that ends
// earlier stays at its last figure.
func (r *reading) finish() error {
	n := 0
	for _, figures := range r.figures {
		n = max(n, len(figures))
	}
	if r.p.Name == "" || r.p.From == "" || r.p.Unit == "" || n == 0 {
		return errors.New("a name, from, unit and figures are needed")
	}
	for i := range n {
		s := warmup.Stage{PerDay: make(map[string]int)}
		for _, f := range r.tiers {
			if i+1 >= f.stage {
				s.Tiers = f.tiers
			}
		}
		if len(s.Tiers) == 0 || slices.Contains(s.Tiers, warmup.TierNew) {
			s.NewShare = newShare
		}
		for name, figures := range r.figures {
			if len(figures) > 0 {
				s.PerDay[name] = figures[min(i, len(figures)-1)]
			}
		}
		r.p.Stages = append(r.p.Stages, s)
	}
	return nil
}

// newShare is the share of a stage for contacts nobody knows yet, as in a plan
// that says nothing.
const newShare = 0.15
