// SPDX-License-Identifier: Apache-2.0

package config

import (
	"encoding"
	"fmt"
	"math"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"
)

// field is one key of the format, as the tags of its struct field say.
type field struct {
	index    []int
	key      string // the TOML key
	isTable  bool   // a table that exists once
	isList   bool   // a list of tables
	required bool   // the key must be there
	nonEmpty bool   // and must hold something
	need     string // what to do when it is not
	min, max string // bounds, as they would be written
	enum     []string
	format   string // name, domain, pattern, attribute, url
}

// fieldsOf returns the keys of a table in the order of the struct.
func fieldsOf(t reflect.Type) []field {
	var fields []field
	for sf := range t.Fields() {
		key := sf.Tag.Get("toml")
		if key == "" {
			continue
		}
		f := field{
			index: sf.Index, key: key, min: sf.Tag.Get("min"), max: sf.Tag.Get("max"),
			format: sf.Tag.Get("format"), need: sf.Tag.Get("need"),
			required: sf.Tag.Get("required") != "", nonEmpty: sf.Tag.Get("required") == "true" || sf.Tag.Get("nonempty") != "",
		}
		if enum := sf.Tag.Get("enum"); enum != "" {
			f.enum = strings.Split(enum, ",")
		}
		f.isTable = isStruct(sf.Type)
		f.isList = sf.Type.Kind() == reflect.Slice && isStruct(sf.Type.Elem())
		fields = append(fields, f)
	}
	return fields
}

// isStruct reports whether a type is a table, not a value written as text.
func isStruct(t reflect.Type) bool {
	return t.Kind() == reflect.Struct && !reflect.PointerTo(t).Implements(reflect.TypeFor[encoding.TextUnmarshaler]())
}

// isText reports whether a value is written as text and parsed by its type.
func isText(v reflect.Value) bool {
	return v.CanAddr() && v.Addr().Type().Implements(reflect.TypeFor[encoding.TextUnmarshaler]())
}

// identityOf returns the key that names an element of a list of tables.
func identityOf(t reflect.Type) string {
	for sf := range t.Fields() {
		if sf.Tag.Get("identity") != "" {
			return sf.Tag.Get("toml")
		}
	}
	return ""
}

// hasName reports whether an element has a value in the key that names it.
func hasName(v reflect.Value, identity string) bool {
	for _, f := range fieldsOf(v.Type()) {
		if f.key == identity {
			return v.FieldByIndex(f.index).String() != ""
		}
	}
	return false
}

// setDefaults fills a struct, and the tables in it, from its default tags.
func setDefaults(v reflect.Value) {
	for i := range v.NumField() {
		sf, target := v.Type().Field(i), v.Field(i)
		text, ok := sf.Tag.Lookup("default")
		switch {
		case sf.Tag.Get("toml") != "" && isStruct(sf.Type):
			setDefaults(target)
		case ok && target.Kind() == reflect.Slice:
			setDefaultList(target, text)
		case ok:
			setText(target, text)
		}
	}
}

func setDefaultList(v reflect.Value, text string) {
	if text == "" {
		return
	}
	for part := range strings.SplitSeq(text, ",") {
		element := reflect.New(v.Type().Elem()).Elem()
		setText(element, part)
		v.Set(reflect.Append(v, element))
	}
}

// setText assigns a value written in a tag. A tag that is not a value of its
// field leaves it as it is; a test parses all of them.
func setText(v reflect.Value, text string) bool {
	if isText(v) {
		return v.Addr().Interface().(encoding.TextUnmarshaler).UnmarshalText([]byte(text)) == nil
	}
	switch v.Kind() {
	case reflect.String:
		v.SetString(text)
		return true
	case reflect.Int, reflect.Int64:
		n, err := strconv.ParseInt(text, 10, 64)
		v.SetInt(n)
		return err == nil
	case reflect.Float64:
		x, err := strconv.ParseFloat(text, 64)
		v.SetFloat(x)
		return err == nil
	case reflect.Bool:
		b, err := strconv.ParseBool(text)
		v.SetBool(b)
		return err == nil
	default:
		return false
	}
}

// assign stores a decoded value of the right type; for a type written as text
// it only reports whether there is a text.
func assign(v reflect.Value, raw any) bool {
	if isText(v) {
		_, ok := raw.(string)
		return ok
	}
	switch x := raw.(type) {
	case string:
		if v.Kind() != reflect.String {
			return false
		}
		v.SetString(x)
	case bool:
		if v.Kind() != reflect.Bool {
			return false
		}
		v.SetBool(x)
	case int64:
		switch v.Kind() {
		case reflect.Int, reflect.Int64:
			v.SetInt(x)
		case reflect.Float64:
			v.SetFloat(float64(x))
		default:
			return false
		}
	case float64:
		if v.Kind() != reflect.Float64 {
			return false
		}
		v.SetFloat(x)
	default:
		return false
	}
	return true
}

