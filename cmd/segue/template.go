// SPDX-License-Identifier: Apache-2.0

package main

import (
	"io"

	"github.com/seguemta/segue/segment/templates"
)

type segmentTemplate struct {
	Names []string `arg:"" optional:"" name:"name" help:"The templates; without any, all are listed."`
	Order int      `default:"100" help:"Order of the first segment; others follow by tens."`
}

// Run lists the templates, or prints some as configuration.
func (c *segmentTemplate) Run(a *app) error {
	if len(c.Names) > 0 {
		var list []templates.Template
		for _, name := range c.Names {
			t, err := templates.Find(name)
			if err != nil {
				return err
			}
			list = append(list, t)
		}
		_, err := io.WriteString(a.out, templates.TOML(c.Order, list...))
		return err
	}
	t := a.table("TEMPLATE", "SEGMENTS", "WHO")
	for _, x := range templates.All() {
		t.row(x.Name, number(len(x.Segments)), x.About)
	}
	return t.flush()
}
