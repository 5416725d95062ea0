package query

import (
	"strconv"
	"strings"

	"github.com/ClickHouse/clickhouse-go/v2/lib/column"

	"millrace/internal/sqltext"
)

// chType is a ClickHouse type as far as printing needs it.
type chType struct {
	name   string
	args   []*chType // of Array, Map, Tuple, Nullable, LowCardinality
	fields []string  // names of a named Tuple
	scale  int       // digits of DateTime64 and Time64
}

var geometry = map[string]string{
	"Point": "Tuple(Float64, Float64)", "Ring": "Array(Point)", "LineString": "Array(Point)",
	"Polygon": "Array(Ring)", "MultiLineString": "Array(LineString)", "MultiPolygon": "Array(Polygon)",
}

// parseType reads a type's text. A type that it does not know has its name
// alone, and its values print by their Go type.
func parseType(s string) *chType { return parseTypeDepth(s, 0) }

func parseTypeDepth(s string, depth int) *chType {
	s = strings.TrimSpace(s)
	if g, ok := geometry[s]; ok {
		s = g
	}
	open := strings.IndexByte(s, '(')
	if open < 0 || !strings.HasSuffix(s, ")") || depth > 32 {
		return &chType{name: s}
	}
	t := &chType{name: s[:open]}
	args := sqltext.Split(s[open+1 : len(s)-1])
	switch t.name {
	case "Nullable", "LowCardinality", "Array", "Map":
		for _, a := range args {
			t.args = append(t.args, parseTypeDepth(a, depth+1))
		}
	case "Tuple", "Nested":
		for _, a := range args {
			name, typ := splitField(a)
			if name != "" {
				t.fields = append(t.fields, name)
			}
			t.args = append(t.args, parseTypeDepth(typ, depth+1))
		}
		if len(t.fields) != len(t.args) {
			t.fields = nil
		}
		if t.name == "Nested" {
			t.name = "Tuple"
			t = &chType{name: "Array", args: []*chType{t}}
		}
	case "SimpleAggregateFunction":
		if len(args) == 2 {
			inner := parseTypeDepth(args[1], depth+1)
			if inner.name == "Map" {
				// The driver wraps the column, so that the ordered form is out
				// of reach; the type still tells how to print it.
				return &chType{name: "SimpleAggregateFunction", args: []*chType{inner}}
			}
			return inner
		}
	case "DateTime64", "Time64":
		if len(args) > 0 {
			t.scale, _ = strconv.Atoi(args[0])
		}
	}
	return t
}

// splitField splits "name Type" of a tuple's element; name is "" when there is
// none.
func splitField(s string) (name, typ string) {
	if strings.HasPrefix(s, "`") {
		if end := strings.LastIndex(s, "` "); end > 0 {
			return strings.NewReplacer("\\`", "`", `\\`, `\`).Replace(s[1:end]), s[end+2:]
		}
	}
	i := strings.IndexAny(s, " (")
	if i > 0 && s[i] == ' ' {
		return s[:i], s[i+1:]
	}
	return "", s
}

// plain is the type under Nullable, LowCardinality and what the driver wraps.
func (t *chType) plain() *chType {
	for t != nil && (t.name == "Nullable" || t.name == "LowCardinality" || t.name == "SimpleAggregateFunction") && len(t.args) == 1 {
		t = t.args[0]
	}
	return t
}

// addressType is what IPv6 becomes where addresses print as mail people write them: IPv4 ones
// without their prefix, and none as nothing.
const addressType = "address"

func (t *chType) plainAddresses() {
	if t.name == "IPv6" {
		t.name = addressType
	}
	for _, a := range t.args {
		a.plainAddresses()
	}
}

func (t *chType) arg(i int) *chType {
	if t == nil || i >= len(t.args) {
		return nil
	}
	return t.args[i]
}

func (t *chType) lowNullable() bool {
	return t.name == "LowCardinality" && len(t.args) == 1 && t.args[0].name == "Nullable"
}

func (t *chType) container() bool {
	switch t.plain().name {
	case "Array", "Map", "Tuple":
		return true
	}
	return false
}

// number tells which columns are aligned to the right.
func (t *chType) number() bool {
	n := t.plain().name
	for _, p := range []string{"UInt", "Int", "Float", "Decimal", "BFloat"} {
		if strings.HasPrefix(n, p) && !strings.HasPrefix(n, "Interval") {
			return true
		}
	}
	return false
}

// orderedMap receives a Map column with its order and its repetitions.
type orderedMap struct{ keys, values []any }

func (m *orderedMap) reset()       { m.keys, m.values = m.keys[:0], m.values[:0] }
func (m *orderedMap) Put(k, v any) { m.keys, m.values = append(m.keys, k), append(m.values, v) }
func (m *orderedMap) Iterator() column.MapIterator {
	return &mapIterator{m: m, i: -1}
}

type mapIterator struct {
	m *orderedMap
	i int
}

func (it *mapIterator) Next() bool { it.i++; return it.i < len(it.m.keys) }
func (it *mapIterator) Key() any   { return it.m.keys[it.i] }
func (it *mapIterator) Value() any { return it.m.values[it.i] }
