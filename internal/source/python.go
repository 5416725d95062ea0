package source

import (
	"encoding/json"
	"errors"
	"strconv"
	"strings"
	"unicode/utf8"
)

// python reads the text that Python prints for a value made of dicts, lists,
// tuples, strings, numbers, True, False and None.
type python struct {
	text string
	at   int
}

var errPython = errors.New("not the text of a Python value")

// maxDepth bounds the recursion on hostile input.
const maxDepth = 16

func parsePython(text string) ([]pair, bool) {
	p := python{text: text}
	v, err := p.value(0)
	if err != nil {
		return nil, false
	}
	p.space()
	if p.at != len(p.text) {
		return nil, false
	}
	return flatten(v, 0)
}

func (p *python) space() {
	for p.at < len(p.text) && strings.IndexByte(" \t\r\n", p.text[p.at]) >= 0 {
		p.at++
	}
}

func (p *python) accept(c byte) bool {
	p.space()
	if p.at < len(p.text) && p.text[p.at] == c {
		p.at++
		return true
	}
	return false
}

// value returns nil, string, bool, json.Number, []any or map[string]any: the
// types of a JSON decoder, so that both layouts share what follows.
func (p *python) value(depth int) (any, error) {
	p.space()
	if p.at >= len(p.text) || depth > maxDepth {
		return nil, errPython
	}
	switch c := p.text[p.at]; {
	case c == '{':
		return p.dict(depth)
	case c == '[':
		return p.list(']', depth)
	case c == '(':
		return p.list(')', depth)
	case c == '\'' || c == '"':
		return p.strings()
	case (c == 'u' || c == 'b' || c == 'U' || c == 'B') && p.at+1 < len(p.text) && (p.text[p.at+1] == '\'' || p.text[p.at+1] == '"'):
		p.at++
		return p.strings()
	}
	return p.word()
}

// strings joins adjacent literals, as pprint prints long ones.
func (p *python) strings() (any, error) {
	s, err := p.quoted()
	if err != nil {
		return nil, err
	}
	for {
		p.space()
		if p.at >= len(p.text) || p.text[p.at] != '\'' && p.text[p.at] != '"' {
			return s, nil
		}
		next, err := p.quoted()
		if err != nil {
			return nil, err
		}
		s += next
	}
}

func (p *python) word() (any, error) {
	start := p.at
	for p.at < len(p.text) && strings.IndexByte(" \t\r\n,:]})", p.text[p.at]) < 0 {
		p.at++
	}
	switch w := p.text[start:p.at]; w {
	case "True", "true":
		return true, nil
	case "False", "false":
		return false, nil
	case "None", "null":
		return nil, nil
	default:
		w = strings.TrimSuffix(w, "L") // Python 2's long
		if _, err := strconv.ParseFloat(w, 64); err != nil {
			return nil, errPython
		}
		return json.Number(w), nil
	}
}

func (p *python) dict(depth int) (any, error) {
	p.at++
	m := map[string]any{}
	for {
		if p.accept('}') {
			return m, nil
		}
		k, err := p.value(depth + 1)
		if err != nil {
			return nil, err
		}
		key, ok := scalar(k)
		if !ok || !p.accept(':') {
			return nil, errPython
		}
		if m[key], err = p.value(depth + 1); err != nil {
			return nil, err
		}
		if !p.accept(',') && !p.peek('}') {
			return nil, errPython
		}
	}
}

func (p *python) list(end byte, depth int) (any, error) {
	p.at++
	l := []any{}
	for {
		if p.accept(end) {
			return l, nil
		}
		v, err := p.value(depth + 1)
		if err != nil {
			return nil, err
		}
		l = append(l, v)
		if !p.accept(',') && !p.peek(end) {
			return nil, errPython
		}
	}
}

func (p *python) peek(c byte) bool {
	p.space()
	return p.at < len(p.text) && p.text[p.at] == c
}

// quoted reads one string literal; p.at stands on its opening quote.
func (p *python) quoted() (string, error) {
	quote := p.text[p.at]
	p.at++
	var b strings.Builder
	for p.at < len(p.text) {
		c := p.text[p.at]
		p.at++
		switch c {
		case quote:
			return b.String(), nil
		case '\\':
			if p.at >= len(p.text) {
				return "", errPython
			}
			p.escape(&b)
		default:
			b.WriteByte(c)
		}
	}
	return "", errPython
}

// escape reads what follows a backslash. Python keeps the backslash of an
// escape that it does not know.
func (p *python) escape(b *strings.Builder) {
	c := p.text[p.at]
	p.at++
	switch c {
	case '\n':
	case '\\', '\'', '"':
		b.WriteByte(c)
	case 'n':
		b.WriteByte('\n')
	case 't':
		b.WriteByte('\t')
	case 'r':
		b.WriteByte('\r')
	case 'a':
		b.WriteByte('\a')
	case 'b':
		b.WriteByte('\b')
	case 'f':
		b.WriteByte('\f')
	case 'v':
		b.WriteByte('\v')
	case 'x':
		p.code(b, 'x', 2)
	case 'u':
		p.code(b, 'u', 4)
	case 'U':
		p.code(b, 'U', 8)
	case '0', '1', '2', '3', '4', '5', '6', '7':
		n := int(c - '0')
		for i := 0; i < 2 && p.at < len(p.text) && p.text[p.at] >= '0' && p.text[p.at] <= '7'; i++ {
			n = n<<3 | int(p.text[p.at]-'0')
			p.at++
		}
		b.WriteRune(rune(n))
	default:
		b.WriteByte('\\')
		b.WriteByte(c)
	}
}

func (p *python) code(b *strings.Builder, letter byte, digits int) {
	if p.at+digits <= len(p.text) {
		if n, err := strconv.ParseUint(p.text[p.at:p.at+digits], 16, 32); err == nil {
			p.at += digits
			if n > utf8.MaxRune {
				n = utf8.RuneError
			}
			b.WriteRune(rune(n))
			return
		}
	}
	b.WriteByte('\\')
	b.WriteByte(letter)
}
