// SPDX-License-Identifier: Apache-2.0

package rule

// Levels returns the numbers with which rules compare a built-in score, and whether
// one compares it with something else, which may be another for each contact.
func (t *Set) Levels(name string) (levels []float64, others bool) {
	var walk func(n *Node)
	walk = func(n *Node) {
		for i := range n.Nodes {
			walk(&n.Nodes[i])
		}
		for _, side := range [...][2]*Operand{{n.Left, n.Right}, {n.Right, n.Left}} {
			o, other := side[0], side[1]
			switch {
			case o == nil:
			case o.Contacts != nil:
				walk(o.Contacts)
			case o.Attr != name || other == nil: // has asks for no number
			case other.Number != nil:
				levels = append(levels, *other.Number)
			case len(other.Numbers) > 0:
				levels = append(levels, other.Numbers...)
			default:
				others = true
			}
		}
	}
	for _, r := range t.rules {
		if r != nil {
			walk(&r.whole)
		}
	}
	return levels, others
}
