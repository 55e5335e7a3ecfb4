// SPDX-License-Identifier: Apache-2.0

package httpapi

import (
	"context"
	"io"
	"log/slog"
	"net/http"
	"strconv"
	"time"

	"github.com/seguemta/segue/mta/api"
)

func exportEndpoint() endpoint {
	e := endpoint{
		method: http.MethodGet, path: "/api/v1/contacts/export", name: "contactExport", text: api.TypeCSV, status: http.StatusOK,
		summary: "Export contacts, accounts, events or memberships of lists as of this moment, in a form that imports again. The answer is written as it is read, of any length; an answer without an end is not the whole.",
		query: []param{
			{name: "kind", about: "contacts, accounts, events or lists; by default contacts."},
			{name: "segment", about: "Only what belongs to members of this segment."},
			{name: "format", about: "csv or jsonl; by default csv."},
			{name: "gzip", about: "true packs the answer as a gzip file.", kind: "boolean"},
			{name: "raw", about: "true leaves cells of CSV as they are, also those that a spreadsheet would run as formulas.", kind: "boolean"},
		},
	}
	e.serve = func(s *server, w http.ResponseWriter, r *http.Request) {
		if err := e.checkQuery(r); err != nil {
			s.fail(w, r, err)
			return
		}
		out, err := exportOf(r)
		if err != nil {
			s.fail(w, r, err)
			return
		}
		s.export(w, r, out.MediaType(), func(ctx context.Context, to io.Writer) (api.Exported, error) {
			return s.methods.ExportContacts(ctx, out, to)
		})
	}
	return e
}

// export streams an answer. What fails before the first octet is a problem
// document; afterwards only breaking off says that the rest is missing.
func (s *server) export(w http.ResponseWriter, r *http.Request, mediaType string, run func(context.Context, io.Writer) (api.Exported, error)) {
	ctx, cancel := context.WithCancel(r.Context())
	defer cancel()
	go func() {
		select {
		case <-stopping(r):
			cancel()
		case <-ctx.Done():
		}
	}()
	d := &download{ResponseWriter: w, control: http.NewResponseController(w), mediaType: mediaType}
	done, err := run(ctx, d)
	switch {
	case err == nil && !d.begun:
		d.begin()
	case err != nil && d.begun:
		s.log.Warn("an export was cut off", slog.Any("error", err))
		panic(http.ErrAbortHandler)
	case err != nil:
		s.fail(w, r, err)
		return
	}
	w.Header().Set(api.RowsTrailer, strconv.FormatInt(done.Rows, 10))
}

func exportOf(r *http.Request) (api.Export, error) {
	q, err := parseQuery(r)
	if err != nil {
		return api.Export{}, err
	}
	out := api.Export{Kind: q.Get("kind"), Segment: q.Get("segment"), Format: q.Get("format")}
	if err := checkRows(out.Kind, out.Format); err != nil {
		return out, err
	}
	if out.Gzip, err = flag(q, "gzip"); err != nil {
		return out, err
	}
	out.Raw, err = flag(q, "raw")
	return out, err
}

// download is an answer of any length: each piece of it has its own deadline.
type download struct {
	http.ResponseWriter
	control   *http.ResponseController
	mediaType string
	begun     bool
}

// Write implements [io.Writer].
func (d *download) Write(p []byte) (int, error) {
	if !d.begun {
		d.begin()
	}
	_ = d.control.SetWriteDeadline(time.Now().Add(sendTimeout)) // not every connection has deadlines
	return d.ResponseWriter.Write(p)
}

func (d *download) begin() {
	d.begun = true
	d.Header().Set("Content-Type", d.mediaType)
	d.Header().Set("Content-Disposition", "attachment")
	d.Header().Set("Trailer", api.RowsTrailer)
	d.WriteHeader(http.StatusOK)
}
