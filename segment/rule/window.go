// SPDX-License-Identifier: Apache-2.0

package rule

import "time"

// Window is the greatest age of an event that a window of the rule still counts, 0
// where no condition has a window. Events must be kept for that long.
func (r *Rule) Window() time.Duration {
	if r == nil {
		return 0
	}
	return r.whole.window()
}

func (n *Node) window() time.Duration {
	longest := time.Duration(0)
	for i := range n.Nodes {
		longest = max(longest, n.Nodes[i].window())
	}
	for _, o := range [...]*Operand{n.Left, n.Right} {
		if o != nil && o.Events != nil {
			longest = max(longest, time.Duration(o.Events.Older))
		}
		if o != nil && o.Contacts != nil {
			longest = max(longest, o.Contacts.window())
		}
	}
	return longest
}
