// SPDX-License-Identifier: Apache-2.0

package segment

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"time"

	"github.com/seguemta/segue/segment/store"
)

// Errors of an import.
var (
	ErrColumns = errors.New("the columns cannot be imported")                                                        // nothing was read beyond them
	ErrChanged = errors.New("the file has changed since its import was interrupted")                                 // run it again: it starts from the first row
	ErrFormat  = errors.New("the file cannot be read")                                                               // not a row, the file
	ErrDamaged = errors.New("the file is cut off or damaged")                                                        // what came before is imported
	errNoRow   = errors.New("no rows: the file is empty, it needs a header (CSV) or one JSON object a line (JSONL)") // an empty file
)

// Formats of an import.
const (
	FormatCSV   = "csv"
	FormatJSONL = "jsonl"
)

// importBatch and importBytes bound the rows of one commit: enough to share a
// sync, few enough that events and checks never wait long for the writer.
const (
	importBatch = 1000
	importBytes = 4 << 20
)

// ImportOptions say what to import.
type ImportOptions struct {
	Reader    io.Reader // the file, gzip or not
	Name      string    // of the file: with its first bytes, it recognises an interrupted import
	Kind      string    // contacts | accounts | events | lists; "" = by the columns
	Format    string    // csv | jsonl; "" = by the extension of Name, else by the first byte
	Delimiter string    // of CSV: one of , ; | or tab; "" = the one that the first line shows
	Raw       bool      // cells of CSV are taken as they are: see [DB.Import]
	List      string    // of lists: every row belongs to this one; "" = the column list says
	Batch     string    // kept on every contact the import makes; "" = Name
	DryRun    bool      // check every row and count what it would do, write nothing

	// Rejected makes the file of bad rows when the first is found; nil = they are
	// only counted. It is closed at the end. An import that goes on after an
	// interruption writes it again from the first row.
	Rejected func() (io.WriteCloser, error)
	// Progress is called after every commit, on the goroutine of Import; nil = not.
	Progress func(ImportResult)
}

// ImportResult is what an import did, over all its runs if it was interrupted.
type ImportResult struct {
	Kind     string `json:"kind"`
	Batch    string `json:"batch"`
	Rows     uint64 `json:"rows"`              // read, the header not counted
	Created  uint64 `json:"created"`           // contacts, accounts, events or memberships made
	Updated  uint64 `json:"updated"`           // contacts or accounts changed
	Same     uint64 `json:"same"`              // rows that said nothing new
	Rejected uint64 `json:"rejected"`          // bad rows
	Moved    uint64 `json:"moved"`             // user ids taken over from another contact
	Resumed  uint64 `json:"resumed,omitempty"` // rows that an earlier run had already imported
	DryRun   bool   `json:"dry_run,omitempty"`

	Errors []RowError `json:"errors,omitempty"` // of the first MaxErrors bad rows
}

// MaxErrors is how many bad rows a result names.
const MaxErrors = 100

// RowError says why a row was rejected.
type RowError struct {
	Row    uint64 `json:"row"`              // as an editor or a spreadsheet counts it
	Column string `json:"column,omitempty"` // "" = the whole row
	Reason string `json:"reason"`
}

// Import reads contacts, accounts, events or memberships of lists from a CSV file
// with a header or from JSON lines, in memory that does not grow with the file.
//
// The columns tell the kind where it is not given: events have event, lists have
// list (or [ImportOptions.List]), contacts have email, accounts have name, domain
// or group_id. A column that rows of the kind do not have is an error wrapping
// [ErrColumns] before the first row. A bad row is rejected with its column and
// the reason, and changes nothing. A blank cell changes nothing either.
//
// Contacts have email (required), user_id, account, account_domain, group_id, role,
// first_sent_at, last_sent_at, last_engaged_at, sends_since_engagement, time_zone,
// language, source, created_at, consent_at, consent_source, tags, lists and declared attributes by
// full name. The address names the contact. Dates of history only widen it: the
// earliest first_sent_at, the latest last_sent_at and last_engaged_at stand;
// sends_since_engagement counts where the row's dates are as new as what is known.
// A user id that another contact has moves to the row's contact. An account is one
// more that the contact belongs to, tags and lists are added to those it has.
// Suppressions are not touched, with one exception: consent_at after the day of an
// unsubscribe, with a consent_source, lifts it; see [CauseConsent].
//
// Accounts have name, domain, group_id, parent and attributes of accounts. Lists
// have list and email, and make a contact of an address nobody knew. Events have
// event, time, one of email, user_id and anonymous_id, and message_id, group_id,
// properties (a JSON object) or prop.x; they do what a track call does, see
// [DB.Ingest].
//
// A cell of CSV that begins with an apostrophe and goes on as a formula would (see
// [DB.Export]) loses the apostrophe, unless Raw is set.
//
// A dry run goes the same way and commits nothing. It counts exactly what an
// import would do to a file that names each thing once; it remembers a million
// new ones, and counts a row that names one of them again as changed.
//
// Effects and progress commit together. An import that was interrupted goes on
// where it stopped when it is run again with the same name, batch and content,
// and ends as if it had never stopped; one that was completed runs again from
// the first row, and finds nothing new. One import runs at a time; another gets
// [ErrBusy].
func (d *DB) Import(ctx context.Context, o ImportOptions) (ImportResult, error) {
	if !d.importing.TryLock() {
		return ImportResult{}, ErrBusy
	}
	defer d.importing.Unlock()
	if o.Batch == "" {
		o.Batch = o.Name
	}
	rows, id, err := openRows(d.schema, &o)
	if err != nil {
		return ImportResult{}, err
	}
	im := &importer{
		d: d, o: &o, rows: rows, id: id, fields: newFields(&o, rows.columns()),
		values: d.schema.NewValues(), rejects: rejects{open: o.Rejected},
		p: store.Progress{At: d.now().UTC().Truncate(time.Second)},
	}
	if !o.DryRun {
		have, ok, err := d.store.Import(id)
		if err != nil {
			return ImportResult{}, fmt.Errorf("reading the progress of the import: %w", err)
		}
		if ok && !have.Done {
			im.p, im.resume = have, have.Row
		}
	}
	err = im.run(ctx)
	if cerr := im.rejects.end(); err == nil {
		err = cerr
	}
	r := im.result()
	slices.SortFunc(r.Errors, func(a, b RowError) int { return cmp.Compare(a.Row, b.Row) })
	d.log.Info("import ended", slog.Uint64("rows", r.Rows), slog.Uint64("created", r.Created),
		slog.Uint64("updated", r.Updated), slog.Uint64("rejected", r.Rejected), slog.Bool("complete", err == nil))
	return r, err
}

