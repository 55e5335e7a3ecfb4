// SPDX-License-Identifier: Apache-2.0

package segue_test

import (
	"fmt"
	"go/ast"
	"maps"
	"slices"
	"strings"
	"testing"
)

// parsing is how functions that read bytes of others are named.
var parsing = []string{"Parse", "parse", "Decode", "decode", "readReply"}

// fuzzedElsewhere lists packages whose parsers only hand on what they are
// given, with the package that reads it.
func fuzzedElsewhere() map[string]string {
	return map[string]string{
		"mta":         "tokens of return paths go to mta/verp",
		"mta/mtatest": "scripts are written by our own tests",
	}
}

// unfuzzed finds packages that parse text or bytes and have no fuzz target, and
// fuzz targets that begin with nothing: from an empty corpus a fuzzer does not
// find its way into a format within the seconds that CI gives it.
func unfuzzed(sources []source) []string {
	parsers, targets := map[string]string{}, map[string]bool{}
	var found []string
	for _, s := range sources {
		for _, decl := range s.file.Decls {
			f, ok := decl.(*ast.FuncDecl)
			switch {
			case !ok:
			case s.test && strings.HasPrefix(f.Name.Name, "Fuzz") && len(f.Type.Params.List) == 1:
				targets[s.dir] = true
				if !seeded(f) {
					found = append(found, fmt.Sprintf("%s:%d: %s begins with an empty corpus: add real inputs", s.path, s.line(f.Pos()), f.Name.Name))
				}
			case !s.test && parses(f) && parsers[s.dir] == "":
				parsers[s.dir] = fmt.Sprintf("%s:%d: %s", s.path, s.line(f.Pos()), f.Name.Name)
			}
		}
	}
	for _, dir := range slices.Sorted(maps.Keys(parsers)) {
		if !targets[dir] && fuzzedElsewhere()[dir] == "" {
			found = append(found, parsers[dir]+" reads bytes of others, and no fuzz target of its package does: write one")
		}
	}
	return found
}

// parses says that f is named as a parser and is given text, bytes or a reader.
func parses(f *ast.FuncDecl) bool {
	named := slices.ContainsFunc(parsing, func(prefix string) bool { return strings.HasPrefix(f.Name.Name, prefix) })
	if !named {
		return false
	}
	for _, p := range f.Type.Params.List {
		switch t := p.Type.(type) {
		case *ast.Ident:
			if t.Name == "string" {
				return true
			}
		case *ast.ArrayType:
			if e, ok := t.Elt.(*ast.Ident); ok && e.Name == "byte" {
				return true
			}
		case *ast.StarExpr:
			if e, ok := t.X.(*ast.SelectorExpr); ok && e.Sel.Name == "Reader" {
				return true
			}
		}
	}
	return false
}

// seeded says that a target calls Add of its parameter, or gives it to a helper that can.
func seeded(f *ast.FuncDecl) bool {
	param := f.Type.Params.List[0].Names[0].Name
	is := func(e ast.Expr) bool {
		id, ok := e.(*ast.Ident)
		return ok && id.Name == param
	}
	found := false
	ast.Inspect(f.Body, func(n ast.Node) bool {
		call, ok := n.(*ast.CallExpr)
		if !ok {
			return true
		}
		sel, ok := call.Fun.(*ast.SelectorExpr)
		found = found || ok && sel.Sel.Name == "Add" && is(sel.X) || slices.ContainsFunc(call.Args, is)
		return true
	})
	return found
}

func TestParsersAreFuzzed(t *testing.T) {
	t.Parallel()
	holds(t, unfuzzed)
	catches(t, unfuzzed, []example{
		{"a parser alone", map[string]string{"a/a.go": "package a\nfunc ParseX(s string) int { return 0 }\n"}, "a/a.go:2: ParseX reads bytes of others"},
		{"of bytes, of a reader, as a method", map[string]string{"a/a.go": "package a\nfunc (t T) decode(b []byte) {}\n", "b/b.go": "package b\nfunc G(s string) {}\n"}, "decode reads bytes"},
		{"with a target", map[string]string{
			"a/a.go":      "package a\nfunc readReply(br *bufio.Reader) {}\n",
			"a/a_test.go": "package a\nfunc FuzzX(f *testing.F) { f.Add(1); f.Fuzz(nil) }\n",
		}, ""},
		{"without seeds", map[string]string{"a/a_test.go": "package a\nfunc FuzzX(f *testing.F) { f.Fuzz(nil) }\n"}, "a/a_test.go:2: FuzzX begins with an empty corpus"},
		{"numbers are no bytes", map[string]string{"a/a.go": "package a\nfunc ParseX(n int) int { return 0 }\n"}, ""},
	})
}
