// SPDX-License-Identifier: Apache-2.0

package api

import (
	"context"
	"io"
	"net/url"
	"time"
)

// SuppressionImport describes a suppression list to import.
type SuppressionImport struct {
	Name    string    `json:"name"`             // file name, kept as evidence
	Format  string    `json:"format"`           // sendgrid | mailgun | ses | postmark | generic | list; "" = by the columns
	Reason  string    `json:"reason"`           // of every row; "" = what the row says, else manual
	Scope   string    `json:"scope"`            // of rows that name none; "" = by the reason
	Expires time.Time `json:"expires,omitzero"` // of rows that name no end
	DryRun  bool      `json:"dry_run"`
}

// SuppressionExport describes the suppressions to export.
type SuppressionExport struct {
	Format string `json:"format"` // csv | jsonl; "" = csv
	Reason string `json:"reason"` // only these; "" = all
	Scope  string `json:"scope"`
	Raw    bool   `json:"raw"` // CSV as it is: a spreadsheet would run some cells
}

// MediaType is the media type of what an export writes.
func (e SuppressionExport) MediaType() string { return Export{Format: e.Format}.MediaType() }

// ImportSuppressions implements [Methods]: rows are sent as they are read.
func (c *Client) ImportSuppressions(ctx context.Context, in SuppressionImport, rows io.Reader) (Imported, error) {
	q := make(url.Values)
	setParam(q, "name", in.Name)
	setParam(q, "format", in.Format)
	setParam(q, "reason", in.Reason)
	setParam(q, "scope", in.Scope)
	if !in.Expires.IsZero() {
		q.Set("expires", in.Expires.UTC().Format(time.RFC3339))
	}
	setFlag(q, "dry_run", in.DryRun)
	return c.upload(ctx, "/api/v1/suppressions/import", q, rows)
}

// ExportSuppressions implements [Methods]: rows are written as they arrive. After an
// error, what was written is not the whole.
func (c *Client) ExportSuppressions(ctx context.Context, out SuppressionExport, to io.Writer) (Exported, error) {
	q := make(url.Values)
	setParam(q, "format", out.Format)
	setParam(q, "reason", out.Reason)
	setParam(q, "scope", out.Scope)
	setFlag(q, "raw", out.Raw)
	return c.exported(ctx, "/api/v1/suppressions/export", q, to)
}
