package schema

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
)

// The groups of classes: what the filter did with a message, of which the class says why.
// Seen from the client 2xx is accepted, 4xx temporarily rejected and 5xx rejected; a
// quarantined message was taken, or refused, and is kept.
const (
	Accepted            = "accepted"
	Rejected            = "rejected"
	TemporarilyRejected = "temporarily-rejected"
	Quarantined         = "quarantined"
)

// ClassGroups are all groups.
var ClassGroups = []string{Accepted, Rejected, TemporarilyRejected, Quarantined}

// Class is one value of class_norm.
type Class struct {
	Name    string
	Words   []string // its other spellings, as [NormalWord] makes them
	Group   string   // one of ClassGroups; empty: the status alone says
	Meaning string
	Advice  string
	Own     bool // the configuration has made it, or has said something else of it
}

// builtinClasses are the nine classes of today and the codes of 2016 that have no
// counterpart among them.
var builtinClasses = []Class{
	{Name: "not-spam", Words: []string{"ham", "notspam", "clean"}, Group: Accepted,
		Meaning: "nothing speaks against it", Advice: "none; report it as spam if it was"},
	{Name: "allow-list", Words: []string{"whitelisted", "whitelist", "white-list", "allowlist", "allowlisted", "allow-listed"}, Group: Accepted,
		Meaning: "an allow list names its sender or recipient", Advice: "if it was spam, look in extra_class for the list and shorten it"},
	{Name: "unsure", Group: Accepted,
		Meaning: "neither clearly spam nor clearly not", Advice: "train the filter with it in the direction that is right"},
	{Name: "spam", Group: Rejected,
		Meaning: "its content or its origin is that of spam", Advice: "outgoing: find out which account sent it and lock its identity; incoming: release and train if it was none"},
	{Name: "phish", Words: []string{"phishing"}, Group: Rejected,
		Meaning: "it asks for passwords or money under a false name", Advice: "outgoing: lock the identity, and take its web site down; never release without a look"},
	{Name: "virus", Group: Rejected,
		Meaning: "it carries malware, or an attachment that is not let through", Advice: "outgoing: the sender's machine or web site is broken into; lock the identity and clean it"},
	{Name: "block-list", Words: []string{"blacklisted", "blacklist", "black-list", "blocklist", "blocklisted", "block-listed"}, Group: Rejected,
		Meaning: "a block list names its sender, recipient, client or attachment", Advice: "look in sub_class and extra_class for the list; take the entry off if it is wrong"},
	{Name: "oversize", Group: Rejected,
		Meaning: "it is larger than is allowed", Advice: "raise the limit of the domain, or send a link"},
	{Name: "locked", Group: Rejected,
		Meaning: "its outgoing user or identity is locked", Advice: "clean the account first, then unlock it"},
	{Name: "error", Group: Rejected,
		Meaning: "it could not be taken: an address that is wrong or unknown, a rule of the protocol broken", Advice: "look in sub_class and extra_class for what was wrong"},
	{Name: "deferred", Group: TemporarilyRejected,
		Meaning: "refused for now: greylisting, a rate limit, a destination that does not answer", Advice: "none, its sender tries again; if it stays so, look in sub_class for the limit"},
	{Name: "unknown",
		Meaning: "the filter has not said", Advice: "look at the status; add the variables of the class to the template if it is always so"},
}

// OwnClass is a class that the configuration adds, or changes.
type OwnClass struct {
	Word    string // in any spelling
	Class   string // that it means; empty: the word itself
	Group   string
	Meaning string
	Advice  string
}

// ClassTable is the one table of words and classes.
type ClassTable struct {
	classes []Class
	own     []string          // words of the configuration: rows of before may hold them as they are
	words   map[string][]byte // word -> name of its class
}

var builtinTable = sync.OnceValue(func() *ClassTable {
	t, err := NewClassTable(nil)
	if err != nil {
		panic("BUG: " + err.Error())
	}
	return t
})

// BuiltinClasses is the table without what a configuration adds.
func BuiltinClasses() *ClassTable { return builtinTable() }

// NewClassTable is the built-in table with the configuration's words. A word of another
// class changes sides; group, meaning and advice are the class's, and replace those that it
// has. The error is a [ClassError].
func NewClassTable(own []OwnClass) (*ClassTable, error) {
	t := &ClassTable{words: map[string][]byte{}}
	for _, c := range builtinClasses {
		c.Words = slices.Clone(c.Words)
		t.classes = append(t.classes, c)
	}
	said := map[string]OwnClass{} // class -> what the configuration has said of it
	for i, o := range own {
		if key, err := t.add(o, said); err != nil {
			return nil, &ClassError{Index: i, Key: key, err: err}
		}
	}
	for _, c := range t.classes {
		name := []byte(c.Name)
		for _, w := range c.spellings() {
			t.words[w] = name
		}
	}
	return t, nil
}

