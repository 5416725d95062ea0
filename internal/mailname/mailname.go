package mailname

import (
	"errors"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/net/idna"
)

// labels maps as browsers do, and lets underscores pass: real domains have them.
var labels = idna.New(idna.MapForLookup(), idna.BidiRule(), idna.StrictDomainName(false), idna.VerifyDNSLength(true))

// Domain is the form of a domain. A dot at the end is none of it.
func Domain(s string) (string, error) {
	text := strings.TrimSuffix(strings.TrimSpace(s), ".")
	if text == "" {
		return "", errors.New("cannot use a domain: it is empty")
	}
	if strings.ContainsFunc(text, func(r rune) bool {
		return r <= ' ' || r == 0x7f || r < utf8.RuneSelf && strings.ContainsRune(`/\@,;:"'<>()[]{}*?!#$%&=+|^~`+"`", r)
	}) {
		return "", fmt.Errorf("cannot use domain %q: it has a character that no domain has", s)
	}
	d, err := labels.ToASCII(text)
	if err != nil {
		return "", fmt.Errorf("cannot use domain %q: %w", s, err)
	}
	return strings.ToLower(d), nil
}

// Address is the form of an address, whose local part is in lower case too.
func Address(s string) (string, error) {
	text := strings.TrimSpace(s)
	if strings.HasPrefix(text, "<") && strings.HasSuffix(text, ">") {
		text = text[1 : len(text)-1]
	}
	i := strings.LastIndexByte(text, '@')
	if i <= 0 {
		return "", fmt.Errorf("cannot use address %q: want NAME@DOMAIN", s)
	}
	local := text[:i]
	if !utf8.ValidString(local) || strings.ContainsFunc(local, func(r rune) bool { return unicode.IsSpace(r) || unicode.IsControl(r) }) {
		return "", fmt.Errorf("cannot use address %q: it has a space or a control character", s)
	}
	d, err := Domain(text[i+1:])
	if err != nil {
		return "", fmt.Errorf("cannot use address %q: %w", s, err)
	}
	return strings.ToLower(local) + "@" + d, nil
}

// Identity is the form of what may be an address, and is any text else: an identity, or a
// user's name.
func Identity(s string) string {
	text := strings.TrimSpace(s)
	if a, err := Address(text); err == nil {
		return a
	}
	return text
}

// Forms are the spellings under which a domain may stand in a log: its A-labels and its
// U-labels, lower case. What is no domain has its lower case alone.
func Forms(domain string) []string {
	a, err := Domain(domain)
	if err != nil {
		return []string{strings.ToLower(domain)}
	}
	if u, err := labels.ToUnicode(a); err == nil && u != a {
		return []string{a, strings.ToLower(u)}
	}
	return []string{a}
}

// AddressForms are the spellings under which an address may stand in a log.
func AddressForms(address string) []string {
	address = strings.Trim(strings.TrimSpace(address), "<>")
	i := strings.LastIndexByte(address, '@')
	if i < 0 {
		return []string{strings.ToLower(address)}
	}
	var all []string
	for _, d := range Forms(address[i+1:]) {
		all = append(all, strings.ToLower(address[:i])+"@"+d)
	}
	return all
}
