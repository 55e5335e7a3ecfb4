// SPDX-License-Identifier: Apache-2.0

package httpapi

import (
	"mime"
	"net/http"
	"net/url"
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
			summary: "Import contacts, accounts, events or memberships of lists from CSV or JSON lines, gzip or not. The body is read as it arrives, of any length; sent again after an interruption under the same name, it goes on where it was.",
			stream:  rowTypes(),
			query: []param{
				{name: "name", about: "The name of the file: progress is kept under it.", required: true},
				{name: "kind", about: "contacts, accounts, events or lists; by default the columns tell."},
				{name: "format", about: "csv or jsonl; by default the name tells."},
				{name: "delimiter", about: "Of CSV: a comma, a semicolon, | or tab; by default the first line tells."},
				{name: "raw", about: "true keeps the apostrophes that protect cells of CSV from spreadsheets.", kind: "boolean"},
				{name: "list", about: "The list that every row belongs to; by default the column list tells."},
				{name: "batch", about: "The import batch that the contacts carry; by default the name."},
				{name: "dry_run", about: "true checks every row, counts what would change, and changes nothing.", kind: "boolean"},
			},
		}, importContacts),
		exportEndpoint(),
		takes(endpoint{
			method: http.MethodPost, path: "/api/v1/contacts/erase", name: "contactErase",
			summary: "Erase a person: all that is known of it, and its queued mail. The answer is the receipt; asked again, it is the same one.",
		}, func(m api.Methods, r *http.Request, in api.Erase) (api.Erased, error) {
			if in.Contact == "" {
				return api.Erased{}, bad("bad body", "contact is missing: an address or a user id")
			}
			return m.EraseContact(r.Context(), in)
		}),
	}
}

// rowTypes are the media types of rows. Those that a browser sends without asking
// first (text/plain, forms) are not among them.
func rowTypes() []string {
	return []string{"application/octet-stream", "text/csv", "application/x-ndjson", "application/jsonl", "application/gzip"}
}

func importContacts(m api.Methods, r *http.Request) (api.Imported, error) {
	if err := checkRowType(r); err != nil {
		return api.Imported{}, err
	}
	q, err := parseQuery(r)
	if err != nil {
		return api.Imported{}, err
	}
	in := api.Import{
		Name: q.Get("name"), Kind: q.Get("kind"), Format: q.Get("format"), Delimiter: q.Get("delimiter"),
		List: q.Get("list"), Batch: q.Get("batch"),
	}
	if err := checkRows(in.Kind, in.Format); err != nil {
		return api.Imported{}, err
	}
	if in.Raw, err = flag(q, "raw"); err != nil {
		return api.Imported{}, err
	}
	if in.DryRun, err = flag(q, "dry_run"); err != nil {
		return api.Imported{}, err
	}
	return m.ImportContacts(r.Context(), in, r.Body)
}

// checkRowType refuses a body that is no rows.
func checkRowType(r *http.Request) error {
	mediaType, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil || !slices.Contains(rowTypes(), mediaType) {
		return api.Problem(http.StatusUnsupportedMediaType, "unsupported media type", "send one of "+strings.Join(rowTypes(), ", "))
	}
	return nil
}

// checkRows says what is wrong with a kind and a format.
func checkRows(kind, format string) error {
	switch kind {
	case "", "contacts", "accounts", "events", "lists":
	default:
		return bad("bad kind", "it is contacts, accounts, events or lists")
	}
	switch format {
	case "", "csv", "jsonl":
		return nil
	default:
		return bad("bad format", "it is csv or jsonl")
	}
}

// flag reads a boolean, and never guesses: whether an import is meant depends on it.
func flag(q url.Values, name string) (bool, error) {
	switch q.Get(name) {
	case "", "false":
		return false, nil
	case "true":
		return true, nil
	default:
		return false, bad("bad "+name, "it is true or false")
	}
}
