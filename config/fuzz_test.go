// SPDX-License-Identifier: Apache-2.0

package config

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/BurntSushi/toml"
)

// FuzzLoad gives Parse any text: it does not panic, each problem stands within
// the text and on one line, and two runs say the same.
func FuzzLoad(f *testing.F) {
	for _, pattern := range []string{"testdata/bad/*.toml", "testdata/good/*.toml", "../deploy/*.toml"} {
		files, err := filepath.Glob(pattern)
		if err != nil {
			f.Fatal(err)
		}
		for _, file := range files {
			text, err := os.ReadFile(file)
			if err != nil {
				f.Fatal(err)
			}
			f.Add(string(text))
		}
	}
	f.Fuzz(func(t *testing.T, text string) {
		c, problems := Parse("x.toml", []byte(text))
		lines := strings.Count(text, "\n") + 1
		for _, p := range problems {
			if p.File != "x.toml" || p.Line < 1 || p.Line > lines {
				t.Errorf("%q is outside of the %d lines", p, lines)
			}
			if strings.ContainsAny(p.String(), "\n\r") {
				t.Errorf("%q is more than one line", p)
			}
		}
		for key := range c.index.places {
			if _, line := c.Position(key); line < 1 || line > lines {
				t.Errorf("%q stands at line %d of %d", key, line, lines)
			}
		}
		again := func() []Problem { _, p := Parse("x.toml", []byte(text)); return p }()
		if !slices.Equal(problems, again) {
			t.Errorf("problems differ from run to run:\n%v\n%v", problems, again)
		}
		values := make(map[string]any)
		if _, err := toml.Decode(text, &values); err == nil {
			compare(t, values, scan(text), "")
		}
	})
}

// compare fails where the tree of lines has another shape than the values.
func compare(t *testing.T, value any, n *node, path string) {
	t.Helper()
	switch x := value.(type) {
	case map[string]any:
		for _, key := range slices.Sorted(maps.Keys(x)) {
			if n.keys[key] == nil {
				t.Errorf("%s: no line for key %q, but for %q", path, key, slices.Sorted(maps.Keys(n.keys)))
				continue
			}
			compare(t, x[key], n.keys[key], path+"."+key)
		}
		if len(n.keys) > len(x) {
			t.Errorf("%s: %d lines for %d keys", path, len(n.keys), len(x))
		}
	case []map[string]any:
		compareItems(t, len(x), func(i int) any { return x[i] }, n, path)
	case []any:
		compareItems(t, len(x), func(i int) any { return x[i] }, n, path)
	}
}

func compareItems(t *testing.T, length int, value func(int) any, n *node, path string) {
	t.Helper()
	if len(n.items) != length {
		t.Errorf("%s: %d lines for %d elements", path, len(n.items), length)
		return
	}
	for i := range length {
		compare(t, value(i), n.items[i], fmt.Sprintf("%s[%d]", path, i))
	}
}
