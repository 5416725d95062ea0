package config

import (
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"strings"
	"time"
)

// A key is one line of the key tables: everything that is known about a
// setting. to is a value, a section (nested keys), a list of sections, or one
// of the few types the decoder knows by itself.
type key struct {
	name    string
	to      any
	def     string // YAML text; empty for sections and for what has no default
	doc     string
	allowed string
	ok      func() bool // nil: all that Set takes
	env     string      // environment variable that overrides the file
	need    bool        // must be given (in lists of sections)
	live    bool        // a reload takes a new value over; see Changes
}

// live marks what a daemon can change while it runs.
func live(k key) key {
	k.live = true
	return k
}

// A section is a YAML mapping with known keys.
type section interface{ keys() []key }

// A list is a YAML sequence of sections.
type list interface {
	clear()
	add() section // the new element; invalid after the next add
	each(func(section))
	blank() section // an element at its defaults, of no list
}

type sections[T any] struct {
	of   *[]T
	keys func(*T) []key
}

type element struct{ table []key }

func (e element) keys() []key { return e.table }

func (s sections[T]) clear() { *s.of = nil }
func (s sections[T]) add() section {
	*s.of = append(*s.of, *new(T))
	return element{s.keys(&(*s.of)[len(*s.of)-1])}
}

func (s sections[T]) blank() section {
	e := element{s.keys(new(T))}
	(&decoder{where: map[string]position{}}).defaults(e.table, "")
	return e
}

func (s sections[T]) each(f func(section)) {
	for i := range *s.of {
		f(element{s.keys(&(*s.of)[i])})
	}
}

const (
	sizeUnit = "bytes, or a number with KiB, MiB or GiB, "
	timeUnit = "a time with a unit (ms, s, m, h, d), "
)

func text(name string, to *string, def, doc string) key {
	return key{name: name, to: textValue{s: to}, def: quote(def), doc: doc, allowed: "text"}
}

// oneOf is a choice of words.
func oneOf(name string, to *string, def, doc string, words ...string) key {
	k := text(name, to, def, doc)
	k.allowed = strings.Join(words, ", ")
	k.to = textValue{to, func(s string) error {
		for _, w := range words {
			if s == w {
				return nil
			}
		}
		return errNotListed
	}}
	return k
}

var errNotListed = errors.New("")

func boolean(name string, to *bool, def, doc string) key {
	return key{name: name, to: boolValue{to}, def: def, doc: doc, allowed: "true, false"}
}

func between[T cmp.Ordered](to *T, low, high T) func() bool {
	return func() bool { return low <= *to && *to <= high }
}

func number(name string, to *int, def string, low, high int, doc string) key {
	return key{name: name, to: intValue{to}, def: def, doc: doc, ok: between(to, low, high),
		allowed: fmt.Sprintf("a whole number, %d to %d", low, high)}
}

func size(name string, to *Size, def string, low, high Size, doc string) key {
	return key{name: name, to: to, def: def, doc: doc, ok: between(to, low, high),
		allowed: fmt.Sprintf(sizeUnit+"%s to %s", low, high)}
}

func duration(name string, to *time.Duration, def string, low, high time.Duration, doc string) key {
	return key{name: name, to: durationValue{to}, def: def, doc: doc, ok: between(to, low, high),
		allowed: fmt.Sprintf(timeUnit+"%s to %s", FormatDuration(low), FormatDuration(high))}
}

func percent(name string, to *float64, def string, low, high float64, doc string) key {
	return key{name: name, to: percentValue{to}, def: def, doc: doc, ok: between(to, low, high),
		allowed: fmt.Sprintf("a percentage, %s to %s", percentValue{&low}, percentValue{&high})}
}

func endpoint(name string, to *Endpoint, def, doc string) key {
	return key{name: name, to: to, def: quote(def), doc: doc, allowed: "HOST:PORT, or off"}
}

func secret(name string, to *Secret, env, doc string) key {
	return key{name: name, to: to, def: `""`, env: env, allowed: "text",
		doc: doc + " Never logged."}
}

func texts(name string, to *[]string, def, doc, allowed string) key {
	return key{name: name, to: to, def: def, doc: doc, allowed: allowed}
}

func sub(name string, to section, doc string) key { return key{name: name, to: to, doc: doc} }

type levelValue struct{ l *slog.Level }

func (v levelValue) String() string { return strings.ToLower(v.l.String()) }
func (v levelValue) Set(text string) error {
	if strings.ToLower(text) != text || v.l.UnmarshalText([]byte(text)) != nil || strings.ContainsAny(text, "+-") {
		return errNotListed
	}
	return nil
}

func checkName(s string) error {
	for i, c := range s {
		switch {
		case 'a' <= c && c <= 'z', '0' <= c && c <= '9':
		case i > 0 && strings.ContainsRune("-_.", c):
		default:
			return fmt.Errorf("%q cannot be in a name there", c)
		}
	}
	if s == "" || len(s) > 63 {
		return fmt.Errorf("%d characters", len(s))
	}
	return nil
}

func nameKey(to *string, doc string) key {
	return key{name: "name", to: textValue{to, checkName}, doc: doc, need: true,
		allowed: "1 to 63 of a-z, 0-9 and, not first, -_."}
}

// checkTopic knows Kafka's rule for topic names: a prefix longer than this
// leaves no room for the kind.
func checkTopic(s string) error {
	for _, c := range s {
		if !('a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || strings.ContainsRune("-_.", c)) {
			return fmt.Errorf("%q cannot be in the name of a topic", c)
		}
	}
	if len(s) > 200 {
		return fmt.Errorf("%d characters", len(s))
	}
	return nil
}

// checkDatabase admits what needs no quoting anywhere.
func checkDatabase(s string) error {
	for i, c := range s {
		if !('a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || c == '_' || i > 0 && '0' <= c && c <= '9') {
			return fmt.Errorf("%q cannot be in the name there", c)
		}
	}
	if s == "" || len(s) > 63 {
		return fmt.Errorf("%d characters", len(s))
	}
	return nil
}

// checkCluster admits what needs no escaping in quotes.
func checkCluster(s string) error {
	for _, c := range s {
		if !('a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || strings.ContainsRune("-_.", c)) {
			return fmt.Errorf("%q cannot be in the name of a cluster", c)
		}
	}
	return nil
}

func checkURL(s string) error {
	if s == "" {
		return nil
	}
	u, err := url.Parse(s)
	switch {
	case err != nil || u.Host == "":
		return errors.New("not an address")
	case u.User != nil:
		return errors.New("user and password have their own keys")
	case u.Scheme != "https":
		return fmt.Errorf("the scheme is %q: the password would travel in clear", u.Scheme)
	}
	return nil
}

func notEmpty(s string) error {
	if s == "" {
		return errors.New("empty")
	}
	return nil
}

func both(a, b func(string) error) func(string) error {
	return func(s string) error {
		if err := a(s); err != nil {
			return err
		}
		return b(s)
	}
}

// quote renders text as YAML that reads back as that text.
func quote(s string) string {
	return "'" + strings.ReplaceAll(s, "'", "''") + "'"
}
