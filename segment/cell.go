// SPDX-License-Identifier: Apache-2.0

package segment

import "strings"

// A spreadsheet takes a cell that begins with one of these for a formula, and
// runs it: = + - @, and a tab, a carriage return or a line feed before them.
const formula = "=+-@\t\r\n"

// protect puts an apostrophe before a cell that a spreadsheet would run. One
// that begins with apostrophes and goes on like a formula gets one more, so
// that unprotect gives every text back as it was.
func protect(s string) string {
	if dangerous(s) {
		return "'" + s
	}
	return s
}

// unprotect undoes protect.
func unprotect(s string) string {
	if rest, ok := strings.CutPrefix(s, "'"); ok && dangerous(rest) {
		return rest
	}
	return s
}

// dangerous reports whether s is a formula behind any number of apostrophes.
func dangerous(s string) bool {
	s = strings.TrimLeft(s, "'")
	return s != "" && strings.IndexByte(formula, s[0]) >= 0
}
