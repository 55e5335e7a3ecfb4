// SPDX-License-Identifier: Apache-2.0

package httpapi

import (
	"context"
	"io"
	"net/http"
	"time"

	"github.com/seguemta/segue/mta/api"
)

func suppressionEndpoints() []endpoint {
	const path = "/api/v1/suppressions"
	return []endpoint{
		answers(endpoint{
			method: http.MethodGet, path: path, name: "suppressions",
			summary: "Suppressions, of one address or the newest.",
			query:   []param{{name: "address", about: "Only this address."}, limitParam()},
		}, func(m api.Methods, r *http.Request) ([]api.Suppression, error) {
			q, err := queueQuery(r)
			if err != nil {
				return nil, err
			}
			return m.Suppressions(r.Context(), api.SuppressionQuery{Address: q.Address, Limit: q.Limit})
		}),
		takes(endpoint{
			method: http.MethodPost, path: path, name: "suppressionAdd",
			summary: "Suppress an address; its mail that is already queued stops.",
		}, func(m api.Methods, r *http.Request, s api.Suppression) (nothing, error) {
			if s.Address == "" {
				return nothing{}, bad("bad body", "address is missing")
			}
			return nothing{}, m.Suppress(r.Context(), s)
		}),
		takes(endpoint{
			method: http.MethodPost, path: path + "/undo", name: "suppressionUndo",
			summary: "Lift the suppressions for hard bounces that a provider caused by its own error.",
		}, func(m api.Methods, r *http.Request, u api.Undo) (api.Undone, error) {
			return m.UndoSuppressions(r.Context(), u)
		}),
		answers(endpoint{
			method: http.MethodDelete, path: path, name: "suppressionLift",
			summary: "Lift the suppressions of an address, all or that of a scope.",
			query: []param{
				{name: "address", about: "The address.", required: true},
				{name: "scope", about: "Only this scope: all, stream:NAME, domain:NAME, list:NAME."},
				{name: "evidence", about: "Why. Complaints, hard bounces and unsubscribes are not lifted without."},
				{name: "source", about: "Who lifts it; by default an operator."},
			},
		}, func(m api.Methods, r *http.Request) (nothing, error) {
			q, err := parseQuery(r)
			if err != nil {
				return nothing{}, err
			}
			s := api.Suppression{Address: q.Get("address"), Scope: q.Get("scope"), Evidence: q.Get("evidence"), Source: q.Get("source")}
			return nothing{}, m.Lift(r.Context(), s)
		}),
		suppressionImportEndpoint(),
		suppressionExportEndpoint(),
	}
}

func suppressionImportEndpoint() endpoint {
	return answers(endpoint{
		method: http.MethodPost, path: "/api/v1/suppressions/import", name: "suppressionImport",
		summary: "Import a suppression list as a provider exports it, CSV or JSON lines, gzip or not. The body is read as it arrives, of any length. It adds and never lifts; sent again, it changes nothing.",
		stream:  rowTypes(),
		query: []param{
			{name: "name", about: "The name of the file, kept as evidence."},
			{name: "format", about: "sendgrid, mailgun, ses, postmark, generic, or list (no header); by default the columns tell."},
			{name: "reason", about: "The reason of every row; by default what the row says, else manual."},
			{name: "scope", about: "The scope of rows that name none; by default that of the reason."},
			{name: "expires", about: "When the rows that name no end do so, such as 2027-01-31T00:00:00Z."},
			{name: "dry_run", about: "true checks every row, counts what would change, and changes nothing.", kind: "boolean"},
		},
	}, importSuppressions)
}

func importSuppressions(m api.Methods, r *http.Request) (api.Imported, error) {
	if err := checkRowType(r); err != nil {
		return api.Imported{}, err
	}
	q, err := parseQuery(r)
	if err != nil {
		return api.Imported{}, err
	}
	in := api.SuppressionImport{Name: q.Get("name"), Format: q.Get("format"), Reason: q.Get("reason"), Scope: q.Get("scope")}
	if text := q.Get("expires"); text != "" {
		if in.Expires, err = time.Parse(time.RFC3339, text); err != nil {
			return api.Imported{}, bad("bad expires", "it is a time such as 2027-01-31T00:00:00Z")
		}
	}
	if in.DryRun, err = flag(q, "dry_run"); err != nil {
		return api.Imported{}, err
	}
	return m.ImportSuppressions(r.Context(), in, r.Body)
}

func suppressionExportEndpoint() endpoint {
	e := endpoint{
		method: http.MethodGet, path: "/api/v1/suppressions/export", name: "suppressionExport", text: api.TypeCSV, status: http.StatusOK,
		summary: "Export the suppressions as of this moment, in a form that imports again. The answer is written as it is read, of any length; an answer without an end is not the whole.",
		query: []param{
			{name: "format", about: "csv or jsonl; by default csv."},
			{name: "reason", about: "Only those with this reason."},
			{name: "scope", about: "Only those of this scope."},
			{name: "raw", about: "true leaves cells of CSV as they are, also those that a spreadsheet would run as formulas.", kind: "boolean"},
		},
	}
	e.serve = func(s *server, w http.ResponseWriter, r *http.Request) {
		if err := e.checkQuery(r); err != nil {
			s.fail(w, r, err)
			return
		}
		q, err := parseQuery(r)
		if err != nil {
			s.fail(w, r, err)
			return
		}
		out := api.SuppressionExport{Format: q.Get("format"), Reason: q.Get("reason"), Scope: q.Get("scope")}
		if err = checkRows("", out.Format); err == nil {
			out.Raw, err = flag(q, "raw")
		}
		if err != nil {
			s.fail(w, r, err)
			return
		}
		s.export(w, r, out.MediaType(), func(ctx context.Context, to io.Writer) (api.Exported, error) {
			return s.methods.ExportSuppressions(ctx, out, to)
		})
	}
	return e
}
