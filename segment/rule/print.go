// SPDX-License-Identifier: Apache-2.0

package rule

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Print returns the tree as CEL text, which compiles to the same tree. It
// refuses a tree that is not well formed, so that nothing in a stored tree can
// become text it was not; names and types are checked when the text is compiled.
func (n Node) Print() (string, error) {
	p := printer{}
	p.node(n, 0, 0)
	if p.err != nil {
		return "", p.err
	}
	return p.out.String(), nil
}

type printer struct {
	out    strings.Builder
	leaves int
	events int
	err    error
}

func (p *printer) fail(format string, args ...any) {
	if p.err == nil {
		p.err = fmt.Errorf(format, args...)
	}
}

func (p *printer) write(parts ...string) {
	for _, s := range parts {
		p.out.WriteString(s)
	}
	if p.out.Len() > MaxRule {
		p.fail("the rule is longer than %d bytes", MaxRule)
	}
}

// Binding strengths, weakest first: what a node inside another needs
// parentheses against.
const (
	bindAny = iota + 1
	bindAll
	bindNot
)

// node writes n inside something that binds as strongly as outer.
func (p *printer) node(n Node, outer, depth int) {
	if depth > MaxDepth {
		p.fail("the rule is nested deeper than %d", MaxDepth)
	}
	if p.err != nil {
		return
	}
	if n.Kind != KindTest && (n.Op != "" || n.Left != nil || n.Right != nil) || n.Kind != KindConst && n.Value || n.Kind != KindSegment && n.Segment != "" {
		p.fail("a node of kind %q has fields of another", n.Kind)
		return
	}
	switch n.Kind {
	case KindAll:
		p.group(n.Nodes, " && ", outer > 0, bindAll, depth)
	case KindAny:
		p.group(n.Nodes, " || ", outer > 0, bindAny, depth)
	case KindNot:
		if len(n.Nodes) != 1 {
			p.fail("a node of kind not has %d nodes, it needs 1", len(n.Nodes))
			return
		}
		p.not(n.Nodes[0], depth)
	case KindConst, KindTest, KindSegment:
		if len(n.Nodes) != 0 {
			p.fail("a node of kind %q has nodes", n.Kind)
			return
		}
		p.leaf(n, outer, depth)
	default:
		p.fail("a node is of unknown kind %q", shorten(string(n.Kind)))
	}
}

func (p *printer) group(nodes []Node, glue string, parens bool, bind, depth int) {
	if len(nodes) < 2 {
		p.fail("a group of %d conditions; it needs 2 or more", len(nodes))
		return
	}
	if parens {
		p.write("(")
	}
	for i, n := range nodes {
		if i > 0 {
			p.write(glue)
		}
		p.node(n, bind, depth+1)
		if p.err != nil {
			return
		}
	}
	if parens {
		p.write(")")
	}
}

// not writes the complement of n, with the negative operator where there is one.
func (p *printer) not(n Node, depth int) {
	negative, ok := map[Op]Op{OpEqual: "!=", OpHasAny: "has_none", OpAnyContact: "no_contact"}[n.Op]
	if ok && n.Kind == KindTest && len(n.Nodes) == 0 && !n.Value && n.Segment == "" {
		n.Op = negative
		p.leaf(n, 0, depth)
		return
	}
	p.write("!")
	p.node(n, bindNot, depth+1)
}

func (p *printer) leaf(n Node, outer, depth int) {
	if p.leaves++; p.leaves > MaxLeaves {
		p.fail("the rule has more than %d conditions", MaxLeaves)
		return
	}
	switch {
	case n.Kind == KindConst:
		p.write(strconv.FormatBool(n.Value))
	case n.Kind == KindSegment:
		p.call("segment", n.Segment)
	case n.Left == nil || (n.Right == nil) != (n.Op.unary() || n.Op == "no_contact"):
		p.fail("a condition with %q lacks a side, or has one too many", shorten(string(n.Op)))
	default:
		p.test(n, outer, depth)
	}
}

