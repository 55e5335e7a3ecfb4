// SPDX-License-Identifier: Apache-2.0

package httpapi

import (
	"net/http"
	"strconv"

	"github.com/seguemta/segue/mta/api"
	"github.com/seguemta/segue/mta/event"
)

// defaultPage is how many events a page has where nobody says.
const defaultPage = 100

func eventsEndpoint() endpoint {
	return answers(endpoint{
		method: http.MethodGet, path: "/api/v1/events", name: "events",
		summary: "Durable events in their order, beginning behind a sequence. An empty page is the end for now.",
		query:   []param{{name: "after", about: "The sequence behind which the page begins; 0 by default.", kind: "integer"}, limitParam()},
	}, func(m api.Methods, r *http.Request) ([]event.Event, error) {
		q, err := parseQuery(r)
		if err != nil {
			return nil, err
		}
		limit, err := api.ParseLimit(q.Get("limit"))
		if err != nil {
			return nil, err
		}
		if limit == 0 {
			limit = defaultPage
		}
		var after uint64
		if text := q.Get("after"); text != "" {
			if after, err = strconv.ParseUint(text, 10, 64); err != nil {
				return nil, bad("bad after", "it is the sequence of an event, a number from 0")
			}
		}
		return m.Events(r.Context(), after, limit)
	})
}
