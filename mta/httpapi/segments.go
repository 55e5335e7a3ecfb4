// SPDX-License-Identifier: Apache-2.0

package httpapi

import (
	"net/http"

	"github.com/seguemta/segue/mta/api"
)

func segmentEndpoints() []endpoint {
	return []endpoint{
		answers(endpoint{
			method: http.MethodGet, path: "/api/v1/segments", name: "segments",
			summary: "All segments in their order.",
		}, all(api.Methods.Segments)),
		answers(endpoint{
			method: http.MethodGet, path: "/api/v1/segments/{name}", name: "segment",
			summary: "One segment: its members by tier and where they go, its size by day, its overlaps, what became of its mail, and warnings.",
		}, byName("name", api.Methods.Segment)),
		takes(endpoint{
			method: http.MethodPost, path: "/api/v1/segments/test", name: "segmentTest",
			summary: "Compile a definition and ask it about the contacts, or about a sample of many. It changes nothing.",
		}, func(m api.Methods, r *http.Request, t api.SegmentTest) (api.SegmentTested, error) {
			return m.TestSegment(r.Context(), t)
		}),
		answers(endpoint{
			method: http.MethodGet, path: "/api/v1/segments/{name}/explain", name: "segmentExplain",
			query:   []param{{name: "address", about: "The contact.", required: true}},
			summary: "Why a contact is in a segment or is not, condition by condition.",
		}, func(m api.Methods, r *http.Request) (api.SegmentExplained, error) {
			return m.ExplainSegment(r.Context(), r.PathValue("name"), r.URL.Query().Get("address"))
		}),
		answers(endpoint{
			method: http.MethodPost, path: "/api/v1/segments/{name}/rebuild", name: "segmentRebuild",
			summary: "Make the members of a segment anew by its rule as it stands, beside those that mail goes by meanwhile.",
		}, func(m api.Methods, r *http.Request) (nothing, error) {
			return nothing{}, m.RebuildSegment(r.Context(), r.PathValue("name"))
		}),
	}
}
