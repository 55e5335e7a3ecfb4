// SPDX-License-Identifier: Apache-2.0

package api

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// MaxPage is the most entries of one page of the queue, of suppressions or of
// events.
const MaxPage = 10_000

// Actions are what [QueueAct] can order.
func Actions() []string { return []string{"hold", "release", "drop", "move", "retry"} }

// States are those of recipients that can be asked for.
func States() []string { return []string{"waiting", "held", "in_flight"} }

// IsZero reports whether the query selects everything.
func (q QueueQuery) IsZero() bool { return q == QueueQuery{} }

// Values is the query as parameters of a URL.
func (q QueueQuery) Values() url.Values {
	v := make(url.Values)
	for _, f := range q.fields() {
		setParam(v, f.name, *f.value)
	}
	if q.Limit != 0 {
		v.Set("limit", strconv.Itoa(q.Limit))
	}
	return v
}

// ParseQueueQuery reads what [QueueQuery.Values] writes. Parameters that it
// does not know are not its business. The error is an [*Error] of status 400.
func ParseQueueQuery(v url.Values) (QueueQuery, error) {
	var q QueueQuery
	for _, f := range q.fields() {
		*f.value = v.Get(f.name)
	}
	var err error
	if q.Limit, err = ParseLimit(v.Get("limit")); err != nil {
		return QueueQuery{}, err
	}
	return q, q.Check()
}

// queryField is one text of a query.
type queryField struct {
	name  string
	value *string
}

func (q *QueueQuery) fields() []queryField {
	return []queryField{
		{"stream", &q.Stream},
		{"segment", &q.Segment},
		{"tier", &q.Tier},
		{"pool", &q.Pool},
		{"domain", &q.Domain},
		{"state", &q.State},
		{"address", &q.Address},
		{"after", &q.After},
	}
}

// Check returns an [*Error] of status 400 where the query cannot be meant.
func (q QueueQuery) Check() error {
	if q.State != "" && !slices.Contains(States(), q.State) {
		return badParameter("state", q.State, "one of "+strings.Join(States(), ", "))
	}
	if q.After != "" {
		if err := CheckID(q.After); err != nil {
			return err
		}
	}
	if q.Limit < 0 || q.Limit > MaxPage {
		return badParameter("limit", strconv.Itoa(q.Limit), fmt.Sprintf("a number from 1 to %d", MaxPage))
	}
	return nil
}

// ParseLimit reads the number of entries of a page; "" is 0, the default.
func ParseLimit(s string) (int, error) {
	if s == "" {
		return 0, nil
	}
	n, err := strconv.Atoi(s)
	if err != nil || n < 1 || n > MaxPage {
		return 0, badParameter("limit", s, fmt.Sprintf("a number from 1 to %d", MaxPage))
	}
	return n, nil
}

// maxID is the longest id, in octets: two 64 bit numbers in base 36 and a dot
// take 27.
const maxID = 32

// CheckID returns an [*Error] of status 400 for what cannot be the id of a
// message or of a recipient. Whether there is one, the engine knows.
func CheckID(id string) error {
	good := id != "" && len(id) <= maxID
	for i := range len(id) {
		c := id[i]
		good = good && (c == '.' || c >= '0' && c <= '9' || c >= 'A' && c <= 'Z' || c >= 'a' && c <= 'z')
	}
	if !good {
		return badParameter("id", id, "an id such as 3K9F2.0, as segue queue ls shows it")
	}
	return nil
}

// Check returns an [*Error] of status 400 where the order is not complete or
// says two things at once.
func (a QueueAct) Check() error {
	const title = "order cannot be carried out"
	bad := func(detail string) error { return Problem(http.StatusBadRequest, title, detail) }
	if !slices.Contains(Actions(), a.Action) {
		return badParameter("action", a.Action, "one of "+strings.Join(Actions(), ", "))
	}
	chosen := 0
	for _, is := range []bool{a.ID != "", !a.Query.IsZero(), a.All} {
		if is {
			chosen++
		}
	}
	switch {
	case chosen == 0:
		return bad("it names no recipients: give an id, a query, or all for everything")
	case chosen > 1:
		return bad("it names recipients in two ways: give one of id, query and all")
	case a.Query.After != "" || a.Query.Limit != 0:
		return bad("it reaches everything that the query selects: leave out after and limit")
	case a.Action == "move" && a.Pool == "":
		return bad("it does not say where to: give a pool")
	case a.Action != "move" && a.Pool != "":
		return bad("only move takes a pool")
	}
	if a.ID != "" {
		return CheckID(a.ID)
	}
	return a.Query.Check()
}

func badParameter(name, value, want string) error {
	const longest = 80
	if len(value) > longest {
		value = value[:longest] + "..."
	}
	return Problem(http.StatusBadRequest, "bad "+name, fmt.Sprintf("%q is not %s", value, want))
}

func setParam(v url.Values, name, value string) {
	if value != "" {
		v.Set(name, value)
	}
}
