// SPDX-License-Identifier: Apache-2.0

package httpapi

import (
	"encoding/json"
	"net/http"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// TestDocumentIsTheRoutes: what the document lists is served, and what is
// served is listed, with the parameters of its path.
func TestDocumentIsTheRoutes(t *testing.T) {
	t.Parallel()
	base := serve(t, Options{Methods: &fake{}, Version: "1.2.3"})
	got := ask(t, request{url: base + "/api/v1/openapi.json"})
	if got.status != http.StatusOK || got.header.Get("Content-Type") != "application/json" {
		t.Fatalf("%d %s", got.status, got.header)
	}
	var doc struct {
		OpenAPI string
		Info    struct{ Version string }
		Paths   map[string]map[string]struct {
			OperationID string
			Security    []any
			Parameters  []struct{ Name, In string }
			Responses   map[string]any
		}
	}
	if err := json.Unmarshal([]byte(got.body), &doc); err != nil || doc.OpenAPI != "3.1.0" || doc.Info.Version != "1.2.3" {
		t.Fatalf("%+v, %v", doc, err)
	}
	listed := make(map[string]bool)
	names := make(map[string]bool)
	for path, methods := range doc.Paths {
		for method, op := range methods {
			route := strings.ToUpper(method) + " " + path
			listed[route] = true
			if names[op.OperationID] || op.OperationID == "" {
				t.Errorf("%s: operationId %q is empty or taken", route, op.OperationID)
			}
			names[op.OperationID] = true
			for _, m := range regexp.MustCompile(`\{(\w+)\}`).FindAllStringSubmatch(path, -1) {
				if !slices.ContainsFunc(op.Parameters, func(p struct{ Name, In string }) bool { return p.Name == m[1] && p.In == "path" }) {
					t.Errorf("%s: parameter %s is not described", route, m[1])
				}
			}
			r := ask(t, request{method: strings.ToUpper(method), url: base + strings.NewReplacer("{", "", "}", "").Replace(path)})
			if r.status == http.StatusNotFound || r.status == http.StatusMethodNotAllowed {
				t.Errorf("%s is listed and not served: %d", route, r.status)
			}
		}
	}
	for _, e := range table(Options{}) {
		if !listed[e.route()] {
			t.Errorf("%s is served and not listed", e.route())
		}
		if !strings.HasSuffix(e.summary, ".") || e.status == 0 {
			t.Errorf("%s: summary %q, status %d", e.route(), e.summary, e.status)
		}
	}
	if len(listed) != len(table(Options{})) {
		t.Errorf("%d routes listed, %d served", len(listed), len(table(Options{})))
	}
}

// TestOpenAreThree: nothing else is open without a token.
func TestOpenAreThree(t *testing.T) {
	t.Parallel()
	var open []string
	for _, e := range table(Options{}) {
		if e.open {
			open = append(open, e.route())
		}
	}
	if want := []string{"GET /healthz", "GET /readyz", "GET /metrics"}; !slices.Equal(open, want) {
		t.Errorf("open are %v, want %v", open, want)
	}
}

// TestReferencesLead: every $ref is defined, and every answer of the fake
// engine has the properties that its schema requires, and no others.
func TestReferencesLead(t *testing.T) {
	t.Parallel()
	text := string(document(table(Options{}), "1"))
	var doc struct {
		Components struct {
			Schemas map[string]struct {
				Properties map[string]any
				Required   []string
			}
		}
	}
	if err := json.Unmarshal([]byte(text), &doc); err != nil {
		t.Fatal(err)
	}
	refs := regexp.MustCompile(`"#/components/schemas/(\w+)"`).FindAllStringSubmatch(text, -1)
	if len(refs) < 20 {
		t.Errorf("only %d references", len(refs))
	}
	for _, ref := range refs {
		if s, ok := doc.Components.Schemas[ref[1]]; !ok || len(s.Properties) == 0 {
			t.Errorf("%s is not defined", ref[1])
		}
	}
	f := &fake{}
	for _, r := range rounds(t.Context()) {
		out, err := r.call(f)
		if err != nil || out == nil || reflect.TypeOf(out).Kind() != reflect.Struct {
			continue
		}
		var value map[string]any
		text, _ := json.Marshal(filled(reflect.ValueOf(out)).Interface())
		if err := json.Unmarshal(text, &value); err != nil {
			t.Fatal(err)
		}
		schema := doc.Components.Schemas[reflect.TypeOf(out).Name()]
		for _, name := range schema.Required {
			if _, ok := value[name]; !ok {
				t.Errorf("%T has no %s, which its schema requires", out, name)
			}
		}
		for name := range value {
			if _, ok := schema.Properties[name]; !ok {
				t.Errorf("%T has %s, which its schema does not know", out, name)
			}
		}
	}
}

// TestSchemasKnowEveryKind: a type of the API that JSON schema would call a
// string is one.
func TestSchemasKnowEveryKind(t *testing.T) {
	t.Parallel()
	for _, e := range table(Options{}) {
		for _, typ := range []reflect.Type{e.in, e.out} {
			if typ != nil {
				known(t, typ)
			}
		}
	}
}

func known(t *testing.T, typ reflect.Type) {
	t.Helper()
	switch typ.Kind() {
	case reflect.Pointer, reflect.Slice:
		known(t, typ.Elem())
	case reflect.Map:
		known(t, typ.Elem())
		if typ.Key().Kind() != reflect.String {
			t.Errorf("%s has keys that are no text", typ)
		}
	case reflect.Struct:
		for f := range typ.Fields() {
			if f.IsExported() {
				known(t, f.Type)
			}
		}
	case reflect.String, reflect.Bool, reflect.Int, reflect.Int32, reflect.Int64, reflect.Uint8, reflect.Uint32, reflect.Uint64, reflect.Float64:
	default:
		t.Errorf("schema.go does not know %s", typ)
	}
}
