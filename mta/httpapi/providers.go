// SPDX-License-Identifier: Apache-2.0

package httpapi

import (
	"net/http"

	"github.com/seguemta/segue/mta/api"
)

func providerEndpoints() []endpoint {
	return []endpoint{
		answers(endpoint{
			method: http.MethodGet, path: "/api/v1/providers", name: "providers",
			summary: "All providers with what each source may do there now.",
		}, all(api.Methods.Providers)),
		answers(endpoint{
			method: http.MethodGet, path: "/api/v1/providers/{name}", name: "provider",
			summary: "One provider: limits in force by source, the rule that set them, and the last acts with their evidence.",
		}, byName("name", api.Methods.Provider)),
		takes(endpoint{
			method: http.MethodPost, path: "/api/v1/providers/{name}/cancel", name: "providerCancel", optional: true,
			summary: "End what rules have done at a provider: of one source or all, or of one lane or segment. It is an event with who.",
		}, func(m api.Methods, r *http.Request, c api.LimitCancel) (api.LimitActs, error) {
			err := ofPath(r, &c.Provider)
			if err != nil {
				return api.LimitActs{}, err
			}
			return m.CancelLimits(r.Context(), c)
		}),
		takes(endpoint{
			method: http.MethodPost, path: "/api/v1/providers/{name}/pin", name: "providerPin",
			summary: "Hold fixed limits of a source at a provider, whatever rules say, or give them back to the rules. It is an event with who and why.",
		}, func(m api.Methods, r *http.Request, p api.LimitPin) (api.LimitActs, error) {
			err := ofPath(r, &p.Provider)
			if err != nil {
				return api.LimitActs{}, err
			}
			return m.PinLimits(r.Context(), p)
		}),
		answers(endpoint{
			method: http.MethodPost, path: "/api/v1/throttle/reload", name: "throttleReload",
			summary: "Read the rules of throttling again; a file that is wrong changes nothing.",
		}, func(m api.Methods, r *http.Request) (api.ThrottleRules, error) {
			return m.ReloadThrottleRules(r.Context())
		}),
	}
}

// ofPath takes the provider of the path, which the body need not repeat.
func ofPath(r *http.Request, provider *string) error {
	name := r.PathValue("name")
	if *provider != "" && *provider != name {
		return bad("bad body", "provider is not the one of the path: leave it out")
	}
	*provider = name
	return nil
}
