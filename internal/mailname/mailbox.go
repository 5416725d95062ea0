package mailname

import (
	"fmt"
	"strings"
)

// atom are the characters of a local part that needs no quotes (RFC 5322), and the dot.
const atom = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789!#$%&'*+-/=?^_`{|}~."

// Mailbox is the form of an address that mail is sent to: the local part as it is, since the
// other side may tell cases apart, and the domain as A-labels. A local part beyond ASCII, or
// in quotes, is refused: not every server takes it.
func Mailbox(s string) (string, error) {
	text := strings.TrimSpace(s)
	i := strings.LastIndexByte(text, '@')
	if i <= 0 || i > 64 {
		return "", fmt.Errorf("cannot send to %q: want NAME@DOMAIN", s)
	}
	local := text[:i]
	if at := strings.IndexFunc(local, func(r rune) bool { return !strings.ContainsRune(atom, r) }); at >= 0 {
		return "", fmt.Errorf("cannot send to %q: %q cannot stand before the @", s, []rune(local[at:])[0])
	}
	if strings.HasPrefix(local, ".") || strings.HasSuffix(local, ".") || strings.Contains(local, "..") {
		return "", fmt.Errorf("cannot send to %q: a dot stands at the end of its name, or beside another", s)
	}
	d, err := Domain(text[i+1:])
	if err != nil {
		return "", fmt.Errorf("cannot send to %q: %w", s, err)
	}
	return local + "@" + d, nil
}
