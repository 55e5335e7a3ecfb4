// SPDX-License-Identifier: Apache-2.0

package mta

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"io"
	"net/http"

	"github.com/seguemta/segue/mta/api"
	"github.com/seguemta/segue/segment"
)

// maxRejects bounds the rejected rows that travel back in an answer, in bytes.
const maxRejects = 16 << 20

// rejects collects bad rows up to maxRejects and lets the rest go.
type rejects struct{ bytes.Buffer }

func (r *rejects) Write(p []byte) (int, error) {
	if r.Len()+len(p) > maxRejects {
		return len(p), nil
	}
	return r.Buffer.Write(p)
}

func (r *rejects) Close() error { return nil }

// ImportContacts implements api.Methods.
func (m methods) ImportContacts(ctx context.Context, in api.Import, rows io.Reader) (api.Imported, error) {
	if batch := cmp.Or(in.Batch, in.Name); batch != "" && !cohortName(batch) {
		return api.Imported{}, api.Problem(http.StatusBadRequest, "bad name of the import batch", aCohortName+": give it another with --batch")
	}
	var bad rejects
	res, err := m.people.Import(ctx, segment.ImportOptions{
		Reader: rows, Name: in.Name, Kind: in.Kind, Format: in.Format, Delimiter: in.Delimiter, Raw: in.Raw,
		List: in.List, Batch: in.Batch, DryRun: in.DryRun,
		Rejected: func() (io.WriteCloser, error) { return &bad, nil },
	})
	return imported(&res, &bad, err)
}

// imported is the answer to an import.
func imported(res *segment.ImportResult, bad *rejects, err error) (api.Imported, error) {
	switch {
	case errors.Is(err, segment.ErrBusy):
		return api.Imported{}, api.Problem(http.StatusConflict, err.Error(), "try again when it has ended")
	case errors.Is(err, segment.ErrColumns), errors.Is(err, segment.ErrFormat), errors.Is(err, segment.ErrDamaged), errors.Is(err, segment.ErrChanged):
		return api.Imported{}, badRequest(untilThen(res, err), err)
	case err != nil:
		return api.Imported{}, err
	}
	out := api.Imported{
		Kind: res.Kind, Rows: int64(res.Rows), Created: int64(res.Created), Updated: int64(res.Updated), Unchanged: int64(res.Same), //nolint:gosec // rows of a file
		Rejected: int64(res.Rejected), Resumed: int64(res.Resumed), Rejects: bad.Bytes(), //nolint:gosec // rows of a file
	}
	for _, e := range res.Errors {
		out.Errors = append(out.Errors, api.ImportError{Row: e.Row, Column: e.Column, Reason: e.Reason})
	}
	return out, nil
}

// untilThen says what an import had done when it met what it could not read.
func untilThen(r *segment.ImportResult, err error) string {
	switch {
	case r.DryRun || r.Created+r.Updated+r.Same == 0:
		return "nothing was imported"
	case errors.Is(err, segment.ErrChanged):
		return "nothing more was imported"
	}
	if r.Kind == segment.KindSuppressions {
		return "only a part was imported; the whole file may be imported again"
	}
	return "only a part was imported; the whole file under the same name goes on from there"
}

// ExportContacts implements api.Methods.
func (m methods) ExportContacts(ctx context.Context, out api.Export, to io.Writer) (api.Exported, error) {
	n, err := m.people.Export(ctx, segment.ExportOptions{
		Writer: to, Kind: out.Kind, Segment: out.Segment, Format: out.Format, Gzip: out.Gzip, Raw: out.Raw,
	})
	switch {
	case errors.Is(err, segment.ErrNoSegment):
		return api.Exported{}, notFound(err.Error())
	case errors.Is(err, segment.ErrFormat):
		return api.Exported{}, badRequest("nothing was exported", err)
	}
	return api.Exported{Rows: n}, err
}
