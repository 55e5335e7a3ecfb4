// SPDX-License-Identifier: Apache-2.0

package rule

import (
	"fmt"
	"os"
	"strings"
	"testing"
)

// Every rule that the manual shows compiles, and the manual names every built-in
// name and every function.
func TestManual(t *testing.T) {
	text, err := os.ReadFile("../../deploy/manual/segments.md")
	if err != nil {
		t.Fatal(err)
	}
	defs := []Definition{{Name: "trial", Where: "true"}, {Name: "customers", Where: "true"}}
	for i, part := range strings.Split(string(text), "```") {
		if rules, ok := strings.CutPrefix(part, "cel\n"); ok && i%2 == 1 {
			for rule := range strings.Lines(rules) {
				defs = append(defs, Definition{Name: fmt.Sprint("rule ", len(defs)), Where: rule})
			}
		}
	}
	set := testSchema(t).CompileSet(defs)
	for i, d := range defs {
		if set.Err(i) != nil {
			t.Errorf("%s%v", d.Where, set.Err(i))
		}
	}
	for _, b := range builtins() {
		if !strings.Contains(string(text), "`"+b.Name+"`") {
			t.Errorf("the manual does not name %s", b.Name)
		}
	}
	for _, f := range eventMethods() {
		if !strings.Contains(string(text), "."+f+"(") {
			t.Errorf("the manual does not show %s", f)
		}
	}
	if len(defs) < 20 {
		t.Errorf("only %d rules were found", len(defs))
	}
}
