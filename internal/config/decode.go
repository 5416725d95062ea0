package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

const maxFile = 4 * MiB

type position struct{ line, column int }

// Load reads the file and the environment. An empty path is the defaults and
// the environment. The error is a [*Problems] when the file could be read.
func Load(path string) (*Config, error) {
	if path == "" {
		return Parse("", nil, os.Getenv)
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, &FileError{path, err}
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, int64(maxFile)+1))
	if err == nil && len(data) > int(maxFile) {
		err = fmt.Errorf("longer than %s", maxFile)
	}
	if err != nil {
		return nil, &FileError{path, err}
	}
	return Parse(path, data, os.Getenv)
}

// Parse is Load for a file that has been read: file is its name in messages
// and the start of relative paths, getenv looks up the environment.
func Parse(file string, data []byte, getenv func(string) string) (*Config, error) {
	c := &Config{File: file}
	d := decoder{file: file, where: map[string]position{}}
	d.defaults(c.keys(), "")
	d.document(c, data)
	d.environment(c.keys(), "", getenv)
	dir := ""
	if file != "" {
		dir = filepath.Dir(file)
	}
	c.Kafka.dir, c.ClickHouse.dir = dir, dir
	if c.Source.CA != "" {
		c.Source.CA = resolve(dir, c.Source.CA)
	}
	c.Quarantine.resolve(dir)
	for i := range c.Effects {
		if path := &c.Effects[i].SecretFile; *path != "" {
			*path = resolve(dir, *path)
		}
	}
	for _, path := range []*string{&c.API.TLS.Cert, &c.API.TLS.Key, &c.Domains.File, &c.Mail.TLS.CA} {
		if *path != "" {
			*path = resolve(dir, *path)
		}
	}
	c.where = d.where
	c.serveFromUp()
	for i := range c.Listeners {
		c.Listeners[i].finish(func(key string) bool {
			_, given := d.where[fmt.Sprintf("listeners[%d].%s", i, key)]
			return given
		})
		t := &c.Listeners[i].TLS
		for _, path := range []*string{&t.Cert, &t.Key, &t.ClientCA} {
			if *path != "" {
				*path = resolve(dir, *path)
			}
		}
	}
	c.crossCheck(&d)
	if len(d.problems) > 0 {
		slices.SortStableFunc(d.problems, func(a, b Problem) int {
			if a.Line != b.Line {
				return a.Line - b.Line
			}
			return a.Column - b.Column
		})
		return nil, &Problems{file, d.problems}
	}
	return c, nil
}

// decoder turns nodes into settings and collects what is wrong with them.
type decoder struct {
	file     string
	where    map[string]position
	problems []Problem
}

// report adds a problem at the place where path was written; when it was not,
// at the nearest mapping around it that was.
func (d *decoder) report(path string, p Problem) {
	p.File, p.Key = d.file, path
	if p.Line == 0 {
		if _, written := d.where[path]; !written && p.Got != "" && p.Why == "" {
			p.Why = "the default"
		}
		for at := path; at != ""; at = parent(at) {
			if pos, found := d.where[at]; found {
				p.Line, p.Column = pos.line, pos.column
				break
			}
		}
	}
	d.problems = append(d.problems, p)
}

func (d *decoder) reportAt(n *yaml.Node, path string, p Problem) {
	p.Line, p.Column = n.Line, n.Column
	d.report(path, p)
}

// parent of "a.b[1].c" is "a.b[1]", whose parent is "a.b".
func parent(path string) string {
	i := strings.LastIndexAny(path, ".[")
	if i < 0 {
		return ""
	}
	return path[:i]
}

func join(path, name string) string {
	if path == "" {
		return name
	}
	return path + "." + name
}

// failed reports whether something at or below path is already a problem, so
// that a cross check does not speak of a value that was never taken.
func (d *decoder) failed(paths ...string) bool {
	for _, p := range d.problems {
		for _, path := range paths {
			if p.Key == path || strings.HasPrefix(p.Key, path+".") || strings.HasPrefix(p.Key, path+"[") {
				return true
			}
		}
	}
	return false
}

// defaults sets every key from its own table.
func (d *decoder) defaults(keys []key, path string) {
	for _, k := range keys {
		if s, nested := k.to.(section); nested {
			d.defaults(s.keys(), join(path, k.name))
			continue
		}
		if k.def == "" {
			continue
		}
		var doc yaml.Node
		if err := yaml.Unmarshal([]byte(k.def), &doc); err != nil {
			d.report(join(path, k.name), Problem{Text: "default: " + err.Error()})
			continue
		}
		d.set(k, doc.Content[0], join(path, k.name))
	}
	clear(d.where) // the places in the tables are of no use to anybody
}

