// SPDX-License-Identifier: Apache-2.0

// Package templates holds segments that most senders want, ready to be taken
// into a configuration and changed there: hot leads, active customers, who is at
// risk, who went silent, trials worth a call, tiers of account-based marketing,
// the buying committee, industries, company sizes, stages of the journey, score
// bands.
//
// [All] returns them. A [Template] names the attributes that its rules read, so
// that [TOML] prints a piece of configuration that `segue check` passes as it
// stands. Some templates are several segments, each with a rule of its own, that
// share contacts out: stages, sizes, bands. Where they go by a score, the points
// that make it come along.
//
// The package is data: it evaluates nothing. That each template takes in, leaves
// out, and lets go by time alone whom it should is told by the conversations in
// segment/testdata/templates, which run in the contacts database.
package templates

import (
	"fmt"
	"strings"

	"github.com/seguemta/segue/segment/rule"
	"github.com/seguemta/segue/segment/score"
)

// Template is one or more segments that belong together.
type Template struct {
	Name       string
	About      string           // one sentence for people
	Attributes []rule.Attribute // to be declared
	Scores     score.Options    // rules of fit and behaviour; the rest is left to the configuration
	Segments   []rule.Definition
}

// TOML is templates as configuration, to be redirected into a file of conf.d. An
// attribute that several of them read is declared once. Orders count up from
// first by tens.
func TOML(first int, list ...Template) string {
	var b strings.Builder
	declared := map[string]bool{}
	for i := range list {
		t := &list[i]
		fmt.Fprintf(&b, "# %s: %s\n", t.Name, t.About)
		for _, a := range t.Attributes {
			if !declared[a.Name] {
				fmt.Fprintf(&b, "[[attribute]]\nname = %q\ntype = %q\n", a.Name, a.Type)
			}
			declared[a.Name] = true
		}
		t.scores(&b)
		for _, d := range t.Segments {
			fmt.Fprintf(&b, "[[segment]]\nname = %q\norder = %d\nwhere = '''%s'''\n", d.Name, first, d.Where)
			if d.Stage != "" {
				fmt.Fprintf(&b, "stage = %q\n", d.Stage)
			}
			first += 10
		}
	}
	return b.String()
}

func (t *Template) scores(b *strings.Builder) {
	for _, r := range t.Scores.Fit {
		fmt.Fprintf(b, "[[score]]\ndimension = \"fit\"\nwhere = '''%s'''\npoints = %g\n", r.Where, r.Points)
	}
	for _, a := range t.Scores.Activities {
		fmt.Fprintf(b, "[[score]]\ndimension = \"behaviour\"\nevent = %q\n", a.Event)
		if a.Filter != "" {
			fmt.Fprintf(b, "filter = '''%s'''\n", a.Filter)
		}
		fmt.Fprintf(b, "points = %g\nper_day = %g\n", a.Points, a.PerDay)
	}
}

// Find returns the template of a name.
func Find(name string) (Template, error) {
	names := make([]string, 0, len(All()))
	for _, t := range All() {
		if t.Name == name {
			return t, nil
		}
		names = append(names, t.Name)
	}
	return Template{}, fmt.Errorf("no template is named %q (there are %s)", name, strings.Join(names, ", "))
}

// one makes a template of a single segment of the same name.
func one(name, about, where string, attributes ...rule.Attribute) Template {
	return Template{Name: name, About: about, Attributes: attributes, Segments: []rule.Definition{{Name: name, Where: where}}}
}
