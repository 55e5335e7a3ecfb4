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

// field is what a column means.
type field uint8

const (
	fieldAttribute field = iota // a declared attribute
	fieldEmail
	fieldUser
	fieldAccount
	fieldAccountDomain
	fieldFirstSent
	fieldLastSent
	fieldLastEngaged
	fieldSince
	fieldZone
	fieldConsent
)

// column is one column of a file.
type column struct {
	name    string
	field   field
	kind    rule.Type
	slot    int  // of an attribute
	account bool // the attribute is the account's
}

func builtin() []column {
	return []column{
		{name: "email", field: fieldEmail, kind: rule.Text},
		{name: "user_id", field: fieldUser, kind: rule.Text},
		{name: "account", field: fieldAccount, kind: rule.Text},
		{name: "account_domain", field: fieldAccountDomain, kind: rule.Text},
		{name: "first_sent_at", field: fieldFirstSent, kind: rule.Time},
		{name: "last_sent_at", field: fieldLastSent, kind: rule.Time},
		{name: "last_engaged_at", field: fieldLastEngaged, kind: rule.Time},
		{name: "sends_since_engagement", field: fieldSince, kind: rule.Number},
		{name: "time_zone", field: fieldZone, kind: rule.Text},
		{name: "consent_at", field: fieldConsent, kind: rule.Time},
	}
}

// allColumns is every column that a file may have.
func allColumns(schema *rule.Schema) []column {
	list := builtin()
	for _, a := range schema.Attributes() {
		slot, kind, _ := schema.Slot(a.Name)
		list = append(list, column{name: a.Name, kind: kind, slot: slot, account: strings.HasPrefix(a.Name, "account.")})
	}
	return list
}

// findColumns turns names into columns, or reports every one that cannot be.
func findColumns(schema *rule.Schema, names []string) ([]column, error) {
	known := map[string]column{}
	for _, c := range allColumns(schema) {
		known[c.name] = c
	}
	var errs []error
	seen := map[string]bool{}
	cols := make([]column, 0, len(names))
	for i, name := range names {
		c, ok := known[name]
		switch {
		case !ok:
			errs = append(errs, fmt.Errorf("column %d %q is not declared (%s)", i+1, name, hint(known, name)))
		case seen[name]:
			errs = append(errs, fmt.Errorf("column %d %q stands there twice", i+1, name))
		}
		seen[name] = true
		cols = append(cols, c)
	}
	if !seen["email"] {
		errs = append(errs, errors.New("there is no column \"email\""))
	}
	if err := errors.Join(errs...); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrColumns, err)
	}
	return cols, nil
}

// hint says what to do about a column nobody declared.
func hint(known map[string]column, name string) string {
	plain := strings.ReplaceAll(strings.ReplaceAll(strings.ToLower(name), " ", "_"), "-", "_")
	guesses := []string{plain, "contact." + plain, "account." + plain}
	switch plain {
	case "mail", "e_mail", "email_address", "address":
		guesses = append(guesses, "email")
	}
	for _, guess := range guesses {
		if _, ok := known[guess]; ok {
			return fmt.Sprintf("did you mean %q?", guess)
		}
	}
	if !strings.HasPrefix(plain, "contact.") && !strings.HasPrefix(plain, "account.") {
		plain = "contact." + plain
	}
	return fmt.Sprintf("declare it: [[attribute]] name = %q, and a type", plain)
}

// row is one row, checked. What it says depends on its bytes, the schema and
// the time the import began, never on the store: a row that is good stays good.
type row struct {
	address                    rfc5321.Address
	key                        string
	user, account, domain      string
	zone                       string
	consent                    time.Time
	first, last, engaged       uint32
	since                      uint32
	hasSince                   bool
	contactValues, accountVals []attribute
}

type attribute struct {
	slot  int
	value rule.Value
}

// fields turns cells into rows.
type fields struct {
	cols  []column
	zones map[string]bool // known to be good or bad; bounded by maxZones
}

const (
	maxZones = 2000
	maxName  = 256 // bytes of a user id or an account's name
	maxSince = 1_000_000_000
)

func newFields(cols []column) *fields { return &fields{cols: cols, zones: map[string]bool{}} }

// parse checks the current row of a reader.
func (f *fields) parse(in rowReader, at time.Time) (row, *fault) {
	var r row
	blame := -1 // a column with a value for the account
	for i := range f.cols {
		c := &f.cols[i]
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
	switch {
	case r.key == "":
		return r, &fault{"email", "the address is missing"}
	case r.last != 0 && r.first > r.last:
		return r, &fault{"last_sent_at", "it is before first_sent_at"}
	case blame >= 0 && r.account == "" && r.domain == "":
		return r, &fault{f.cols[blame].name, "the row names no account (fill account or account_domain)"}
	}
	return r, nil
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
	}
	return err
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
