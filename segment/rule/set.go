// SPDX-License-Identifier: Apache-2.0

package rule

import (
	"crypto/sha256"
	"fmt"
	"io"
	"slices"
	"strings"
)

// Definition is one segment: a contact is in it when Where holds or it is in one
// of the Include lists, and it is in none of the Exclude lists.
type Definition struct {
	Name             string
	Where            string // CEL; may be empty where Include is not
	Include, Exclude []string
	Stage            string // that its members are in; "" = none
}

// Set is the rules of all segments, compiled together: they refer to each other
// by name, and equal event conditions share one series. It is immutable and safe
// for concurrent use.
//
// Members, Series and Counts of a [Values] go by the numbers of one Set; what is
// stored goes by [SeriesSpec.Key], [Counted.Key] and [Set.Key].
type Set struct {
	schema  *Schema
	names   map[string]int // of rules that can be referred to
	rules   []*Rule
	errs    []error
	keys    [][16]byte
	order   []int
	place   []int // of each rule in order
	series  []SeriesSpec
	counted []Counted
	known   map[[16]byte]int // series and counted conditions, by key
	stages  []staged
	index   index
	nesting nesting

	together together
}

// CompileSet compiles definitions. Each rule has its own error; one that refers
// to a bad one, or in a circle, is bad itself.
func (s *Schema) CompileSet(defs []Definition) *Set {
	t := &Set{
		schema: s, names: make(map[string]int), known: make(map[[16]byte]int),
		rules: make([]*Rule, len(defs)), errs: make([]error, len(defs)), keys: make([][16]byte, len(defs)),
	}
	t.together.known, t.together.parts = make(map[string]int), make([][]int, len(defs))
	sources := make([]*parsed, len(defs))
	for i, d := range defs {
		p, err := s.parseDefinition(&d)
		if _, twice := t.names[d.Name]; twice {
			err = &Error{Text: fmt.Sprintf("two segments are named %q", shorten(d.Name)), Hint: "rename one"}
		} else {
			t.names[d.Name] = i
		}
		if err != nil {
			p = &parsed{}
		}
		sources[i], t.errs[i] = p, err
	}
	t.stages = t.stagesOf(defs)
	for _, p := range sources {
		t.referToStages(p)
	}
	t.link(defs, sources)
	for _, i := range t.order {
		if t.errs[i] == nil {
			t.errs[i] = t.brokenRef(sources[i].refs)
		}
		if t.errs[i] == nil {
			t.rules[i], t.errs[i] = t.build(&defs[i], sources[i], i)
		}
	}
	t.index, t.nesting = t.newIndex(), t.newNesting()
	t.newTogether()
	return t
}

// parseDefinition is parse, with lists in the place of a text.
func (s *Schema) parseDefinition(d *Definition) (*parsed, error) {
	if slices.Contains(d.Include, "") || slices.Contains(d.Exclude, "") {
		return nil, &Error{Text: "a list to include or exclude has no name"}
	}
	text := d.Where
	if strings.TrimSpace(text) == "" && len(d.Include) > 0 {
		text = "false"
	}
	return s.parse(text)
}

// withLists is the tree with what the lists of the definition add.
func withLists(n Node, d *Definition) Node {
	in := func(list string) Node { return test(OpIn, &Operand{Text: &list}, &Operand{Attr: "lists"}) }
	join := func(kind Kind, first Node, more []Node) Node {
		switch {
		case len(more) == 0:
			return first
		case first.Kind == kind:
			return Node{Kind: kind, Nodes: slices.Concat(first.Nodes, more)}
		default:
			return Node{Kind: kind, Nodes: append([]Node{first}, more...)}
		}
	}
	var include, exclude []Node
	for _, list := range d.Include {
		include = append(include, in(list))
	}
	for _, list := range d.Exclude {
		exclude = append(exclude, not(in(list)))
	}
	return join(KindAll, join(KindAny, n, include), exclude)
}

// brokenRef is the fault of a rule that refers to a bad one.
func (t *Set) brokenRef(refs []reference) error {
	var faults []*Error
	for _, r := range refs {
		if t.errs[t.names[r.name]] != nil {
			faults = append(faults, faultAt(r.at, fmt.Sprintf("segment %q is broken itself", shorten(r.name)), "repair that one first"))
		}
	}
	if faults == nil {
		return nil
	}
	return join(faults)
}

// build makes the rule of a checked tree. What it refers to is built.
func (t *Set) build(d *Definition, p *parsed, number int) (*Rule, error) {
	whole := withLists(p.node, d)
	c := compiler{set: t, pair: paired(&whole), reads: make(map[string]bool)}
	match, conditions := c.conjunction(&whole)
	r := &Rule{set: t, node: p.node, whole: whole, text: p.text, paired: c.pair, match: match}
	c.useStages()
	if c.err != nil {
		return nil, &Error{Text: c.err.Error()}
	}
	for name := range c.reads {
		r.reads = append(r.reads, name)
	}
	slices.Sort(r.reads)
	r.uses, r.room, r.tickers = c.uses, c.room(), c.tickers
	t.share(number, c.pair, conditions)
	t.keys[number] = t.keyOf(&c, "rule", p.text, fmt.Sprintf("%q %q", d.Include, d.Exclude))
	return r, nil
}

