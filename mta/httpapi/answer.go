// SPDX-License-Identifier: Apache-2.0

package httpapi

import (
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"reflect"
	"time"

	"github.com/seguemta/segue/mta/api"
)

// answer remembers the status.
type answer struct {
	http.ResponseWriter
	status int
	body   *timedBody // of the request; nil = it has none
}

// WriteHeader implements [http.ResponseWriter].
func (a *answer) WriteHeader(status int) {
	if a.status == 0 {
		a.status = status
		if a.body != nil && !a.body.ended { // else net/http reads the rest of the body before it answers
			a.Header().Set("Connection", "close")
		}
	}
	a.ResponseWriter.WriteHeader(status)
}

// Write implements [http.ResponseWriter].
func (a *answer) Write(p []byte) (int, error) {
	if a.status == 0 {
		a.WriteHeader(http.StatusOK)
	}
	return a.ResponseWriter.Write(p)
}

// Unwrap lets [http.ResponseController] find the connection.
func (a *answer) Unwrap() http.ResponseWriter { return a.ResponseWriter }

// reply writes an answer. It is made in memory first: a value that cannot be
// written is then a clean 500.
func (s *server) reply(w http.ResponseWriter, r *http.Request, status int, out any) {
	if status == http.StatusNoContent {
		w.WriteHeader(status)
		return
	}
	text, err := json.Marshal(filled(reflect.ValueOf(out)).Interface())
	if err != nil {
		s.fail(w, r, err)
		return
	}
	s.send(w, status, "application/json", append(text, '\n'))
}

// fail writes a problem document. An error that is none is a defect or a fault
// of the machine: the log has it, the answer only says so.
func (s *server) fail(w http.ResponseWriter, r *http.Request, err error) {
	var problem *api.Error
	switch {
	case errors.As(err, &problem):
	case r.Context().Err() != nil: // hardly anybody listens any more, but nobody may take it for a success
		problem = api.Problem(http.StatusRequestTimeout, "request cut off", "the connection ended before the request did")
	default:
		s.log.Error("a request failed", slog.String("method", r.Method), slog.String("route", r.Pattern), slog.Any("error", err))
		problem = api.Problem(http.StatusInternalServerError, "internal error", "the engine's log says more")
	}
	text, err := json.Marshal(problem)
	if err != nil {
		text = []byte(`{"title":"internal error","status":500}`)
	}
	status := problem.Status
	if status < http.StatusBadRequest || status > 599 {
		status = http.StatusInternalServerError
	}
	s.send(w, status, "application/problem+json", append(text, '\n'))
}

func (s *server) send(w http.ResponseWriter, status int, mediaType string, text []byte) {
	_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(sendTimeout)) // not every connection has deadlines
	w.Header().Set("Content-Type", mediaType)
	w.WriteHeader(status)
	if _, err := w.Write(text); err != nil {
		s.log.Debug("sending an answer failed", slog.Any("error", err))
	}
}

// filled returns a copy in which no list and no map is nil: a list in an answer
// is never null, and a reader need not ask. It copies, because what Methods return
// may be shared.
func filled(v reflect.Value) reflect.Value {
	out := reflect.New(v.Type()).Elem()
	out.Set(v)
	switch v.Kind() { //nolint:exhaustive // the others hold no lists
	case reflect.Pointer:
		if !v.IsNil() {
			out.Set(reflect.New(v.Type().Elem()))
			out.Elem().Set(filled(v.Elem()))
		}
	case reflect.Struct:
		for i := range v.NumField() {
			if v.Type().Field(i).IsExported() {
				out.Field(i).Set(filled(v.Field(i)))
			}
		}
	case reflect.Slice:
		if v.Type().Elem().Kind() == reflect.Uint8 {
			break
		}
		out.Set(reflect.MakeSlice(v.Type(), v.Len(), v.Len()))
		for i := range v.Len() {
			out.Index(i).Set(filled(v.Index(i)))
		}
	case reflect.Map:
		if v.IsNil() {
			out.Set(reflect.MakeMap(v.Type()))
		}
	}
	return out
}
