// SPDX-License-Identifier: Apache-2.0

package segment

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/seguemta/segue/segment/rule"
)

// csvRows reads RFC 4180: fields separated by commas, quoted where they hold a
// comma, a quotation mark (doubled) or a line end; another delimiter may stand for
// the comma. encoding/csv reads the same language (a test holds that), but a
// missing quotation mark makes it read the whole rest of the file into memory.
type csvRows struct {
	*lines
	cols   []column
	comma  byte
	raw    bool   // cells are taken as they are, no apostrophe is removed
	first  bool   // the first record was read to look for a header, and is still to be given
	row    uint64 // number of the current record, the first line being 1
	text   []byte // the fields of the current record, one after another
	ends   []int
	fields []string
}

func newCSV(schema *rule.Schema, o *ImportOptions, l *lines, head []byte) (*csvRows, error) {
	comma, err := delimiter(o.Delimiter, head)
	if err != nil {
		return nil, err
	}
	c := &csvRows{lines: l, comma: comma, raw: o.Raw}
	err = c.record()
	if errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("%w: %w", ErrFormat, errNoRow)
	}
	if err != nil {
		return nil, fmt.Errorf("%w: reading the header: %w", ErrColumns, err)
	}
	names := make([]string, len(c.fields))
	for i, name := range c.fields {
		names[i] = strings.TrimSpace(name)
	}
	if o.List != "" && len(names) == 1 && strings.Contains(names[0], "@") {
		names[0], c.first = "email", true // addresses alone, one a line
	}
	c.cols, err = o.columns(schema, names)
	return c, err
}

// delimiters are what may stand between the fields of a row.
const delimiters = ",;\t|"

// delimiter is the one that was asked for, else the one that the first line shows.
// No name of a column holds one, so a line without a comma, but with semicolons,
// can be nothing else than a header of that kind.
func delimiter(asked string, head []byte) (byte, error) {
	switch {
	case asked == "tab":
		return '\t', nil
	case len(asked) == 1 && strings.Contains(delimiters, asked):
		return asked[0], nil
	case asked != "":
		return 0, fmt.Errorf("%w: delimiter %q (use a comma, a semicolon, | or tab)", ErrFormat, asked)
	}
	line, _, _ := bytes.Cut(bytes.TrimLeft(head, "\r\n"), []byte{'\n'})
	for i := range len(delimiters) {
		if bytes.IndexByte(line, delimiters[i]) >= 0 {
			return delimiters[i], nil
		}
	}
	return ',', nil
}

func (c *csvRows) columns() []column { return c.cols }
func (c *csvRows) number() uint64    { return c.row }

func (c *csvRows) value(i int) (rule.Value, error) {
	return rule.ParseValue(c.cols[i].kind, c.cell(i))
}

func (c *csvRows) bytes(i int) []byte { return []byte(c.cell(i)) }

// cell is a field without the apostrophe that an export put before it.
func (c *csvRows) cell(i int) string {
	if c.raw {
		return c.fields[i]
	}
	return unprotect(c.fields[i])
}

func (c *csvRows) next() error {
	if c.first {
		c.first = false
		return nil
	}
	if err := c.record(); err != nil {
		return err
	}
	if len(c.fields) != len(c.cols) {
		return &fault{reason: fmt.Sprintf("the row has %d fields, the header has %d", len(c.fields), len(c.cols))}
	}
	return nil
}

// record reads one record into fields. Blank lines are no records.
func (c *csvRows) record() error {
	c.text, c.ends, c.fields = c.text[:0], c.ends[:0], c.fields[:0]
	var line []byte
	for len(line) == 0 {
		var err error
		if line, err = c.lines.next(); err != nil {
			return err
		}
		c.row++
	}
	for more := true; more; {
		var err error
		if line, more, err = c.field(line); err != nil {
			return err
		}
		c.ends = append(c.ends, len(c.text))
	}
	all := string(c.text)
	start := 0
	for _, end := range c.ends {
		c.fields = append(c.fields, all[start:end])
		start = end
	}
	return nil
}

// field appends one field to text. It returns what follows the delimiter, and
// whether there was one.
func (c *csvRows) field(line []byte) (rest []byte, more bool, err error) {
	if len(line) == 0 || line[0] != '"' {
		field, rest, more := bytes.Cut(line, []byte{c.comma})
		if bytes.IndexByte(field, '"') >= 0 {
			return nil, false, &fault{reason: "a quotation mark stands inside a field that does not begin with one"}
		}
		c.text = append(c.text, field...)
		return rest, more, nil
	}
	line = line[1:]
	for {
		i := bytes.IndexByte(line, '"')
		if i < 0 {
			c.text = append(append(c.text, line...), '\n')
			if line, err = c.follow(); err != nil {
				return nil, false, err
			}
			continue
		}
		c.text = append(c.text, line[:i]...)
		line = line[i+1:]
		switch {
		case len(line) == 0:
			return nil, false, nil
		case line[0] == c.comma:
			return line[1:], true, nil
		case line[0] != '"':
			return nil, false, &fault{reason: "after a closing quotation mark must come a delimiter or the end of the row"}
		}
		c.text = append(c.text, '"')
		line = line[1:]
	}
}

// follow reads the next line of a quoted field.
func (c *csvRows) follow() ([]byte, error) {
	if len(c.text) > maxRow {
		return nil, fmt.Errorf("%w: row %d is longer than 1 MiB; a quotation mark seems to be missing", ErrFormat, c.row)
	}
	line, err := c.lines.next()
	if errors.Is(err, io.EOF) {
		return nil, &fault{reason: "a quotation mark is not closed before the end of the file"}
	}
	return line, err
}
