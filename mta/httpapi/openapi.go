// SPDX-License-Identifier: Apache-2.0

package httpapi

import (
	"encoding/json"
	"reflect"
	"strconv"
	"strings"

	"github.com/seguemta/segue/mta/api"
)

// object is a JSON object.
type object = map[string]any

// document writes the OpenAPI 3.1 document of a table. Keys are sorted, so the same
// table gives the same octets.
func document(list []endpoint, version string) json.RawMessage {
	types := newSchemas()
	paths := make(object)
	for _, e := range list {
		item, ok := paths[e.path].(object)
		if !ok {
			item = make(object)
			paths[e.path] = item
		}
		item[strings.ToLower(e.method)] = operation(e, types)
	}
	doc := object{
		"openapi": "3.1.0",
		"info": object{
			"title": "Segue", "version": version,
			"license": object{"name": "Apache-2.0", "identifier": "Apache-2.0"},
			"summary": "The inside of a Segue engine: its queue, contacts, sources and events.",
		},
		"servers":    []object{{"url": "/"}},
		"security":   []object{{"token": []string{}}},
		"paths":      paths,
		"components": object{"schemas": types.named, "securitySchemes": object{"token": object{"type": "http", "scheme": "bearer"}}},
	}
	text, err := json.Marshal(doc)
	if err != nil { // maps of texts: a test reads the document
		return json.RawMessage(`{}`)
	}
	return text
}

func operation(e endpoint, types *schemas) object {
	op := object{"operationId": e.name, "summary": e.summary, "responses": responses(e, types)}
	if e.open {
		op["security"] = []object{}
	}
	if p := parameters(e); len(p) > 0 {
		op["parameters"] = p
	}
	content := make(object)
	for _, mediaType := range e.stream {
		content[mediaType] = object{}
	}
	if e.in != nil {
		content["application/json"] = object{"schema": types.of(e.in)}
	}
	if len(content) > 0 {
		op["requestBody"] = object{"required": !e.optional, "content": content}
	}
	return op
}

func parameters(e endpoint) []object {
	var list []object
	for part := range strings.SplitSeq(e.path, "/") {
		if name, ok := strings.CutPrefix(part, "{"); ok {
			list = append(list, object{"name": strings.TrimSuffix(name, "}"), "in": "path", "required": true, "schema": object{"type": "string"}})
		}
	}
	for _, p := range e.query {
		kind := p.kind
		if kind == "" {
			kind = "string"
		}
		list = append(list, object{"name": p.name, "in": "query", "required": p.required, "description": p.about, "schema": object{"type": kind}})
	}
	return list
}

func responses(e endpoint, types *schemas) object {
	problem := object{
		"description": "A problem document (RFC 9457).",
		"content":     object{"application/problem+json": object{"schema": types.of(reflect.TypeFor[api.Error]())}},
	}
	success := object{"description": "Done."}
	switch {
	case e.text != "":
		success["content"] = object{e.text: object{"schema": object{"type": "string"}}}
	case e.out != nil:
		success["content"] = object{"application/json": object{"schema": types.of(e.out)}}
	}
	out := object{strconv.Itoa(e.status): success, "default": problem}
	if e.name == "readyz" {
		out["503"] = success
	}
	return out
}
