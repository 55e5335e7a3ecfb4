// SPDX-License-Identifier: Apache-2.0

package segment

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/seguemta/segue/segment/rule"
)

// jsonRows reads one JSON object a line; its keys are the columns.
type jsonRows struct {
	*lines
	cols  []column
	names map[string]int
	cells map[string]json.RawMessage
	first bool // the first object was read to look at its keys, and is still to be given
}

func newJSONL(schema *rule.Schema, o *ImportOptions, l *lines) (*jsonRows, error) {
	j := &jsonRows{lines: l, names: map[string]int{}}
	err := j.object()
	var bad *fault
	switch {
	case errors.Is(err, io.EOF):
		return nil, fmt.Errorf("%w: %w", ErrFormat, errNoRow)
	case errors.As(err, &bad):
		return nil, fmt.Errorf("%w: row 1: %s", ErrFormat, bad.reason)
	case err != nil:
		return nil, err
	}
	names := make([]string, 0, len(j.cells))
	for name := range j.cells {
		names = append(names, name)
	}
	slices.Sort(names)
	if _, err := o.columns(schema, names); err != nil {
		return nil, err
	}
	j.cols = allColumns(schema, o.Kind)
	for i := range j.cols {
		j.names[j.cols[i].name] = i
	}
	j.first = true
	return j, nil
}

func (j *jsonRows) columns() []column { return j.cols }
func (j *jsonRows) number() uint64    { return j.count }

func (j *jsonRows) next() error {
	if j.first {
		j.first = false
		return nil
	}
	if err := j.object(); err != nil {
		return err
	}
	for name := range j.cells {
		if _, ok := j.names[name]; !ok {
			return &fault{column: name, reason: "the column is not declared"}
		}
	}
	return nil
}

// object reads the next line that is not blank.
func (j *jsonRows) object() error {
	var line []byte
	for len(line) == 0 {
		var err error
		if line, err = j.lines.next(); err != nil {
			return err
		}
		line = bytes.TrimSpace(line)
	}
	clear(j.cells)
	if err := json.Unmarshal(line, &j.cells); err != nil || j.cells == nil {
		return &fault{reason: "the line is not a JSON object"}
	}
	return nil
}

func (j *jsonRows) bytes(i int) []byte {
	if cell := j.cells[j.cols[i].name]; string(cell) != "null" {
		return cell
	}
	return nil
}

func (j *jsonRows) value(i int) (rule.Value, error) {
	c := &j.cols[i]
	raw, ok := j.cells[c.name]
	if !ok {
		return rule.Value{}, nil
	}
	if c.field != fieldAttribute && c.kind == rule.Text && len(raw) > 0 && raw[0] >= '0' && raw[0] <= '9' {
		return rule.ParseValue(rule.Text, string(raw)) // "user_id": 42
	}
	return rule.ParseJSON(c.kind, raw)
}
