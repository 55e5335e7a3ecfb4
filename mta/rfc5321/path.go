// SPDX-License-Identifier: Apache-2.0

package rfc5321

import (
	"fmt"
	"strings"
)

// CutPath reads the path of a MAIL or RCPT command (section 4.1.1.2), "<" mailbox
// ">", from the front of s and returns what follows it, which is empty or
// begins with a space. "<>" gives the zero Address; whether that is welcome is the
// caller's to say. Source routes ("<@a,@b:c@d>") are refused: section 3.6.1 lets a
// server ignore them, and a relay that reads them is how open relays were
// built. The error wraps [ErrAddress].
func CutPath(s string) (Address, string, error) {
	if s == "" || s[0] != '<' {
		return Address{}, s, fmt.Errorf("%w: a path begins with <", ErrAddress)
	}
	end := pathEnd(s)
	if end < 0 {
		return Address{}, s, fmt.Errorf("%w: no closing >", ErrAddress)
	}
	inside, rest := s[1:end], s[end+1:]
	if rest != "" && rest[0] != ' ' {
		return Address{}, s, fmt.Errorf("%w: text after the closing >", ErrAddress)
	}
	switch {
	case inside == "":
		return Address{}, rest, nil
	case inside[0] == '@':
		return Address{}, s, fmt.Errorf("%w: source routes are not accepted", ErrAddress)
	}
	a, err := ParseAddress(inside)
	if err != nil {
		return Address{}, s, err
	}
	return a, rest, nil
}

// pathEnd is the index of the > that closes s, -1 for none; a quoted local part
// may hold others.
func pathEnd(s string) int {
	i := 1
	if strings.HasPrefix(s[i:], `"`) {
		for i++; i < len(s) && s[i] != '"'; i++ {
			if s[i] == '\\' {
				i++
			}
		}
	}
	if i >= len(s) {
		return -1
	}
	n := strings.IndexByte(s[i:], '>')
	if n < 0 {
		return -1
	}
	return i + n
}
