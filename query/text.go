package query

import (
	"encoding/json"
	"fmt"
	"math"
	"math/big"
	"net"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2/lib/chcol"
	"github.com/google/uuid"
	"github.com/shopspring/decimal"
)

// deref follows pointers and interfaces; the zero Value is NULL.
func deref(v reflect.Value) reflect.Value {
	for v.IsValid() {
		if v.Kind() == reflect.Interface || v.Kind() == reflect.Pointer && !isLeafPointer(v) {
			if v.IsNil() {
				return reflect.Value{}
			}
			v = v.Elem()
			continue
		}
		break
	}
	if v.IsValid() && v.Kind() == reflect.Struct {
		if x, ok := v.Interface().(chcol.Variant); ok {
			return deref(reflect.ValueOf(x.Any()))
		}
	}
	return v
}

// isLeafPointer tells pointers that are values of their own.
func isLeafPointer(v reflect.Value) bool {
	if v.IsNil() {
		return false
	}
	switch v.Interface().(type) {
	case *orderedMap, *big.Int:
		return true
	}
	return false
}

func isNull(v reflect.Value) bool { return !deref(v).IsValid() }

// appendText appends a value as ClickHouse writes it. quoted: within a
// container, where texts and times stand in quotes.
func appendText(b []byte, t *chType, v reflect.Value, quoted bool) []byte {
	v = deref(v)
	if !v.IsValid() {
		return append(b, "NULL"...)
	}
	t = t.plain()
	if s, bare, ok := leaf(t, v); ok {
		if quoted && !bare {
			b = append(b, '\'')
			b = appendEscaped(b, s)
			return append(b, '\'')
		}
		return append(b, s...)
	}
	if m, ok := v.Interface().(*orderedMap); ok {
		b = append(b, '{')
		for i := range m.keys {
			if i > 0 {
				b = append(b, ',')
			}
			b = appendText(b, t.arg(0), reflect.ValueOf(m.keys[i]), true)
			b = append(b, ':')
			b = appendText(b, t.arg(1), reflect.ValueOf(m.values[i]), true)
		}
		return append(b, '}')
	}
	switch v.Kind() {
	case reflect.Map:
		if t != nil && t.name == "Tuple" {
			b = append(b, '(')
			for i, name := range t.fields {
				if i > 0 {
					b = append(b, ',')
				}
				b = appendText(b, t.arg(i), v.MapIndex(reflect.ValueOf(name)), true)
			}
			return append(b, ')')
		}
		b = append(b, '{')
		for i, k := range sortedKeys(v) {
			if i > 0 {
				b = append(b, ',')
			}
			b = appendText(b, t.arg(0), k, true)
			b = append(b, ':')
			b = appendText(b, t.arg(1), v.MapIndex(k), true)
		}
		return append(b, '}')
	case reflect.Slice, reflect.Array:
		tuple := t != nil && t.name == "Tuple"
		open, end := byte('['), byte(']')
		if tuple {
			open, end = '(', ')'
		}
		b = append(b, open)
		for i := range v.Len() {
			if i > 0 {
				b = append(b, ',')
			}
			b = appendText(b, element(t, i), v.Index(i), true)
		}
		return append(b, end)
	}
	return append(b, fmt.Sprint(v.Interface())...)
}

func element(t *chType, i int) *chType {
	if t != nil && t.name == "Tuple" {
		return t.arg(i)
	}
	return t.arg(0)
}

func sortedKeys(v reflect.Value) []reflect.Value {
	keys := v.MapKeys()
	slices.SortFunc(keys, func(a, b reflect.Value) int {
		a, b = deref(a), deref(b)
		if a.CanInt() && b.CanInt() {
			return compare(a.Int(), b.Int())
		}
		if a.CanUint() && b.CanUint() {
			return compare(a.Uint(), b.Uint())
		}
		return strings.Compare(fmt.Sprint(a), fmt.Sprint(b))
	})
	return keys
}

func compare[T int64 | uint64](a, b T) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}

