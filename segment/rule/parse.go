// SPDX-License-Identifier: Apache-2.0

package rule

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// Limits of a value from outside.
const (
	MaxText  = 4096 // bytes of a text, and of one list item or topic
	MaxItems = 1024 // items of a list, topics of a topics value
)

// ParseValue reads a value as import columns and the API spell it. Blank input
// is missing, whatever the type. Accepted are:
//
//	text     as it is, at most [MaxText] bytes of UTF-8
//	number   12, -0.5, 1e6
//	boolean  true, false, yes, no, 1, 0, in any case
//	time     2026-01-02, 2026-01-02 15:04:05, RFC 3339; UTC where no zone is given
//	list     a|b|c; blanks around items are cut, empty items dropped
//	topics   crm=0.5|erp=2
func ParseValue(t Type, text string) (Value, error) {
	trimmed := strings.TrimSpace(text)
	if trimmed == "" {
		return Value{}, nil
	}
	switch t {
	case Text:
		if err := checkText(text); err != nil {
			return Value{}, err
		}
		return TextValue(text), nil
	case Number:
		n, err := parseNumber(trimmed)
		if err != nil {
			return Value{}, err
		}
		return NumberValue(n), nil
	case Boolean:
		return parseBoolean(trimmed)
	case Time:
		return parseTime(trimmed)
	case List:
		return parseList(strings.Split(trimmed, "|"))
	case Topics:
		return parseTopics(trimmed)
	default:
		return Value{}, fmt.Errorf("no value can be of type %s", t)
	}
}

func checkText(text string) error {
	if len(text) > MaxText {
		return fmt.Errorf("text of %d bytes is longer than %d", len(text), MaxText)
	}
	if !utf8.ValidString(text) {
		return errors.New("text is not UTF-8")
	}
	return nil
}

func parseNumber(text string) (float64, error) {
	if len(text) > 64 || strings.Trim(text, "0123456789+-.eE") != "" {
		return 0, fmt.Errorf("%q is not a number (write 12, -0.5 or 1e6)", shorten(text))
	}
	n, err := strconv.ParseFloat(text, 64)
	if err != nil || math.IsInf(n, 0) {
		return 0, fmt.Errorf("%q is not a number (write 12, -0.5 or 1e6)", shorten(text))
	}
	return n, nil
}

func parseBoolean(text string) (Value, error) {
	switch strings.ToLower(text) {
	case "true", "yes", "1":
		return BooleanValue(true), nil
	case "false", "no", "0":
		return BooleanValue(false), nil
	default:
		return Value{}, fmt.Errorf("%q is not a boolean (write true or false)", shorten(text))
	}
}

func parseTime(text string) (Value, error) {
	t, err := parseInstant(text)
	if err != nil {
		return Value{}, err
	}
	v := TimeValue(t)
	if v.Type() == Missing {
		return Value{}, fmt.Errorf("time %q is outside the years 1 to 9999", shorten(text))
	}
	return v, nil
}

// parseInstant reads the spellings of a time that values and rules share.
func parseInstant(text string) (time.Time, error) {
	for _, layout := range [...]string{time.RFC3339Nano, time.DateOnly, time.DateTime, "2006-01-02T15:04:05"} {
		if t, err := time.Parse(layout, text); err == nil {
			return t.UTC(), nil
		}
	}
	return time.Time{}, fmt.Errorf("%q is not a time (write 2026-01-02 or 2026-01-02T15:04:05Z)", shorten(text))
}

func parseList(items []string) (Value, error) {
	if len(items) > MaxItems {
		return Value{}, fmt.Errorf("list of %d items is longer than %d", len(items), MaxItems)
	}
	trimmed := make([]string, len(items))
	for i, item := range items {
		trimmed[i] = strings.TrimSpace(item)
		if err := checkText(trimmed[i]); err != nil {
			return Value{}, fmt.Errorf("item %d: %w", i+1, err)
		}
	}
	return ListValue(trimmed...), nil
}

func parseTopics(text string) (Value, error) {
	parts := strings.Split(text, "|")
	scores := make(map[string]float64, len(parts))
	for _, part := range parts {
		if strings.TrimSpace(part) == "" {
			continue
		}
		cut := strings.LastIndexByte(part, '=')
		if cut < 0 {
			return Value{}, fmt.Errorf("%q is not a topic and its score (write crm=0.5)", shorten(part))
		}
		name := strings.TrimSpace(part[:cut])
		score, err := parseNumber(strings.TrimSpace(part[cut+1:]))
		if err != nil {
			return Value{}, fmt.Errorf("topic %q: %w", shorten(name), err)
		}
		if _, twice := scores[name]; twice {
			return Value{}, fmt.Errorf("topic %q stands there twice", shorten(name))
		}
		scores[name] = score
	}
	return checkTopics(scores)
}

func checkTopics(scores map[string]float64) (Value, error) {
	if len(scores) > MaxItems {
		return Value{}, fmt.Errorf("%d topics are more than %d", len(scores), MaxItems)
	}
	for name := range scores {
		if name == "" {
			return Value{}, errors.New("a topic has no name")
		}
		if err := checkText(name); err != nil {
			return Value{}, fmt.Errorf("topic: %w", err)
		}
	}
	return TopicsValue(scores), nil
}

// ParseJSON reads a value from JSON: the natural form of its type, as
// [Value.MarshalJSON] writes it, or a string that [ParseValue] reads. null is
// missing.
func ParseJSON(t Type, data []byte) (Value, error) {
	data = bytes.TrimSpace(data)
	if len(data) == 0 {
		return Value{}, fmt.Errorf("reading a %s: no JSON", t)
	}
	if string(data) == "null" {
		return Value{}, nil
	}
	if data[0] == '"' {
		var text string
		if err := json.Unmarshal(data, &text); err != nil {
			return Value{}, fmt.Errorf("reading a %s: %w", t, err)
		}
		return ParseValue(t, text)
	}
	switch {
	case t == Number && data[0] != '[' && data[0] != '{', t == Boolean && (data[0] == 't' || data[0] == 'f'):
		return ParseValue(t, string(data))
	case t == List && data[0] == '[':
		var items []string
		if err := json.Unmarshal(data, &items); err != nil {
			return Value{}, fmt.Errorf("reading a list: %w", err)
		}
		return parseList(items)
	case t == Topics && data[0] == '{':
		var scores map[string]float64
		if err := json.Unmarshal(data, &scores); err != nil {
			return Value{}, fmt.Errorf("reading topics: %w", err)
		}
		return checkTopics(scores)
	default:
		return Value{}, fmt.Errorf("JSON %s is not a %s", shorten(string(data)), t)
	}
}

// shorten cuts text from outside for an error message.
func shorten(text string) string {
	const most = 40
	if len(text) <= most {
		return text
	}
	return strings.ToValidUTF8(text[:most], "") + "..."
}
