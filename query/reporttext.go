package query

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// A line of a report's SELECT that begins or ends a part of some choices alone:
//
//	-- when group_by = sender, identity
//	-- otherwise
//	-- end
//
// The server is asked no question whose answer the choice throws away: planning one that a
// condition makes empty takes as long as planning the other.
var directive = regexp.MustCompile(`^\s*--\s*(?:when\s+(\w+)\s*=\s*(.*?)|(otherwise|end))\s*$`)

var wordList = regexp.MustCompile(`^\w+(\s*,\s*\w+)*$`)

// text is the report's SELECT with the values, in which every choice has one: the parts that
// are not of them are left out, and what [Report.expand] knows is written out. An error is of
// that line of the SELECT, from 0.
func (r Report) text(values map[string]string) (sql string, line int, err error) {
	var b strings.Builder
	inside, taken, other := false, true, false
	lines := strings.SplitAfter(r.SQL, "\n")
	for i, text := range lines {
		m := directive.FindStringSubmatch(strings.TrimRight(text, "\r\n"))
		if m == nil {
			expanded, err := r.expand(text, values)
			if err != nil {
				return "", i, err
			}
			if taken {
				b.WriteString(expanded)
			}
			continue
		}
		choice, list, word := m[1], m[2], m[3]
		switch {
		case choice != "" && !inside:
			p, _ := r.Parameter(choice)
			if len(p.Choices) == 0 || !wordList.MatchString(list) {
				return "", i, fmt.Errorf("%q: want -- when CHOICE = WORD, WORD", strings.TrimSpace(text))
			}
			words := choiceWords(list)
			for _, w := range words {
				if !slices.Contains(p.Choices, w) {
					return "", i, fmt.Errorf("there is no choice %s = %s", choice, w)
				}
			}
			inside, taken = true, slices.Contains(words, values[choice])
		case word == "otherwise" && inside && !other:
			taken, other = !taken, true
		case word == "end" && inside:
			inside, taken, other = false, true, false
		default:
			return "", i, fmt.Errorf("%q: want -- when CHOICE = WORD, then perhaps -- otherwise, then -- end", strings.TrimSpace(text))
		}
	}
	if inside {
		return "", len(lines) - 1, fmt.Errorf("a part that -- when begins has no -- end")
	}
	return b.String(), 0, nil
}

func choiceWords(list string) []string {
	return strings.FieldsFunc(list, func(c rune) bool { return c == ',' || c == ' ' || c == '\t' })
}
