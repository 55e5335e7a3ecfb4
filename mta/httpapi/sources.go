// SPDX-License-Identifier: Apache-2.0

package httpapi

import (
	"net/http"
	"time"

	"github.com/seguemta/segue/mta/api"
)

func sourceEndpoints() []endpoint {
	return []endpoint{
		answers(endpoint{
			method: http.MethodGet, path: "/api/v1/pools", name: "pools",
			summary: "All pools with their members.",
		}, all(api.Methods.Pools)),
		answers(endpoint{
			method: http.MethodGet, path: "/api/v1/sources", name: "sources",
			summary: "All sources with their budgets of today.",
		}, all(api.Methods.Sources)),
		answers(endpoint{
			method: http.MethodGet, path: "/api/v1/sources/{name}", name: "source",
			summary: "One source with its budgets of today.",
		}, byName("name", api.Methods.Source)),
		takes(endpoint{
			method: http.MethodPost, path: "/api/v1/sources/{name}/pause", name: "sourcePause", optional: true,
			summary: "Stop a source, at one provider or at all, until a time or until it is resumed. It survives a restart.",
		}, func(m api.Methods, r *http.Request, p api.Pause) (nothing, error) {
			if p.Until.IsZero() {
				p.Until = api.UntilResumed()
			}
			return pause(m, r, p)
		}),
		takes(endpoint{
			method: http.MethodPost, path: "/api/v1/sources/{name}/resume", name: "sourceResume", optional: true,
			summary: "Let a paused source send again, at one provider or at all.",
		}, func(m api.Methods, r *http.Request, p api.Pause) (nothing, error) {
			p.Until = time.Time{}
			return pause(m, r, p)
		}),
		answers(endpoint{
			method: http.MethodGet, path: "/api/v1/warmup", name: "warmup",
			summary: "Every warm-up budget of today: stage, allowed, used, admitted tiers.",
		}, all(api.Methods.Warmup)),
		takes(endpoint{
			method: http.MethodPost, path: "/api/v1/warmup", name: "warmupSteer",
			summary: "Hold, release, advance or step back a warm-up by hand. It is an event with who and why.",
		}, func(m api.Methods, r *http.Request, act api.WarmupAct) (nothing, error) {
			return nothing{}, m.SteerWarmup(r.Context(), act)
		}),
		takes(endpoint{
			method: http.MethodPost, path: "/api/v1/evidence", name: "evidenceAdd",
			summary: "Import figures of Postmaster Tools and SNDS for the gates of warm-up: all rows or none; a row about the same day replaces the one before.",
		}, func(m api.Methods, r *http.Request, in api.Evidence) (api.EvidenceAdded, error) {
			return m.AddEvidence(r.Context(), in)
		}),
	}
}

func pause(m api.Methods, r *http.Request, p api.Pause) (nothing, error) {
	name := r.PathValue("name")
	if p.Source != "" && p.Source != name {
		return nothing{}, bad("bad body", "source is not the one of the path: leave it out")
	}
	p.Source = name
	return nothing{}, m.PauseSource(r.Context(), p)
}