// verify checks a value against the field's bounds, words and format. A value
// with a bad format is still usable: what refers to it is then no second
// mistake.
func (f field) verify(v reflect.Value) (text, hint string, usable bool) {
	if v.Kind() == reflect.String {
		s := v.String()
		switch {
		case f.enum != nil && !slices.Contains(f.enum, s):
			v.SetString("")
			return fmt.Sprintf("%q is not one of %s", s, strings.Join(f.enum, ", ")), meant(s, f.enum), false
		case s == "" && f.nonEmpty:
			return "is empty", f.need, false
		}
		text, hint = verifyFormat(f.format, s)
		return text, hint, true
	}
	if math.IsNaN(number(v)) {
		return "is not a number", "write it with digits, such as 0.1", false
	}
	if low, ok := bound(v.Type(), f.min); ok && number(v) < low {
		return fmt.Sprintf("%s is too small, the least is %s", show(v), f.min), "", false
	}
	if high, ok := bound(v.Type(), f.max); ok && number(v) > high {
		return fmt.Sprintf("%s is too large, the most is %s", show(v), f.max), "", false
	}
	return "", "", true
}

// meant returns a hint for a misspelt word, "" when none is near.
func meant(word string, candidates []string) string {
	if best := nearest(word, candidates); best != "" {
		return fmt.Sprintf("did you mean %q?", best)
	}
	return ""
}

// bound parses a bound written in a tag.
func bound(t reflect.Type, text string) (float64, bool) {
	if text == "" {
		return 0, false
	}
	v := reflect.New(t).Elem()
	ok := setText(v, text)
	return number(v), ok
}

// number returns the value of a bounded field, 0 for others.
func number(v reflect.Value) float64 {
	switch v.Kind() {
	case reflect.Int, reflect.Int64:
		return float64(v.Int())
	case reflect.Float64:
		return v.Float()
	default:
		return 0
	}
}

func show(v reflect.Value) string { return fmt.Sprint(v.Interface()) }

// Kinds of decoded values, as messages call them.
const (
	kindTable  = "a table"
	kindTables = "a list of tables"
)

// kindOf says what a decoded value is.
func kindOf(raw any) string {
	switch x := raw.(type) {
	case string:
		return "text"
	case bool:
		return "a boolean"
	case int64:
		return "a whole number"
	case float64:
		return "a fraction"
	case time.Time:
		return "a date or time"
	case map[string]any:
		return kindTable
	case []map[string]any:
		return kindTables
	case []any:
		if _, ok := tables(x); ok && len(x) > 0 {
			return kindTables
		}
		return "a list"
	default:
		return fmt.Sprintf("a %T", raw)
	}
}

// tables returns a decoded list of tables, whichever way it was written.
func tables(raw any) ([]map[string]any, bool) {
	switch x := raw.(type) {
	case []map[string]any:
		return x, true
	case []any:
		out := make([]map[string]any, len(x))
		for i, element := range x {
			table, ok := element.(map[string]any)
			if !ok {
				return nil, false
			}
			out[i] = table
		}
		return out, true
	default:
		return nil, false
	}
}

// describe names the type of a value, and says how it is written.
func describe(t reflect.Type) (noun, hint string) {
	noun, example := typeName(t)
	switch {
	case t.Kind() == reflect.Slice:
		if _, example = typeName(t.Elem()); example == "" {
			example = `"a", "b"`
		}
		return "a list", "write a list, such as [" + example + "]"
	case example == "":
		return "text", "write it in quotes"
	case example[0] == '"':
		return noun, "write it in quotes, such as " + example
	case example[0] == '{':
		return noun, "write " + example
	default:
		return noun, "write it without quotes, such as " + example
	}
}

// typeName names the type of a value, with an example unless any text will do.
func typeName(t reflect.Type) (noun, example string) {
	switch t {
	case reflect.TypeFor[Duration]():
		return "a duration", `"5m"`
	case reflect.TypeFor[Size]():
		return "a size", `"25MB"`
	case reflect.TypeFor[Rate]():
		return "a rate", `"100/s"`
	case reflect.TypeFor[Window]():
		return "a window of the day", `"08:00-20:00"`
	case reflect.TypeFor[SendWindow]():
		return "a send window", `"08:00-20:00"`
	case reflect.TypeFor[Frequency]():
		return "a number of messages in a span of time", `"3/7d"`
	case reflect.TypeFor[Zone]():
		return "a time zone", `"UTC"`
	case reflect.TypeFor[Prefix]():
		return "a network", `"10.0.0.0/8"`
	case reflect.TypeFor[Addr]():
		return "an IP address", `"192.0.2.10"`
	case reflect.TypeFor[Server]():
		return "the address of a DNS server", `"127.0.0.1:53"`
	case reflect.TypeFor[Listen]():
		return "an address to listen on", `"127.0.0.1:2587"`
	case reflect.TypeFor[HostPort]():
		return "a host with a port", `"smtp.corp.example:25"`
	}
	switch t.Kind() {
	case reflect.Bool:
		return "true or false", "true"
	case reflect.Int, reflect.Int64:
		return "a whole number", "25"
	case reflect.Float64:
		return "a number", "0.1"
	case reflect.Map:
		return "a table of names and whole numbers", "{ default = 500, total = 3000 }"
	default:
		return "text", ""
	}
}
