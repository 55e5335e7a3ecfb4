// SPDX-License-Identifier: Apache-2.0

package rule

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"
)

// Kind is what a [Node] is. A reader meets an unknown kind with an error, so new
// kinds can be added without a new format.
type Kind string

// The kinds.
const (
	KindAll   Kind = "all"   // every one of Nodes, at least two
	KindAny   Kind = "any"   // at least one of Nodes, at least two
	KindNot   Kind = "not"   // the exact complement of the one in Nodes
	KindConst Kind = "const" // Value
	KindTest  Kind = "test"  // a condition: Left Op Right

	KindSegment Kind = "segment" // the contact is in Segment
)

// Op is what a condition asks.
type Op string

// The operators, and what stands left and right of each.
const (
	OpIs         Op = "is"  // a boolean is true; nothing right
	OpHas        Op = "has" // an attribute is present; nothing right
	OpEqual      Op = "=="  // two of one type: text, number, boolean or time
	OpLess       Op = "<"   // text, number or time, as the next three
	OpAtMost     Op = "<="
	OpGreater    Op = ">"
	OpAtLeast    Op = ">="
	OpIn         Op = "in"         // attribute in literals; text in a list or in topics
	OpStartsWith Op = "startsWith" // text, text
	OpEndsWith   Op = "endsWith"   // text, text
	OpContains   Op = "contains"   // text, text
	OpMatches    Op = "matches"    // text, RE2 pattern
	OpHasAny     Op = "has_any"    // list, literal texts
	OpHasAll     Op = "has_all"    // list, literal texts

	OpAnyContact  Op = "any_contact"  // Contacts left: it holds for one of them; nothing right
	OpAllContacts Op = "all_contacts" // it holds for each of them, and there is one
)

// unary reports whether nothing stands right of the operator.
func (op Op) unary() bool {
	return op == OpIs || op == OpHas || op == OpAnyContact || op == OpAllContacts
}

// Node is a rule as a tree, the form in which rules are stored as JSON. Negative
// operators (!=, has_none, no_contact) are a KindNot around their positive one.
type Node struct {
	Kind  Kind     `json:"kind"`
	Nodes []Node   `json:"nodes,omitempty"`
	Value bool     `json:"value,omitempty"`
	Op    Op       `json:"op,omitempty"`
	Left  *Operand `json:"left,omitempty"`
	Right *Operand `json:"right,omitempty"`

	Segment string `json:"segment,omitempty"`
}

// Operand is one side of a condition: exactly one of an attribute (or one topic
// of it), now, a literal, an aggregate of events, a bucket, the number of
// contacts for which a condition holds, and, within the filter of events only, a
// property. Offset is added to what is a time, and to now.
type Operand struct {
	Attr     string   `json:"attr,omitempty"`
	Topic    string   `json:"topic,omitempty"`
	Now      bool     `json:"now,omitempty"`
	Offset   Duration `json:"offset,omitempty"`
	Events   *Events  `json:"events,omitempty"`
	Bucket   string   `json:"bucket,omitempty"`
	Contacts *Node    `json:"contacts,omitempty"`
	Property string   `json:"property,omitempty"`

	Text    *string    `json:"text,omitempty"`
	Number  *float64   `json:"number,omitempty"`
	Boolean *bool      `json:"boolean,omitempty"`
	Time    *time.Time `json:"time,omitempty"`
	Texts   []string   `json:"texts,omitempty"`
	Numbers []float64  `json:"numbers,omitempty"`
}

// literal reports whether the operand is a single literal.
func (o *Operand) literal() bool {
	return o.Text != nil || o.Number != nil || o.Boolean != nil || o.Time != nil
}

// reads reports whether the operand stands for something that differs between
// contacts, or between events.
func (o *Operand) reads() bool {
	return o.Attr != "" || o.Events != nil || o.Bucket != "" || o.Contacts != nil || o.Property != ""
}

// Events is an aggregate of a contact's events. Those count whose age is at
// least Younger and less than Older; Older 0 is ever.
type Events struct {
	Name      string   `json:"name"`
	Older     Duration `json:"older,omitempty"`
	Younger   Duration `json:"younger,omitempty"`
	Where     *Node    `json:"where,omitempty"` // a condition on properties; nil = all
	Aggregate Function `json:"aggregate"`
	Property  string   `json:"property,omitempty"` // what is summed; of sum, avg, min, max only
}

// Function is what is made of events.
type Function string

// The functions. Without events, count, sum and distinct_days are 0 and the
// others are missing.
const (
	Counting     Function = "count"
	Sum          Function = "sum"
	Avg          Function = "avg"
	Min          Function = "min"
	Max          Function = "max"
	DistinctDays Function = "distinct_days"
	First        Function = "first"
	Last         Function = "last"
)

// valued reports whether the function reads a property.
func (f Function) valued() bool { return f == Sum || f == Avg || f == Min || f == Max }

// instant reports whether the function yields a time, not a number.
func (f Function) instant() bool { return f == First || f == Last }

// empties reports whether the function is missing where no event counts.
func (f Function) empties() bool { return f != Counting && f != Sum && f != DistinctDays }

// ParseNode reads a tree from JSON. It refuses unknown fields and trailing
// bytes; whether the tree is a rule is for [Schema.CompileNode] to say.
func ParseNode(data []byte) (Node, error) {
	var n Node
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	if err := d.Decode(&n); err != nil {
		return Node{}, fmt.Errorf("reading a rule's tree: %w", err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return Node{}, errors.New("reading a rule's tree: something follows it")
	}
	return n, nil
}

// Duration is a distance in time, written "7d", "36h" or as Go writes it.
type Duration time.Duration

// day is 24 hours; rules know no calendar days.
const day = 24 * time.Hour

// maxDuration bounds durations so that adding one to a time cannot overflow.
const maxDuration = 36500 * day

// String is the shortest of "7d", "36h" and Go's form.
func (d Duration) String() string {
	switch t := time.Duration(d); {
	case t != 0 && t%day == 0:
		return strconv.FormatInt(int64(t/day), 10) + "d"
	case t != 0 && t%time.Hour == 0:
		return strconv.FormatInt(int64(t/time.Hour), 10) + "h"
	default:
		return t.String()
	}
}

// MarshalText writes the form of [Duration.String].
func (d Duration) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// UnmarshalText reads "7d" and what Go's time.ParseDuration reads.
func (d *Duration) UnmarshalText(text []byte) error {
	parsed, err := parseDuration(string(text))
	*d = parsed
	return err
}

// parseDuration reads a duration of at most a hundred years in whole microseconds.
func parseDuration(text string) (Duration, error) {
	d, err := time.ParseDuration(text)
	if n, ok := strings.CutSuffix(text, "d"); ok {
		var days int64
		days, err = strconv.ParseInt(n, 10, 32)
		d = time.Duration(min(max(days, -40000), 40000)) * day
	}
	if err != nil {
		return 0, fmt.Errorf("%q is not a duration (write 7d, 36h or 90m)", shorten(text))
	}
	if d > maxDuration || d < -maxDuration {
		return 0, fmt.Errorf("duration %q is longer than 36500d", shorten(text))
	}
	if d%time.Microsecond != 0 {
		return 0, fmt.Errorf("duration %q is finer than a microsecond", shorten(text))
	}
	return Duration(d), nil
}
