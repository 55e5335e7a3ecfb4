// SPDX-License-Identifier: Apache-2.0

package rule

import (
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
	Name    string `json:"name"`
	Value   Value  `json:"value"`
	Because string `json:"because,omitempty"` // of a stage: the segment that gives it
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
		if r.Because != "" {
			b.WriteString(" because of segment " + r.Because)
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
	if r == nil || !r.room.fits(v) {
		return nil
	}
	var out []Condition
	if r.whole.Kind == KindAll || r.whole.Kind == KindAny {
		for _, n := range r.whole.Nodes {
			r.explain(n, Condition{}, v, &out)
		}
		return out
	}
	r.explain(r.whole, Condition{}, v, &out)
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
		c := compiler{set: r.set, pair: r.paired, reads: make(map[string]bool)}
		around.Result = c.node(n)(v)
		around.Text, _ = n.Print() // it printed when the rule was compiled
		for _, o := range []*Operand{n.Left, n.Right} {
			if reading, ok := r.read(o, v); ok {
				around.Reads = append(around.Reads, reading)
				around.Missing = around.Missing || reading.Value.Type() == Missing
			}
		}
		if n.Kind == KindSegment {
			around.Reads = []Reading{{Name: around.Text, Value: BooleanValue(around.Result)}}
		}
		*out = append(*out, around)
	}
}

// read looks up what an operand stands for; false for literals.
func (r *Rule) read(o *Operand, v *Values) (Reading, bool) {
	if o == nil || !o.reads() && !o.Now {
		return Reading{}, false
	}
	p := printer{}
	out := Reading{}
	c := compiler{set: r.set, pair: r.paired, reads: make(map[string]bool)}
	switch t := c.operandType(o); {
	case t == Time && o.Attr == "":
		p.operand(o, 0)
		if at, ok := c.instant(o)(v); ok {
			out.Value = TimeValue(time.UnixMicro(at))
		}
	case t == Number && (o.Topic != "" || o.Attr == "" || decaying(o)):
		p.operand(o, 0)
		if n, ok := c.number(o)(v); ok {
			out.Value = NumberValue(n)
		}
	default:
		slot, _ := c.slot(o)
		out = Reading{Name: o.Attr, Value: v.Slots[slot]}
		if slot == SlotStage {
			_, out.Because = r.set.Stage(v.Members)
		}
		return out, true
	}
	out.Name = p.out.String()
	return out, true
}
