// SPDX-License-Identifier: Apache-2.0

package rule

import (
	"encoding/json"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Value is one attribute's value. The zero Value is missing. Values are
// immutable and safe to share; copying one copies 40 bytes.
type Value struct {
	text string
	set  *set
	bits uint64 // number: IEEE bits; boolean: 0 or 1; time: microseconds since 1970
	kind Type
}

// set holds what only lists and topics need.
type set struct {
	list   []string // sorted, no duplicates
	topics []Topic  // sorted by name, no duplicates
}

// Topic is one entry of a topics value.
type Topic struct {
	Name  string
	Score float64
}

// TextValue returns a text. Bytes that are not UTF-8 become U+FFFD.
func TextValue(text string) Value {
	return Value{kind: Text, text: strings.ToValidUTF8(text, "\uFFFD")}
}

// NumberValue returns a number; NaN and the infinities are missing, so that
// every number can be compared.
func NumberValue(n float64) Value {
	if math.IsNaN(n) || math.IsInf(n, 0) {
		return Value{}
	}
	return Value{kind: Number, bits: math.Float64bits(n + 0)} // + 0 makes -0 plain
}

// BooleanValue returns true or false.
func BooleanValue(b bool) Value {
	v := Value{kind: Boolean}
	if b {
		v.bits = 1
	}
	return v
}

// TimeValue returns an instant, cut to the microsecond. The zero time and years
// outside 1 to 9999 are missing.
func TimeValue(t time.Time) Value {
	micro := t.UnixMicro()
	if micro == zeroMicro || !representable(t) {
		return Value{}
	}
	return Value{kind: Time, bits: uint64(micro)}
}

// zeroMicro is the zero time in microseconds since 1970; it is never a value.
const zeroMicro = -62135596800_000_000

func representable(t time.Time) bool {
	year := t.UTC().Year()
	return year >= 1 && year <= 9999
}

// ListValue returns a set of texts: sorted, without empty and repeated items. A
// list without items is present, not missing.
func ListValue(items ...string) Value {
	list := make([]string, 0, len(items))
	for _, item := range items {
		if item != "" {
			list = append(list, strings.ToValidUTF8(item, "\uFFFD"))
		}
	}
	slices.Sort(list)
	return Value{kind: List, set: &set{list: slices.Compact(list)}}
}

// TopicsValue returns scores by topic. Topics without a name or a finite score
// are left out.
func TopicsValue(scores map[string]float64) Value {
	topics := make([]Topic, 0, len(scores))
	for name, score := range scores {
		if name != "" && !math.IsNaN(score) && !math.IsInf(score, 0) {
			topics = append(topics, Topic{strings.ToValidUTF8(name, "\uFFFD"), score + 0})
		}
	}
	slices.SortFunc(topics, func(a, b Topic) int { return strings.Compare(a.Name, b.Name) })
	topics = slices.CompactFunc(topics, func(a, b Topic) bool { return a.Name == b.Name })
	return Value{kind: Topics, set: &set{topics: topics}}
}

// Type is the value's type; [Missing] for the zero Value.
func (v Value) Type() Type { return v.kind }

// Text returns the text, "" for other types.
func (v Value) Text() string { return v.text }

// Number returns the number, 0 for other types.
func (v Value) Number() float64 {
	if v.kind != Number {
		return 0
	}
	return math.Float64frombits(v.bits)
}

// Boolean returns the boolean, false for other types.
func (v Value) Boolean() bool { return v.kind == Boolean && v.bits == 1 }

// Time returns the instant in UTC, the zero time for other types.
func (v Value) Time() time.Time {
	if v.kind != Time {
		return time.Time{}
	}
	return time.UnixMicro(v.micro()).UTC()
}

// micro is the instant in microseconds since 1970.
func (v *Value) micro() int64 { return int64(v.bits) } //nolint:gosec // the bits of an int64

// List returns the items in order; the caller must not change them.
func (v Value) List() []string {
	if v.kind != List {
		return nil
	}
	return v.set.list
}

// Topics returns the topics by name; the caller must not change them.
func (v Value) Topics() []Topic {
	if v.kind != Topics {
		return nil
	}
	return v.set.topics
}

// Topic returns the score of one topic; false where there is none.
func (v *Value) topic(name string) (float64, bool) {
	if v.kind != Topics {
		return 0, false
	}
	topics := v.set.topics
	lo, hi := 0, len(topics)
	for lo < hi {
		mid := int(uint(lo+hi) >> 1)
		if topics[mid].Name < name {
			lo = mid + 1
		} else {
			hi = mid
		}
	}
	if lo == len(topics) || topics[lo].Name != name {
		return 0, false
	}
	return topics[lo].Score, true
}

// has reports whether a list holds an item.
func (v *Value) has(item string) bool {
	if v.kind != List {
		return false
	}
	if len(v.set.list) <= few {
		return slices.Contains(v.set.list, item)
	}
	_, ok := slices.BinarySearch(v.set.list, item)
	return ok
}

// Equal reports whether both are of the same type and value.
func (v Value) Equal(o Value) bool {
	return v.kind == o.kind && v.bits == o.bits && v.text == o.text &&
		slices.Equal(v.List(), o.List()) && slices.Equal(v.Topics(), o.Topics())
}

// String is the value for people, as [ParseValue] reads it: "a|b" for lists,
// "crm=0.5|erp=2" for topics, RFC 3339 for times, "" for missing.
func (v Value) String() string {
	switch v.kind {
	case Text:
		return v.text
	case Number:
		return formatNumber(v.Number())
	case Boolean:
		return strconv.FormatBool(v.Boolean())
	case Time:
		return v.Time().Format(time.RFC3339Nano)
	case List:
		return strings.Join(v.set.list, "|")
	case Topics:
		parts := make([]string, len(v.set.topics))
		for i, t := range v.set.topics {
			parts[i] = t.Name + "=" + formatNumber(t.Score)
		}
		return strings.Join(parts, "|")
	default:
		return ""
	}
}

// MarshalJSON writes the natural JSON: string, number, true, RFC 3339 string,
// array, object; null for missing. [ParseJSON] reads it back.
func (v Value) MarshalJSON() ([]byte, error) {
	switch v.kind {
	case Text, Time:
		return json.Marshal(v.String())
	case Number:
		return json.Marshal(v.Number())
	case Boolean:
		return json.Marshal(v.Boolean())
	case List:
		return json.Marshal(v.set.list)
	case Topics:
		scores := make(map[string]float64, len(v.set.topics))
		for _, t := range v.set.topics {
			scores[t.Name] = t.Score
		}
		return json.Marshal(scores)
	default:
		return []byte("null"), nil
	}
}

// formatNumber writes a number so that it reads back exactly, without an
// exponent where an integer is exact.
func formatNumber(n float64) string {
	if n == math.Trunc(n) && math.Abs(n) <= maxExact {
		return strconv.FormatFloat(n, 'f', -1, 64)
	}
	return strconv.FormatFloat(n, 'g', -1, 64)
}

// maxExact is the largest integer up to which every integer is a double.
const maxExact = 1 << 53
