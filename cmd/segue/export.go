// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/seguemta/segue/mta/api"
)

type contactExport struct {
	File    string `arg:"" help:"Where to; - is the standard output."`
	Kind    string `help:"contacts, accounts, events or lists." default:"contacts" placeholder:"KIND"`
	Segment string `help:"Only what belongs to members of this segment." placeholder:"NAME"`
	Format  string `help:"csv or jsonl; by default the name tells." placeholder:"FORMAT"`
	Gzip    bool   `help:"Pack it with gzip; a name that ends in .gz does so too."`
	Raw     bool   `help:"Leave cells of CSV as they are, for machines: a spreadsheet would run those that begin with = + - or @."`
}

// Run writes what the engine knows to a file.
func (c *contactExport) Run(a *app) error {
	out := api.Export{Kind: c.Kind, Segment: c.Segment, Format: c.Format, Gzip: c.Gzip, Raw: c.Raw}
	name, packed := strings.CutSuffix(strings.ToLower(c.File), ".gz")
	out.Gzip = out.Gzip || packed
	if out.Format == "" && (strings.HasSuffix(name, ".jsonl") || strings.HasSuffix(name, ".ndjson")) {
		out.Format = "jsonl"
	}
	if c.File == "-" {
		m, err := a.client()
		if err != nil {
			return err
		}
		_, err = m.ExportContacts(a.ctx, out, a.out)
		return err
	}
	return show(a, func(ctx context.Context, m api.Methods) (api.Exported, error) {
		return save(c.File, func(w io.Writer) (api.Exported, error) { return m.ExportContacts(ctx, out, w) })
	},
		func(r api.Exported) error {
			if r.Rows < 0 {
				return a.say("exported %s to %s", c.Kind, c.File)
			}
			return a.say("exported %s to %s: %d rows", c.Kind, c.File, r.Rows)
		})
}

// save writes beside the file and renames at the end: what was cut off must not
// pass for the whole. Nobody else may read it: it is about people.
func save(file string, export func(io.Writer) (api.Exported, error)) (done api.Exported, err error) {
	f, err := os.CreateTemp(filepath.Dir(file), filepath.Base(file)+".*.part")
	if err != nil {
		return done, fmt.Errorf("writing the export: %w", err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, f.Close(), os.Remove(f.Name()))
		}
	}()
	if done, err = export(f); err != nil {
		return done, err
	}
	if err := errors.Join(f.Sync(), f.Close(), os.Rename(f.Name(), file)); err != nil {
		return done, fmt.Errorf("writing the export: %w", err)
	}
	return done, nil
}
