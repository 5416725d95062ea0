package sqltext

import "strings"

// Split cuts s at the commas that stand in no quotes and no parentheses, and
// takes the spaces off around the parts.
func Split(s string) []string {
	var out []string
	start := 0
	scan(s, func(i, depth int) bool {
		if s[i] == ',' && depth == 0 {
			out = append(out, strings.TrimSpace(s[start:i]))
			start = i + 1
		}
		return true
	})
	return append(out, strings.TrimSpace(s[start:]))
}

// Closing returns where the parenthesis that opens at open closes, or -1.
func Closing(s string, open int) int {
	end := -1
	scan(s[open:], func(i, depth int) bool {
		if s[open+i] == ')' && depth == 0 {
			end = open + i
			return false
		}
		return true
	})
	return end
}

// IndexWord returns where the word, with a space behind it, stands outside
// quotes and parentheses, or -1.
func IndexWord(s, word string) int {
	at := -1
	scan(s, func(i, depth int) bool {
		if depth == 0 && strings.HasPrefix(s[i:], word+" ") && (i == 0 || s[i-1] == ' ') {
			at = i
			return false
		}
		return true
	})
	return at
}

// scan calls f for each byte that stands in no quotes, with the depth of
// parentheses before it, until f returns false.
func scan(s string, f func(i, depth int) bool) {
	depth := 0
	var quote byte
	for i := 0; i < len(s); i++ {
		c := s[i]
		if quote != 0 {
			if c == '\\' {
				i++
			} else if c == quote {
				quote = 0
			}
			continue
		}
		if c == ')' {
			depth--
		}
		if !f(i, depth) {
			return
		}
		switch c {
		case '\'', '`', '"':
			quote = c
		case '(':
			depth++
		}
	}
}

// String is the value of a query parameter of type String: the server reads it as one field
// of a tab-separated line.
func String(s string) string { return stringEscaper.Replace(s) }

// Array is the value of a query parameter of type Array(String).
func Array(values []string) string {
	var b strings.Builder
	b.WriteByte('[')
	for i, v := range values {
		if i > 0 {
			b.WriteByte(',')
		}
		b.WriteByte('\'')
		elementEscaper.WriteString(&b, v)
		b.WriteByte('\'')
	}
	b.WriteByte(']')
	return b.String()
}

var (
	stringEscaper  = strings.NewReplacer(`\`, `\\`, "\t", `\t`, "\n", `\n`, "\r", `\r`, "\x00", `\0`)
	elementEscaper = strings.NewReplacer(`\`, `\\`, `'`, `\'`, "\t", `\t`, "\n", `\n`, "\r", `\r`, "\x00", `\0`)
)
