// SPDX-License-Identifier: Apache-2.0

package httpapi

import (
	"net/http"

	"github.com/seguemta/segue/mta/api"
)

func breakerEndpoints() []endpoint {
	return []endpoint{
		takes(endpoint{
			method: http.MethodPost, path: "/api/v1/breakers", name: "breakerSteer",
			summary: "Hold, release or override the breaker of a segment, an import batch or a campaign by hand. It is an event with who and why, and survives a restart.",
		}, func(m api.Methods, r *http.Request, act api.BreakerAct) (api.BreakerActed, error) {
			return m.SteerBreaker(r.Context(), act)
		}),
	}
}
