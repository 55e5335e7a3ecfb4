// SPDX-License-Identifier: Apache-2.0

package segment

import (
	"encoding/csv"
	"errors"
	"fmt"
	"io"
)

// rejects are the bad rows of an import: the first of them for its result, all of
// them in a file that is made when there is one.
type rejects struct {
	open   func() (io.WriteCloser, error) // nil = no file
	w      *csv.Writer
	file   io.Closer
	errors []RowError
}

// add keeps one bad row.
func (x *rejects) add(row uint64, f *fault) error {
	if len(x.errors) < MaxErrors {
		x.errors = append(x.errors, RowError{Row: row, Column: f.column, Reason: f.reason})
	}
	if x.open == nil {
		return nil
	}
	if x.w == nil {
		w, err := x.open()
		if err != nil {
			return fmt.Errorf("making the file of rejected rows: %w", err)
		}
		x.w, x.file = csv.NewWriter(w), w
		if err := x.w.Write([]string{"row", "column", "reason"}); err != nil {
			return fmt.Errorf("writing rejected rows: %w", err)
		}
	}
	if err := x.w.Write([]string{fmt.Sprint(row), protect(f.column), protect(f.reason)}); err != nil {
		return fmt.Errorf("writing rejected rows: %w", err)
	}
	return nil
}

// end completes the file.
func (x *rejects) end() error {
	if x.w == nil {
		return nil
	}
	x.w.Flush()
	if err := errors.Join(x.w.Error(), x.file.Close()); err != nil {
		return fmt.Errorf("writing rejected rows: %w", err)
	}
	return nil
}
