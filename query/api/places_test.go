package api

import (
	"bytes"
	"fmt"
	"reflect"
	"strings"
	"time"
)

// plain are values with which every endpoint does what it is for, by the name of the parameter
// or member, or by path and name. A test fails when one that is new needs a word here.
var plain = map[string]string{
	"domain": "example.com", "user": "smtp", "identity": "bob@example.com", "sender": "spam@example.net", "reason": "a reason", "until": "2030-01-01T00:00:00Z",
	"expires": "2030-01-01T00:00:00Z", "code": "", "response_code": "550", "identification": "sender", "report": "daily", "recipient": "abuse@example.com",
	"role": "domain", "domains": "example.com", "addresses": "walk@example.com", "label": "a label", "password": "correct horse victim", "name": "victim",
	"id": "1xULPU-000001-O4", "list": "identities",
	"/users name": "fresh", "/locks recipient": "", "/reports/{name} name": "outgoing", "/tokens user": "dora",
	"/search limit": "10", "/identities limit": "10", "/history limit": "10", "/history kind": "lock",
}

func plainOf(e endpoint, name string) string {
	if v, ok := plain[e.path+" "+name]; ok {
		return v
	}
	return plain[name]
}

// place is where a text can be put into a request.
type place struct {
	in   string // path, query, header, member (of the body), name (of a member), body
	name string
	leaf int // the member's number
}

// placesOf are all of an endpoint.
func placesOf(e endpoint) (single, joint []place) {
	for _, m := range pathName.FindAllStringSubmatch(e.path, -1) {
		single = append(single, place{in: "path", name: m[1]})
	}
	if e.method == "GET" {
		single = append(single, place{in: "header", name: "If-None-Match"})
	}
	if !e.more {
		single = append(single, place{in: "query name"})
	}
	for _, p := range e.params {
		joint = append(joint, place{in: "query", name: p.name})
	}
	if e.body != nil {
		b := bodyWriter{e: e, at: -1}
		b.write(reflect.TypeOf(e.body), "")
		for i := range b.leaves {
			single = append(single, place{in: "member", leaf: i})
		}
		single = append(single, place{in: "body"}, place{in: "member name"})
	}
	return single, joint
}

// bodyWriter writes a body of a type with plain values, but for one leaf.
type bodyWriter struct {
	bytes.Buffer
	e          endpoint
	at, leaves int
	text       string
}

// quoted is JSON of a text whose bytes stay what they are, also where that is no UTF-8.
func quoted(s string) string {
	var b strings.Builder
	for i := range len(s) {
		switch c := s[i]; {
		case c == '"' || c == '\\':
			b.WriteString(`\` + string(c))
		case c < ' ':
			fmt.Fprintf(&b, `\u%04x`, c)
		default:
			b.WriteByte(c)
		}
	}
	return `"` + b.String() + `"`
}

func (b *bodyWriter) leaf(plain string) {
	if b.leaves++; b.leaves-1 == b.at {
		plain = quoted(b.text)
	}
	b.WriteString(plain)
}

func (b *bodyWriter) write(t reflect.Type, name string) {
	switch {
	case t == reflect.TypeFor[time.Time](), t.Kind() == reflect.String:
		b.leaf(quoted(plainOf(b.e, name)))
	case t.Kind() == reflect.Bool:
		b.leaf("true")
	case t.Kind() == reflect.Slice:
		b.WriteByte('[')
		b.write(t.Elem(), name)
		b.WriteByte(']')
	case t.Kind() == reflect.Struct:
		b.WriteByte('{')
		b.members(t)
		b.WriteByte('}')
	default:
		b.leaf("1")
	}
}

func (b *bodyWriter) members(t reflect.Type) {
	first := true
	for f := range t.Fields() {
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		if name == "disabled" {
			continue // the user is asked for again
		}
		if !first {
			b.WriteByte(',')
		}
		first = false
		if f.Anonymous {
			b.members(f.Type)
			continue
		}
		b.WriteString(quoted(name) + ":")
		b.write(f.Type, name)
	}
}
