// SPDX-License-Identifier: Apache-2.0

package segment

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"time"

	"github.com/seguemta/segue/segment/store"
)

// KindSuppressions is the kind of the result of [DB.ImportSuppressions].
const KindSuppressions = "suppressions"

// SuppressionImport says what to import.
type SuppressionImport struct {
	Reader  io.Reader // the file, gzip or not
	Name    string    // of the file; kept as evidence
	Format  string    // one of ListFormats; "" = by the columns
	Reason  string    // of every row; "" = what the row says, else manual
	Scope   string    // of every row that names none; "" = by the reason
	Expires time.Time // of every row that names no end; zero = never
	DryRun  bool      // check every row and count what it would do, write nothing

	// Rejected makes the file of bad rows when the first is found; nil = they are
	// only counted. It is closed at the end.
	Rejected func() (io.WriteCloser, error)
}

// ImportSuppressions reads a suppression list as a provider exports it, in memory that
// does not grow with the file. It adds and never lifts: where a suppression of the same
// address and scope holds longer, or as long for a reason that weighs as much, the row
// changes nothing. So it may be run again, and an import that was interrupted is.
//
// Formats are told by their columns, however these are spelled. CSV has a header,
// but a file whose first line holds an address has none: its rows are address, then
// the end of the suppression or its reason, then its scope. JSON has one object a line.
//
// A reason that takes all mail (hard_bounce, invalid, manual, policy) has scope all;
// complaints, unsubscribes and soft bounces are about marketing, unless a row or Scope
// says otherwise. A bad row is rejected with its column and the reason.
func (d *DB) ImportSuppressions(ctx context.Context, o SuppressionImport) (ImportResult, error) {
	if !d.importing.TryLock() {
		return ImportResult{}, ErrBusy
	}
	defer d.importing.Unlock()
	im := &suppressionImport{d: d, o: &o, at: d.now().UTC().Truncate(time.Second), rejects: rejects{open: o.Rejected}}
	im.r = ImportResult{Kind: KindSuppressions, DryRun: o.DryRun}
	if err := im.begin(); err != nil {
		return im.r, err
	}
	err := im.run(ctx)
	if cerr := im.rejects.end(); err == nil {
		err = cerr
	}
	im.r.Errors = im.rejects.errors
	d.log.Info("import of suppressions ended", slog.String("format", im.rows.format), slog.Uint64("rows", im.r.Rows),
		slog.Uint64("created", im.r.Created), slog.Uint64("rejected", im.r.Rejected), slog.Bool("complete", err == nil))
	return im.r, err
}

// suppressionImport is one running import.
type suppressionImport struct {
	d       *DB
	o       *SuppressionImport
	rows    *listReader
	at      time.Time
	r       ImportResult
	open    []store.Suppression // of the next commit
	rejects rejects
	made    foreseen // by a dry run
}

// begin checks what every row is to have, and opens the file.
func (im *suppressionImport) begin() error {
	if im.o.Reason != "" {
		reason, ok := parseReason(im.o.Reason)
		if !ok {
			return fmt.Errorf("%w: reason %q (use one of %s)", ErrFormat, im.o.Reason, strings.Join(listReasons(), ", "))
		}
		im.o.Reason = reason
	}
	if im.o.Scope != "" {
		scope, err := parseScope(im.o.Scope)
		if err != nil {
			return err
		}
		im.o.Scope = scope
	}
	var err error
	im.rows, err = openList(im.o.Reader, im.o.Name, im.o.Format)
	return err
}

// run reads every row.
func (im *suppressionImport) run(ctx context.Context) error {
	for {
		err := im.rows.next()
		if errors.Is(err, io.EOF) {
			return im.flush()
		}
		var x store.Suppression
		if err == nil {
			x, err = im.suppression()
		}
		bad, isFault := errors.AsType[*fault](err)
		switch {
		case isFault:
			im.r.Rows++
			im.r.Rejected++
			if err := im.rejects.add(im.rows.number(), bad); err != nil {
				return err
			}
			continue
		case err != nil:
			return err
		}
		im.r.Rows++
		if im.open = append(im.open, x); len(im.open) < importBatch {
			continue
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := im.flush(); err != nil {
			return err
		}
	}
}

// suppression is what the current row asks for.
func (im *suppressionImport) suppression() (store.Suppression, error) {
	l, err := im.rows.row.read(im.rows.format)
	if err != nil {
		return store.Suppression{}, err
	}
	x := &l.x
	x.Reason = orElse(im.o.Reason, orElse(x.Reason, ReasonManual))
	if x.Scope == "" {
		x.Scope = orElse(im.o.Scope, defaultScope(x.Reason))
	}
	if x.Scope, err = parseScope(x.Scope); err != nil {
		return store.Suppression{}, &fault{"scope", err.Error()}
	}
	if x.Created.IsZero() || x.Created.After(im.at) {
		x.Created = im.at
	}
	if x.Expires.IsZero() {
		x.Expires = im.o.Expires
	}
	if !x.Expires.IsZero() && !x.Expires.After(im.at) {
		return store.Suppression{}, &fault{"expires", "it has ended"}
	}
	why := strings.TrimSpace(im.o.Name + " row " + fmt.Sprint(im.rows.number()) + ": " + x.Evidence)
	return store.Suppression{
		Hash: im.d.hashes.Address(l.address.Key()), Scope: x.Scope, Address: l.address.Key(), Reason: x.Reason,
		Source: SourceImport, Evidence: bounded(strings.TrimSuffix(why, ":")), Created: x.Created, Expires: x.Expires,
	}, nil
}

// defaultScope is what a suppression is about where nobody says it.
func defaultScope(reason string) string {
	switch reason {
	case ReasonComplaint, ReasonUnsubscribe, ReasonSoftBounce:
		return StreamScope(marketing)
	default:
		return ScopeAll
	}
}

// flush commits the open rows. A dry run goes the same way up to the commit.
func (im *suppressionImport) flush() error {
	rows := im.open
	im.open = im.open[:0]
	d := im.d
	d.write.Lock()
	defer d.write.Unlock()
	if d.write.closed {
		return errClosed
	}
	t := d.begin()
	defer t.close()
	for i := range rows {
		if err := im.add(t, &rows[i]); err != nil {
			return err
		}
	}
	if im.o.DryRun || len(t.suppress) == 0 {
		return nil
	}
	return t.commit()
}

// add adds one row to the open write.
func (im *suppressionImport) add(t *tx, x *store.Suppression) error {
	id, err := t.find(0, x.Address)
	if err != nil {
		return err
	}
	s, _ := splitScope(x.Scope)
	_, had := t.d.mem.standing(&x.Hash, s)
	_, twice := t.marks[markKey{x.Hash, x.Scope}]
	switch {
	case !t.addSuppression(*x, id, im.at):
		im.r.Same++
	case had || twice || im.o.DryRun && im.made.create(KindSuppressions, x.Address+" "+x.Scope) != effectMade:
		im.r.Updated++
	default:
		im.r.Created++
	}
	return nil
}
