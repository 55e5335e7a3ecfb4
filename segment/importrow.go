// SPDX-License-Identifier: Apache-2.0

package segment

import (
	"errors"
	"fmt"
	"strings"
	"time"
	_ "time/tzdata" // time_zone must mean the same on a host without a zone database

	"github.com/seguemta/segue/mta/rfc5321"
	"github.com/seguemta/segue/segment/rule"
)

type ruleValues = rule.Values

// row is one row, checked. What it says depends on its bytes, the schema and
// the time the import began, never on the store: a row that is good stays good.
type row struct {
	address                    rfc5321.Address
	key                        string
	user, account, domain      string
	group, role, parent        string
	zone, language, source     string
	consentBy                  string
	created, consent           time.Time
	tags, lists                []string
	first, last, engaged       uint32
	since                      uint32
	hasSince                   bool
	contactValues, accountVals []attribute
	call                       *Call  // of events
	number                     uint64 // of the row
}

type attribute struct {
	slot  int
	value rule.Value
}

// fields turns cells into rows.
type fields struct {
	kind  string
	list  string // of every row; "" = the column says
	cols  []column
	zones map[string]bool // known to be good or bad; bounded by maxZones
}

const (
	maxZones = 2000
	maxName  = 256 // bytes of a user id, an event's, an account's or a list's name
	maxSince = 1_000_000_000
)

func newFields(o *ImportOptions, cols []column) *fields {
	return &fields{kind: o.Kind, list: o.List, cols: cols, zones: map[string]bool{}}
}

// parse checks the current row of a reader.
func (f *fields) parse(in rowReader, at time.Time) (row, *fault) {
	r := row{number: in.number()}
	if f.kind == KindEvents {
		r.call = &Call{Kind: CallTrack}
	}
	if f.list != "" {
		r.lists = []string{f.list}
	}
	blame := -1 // a column with a value for the account
	for i := range f.cols {
		c := &f.cols[i]
		if c.field == fieldProperties || c.field == fieldProperty {
			if err := r.property(c, in.bytes(i)); err != nil {
				return r, &fault{c.name, err.Error()}
			}
			continue
		}
		v, err := in.value(i)
		if err == nil && v.Type() != rule.Missing {
			if c.field == fieldAttribute {
				a := attribute{c.slot, v}
				if c.account {
					blame = i
					r.accountVals = append(r.accountVals, a)
				} else {
					r.contactValues = append(r.contactValues, a)
				}
				continue
			}
			err = f.set(&r, c, v, at)
		}
		if err != nil {
			return r, &fault{c.name, err.Error()}
		}
	}
	return r, f.check(&r, blame)
}

// check reports what is missing in a row as a whole. blame is a column with an
// attribute of the account, -1 for none.
func (f *fields) check(r *row, blame int) *fault {
	noAccount := r.account == "" && r.domain == "" && r.group == ""
	switch {
	case f.kind == KindAccounts && noAccount:
		return &fault{"name", "the row names no account (fill " + quoted(identifies(KindAccounts)) + ")"}
	case f.kind == KindAccounts && r.parent != "" && r.isOwnParent():
		return &fault{"parent", ErrHierarchy.Error()}
	case f.kind == KindAccounts:
		return nil
	case f.kind == KindEvents:
		return r.checkEvent()
	case r.key == "":
		return &fault{"email", "the address is missing"}
	case f.kind == KindLists && len(r.lists) == 0:
		return &fault{"list", "the name of the list is missing"}
	case r.last != 0 && r.first > r.last:
		return &fault{"last_sent_at", "it is before first_sent_at"}
	case r.role != "" && noAccount:
		return &fault{"role", "the row names no account (fill account or account_domain)"}
	case blame >= 0 && noAccount:
		return &fault{f.cols[blame].name, "the row names no account (fill account or account_domain)"}
	}
	return nil
}

// isOwnParent reports whether an account names itself as the one above it.
func (r *row) isOwnParent() bool {
	return strings.EqualFold(r.parent, r.account) || r.parent == r.group || strings.EqualFold(r.parent, r.domain)
}