// importer is one running import.
type importer struct {
	d      *DB
	o      *ImportOptions
	rows   rowReader
	id     [16]byte
	fields *fields
	p      store.Progress // of what is committed, plus what the open batch adds
	resume uint64         // last row an earlier run committed
	seen   uint64         // rows read in this run
	open   []row          // rows of the next commit
	bytes  int64          // bytes read when the last commit was made

	values  *ruleValues
	rejects rejects
	made    foreseen // by a dry run
}

func (im *importer) result() ImportResult {
	return ImportResult{
		Kind: im.o.Kind, Batch: im.o.Batch, Rows: im.seen, Created: im.p.Created, Updated: im.p.Updated, Same: im.p.Same,
		Rejected: im.p.Rejected, Moved: im.p.Moved, Resumed: min(im.resume, im.seen), DryRun: im.o.DryRun,
		Errors: im.rejects.errors,
	}
}

// run reads every row.
func (im *importer) run(ctx context.Context) error {
	for {
		err := im.rows.next()
		if errors.Is(err, io.EOF) {
			return im.finish(ctx)
		}
		var bad *fault
		if err != nil && !errors.As(err, &bad) {
			return err
		}
		im.seen++
		var r row
		if bad == nil {
			r, bad = im.fields.parse(im.rows, im.p.At)
		}
		if bad != nil {
			if err := im.rejects.add(im.rows.number(), bad); err != nil {
				return err
			}
		}
		if im.seen <= im.resume {
			if err := im.passed(); err != nil {
				return err
			}
			continue
		}
		if bad != nil {
			im.p.Rejected++
		} else {
			im.open = append(im.open, r)
		}
		if len(im.open) < importBatch && im.rows.read()-im.bytes < importBytes {
			continue
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := im.flush(false); err != nil {
			return err
		}
	}
}

// passed compares the file with what the earlier run had read, at the row where
// that run stopped.
func (im *importer) passed() error {
	im.bytes = im.rows.read()
	if im.seen < im.resume || uint64(im.rows.sum()) == im.p.Sum {
		return nil
	}
	return im.changed()
}

// changed forgets the progress, so that the next run starts from the first row.
func (im *importer) changed() error {
	b := im.d.store.Batch()
	b.DeleteImport(im.id)
	return errors.Join(fmt.Errorf("%w at or before row %d; run it again to import it from the first row", ErrChanged, im.resume+1), b.Commit())
}

func (im *importer) finish(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if im.seen < im.resume {
		return im.changed()
	}
	if im.seen == 0 {
		return fmt.Errorf("%w: %w", ErrFormat, errNoRow)
	}
	return im.flush(true)
}

// flush commits the open rows and how far they reach. A dry run goes the same
// way up to the commit.
func (im *importer) flush(done bool) error {
	im.bytes = im.rows.read()
	rows := im.open
	im.open = im.open[:0]
	d := im.d
	if err := im.detach(rows); err != nil {
		return err
	}
	d.write.Lock()
	defer d.write.Unlock()
	if d.write.closed {
		return errClosed
	}
	t := d.begin()
	defer t.close()
	t.dry = im.o.DryRun
	t.cause = causeImport
	if err := im.applyAll(t, rows); err != nil || t.dry {
		return err
	}
	im.p.Row, im.p.Sum, im.p.Done = im.seen, uint64(im.rows.sum()), done
	t.b.Import(im.id, im.p)
	if err := t.commit(); err != nil {
		return err
	}
	if im.o.Progress != nil {
		im.o.Progress(im.result())
	}
	return nil
}

// detach takes the contacts of accounts that are deleted away from them, which is
// too much for the one commit that the events share.
func (im *importer) detach(rows []row) error {
	if im.o.Kind != KindEvents || im.o.DryRun {
		return nil
	}
	for i := range rows {
		p := im.d.prepare(rows[i].call, im.p.At)
		if p.reason != nil || p.event.Name != EventAccountDeleted {
			continue
		}
		if err := im.d.detach(p); err != nil {
			return err
		}
	}
	return nil
}

// applyAll folds rows into the open write, and rejects those that the store
// refuses. An import that goes on after an interruption does not name those again
// which an earlier run rejected so; it counts them.
func (im *importer) applyAll(t *tx, rows []row) error {
	for i := range rows {
		did, err := im.apply(t, &rows[i])
		var bad *fault
		switch {
		case errors.As(err, &bad):
		case errors.Is(err, ErrRejected), errors.Is(err, ErrHierarchy):
			bad = &fault{reason: err.Error()}
		case err != nil:
			return err
		}
		if bad == nil {
			im.count(did)
			continue
		}
		im.p.Rejected++
		if err := im.rejects.add(rows[i].number, bad); err != nil {
			return err
		}
	}
	return nil
}