// add returns the key that is wrong with an error.
func (t *ClassTable) add(o OwnClass, said map[string]OwnClass) (key string, err error) {
	word, name := NormalWord(o.Word), NormalWord(o.Class)
	if name == "" {
		name = word
	}
	at := t.find(name)
	switch {
	case word == "":
		return "word", errors.New("it is empty")
	case slices.Contains(t.own, word):
		return "word", fmt.Errorf("%q is there twice", o.Word)
	case word != name && t.find(word) >= 0:
		return "class", fmt.Errorf("%q is a class itself, it cannot be a word for %q", word, name)
	case o.Group != "" && !slices.Contains(ClassGroups, o.Group):
		return "group", fmt.Errorf("%q is none of %s", o.Group, strings.Join(ClassGroups, ", "))
	case at < 0 && o.Group == "":
		return "group", fmt.Errorf("it is empty, and %q is a class of its own: want one of %s", name, strings.Join(ClassGroups, ", "))
	}
	if at < 0 {
		t.classes = append(t.classes, Class{Name: name})
		at = len(t.classes) - 1
	}
	before := said[name]
	for _, v := range []struct {
		key, text string
		is, was   *string
	}{{"group", o.Group, &t.classes[at].Group, &before.Group}, {"meaning", o.Meaning, &t.classes[at].Meaning, &before.Meaning}, {"advice", o.Advice, &t.classes[at].Advice, &before.Advice}} {
		if v.text == "" {
			continue
		}
		if *v.was != "" && *v.was != v.text {
			return v.key, fmt.Errorf("%q contradicts %q, which an entry before says of class %q", v.text, *v.was, name)
		}
		*v.is, *v.was, t.classes[at].Own = v.text, v.text, true
	}
	said[name] = before
	for i := range t.classes {
		t.classes[i].Words = slices.DeleteFunc(t.classes[i].Words, func(w string) bool { return w == word })
	}
	if word != name {
		t.classes[at].Words = append(t.classes[at].Words, word)
	}
	t.own = append(t.own, word)
	return "", nil
}

func (t *ClassTable) find(name string) int {
	return slices.IndexFunc(t.classes, func(c Class) bool { return c.Name == name })
}

// ClassError says which of the configuration's classes is wrong, and what of it.
type ClassError struct {
	Index int
	Key   string
	err   error
}

func (e *ClassError) Error() string { return e.err.Error() }
func (e *ClassError) Unwrap() error { return e.err }

// Spelling is one word of a class.
type Spelling struct {
	Word string
	Own  bool // from the configuration
	Class
}

// Spellings are all words with their classes, the class's own name first.
func (t *ClassTable) Spellings() []Spelling {
	var all []Spelling
	for _, c := range t.classes {
		for _, w := range c.spellings() {
			all = append(all, Spelling{Word: w, Own: slices.Contains(t.own, w) || c.Own && w == c.Name, Class: c})
		}
	}
	return all
}

func (c *Class) spellings() []string { return append([]string{c.Name}, c.Words...) }

// Lookup is the class of a word that [NormalWord] has made, nil of one that is not known.
// The result must not be changed. It does not allocate.
func (t *ClassTable) Lookup(word []byte) []byte { return t.words[string(word)] }

// NormalWord brings a status or class into one spelling: lower case, with a hyphen for
// each stretch of blanks, underscores and hyphens.
func NormalWord(word string) string { return string(AppendNormalWord(nil, []byte(word))) }

// AppendNormalWord appends [NormalWord] of v to dst.
func AppendNormalWord(dst, v []byte) []byte {
	at := len(dst)
	for _, c := range v {
		switch {
		case c == ' ' || c == '_' || c == '-' || c == '\t':
			if len(dst) > at && dst[len(dst)-1] != '-' {
				dst = append(dst, '-')
			}
		case c >= 'A' && c <= 'Z':
			dst = append(dst, c+'a'-'A')
		default:
			dst = append(dst, c)
		}
	}
	if end := len(dst); end > at && dst[end-1] == '-' {
		dst = dst[:end-1]
	}
	return dst
}
