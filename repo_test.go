// SPDX-License-Identifier: Apache-2.0

// Package segue_test holds what is true of the whole repository: which package
// may import which, that each package says what it is, that pure packages stay
// pure, and how long a file or a function may grow.
//
// The checks read the sources with go/parser inside the test process. Asking
// the go command instead would hide a break: the test cache sees files that the
// test opens, not those a child process opens. Each check is a function from
// sources to findings, and each has examples that it must catch, so that a
// check which went blind fails as well.
package segue_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"strings"
	"testing"
)

// module is the import path of the repository's top.
const module = "github.com/seguemta/segue"

// A source is one parsed Go file of the repository.
type source struct {
	path  string // from the top, with slashes: "mta/kv/kv.go"
	dir   string // the package: "mta/kv"; "." is the top
	test  bool   // the name ends in _test.go
	text  string
	file  *ast.File
	files *token.FileSet
}

// line returns the 1-based line of a position in the file.
func (s source) line(p token.Pos) int { return s.files.Position(p).Line }

// imports returns the import paths of the file.
func (s source) imports() []string {
	var paths []string
	for _, spec := range s.file.Imports {
		paths = append(paths, strings.Trim(spec.Path.Value, "`\""))
	}
	return paths
}

// generated reports whether a program wrote the file.
func (s source) generated() bool { return ast.IsGenerated(s.file) }

// parse turns the text of a file into a source.
func parse(t *testing.T, name, text string) source {
	t.Helper()
	files := token.NewFileSet()
	file, err := parser.ParseFile(files, name, text, parser.ParseComments|parser.SkipObjectResolution)
	if err != nil {
		t.Fatalf("parsing %s: %v", name, err)
	}
	return source{
		path: name, dir: path.Dir(name), test: strings.HasSuffix(name, "_test.go"),
		text: text, file: file, files: files,
	}
}

// tree parses every Go file of the repository that the go command would see.
func tree(t *testing.T) []source {
	t.Helper()
	var sources []source
	top := os.DirFS(".")
	err := fs.WalkDir(top, ".", func(name string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		base := entry.Name()
		if entry.IsDir() {
			if name != "." && (base == "testdata" || base == "vendor" || base[0] == '.' || base[0] == '_') {
				return fs.SkipDir
			}
			return nil
		}
		if !strings.HasSuffix(base, ".go") || base[0] == '.' || base[0] == '_' {
			return nil
		}
		text, err := fs.ReadFile(top, name)
		if err != nil {
			return err
		}
		sources = append(sources, parse(t, name, string(text)))
		return nil
	})
	if err != nil {
		t.Fatalf("reading the repository: %v", err)
	}
	if len(sources) < 20 {
		t.Fatalf("only %d Go files found: the walk does not start at the top of the repository", len(sources))
	}
	return sources
}

// A check returns one line per finding, "path:line: what is wrong: what to do".
type check func([]source) []string

// An example is a small repository that a check must judge.
type example struct {
	name  string
	files map[string]string // path to text
	want  string            // part of the only finding; empty where nothing may be found
}

// holds applies a check to the repository.
func holds(t *testing.T, c check) {
	t.Helper()
	for _, finding := range c(tree(t)) {
		t.Error(finding)
	}
}

// catches shows that a check can fail, and that it does not cry wolf.
func catches(t *testing.T, c check, examples []example) {
	t.Helper()
	for _, e := range examples {
		t.Run(e.name, func(t *testing.T) {
			t.Parallel()
			var sources []source
			for name, text := range e.files {
				sources = append(sources, parse(t, name, text))
			}
			findings := c(sources)
			switch {
			case e.want == "" && len(findings) > 0:
				t.Errorf("found %q, want nothing", findings)
			case e.want != "" && (len(findings) != 1 || !strings.Contains(findings[0], e.want)):
				t.Errorf("found %q, want one finding with %q", findings, e.want)
			}
		})
	}
}