var yamlLine = regexp.MustCompile(`^yaml: (?:line (\d+): )?(.*)$`)

func (d *decoder) document(c *Config, data []byte) {
	dec := yaml.NewDecoder(bytes.NewReader(data))
	var doc, more yaml.Node
	err := dec.Decode(&doc)
	switch {
	case errors.Is(err, io.EOF):
		return
	case err == nil:
		d.mapping(c.keys(), doc.Content[0], "")
		if err = dec.Decode(&more); errors.Is(err, io.EOF) {
			return
		}
		if err == nil {
			d.reportAt(&more, "", Problem{Text: "a second YAML document begins here; one is allowed"})
			return
		}
	}
	p := Problem{Text: "not YAML: " + err.Error()}
	if m := yamlLine.FindStringSubmatch(err.Error()); m != nil {
		p.Line, _ = strconv.Atoi(m[1])
		p.Text = "not YAML: " + m[2]
		if strings.HasPrefix(m[2], "unknown anchor ") { // perhaps a password: it is not shown
			p.Text = "not YAML: a value begins with * and refers to nothing; a text that begins so needs quotes"
		}
	}
	d.report("", p)
}

// deref follows aliases; the YAML parser has refused those that hold themselves.
func deref(n *yaml.Node) *yaml.Node {
	for range 100 {
		if n.Kind != yaml.AliasNode || n.Alias == nil {
			break
		}
		n = n.Alias
	}
	return n
}

func isNull(n *yaml.Node) bool { return n.Kind == yaml.ScalarNode && n.Tag == "!!null" }

func (d *decoder) mapping(keys []key, n *yaml.Node, path string) {
	n = deref(n)
	if isNull(n) { // a section whose lines are all commented out
		return
	}
	if n.Kind != yaml.MappingNode {
		d.reportAt(n, path, got(n, "keys: "+names(keys)))
		return
	}
	seen, meant := map[string]*yaml.Node{}, map[string]bool{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		kn, vn := n.Content[i], n.Content[i+1]
		if kn.Kind != yaml.ScalarNode {
			d.reportAt(kn, path, got(kn, "keys: "+names(keys)))
			continue
		}
		at := join(path, kn.Value)
		if first := seen[kn.Value]; first != nil {
			d.reportAt(kn, at, Problem{Text: fmt.Sprintf("written twice; the first is on line %d", first.Line)})
			continue
		}
		seen[kn.Value] = kn
		j := slices.IndexFunc(keys, func(k key) bool { return k.name == kn.Value })
		if j < 0 {
			text := "unknown key"
			if near := nearest(kn.Value, keys); near != "" {
				text += fmt.Sprintf("; did you mean %q?", near)
				meant[near] = true
			}
			d.reportAt(kn, at, Problem{Text: text + "; allowed " + names(keys)})
			continue
		}
		d.where[at] = position{vn.Line, vn.Column}
		d.set(keys[j], vn, at)
	}
	for _, k := range keys {
		if k.need && seen[k.name] == nil && !meant[k.name] {
			d.reportAt(n, join(path, k.name), Problem{Text: "missing; allowed " + k.allowed})
		}
	}
}

func (d *decoder) set(k key, n *yaml.Node, path string) {
	n = deref(n)
	switch to := k.to.(type) {
	case section:
		d.mapping(to.keys(), n, path)
	case list:
		if n.Kind != yaml.SequenceNode {
			d.reportAt(n, path, got(n, k.allowed))
			return
		}
		to.clear()
		for i, item := range n.Content {
			at := fmt.Sprintf("%s[%d]", path, i)
			d.where[at] = position{item.Line, item.Column}
			table := to.add().keys()
			before := d.where
			d.where = map[string]position{}
			d.defaults(table, at)
			d.where = before
			if item = deref(item); item.Kind != yaml.MappingNode {
				d.reportAt(item, at, got(item, "keys: "+names(table)))
				continue
			}
			d.mapping(table, item, at)
		}
	case *[]string:
		if n.Kind != yaml.SequenceNode {
			d.reportAt(n, path, got(n, k.allowed))
			return
		}
		all := make([]string, 0, len(n.Content))
		for i, item := range n.Content {
			item = deref(item)
			at := fmt.Sprintf("%s[%d]", path, i)
			d.where[at] = position{item.Line, item.Column}
			if item.Kind != yaml.ScalarNode || item.Tag != "!!str" {
				d.reportAt(item, at, got(item, k.allowed+quoteHint(item)))
				continue
			}
			all = append(all, item.Value)
		}
		*to = all
	case *Allow:
		d.allow(k, to, n, path)
	case *[]netip.Prefix:
		*to = d.prefixes(k, n, path)
	case value:
		d.scalar(k, to, n, path)
	}
}

