package source

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
)

// Reading is what api_get_remote_syslog_server said.
type Reading struct {
	Settings
	Given []string          // the fields of [Fields] that the answer named
	Other map[string]string // what else it named
}

// Has tells whether the answer named the field. A field that it did not name
// is not the same as one that is empty.
func (r Reading) Has(field string) bool { return slices.Contains(r.Given, field) }

// Parse reads an answer of api_get_remote_syslog_server: key and value lines,
// JSON, or the text of a Python dict. Python's None and JSON's null are "".
func Parse(body []byte) (Reading, error) {
	text := strings.TrimSpace(string(bytes.TrimPrefix(body, []byte("\xef\xbb\xbf"))))
	if text == "" || text == `""` || text == "{}" || text == "None" || text == "null" {
		return Reading{}, errors.New("the answer is empty: no remote syslog server is set, or the API hides it")
	}
	if what := errorText(text); what != "" {
		return Reading{}, fmt.Errorf("the answer is %s: %q", what, clip(firstLine(text)))
	}
	var pairs []pair
	var ok bool
	if c := text[0]; c == '{' || c == '[' || c == '(' {
		pairs, ok = parseJSON(text)
		if !ok {
			pairs, ok = parsePython(text)
		}
	}
	if !ok {
		pairs = parseLines(text)
	}
	var r Reading
	for _, p := range pairs {
		field := fieldName(p.key)
		if !slices.Contains(Fields(), field) {
			if r.Other == nil {
				r.Other = map[string]string{}
			}
			r.Other[p.key] = p.value
			continue
		}
		if err := r.put(field, p.value); err != nil {
			return Reading{}, err
		}
		if !r.Has(field) {
			r.Given = append(r.Given, field)
		}
	}
	if len(r.Given) == 0 {
		return Reading{}, fmt.Errorf("the answer names none of %s: it begins %q", strings.Join(Fields(), ", "), clip(firstLine(text)))
	}
	return r, nil
}

type pair struct{ key, value string }

// fieldName folds the spellings of a key ("Message template", "syslog_host").
func fieldName(key string) string {
	k := strings.ToLower(strings.TrimSpace(key))
	k = strings.NewReplacer(" ", "_", "-", "_").Replace(k)
	k = strings.TrimPrefix(k, "remote_")
	k = strings.TrimPrefix(k, "syslog_")
	switch k {
	case "server", "hostname":
		return FieldHost
	case "socktype", "sock_type", "sockettype":
		return FieldSocketType
	}
	return k
}

func parseJSON(text string) ([]pair, bool) {
	d := json.NewDecoder(strings.NewReader(text))
	d.UseNumber()
	var v any
	if d.Decode(&v) != nil {
		return nil, false
	}
	if _, err := d.Token(); err != io.EOF {
		return nil, false
	}
	return flatten(v, 0)
}

// flatten turns a decoded object into pairs. Lists of one object, lists of
// (key, value) and an object inside "result" are looked through.
func flatten(v any, depth int) ([]pair, bool) {
	if depth > 3 {
		return nil, false
	}
	switch v := v.(type) {
	case map[string]any:
		var out []pair
		for k, item := range v {
			if s, ok := scalar(item); ok {
				out = append(out, pair{k, s})
				continue
			}
			if inner, ok := flatten(item, depth+1); ok {
				out = append(out, inner...)
			}
		}
		// Maps have no order; an answer that names a field twice must still
		// be read the same way each time.
		slices.SortStableFunc(out, func(a, b pair) int { return strings.Compare(a.key+"\x00"+a.value, b.key+"\x00"+b.value) })
		return out, true
	case []any:
		var out []pair
		for _, item := range v {
			if kv, ok := item.([]any); ok && len(kv) == 2 {
				key, kok := scalar(kv[0])
				value, vok := scalar(kv[1])
				if kok && vok {
					out = append(out, pair{key, value})
					continue
				}
			}
			if inner, ok := flatten(item, depth+1); ok {
				out = append(out, inner...)
			}
		}
		return out, len(out) > 0
	}
	return nil, false
}

func scalar(v any) (string, bool) {
	switch v := v.(type) {
	case nil:
		return "", true
	case string:
		return v, true
	case bool:
		if v {
			return "True", true
		}
		return "False", true
	case json.Number:
		return v.String(), true
	}
	return "", false
}

// parseLines reads "key: value", "key = value" and "key<TAB>value". Lines of
// another shape are passed over: warnings in front of an answer are normal.
func parseLines(text string) []pair {
	var out []pair
	for line := range strings.Lines(text) {
		line = strings.TrimRight(line, "\r\n")
		i := strings.IndexAny(line, ":=\t")
		if i <= 0 {
			continue
		}
		key := strings.Trim(strings.TrimSpace(line[:i]), `"'`)
		if key == "" || strings.ContainsFunc(key, func(r rune) bool {
			return !(r == '_' || r == '-' || r == ' ' || r >= '0' && r <= '9' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z')
		}) {
			continue
		}
		// Spaces before the value belong to the layout; those after it may
		// belong to a template, which is compared byte by byte.
		value := strings.TrimLeft(line[i+1:], " ")
		field := fieldName(key)
		if field != FieldMessageTemplate && field != FieldStatusTemplate {
			value = strings.TrimSpace(value)
		}
		out = append(out, pair{key, unquoteLine(field, value)})
	}
	return out
}

// unquoteLine takes quotes off a line's value. A template begins and ends with
// quotes of its own, which must stay: only quotes that no other quote of the
// kind stands between can be the layout's.
func unquoteLine(field, value string) string {
	if value == "None" || value == "null" {
		return ""
	}
	v := value
	if len(v) > 1 && (v[0] == 'u' || v[0] == 'b') && (v[1] == '\'' || v[1] == '"') {
		v = v[1:]
	}
	if len(v) < 2 || v[0] != '\'' && v[0] != '"' || v[len(v)-1] != v[0] {
		return value
	}
	p := python{text: v}
	s, err := p.quoted()
	if err != nil || p.at != len(v) {
		return value
	}
	template := field == FieldMessageTemplate || field == FieldStatusTemplate
	if template && v[0] == '"' && len(v) == len(value) && strings.Contains(s, "%(") && !strings.Contains(s, `"`) {
		return value // "%(id)s" is a template of one variable in quotes
	}
	return s
}
