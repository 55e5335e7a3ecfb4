// SPDX-License-Identifier: Apache-2.0

package rule

import "slices"

// membership compiles in.
func (c *compiler) membership(n Node) predicate {
	switch {
	case len(n.Right.Texts) > 0:
		slot, _ := c.slot(n.Left)
		in := oneOf(n.Right.Texts)
		return func(v *Values) bool {
			x := &v.Slots[slot]
			return x.kind == Text && in(x.text)
		}
	case len(n.Right.Numbers) > 0:
		get := c.number(n.Left)
		sorted := slices.Sorted(slices.Values(n.Right.Numbers))
		return func(v *Values) bool {
			x, ok := get(v)
			if !ok {
				return false
			}
			_, found := slices.BinarySearch(sorted, x)
			return found
		}
	}
	slot, t := c.slot(n.Right)
	holds := func(x *Value, item string) bool { return x.has(item) }
	if t == Topics {
		holds = func(x *Value, item string) bool { _, ok := x.topic(item); return ok }
	}
	if n.Left.Text != nil {
		item := *n.Left.Text
		return func(v *Values) bool { return holds(&v.Slots[slot], item) }
	}
	left, _ := c.slot(n.Left)
	return func(v *Values) bool {
		x := &v.Slots[left]
		return x.kind == Text && holds(&v.Slots[slot], x.text)
	}
}

// few is up to how many texts a scan beats a hash.
const few = 8

// oneOf tests for membership in literal texts.
func oneOf(texts []string) func(string) bool {
	texts = slices.Clone(texts)
	if len(texts) <= few {
		return func(s string) bool { return slices.Contains(texts, s) }
	}
	hashed := make(map[string]struct{}, len(texts))
	for _, s := range texts {
		hashed[s] = struct{}{}
	}
	return func(s string) bool {
		_, ok := hashed[s]
		return ok
	}
}

// list is has_any and has_all: the one that scans the shorter side.
func (c *compiler) list(n Node) predicate {
	slot, _ := c.slot(n.Left)
	want := ListValue(n.Right.Texts...).set.list
	blank := slices.Contains(n.Right.Texts, "") // no list holds it
	if n.Op == OpHasAll {
		return func(v *Values) bool {
			x := &v.Slots[slot]
			if x.kind != List || blank {
				return false
			}
			for _, item := range want {
				if !x.has(item) {
					return false
				}
			}
			return true
		}
	}
	in := oneOf(want)
	return func(v *Values) bool {
		x := &v.Slots[slot]
		return x.kind == List && slices.ContainsFunc(x.set.list, in)
	}
}
