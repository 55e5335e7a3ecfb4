// SPDX-License-Identifier: Apache-2.0

package httpapi

import (
	"mime"
	"net/http"
	"slices"
	"strings"

	"github.com/seguemta/segue/mta/api"
)

func contactEndpoints() []endpoint {
	return []endpoint{
		answers(endpoint{
			method: http.MethodGet, path: "/api/v1/contacts/{address}", name: "contact",
			summary: "What is known of one address: tier, segments, history, suppressions.",
		}, byName("address", api.Methods.Contact)),
		answers(endpoint{
			method: http.MethodPost, path: "/api/v1/contacts/import", name: "contactImport",
			summary: "Import contacts from CSV or JSON lines, gzip or not. The body is read as it arrives, of any length; sent again after an interruption under the same name, it goes on where it was.",
			stream:  rowTypes(),
			query: []param{
				{name: "name", about: "The name of the file: progress is kept under it.", required: true},
				{name: "format", about: "csv or jsonl; by default the name tells."},
				{name: "batch", about: "The import batch that the contacts carry; by default name and date."},
				{name: "dry_run", about: "true checks every row and changes nothing.", kind: "boolean"},
			},
		}, importContacts),
	}
}

// rowTypes are the media types of rows. Those that a browser sends without asking
// first (text/plain, forms) are not among them.
func rowTypes() []string {
	return []string{"application/octet-stream", "text/csv", "application/x-ndjson", "application/jsonl", "application/gzip"}
}

func importContacts(m api.Methods, r *http.Request) (api.Imported, error) {
	mediaType, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil || !slices.Contains(rowTypes(), mediaType) {
		return api.Imported{}, api.Problem(http.StatusUnsupportedMediaType, "unsupported media type", "send one of "+strings.Join(rowTypes(), ", "))
	}
	q, err := parseQuery(r)
	if err != nil {
		return api.Imported{}, err
	}
	in := api.Import{Name: q.Get("name"), Format: q.Get("format"), Batch: q.Get("batch")}
	switch in.Format {
	case "", "csv", "jsonl":
	default:
		return api.Imported{}, bad("bad format", "it is csv or jsonl")
	}
	switch q.Get("dry_run") {
	case "", "false":
	case "true":
		in.DryRun = true
	default: // never guess whether an import is meant
		return api.Imported{}, bad("bad dry_run", "it is true or false")
	}
	return m.ImportContacts(r.Context(), in, r.Body)
}
