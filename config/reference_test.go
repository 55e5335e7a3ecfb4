// SPDX-License-Identifier: Apache-2.0

package config

import (
	"bytes"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"reflect"
	"strconv"
	"strings"
	"testing"
)

const referenceFile = "../deploy/manual/configuration.md"

// TestReferenceIsFresh compares the manual's page with what the structs say.
// `go generate ./config` writes it.
func TestReferenceIsFresh(t *testing.T) {
	want := reference(t)
	if *update {
		if err := os.WriteFile(referenceFile, want, 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	got, err := os.ReadFile(referenceFile)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%s is stale: run go generate ./config", referenceFile)
	}
}

// TestEveryKeyIsDocumented holds the promise that each default is defended: a
// key says what it is, and whether it is required or what it is otherwise.
func TestEveryKeyIsDocumented(t *testing.T) {
	p := newPage(t)
	everyStruct(reflect.TypeFor[Config](), "", func(st reflect.Type, table string) {
		for sf := range st.Fields() {
			key := sf.Tag.Get("toml")
			if key == "" || isStruct(sf.Type) || sf.Type.Kind() == reflect.Slice && isStruct(sf.Type.Elem()) {
				continue
			}
			text := p.docs[st.Name()+"."+sf.Name]
			name := join(table, key)
			if len(text) < 10 || !strings.HasSuffix(text, ".") {
				t.Errorf("%s is not documented: %q", name, text)
			}
			_, hasDefault := sf.Tag.Lookup("default")
			_, hasText := sf.Tag.Lookup("defaultdoc")
			if (hasDefault || hasText) && !strings.Contains(text, "default") {
				t.Errorf("%s has a default that its comment does not defend", name)
			}
			if hasDefault {
				checkDefault(t, name, fieldsOf(st), sf)
			}
		}
	})
}

// checkDefault parses a default and holds it to the bounds of its own field.
func checkDefault(t *testing.T, name string, fields []field, sf reflect.StructField) {
	t.Helper()
	text := sf.Tag.Get("default")
	v := reflect.New(sf.Type).Elem()
	if v.Kind() == reflect.Slice {
		setDefaultList(v, text)
		if want := strings.Count(text, ",") + 1; text != "" && v.Len() != want {
			t.Errorf("%s: default %q has %d elements", name, text, v.Len())
		}
		return
	}
	if !setText(v, text) {
		t.Errorf("%s: default %q is no value of its type", name, text)
	}
	for _, f := range fields {
		if f.key != sf.Tag.Get("toml") {
			continue
		}
		if problem, _, _ := f.verify(v); problem != "" {
			t.Errorf("%s: default %q %s", name, text, problem)
		}
	}
}

// everyStruct calls fn with each table's struct and its name.
func everyStruct(t reflect.Type, table string, fn func(reflect.Type, string)) {
	fn(t, table)
	for _, f := range fieldsOf(t) {
		ft := t.FieldByIndex(f.index).Type
		if f.isList {
			ft = ft.Elem()
		}
		if f.isList || f.isTable {
			everyStruct(ft, join(table, f.key), fn)
		}
	}
}

// page is the reference while it is written.
type page struct {
	bytes.Buffer
	docs map[string]string // comments by "Type" and "Type.Field"
}

// newPage reads the comments of the package's structs.
func newPage(t *testing.T) *page {
	t.Helper()
	p := &page{docs: make(map[string]string)}
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.ParseComments)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range parsed.Decls {
			decl, ok := d.(*ast.GenDecl)
			if !ok || decl.Tok != token.TYPE {
				continue
			}
			for _, spec := range decl.Specs {
				p.document(decl.Doc, spec.(*ast.TypeSpec))
			}
		}
	}
	return p
}

func (p *page) document(doc *ast.CommentGroup, spec *ast.TypeSpec) {
	p.docs[spec.Name.Name] = strings.TrimSpace(doc.Text())
	st, ok := spec.Type.(*ast.StructType)
	if !ok {
		return
	}
	for _, f := range st.Fields.List {
		for _, name := range f.Names {
			p.docs[spec.Name.Name+"."+name.Name] = strings.TrimSpace(f.Doc.Text())
		}
	}
}

const preamble = `<!-- Generated from the structs of package config by go generate ./config. Do not edit. -->

# Configuration

` + "`segue check --config FILE`" + ` reads these keys and reports every problem at once, with file and line. A complete,
commented file is [../segue.example.toml](../segue.example.toml).

The format is [TOML](https://toml.io). ` + "`[x]`" + ` is a table that exists once, ` + "`[[x]]`" + ` one of a list of tables. An unknown
key is an error, so a misspelt one never goes unnoticed. A relative path starts at the directory of the file that names
it. Names (of pools, sources, segments and so on) become metric labels: a-z, 0-9, _ . and -, at most 64 characters.

| type | written |
|---|---|
| duration | ` + "`\"90s\"`, `\"5m\"`, `\"4h\"`, `\"30d\"`, `\"2w\"`, `\"1h30m\"`" + ` |
| size | ` + "`\"25MB\"` (25,000,000 bytes), `\"64MiB\"` (67,108,864 bytes)" + ` |
| rate | ` + "`\"100/s\"`, `\"600/m\"`, `\"5000/h\"`, `\"20000/d\"`" + ` |
| window of the day | ` + "`\"08:00-20:00\"`" + ` in budget_zone; it does not cross midnight |
| send window | ` + "`\"08:00-20:00\"`" + ` in the recipient's time zone; ` + "`\"20:00-02:00\"`" + ` crosses midnight |
| messages in a span of time | ` + "`\"3/7d\"`" + `: at most 3 in any 7 days |
| network | ` + "`\"10.0.0.0/8\"`, `\"2001:db8::/32\"`" + `, or one address |
| address to listen on | ` + "`\"127.0.0.1:2587\"`, `\"[::1]:2587\"`, `\":8080\"`" + ` for all addresses |
`

