// SPDX-License-Identifier: Apache-2.0

// Package templates holds segments that most senders want, ready to be taken
// into a configuration and changed there: hot leads, active customers, who is at
// risk, who went silent, trials worth a call, tiers of account-based marketing,
// the buying committee, industries, company sizes, stages of the journey, score
// bands.
//
// [All] returns them. A [Template] names the attributes that its rules read, so
// that [Template.TOML] prints a piece of configuration that `segue check` passes
// as it stands. Some templates are several segments, each with a rule of its own,
// that share a contact out: stages, sizes, bands.
//
// The package is data: it evaluates nothing. That each template takes in, leaves
// out, and lets go by time alone whom it should is told by the conversations in
// segment/testdata/templates, which run in the contacts database.
package templates

import (
	"fmt"
	"strings"

	"github.com/seguemta/segue/segment/rule"
)

// Template is one or more segments that belong together.
type Template struct {
	Name       string
	About      string           // one sentence for people
	Attributes []rule.Attribute // to be declared
	Segments   []rule.Definition
}

// TOML is the template as configuration, to be pasted or redirected into a file
// of conf.d. Orders count up from first by tens.
func (t *Template) TOML(first int) string {
	var b strings.Builder
	fmt.Fprintf(&b, "# %s: %s\n", t.Name, t.About)
	for _, a := range t.Attributes {
		fmt.Fprintf(&b, "[[attribute]]\nname = %q\ntype = %q\n", a.Name, a.Type)
	}
	for i, d := range t.Segments {
		fmt.Fprintf(&b, "[[segment]]\nname = %q\norder = %d\nwhere = '''%s'''\n", d.Name, first+10*i, d.Where)
	}
	return b.String()
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
