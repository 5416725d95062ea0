package schema

import (
	"fmt"
	"slices"
	"strings"
)

// quoteText quotes a text for SQL.
func quoteText(text string) string {
	return "'" + strings.NewReplacer(`\`, `\\`, `'`, `\'`).Replace(text) + "'"
}

func quoteTexts(texts []string) string {
	quoted := make([]string, len(texts))
	for i, t := range texts {
		quoted[i] = quoteText(t)
	}
	return strings.Join(quoted, ", ")
}

// rows are the table's rows as tuples.
func (t *ClassTable) rows() string {
	var all []string
	for _, s := range t.Spellings() {
		own := 0
		if s.Own {
			own = 1
		}
		all = append(all, fmt.Sprintf("(%s, toUInt8(%d))", quoteTexts([]string{s.Word, s.Name, s.Group, s.Meaning, s.Advice}), own))
	}
	return "\n        " + strings.Join(all, ",\n        ")
}

// className is SQL for the class of a column that holds classes. Rows of before the
// configuration knew a word hold the word.
func (t *ClassTable) className(column string) string {
	var from, to []string
	for _, w := range t.own {
		if name := string(t.words[w]); name != w {
			from, to = append(from, w), append(to, name)
		}
	}
	if len(from) == 0 {
		return "toString(" + column + ")"
	}
	return fmt.Sprintf("transform(toString(%s), [%s], [%s])", column, quoteTexts(from), quoteTexts(to))
}

// Statuses that say what has become of a message whatever its class is. What a filter
// keeps in its quarantine it may have taken or refused; that it was kept stays true when
// it is removed from there. A message that was released has its class still: what it was
// held for, not that it was let go.
var groupOfStatus = map[string]string{
	"quarantined": Quarantined, "quarantine-expired": Quarantined, "quarantine-removed": Quarantined,
	"rejected": Rejected, "not-accepted": Rejected, "temporarily-rejected": TemporarilyRejected,
}

// groupOf is SQL for the group of a message: that of its latest status where this decides,
// else that of its class; where neither says so, a message with a known status was accepted.
func (t *ClassTable) groupOf(class, status string) string {
	byGroup := map[string][]string{}
	var other []string
	for _, s := range Statuses {
		if g := groupOfStatus[s.Word]; g != "" {
			byGroup[g] = append(byGroup[g], s.Word)
		} else {
			other = append(other, s.Word)
		}
	}
	var b strings.Builder
	b.WriteString("multiIf(")
	for _, g := range ClassGroups {
		if len(byGroup[g]) > 0 {
			fmt.Fprintf(&b, "%s IN (%s), %s, ", status, quoteTexts(byGroup[g]), quoteText(g))
		}
	}
	for _, g := range ClassGroups {
		var names []string
		for _, c := range t.classes {
			if c.Group == g {
				names = append(names, c.Name)
			}
		}
		if slices.Sort(names); len(names) > 0 {
			fmt.Fprintf(&b, "%s IN (%s), %s, ", class, quoteTexts(names), quoteText(g))
		}
	}
	fmt.Fprintf(&b, "%s IN (%s), %s, '')", status, quoteTexts(other), quoteText(Accepted))
	return b.String()
}
