package format

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// ErrTemplate is wrapped by every error of Compile.
var ErrTemplate = errors.New("bad template")

// Template is a compiled template text: literals with a variable between each
// two of them. It never changes.
type Template struct {
	text      string
	variables []variable
	literals  [][]byte // len(variables)+1: before the first, between, after the last
}

// variable is one %(name)s of a template.
type variable struct {
	name  string
	text  string // as written, which is what stands in a frame that was not expanded
	verb  byte   // s d i u f F r a
	width int    // 0: none
	left  bool   // the - flag: padded on the right
}

// maxVariables is how many variables a template may have: more than an event
// has fields, so that only nonsense meets it.
const maxVariables = 128

// Compile reads a template in the syntax of Python's %-formatting, which is what
// the source's API takes: %(name)s with flags, width and precision; %% is a
// percent sign; all else is literal.
func Compile(text string) (*Template, error) {
	switch strings.TrimSpace(text) {
	case "":
		return nil, fmt.Errorf("%w: it is empty", ErrTemplate)
	case "default":
		return nil, fmt.Errorf("%w: %q names the source's own text, which is not known here: set an explicit template at the source and give that text", ErrTemplate, text)
	}
	// Cut at whole characters, a valid frame has valid values.
	if !utf8.ValidString(text) {
		return nil, fmt.Errorf("%w: it is not UTF-8: %q", ErrTemplate, text)
	}
	t := &Template{text: text}
	literal := []byte{}
	for i := 0; i < len(text); {
		c := text[i]
		if c != '%' {
			literal = append(literal, c)
			i++
			continue
		}
		if strings.HasPrefix(text[i:], "%%") {
			literal = append(literal, '%')
			i += 2
			continue
		}
		v, size, err := parseVariable(text[i:])
		if err != nil {
			return nil, fmt.Errorf("%w: column %d: %w", ErrTemplate, columnOf(text, i), err)
		}
		if n := len(t.variables); n > 0 && len(literal) == 0 {
			return nil, fmt.Errorf("%w: column %d: nothing stands between the variables %q and %q: no frame could tell where one ends; put a literal between them",
				ErrTemplate, columnOf(text, i), t.variables[n-1].name, v.name)
		}
		for _, w := range t.variables {
			if w.name == v.name {
				return nil, fmt.Errorf("%w: column %d: the variable %q stands twice", ErrTemplate, columnOf(text, i), v.name)
			}
		}
		if len(t.variables) == maxVariables {
			return nil, fmt.Errorf("%w: column %d: more than %d variables", ErrTemplate, columnOf(text, i), maxVariables)
		}
		t.literals = append(t.literals, literal)
		t.variables = append(t.variables, v)
		literal = []byte{}
		i += size
	}
	if len(t.variables) == 0 {
		return nil, fmt.Errorf("%w: it has no variable such as %%(id)s: %q", ErrTemplate, text)
	}
	// Trailers are taken off every frame, so one in the template is never seen.
	literal = bytes.TrimRight(literal, "\x00\r\n")
	t.literals = append(t.literals, literal)
	for _, l := range t.literals {
		if bytes.IndexByte(l, 0) >= 0 {
			return nil, fmt.Errorf("%w: a literal holds a NUL, which ends a frame: %q", ErrTemplate, l)
		}
	}
	return t, nil
}

// parseVariable reads one %(name)... at the start of text.
func parseVariable(text string) (v variable, size int, err error) {
	if len(text) == 1 {
		return v, 0, errors.New("a percent sign ends the template; a literal one is written %%")
	}
	if text[1] != '(' {
		return v, 0, fmt.Errorf("%q is neither %%%% nor a variable %%(name)s", firstRunes(text, 2))
	}
	end, depth := 0, 0
	for j := 1; j < len(text) && end == 0; j++ { // Python counts parentheses inside a name
		switch text[j] {
		case '(':
			depth++
		case ')':
			if depth--; depth == 0 {
				end = j
			}
		}
	}
	if end == 0 {
		return v, 0, fmt.Errorf("%q has no closing parenthesis", firstRunes(text, 24))
	}
	v.name = text[2:end]
	if v.name == "" || strings.ContainsFunc(v.name, unicode.IsControl) {
		return v, 0, fmt.Errorf("%q is no variable name", v.name)
	}
	i := end + 1
	for ; i < len(text) && strings.IndexByte("#0- +", text[i]) >= 0; i++ {
		v.left = v.left || text[i] == '-'
	}
	for ; i < len(text) && isDigit(text[i]); i++ {
		if v.width = v.width*10 + int(text[i]-'0'); v.width > 1<<16 {
			return v, 0, fmt.Errorf("the width of %q is over %d", v.name, 1<<16)
		}
	}
	if i < len(text) && text[i] == '.' {
		for i++; i < len(text) && isDigit(text[i]); i++ {
		}
	}
	if i < len(text) && strings.IndexByte("hlL", text[i]) >= 0 { // read and ignored, as Python does
		i++
	}
	if i == len(text) {
		return v, 0, fmt.Errorf("%q has no conversion; write %%(%s)s", text, v.name)
	}
	v.verb = text[i]
	if strings.IndexByte("sdiufFra", v.verb) < 0 {
		return v, 0, fmt.Errorf("%q has the conversion %q; s, d, i, u, f, r and a are read", firstRunes(text, utf8.RuneCountInString(text[:i])+1), firstRunes(text[i:], 1))
	}
	v.text = text[:i+1]
	return v, i + 1, nil
}

func isDigit(c byte) bool { return c-'0' <= 9 }

// columnOf is where byte i of text stands, counted in characters from 1.
func columnOf(text string, i int) int { return utf8.RuneCountInString(text[:i]) + 1 }

func firstRunes(s string, n int) string {
	for i := range s {
		if n == 0 {
			return s[:i]
		}
		n--
	}
	return s
}

// String is the template's text.
func (t *Template) String() string { return t.text }

// Variables are the names of the template's variables, in order.
func (t *Template) Variables() []string {
	names := make([]string, len(t.variables))
	for i, v := range t.variables {
		names[i] = v.name
	}
	return names
}

// Append appends what a source with this template writes: the literals with
// value(name) in place of each variable. Like the source it escapes nothing; of
// conversions it heeds the width alone.
func (t *Template) Append(dst []byte, value func(name string) []byte) []byte {
	for i, v := range t.variables {
		dst = append(dst, t.literals[i]...)
		text := value(v.name)
		pad := v.width - utf8.RuneCount(text)
		if !v.left {
			dst = appendBlanks(dst, pad)
		}
		dst = append(dst, text...)
		if v.left {
			dst = appendBlanks(dst, pad)
		}
	}
	return append(dst, t.literals[len(t.variables)]...)
}

func appendBlanks(dst []byte, n int) []byte {
	for ; n > 0; n-- {
		dst = append(dst, ' ')
	}
	return dst
}
