// SPDX-License-Identifier: Apache-2.0

package segment

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/seguemta/segue/mta/rfc5321"
	"github.com/seguemta/segue/segment/rule"
)

// Kinds of rows that are imported and exported.
const (
	KindContacts = "contacts"
	KindAccounts = "accounts"
	KindEvents   = "events"
	KindLists    = "lists"
)

// Kinds are all kinds of rows.
func Kinds() []string { return []string{KindContacts, KindAccounts, KindEvents, KindLists} }

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
	fieldConsentBy
	fieldCreated
	fieldLanguage
	fieldSource
	fieldTags
	fieldLists
	fieldRole
	fieldGroup
	fieldParent
	fieldList
	fieldAnonymous
	fieldEvent
	fieldTime
	fieldMessage
	fieldProperties // an object
	fieldProperty   // one of them: the column prop.x
)

// propertyPrefix begins the columns of CSV that hold one property of an event.
const propertyPrefix = "prop."

// column is one column of a file.
type column struct {
	name    string
	field   field
	kind    rule.Type
	slot    int  // of an attribute
	account bool // the attribute is the account's
}

// builtin is what rows of a kind may have beside declared attributes.
func builtin(kind string) []column {
	switch kind {
	case KindAccounts:
		return []column{
			{name: "name", field: fieldAccount, kind: rule.Text},
			{name: "domain", field: fieldAccountDomain, kind: rule.Text},
			{name: "group_id", field: fieldGroup, kind: rule.Text},
			{name: "parent", field: fieldParent, kind: rule.Text},
		}
	case KindLists:
		return []column{
			{name: "list", field: fieldList, kind: rule.Text},
			{name: "email", field: fieldEmail, kind: rule.Text},
		}
	case KindEvents:
		return []column{
			{name: "email", field: fieldEmail, kind: rule.Text},
			{name: "user_id", field: fieldUser, kind: rule.Text},
			{name: "anonymous_id", field: fieldAnonymous, kind: rule.Text},
			{name: "event", field: fieldEvent, kind: rule.Text},
			{name: "time", field: fieldTime, kind: rule.Time},
			{name: "message_id", field: fieldMessage, kind: rule.Text},
			{name: "group_id", field: fieldGroup, kind: rule.Text},
			{name: "properties", field: fieldProperties, kind: rule.Missing},
		}
	default:
		return []column{
			{name: "email", field: fieldEmail, kind: rule.Text},
			{name: "user_id", field: fieldUser, kind: rule.Text},
			{name: "account", field: fieldAccount, kind: rule.Text},
			{name: "account_domain", field: fieldAccountDomain, kind: rule.Text},
			{name: "group_id", field: fieldGroup, kind: rule.Text},
			{name: "role", field: fieldRole, kind: rule.Text},
			{name: "first_sent_at", field: fieldFirstSent, kind: rule.Time},
			{name: "last_sent_at", field: fieldLastSent, kind: rule.Time},
			{name: "last_engaged_at", field: fieldLastEngaged, kind: rule.Time},
			{name: "sends_since_engagement", field: fieldSince, kind: rule.Number},
			{name: "time_zone", field: fieldZone, kind: rule.Text},
			{name: "language", field: fieldLanguage, kind: rule.Text},
			{name: "source", field: fieldSource, kind: rule.Text},
			{name: "created_at", field: fieldCreated, kind: rule.Time},
			{name: "consent_at", field: fieldConsent, kind: rule.Time},
			{name: "consent_source", field: fieldConsentBy, kind: rule.Text},
			{name: "tags", field: fieldTags, kind: rule.List},
			{name: "lists", field: fieldLists, kind: rule.List},
		}
	}
}

// allColumns is every column that rows of a kind may have.
func allColumns(schema *rule.Schema, kind string) []column {
	list := builtin(kind)
	if kind == KindEvents || kind == KindLists {
		return list
	}
	for _, a := range schema.Attributes() {
		slot, typ, _ := schema.Slot(a.Name)
		account := strings.HasPrefix(a.Name, accountPrefix)
		if account || kind == KindContacts {
			list = append(list, column{name: a.Name, kind: typ, slot: slot, account: account})
		}
	}
	return list
}

// Prefixes of the names of attributes.
const (
	contactPrefix = "contact."
	accountPrefix = "account."
)

// identifies are the columns of which rows of a kind must have at least one.
func identifies(kind string) []string {
	switch kind {
	case KindAccounts:
		return []string{"name", "domain", "group_id"}
	case KindEvents:
		return []string{"email", "user_id", "anonymous_id"}
	default:
		return []string{"email"}
	}
}

