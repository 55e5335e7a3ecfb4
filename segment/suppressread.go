// SPDX-License-Identifier: Apache-2.0

package segment

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
)

// listReader reads the rows of a suppression list, CSV or JSON lines.
type listReader struct {
	format string
	csv    *csvRows
	json   *jsonRows
	names  []string // of the columns of CSV
	first  bool     // the first row was read to look at it, and is still to be given
	row    listRow
}

// oneALine is what JSON has to look like.
const oneALine = "write one object a line; jq -c '.[]' makes that of a list"

// openList finds out what a list is.
func openList(in io.Reader, name, format string) (*listReader, error) {
	if format != "" && !slices.Contains(ListFormats(), format) {
		return nil, fmt.Errorf("%w: format %q (use one of %s)", ErrFormat, format, strings.Join(ListFormats(), ", "))
	}
	file, head, err := unpack(in)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrFormat, err)
	}
	if bytes.HasPrefix(bytes.TrimSpace(head), []byte("[")) {
		return nil, fmt.Errorf("%w: it is one list in JSON (%s)", ErrFormat, oneALine)
	}
	l := &listReader{format: format, row: listRow{}}
	if detect(name, head) == FormatJSONL {
		err = l.openJSON(&lines{in: file})
	} else {
		err = l.openCSV(&lines{in: file}, head)
	}
	if errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("%w: the file is empty", ErrFormat)
	}
	if err != nil {
		return nil, err
	}
	if l.format == "" {
		l.format = formatOf(l.row)
	}
	if l.format == "" || l.format != ListPlain && formatOf(l.row) == "" {
		return nil, fmt.Errorf("%w: no column holds an address (it is email, address or EmailAddress)", ErrColumns)
	}
	return l, nil
}

func (l *listReader) openJSON(in *lines) error {
	if l.format == ListPlain {
		return fmt.Errorf("%w: a list without a header is no JSON", ErrFormat)
	}
	l.json, l.first = &jsonRows{lines: in}, true
	err := l.object()
	if bad, ok := errors.AsType[*fault](err); ok {
		return fmt.Errorf("%w: row %d: %s (%s)", ErrFormat, in.count, bad.reason, oneALine)
	}
	return err
}

func (l *listReader) openCSV(in *lines, head []byte) error {
	comma, err := delimiter("", head)
	if err != nil {
		return err
	}
	l.csv = &csvRows{lines: in, comma: comma}
	if err := l.csv.record(); err != nil {
		if bad, ok := errors.AsType[*fault](err); ok {
			return fmt.Errorf("%w: reading the header: %s", ErrColumns, bad.reason)
		}
		return err
	}
	plain := slices.ContainsFunc(l.csv.fields, func(s string) bool { return strings.Contains(s, "@") })
	if l.format == ListPlain || l.format == "" && plain {
		l.format, l.first = ListPlain, true
		return nil
	}
	if plain {
		return fmt.Errorf("%w: the first line is no header; use format %s", ErrColumns, ListPlain)
	}
	for _, name := range l.csv.fields {
		l.names = append(l.names, columnName(name))
		l.row[columnName(name)] = ""
	}
	return nil
}

// next reads the next row: io.EOF after the last, a *fault where only this one cannot be read.
func (l *listReader) next() error {
	if l.first {
		l.first = false
	} else if err := l.read(); err != nil {
		return err
	}
	if l.format != ListPlain {
		return nil
	}
	return l.plain()
}

func (l *listReader) read() error {
	if l.json != nil {
		return l.object()
	}
	if err := l.csv.record(); err != nil || l.format == ListPlain {
		return err
	}
	if len(l.csv.fields) != len(l.names) {
		return &fault{reason: fmt.Sprintf("the row has %d fields, the header has %d", len(l.csv.fields), len(l.names))}
	}
	for i, name := range l.names {
		l.row[name] = l.csv.cell(i)
	}
	return nil
}

// object reads the next line of JSON.
func (l *listReader) object() error {
	if err := l.json.object(); err != nil {
		return err
	}
	clear(l.row)
	for name, raw := range l.json.cells {
		text := string(raw)
		switch {
		case text == "null":
			text = ""
		case strings.HasPrefix(text, `"`):
			var err error
			if err = json.Unmarshal(raw, &text); err != nil {
				return &fault{name, "it is not a text"}
			}
		}
		l.row[columnName(name)] = text
	}
	return nil
}

// plain reads a row without a header: the address, when the suppression ends or why it
// is there, and its scope.
func (l *listReader) plain() error {
	clear(l.row)
	f := l.csv.fields
	if len(f) > 3 {
		return &fault{reason: fmt.Sprintf("the row has %d fields; without a header there are three at most", len(f))}
	}
	l.row["email"] = l.csv.cell(0)
	if len(f) > 1 {
		column := "reason"
		if _, err := listTime(strings.TrimSpace(f[1])); err == nil {
			column = "expires"
		}
		l.row[column] = l.csv.cell(1)
	}
	if len(f) > 2 {
		l.row["scope"] = l.csv.cell(2)
	}
	return nil
}

func (l *listReader) number() uint64 {
	if l.json != nil {
		return l.json.number()
	}
	return l.csv.number()
}
