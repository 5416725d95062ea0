package search

import (
	"fmt"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Parse reads rules as people write them:
//
//	sender ends "@example.com" and (status_norm is quarantined or not subject_header contains invoice)
//	sender_ip in network 192.0.2.0/24, 2001:db8::/32
//	incoming_size in range 1000000..
//	recipient one of a@example.org, b@example.org
//
// A value is a word, or stands in double or single quotes, within which \ keeps the next
// character as it is. and binds more than or.
func Parse(text string) (Rule, error) {
	words, err := split(text)
	if err != nil {
		return Rule{}, err
	}
	p := &parser{text: text, words: words}
	r, err := p.any(0)
	if err != nil {
		return Rule{}, err
	}
	if p.at < len(p.words) {
		return Rule{}, p.wanted("and, or or the end")
	}
	return r, nil
}

// word is a piece of the text. A quoted one is a value and never a keyword.
type word struct {
	text   string
	quoted bool
	at     int // in the text
}

func split(text string) ([]word, error) {
	var all []word
	for i := 0; i < len(text); {
		c := text[i]
		switch r, size := utf8.DecodeRuneInString(text[i:]); {
		case unicode.IsSpace(r):
			i += size
		case c == '(' || c == ')' || c == ',':
			all = append(all, word{text: string(c), at: i})
			i++
		case c == '"' || c == '\'':
			var b strings.Builder
			j := i + 1
			for ; j < len(text) && text[j] != c; j++ {
				if text[j] == '\\' && j+1 < len(text) {
					j++
				}
				b.WriteByte(text[j])
			}
			if j == len(text) {
				return nil, fmt.Errorf("cannot read the rules: the quote at character %d is never closed", i+1)
			}
			all = append(all, word{text: b.String(), quoted: true, at: i})
			i = j + 1
		default:
			j := i + strings.IndexFunc(text[i:], func(r rune) bool { return unicode.IsSpace(r) || strings.ContainsRune("(),\"'", r) })
			if j < i {
				j = len(text)
			}
			all = append(all, word{text: text[i:j], at: i})
			i = j
		}
	}
	return all, nil
}

type parser struct {
	text  string
	words []word
	at    int
}

// is tells whether the next words are these, and goes past them if so.
func (p *parser) is(keywords ...string) bool {
	for i, k := range keywords {
		if p.at+i >= len(p.words) || p.words[p.at+i].quoted || !strings.EqualFold(p.words[p.at+i].text, k) {
			return false
		}
	}
	p.at += len(keywords)
	return true
}

func (p *parser) wanted(what string) error {
	if p.at >= len(p.words) {
		return fmt.Errorf("cannot read the rules: want %s after %q", what, p.text)
	}
	w := p.words[p.at]
	return fmt.Errorf("cannot read the rules: %q at character %d: want %s", w.text, w.at+1, what)
}

func (p *parser) any(depth int) (Rule, error) {
	return p.joined("or", depth, p.all, func(all []Rule) Rule { return Rule{Any: all} })
}

func (p *parser) all(depth int) (Rule, error) {
	return p.joined("and", depth, p.one, func(all []Rule) Rule { return Rule{All: all} })
}

func (p *parser) joined(by string, depth int, part func(int) (Rule, error), join func([]Rule) Rule) (Rule, error) {
	r, err := part(depth)
	if err != nil {
		return r, err
	}
	parts := []Rule{r}
	for p.is(by) {
		if r, err = part(depth); err != nil {
			return r, err
		}
		parts = append(parts, r)
	}
	if len(parts) == 1 {
		return r, nil
	}
	return join(parts), nil
}

func (p *parser) one(depth int) (Rule, error) {
	if depth > maxDepth {
		return Rule{}, fmt.Errorf("cannot read the rules: rules within rules, more than %d deep", maxDepth)
	}
	if p.is("not") {
		r, err := p.one(depth + 1)
		r.Not = !r.Not
		return r, err
	}
	if p.is("(") {
		r, err := p.any(depth + 1)
		if err == nil && !p.is(")") {
			err = p.wanted(")")
		}
		return r, err
	}
	if p.at >= len(p.words) || p.words[p.at].quoted || strings.Contains("(),", p.words[p.at].text) {
		return Rule{}, p.wanted("a field")
	}
	r := Rule{Field: p.words[p.at].text}
	p.at++
	return r, p.condition(&r)
}

type operator struct {
	words []string
	op    Op
	not   bool
}

// operators are in the order in which they are tried: the longer ones first.
var operators = []operator{
	{[]string{"is", "not"}, Is, true},
	{[]string{"is", "one", "of"}, OneOf, false},
	{[]string{"is"}, Is, false},
	{[]string{"="}, Is, false},
	{[]string{"!="}, Is, true},
	{[]string{"does", "not", "contain"}, Contains, true},
	{[]string{"not", "contains"}, Contains, true},
	{[]string{"contains"}, Contains, false},
	{[]string{"starts", "with"}, Starts, false},
	{[]string{"starts"}, Starts, false},
	{[]string{"ends", "with"}, Ends, false},
	{[]string{"ends"}, Ends, false},
	{[]string{"not", "one", "of"}, OneOf, true},
	{[]string{"one", "of"}, OneOf, false},
	{[]string{"not", "in", "range"}, InRange, true},
	{[]string{"in", "range"}, InRange, false},
	{[]string{"not", "in", "network"}, InNetwork, true},
	{[]string{"in", "network"}, InNetwork, false},
}

func (p *parser) condition(r *Rule) error {
	i := slices.IndexFunc(operators, func(o operator) bool { return p.is(o.words...) })
	if i < 0 {
		return p.wanted("is, is not, contains, starts, ends, one of, in range or in network")
	}
	r.Op, r.Not = operators[i].op, operators[i].not
	v, err := p.value()
	if err != nil {
		return err
	}
	if r.Op == InRange {
		return p.rangeOf(r, v)
	}
	r.Values = []string{v.text}
	for (r.Op == OneOf || r.Op == InNetwork) && p.is(",") {
		if v, err = p.value(); err != nil {
			return err
		}
		r.Values = append(r.Values, v.text)
	}
	return nil
}

// rangeOf reads FROM..TO, or FROM and TO in quotes with .. between them.
func (p *parser) rangeOf(r *Rule, first word) error {
	if from, to, ok := strings.Cut(first.text, ".."); ok && !first.quoted {
		if to == "" && p.at < len(p.words) && p.words[p.at].quoted {
			to = p.words[p.at].text
			p.at++
		}
		r.Values = []string{from, to}
		return nil
	}
	r.Values = []string{first.text, ""}
	if p.at < len(p.words) && !p.words[p.at].quoted && strings.HasPrefix(p.words[p.at].text, "..") {
		r.Values[1] = p.words[p.at].text[len(".."):]
		p.at++
		if r.Values[1] == "" && p.at < len(p.words) && p.words[p.at].quoted {
			r.Values[1] = p.words[p.at].text
			p.at++
		}
		return nil
	}
	return p.wanted("a range, as 10..20, 10.. or ..20")
}

func (p *parser) value() (word, error) {
	if p.at >= len(p.words) || !p.words[p.at].quoted && strings.Contains("(),", p.words[p.at].text) {
		return word{}, p.wanted("a value")
	}
	w := p.words[p.at]
	p.at++
	return w, nil
}
