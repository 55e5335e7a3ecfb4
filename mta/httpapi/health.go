// SPDX-License-Identifier: Apache-2.0

package httpapi

import (
	"net/http"
	"reflect"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/seguemta/segue/mta/api"
)

// healthEndpoints are what a supervisor and a load balancer ask.
func healthEndpoints() []endpoint {
	return []endpoint{
		{
			method: http.MethodGet, path: "/healthz", name: "healthz", open: true, text: "text/plain", status: http.StatusOK,
			summary: "Whether the process lives. It asks nothing of the engine.",
			serve: func(s *server, w http.ResponseWriter, _ *http.Request) {
				s.send(w, http.StatusOK, "text/plain; charset=utf-8", []byte("ok\n"))
			},
		},
		{
			method: http.MethodGet, path: "/readyz", name: "readyz", open: true, out: reflect.TypeFor[api.Health](), status: http.StatusOK,
			summary: "Whether the engine takes and sends mail; 503 with the reasons where it does not.",
			serve:   ready,
		},
	}
}

func ready(s *server, w http.ResponseWriter, r *http.Request) {
	h, err := s.methods.Health(r.Context())
	switch {
	case err != nil:
		s.fail(w, r, err)
	case h.Ready:
		s.reply(w, r, http.StatusOK, h)
	default:
		s.reply(w, r, http.StatusServiceUnavailable, h)
	}
}

// clockEndpoints are about the clock on the wall.
func clockEndpoints() []endpoint {
	return []endpoint{
		answers(endpoint{
			method: http.MethodGet, path: "/api/v1/clock", name: "clock",
			summary: "The time that the engine lives by, and the wall clock where that was set and is not believed.",
		}, all(api.Methods.Clock)),
		answers(endpoint{
			method: http.MethodPost, path: "/api/v1/clock/confirm", name: "clockConfirm",
			summary: "Believe a wall clock that was set; 409 where it is believed already.",
		}, func(m api.Methods, r *http.Request) (nothing, error) { return nothing{}, m.ConfirmClock(r.Context()) }),
	}
}

// metricsEndpoint is what Prometheus scrapes.
func metricsEndpoint(g prometheus.Gatherer) endpoint {
	h := promhttp.HandlerFor(g, promhttp.HandlerOpts{EnableOpenMetrics: true})
	return endpoint{
		method: http.MethodGet, path: "/metrics", name: "metrics", open: true, text: "text/plain", status: http.StatusOK,
		summary: "Metrics in the text format of Prometheus.",
		serve:   func(_ *server, w http.ResponseWriter, r *http.Request) { h.ServeHTTP(w, r) },
	}
}
