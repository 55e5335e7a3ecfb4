// SPDX-License-Identifier: Apache-2.0

package rule

import (
	"slices"
	"strings"
	"time"
)

// Condition is one leaf of a rule as it stands for one contact.
type Condition struct {
	Text    string    `json:"text"`              // canonical, without a ! in front of it
	Negated bool      `json:"negated,omitempty"` // it stands under an odd number of negations: the rule is better off when it is false
	Depth   int       `json:"depth"`             // groups around it, the outermost not counted
	Result  bool      `json:"result"`            // what it is for this contact
	Missing bool      `json:"missing,omitempty"` // it is false because a value it reads is missing
	Reads   []Reading `json:"reads,omitempty"`   // what it compared, left to right, without literals
}

// Reading is a name in a condition and what stood there.
type Reading struct {
	Name  string `json:"name"`
	Value Value  `json:"value"`
}

// String is the condition for people: its text, what it read, its result.
func (c Condition) String() string {
	var b strings.Builder
	b.WriteString(strings.Repeat("  ", c.Depth))
	if c.Negated {
		b.WriteString("not ")
	}
	b.WriteString(c.Text)
	for i, r := range c.Reads {
		b.WriteString([]string{"  [", ", "}[min(i, 1)] + r.Name + " = ")
		if r.Value.Type() == Missing {
			b.WriteString("missing")
		} else {
			b.WriteString(r.Value.String())
		}
	}
	if len(c.Reads) > 0 {
		b.WriteByte(']')
	}
	if c.Result {
		return b.String() + "  true"
	}
	return b.String() + "  false"
}

// Explain returns every condition of the rule with its result, in the order of
// the text; none is skipped because another decided already. It compiles the
// conditions anew: it is for one contact and one reader, not for the engine.
func (r *Rule) Explain(v *Values) []Condition {
	if r == nil || len(v.Slots) < r.schema.Len() {
		return nil
	}
	var out []Condition
	if r.node.Kind == KindAll || r.node.Kind == KindAny {
		for _, n := range r.node.Nodes {
			r.explain(n, Condition{}, v, &out)
		}
		return out
	}
	r.explain(r.node, Condition{}, v, &out)
	return out
}

func (r *Rule) explain(n Node, around Condition, v *Values, out *[]Condition) {
	switch n.Kind {
	case KindNot:
		around.Negated = !around.Negated
		r.explain(n.Nodes[0], around, v, out)
	case KindAll, KindAny:
		around.Depth++
		for _, child := range n.Nodes {
			r.explain(child, around, v, out)
		}
	default:
		c := compiler{schema: r.schema, reads: make(map[string]bool)}
		around.Result = c.node(n)(v)
		around.Text, _ = n.Print() // it printed when the rule was compiled
		for _, o := range []*Operand{n.Left, n.Right} {
			if reading, ok := r.read(o, v); ok {
				around.Reads = append(around.Reads, reading)
				around.Missing = around.Missing || reading.Value.Type() == Missing
			}
		}
		*out = append(*out, around)
	}
}

// read looks up what an operand stands for; false for literals.
func (r *Rule) read(o *Operand, v *Values) (Reading, bool) {
	switch {
	case o == nil, o.Attr == "" && !o.Now:
		return Reading{}, false
	case o.Now:
		p := printer{}
		p.operand(o)
		return Reading{p.out.String(), TimeValue(v.Now.Add(time.Duration(o.Offset)))}, true
	case o.Topic != "":
		slot, _, _ := r.schema.Slot(o.Attr)
		reading := Reading{Name: o.Attr + "[" + quote(o.Topic) + "]"}
		if score, ok := v.Slots[slot].topic(o.Topic); ok {
			reading.Value = NumberValue(score)
		}
		return reading, true
	default:
		slot, _, _ := r.schema.Slot(o.Attr)
		return Reading{o.Attr, v.Slots[slot]}, true
	}
}

// NextChange returns the first instant after v.Now at which time alone changes
// the rule's answer for these values; false if none ever does. The answer is
// constant until the microsecond before. The built-in tier changes by time as
// well; its own package says when.
func (r *Rule) NextChange(v *Values) (time.Time, bool) {
	if r == nil || !r.time || len(v.Slots) < r.schema.Len() {
		return time.Time{}, false
	}
	var flips []int64
	r.flips(r.node, v, &flips)
	slices.Sort(flips)
	at := Values{Slots: v.Slots, Now: v.Now}
	answer := r.Match(v)
	now := v.Now.UnixMicro()
	for _, flip := range slices.Compact(flips) {
		if flip <= now {
			continue
		}
		at.Now = time.UnixMicro(flip).UTC()
		if r.Match(&at) != answer {
			return at.Now, true
		}
	}
	return time.Time{}, false
}

// flips collects every instant at which a condition on now may change: the
// instant at which both sides are equal, and the microsecond after it.
func (r *Rule) flips(n Node, v *Values, out *[]int64) {
	for _, child := range n.Nodes {
		r.flips(child, v, out)
	}
	if n.Kind != KindTest || n.Right == nil {
		return
	}
	var equal int64
	switch {
	case n.Left.Now && n.Right.Time != nil: // now op literal
		equal = n.Right.Time.UnixMicro()
	case n.Right.Now: // attribute op now + offset
		slot, _, _ := r.schema.Slot(n.Left.Attr)
		if v.Slots[slot].kind != Time {
			return
		}
		equal = v.Slots[slot].micro() - time.Duration(n.Right.Offset).Microseconds()
	default:
		return
	}
	*out = append(*out, equal, equal+1)
}
