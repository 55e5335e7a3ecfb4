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
			summary: "One segment with its members by tier and where they go.",
		}, byName("name", api.Methods.Segment)),
	}
}