// paired reports whether a tree speaks of one account of the contact.
func paired(n *Node) bool {
	for i := range n.Nodes {
		if paired(&n.Nodes[i]) {
			return true
		}
	}
	for _, o := range [...]*Operand{n.Left, n.Right} {
		if o != nil && (o.Contacts != nil || o.Attr == "role" || o.Attr == "account_score" || strings.HasPrefix(o.Attr, accountScope+".")) {
			return true
		}
	}
	return false
}

// keyOf is a digest of what was compiled: its text, the types of what it reads,
// and the keys of what it refers to.
func (t *Set) keyOf(c *compiler, parts ...string) [16]byte {
	h := sha256.New()
	for _, part := range parts {
		fmt.Fprintf(h, "%q\n", part)
	}
	names := make([]string, 0, len(c.reads))
	for name := range c.reads {
		_, kind, _ := t.schema.Slot(name)
		names = append(names, name+" "+kind.String())
	}
	slices.Sort(names)
	fmt.Fprintf(h, "%q\n", names)
	if c.reads[stageName] {
		_, _ = io.WriteString(h, t.stageKey())
	}
	for _, i := range c.uses.segments {
		_, _ = h.Write(t.keys[i][:])
	}
	for _, i := range c.uses.counted {
		_, _ = h.Write(t.counted[i].key[:])
	}
	return [16]byte(h.Sum(nil))
}

// seriesOf returns the number of the series that an aggregate reads. Once the
// set is compiled it is there.
func (t *Set) seriesOf(e *Events) (int, error) {
	text := ""
	if e.Where != nil {
		var err error
		if text, err = e.Where.Print(); err != nil {
			return 0, fmt.Errorf("the filter of events cannot be written: %w", err)
		}
	}
	name := CanonicalEvent(e.Name)
	key := digest("series", name, text, e.Property)
	if i, ok := t.known[key]; ok {
		return i, nil
	}
	spec := SeriesSpec{Event: name, Filter: e.Where, Property: e.Property, key: key}
	if e.Where != nil {
		var err error
		if spec.keep, err = filter(*e.Where); err != nil {
			return 0, err
		}
	}
	t.series = append(t.series, spec)
	t.known[key] = len(t.series) - 1
	return len(t.series) - 1, nil
}

func digest(parts ...string) [16]byte {
	h := sha256.New()
	for _, part := range parts {
		fmt.Fprintf(h, "%q\n", part)
	}
	return [16]byte(h.Sum(nil))
}

// countedOf returns the number of a condition about contacts.
func (t *Set) countedOf(n *Node) (int, error) {
	text, err := n.Print()
	if err != nil {
		return 0, fmt.Errorf("a condition about contacts cannot be written: %w", err)
	}
	c := compiler{set: t, pair: true, reads: make(map[string]bool)}
	counted := Counted{set: t, text: text, match: c.node(*n)}
	c.useStages()
	if c.err != nil {
		return 0, c.err
	}
	counted.key = t.keyOf(&c, "counted", text)
	if i, ok := t.known[counted.key]; ok {
		return i, nil
	}
	counted.uses, counted.room, counted.tickers, counted.reads = c.uses, c.room(), c.tickers, c.reads
	t.counted = append(t.counted, counted)
	t.known[counted.key] = len(t.counted) - 1
	return len(t.counted) - 1, nil
}

// Len is the number of definitions.
func (t *Set) Len() int { return len(t.rules) }

// Err is what is wrong with a definition, nil if nothing; see [Faults].
func (t *Set) Err(i int) error { return t.errs[i] }

// Rule is the rule of a definition; nil, which matches nobody, where Err is not.
func (t *Set) Rule(i int) *Rule { return t.rules[i] }

// Find is the number of a definition by name.
func (t *Set) Find(name string) (int, bool) {
	i, ok := t.names[name]
	return i, ok
}

// Referred reports whether a rule refers to this one, or asks contacts about it.
func (t *Set) Referred(i int) bool {
	return len(t.index.segments[i])+len(t.index.countedBySegment[i]) > 0
}

// Order is all definitions, referred-to ones before those that refer to them.
// Evaluate in this order, and put each answer into [Values].Members. The caller
// must not change it.
func (t *Set) Order() []int { return t.order }

// Key is the identity of a definition with all that it refers to: it changes
// when the answer for somebody may be another. A bad rule has none.
func (t *Set) Key(i int) [16]byte { return t.keys[i] }

// Series is the event conditions of all rules, each once, by number. The caller
// must not change it.
func (t *Set) Series() []SeriesSpec { return t.series }

// Counted is the conditions that are asked of an account's contacts, by number.
// The caller must not change it.
func (t *Set) Counted() []Counted { return t.counted }

// NewValues returns a Values of the right size in which everything is missing.
func (t *Set) NewValues() *Values {
	v := t.schema.NewValues()
	v.Series = make([]Series, len(t.series))
	v.Members = make(Bits, (t.Len()+63)/64)
	v.Counts = make([]Count, len(t.counted))
	return v
}
