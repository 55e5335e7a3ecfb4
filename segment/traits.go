// SPDX-License-Identifier: Apache-2.0

package segment

import (
	"encoding/json"
	"maps"
	"math"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/seguemta/segue/mta/rfc5321"
	"github.com/seguemta/segue/segment/rule"
)

// attributeNames finds the declared attribute that a trait goes to: the one of
// its very name, else the one whose name differs in case and underscores only,
// so that firstName and first_name are one.
type attributeNames struct {
	schema *rule.Schema
	folded map[string]int // slot by scope and folded name
}

func newAttributeNames(schema *rule.Schema) attributeNames {
	n := attributeNames{schema: schema, folded: map[string]int{}}
	for _, a := range schema.Attributes() {
		slot, _, _ := schema.Slot(a.Name)
		if k := foldName(a.Name); n.folded[k] == 0 {
			n.folded[k] = slot
		}
	}
	return n
}

func foldName(name string) string { return strings.ToLower(strings.ReplaceAll(name, "_", "")) }

// find returns the slot and type of the attribute for a trait.
func (n *attributeNames) find(scope, trait string) (int, rule.Type, bool) {
	if slot, kind, ok := n.schema.Slot(scope + trait); ok {
		return slot, kind, true
	}
	slot, ok := n.folded[foldName(scope+trait)]
	if !ok {
		return 0, rule.Missing, false
	}
	_, kind, _ := n.schema.Slot(n.schema.Name(slot))
	return slot, kind, true
}

// Scopes of attribute names.
const (
	ofContact = "contact."
	ofAccount = "account."
)

// traits is what a JSON object says about a person or an account.
type traits struct {
	values               []attribute
	undeclared, unusable int
}

// set takes one trait. An object goes to an attribute of type topics, else its
// parts go to attributes named a_b, or b alone where a is "address".
func (x *traits) set(n *attributeNames, scope, name string, v any) {
	slot, kind, ok := n.find(scope, name)
	if object, is := v.(map[string]any); is && (!ok || kind != rule.Topics) {
		for _, part := range slices.Sorted(maps.Keys(object)) {
			inner := object[part]
			whole := name + "_" + part
			if _, _, found := n.find(scope, whole); !found && name == "address" {
				whole = part
			}
			if _, deep := inner.(map[string]any); !deep {
				x.set(n, scope, whole, inner)
			}
		}
		return
	}
	if !ok {
		x.undeclared++
		return
	}
	value, ok := valueOf(kind, v)
	if !ok {
		x.unusable++
		return
	}
	x.put(slot, value)
}

func (x *traits) put(slot int, v rule.Value) {
	for i := range x.values {
		if x.values[i].slot == slot {
			x.values[i].value = v
			return
		}
	}
	x.values = append(x.values, attribute{slot, v})
}

// setKnown sets an attribute where it is declared with the type of the value.
func (x *traits) setKnown(n *attributeNames, name string, v rule.Value) {
	if slot, kind, ok := n.schema.Slot(name); ok && kind == v.Type() {
		x.put(slot, v)
	}
}

// valueOf turns JSON into a value of a type; null is missing. Times may be text
// or a number of seconds or milliseconds since 1970.
func valueOf(kind rule.Type, v any) (rule.Value, bool) {
	if n, ok := v.(json.Number); ok {
		f, err := n.Float64()
		if err != nil {
			return rule.Value{}, false
		}
		v = f
	}
	switch x := v.(type) {
	case nil:
		return rule.Value{}, true
	case string:
		value, err := rule.ParseValue(kind, x)
		return value, err == nil
	case bool:
		return rule.BooleanValue(x), kind == rule.Boolean
	case float64:
		switch kind {
		case rule.Number:
			value := rule.NumberValue(x)
			return value, value.Type() == rule.Number
		case rule.Time:
			value := rule.TimeValue(fromUnix(x))
			return value, value.Type() == rule.Time
		case rule.Text:
			return rule.TextValue(rule.NumberValue(x).String()), true
		default:
			return rule.Value{}, false
		}
	case []any:
		items, ok := texts(x)
		return rule.ListValue(items...), ok && kind == rule.List && len(items) <= rule.MaxItems
	case map[string]any:
		return topicsOf(x, kind)
	default:
		return rule.Value{}, false
	}
}

func topicsOf(object map[string]any, kind rule.Type) (rule.Value, bool) {
	scores := make(map[string]float64, len(object))
	for name, v := range object {
		value, ok := valueOf(rule.Number, v)
		if !ok || value.Type() != rule.Number {
			return rule.Value{}, false
		}
		scores[name] = value.Number()
	}
	return rule.TopicsValue(scores), kind == rule.Topics && len(scores) <= rule.MaxItems
}

func fromUnix(x float64) time.Time {
	const manySeconds = 1e11 // the year 5138: more than that are milliseconds
	if math.IsNaN(x) || math.Abs(x) > 1e15 {
		return time.Time{}
	}
	if math.Abs(x) < manySeconds {
		x *= 1000
	}
	return time.UnixMilli(int64(x))
}

