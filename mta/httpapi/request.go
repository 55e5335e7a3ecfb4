// SPDX-License-Identifier: Apache-2.0

package httpapi

import (
	"context"
	"net/http"
	"net/url"

	"github.com/seguemta/segue/mta/api"
)

// parseQuery reads the query without forgiving broken escapes, as
// [url.URL.Query] does: half a filter selects too much.
func parseQuery(r *http.Request) (url.Values, error) {
	values, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return nil, bad("bad query", err.Error())
	}
	return values, nil
}

// byID serves what is asked by the id of a recipient.
func byID[Out any](f func(api.Methods, context.Context, string) (Out, error)) func(api.Methods, *http.Request) (Out, error) {
	return func(m api.Methods, r *http.Request) (Out, error) {
		id := r.PathValue("id")
		if err := api.CheckID(id); err != nil {
			var none Out
			return none, err
		}
		return f(m, r.Context(), id)
	}
}

// byName serves what is asked by a word of the path.
func byName[Out any](word string, f func(api.Methods, context.Context, string) (Out, error)) func(api.Methods, *http.Request) (Out, error) {
	return func(m api.Methods, r *http.Request) (Out, error) { return f(m, r.Context(), r.PathValue(word)) }
}

// all serves a list without parameters.
func all[Out any](f func(api.Methods, context.Context) (Out, error)) func(api.Methods, *http.Request) (Out, error) {
	return func(m api.Methods, r *http.Request) (Out, error) { return f(m, r.Context()) }
}
