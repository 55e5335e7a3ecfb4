// SPDX-License-Identifier: Apache-2.0

package rule

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// linker finds the order of rules, and the circles among them: Tarjan's strongly
// connected components, which come out referred-to ones first.
type linker struct {
	set     *Set
	defs    []Definition
	sources []*parsed
	seen    []int // by rule: when it was first met, from 1; 0 = not yet
	low     []int // by rule: the earliest that it leads back to
	stack   []int // met, and not yet in a component
	on      []bool
	clock   int
}

// link resolves the references of all rules and orders them.
func (t *Set) link(defs []Definition, sources []*parsed) {
	l := linker{set: t, defs: defs, sources: sources, seen: make([]int, len(defs)), low: make([]int, len(defs)), on: make([]bool, len(defs))}
	for i, p := range sources {
		var faults []*Error
		p.refs = slices.DeleteFunc(p.refs, func(r reference) bool {
			_, ok := t.names[r.name]
			if !ok {
				faults = append(faults, faultAt(r.at, fmt.Sprintf("no segment is named %q", shorten(r.name)), t.namesHint(r.name)))
			}
			return !ok
		})
		if faults != nil && t.errs[i] == nil {
			t.errs[i] = join(faults)
		}
	}
	for i := range sources {
		if l.seen[i] == 0 {
			l.visit(i)
		}
	}
	t.place = make([]int, len(t.order))
	for place, i := range t.order {
		t.place[i] = place
	}
}

func (t *Set) namesHint(name string) string {
	if hint := didYouMean(name, slices.Sorted(maps.Keys(t.names))); hint != "" {
		return hint
	}
	return "name one that is defined as [[segment]]"
}

func (l *linker) visit(i int) {
	l.clock++
	l.seen[i], l.low[i] = l.clock, l.clock
	l.stack, l.on[i] = append(l.stack, i), true
	for _, r := range l.sources[i].refs {
		to := l.set.names[r.name]
		if l.seen[to] == 0 {
			l.visit(to)
			l.low[i] = min(l.low[i], l.low[to])
		} else if l.on[to] {
			l.low[i] = min(l.low[i], l.seen[to])
		}
	}
	if l.low[i] != l.seen[i] {
		return
	}
	cut := slices.Index(l.stack, i)
	component := slices.Clone(l.stack[cut:])
	l.stack = l.stack[:cut]
	for _, member := range component {
		l.on[member] = false
	}
	slices.Sort(component)
	l.set.order = append(l.set.order, component...)
	for _, member := range component {
		l.circle(member, component)
	}
}

// circle gives a rule that leads back to itself its fault.
func (l *linker) circle(i int, component []int) {
	path := l.back(i, component)
	if path == nil {
		return
	}
	names := make([]string, len(path))
	for k, at := range path {
		names[k] = fmt.Sprintf("%q", shorten(l.defs[at].Name))
	}
	for _, r := range l.sources[i].refs {
		if l.set.names[r.name] == path[1] {
			hint := "break the circle"
			if r.stage {
				hint = "break the circle: whoever reads the stage refers to each segment that has one"
			}
			l.set.errs[i] = faultAt(r.at, "the segment refers to itself: "+strings.Join(names, " -> "), hint)
			return
		}
	}
}

// back is the shortest way from a rule to itself, both ends included; nil if
// there is none.
func (l *linker) back(i int, component []int) []int {
	before := map[int]int{}
	for queue := []int{i}; len(queue) > 0; queue = queue[1:] {
		at := queue[0]
		for _, r := range l.sources[at].refs {
			to := l.set.names[r.name]
			if to == i {
				path := []int{i}
				for ; at != i; at = before[at] {
					path = append(path, at)
				}
				path = append(path, i)
				slices.Reverse(path)
				return path
			}
			if _, met := before[to]; !met && slices.Contains(component, to) {
				before[to] = at
				queue = append(queue, to)
			}
		}
	}
	return nil
}