// leaf is the text of a value that is no container. bare: it stands without
// quotes, a number or a truth value.
func leaf(t *chType, v reflect.Value) (text string, bare, ok bool) {
	switch x := v.Interface().(type) {
	case string:
		return x, false, true
	case []byte:
		if typeName(t) != "Array" { // an Array(UInt8) is no text
			return string(x), false, true
		}
		return "", false, false
	case time.Time:
		return timeText(t, x), false, true
	case time.Duration:
		return durationText(t, x), false, true
	case uuid.UUID:
		return x.String(), false, true
	case net.IP:
		return ipText(t, x), false, true
	case decimal.Decimal:
		return x.String(), true, true
	case big.Int:
		return x.String(), true, true
	case *big.Int:
		return x.String(), true, true
	case chcol.JSON:
		j, err := json.Marshal(&x)
		if err != nil {
			return err.Error(), false, true
		}
		return string(j), false, true
	}
	switch v.Kind() {
	case reflect.Bool:
		return strconv.FormatBool(v.Bool()), true, true
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		return strconv.FormatInt(v.Int(), 10), true, true
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		return strconv.FormatUint(v.Uint(), 10), true, true
	case reflect.Float32:
		return floatText(v.Float(), 32), true, true
	case reflect.Float64:
		return floatText(v.Float(), 64), true, true
	case reflect.String:
		return v.String(), false, true
	}
	return "", false, false
}

func typeName(t *chType) string {
	if t == nil {
		return ""
	}
	return t.name
}

// timeText is ClickHouse's own text, in the column's time zone.
func timeText(t *chType, x time.Time) string {
	switch typeName(t) {
	case "Date", "Date32":
		return x.Format("2006-01-02")
	case "DateTime":
		return x.Format("2006-01-02 15:04:05")
	case "DateTime64":
		return x.Format("2006-01-02 15:04:05" + fraction(t.scale))
	}
	return x.Format("2006-01-02 15:04:05.999999999")
}

func fraction(digits int) string {
	if digits <= 0 {
		return ""
	}
	return "." + strings.Repeat("0", min(digits, 9))
}

func durationText(t *chType, d time.Duration) string {
	sign := ""
	if d < 0 {
		sign, d = "-", -d
	}
	s := fmt.Sprintf("%s%02d:%02d:%02d", sign, int64(d.Hours()), int64(d.Minutes())%60, int64(d.Seconds())%60)
	if t != nil && t.scale > 0 {
		s += "." + fmt.Sprintf("%09d", d%time.Second)[:min(t.scale, 9)]
	}
	return s
}

// ipText keeps ClickHouse's spelling of an IPv4 address in an IPv6 column,
// which a query has to compare with.
func ipText(t *chType, ip net.IP) string {
	if typeName(t) == addressType {
		if ip.IsUnspecified() {
			return ""
		}
		return ip.String() // IPv4 as IPv4
	}
	if typeName(t) == "IPv6" {
		if v4 := ip.To4(); v4 != nil {
			return "::ffff:" + v4.String()
		}
	}
	return ip.String()
}

// floatText is the shortest text, with an exponent where ClickHouse has one.
func floatText(f float64, bits int) string {
	switch {
	case math.IsNaN(f):
		return "nan"
	case math.IsInf(f, 1):
		return "inf"
	case math.IsInf(f, -1):
		return "-inf"
	}
	if a := math.Abs(f); a != 0 && (a < 1e-6 || a >= 1e21) {
		s := strconv.FormatFloat(f, 'e', -1, bits)
		mantissa, exponent, _ := strings.Cut(s, "e")
		sign := ""
		if exponent[0] == '-' {
			sign = "-"
		}
		return mantissa + "e" + sign + strings.TrimLeft(exponent[1:], "0")
	}
	return strconv.FormatFloat(f, 'f', -1, bits)
}

// appendEscaped escapes as ClickHouse's TabSeparated does.
func appendEscaped(b []byte, s string) []byte {
	for i := 0; i < len(s); i++ {
		switch c := s[i]; c {
		case '\b':
			b = append(b, `\b`...)
		case '\f':
			b = append(b, `\f`...)
		case '\r':
			b = append(b, `\r`...)
		case '\n':
			b = append(b, `\n`...)
		case '\t':
			b = append(b, `\t`...)
		case 0:
			b = append(b, `\0`...)
		case '\'', '\\':
			b = append(b, '\\', c)
		default:
			b = append(b, c)
		}
	}
	return b
}
