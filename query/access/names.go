package access

import (
	"fmt"
	"strings"

	"golang.org/x/net/idna"
)

// Domain is a domain in the form that domains are stored and compared in: lower case, A-labels.
func Domain(s string) (string, error) {
	s = strings.TrimSuffix(strings.TrimSpace(s), ".")
	a, err := idna.Lookup.ToASCII(s)
	if err != nil {
		// A name that is no host's, such as _spf.example.com, is a domain all the same.
		if strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r > '~' || r == '@' || r == '*' }) {
			return "", fmt.Errorf("cannot use domain %q: %w", s, err)
		}
		a = strings.ToLower(s)
	}
	if a == "" || len(a) > 253 {
		return "", fmt.Errorf("cannot use domain %q: want 1 to 253 characters", s)
	}
	return a, nil
}

// Address is a mail address in the form that addresses are compared in: lower case, its
// domain as [Domain] gives it.
func Address(s string) (string, error) {
	s = strings.Trim(strings.TrimSpace(s), "<>")
	i := strings.LastIndexByte(s, '@')
	if i < 0 {
		return "", fmt.Errorf("cannot use address %q: it has no @", s)
	}
	d, err := Domain(s[i+1:])
	if err != nil {
		return "", fmt.Errorf("cannot use address %q: %w", s, err)
	}
	return strings.ToLower(s[:i]) + "@" + d, nil
}

// Forms are the spellings under which a domain may stand in a log: its A-labels and its
// U-labels, lower case. What is no domain has its lower case alone.
func Forms(domain string) []string {
	a, err := Domain(domain)
	if err != nil {
		return []string{strings.ToLower(domain)}
	}
	if u, err := idna.ToUnicode(a); err == nil && u != a {
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
