// SPDX-License-Identifier: Apache-2.0

package httpapi

import (
	"context"
	"net/http"
	"strings"
	"testing"

	"github.com/seguemta/segue/mta/api"
)

func (f *fake) TokenKeys(context.Context) (api.TokenKeys, error) {
	return answer1(f, api.TokenKeys{Signing: 2, Verifies: []int{1}})
}

func (f *fake) RotateTokens(context.Context) (api.TokenKeys, error) {
	return answer1(f, api.TokenKeys{Signing: 3, Verifies: []int{2, 1}})
}

func (f *fake) Feedback(_ context.Context, in api.Feedback) (api.FeedbackTaken, error) {
	return answer1(f, api.FeedbackTaken{Recipient: "1A.0", Repeated: true}, in)
}

func complaintCase() api.Complaint {
	return api.Complaint{ID: 1<<63 + 1, Class: "abuse", Status: "open", Owner: "o", Opened: day, Due: day, Overdue: true, Closed: day, Note: "n", Recipient: "1A.0", Address: "a@x.test", Stream: "marketing", Provider: "google"}
}

func (f *fake) Complaints(_ context.Context, q api.ComplaintQuery) ([]api.Complaint, error) {
	return answer1(f, []api.Complaint{complaintCase()}, q)
}

func (f *fake) Complaint(_ context.Context, id uint64) (api.Complaint, error) {
	return answer1(f, complaintCase(), id)
}

func (f *fake) CloseComplaint(_ context.Context, x api.ComplaintClose) (api.Complaint, error) {
	return answer1(f, complaintCase(), x)
}

func (f *fake) ComplaintReport(_ context.Context, days int) ([]api.ComplaintRate, error) {
	return answer1(f, []api.ComplaintRate{{Segment: "s", Complaints: 1, Delivered: 2, Elsewhere: 3, Known: true, Share: 0.5, Low: 0.1, High: 0.9}}, days)
}

// TestFeedbackIsChecked: a report that says too little, too much or something else is
// refused before the engine hears of it.
func TestFeedbackIsChecked(t *testing.T) {
	t.Parallel()
	far := &fake{}
	url := serve(t, Options{Methods: far})
	for body, want := range map[string]string{
		`{}`:                            "id is missing",
		`{"id":"1"}`:                    "kind is complaint or bounce",
		`{"id":"1","kind":"complaint"}`: "say in one way",
		`{"id":"1","kind":"complaint","reference":"r","address":"a@x.test"}`:          "say in one way",
		`{"id":"1","kind":"complaint","type":"virus","reference":"r"}`:                "type is abuse",
		`{"id":"1","kind":"complaint","reply":"550 x","reference":"r"}`:               "reply is of bounces",
		`{"id":"1","kind":"bounce","reference":"r"}`:                                  "reply is missing",
		`{"id":"1","kind":"bounce","type":"abuse","reply":"550","reference":"r"}`:     "type is of complaints",
		`{"id":"1","kind":"complaint","reference":"r","time":"2026-01-01T00:00:00Z"}`: "time goes with address",
		`{"id":"` + strings.Repeat("x", 201) + `"}`:                                   "longer than 200",
		`{"id":"1","colour":"red"}`:                                                   "colour",
	} {
		got := ask(t, request{method: http.MethodPost, url: url + "/api/v1/feedback", body: body, header: map[string]string{"Content-Type": "application/json"}})
		if got.status != http.StatusBadRequest || !strings.Contains(got.problem(t).Detail, want) {
			t.Errorf("%s: %d %s\nwant %s", body, got.status, got.body, want)
		}
	}
	for path, want := range map[string]string{
		"complaints?status=new":     "status",
		"complaints?before=x":       "before",
		"complaints?limit=0":        "limit",
		"complaints/x":              "number of a case",
		"complaints/report?days=61": "1 to 60",
	} {
		if got := ask(t, request{url: url + "/api/v1/" + path}); got.status != http.StatusBadRequest || !strings.Contains(got.body, want) {
			t.Errorf("%s: %d %s\nwant %s", path, got.status, got.body, want)
		}
	}
	if far.got != nil {
		t.Errorf("the engine heard %v", far.got)
	}
}
