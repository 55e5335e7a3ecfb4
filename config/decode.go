// SPDX-License-Identifier: Apache-2.0

package config

import (
	"encoding"
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"
)

// decoder assigns decoded TOML to a Config key by key and goes on after a
// mistake, so that one run reports all of them. It serves all files of a
// configuration in turn.
type decoder struct {
	config   *Config
	file     string // the file being decoded
	problems []Problem
	elements map[string]int // elements so far of each list of tables
}

// builtin is a table that exists without being declared: an element of that
// name starts from it.
type builtin interface{ builtin(name string) }

func (d *decoder) report(n *node, key, text, hint string) {
	d.problems = append(d.problems, Problem{File: d.file, Line: n.line, Key: key, Text: text, Hint: hint})
}

// note records where a key stands; false means that another file has set it.
func (d *decoder) note(key string, n *node) (place, bool) {
	places := d.config.index.places
	if first, ok := places[key]; ok {
		return first, false
	}
	places[key] = place{file: d.file, line: n.line}
	return place{}, true
}

// table assigns the keys of a TOML table to the fields of a struct.
func (d *decoder) table(v reflect.Value, values map[string]any, n *node, path string) {
	var known []string
	for _, f := range fieldsOf(v.Type()) {
		known = append(known, f.key)
		raw, ok := values[f.key]
		if !ok {
			continue
		}
		key, at := join(path, f.key), n.at(f.key)
		target := v.FieldByIndex(f.index)
		switch {
		case f.isList:
			d.list(target, raw, at, key)
		case f.isTable:
			d.single(target, raw, at, key)
		default:
			if first, fresh := d.note(key, at); !fresh {
				d.report(at, key, "is already set", "first at "+first.String())
				continue
			}
			d.value(f, target, raw, at, key)
		}
	}
	d.unknown(values, known, n, path)
}

// unknown reports the keys of a table that no field has.
func (d *decoder) unknown(values map[string]any, known []string, n *node, path string) {
	for _, key := range slices.Sorted(maps.Keys(values)) {
		if slices.Contains(known, key) {
			continue
		}
		what := "unknown key"
		if kindOf(values[key]) == kindTable || kindOf(values[key]) == kindTables {
			what = "unknown table"
		}
		hint := ""
		if best := nearest(key, known); best != "" {
			hint = fmt.Sprintf("did you mean %q?", best)
		}
		d.report(n.at(key), join(path, quoteKey(key)), what, hint)
	}
}

// single assigns a table that exists once.
func (d *decoder) single(v reflect.Value, raw any, n *node, key string) {
	values, ok := raw.(map[string]any)
	if !ok {
		hint := fmt.Sprintf("write [%s] and its keys below", plain(key))
		if kindOf(raw) == kindTables {
			hint = fmt.Sprintf("write [%s], it exists once", plain(key))
		}
		d.report(n, key, fmt.Sprintf("is %s, must be a table", kindOf(raw)), hint)
		return
	}
	d.note(key, n)
	d.table(v, values, n, key)
}

// list appends the elements of a list of tables.
func (d *decoder) list(v reflect.Value, raw any, n *node, key string) {
	d.note(key, n)
	elements, ok := tables(raw)
	if !ok {
		d.report(n, key, fmt.Sprintf("is %s, must be a list of tables", kindOf(raw)), fmt.Sprintf("write [[%s]]", plain(key)))
		return
	}
	for i, values := range elements {
		d.element(v, values, n.item(i), key)
	}
}

// element appends one element to a list of tables. One without a name, or with
// one that is taken, is reported and left out.
func (d *decoder) element(v reflect.Value, values map[string]any, n *node, list string) {
	t := v.Type().Elem()
	element := reflect.New(t).Elem()
	setDefaults(element)
	index := d.elements[list]
	d.elements[list]++
	path := fmt.Sprintf("%s[%d]", list, index)
	identity := identityOf(t)
	name, _ := values[identity].(string)
	taken := false
	if name != "" {
		named := fmt.Sprintf("%s[%s]", list, name)
		if _, taken = d.config.index.places[named]; taken {
			first := d.config.index.find(join(named, identity))
			d.report(n.at(identity), join(path, identity), strconv.Quote(name)+" is already used", "first at "+first.String())
		} else if isPlain(name) {
			path = named
		}
		if b, ok := reflect.TypeAssert[builtin](element.Addr()); ok {
			b.builtin(name)
		}
	}
	d.note(path, n)
	d.table(element, values, n, path)
	for _, f := range fieldsOf(t) {
		if _, present := values[f.key]; f.required && !present {
			d.report(n, join(path, f.key), "is missing", f.need)
		}
	}
	if !taken && (identity == "" || hasName(element, identity)) {
		v.Set(reflect.Append(v, element))
	}
}

