// SPDX-License-Identifier: Apache-2.0

package httpapi

import (
	"net/http"

	"github.com/seguemta/segue/mta/api"
)

func bounceEndpoints() []endpoint {
	return []endpoint{
		answers(endpoint{
			method: http.MethodPost, path: "/api/v1/bounce/reload", name: "bounceReload",
			summary: "Read the rules of bounces again; a file that is wrong changes nothing.",
		}, func(m api.Methods, r *http.Request) (api.BounceRules, error) { return m.ReloadBounceRules(r.Context()) }),
		answers(endpoint{
			method: http.MethodGet, path: "/api/v1/bounce/classify", name: "bounceClassify",
			summary: "What an SMTP reply means, and by which rule.",
			query: []param{
				{name: "reply", about: "Code, enhanced code if any, and text.", required: true},
				{name: "provider", about: "Who said so; by default one without a name."},
			},
		}, func(m api.Methods, r *http.Request) (api.Classified, error) {
			q, err := parseQuery(r)
			if err != nil {
				return api.Classified{}, err
			}
			return m.ClassifyReply(r.Context(), api.Reply{Provider: q.Get("provider"), Text: q.Get("reply")})
		}),
	}
}
