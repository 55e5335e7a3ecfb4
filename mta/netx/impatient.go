// SPDX-License-Identifier: Apache-2.0

package netx

import (
	"io"
	"os"
	"time"
)

// Impatient reads from r until an instant; from then on it returns
// [os.ErrDeadlineExceeded]. It ends a body that arrives drop by drop, each drop in
// time for a deadline of its own.
func Impatient(r io.Reader, until time.Time) io.Reader { return &impatient{r, until} }

type impatient struct {
	r     io.Reader
	until time.Time
}

// Read implements [io.Reader].
func (i *impatient) Read(p []byte) (int, error) {
	if time.Now().After(i.until) {
		return 0, os.ErrDeadlineExceeded
	}
	return i.r.Read(p)
}
