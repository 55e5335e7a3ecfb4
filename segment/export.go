// SPDX-License-Identifier: Apache-2.0

package segment

import (
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/seguemta/segue/segment/rule"
	"github.com/seguemta/segue/segment/store"
)

// ErrNoSegment is wrapped by errors about a segment that is not defined.
var ErrNoSegment = errors.New("no segment has the name")

// ExportOptions say what to export.
type ExportOptions struct {
	Writer  io.Writer
	Kind    string // contacts | accounts | events | lists; "" = contacts
	Segment string // contacts of this segment, their events, their memberships; "" = all
	Format  string // csv | jsonl; "" = csv
	Gzip    bool
	Raw     bool // cells of CSV are not protected from spreadsheets
}

// Export writes contacts, accounts, events or memberships of lists as they are at
// the moment of the call, in memory that does not grow with them, and returns
// how many rows there were. Columns are those of [DB.Import], which makes the same
// of the file again. After an error the file is not whole.
//
// A contact of several accounts has a row for each of them, the primary one
// first. What a contact is told by mail (tier, segments, deliveries, suppressions)
// is no property of it and not among the columns, and neither are attributes
// that are no longer declared. Parents of accounts come before their children.
//
// A spreadsheet runs a cell that begins with = + - @, a tab or a line end. In
// CSV such a cell gets an apostrophe in front, which Import takes away again;
// Raw leaves it out.
func (d *DB) Export(ctx context.Context, o ExportOptions) (int64, error) {
	if err := d.checkExport(&o); err != nil {
		return 0, err
	}
	w := o.Writer
	var packer *gzip.Writer
	if o.Gzip {
		packer = gzip.NewWriter(w)
		w = packer
	}
	e := &exporter{
		d: d, o: &o, ctx: ctx, columns: allColumns(d.schema, o.Kind), values: d.schema.NewValues(),
		accounts: map[uint64]*store.Account{}, of: map[uint64][]rule.Value{},
	}
	e.out = newRowWriter(w, &o, e.columns)
	err := d.store.Snapshot(e.run)
	if err == nil {
		err = e.out.flush()
	}
	if packer != nil && err == nil {
		err = packer.Close()
	}
	if err != nil {
		return e.rows, fmt.Errorf("exporting %s: %w", o.Kind, err)
	}
	d.log.Info("exported", slog.String("kind", o.Kind), slog.Int64("rows", e.rows))
	return e.rows, nil
}

// checkExport refuses what cannot be exported before the first byte, and fills in
// what was not asked for.
func (d *DB) checkExport(o *ExportOptions) error {
	o.Kind, o.Format = orElse(o.Kind, KindContacts), orElse(o.Format, FormatCSV)
	switch {
	case !slices.Contains(Kinds(), o.Kind):
		return fmt.Errorf("%w: kind %q (use one of %s)", ErrFormat, o.Kind, strings.Join(Kinds(), ", "))
	case o.Format != FormatCSV && o.Format != FormatJSONL:
		return fmt.Errorf("%w: format %q (use csv or jsonl)", ErrFormat, o.Format)
	case o.Segment != "" && o.Kind == KindAccounts:
		return fmt.Errorf("%w: a segment has contacts, not accounts", ErrFormat)
	case o.Segment != "" && !d.HasSegment(o.Segment):
		return fmt.Errorf("%w %s", ErrNoSegment, o.Segment)
	}
	return nil
}

// exporter is one running export.
type exporter struct {
	d       *DB
	o       *ExportOptions
	ctx     context.Context //nolint:containedctx // of the one call that the exporter lives for
	view    *store.Store
	out     rowWriter
	columns []column
	values  *ruleValues
	rows    int64

	accounts map[uint64]*store.Account // bounded cache
	of       map[uint64][]rule.Value   // their attributes by slot
	members  []Member                  // the next ones of the segment
	last     uint64                    // the last member that was asked for
}

// run writes every row.
func (e *exporter) run(view *store.Store) error {
	e.view = view
	if e.o.Kind == KindAccounts {
		return e.everyAccount()
	}
	err := view.Contacts(0, func(id uint64, c store.Contact) error {
		if err := e.ctx.Err(); err != nil {
			return err
		}
		in, err := e.member(id)
		if err != nil || !in {
			return err
		}
		switch e.o.Kind {
		case KindLists:
			return e.memberships(&c)
		case KindEvents:
			return e.events(id, &c, "")
		default:
			return e.contact(id, &c)
		}
	})
	if err != nil || e.o.Kind != KindEvents || e.o.Segment != "" {
		return err
	}
	return e.everyVisitor()
}

// memberPage is how many members are read at a time.
const memberPage = 1000

// member reports whether a contact is in the segment that was asked for. Ids must
// come in order.
func (e *exporter) member(id uint64) (bool, error) {
	if e.o.Segment == "" {
		return true, nil
	}
	for {
		for len(e.members) > 0 && e.members[0].ID < id {
			e.members = e.members[1:]
		}
		if len(e.members) > 0 || e.last >= id {
			return len(e.members) > 0 && e.members[0].ID == id, nil
		}
		var err error
		if e.members, err = e.d.Members(e.ctx, e.o.Segment, id-1, memberPage); err != nil {
			return false, fmt.Errorf("reading the members of segment %s: %w", e.o.Segment, err)
		}
		e.last = ^uint64(0)
		if len(e.members) == memberPage {
			e.last = e.members[memberPage-1].ID
		}
	}
}

// write writes one row. cell gives the value of a column.
func (e *exporter) write(cell func(*column) rule.Value) error {
	e.rows++
	for i := range e.columns {
		e.out.cell(i, cell(&e.columns[i]))
	}
	return e.out.end()
}