func texts(list []any) ([]string, bool) {
	items := make([]string, 0, len(list))
	for _, v := range list {
		s, ok := v.(string)
		if !ok {
			return nil, false
		}
		items = append(items, s)
	}
	return items, true
}

// text returns a trait by one of its spellings, "" where there is none or it is
// not text that can be kept.
func text(of map[string]any, names ...string) string {
	for _, name := range names {
		s, _ := of[name].(string)
		if s = tidyText(s); s != "" {
			return s
		}
	}
	return ""
}

// tidyText is text without blanks around it, "" where it cannot be kept.
func tidyText(s string) string {
	s, err := short(strings.TrimSpace(s))
	if err != nil {
		return ""
	}
	return strings.ToValidUTF8(s, "\uFFFD")
}

// instantOf returns a time by one of its spellings, zero where there is none.
func instantOf(of map[string]any, names ...string) time.Time {
	for _, name := range names {
		if v, ok := valueOf(rule.Time, of[name]); ok && v.Type() == rule.Time {
			return v.Time()
		}
	}
	return time.Time{}
}

// languageOf brings a locale into the form of BCP 47: en_US is en-US. "" where
// it is none.
func languageOf(locale string) string {
	tag, _, _ := strings.Cut(strings.ReplaceAll(locale, "_", "-"), ".")
	if len(tag) < 2 || len(tag) > 35 {
		return ""
	}
	parts := strings.Split(tag, "-")
	for i, p := range parts {
		if p == "" || len(p) > 8 || strings.ContainsFunc(p, func(r rune) bool {
			return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9')
		}) {
			return ""
		}
		switch {
		case i > 0 && len(p) == 2:
			parts[i] = strings.ToUpper(p)
		case i > 0 && len(p) == 4:
			parts[i] = strings.ToUpper(p[:1]) + strings.ToLower(p[1:])
		default:
			parts[i] = strings.ToLower(p)
		}
	}
	return strings.Join(parts, "-")
}

// zoneOf returns the name of a time zone, "" where it is none.
func zoneOf(name string) string {
	if name == "" || name == "Local" || len(name) > maxName {
		return ""
	}
	if _, err := time.LoadLocation(name); err != nil {
		return ""
	}
	return name
}

// domainOf returns the domain of a web site, "" where there is none.
func domainOf(website string) string {
	if !strings.Contains(website, "://") {
		website = "https://" + website
	}
	u, err := url.Parse(website)
	if err != nil {
		return ""
	}
	domain, err := rfc5321.ParseDomain(strings.TrimPrefix(strings.ToLower(u.Hostname()), "www."))
	if err != nil || !strings.Contains(domain, ".") {
		return ""
	}
	return domain
}

// tagsOf returns the tags that a trait lists, how many of them cannot be kept, as
// an import could not, and false where the trait is no list.
func tagsOf(v any) (tags []string, left int, ok bool) {
	switch v.(type) {
	case nil:
		return nil, 0, true
	case string, []any:
	default:
		return nil, 0, false
	}
	value, ok := valueOf(rule.List, v)
	for _, tag := range value.List() {
		if tag = tidyText(tag); tag != "" {
			tags = append(tags, tag)
		} else {
			left++
		}
	}
	slices.Sort(tags)
	return slices.Compact(tags), left, ok
}

// Limits of the properties of an event.
const (
	maxProperties = 200
	maxNesting    = 8
)

// flatten makes an event's properties flat: an object inside another is "a.b".
// What has no value in rules (null, lists, more than maxProperties) is left
// out and counted. Text that is an instant by RFC 3339 is a time.
func flatten(into map[string]rule.Value, prefix string, of map[string]any, level int) (left int) {
	var room [namesRoom]string
	for _, name := range sortedNames(room[:0], of) {
		v, full := of[name], prefix+name
		if object, ok := v.(map[string]any); ok && level < maxNesting {
			left += flatten(into, full+".", object, level+1)
			continue
		}
		value := propertyOf(v)
		if value.Type() == rule.Missing || name == "" || len(full) > maxName || len(into) >= maxProperties {
			left++
			continue
		}
		into[strings.ToValidUTF8(full, "\uFFFD")] = value
	}
	return left
}

// namesRoom is for how many properties there is room on the stack: most events have
// fewer.
const namesRoom = 16

// sortedNames appends the keys of a map to room, in order.
func sortedNames[V any](room []string, of map[string]V) []string {
	for name := range of {
		room = append(room, name)
	}
	slices.Sort(room)
	return room
}

func propertyOf(v any) rule.Value {
	switch x := v.(type) {
	case string:
		if len(x) >= len("2006-01-02T15:04Z") && len(x) <= len(time.RFC3339Nano) && x[4] == '-' {
			if t, err := time.Parse(time.RFC3339Nano, x); err == nil {
				if value := rule.TimeValue(t); value.Type() == rule.Time {
					return value
				}
			}
		}
		if len(x) > rule.MaxText {
			x = x[:rule.MaxText]
		}
		return rule.TextValue(x)
	case bool:
		return rule.BooleanValue(x)
	case float64:
		return rule.NumberValue(x)
	case json.Number:
		if f, err := x.Float64(); err == nil {
			return rule.NumberValue(f)
		}
	}
	return rule.Value{}
}
