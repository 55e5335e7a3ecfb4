// SPDX-License-Identifier: Apache-2.0

package segment

import (
	"context"
	"fmt"
	"io"
	"log/slog"

	"github.com/seguemta/segue/segment/rule"
	"github.com/seguemta/segue/segment/store"
)

// SuppressionExport says what to export.
type SuppressionExport struct {
	Writer io.Writer
	Format string // csv | jsonl; "" = csv
	Reason string // only these; "" = all
	Scope  string
	Raw    bool // cells of CSV are not protected from spreadsheets
}

// suppressionColumns are those of an export, which [DB.ImportSuppressions] reads again.
func suppressionColumns() []column {
	return []column{
		{name: "email"}, {name: "scope"}, {name: "reason"}, {name: "source"}, {name: "evidence"}, {name: "created"}, {name: "expires"},
	}
}

// ExportSuppressions writes the suppressions as they are at the moment of the call, in
// memory that does not grow with them, and returns how many rows there were. Those whose
// address was erased, or never known, have none to write and are left out.
func (d *DB) ExportSuppressions(ctx context.Context, o SuppressionExport) (int64, error) {
	o.Format = orElse(o.Format, FormatCSV)
	if o.Format != FormatCSV && o.Format != FormatJSONL {
		return 0, fmt.Errorf("%w: format %q (use csv or jsonl)", ErrFormat, o.Format)
	}
	out := newRowWriter(o.Writer, &ExportOptions{Format: o.Format, Raw: o.Raw}, suppressionColumns())
	var rows int64
	err := d.store.Snapshot(func(view *store.Store) error {
		return view.Suppressions(store.Hash{}, "", func(x store.Suppression) error {
			if err := ctx.Err(); err != nil {
				return err
			}
			if x.Address == "" || o.Reason != "" && x.Reason != o.Reason || o.Scope != "" && x.Scope != o.Scope {
				return nil
			}
			rows++
			return writeSuppression(out, &x)
		})
	})
	if err == nil {
		err = out.flush()
	}
	if err != nil {
		return rows, fmt.Errorf("exporting suppressions: %w", err)
	}
	d.log.Info("exported", slog.String("kind", KindSuppressions), slog.Int64("rows", rows))
	return rows, nil
}

func writeSuppression(out rowWriter, x *store.Suppression) error {
	for i, text := range []string{x.Address, x.Scope, x.Reason, x.Source, x.Evidence} {
		out.cell(i, rule.TextValue(text))
	}
	out.cell(5, rule.TimeValue(x.Created))
	expires := rule.Value{}
	if !x.Expires.IsZero() {
		expires = rule.TimeValue(x.Expires)
	}
	out.cell(6, expires)
	return out.end()
}