// reference writes the page.
func reference(t *testing.T) []byte {
	t.Helper()
	p := newPage(t)
	p.WriteString(preamble)
	p.table(reflect.TypeFor[Config](), "", false)
	return p.Bytes()
}

// table writes the keys of a table, then the tables in it.
func (p *page) table(st reflect.Type, path string, list bool) {
	header := "[" + path + "]"
	if list {
		header = "[" + header + "]"
	}
	if path == "" {
		p.WriteString("\n## At the top\n")
	} else {
		fmt.Fprintf(p, "\n## `%s`\n\n%s\n", header, flow(p.docs[st.Name()]))
	}
	for sf := range st.Fields() {
		if sf.Tag.Get("toml") != "" && !isStruct(sf.Type) && (sf.Type.Kind() != reflect.Slice || !isStruct(sf.Type.Elem())) {
			p.key(st, sf)
		}
	}
	if st == reflect.TypeFor[Tier]() {
		p.tiers()
	}
	for _, f := range fieldsOf(st) {
		switch ft := st.FieldByIndex(f.index).Type; {
		case f.isList:
			p.table(ft.Elem(), join(path, f.key), true)
		case f.isTable:
			p.table(ft, join(path, f.key), false)
		}
	}
}

// key writes one key: its type, whether it is required, its default and
// bounds, and its comment.
func (p *page) key(st reflect.Type, sf reflect.StructField) {
	fmt.Fprintf(p, "\n**`%s`** · %s · %s\n\n%s\n", sf.Tag.Get("toml"), typeText(sf), defaultText(sf), flow(p.docs[st.Name()+"."+sf.Name]))
}

func typeText(sf reflect.StructField) string {
	noun, _ := typeName(sf.Type)
	if sf.Type.Kind() == reflect.Slice {
		noun, _ = typeName(sf.Type.Elem())
		noun = "list, each " + noun
	}
	if sf.Type == reflect.TypeFor[Path]() {
		noun = "path"
	}
	for _, article := range []string{"a ", "an "} {
		noun = strings.TrimPrefix(noun, article)
	}
	if enum := sf.Tag.Get("enum"); enum != "" {
		noun = "`" + strings.ReplaceAll(enum, ",", "`, `") + "`"
		if sf.Type.Kind() == reflect.Slice {
			noun = "list of " + noun
		}
	}
	low, high := sf.Tag.Get("min"), sf.Tag.Get("max")
	switch {
	case low != "" && high != "":
		noun += fmt.Sprintf(", %s to %s", low, high)
	case low != "":
		noun += ", at least " + low
	}
	return noun
}

func defaultText(sf reflect.StructField) string {
	if sf.Tag.Get("required") != "" {
		return "required"
	}
	if text, ok := sf.Tag.Lookup("defaultdoc"); ok {
		return "default: " + text
	}
	text, ok := sf.Tag.Lookup("default")
	switch {
	case !ok:
		return "optional"
	case sf.Type.Kind() == reflect.Slice:
		if text != "" {
			text = `"` + strings.ReplaceAll(text, ",", `", "`) + `"`
		}
		return "default `[" + text + "]`"
	case sf.Type.Kind() == reflect.String || reflect.PointerTo(sf.Type).Implements(reflect.TypeFor[interface{ UnmarshalText([]byte) error }]()):
		return "default `" + strconv.Quote(text) + "`"
	default:
		return "default `" + text + "`"
	}
}

// tiers writes the six tiers as they are by default.
func (p *page) tiers() {
	p.WriteString("\nBy default:\n\n| tier | condition | weight |\n|---|---|---|\n")
	for _, name := range TierOrder() {
		tier := Tier{Name: name}
		tier.builtin(name)
		var conditions []string
		if tier.Within > 0 {
			conditions = append(conditions, "within "+tier.Within.String())
		}
		if tier.Beyond > 0 {
			conditions = append(conditions, "beyond "+tier.Beyond.String())
		}
		if tier.MinSends > 0 {
			conditions = append(conditions, fmt.Sprintf("min_sends %d", tier.MinSends))
		}
		if tier.MaxSends > 0 {
			conditions = append(conditions, fmt.Sprintf("max_sends %d", tier.MaxSends))
		}
		fmt.Fprintf(p, "| %s | %s | %d |\n", name, strings.Join(conditions, ", "), tier.Weight)
	}
}

// flow joins the lines of each paragraph of a comment; a page is wrapped by
// its reader.
func flow(text string) string {
	paragraphs := strings.Split(text, "\n\n")
	for i, paragraph := range paragraphs {
		paragraphs[i] = strings.Join(strings.Fields(paragraph), " ")
	}
	return strings.Join(paragraphs, "\n\n")
}
