// SPDX-License-Identifier: Apache-2.0

package config

import (
	"strings"

	"github.com/BurntSushi/toml"
)

// node is the line of one value of a TOML file, with those of what it holds.
// The tree has the shape of the values that the toml package decodes, which
// says nothing about lines itself.
type node struct {
	line  int
	keys  map[string]*node
	items []*node
}

// child returns the node of a key, which is made if it is not there yet.
func (n *node) child(key string, line int) *node {
	if n.keys == nil {
		n.keys = make(map[string]*node)
	}
	if n.keys[key] == nil {
		n.keys[key] = &node{line: line}
	}
	return n.keys[key]
}

// at returns the node of a key, or a node with the line of n itself.
func (n *node) at(key string) *node {
	if c := n.keys[key]; c != nil {
		return c
	}
	return &node{line: n.line}
}

// item returns the node of an element, or a node with the line of n itself.
func (n *node) item(i int) *node {
	if i < len(n.items) {
		return n.items[i]
	}
	return &node{line: n.line}
}

// scanner walks a TOML document that the toml package has accepted, and only
// follows its lines. On a document that is not TOML it ends early; it never
// reads past the end.
type scanner struct {
	text string
	pos  int
	line int
}

// scan returns the tree of lines of a valid TOML document.
func scan(text string) *node {
	// The toml package passes over one mark of byte order, also over those of UTF-16.
	for _, mark := range []string{"\ufeff", "\xff\xfe", "\xfe\xff"} {
		if rest, found := strings.CutPrefix(text, mark); found {
			text = rest
			break
		}
	}
	s := &scanner{text: text, line: 1}
	root := &node{line: 1}
	table := root
	for {
		s.skip(" \t\r\n")
		if s.pos >= len(s.text) {
			return root
		}
		start := s.pos
		if s.text[s.pos] == '[' {
			table = s.header(root)
		} else {
			s.pair(table)
		}
		if s.pos == start {
			return root
		}
	}
}

// skip passes the characters named, and comments.
func (s *scanner) skip(chars string) {
	for s.pos < len(s.text) {
		switch c := s.text[s.pos]; {
		case c == '#':
			end := strings.IndexByte(s.text[s.pos:], '\n')
			if end < 0 {
				end = len(s.text) - s.pos
			}
			s.pos += end
		case strings.IndexByte(chars, c) >= 0:
			s.step()
		default:
			return
		}
	}
}

// step passes one byte.
func (s *scanner) step() {
	if s.pos < len(s.text) {
		if s.text[s.pos] == '\n' {
			s.line++
		}
		s.pos++
	}
}

// take passes a prefix if it comes next.
func (s *scanner) take(prefix string) bool {
	if !strings.HasPrefix(s.text[s.pos:], prefix) {
		return false
	}
	for range prefix {
		s.step()
	}
	return true
}

// header reads [a.b] or [[a.b]] and returns the table that it opens.
func (s *scanner) header(root *node) *node {
	line := s.line
	s.take("[")
	list := s.take("[")
	path := s.path()
	s.take("]")
	if list {
		s.take("]")
	}
	table := root
	for i, key := range path {
		last := i == len(path)-1
		table = table.child(key, line)
		switch {
		case last && list:
			table.items = append(table.items, &node{line: line})
			table = table.items[len(table.items)-1]
		case len(table.items) > 0:
			table = table.items[len(table.items)-1]
		case last:
			table.line = line
		}
	}
	return table
}

// pair reads key = value into a table.
func (s *scanner) pair(table *node) {
	line := s.line
	for _, key := range s.path() {
		table = table.child(key, line)
	}
	s.skip(" \t\r\n")
	if s.take("=") {
		s.skip(" \t\r\n")
		s.value(table)
	}
}

// path reads a dotted key.
func (s *scanner) path() []string {
	var path []string
	for {
		s.skip(" \t\r\n")
		path = append(path, s.key())
		s.skip(" \t\r\n")
		if !s.take(".") {
			return path
		}
	}
}

// key reads one part of a dotted key.
func (s *scanner) key() string {
	start := s.pos
	if s.pos < len(s.text) && (s.text[s.pos] == '"' || s.text[s.pos] == '\'') {
		s.quoted()
		return unquote(s.text[start:s.pos])
	}
	for s.pos < len(s.text) && !strings.ContainsRune(" \t\r\n.=]#[{},\"'", rune(s.text[s.pos])) {
		s.pos++
	}
	return s.text[start:s.pos]
}

// unquote returns the text of a quoted key.
func unquote(quoted string) string {
	if !strings.Contains(quoted, `\`) || quoted[0] == '\'' {
		return strings.Trim(quoted, quoted[:1])
	}
	var holder struct{ Key string }
	if _, err := toml.Decode("key = "+quoted, &holder); err != nil {
		return quoted
	}
	return holder.Key
}

// value passes one value and notes the lines of what it holds.
func (s *scanner) value(n *node) {
	if s.pos >= len(s.text) {
		return
	}
	switch s.text[s.pos] {
	case '"', '\'':
		s.quoted()
	case '[':
		s.array(n)
	case '{':
		s.inline(n)
	default:
		for s.pos < len(s.text) && !strings.ContainsRune(",]}#\n", rune(s.text[s.pos])) {
			s.pos++
		}
	}
}

// array passes [a, b, c].
func (s *scanner) array(n *node) {
	s.take("[")
	for {
		s.skip(" \t\r\n,")
		if s.pos >= len(s.text) || s.take("]") {
			return
		}
		item := &node{line: s.line}
		n.items = append(n.items, item)
		start := s.pos
		s.value(item)
		if s.pos == start {
			return
		}
	}
}

// inline passes {a = 1, b = 2}.
func (s *scanner) inline(n *node) {
	s.take("{")
	for {
		s.skip(" \t\r\n,")
		if s.pos >= len(s.text) || s.take("}") {
			return
		}
		start := s.pos
		s.pair(n)
		if s.pos == start {
			return
		}
	}
}

// quoted passes a string of any of the four kinds.
func (s *scanner) quoted() {
	quote := s.text[s.pos : s.pos+1]
	if triple := strings.Repeat(quote, 3); s.take(triple) {
		for s.pos < len(s.text) && !s.take(triple) {
			s.character(quote)
		}
		for s.take(quote) { // up to two quotes may stand before the closing three
		}
		return
	}
	s.take(quote)
	for s.pos < len(s.text) && s.text[s.pos] != '\n' && !s.take(quote) {
		s.character(quote)
	}
}

// character passes one character of a string, an escaped one as a whole.
func (s *scanner) character(quote string) {
	if quote == `"` && s.text[s.pos] == '\\' {
		s.step()
	}
	s.step()
}