func (p *printer) test(n Node, outer, depth int) {
	switch n.Op {
	case OpIs:
		p.operand(n.Left, depth)
	case OpAnyContact, OpAllContacts, "no_contact":
		if n.Left.Contacts == nil {
			p.fail("%s needs a condition about contacts", n.Op)
			return
		}
		p.inside(string(n.Op), n.Left, depth)
	case OpHas:
		if n.Left.Topic != "" || n.Left.Attr == "" && n.Left.Property == "" && n.Left.Events == nil {
			p.fail("has needs an attribute")
		}
		p.write("has(")
		p.operand(n.Left, depth)
		p.write(")")
	case OpEqual, "!=", OpLess, OpAtMost, OpGreater, OpAtLeast, OpIn:
		if outer == bindNot {
			p.write("(")
		}
		p.operand(n.Left, depth)
		p.write(" ", string(n.Op), " ")
		p.operand(n.Right, depth)
		if outer == bindNot {
			p.write(")")
		}
	case OpStartsWith, OpEndsWith, OpContains, OpMatches:
		p.operand(n.Left, depth)
		p.write(".", string(n.Op), "(")
		p.operand(n.Right, depth)
		p.write(")")
	case OpHasAny, OpHasAll, "has_none":
		p.write(string(n.Op), "(")
		p.operand(n.Left, depth)
		p.write(", ")
		p.operand(n.Right, depth)
		p.write(")")
	default:
		p.fail("a condition has the unknown operator %q", shorten(string(n.Op)))
	}
}

// operand writes one side, and refuses one that is not exactly one thing.
func (p *printer) operand(o *Operand, depth int) {
	if err := o.check(); err != nil {
		p.fail("%w", err)
		return
	}
	switch {
	case o.Events != nil:
		p.aggregate(o.Events, depth)
		p.offset(o.Offset)
	case o.Bucket != "":
		p.call("bucket", o.Bucket)
	case o.Contacts != nil:
		p.inside("contacts", o, depth)
	case o.Property != "":
		p.property(o.Property)
	case o.Attr != "":
		p.write(o.Attr)
		if o.Topic != "" {
			p.write("[", quote(o.Topic), "]")
		}
		p.offset(o.Offset)
	case o.Now:
		p.write("now")
		p.offset(o.Offset)
	case o.Text != nil:
		p.write(quote(*o.Text))
	case o.Number != nil:
		p.write(formatNumber(*o.Number))
	case o.Boolean != nil:
		p.write(strconv.FormatBool(*o.Boolean))
	case o.Time != nil:
		p.write("timestamp(", quote(o.Time.UTC().Format(time.RFC3339Nano)), ")")
	case o.Texts != nil:
		p.write("[")
		for i, s := range o.Texts {
			p.item(i, quote(s))
		}
		p.write("]")
	default:
		p.write("[")
		for i, n := range o.Numbers {
			p.item(i, formatNumber(n))
		}
		p.write("]")
	}
}

func (p *printer) item(i int, text string) {
	if i > 0 {
		p.write(", ")
	}
	p.write(text)
}

func (p *printer) offset(d Duration) {
	switch {
	case d > 0:
		p.write(" + ", spanText(d))
	case d < 0:
		p.write(" - ", spanText(-d))
	}
}

// spanText is a positive duration as rules write it.
func spanText(d Duration) string {
	switch t := time.Duration(d); {
	case t%day == 0:
		return "days(" + strconv.FormatInt(int64(t/day), 10) + ")"
	case t%time.Hour == 0:
		return "hours(" + strconv.FormatInt(int64(t/time.Hour), 10) + ")"
	default:
		return "duration(" + quote(t.String()) + ")"
	}
}

// quote writes a CEL string literal.
func quote(s string) string {
	var b strings.Builder
	b.WriteByte('"')
	for _, r := range s {
		switch {
		case r == '"' || r == '\\':
			b.WriteByte('\\')
			b.WriteRune(r)
		case r == '\n':
			b.WriteString(`\n`)
		case r == '\r':
			b.WriteString(`\r`)
		case r == '\t':
			b.WriteString(`\t`)
		case r < 0x20 || r >= 0x7f && r < 0xa0 || r == 0x2028 || r == 0x2029 || r == 0xfeff:
			fmt.Fprintf(&b, `\u%04x`, r)
		default:
			b.WriteRune(r)
		}
	}
	b.WriteByte('"')
	return b.String()
}
