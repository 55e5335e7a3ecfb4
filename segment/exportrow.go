// SPDX-License-Identifier: Apache-2.0

package segment

import (
	"bufio"
	"encoding/csv"
	"encoding/json"
	"io"

	"github.com/seguemta/segue/segment/rule"
)

// rowWriter writes rows of one format. Cells come in the order of the columns.
type rowWriter interface {
	cell(i int, v rule.Value)
	object(i int, text []byte) // a JSON object
	end() error                // of the row
	flush() error
}

func newRowWriter(w io.Writer, o *ExportOptions, columns []column) rowWriter {
	if o.Format == FormatJSONL {
		return newJSONWriter(w, columns)
	}
	return newCSVWriter(w, columns, o.Raw)
}

// csvWriter writes RFC 4180 with a header, lines ending in LF.
type csvWriter struct {
	w      *csv.Writer
	header []string // nil = written
	cells  []string
	raw    bool
}

func newCSVWriter(w io.Writer, columns []column, raw bool) *csvWriter {
	c := &csvWriter{w: csv.NewWriter(w), cells: make([]string, len(columns)), raw: raw}
	for i := range columns {
		c.header = append(c.header, columns[i].name)
	}
	return c
}

func (c *csvWriter) cell(i int, v rule.Value) {
	c.cells[i] = v.String()
	if c.cells[i] == "" && (v.Type() == rule.List || v.Type() == rule.Topics) {
		c.cells[i] = "|" // nothing in it, which is not the same as nothing known
	}
	if !c.raw {
		c.cells[i] = protect(c.cells[i])
	}
}

func (c *csvWriter) object(i int, text []byte) { c.cells[i] = string(text) }

func (c *csvWriter) end() error {
	if err := c.begin(); err != nil {
		return err
	}
	return c.w.Write(c.cells)
}

func (c *csvWriter) begin() error {
	header := c.header
	c.header = nil
	if header == nil {
		return nil
	}
	return c.w.Write(header)
}

func (c *csvWriter) flush() error {
	if err := c.begin(); err != nil {
		return err
	}
	c.w.Flush()
	return c.w.Error()
}

// jsonWriter writes one object a line, without what is missing.
type jsonWriter struct {
	w     *bufio.Writer
	names [][]byte
	line  []byte
	err   error
}

func newJSONWriter(w io.Writer, columns []column) *jsonWriter {
	j := &jsonWriter{w: bufio.NewWriter(w)}
	for i := range columns {
		j.names = append(j.names, j.text(columns[i].name))
	}
	return j
}

func (j *jsonWriter) text(v any) []byte {
	text, err := json.Marshal(v)
	if err != nil {
		j.err = err
	}
	return text
}

func (j *jsonWriter) cell(i int, v rule.Value) {
	if v.Type() != rule.Missing && (v.Type() != rule.Text || v.Text() != "") {
		j.line = append(append(append(append(j.line, ','), j.names[i]...), ':'), j.text(v)...)
	}
}

func (j *jsonWriter) object(i int, text []byte) {
	if len(text) > 0 {
		j.line = append(append(append(append(j.line, ','), j.names[i]...), ':'), text...)
	}
}

func (j *jsonWriter) end() error {
	if len(j.line) == 0 {
		j.line = append(j.line, ',')
	}
	j.line[0] = '{'
	j.line = append(j.line, '}', '\n')
	if j.err == nil {
		_, j.err = j.w.Write(j.line)
	}
	j.line = j.line[:0]
	return j.err
}

func (j *jsonWriter) flush() error { return j.w.Flush() }
