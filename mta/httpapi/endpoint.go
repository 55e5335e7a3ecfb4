// SPDX-License-Identifier: Apache-2.0

package httpapi

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"os"
	"reflect"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/seguemta/segue/mta/api"
	"github.com/seguemta/segue/mta/netx"
)

// endpoint is one row of the table: what OpenAPI says of a route, and what
// serves it.
type endpoint struct {
	method, path string
	name         string // operationId
	summary      string // one sentence
	query        []param
	in           reflect.Type // JSON body; nil = none
	optional     bool         // the body may be left out
	limit        int64        // of the body, octets; 0 = maxBody
	stream       []string     // media types of a body that is not JSON
	out          reflect.Type // JSON answer; nil = none, or text
	text         string       // media type of an answer that is not JSON
	status       int          // of success; 0 = 200, or 204 where there is no answer
	open         bool         // needs no token
	serve        func(s *server, w http.ResponseWriter, r *http.Request)
}

// param is one parameter of the query.
type param struct {
	name, about string
	kind        string // of JSON schema; "" = string
	required    bool
}

func (e endpoint) route() string { return e.method + " " + e.path }

// Limits of bodies.
const (
	maxBody      = 1 << 20
	maxMessage   = 25 << 20
	readTimeout  = 30 * time.Second // for the next piece of a body
	drainTimeout = time.Second      // for the rest of a body that nobody wants
	bodyTimeout  = 2 * time.Minute  // for a whole body that is not a stream
	sendTimeout  = 60 * time.Second // for an answer
)

// nothing is the answer of an order that has none.
type nothing struct{}

// answers completes an endpoint without a body.
func answers[Out any](e endpoint, f func(m api.Methods, r *http.Request) (Out, error)) endpoint {
	e.out = outType[Out]()
	e.serve = func(s *server, w http.ResponseWriter, r *http.Request) {
		if err := e.checkQuery(r); err != nil {
			s.fail(w, r, err)
			return
		}
		out, err := f(s.methods, r)
		if err != nil {
			s.fail(w, r, err)
			return
		}
		s.reply(w, r, e.success(), out)
	}
	e.status = e.success()
	return e
}

// takes completes an endpoint whose body is JSON.
func takes[In, Out any](e endpoint, f func(m api.Methods, r *http.Request, in In) (Out, error)) endpoint {
	e.in = reflect.TypeFor[In]()
	if e.limit == 0 {
		e.limit = maxBody
	}
	return answers(e, func(m api.Methods, r *http.Request) (Out, error) {
		var in In
		if err := e.decode(r, &in); err != nil {
			var none Out
			return none, err
		}
		return f(m, r, in)
	})
}

func outType[Out any]() reflect.Type {
	t := reflect.TypeFor[Out]()
	if t == reflect.TypeFor[nothing]() {
		return nil
	}
	return t
}

func (e endpoint) success() int {
	switch {
	case e.status != 0:
		return e.status
	case e.out == nil:
		return http.StatusNoContent
	default:
		return http.StatusOK
	}
}

// checkQuery refuses parameters that the endpoint does not have: a misspelt
// filter would otherwise select everything.
func (e endpoint) checkQuery(r *http.Request) error {
	values, err := parseQuery(r)
	if err != nil {
		return err
	}
	for name, list := range values {
		if !slices.ContainsFunc(e.query, func(p param) bool { return p.name == name }) {
			return bad("unknown parameter", fmt.Sprintf("%q is not one of: %s", name, e.parameters()))
		}
		if len(list) > 1 {
			return bad("parameter given twice", name)
		}
	}
	for _, p := range e.query {
		if p.required && values.Get(p.name) == "" {
			return bad("missing parameter", fmt.Sprintf("%s: %s", p.name, p.about))
		}
	}
	return nil
}

func (e endpoint) parameters() string {
	if len(e.query) == 0 {
		return "(this endpoint has none)"
	}
	var names []string
	for _, p := range e.query {
		names = append(names, p.name)
	}
	return strings.Join(names, ", ")
}

// decode reads one JSON value of known fields.
func (e endpoint) decode(r *http.Request, in any) error {
	text, err := e.read(r)
	if err != nil {
		return err
	}
	if len(text) == 0 && e.optional {
		return nil
	}
	if mediaType, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || mediaType != "application/json" {
		return api.Problem(http.StatusUnsupportedMediaType, "unsupported media type", "send JSON with the header Content-Type: application/json")
	}
	if at := brokenUTF8(text); at >= 0 { // RFC 8259 section 8.1; the decoder would change what it cannot read, such as a raw message
		return bad("bad body", fmt.Sprintf("octet %d is not UTF-8", at))
	}
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	if err := d.Decode(in); err != nil {
		return bad("bad body", fault(err))
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return bad("bad body", "something follows the JSON value")
	}
	return nil
}

// fault is what is wrong with JSON, in its own words and not in those of Go's types.
func fault(err error) string {
	wrong, ok := errors.AsType[*json.UnmarshalTypeError](err)
	switch {
	case errors.Is(err, io.EOF):
		return "there is none: send a JSON object"
	case errors.Is(err, io.ErrUnexpectedEOF):
		return "the JSON ends in the middle"
	case ok && wrong.Field == "":
		return fmt.Sprintf("it is of type %s: send a JSON object", wrong.Value)
	case ok:
		return fmt.Sprintf("%s is of type %s, which it cannot be: /api/v1/openapi.json has the types", wrong.Field, wrong.Value)
	default:
		return strings.TrimPrefix(err.Error(), "json: ")
	}
}

// brokenUTF8 is where a text stops being UTF-8; -1 = nowhere.
func brokenUTF8(text []byte) int {
	for at := 0; at < len(text); {
		r, n := utf8.DecodeRune(text[at:])
		if r == utf8.RuneError && n == 1 {
			return at
		}
		at += n
	}
	return -1
}

// read takes the whole body, in time and within the limit.
func (e endpoint) read(r *http.Request) ([]byte, error) {
	if r.ContentLength > e.limit {
		return nil, tooLarge(e.limit)
	}
	text, err := io.ReadAll(netx.Impatient(io.LimitReader(r.Body, e.limit+1), time.Now().Add(bodyTimeout)))
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded):
		return nil, api.Problem(http.StatusRequestTimeout, "request too slow",
			fmt.Sprintf("no octet of the body arrived for %s, or not all of it within %s", readTimeout, bodyTimeout))
	case err != nil:
		return nil, bad("bad body", err.Error())
	case int64(len(text)) > e.limit:
		return nil, tooLarge(e.limit)
	}
	return text, nil
}

func tooLarge(limit int64) error {
	return api.Problem(http.StatusRequestEntityTooLarge, "request too large", fmt.Sprintf("at most %d octets are taken here", limit))
}

func bad(title, detail string) error { return api.Problem(http.StatusBadRequest, title, detail) }