// set checks one built-in column.
func (f *fields) set(r *row, c *column, v rule.Value, at time.Time) error {
	text := strings.TrimSpace(v.Text())
	var err error
	switch c.field {
	case fieldEmail:
		r.address, err = rfc5321.ParseAddress(text)
		if err == nil {
			r.key = r.address.Key()
		}
	case fieldUser:
		r.user, err = short(text)
	case fieldAccount:
		r.account, err = short(text)
	case fieldAccountDomain:
		r.domain, err = rfc5321.ParseDomain(text)
	case fieldFirstSent:
		r.first, err = past(v, at)
	case fieldLastSent:
		r.last, err = past(v, at)
	case fieldLastEngaged:
		r.engaged, err = past(v, at)
	case fieldConsent:
		_, err = past(v, at)
		r.consent = v.Time().Truncate(time.Second)
	case fieldSince:
		n := v.Number()
		if n < 0 || n > maxSince || n != float64(uint32(n)) {
			return errors.New("it must be a whole number, 0 or more")
		}
		r.since, r.hasSince = uint32(n), true
	case fieldZone:
		r.zone, err = f.timeZone(text)
	default:
		err = f.setMore(r, c, v, at)
	}
	return err
}

// setMore checks the built-in columns that are there for more than where mail goes.
func (f *fields) setMore(r *row, c *column, v rule.Value, at time.Time) error {
	text := strings.TrimSpace(v.Text())
	var err error
	switch c.field {
	case fieldCreated:
		_, err = past(v, at)
		r.created = v.Time().Truncate(time.Second)
	case fieldLanguage:
		if r.language = languageOf(text); r.language == "" {
			err = errors.New("it is not a language (write en or de-CH)")
		}
	case fieldSource:
		r.source, err = short(text)
	case fieldConsentBy:
		r.consentBy, err = short(text)
	case fieldTags:
		r.tags, err = checkNames(v.List())
	case fieldLists:
		r.lists, err = checkNames(v.List())
	case fieldList:
		text, err = listName(text)
		r.lists = []string{text}
	case fieldRole:
		r.role, err = short(text)
	case fieldGroup:
		r.group, err = short(text)
	case fieldParent:
		r.parent, err = short(text)
	default:
		err = r.setEvent(c, text, v, at)
	}
	return err
}

// listName checks the name of a list, which may not hold what separates names.
func listName(text string) (string, error) {
	if strings.Contains(text, "|") {
		return "", errors.New("the name of a list cannot hold a |")
	}
	return short(text)
}

// checkNames checks the names of tags or lists.
func checkNames(list []string) ([]string, error) {
	for _, name := range list {
		if _, err := short(name); err != nil {
			return nil, err
		}
	}
	return list, nil
}

func short(text string) (string, error) {
	if len(text) > maxName {
		return "", fmt.Errorf("it has %d bytes, at most %d are possible", len(text), maxName)
	}
	for i := range len(text) {
		if text[i] < 0x20 || text[i] == 0x7f {
			return "", errors.New("it holds a control character")
		}
	}
	return text, nil
}

// past checks a time of history: an engagement in the future would make a
// contact active for as long as it lies ahead.
func past(v rule.Value, at time.Time) (uint32, error) {
	t := v.Time()
	switch {
	case t.Unix() < 1:
		return 0, errors.New("it is before 1970")
	case t.After(at.Add(24 * time.Hour)):
		return 0, errors.New("it is in the future")
	}
	return seconds(t), nil
}

func (f *fields) timeZone(name string) (string, error) {
	good, ok := f.zones[name]
	if !ok {
		_, err := time.LoadLocation(name)
		good = err == nil && name != "Local" && len(name) <= maxName
		if len(f.zones) < maxZones {
			f.zones[name] = good
		}
	}
	if !good {
		return "", errors.New("it is not a time zone (write Europe/Berlin)")
	}
	return name, nil
}
