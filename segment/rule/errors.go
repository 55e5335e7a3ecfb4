// SPDX-License-Identifier: Apache-2.0

package rule

import (
	"errors"
	"fmt"
	"sort"
	"strings"
)

// Error is one fault of a rule's text.
type Error struct {
	Line   int    // from 1; 0 where the fault has no place
	Column int    // from 1, in characters
	Text   string // what is wrong
	Hint   string // what to do about it; may be empty
}

// Error is "line:column: text (hint)".
func (e *Error) Error() string {
	var b strings.Builder
	if e.Line > 0 {
		fmt.Fprintf(&b, "%d:%d: ", e.Line, e.Column)
	}
	b.WriteString(e.Text)
	if e.Hint != "" {
		b.WriteString(" (" + e.Hint + ")")
	}
	return b.String()
}

// maxFaults is how many faults of one rule are reported; more help nobody.
const maxFaults = 10

// Faults returns the faults that an error of [Schema.Compile] joins, in the
// order of the text; nil for any other error.
func Faults(err error) []*Error {
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		var out []*Error
		for _, e := range joined.Unwrap() {
			out = append(out, Faults(e)...)
		}
		return out
	}
	if one, ok := errors.AsType[*Error](err); ok {
		return []*Error{one}
	}
	return nil
}

// join makes one error of faults, sorted by place, without repetition.
func join(faults []*Error) error {
	sort.SliceStable(faults, func(i, j int) bool {
		a, b := faults[i], faults[j]
		return a.Line < b.Line || a.Line == b.Line && a.Column < b.Column
	})
	var errs []error
	seen := make(map[Error]bool)
	for _, f := range faults {
		if !seen[*f] && len(errs) < maxFaults {
			seen[*f] = true
			errs = append(errs, f)
		}
	}
	if len(errs) == 1 {
		return errs[0]
	}
	return errors.Join(errs...)
}

// nearest returns the candidate that a name was most likely meant to be, ""
// where none is close.
func nearest(name string, candidates []string) string {
	best, bestDistance := "", max(1, len(name)/3)+1
	for _, c := range candidates {
		if d := distance(strings.ToLower(name), strings.ToLower(c)); d < bestDistance {
			best, bestDistance = c, d
		}
	}
	return best
}

// distance is the number of single-character edits from a to b, a swap of
// neighbours counting as one.
func distance(a, b string) int {
	if len(a) > 80 || len(b) > 80 {
		return 80
	}
	var before []int
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := 1; i <= len(a); i++ {
		next := make([]int, len(b)+1)
		next[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			next[j] = min(row[j]+1, next[j-1]+1, row[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				next[j] = min(next[j], before[j-2]+1)
			}
		}
		before, row = row, next
	}
	return row[len(b)]
}

// didYouMean is a hint, or nothing.
func didYouMean(name string, candidates []string) string {
	if n := nearest(name, candidates); n != "" {
		return "did you mean " + n + "?"
	}
	return ""
}