// contact writes the rows of a contact: one for each of its accounts.
func (e *exporter) contact(id uint64, c *store.Contact) error {
	st, _, err := e.view.State(id)
	if err != nil {
		return fmt.Errorf("reading the state of contact %d: %w", id, err)
	}
	e.values.Clear()
	if err := e.d.schema.Decode(c.Attributes, e.values.Slots); err != nil {
		return fmt.Errorf("reading attributes of contact %d: %w", id, err)
	}
	edges := c.Edges
	if len(edges) == 0 {
		edges = []store.Edge{{}}
	}
	for i := range edges {
		a, attributes, err := e.account(edges[i].Account)
		if err != nil {
			return err
		}
		err = e.write(func(col *column) rule.Value {
			switch {
			case col.account:
				return attributes[col.slot]
			case col.field == fieldAttribute:
				return e.values.Slots[col.slot]
			case col.field == fieldRole:
				return rule.TextValue(edges[i].Role)
			}
			if v := accountCell(col.field, a); v.Type() != rule.Missing {
				return v
			}
			return contactCell(col.field, c, &st)
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// memberships writes the lists that a contact is on.
func (e *exporter) memberships(c *store.Contact) error {
	for _, name := range c.Lists {
		err := e.write(func(col *column) rule.Value {
			if col.field == fieldList {
				return rule.TextValue(name)
			}
			return rule.TextValue(c.Address)
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// contactCell is a built-in column of a contact.
func contactCell(f field, c *store.Contact, st *store.State) rule.Value {
	switch f {
	case fieldEmail:
		return rule.TextValue(c.Address)
	case fieldUser:
		return rule.TextValue(c.UserID)
	case fieldFirstSent:
		return second(st.FirstSent)
	case fieldLastSent:
		return second(st.LastSent)
	case fieldLastEngaged:
		return second(st.LastEngaged)
	case fieldSince:
		return rule.NumberValue(float64(st.Since))
	case fieldZone:
		return rule.TextValue(c.Zone)
	case fieldConsent:
		return rule.TimeValue(c.Consent)
	case fieldConsentBy:
		return rule.TextValue(c.ConsentBy)
	case fieldCreated:
		return rule.TimeValue(c.Created)
	case fieldLanguage:
		return rule.TextValue(c.Language)
	case fieldSource:
		return rule.TextValue(c.Source)
	case fieldTags:
		return listCell(c.Tags)
	case fieldLists:
		return listCell(c.Lists)
	default:
		return rule.Value{}
	}
}

// listCell is a set of names, missing where there are none.
func listCell(names []string) rule.Value {
	if len(names) == 0 {
		return rule.Value{}
	}
	return rule.ListValue(names...)
}

// second is an instant of a state.
func second(at uint32) rule.Value {
	if at == 0 {
		return rule.Value{}
	}
	return rule.TimeValue(time.Unix(int64(at), 0))
}

// account returns an account and its attributes by slot; an empty one for 0.
func (e *exporter) account(id uint64) (*store.Account, []rule.Value, error) {
	if a, ok := e.accounts[id]; ok {
		return a, e.of[id], nil
	}
	var a store.Account
	v := e.d.schema.NewValues()
	if id != 0 {
		var ok bool
		var err error
		if a, ok, err = e.view.Account(id); err != nil || !ok {
			return nil, nil, fmt.Errorf("reading account %d: %w", id, orCorrupt(err))
		}
		if err := e.d.schema.Decode(a.Attributes, v.Slots); err != nil {
			return nil, nil, fmt.Errorf("reading attributes of account %d: %w", id, err)
		}
	}
	if len(e.accounts) >= walkAccounts {
		clear(e.accounts)
		clear(e.of)
	}
	e.accounts[id], e.of[id] = &a, v.Slots
	return &a, v.Slots, nil
}

// everyAccount writes accounts, those above before those below: a walk for each
// level, so that nothing must be remembered. Deleted ones are left out.
func (e *exporter) everyAccount() error {
	for level := 0; ; level++ {
		deeper := false
		err := e.view.Accounts(func(id uint64, a store.Account) error {
			if err := e.ctx.Err(); err != nil {
				return err
			}
			at, err := e.level(&a)
			if err != nil {
				return err
			}
			deeper = deeper || at > level
			if at != level || !a.Deleted.IsZero() {
				return nil
			}
			return e.oneAccount(id)
		})
		if err != nil || !deeper {
			return err
		}
	}
}

// level is how many accounts there are above one.
func (e *exporter) level(a *store.Account) (int, error) {
	n := 0
	for at := a.Parent; at != 0 && n <= 2*maxParent; n++ {
		above, _, err := e.account(at)
		if err != nil {
			return 0, err
		}
		at = above.Parent
	}
	return n, nil
}

func (e *exporter) oneAccount(id uint64) error {
	a, attributes, err := e.account(id)
	if err != nil {
		return err
	}
	parent, _, err := e.account(a.Parent)
	if err != nil {
		return err
	}
	return e.write(func(col *column) rule.Value {
		switch {
		case col.field == fieldAttribute:
			return attributes[col.slot]
		case col.field == fieldParent && parent.Deleted.IsZero():
			return rule.TextValue(orElse(parent.Group, orElse(parent.Name, parent.Domain)))
		}
		return accountCell(col.field, a)
	})
}

// accountCell is a built-in column of an account.
func accountCell(f field, a *store.Account) rule.Value {
	switch f {
	case fieldAccount:
		return rule.TextValue(a.Name)
	case fieldAccountDomain:
		return rule.TextValue(a.Domain)
	case fieldGroup:
		return rule.TextValue(a.Group)
	default:
		return rule.Value{}
	}
}
