// SPDX-License-Identifier: Apache-2.0

package dsn

import (
	"net/mail"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// cutType splits "dns; mx.example.com" into its type, in lower case, and the
// rest. What does not begin with a type is all rest.
func cutType(value string) (kind, rest string) {
	before, after, found := strings.Cut(value, ";")
	kind = strings.ToLower(strings.TrimSpace(before))
	if !found || kind == "" || strings.ContainsAny(kind, " @<>:[]") {
		return "", strings.TrimSpace(value)
	}
	return kind, strings.TrimSpace(after)
}

// parseAddress takes the address out of "rfc822; <a@b> (comment)".
func parseAddress(value string) string {
	kind, s := cutType(value)
	if kind == "utf-8" {
		s = decodeUTF8(s)
	}
	if i := strings.IndexByte(s, '<'); i >= 0 {
		if j := strings.IndexByte(s[i:], '>'); j > 0 {
			s = s[i+1 : i+j]
		}
	}
	if s == "" || s[0] == '"' {
		return s // a quoted local part may hold anything
	}
	// A comment, or what a program wrote behind the address.
	if before, _, found := strings.Cut(s, " "); found && strings.Contains(before, "@") {
		s = before
	}
	// The old source route of RFC 5321 appendix F.2.
	if s != "" && s[0] == '@' {
		if _, after, found := strings.Cut(s, ":"); found {
			s = after
		}
	}
	return s
}

// decodeUTF8 undoes the \x{HEX} of RFC 6533 section 3.
func decodeUTF8(s string) string {
	var b strings.Builder
	for {
		before, after, found := strings.Cut(s, `\x{`)
		b.WriteString(before)
		if !found {
			return b.String()
		}
		hex, rest, closed := strings.Cut(after, "}")
		n, err := strconv.ParseInt(hex, 16, 32)
		if !closed || err != nil || n < 0x20 || !utf8.ValidRune(rune(n)) {
			b.WriteString(`\x{`)
			s = after
			continue
		}
		b.WriteRune(rune(n))
		s = rest
	}
}

// parseTime reads a date-time of RFC 5322; zero where it is none.
func parseTime(s string) time.Time {
	if s == "" {
		return time.Time{}
	}
	t, err := mail.ParseDate(s)
	if err != nil {
		return time.Time{}
	}
	return t
}
