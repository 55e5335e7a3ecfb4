// SPDX-License-Identifier: Apache-2.0

package templates

import (
	"strings"
	"testing"
	"time"

	"github.com/seguemta/segue/segment/rule"
	"github.com/seguemta/segue/segment/score"
)

// Each template compiles with the attributes that it names, and with no more
// than it needs.
func TestEachCompiles(t *testing.T) {
	seen := map[string]bool{}
	for _, tp := range All() {
		schema, err := rule.NewSchema(tp.Attributes)
		if err != nil {
			t.Fatalf("%s: %v", tp.Name, err)
		}
		set := schema.CompileSet(tp.Segments)
		read := map[string]bool{}
		for i, d := range tp.Segments {
			if err := set.Err(i); err != nil {
				t.Errorf("%s: %s: %v", tp.Name, d.Name, err)
				continue
			}
			for _, name := range set.Rule(i).Reads() {
				read[name] = true
			}
			if seen[d.Name] {
				t.Errorf("two segments are named %s", d.Name)
			}
			seen[d.Name] = true
		}
		o := tp.Scores
		o.HalfLife = time.Hour
		if _, err := score.New(schema, o); err != nil {
			t.Errorf("%s: %v", tp.Name, err)
		}
		for _, r := range tp.Scores.Fit {
			fit, err := schema.Compile(r.Where)
			if err != nil {
				t.Fatal(err)
			}
			for _, name := range fit.Reads() {
				read[name] = true
			}
		}
		for _, a := range tp.Attributes {
			if !read[a.Name] {
				t.Errorf("%s declares %s and does not read it", tp.Name, a.Name)
			}
		}
	}
}

func TestFind(t *testing.T) {
	tp, err := Find("journey")
	if err != nil || len(tp.Segments) != 5 {
		t.Errorf("journey: %v, %v", tp, err)
	}
	if _, err := Find("jorney"); err == nil || !strings.Contains(err.Error(), "there are hot-leads, active-customers") {
		t.Errorf("a name that is none: %v", err)
	}
}
