// SPDX-License-Identifier: Apache-2.0

package config

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode"
)

// Problem is one thing that is wrong, or that only looks wrong, with the
// configuration.
type Problem struct {
	File    string // as given to Load, or found by include
	Line    int    // from 1; 0 where the file itself is the problem
	Key     string // path of the value (see the package comment), "" for none
	Text    string // what is wrong
	Hint    string // what to do about it, "" where that is obvious
	Warning bool   // the engine starts in spite of it
}

// String prints the problem as `file:line: key: text (hint)`, a warning as
// `file:line: key: warning: text (hint)`. It is one line whatever the file
// holds: a name with a line end in it is part of the key.
func (p Problem) String() string {
	var b strings.Builder
	b.WriteString(p.File)
	if p.Line > 0 {
		fmt.Fprintf(&b, ":%d", p.Line)
	}
	b.WriteString(": ")
	if p.Key != "" {
		b.WriteString(p.Key + ": ")
	}
	if p.Warning {
		b.WriteString("warning: ")
	}
	b.WriteString(p.Text)
	if p.Hint != "" {
		b.WriteString(" (" + p.Hint + ")")
	}
	return visible(b.String())
}

// visible writes control characters as Go does, so that none of them reaches a
// terminal or ends a line.
func visible(s string) string {
	if !strings.ContainsFunc(s, unicode.IsControl) {
		return s
	}
	var b strings.Builder
	for _, r := range s {
		if unicode.IsControl(r) {
			b.WriteString(strings.Trim(strconv.QuoteRune(r), "'"))
		} else {
			b.WriteRune(r)
		}
	}
	return b.String()
}

// Failed reports whether one of the problems is more than a warning.
func Failed(problems []Problem) bool {
	return slices.ContainsFunc(problems, func(p Problem) bool { return !p.Warning })
}

// place is where a value stands.
type place struct {
	file string
	line int
}

func (p place) String() string { return fmt.Sprintf("%s:%d", p.file, p.line) }

// index knows where each key path stands, and in which order files were read.
type index struct {
	files  []string
	places map[string]place
}

func newIndex() index { return index{places: make(map[string]place)} }

// Position returns where the value at a key path stands. For a key that was
// left out it is where the table around it begins, and for the top level the
// first line of the main file. A Config that was not loaded has no positions.
func (c *Config) Position(key string) (file string, line int) {
	p := c.index.find(key)
	return p.file, p.line
}

func (x *index) find(key string) place {
	for key != "" {
		if p, ok := x.places[key]; ok {
			return p
		}
		key = key[:max(strings.LastIndexAny(key, ".["), 0)]
	}
	if len(x.files) == 0 {
		return place{}
	}
	return place{file: x.files[0], line: 1}
}

// IsSet reports whether the files name the key, which tells a value from the
// same value by default.
func (c *Config) IsSet(key string) bool {
	_, ok := c.index.places[key]
	return ok
}

// Problem returns an error about the value at a key path, with its position.
func (c *Config) Problem(key, text, hint string) Problem {
	file, line := c.Position(key)
	return Problem{File: file, Line: line, Key: key, Text: text, Hint: hint}
}

// Warning returns a warning about the value at a key path, with its position.
func (c *Config) Warning(key, text, hint string) Problem {
	p := c.Problem(key, text, hint)
	p.Warning = true
	return p
}

// Sort puts problems into the order of the files and their lines, and drops
// repetitions. [Load] returns them so; a caller that adds its own sorts again.
func (c *Config) Sort(problems []Problem) []Problem {
	slices.SortStableFunc(problems, func(a, b Problem) int {
		return cmp.Or(
			cmp.Compare(slices.Index(c.index.files, a.File), slices.Index(c.index.files, b.File)),
			cmp.Compare(a.Line, b.Line),
			cmp.Compare(a.Key, b.Key),
			cmp.Compare(a.Text, b.Text),
		)
	})
	return slices.Compact(problems)
}
