// SPDX-License-Identifier: Apache-2.0

package httpapi

import (
	"net/http"

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
				{name: "scope", about: "Only this scope: all, stream:NAME, domain:NAME."},
			},
		}, func(m api.Methods, r *http.Request) (nothing, error) {
			q, err := parseQuery(r)
			if err != nil {
				return nothing{}, err
			}
			s := api.Suppression{Address: q.Get("address"), Scope: q.Get("scope")}
			return nothing{}, m.Lift(r.Context(), s)
		}),
	}
}