// recognise tells the kind of a file by its columns: only events have an event,
// only memberships a list, and contacts have an address, which accounts do not.
func recognise(names []string, list string) string {
	has := func(name string) bool { return slices.Contains(names, name) }
	switch {
	case has("event"):
		return KindEvents
	case list != "", has("list"):
		return KindLists
	case has("email"):
		return KindContacts
	case slices.ContainsFunc(identifies(KindAccounts), has):
		return KindAccounts
	default:
		return KindContacts
	}
}

// isAddress reports whether a name is rather an address: of a file that begins with
// its first row.
func isAddress(name string) bool {
	_, err := rfc5321.ParseAddress(strings.TrimSpace(name))
	return err == nil
}

// columns turns names into columns, or reports every one that cannot be. It
// settles the kind where none was asked for.
func (o *ImportOptions) columns(schema *rule.Schema, names []string) ([]column, error) {
	if o.Kind == "" {
		o.Kind = recognise(names, o.List)
	}
	known := map[string]column{}
	for _, c := range allColumns(schema, o.Kind) {
		known[c.name] = c
	}
	if at := slices.IndexFunc(names, isAddress); at >= 0 {
		return nil, fmt.Errorf("%w as %s: the first line has the address %q: write a line above it that names the columns, such as email",
			ErrColumns, o.Kind, names[at])
	}
	var errs []error
	seen := map[string]bool{}
	cols := make([]column, 0, len(names))
	for i, name := range names {
		c, ok := known[name]
		if !ok && o.Kind == KindEvents && o.Format == FormatCSV && len(name) > len(propertyPrefix) && strings.HasPrefix(name, propertyPrefix) {
			c, ok = column{name: name, field: fieldProperty}, true
		}
		switch {
		case !ok:
			errs = append(errs, fmt.Errorf("column %d %q is not declared (%s)", i+1, name, hint(known, o.Kind, name)))
		case seen[name]:
			errs = append(errs, fmt.Errorf("column %d %q stands there twice", i+1, name))
		}
		seen[name] = true
		cols = append(cols, c)
	}
	if err := o.complete(seen); err != nil {
		errs = append(errs, err)
	}
	if err := errors.Join(errs...); err != nil {
		return nil, fmt.Errorf("%w as %s: %w", ErrColumns, o.Kind, err)
	}
	return cols, nil
}

// complete reports what a kind needs and the file does not have.
func (o *ImportOptions) complete(seen map[string]bool) error {
	if o.List != "" && o.Kind != KindLists {
		return fmt.Errorf("a list is named, but the rows are %s", o.Kind)
	}
	needs := map[string][]string{KindEvents: {"event", "time"}}[o.Kind]
	if o.Kind == KindLists && o.List == "" {
		needs = []string{"list"}
	}
	for _, name := range needs {
		if !seen[name] {
			return fmt.Errorf("there is no column %q", name)
		}
	}
	if o.List != "" && seen["list"] {
		return fmt.Errorf("a list is named, but the rows have a column %q of their own", "list")
	}
	ids := identifies(o.Kind)
	if !slices.ContainsFunc(ids, func(name string) bool { return seen[name] }) {
		return fmt.Errorf("there is no column %s", quoted(ids))
	}
	return nil
}

// quoted names columns of which one is enough.
func quoted(names []string) string {
	list := make([]string, len(names))
	for i, name := range names {
		list[i] = fmt.Sprintf("%q", name)
	}
	return strings.Join(list, " or ")
}

// hint says what to do about a column nobody declared.
func hint(known map[string]column, kind, name string) string {
	plain := strings.ReplaceAll(strings.ReplaceAll(strings.ToLower(name), " ", "_"), "-", "_")
	guesses := []string{plain, contactPrefix + plain, accountPrefix + plain}
	switch plain {
	case "mail", "e_mail", "email_address", "address":
		guesses = append(guesses, "email")
	}
	for _, guess := range guesses {
		if _, ok := known[guess]; ok {
			return fmt.Sprintf("did you mean %q?", guess)
		}
	}
	prefix := contactPrefix
	if kind == KindAccounts {
		prefix = accountPrefix
	}
	switch {
	case kind == KindLists:
		return "memberships have list and email"
	case kind == KindEvents:
		return fmt.Sprintf("a property is %q", propertyPrefix+name)
	case !strings.HasPrefix(plain, contactPrefix) && !strings.HasPrefix(plain, accountPrefix):
		plain = prefix + plain
	}
	if _, err := rule.NewSchema([]rule.Attribute{{Name: plain, Type: rule.Text}}); err != nil {
		return "no attribute can have this name: give it another, or leave the column out"
	}
	return fmt.Sprintf("declare it: [[attribute]] name = %q, and a type", plain)
}
