// SPDX-License-Identifier: Apache-2.0

package httpapi

import (
	"fmt"
	"net/http"
	"strings"

	"github.com/seguemta/segue/mta/api"
)

func queueEndpoints() []endpoint {
	return []endpoint{
		answers(endpoint{
			method: http.MethodGet, path: "/api/v1/queue", name: "queue", query: queueParams(),
			summary: "Recipients that are not concluded, a page at a time.",
		}, func(m api.Methods, r *http.Request) (api.QueueList, error) {
			q, err := queueQuery(r)
			if err != nil {
				return api.QueueList{}, err
			}
			return m.Queue(r.Context(), q)
		}),
		answers(endpoint{
			method: http.MethodGet, path: "/api/v1/queue/summary", name: "queueSummary",
			summary: "The queue in numbers: lanes at providers.",
		}, func(m api.Methods, r *http.Request) (api.QueueSummary, error) { return m.QueueSummary(r.Context()) }),
		answers(endpoint{
			method: http.MethodGet, path: "/api/v1/queue/{id}", name: "queueShow",
			summary: "One recipient with what happened to it.",
		}, byID(api.Methods.QueueShow)),
		answers(endpoint{
			method: http.MethodGet, path: "/api/v1/queue/{id}/why", name: "queueWhy",
			summary: "What a recipient waits for, until when, and when it is expected to leave.",
		}, byID(api.Methods.QueueWhy)),
		takes(endpoint{
			method: http.MethodPost, path: "/api/v1/queue/act", name: "queueAct",
			summary: "Hold, release, drop, move or retry one recipient, those of a query, or all.",
		}, func(m api.Methods, r *http.Request, act api.QueueAct) (api.QueueActed, error) {
			if err := act.Check(); err != nil {
				return api.QueueActed{}, err
			}
			return m.QueueAct(r.Context(), act)
		}),
	}
}

func queueParams() []param {
	return []param{
		{name: "stream", about: "Only this stream."},
		{name: "segment", about: "Only the segment that decided the lane."},
		{name: "tier", about: "Only this tier."},
		{name: "pool", about: "Only this pool."},
		{name: "domain", about: "Only this recipient domain."},
		{name: "state", about: "Only this state: " + strings.Join(api.States(), ", ") + "."},
		{name: "address", about: "Only this recipient address."},
		{name: "after", about: "The id behind which the page begins: next of the page before."},
		limitParam(),
	}
}

func limitParam() param {
	return param{name: "limit", about: fmt.Sprintf("Entries of the page, 1 to %d; 100 by default.", api.MaxPage), kind: "integer"}
}

func queueQuery(r *http.Request) (api.QueueQuery, error) {
	values, err := parseQuery(r)
	if err != nil {
		return api.QueueQuery{}, err
	}
	return api.ParseQueueQuery(values)
}
