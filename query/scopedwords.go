package query

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// plainName are the quoted names that are allowed: none that could be taken for a part of
// the syntax tree's text.
var plainName = regexp.MustCompile(`^[A-Za-z0-9_ .@%-]+$`)

// word is a token of a statement: a word or a name in quotes, a text in quotes (then only a
// quote), or one other character.
type word struct {
	text   string
	quoted bool
}

// checkWords refuses in the statement's text what its syntax tree does not show: the names
// that WITH gives, and parameters that are names. What could be read in two ways is refused
// too, so that it does not matter which of them is the server's.
func checkWords(sql string, allowed []string) error {
	words, err := split(sql)
	if err != nil {
		return err
	}
	if len(words) == 0 || !strings.EqualFold(words[0].text, "SELECT") && !strings.EqualFold(words[0].text, "WITH") {
		return fmt.Errorf("it is no SELECT")
	}
	is := func(i int, text string) bool {
		return i < len(words) && !words[i].quoted && strings.EqualFold(words[i].text, text)
	}
	for i, w := range words {
		switch {
		case w.text == ";" && !w.quoted:
			return fmt.Errorf("it is more than one statement")
		case is(i, "Identifier"):
			return fmt.Errorf("it has a parameter that is a name (Identifier)")
		case slices.Contains(allowed, w.text) && (is(i+1, "(") || is(i+1, "AS") && (is(i+2, "(") || is(i+2, "MATERIALIZED"))):
			return fmt.Errorf("it gives %q another meaning", w.text)
		}
	}
	return nil
}

// split cuts a statement into its words, without comments.
func split(sql string) (words []word, err error) {
	for i := 0; i < len(sql); {
		c := sql[i]
		switch {
		case c == ' ' || c == '\t' || c == '\n' || c == '\r':
			i++
		case c == '\'':
			end, err := closing(sql, i)
			if err != nil {
				return nil, err
			}
			words = append(words, word{"'", true})
			i = end
		case c == '`' || c == '"':
			end, err := closing(sql, i)
			if err != nil {
				return nil, err
			}
			name := sql[i+1 : end-1]
			if !plainName.MatchString(name) {
				return nil, fmt.Errorf("the name %s has characters that are not allowed in names", visible(sql[i:end]))
			}
			words = append(words, word{name, true})
			i = end
		case strings.HasPrefix(sql[i:], "--"):
			end := strings.IndexByte(sql[i:], '\n')
			if end < 0 {
				return words, nil
			}
			i += end + 1
		case strings.HasPrefix(sql[i:], "/*"):
			end := strings.Index(sql[i+2:], "*/")
			if end < 0 || strings.Contains(sql[i+2:i+2+end], "/*") {
				return nil, fmt.Errorf("a comment does not end, or has another in it")
			}
			i += 2 + end + 2
		case isWord(c):
			end := i
			for end < len(sql) && isWord(sql[end]) {
				end++
			}
			words = append(words, word{sql[i:end], false})
			i = end
		case c < ' ' || c >= 0x7f || c == '$' || c == '#' || c == '\\':
			return nil, fmt.Errorf("it has %q outside of quotes", c)
		default:
			words = append(words, word{string(c), false})
			i++
		}
	}
	return words, nil
}

// closing is the place behind the quote that ends what begins at open.
func closing(sql string, open int) (int, error) {
	quote := sql[open]
	for i := open + 1; i < len(sql); i++ {
		switch sql[i] {
		case '\\':
			i++
		case quote:
			if i+1 < len(sql) && sql[i+1] == quote {
				i++
				continue
			}
			return i + 1, nil
		}
	}
	return 0, fmt.Errorf("a quote %c does not end", quote)
}

func isWord(c byte) bool {
	return c == '_' || c >= '0' && c <= '9' || c >= 'A' && c <= 'Z' || c >= 'a' && c <= 'z'
}
