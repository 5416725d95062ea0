package query

import (
	"encoding/json"
	"math"
	"math/big"
	"reflect"
	"time"
	"unicode/utf8"

	"github.com/ClickHouse/clickhouse-go/v2/lib/chcol"
	"github.com/shopspring/decimal"
)

// appendJSON appends a value as JSON: numbers of any width as numbers, times as
// RFC 3339 in UTC, a named tuple and a map as objects, NaN and the infinities,
// which JSON does not have, as null.
func appendJSON(b []byte, t *chType, v reflect.Value) []byte {
	v = deref(v)
	if !v.IsValid() {
		return append(b, "null"...)
	}
	t = t.plain()
	switch x := v.Interface().(type) {
	case time.Time:
		return appendJSONTime(b, t, x)
	case decimal.Decimal:
		return append(b, x.String()...)
	case big.Int:
		return x.Append(b, 10)
	case *big.Int:
		return x.Append(b, 10)
	case chcol.JSON:
		j, err := json.Marshal(&x)
		if err != nil {
			return append(b, "null"...)
		}
		return append(b, j...)
	case *orderedMap:
		b = append(b, '{')
		for i := range x.keys {
			if i > 0 {
				b = append(b, ',')
			}
			b = appendJSONKey(b, t, reflect.ValueOf(x.keys[i]))
			b = appendJSON(b, t.arg(1), reflect.ValueOf(x.values[i]))
		}
		return append(b, '}')
	}
	if k := v.Kind(); (k == reflect.Float32 || k == reflect.Float64) && (math.IsNaN(v.Float()) || math.IsInf(v.Float(), 0)) {
		return append(b, "null"...)
	}
	if s, bare, ok := leaf(t, v); ok {
		if bare {
			return append(b, s...)
		}
		return appendJSONString(b, s)
	}
	switch v.Kind() {
	case reflect.Map:
		b = append(b, '{')
		if t != nil && t.name == "Tuple" {
			for i, name := range t.fields {
				if i > 0 {
					b = append(b, ',')
				}
				b = append(appendJSONString(b, name), ':')
				b = appendJSON(b, t.arg(i), v.MapIndex(reflect.ValueOf(name)))
			}
			return append(b, '}')
		}
		for i, k := range sortedKeys(v) {
			if i > 0 {
				b = append(b, ',')
			}
			b = appendJSONKey(b, t, k)
			b = appendJSON(b, t.arg(1), v.MapIndex(k))
		}
		return append(b, '}')
	case reflect.Slice, reflect.Array:
		b = append(b, '[')
		for i := range v.Len() {
			if i > 0 {
				b = append(b, ',')
			}
			b = appendJSON(b, element(t, i), v.Index(i))
		}
		return append(b, ']')
	}
	return appendJSONString(b, string(appendText(nil, t, v, false)))
}

func appendJSONKey(b []byte, t *chType, k reflect.Value) []byte {
	return append(appendJSONString(b, string(appendText(nil, t.arg(0), k, false))), ':')
}

func appendJSONTime(b []byte, t *chType, x time.Time) []byte {
	b = append(b, '"')
	switch typeName(t) {
	case "Date", "Date32":
		b = x.AppendFormat(b, "2006-01-02")
	case "DateTime64":
		b = x.UTC().AppendFormat(b, "2006-01-02T15:04:05"+fraction(t.scale)+"Z")
	default:
		b = x.UTC().AppendFormat(b, time.RFC3339Nano)
	}
	return append(b, '"')
}

// appendJSONString appends s in quotes. Bytes that are no UTF-8 become U+FFFD:
// JSON has no other place for them.
func appendJSONString(b []byte, s string) []byte {
	const hex = "0123456789abcdef"
	b = append(b, '"')
	for i := 0; i < len(s); {
		c := s[i]
		if c >= utf8.RuneSelf {
			r, size := utf8.DecodeRuneInString(s[i:])
			b = utf8.AppendRune(b, r)
			i += size
			continue
		}
		i++
		switch {
		case c == '"' || c == '\\':
			b = append(b, '\\', c)
		case c == '\n':
			b = append(b, `\n`...)
		case c == '\r':
			b = append(b, `\r`...)
		case c == '\t':
			b = append(b, `\t`...)
		case c < 0x20 || c == 0x7f:
			b = append(b, '\\', 'u', '0', '0', hex[c>>4], hex[c&15])
		default:
			b = append(b, c)
		}
	}
	return append(b, '"')
}