func (d *decoder) scalar(k key, to value, n *yaml.Node, path string) {
	_, isSecret := to.(*Secret)
	_, isText := to.(textValue)
	if n.Kind != yaml.ScalarNode || isNull(n) || isText && n.Tag != "!!str" {
		p := got(n, k.allowed)
		if isText {
			p.Allowed += quoteHint(n)
		}
		if isSecret {
			p.Got = "something that is not text"
		}
		d.reportAt(n, path, p)
		return
	}
	if err := to.Set(n.Value); err != nil {
		d.reportAt(n, path, Problem{Got: quoted(n.Value), Allowed: k.allowed, Why: err.Error()})
	} else if k.ok != nil && !k.ok() {
		d.reportAt(n, path, Problem{Got: quoted(n.Value), Allowed: k.allowed})
	}
}

func (d *decoder) allow(k key, to *Allow, n *yaml.Node, path string) {
	if n.Kind == yaml.ScalarNode && n.Value == "any" {
		*to = Allow{Any: true}
		return
	}
	*to = Allow{Prefixes: d.prefixes(k, n, path)}
}

func (d *decoder) prefixes(k key, n *yaml.Node, path string) []netip.Prefix {
	if n.Kind != yaml.SequenceNode || len(n.Content) == 0 && k.def == "" {
		d.reportAt(n, path, got(n, k.allowed))
		return nil
	}
	prefixes := make([]netip.Prefix, 0, len(n.Content))
	for i, item := range n.Content {
		item = deref(item)
		at := fmt.Sprintf("%s[%d]", path, i)
		if item.Kind != yaml.ScalarNode {
			d.reportAt(item, at, got(item, k.allowed))
			continue
		}
		p, err := ParsePrefix(item.Value)
		if err != nil {
			d.reportAt(item, at, Problem{Got: quoted(item.Value), Allowed: k.allowed, Why: err.Error()})
			continue
		}
		prefixes = append(prefixes, p)
	}
	return prefixes
}

// environment lets the named variables win over the file.
func (d *decoder) environment(keys []key, path string, getenv func(string) string) {
	for _, k := range keys {
		if s, nested := k.to.(section); nested {
			d.environment(s.keys(), join(path, k.name), getenv)
		}
		if v, ok := k.to.(value); ok && k.env != "" {
			if text := getenv(k.env); text != "" {
				if err := v.Set(text); err != nil {
					d.report(join(path, k.name), Problem{Text: "$" + k.env + ": " + err.Error()})
				}
			}
		}
	}
}

func got(n *yaml.Node, allowed string) Problem {
	p := Problem{Allowed: allowed}
	switch {
	case n.Kind == yaml.MappingNode:
		p.Got = "a mapping"
	case n.Kind == yaml.SequenceNode && len(n.Content) == 0:
		p.Got = "an empty list"
	case n.Kind == yaml.SequenceNode:
		p.Got = "a list"
	case isNull(n):
		p.Got = "nothing"
	default:
		p.Got = quoted(n.Value)
	}
	return p
}

// quoteHint is for the value that YAML does not take for text: 5, true, 1e3.
func quoteHint(n *yaml.Node) string {
	if n.Kind != yaml.ScalarNode || isNull(n) {
		return ""
	}
	return `, in quotes: "` + n.Value + `"`
}

// userinfo is what stands in front of a URL's host.
var userinfo = regexp.MustCompile(`^([A-Za-z][A-Za-z0-9+.-]*://)?.*@`)

// quoted shows a value that was given, without the user and password that one
// has put in front of a host, where none belong.
func quoted(s string) string {
	const most = 120
	s = userinfo.ReplaceAllString(s, "${1}"+hidden+"@")
	if len(s) > most {
		return strconv.Quote(s[:most]) + "..."
	}
	return strconv.Quote(s)
}

func names(keys []key) string {
	all := make([]string, len(keys))
	for i, k := range keys {
		all[i] = k.name
	}
	return strings.Join(all, ", ")
}
