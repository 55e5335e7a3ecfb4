// SPDX-License-Identifier: Apache-2.0

package main

import (
	"io"

	"github.com/seguemta/segue/segment/templates"
)

type segmentTemplate struct {
	Name  string `arg:"" optional:"" help:"The template; without it, all are listed."`
	Order int    `default:"100" help:"Order of its first segment; others follow by tens."`
}

// Run lists the templates, or prints one as configuration.
func (c *segmentTemplate) Run(a *app) error {
	if c.Name != "" {
		t, err := templates.Find(c.Name)
		if err != nil {
			return err
		}
		_, err = io.WriteString(a.out, t.TOML(c.Order))
		return err
	}
	t := a.table("TEMPLATE", "SEGMENTS", "WHO")
	for _, x := range templates.All() {
		t.row(x.Name, number(len(x.Segments)), x.About)
	}
	return t.flush()
}
