// SPDX-License-Identifier: Apache-2.0

package dsn

import (
	"html"
	"strings"
)

// addresses finds what looks like mail addresses in a text, in their order.
func addresses(s string) []string {
	var list []string
	for from := 0; from < len(s); {
		at := strings.IndexByte(s[from:], '@')
		if at < 0 {
			break
		}
		at += from
		start := at
		for start > from && isLocal(s[start-1]) {
			start--
		}
		for start < at && s[start] == '\'' {
			start++
		}
		if a := leading(s[start:]); a != "" {
			list = append(list, a)
			from = start + len(a)
			continue
		}
		from = at + 1
	}
	return list
}

// leading returns the address with which s begins, or "".
func leading(s string) string {
	at := 0
	for at < len(s) && at <= 64 && isLocal(s[at]) {
		at++
	}
	if at == 0 || at > 64 || at >= len(s) || s[at] != '@' {
		return ""
	}
	end := at + 1
	for end < len(s) && end-at <= 255 && isDomain(s[end]) {
		end++
	}
	for end > at && (s[end-1] == '.' || s[end-1] == '-') {
		end-- // the full stop of the sentence
	}
	domain := s[at+1 : max(end, at+1)]
	dot := strings.LastIndexByte(domain, '.')
	if dot <= 0 || dot > len(domain)-3 || strings.Contains(domain, "..") || !isLetter(domain[dot+1]) {
		return ""
	}
	return s[:end]
}

func isLetter(c byte) bool { return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= 0x80 }

func isDomain(c byte) bool { return isLetter(c) || c >= '0' && c <= '9' || c == '.' || c == '-' }

func isLocal(c byte) bool {
	return isLetter(c) || c >= '0' && c <= '9' || strings.IndexByte(".!#$%&*+-/=?^_{|}~'`", c) >= 0
}

// plain makes readable text: without the tags of HTML, without what ISO-2022-JP writes in
// two octets a letter, which looks like ASCII, and without control characters but line ends.
func plain(b []byte, isHTML bool) string {
	s := string(b)
	if isHTML {
		s = html.UnescapeString(untag(s))
	}
	return strings.Map(func(r rune) rune {
		if r < ' ' && r != '\n' || r == 0x7f {
			return ' '
		}
		return r
	}, withoutJIS(s))
}

// withoutJIS drops what stands between the escape sequences of ISO-2022-JP, but for its
// line ends.
func withoutJIS(s string) string {
	if !strings.Contains(s, "\x1b$") {
		return s
	}
	var out strings.Builder
	for {
		before, after, found := strings.Cut(s, "\x1b$")
		out.WriteString(before)
		if !found {
			return out.String()
		}
		inside, rest, closed := strings.Cut(after, "\x1b(")
		if !closed || len(rest) == 0 {
			return out.String()
		}
		out.WriteString(strings.Repeat("\n", strings.Count(inside, "\n")))
		s = rest[1:]
	}
}

// untag drops what stands between < and >; an element that ends a line ends one.
func untag(s string) string {
	var out strings.Builder
	for {
		before, after, found := strings.Cut(s, "<")
		out.WriteString(before)
		if !found {
			return out.String()
		}
		tag, rest, closed := strings.Cut(after, ">")
		if !closed {
			return out.String()
		}
		if strings.Contains(tag, "@") {
			out.WriteString("<" + tag + ">") // an address that nobody escaped
		}
		tag = strings.ToLower(strings.TrimLeft(tag, "/"))
		for _, block := range []string{"br", "p", "div", "tr", "td", "li", "h1", "h2", "h3", "table"} {
			if tag == block || strings.HasPrefix(tag, block+" ") || tag == block+"/" {
				out.WriteByte('\n')
				break
			}
		}
		if strings.HasPrefix(tag, "style") || strings.HasPrefix(tag, "script") {
			_, rest, _ = strings.Cut(rest, "</")
		}
		s = rest
	}
}
