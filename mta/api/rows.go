// SPDX-License-Identifier: Apache-2.0

package api

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
)

// RowsTrailer is the HTTP trailer in which an export says how many rows it has.
const RowsTrailer = "Segue-Rows"

// Media types of an export.
const (
	TypeCSV   = "text/csv"
	TypeJSONL = "application/x-ndjson"
	TypeGzip  = "application/gzip"
)

// MediaType is the media type of what an export writes.
func (e Export) MediaType() string {
	switch {
	case e.Gzip:
		return TypeGzip
	case e.Format == "jsonl":
		return TypeJSONL
	default:
		return TypeCSV
	}
}

// ImportContacts implements [Methods]: rows are sent as they are read.
func (c *Client) ImportContacts(ctx context.Context, in Import, rows io.Reader) (Imported, error) {
	q := make(url.Values)
	setParam(q, "name", in.Name)
	setParam(q, "kind", in.Kind)
	setParam(q, "format", in.Format)
	setParam(q, "delimiter", in.Delimiter)
	setParam(q, "list", in.List)
	setParam(q, "batch", in.Batch)
	setFlag(q, "raw", in.Raw)
	setFlag(q, "dry_run", in.DryRun)
	return c.upload(ctx, "/api/v1/contacts/import", q, rows)
}

// upload sends rows as they are read.
func (c *Client) upload(ctx context.Context, path string, q url.Values, rows io.Reader) (Imported, error) {
	return fetch[Imported](ctx, c, call{
		method: http.MethodPost, path: path, query: q,
		stream: io.MultiReader(rows), mediaType: "application/octet-stream", // a MultiReader: closing stays the caller's
	})
}

// ExportContacts implements [Methods]: rows are written as they arrive. After an
// error, what was written is not the whole.
func (c *Client) ExportContacts(ctx context.Context, out Export, to io.Writer) (Exported, error) {
	q := make(url.Values)
	setParam(q, "kind", out.Kind)
	setParam(q, "segment", out.Segment)
	setParam(q, "format", out.Format)
	setFlag(q, "gzip", out.Gzip)
	setFlag(q, "raw", out.Raw)
	return c.exported(ctx, "/api/v1/contacts/export", q, to)
}

// exported writes rows as they arrive.
func (c *Client) exported(ctx context.Context, path string, q url.Values, to io.Writer) (Exported, error) {
	d := download{to: to}
	err := c.do(ctx, call{method: http.MethodGet, path: path, query: q, download: &d})
	return Exported{Rows: d.rows}, err
}

func setFlag(q url.Values, name string, set bool) {
	if set {
		q.Set(name, "true")
	}
}

// download is an answer that is not JSON.
type download struct {
	to   io.Writer
	rows int64
}

// take copies an answer. One that was cut off is an error: its length is either
// announced or in chunks, of which the last is missing then.
func (d *download) take(resp *http.Response, mediaType, base string) error {
	if !slices.Contains([]string{TypeCSV, TypeJSONL, TypeGzip}, mediaType) {
		return fmt.Errorf("%w: %s answered %q with %q", ErrNoEngine, base, resp.Status, mediaType)
	}
	if _, err := io.Copy(d.to, resp.Body); err != nil {
		return fmt.Errorf("the export was cut off: %w", err)
	}
	var err error
	if d.rows, err = strconv.ParseInt(resp.Trailer.Get(RowsTrailer), 10, 64); err != nil {
		d.rows = -1
	}
	return nil
}
