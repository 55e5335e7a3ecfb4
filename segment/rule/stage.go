// SPDX-License-Identifier: Apache-2.0

package rule

import (
	"fmt"
	"slices"
	"strings"
)

// staged is a segment whose members are in a stage.
type staged struct {
	segment int // its number
	name    string
	stage   string
}

// stagesOf lists the segments with a stage, in the order of the definitions. Of two
// with the same name the first one counts, as it does where rules refer to it.
func (t *Set) stagesOf(defs []Definition) (list []staged) {
	for i := range defs {
		if defs[i].Stage != "" && t.names[defs[i].Name] == i {
			list = append(list, staged{i, defs[i].Name, defs[i].Stage})
		}
	}
	return list
}

// referToStages makes a rule that reads the stage refer to every segment that
// gives one: what it reads is who is in those.
func (t *Set) referToStages(p *parsed) {
	if p.stage == nil {
		return
	}
	for _, x := range t.stages {
		p.refs = append(p.refs, reference{name: x.name, at: p.stage, stage: true})
	}
}

// useStages notes that what was compiled reads the members of these segments.
func (c *compiler) useStages() {
	if !c.reads[stageName] {
		return
	}
	for _, x := range c.set.stages {
		c.use(&c.uses.segments, x.segment)
	}
}

// stageKey is what the stage of a contact follows from, for a digest.
func (t *Set) stageKey() string {
	var text strings.Builder
	for _, x := range t.stages {
		fmt.Fprintf(&text, "%q %x\n", x.stage, t.keys[x.segment])
	}
	return text.String()
}

const stageName = "stage"

// Stage returns the stage of a contact that is in some segments: that of the first
// of them, in the order of the definitions, that has one, and the name of that
// segment; both are "" where none has.
func (t *Set) Stage(members Bits) (stage, by string) {
	for _, x := range t.stages {
		if members.Has(x.segment) {
			return x.stage, x.name
		}
	}
	return "", ""
}

// Refer tells rules that refer to a segment whether a contact, given by its pairs, is
// in it, and with that which stage it is in.
func (t *Set) Refer(pairs []*Values, i int, in bool) {
	for _, v := range pairs {
		v.Members.Set(i, in)
	}
	if slices.ContainsFunc(t.stages, func(x staged) bool { return x.segment == i }) {
		t.setStages(pairs)
	}
}

// setStages puts the stage that follows from Members where rules read it, if any
// segment has one.
func (t *Set) setStages(pairs []*Values) {
	if len(t.stages) == 0 {
		return
	}
	for _, v := range pairs {
		v.Slots[SlotStage] = Value{}
		if stage, _ := t.Stage(v.Members); stage != "" {
			v.Slots[SlotStage] = TextValue(stage)
		}
	}
}
