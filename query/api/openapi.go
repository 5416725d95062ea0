package api

import (
	"encoding/json"
	"net/http"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"time"

	"millrace/query/search"
)

// endpoints are all there are.
func (s *Server) endpoints() []endpoint {
	return slices.Concat(s.searching(), s.reporting(), s.deciding(), s.acting(), s.people(), []endpoint{{
		method: "GET", path: "/openapi.json", summary: "This document", open: true, answer: map[string]any{},
		serve: func(r *request) error { return r.whole("application/json", r.s.spec) },
	}})
}

type object = map[string]any

var pathName = regexp.MustCompile(`\{(\w+)\}`)

// document is the OpenAPI 3.1 document of the endpoints.
func document(all []endpoint) []byte {
	schemas := schemaSet{}
	paths := object{}
	for _, e := range all {
		var params []object
		for _, m := range pathName.FindAllStringSubmatch(e.path, -1) {
			params = append(params, object{"name": m[1], "in": "path", "required": true, "schema": object{"type": "string"}})
		}
		for _, p := range e.params {
			s := object{"type": p.typ}
			if len(p.words) > 0 {
				s["enum"] = p.words
			}
			params = append(params, object{"name": p.name, "in": "query", "description": p.doc, "schema": s})
		}
		if e.more {
			params = append(params, object{
				"name": "parameters", "in": "query", "description": "the report's own parameters, as /reports lists them", "style": "form", "explode": true,
				"schema": object{"type": "object", "additionalProperties": object{"type": "string"}},
			})
		}
		content := object{}
		if e.answer != nil {
			content["application/json"] = object{"schema": schemas.of(reflect.TypeOf(e.answer))}
		}
		for _, f := range e.formats {
			content[f] = object{"schema": object{"type": "string"}}
		}
		op := object{
			"summary":     e.summary,
			"operationId": strings.ToLower(e.method) + strings.NewReplacer("/", "_", "{", "", "}", "", ".", "_", "-", "_").Replace(e.path),
			"responses": object{
				"200":     object{"description": "the answer", "content": content},
				"default": object{"description": "a problem (RFC 9457)", "content": object{"application/problem+json": object{"schema": schemas.of(reflect.TypeFor[problem]())}}},
			},
		}
		if len(params) > 0 {
			op["parameters"] = params
		}
		if e.body != nil {
			op["requestBody"] = object{"required": true, "content": object{"application/json": object{"schema": schemas.of(reflect.TypeOf(e.body))}}}
		}
		if e.open {
			op["security"] = []object{}
		}
		if len(e.least) > 0 {
			op["description"] = "Roles: " + joined(e.least)
		}
		at, _ := paths[base+e.path].(object)
		if at == nil {
			at = object{}
			paths[base+e.path] = at
		}
		at[strings.ToLower(e.method)] = op
	}
	schemas.of(reflect.TypeFor[search.Rule]())
	text, err := json.MarshalIndent(object{
		"openapi": "3.1.0",
		"info": object{
			"title": "Millrace", "version": "1", "license": object{"name": "Apache-2.0", "identifier": "Apache-2.0"},
			"description": "Mail logs: search, reports, locks. Times are RFC 3339 in UTC. An answer that is not streamed has an ETag; If-None-Match is understood.",
		},
		"servers":  []object{{"url": "/"}},
		"paths":    paths,
		"security": []object{{"basic": []string{}}, {"token": []string{}}, {"login": []string{}}},
		"components": object{
			"schemas": schemas,
			"securitySchemes": object{
				"basic": object{"type": "http", "scheme": "basic"},
				"token": object{"type": "http", "scheme": "bearer"},
				"login": object{"type": "apiKey", "in": "cookie", "name": sessionCookie},
			},
		},
	}, "", "  ")
	if err != nil {
		panic("BUG: " + err.Error())
	}
	return append(text, '\n')
}

func joined[T ~string](all []T) string {
	var b strings.Builder
	for i, s := range all {
		if i > 0 {
			b.WriteString(", ")
		}
		b.WriteString(string(s))
	}
	return b.String()
}

// schemaSet are the named types that were met.
type schemaSet object

// of is the JSON schema of a type; a struct with a name is put into the set.
func (set schemaSet) of(t reflect.Type) object {
	switch {
	case t == reflect.TypeFor[time.Time]():
		return object{"type": "string", "format": "date-time"}
	case t == reflect.TypeFor[json.RawMessage]():
		return object{"type": "object"}
	}
	switch t.Kind() {
	case reflect.Pointer:
		return set.of(t.Elem())
	case reflect.Slice:
		return object{"type": "array", "items": set.of(t.Elem())}
	case reflect.Map, reflect.Interface:
		return object{"type": "object"}
	case reflect.Bool:
		return object{"type": "boolean"}
	case reflect.String:
		return object{"type": "string"}
	case reflect.Struct:
		if t.Name() == "" {
			return object{"type": "object"}
		}
		name := strings.ToUpper(t.Name()[:1]) + t.Name()[1:]
		if _, met := set[name]; !met {
			set[name] = object{} // a rule has rules
			properties, required := object{}, []string{}
			set.fields(t, properties, &required)
			s := object{"type": "object", "properties": properties}
			if len(required) > 0 {
				s["required"] = required
			}
			set[name] = s
		}
		return object{"$ref": "#/components/schemas/" + name}
	}
	return object{"type": "integer"}
}

func (set schemaSet) fields(t reflect.Type, properties object, required *[]string) {
	for f := range t.Fields() {
		if f.Anonymous {
			set.fields(f.Type, properties, required)
			continue
		}
		name, options, _ := strings.Cut(f.Tag.Get("json"), ",")
		properties[name] = set.of(f.Type)
		if !strings.Contains(options, "omit") {
			*required = append(*required, name)
		}
	}
}

var _ http.Handler = (*Server)(nil)