// value assigns one value, or a list or table of values, to a field.
func (d *decoder) value(f field, v reflect.Value, raw any, n *node, key string) {
	switch {
	case isText(v):
		d.scalar(f, v, raw, n, key)
	case v.Kind() == reflect.Slice:
		d.values(f, v, raw, n, key)
	case v.Kind() == reflect.Map:
		d.counts(f, v, raw, n, key)
	default:
		d.scalar(f, v, raw, n, key)
	}
}

// values assigns a list of values; bad ones are reported and left out.
func (d *decoder) values(f field, v reflect.Value, raw any, n *node, key string) {
	items, ok := raw.([]any)
	if !ok {
		d.wrongType(v, raw, n, key)
		return
	}
	out := reflect.MakeSlice(v.Type(), 0, len(items))
	for i, item := range items {
		element, path := reflect.New(v.Type().Elem()).Elem(), fmt.Sprintf("%s[%d]", key, i)
		d.note(path, n.item(i))
		switch {
		case item == "":
			d.report(n.item(i), path, "is empty", "leave it out")
		case d.scalar(f, element, item, n.item(i), path):
			out = reflect.Append(out, element)
		}
	}
	v.Set(out)
	if f.nonEmpty && len(items) == 0 {
		d.report(n, key, "is empty", f.need)
	}
}

// counts assigns a table of names and whole numbers.
func (d *decoder) counts(f field, v reflect.Value, raw any, n *node, key string) {
	items, ok := raw.(map[string]any)
	if !ok {
		d.wrongType(v, raw, n, key)
		return
	}
	v.Set(reflect.MakeMap(v.Type()))
	for _, name := range slices.Sorted(maps.Keys(items)) {
		element, path := reflect.New(v.Type().Elem()).Elem(), join(key, quoteKey(name))
		d.note(path, n.at(name))
		if d.scalar(f, element, items[name], n.at(name), path) {
			v.SetMapIndex(reflect.ValueOf(name), element)
		}
	}
	if f.nonEmpty && len(items) == 0 {
		d.report(n, key, "is empty", f.need)
	}
}

// scalar assigns one value and reports whether it is usable.
func (d *decoder) scalar(f field, v reflect.Value, raw any, n *node, key string) bool {
	before := reflect.New(v.Type()).Elem()
	before.Set(v)
	if !assign(v, raw) {
		d.wrongType(v, raw, n, key)
		return false
	}
	if text, ok := raw.(string); ok && isText(v) {
		if err := v.Addr().Interface().(encoding.TextUnmarshaler).UnmarshalText([]byte(text)); err != nil {
			bad := &valueError{text: err.Error()}
			errors.As(err, &bad)
			d.report(n, key, bad.text, bad.hint)
			return false
		}
	}
	if path, ok := reflect.TypeAssert[Path](v); ok && path != "" && !filepath.IsAbs(string(path)) {
		v.SetString(filepath.Join(filepath.Dir(d.file), string(path)))
	}
	text, hint, usable := f.verify(v)
	if text != "" {
		d.report(n, key, text, hint)
	}
	if !usable && f.enum == nil { // a wrong word is no word, so that no default hides behind it
		v.Set(before)
	}
	return usable
}

// wrongType reports a value of another type than the field's.
func (d *decoder) wrongType(v reflect.Value, raw any, n *node, key string) {
	noun, hint := describe(v.Type())
	d.report(n, key, fmt.Sprintf("is %s, must be %s", kindOf(raw), noun), hint)
}

// join appends a key to a path.
func join(path, key string) string {
	if path == "" {
		return key
	}
	return path + "." + key
}

// plain removes the names of elements from a path: what a table header says.
func plain(path string) string {
	var b strings.Builder
	depth := 0
	for _, r := range path {
		switch {
		case r == '[':
			depth++
		case r == ']':
			depth--
		case depth == 0:
			b.WriteRune(r)
		}
	}
	return b.String()
}

// isPlain reports whether a name can stand in a path as it is.
func isPlain(name string) bool {
	for _, r := range name {
		if r <= ' ' || r > '~' || strings.ContainsRune(`[]"'`, r) {
			return false
		}
	}
	return name != "" && len(name) <= 255
}

// quoteKey returns a key as it may stand in a message.
func quoteKey(key string) string {
	if isPlain(key) {
		return key
	}
	return strconv.QuoteToASCII(key)
}
