// SPDX-License-Identifier: Apache-2.0

package config

import (
	"fmt"
	"slices"
)

// lists reports names of lists that stand there twice, or contradict each other. Which lists there are is known by imports, not here.
func (k *checker) lists(s *Segment) {
	for _, side := range []struct {
		key   string
		names []string
	}{{"include", s.Include}, {"exclude", s.Exclude}} {
		for i, name := range side.names {
			at := fmt.Sprintf("segment[%s].%s[%d]", s.Name, side.key, i)
			switch {
			case name == "": // said already
			case slices.Contains(side.names[:i], name):
				k.fail(at, fmt.Sprintf("%q stands there twice", name), "remove one")
			case side.key == "exclude" && slices.Contains(s.Include, name):
				k.fail(at, fmt.Sprintf("%q is included as well", name), "exclude wins: nobody comes in by this list")
			}
		}
	}
}
