// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/term"

	"github.com/seguemta/segue/mta/api"
)

// importFile is a file to import, and what came of it.
type importFile struct {
	File   string `arg:"" help:"CSV or JSON lines, gzip or not."`
	DryRun bool   `help:"Check every row and say what would be done; change nothing."`
}

type contactImport struct {
	importFile
	Kind      string `help:"contacts, accounts, events or lists; by default the columns tell." placeholder:"KIND"`
	List      string `help:"Put every address of the file on this list." placeholder:"NAME"`
	Format    string `help:"csv or jsonl; by default the name tells." placeholder:"FORMAT"`
	Delimiter string `help:"Between the fields of CSV: a comma, a semicolon, | or tab; by default the first line tells." placeholder:"CHARACTER"`
	Raw       bool   `help:"Keep the apostrophes before cells that a spreadsheet would run."`
	Batch     string `help:"Import batch that the contacts carry; by default the file's name." placeholder:"NAME"`
}

// Run sends a file to the engine.
func (c *contactImport) Run(a *app) error {
	return show(a, func(ctx context.Context, m api.Methods) (api.Imported, error) {
		return c.send(a, func(rows io.Reader) (api.Imported, error) {
			return m.ImportContacts(ctx, api.Import{
				Name: filepath.Base(c.File), Kind: c.Kind, Format: c.Format, Delimiter: c.Delimiter, Raw: c.Raw,
				List: c.List, Batch: c.Batch, DryRun: c.DryRun,
			}, rows)
		})
	}, func(r api.Imported) error { return c.done(a, &r) })
}

// done says what an import did.
func (c *importFile) done(a *app, r *api.Imported) error {
	did := "imported"
	if c.DryRun {
		did = "checked, nothing was changed:"
	}
	resumed := ""
	if r.Resumed > 0 {
		resumed = fmt.Sprintf(" (%d of them by an earlier run)", r.Resumed)
	}
	kind := ""
	if r.Kind != "" && r.Kind != "contacts" {
		kind = " of " + r.Kind
	}
	err := a.say("%s %s: %d rows%s%s, %d created, %d updated, %d unchanged, %d rejected",
		did, c.File, r.Rows, kind, resumed, r.Created, r.Updated, r.Unchanged, r.Rejected)
	switch {
	case err != nil || r.Rejected == 0:
		return err
	case c.DryRun:
		return c.errors(a, r)
	default:
		return c.rejected(a, r)
	}
}

// errors prints the bad rows of a dry run, as compilers print theirs.
func (c *importFile) errors(a *app, r *api.Imported) error {
	for _, e := range r.Errors {
		column := ""
		if e.Column != "" {
			column = e.Column + ": "
		}
		if err := a.say("%s:%d: %s%s", c.File, e.Row, column, e.Reason); err != nil {
			return err
		}
	}
	if more := r.Rejected - int64(len(r.Errors)); more > 0 {
		return a.say("and %d more", more)
	}
	return nil
}

// send streams the file and keeps what the engine rejected.
func (c *importFile) send(a *app, upload func(io.Reader) (api.Imported, error)) (api.Imported, error) {
	f, err := os.Open(c.File)
	if err != nil {
		return api.Imported{}, fmt.Errorf("reading the file: %w", err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return api.Imported{}, fmt.Errorf("reading the file: %w", err)
	}
	if info.IsDir() {
		return api.Imported{}, fmt.Errorf("%s is a directory: name a file", c.File)
	}
	p := &progress{r: f, size: info.Size(), now: a.now, name: c.File}
	if e, ok := a.errors.(*os.File); ok && term.IsTerminal(int(e.Fd())) {
		p.to = e
	}
	r, err := upload(p)
	p.end()
	if err != nil {
		if _, refused := errors.AsType[*api.Error](err); !refused && !c.DryRun && p.sent > 0 {
			return r, &interruptedError{err}
		}
		return r, err
	}
	if len(r.Rejects) > 0 && !c.DryRun {
		if err := os.WriteFile(c.rejects(), r.Rejects, 0o600); err != nil {
			return r, fmt.Errorf("the import is done, but not its list of rejected rows: %w", err)
		}
	}
	return r, nil
}

// interruptedError is what ended an import that had begun.
type interruptedError struct{ cause error }

// Error says what to do.
func (e *interruptedError) Error() string { return e.cause.Error() + again }

// Unwrap returns the cause.
func (e *interruptedError) Unwrap() error { return e.cause }

// again goes behind the reason why an import ended early.
const again = "; run the import again: it goes on where it was"

func (c *importFile) rejects() string { return c.File + ".rejected.csv" }

// rejected says where the bad rows are.
func (c *importFile) rejected(a *app, r *api.Imported) error {
	if len(r.Rejects) == 0 {
		return nil
	}
	listed := int64(-1) // the header
	rows := csv.NewReader(bytes.NewReader(r.Rejects))
	rows.ReuseRecord, rows.FieldsPerRecord, rows.LazyQuotes = true, -1, true
	for {
		if _, err := rows.Read(); err != nil {
			break
		}
		listed++
	}
	if listed < r.Rejected {
		return a.say("the first %d rejected rows, with column and reason, are in %s", listed, c.rejects())
	}
	return a.say("the rejected rows, with column and reason, are in %s", c.rejects())
}

// progress counts what is sent and shows it on a terminal.
type progress struct {
	r     io.Reader
	to    io.Writer // nil = nowhere
	name  string
	size  int64
	now   func() time.Time
	sent  int64
	rows  int64
	gzip  bool
	shown time.Time
}

// Read implements [io.Reader].
func (p *progress) Read(b []byte) (int, error) {
	n, err := p.r.Read(b)
	if p.sent == 0 && bytes.HasPrefix(b[:n], []byte{0x1f, 0x8b}) {
		p.gzip = true
	}
	p.sent += int64(n)
	p.rows += int64(bytes.Count(b[:n], []byte{'\n'}))
	const often = 200 * time.Millisecond
	if p.to != nil && p.now().Sub(p.shown) >= often {
		p.shown = p.now()
		p.show()
	}
	return n, err
}

func (p *progress) show() {
	rows := ""
	if !p.gzip {
		rows = fmt.Sprintf(", %d rows", p.rows)
	}
	share := int64(100)
	if p.size > 0 {
		share = min(100, p.sent*100/p.size)
	}
	_, _ = fmt.Fprintf(p.to, "\r%s: %d %%%s\x1b[K", clean(p.name), share, rows) // progress is a courtesy
}

// end clears the line.
func (p *progress) end() {
	if p.to != nil {
		_, _ = io.WriteString(p.to, "\r\x1b[K")
	}
}
