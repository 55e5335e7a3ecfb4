// SPDX-License-Identifier: Apache-2.0

package httpapi

import (
	"net/http"
	"strconv"

	"github.com/seguemta/segue/mta/api"
	"github.com/seguemta/segue/mta/event"
)

// reputationEndpoints say how senders do, and what the engine did about it.
func reputationEndpoints() []endpoint {
	about := []param{
		{name: "name", about: "Only what has this name: a source, a provider, a segment, an import batch or a campaign."},
		{name: "source", about: "Only this source."},
		{name: "provider", about: "Only this provider."},
		{name: "segment", about: "Only this segment."},
	}
	before := param{name: "before", about: "The sequence before which the page begins; by default the newest.", kind: "integer"}
	return []endpoint{
		answers(endpoint{
			method: http.MethodGet, path: "/api/v1/health", name: "health", query: about,
			summary: "What is wrong, the worst first, with why, since when and what undoes it; then each source at each provider, and segments, import batches and campaigns.",
		}, func(m api.Methods, r *http.Request) (api.HealthReport, error) {
			return m.HealthReport(r.Context(), healthQuery(r))
		}),
		answers(endpoint{
			method: http.MethodGet, path: "/api/v1/acts", name: "acts", query: append([]param{before, limitParam()}, about...),
			summary: "What the engine did by itself, the newest first: acts of warm-ups, limits, breakers, outages and the clock, with evidence and the command that undoes each.",
		}, acts),
	}
}

func healthQuery(r *http.Request) api.HealthQuery {
	q := r.URL.Query()
	return api.HealthQuery{Name: q.Get("name"), Source: q.Get("source"), Provider: q.Get("provider"), Segment: q.Get("segment")}
}

func acts(m api.Methods, r *http.Request) ([]event.Event, error) {
	q := api.ActQuery{HealthQuery: healthQuery(r)}
	var err error
	if q.Limit, err = api.ParseLimit(r.URL.Query().Get("limit")); err != nil {
		return nil, err
	}
	if text := r.URL.Query().Get("before"); text != "" {
		if q.Before, err = strconv.ParseUint(text, 10, 64); err != nil {
			return nil, bad("bad before", "it is the sequence of an event, a number from 0")
		}
	}
	return m.Acts(r.Context(), q)
}
