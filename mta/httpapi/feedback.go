// SPDX-License-Identifier: Apache-2.0

package httpapi

import (
	"fmt"
	"net/http"
	"slices"
	"strconv"

	"github.com/seguemta/segue/mta/api"
)

// maxReportDays is how far back complaints are counted.
const maxReportDays = 60

// feedbackEndpoints are what comes back, and the tokens by which it is known.
func feedbackEndpoints() []endpoint {
	return append(complaintEndpoints(),
		takes(endpoint{
			method: http.MethodPost, path: "/api/v1/feedback", name: "feedback",
			summary: "Report a complaint or a bounce that came otherwise than by mail. Sent again under its id, it changes nothing.",
		}, func(m api.Methods, r *http.Request, f api.Feedback) (api.FeedbackTaken, error) {
			if err := f.Check(); err != nil {
				return api.FeedbackTaken{}, err
			}
			return m.Feedback(r.Context(), f)
		}),
		answers(endpoint{
			method: http.MethodGet, path: "/api/v1/tokens", name: "tokens",
			summary: "The keys of return paths, references and unsubscribe tokens, by their ids.",
		}, all(api.Methods.TokenKeys)),
		answers(endpoint{
			method: http.MethodPost, path: "/api/v1/tokens/rotate", name: "tokensRotate",
			summary: "Sign with a new key from now on; what the others signed is still understood.",
		}, all(api.Methods.RotateTokens)),
	)
}

// complaintEndpoints are the complaint register.
func complaintEndpoints() []endpoint {
	return []endpoint{
		answers(endpoint{
			method: http.MethodGet, path: "/api/v1/complaints", name: "complaints",
			summary: "Cases of the complaint register, the newest first.",
			query: []param{
				{name: "status", about: "Only open, closed or overdue ones."},
				{name: "segment", about: "Only this segment."},
				{name: "before", about: "Only cases of a lower number: the last one of the page before.", kind: "integer"},
				limitParam(),
			},
		}, func(m api.Methods, r *http.Request) ([]api.Complaint, error) {
			q, err := complaintQuery(r)
			if err != nil {
				return nil, err
			}
			return m.Complaints(r.Context(), q)
		}),
		answers(endpoint{
			method: http.MethodGet, path: "/api/v1/complaints/report", name: "complaintReport",
			summary: "Complaints of each segment over its deliveries to providers that report complaints, with the 95 % interval.",
			query:   []param{{name: "days", about: fmt.Sprintf("Over so many days, 1 to %d; 7 by default.", maxReportDays), kind: "integer"}},
		}, func(m api.Methods, r *http.Request) ([]api.ComplaintRate, error) {
			values, err := parseQuery(r)
			if err != nil {
				return nil, err
			}
			days := 7
			if text := values.Get("days"); text != "" {
				if days, err = strconv.Atoi(text); err != nil || days < 1 || days > maxReportDays {
					return nil, bad("bad parameter days", fmt.Sprintf("%q is not a number from 1 to %d", text, maxReportDays))
				}
			}
			return m.ComplaintReport(r.Context(), days)
		}),
		answers(endpoint{
			method: http.MethodGet, path: "/api/v1/complaints/{id}", name: "complaint",
			summary: "One case of the complaint register.",
		}, func(m api.Methods, r *http.Request) (api.Complaint, error) {
			id, err := caseID(r)
			if err != nil {
				return api.Complaint{}, err
			}
			return m.Complaint(r.Context(), id)
		}),
		takes(endpoint{
			method: http.MethodPost, path: "/api/v1/complaints/{id}/close", name: "complaintClose",
			summary: "Close a case with a note of what was done; 409 where it is closed.",
		}, func(m api.Methods, r *http.Request, x api.ComplaintClose) (api.Complaint, error) {
			id, err := caseID(r)
			if err != nil {
				return api.Complaint{}, err
			}
			x.ID = id
			return m.CloseComplaint(r.Context(), x)
		}),
	}
}

func caseID(r *http.Request) (uint64, error) {
	id, err := strconv.ParseUint(r.PathValue("id"), 10, 64)
	if err != nil || id == 0 {
		return 0, bad("bad id", fmt.Sprintf("%q is not the number of a case", r.PathValue("id")))
	}
	return id, nil
}

func complaintQuery(r *http.Request) (api.ComplaintQuery, error) {
	values, err := parseQuery(r)
	if err != nil {
		return api.ComplaintQuery{}, err
	}
	q := api.ComplaintQuery{Status: values.Get("status"), Segment: values.Get("segment")}
	if q.Status != "" && !slices.Contains([]string{"open", "closed", "overdue"}, q.Status) {
		return q, bad("bad parameter status", fmt.Sprintf("%q is not open, closed or overdue", q.Status))
	}
	if text := values.Get("before"); text != "" {
		if q.Before, err = strconv.ParseUint(text, 10, 64); err != nil || q.Before == 0 {
			return q, bad("bad parameter before", fmt.Sprintf("%q is not the number of a case", text))
		}
	}
	q.Limit, err = api.ParseLimit(values.Get("limit"))
	return q, err
}
