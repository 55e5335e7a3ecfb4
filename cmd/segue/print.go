// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"
	"unicode"
)

// say prints one line.
func (a *app) say(format string, args ...any) error {
	_, err := io.WriteString(a.out, clean(fmt.Sprintf(format, args...))+"\n")
	return err
}

// json prints a value as a program reads it.
func (a *app) json(v any) error {
	e := json.NewEncoder(a.out)
	e.SetIndent("", "  ")
	e.SetEscapeHTML(false)
	return e.Encode(v)
}

// table prints aligned columns. The first row is the head.
type table struct {
	w   *tabwriter.Writer
	err error
}

func (a *app) table(head ...string) *table {
	const gap = 2
	t := &table{w: tabwriter.NewWriter(a.out, 0, 0, gap, ' ', 0)}
	if len(head) > 0 {
		t.row(head...)
	}
	return t
}

// row adds one line. An empty cell is a dash, so that columns can be counted.
func (t *table) row(cells ...string) {
	for i, c := range cells {
		cells[i] = clean(c)
		if c == "" {
			cells[i] = "-"
		}
	}
	if _, err := io.WriteString(t.w, strings.Join(cells, "\t")+"\n"); err != nil && t.err == nil {
		t.err = err
	}
}

// flush prints the table.
func (t *table) flush() error {
	if err := t.w.Flush(); err != nil {
		return err
	}
	return t.err
}

// pairs prints names and values, without those that have none.
func (a *app) pairs(list ...[2]string) error {
	t := a.table()
	for _, p := range list {
		if p[1] != "" {
			t.row(p[0], p[1])
		}
	}
	return t.flush()
}

// clean makes text from outside harmless for a terminal: an address or a
// server's reply must not move the cursor or break a table.
func clean(s string) string {
	return strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return '?'
		}
		return r
	}, s)
}

// stamp is a time in UTC, "" for none.
func stamp(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(time.RFC3339)
}

// when is a time and how far away it is.
func (a *app) when(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return stamp(t) + " (" + a.relative(t) + ")"
}

// relative is how far away a time is: "in 5m", "3h ago".
func (a *app) relative(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	d := t.Sub(a.now())
	switch {
	case d >= time.Second:
		return "in " + span(d)
	case d <= -time.Second:
		return span(-d) + " ago"
	default:
		return "now"
	}
}

// span is a duration in its largest unit, rounded.
func span(d time.Duration) string {
	const day = 24 * time.Hour
	switch {
	case d >= 2*day:
		return fmt.Sprintf("%dd", (d+day/2)/day)
	case d >= 2*time.Hour:
		return fmt.Sprintf("%dh", (d+time.Hour/2)/time.Hour)
	case d >= 2*time.Minute:
		return fmt.Sprintf("%dm", (d+time.Minute/2)/time.Minute)
	default:
		return fmt.Sprintf("%ds", (d+time.Second/2)/time.Second)
	}
}

// number is a count; 0 where there is nothing is still worth saying.
func number[T ~int | ~int64 | ~uint64](n T) string { return fmt.Sprint(n) }

// plural is a count with its noun.
func plural(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}
