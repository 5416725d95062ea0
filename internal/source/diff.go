package source

import (
	"fmt"
	"strings"
)

// Difference is one field in which the API and the configuration disagree.
type Difference struct {
	Field string
	Want  string // configured
	Have  string // at the API; "" also when it did not say
	Note  string // what the difference means, or where it begins
}

func (d Difference) String() string {
	if d.Want == "" && d.Have == "" {
		return d.Field + ": " + d.Note
	}
	s := fmt.Sprintf("%s: configured %q, the API has %q", d.Field, clip(d.Want), clip(d.Have))
	if d.Note != "" {
		s += " (" + d.Note + ")"
	}
	return s
}

// Diff compares field by field what was wanted with what the API says.
// Spellings that mean the same ("1", "user"; "SOCK_STREAM", "tcp"; "10",
// "DEBUG") are no difference. A field that want leaves to the API ("" or port
// 0) is not compared. A template that was set to "default" reads back as a
// text that only the vendor knows, so any text is taken for it.
func Diff(want Settings, have Reading) []Difference {
	var out []Difference
	for _, f := range Fields() {
		w := want.Value(f)
		if w == "" {
			continue
		}
		if !have.Has(f) {
			out = append(out, Difference{f, w, "", "the API does not show this field"})
			continue
		}
		h := have.Value(f)
		if canonical(f, w) == canonical(f, h) {
			continue
		}
		d := Difference{Field: f, Want: w, Have: h}
		if f == FieldMessageTemplate || f == FieldStatusTemplate {
			if w == DefaultTemplate && h != "" {
				continue
			}
			d.Note = templateDifference(w, h)
		}
		out = append(out, d)
	}
	return out
}

// templateDifference says in which variable two templates part, because two
// texts of six hundred characters side by side say nothing.
func templateDifference(want, have string) string {
	switch {
	case have == "":
		return "the API has no template"
	case have == DefaultTemplate:
		return "the API uses its own template, whose text it does not show"
	}
	w, h := variables(want), variables(have)
	for i := range min(len(w), len(h)) {
		if w[i] != h[i] {
			return fmt.Sprintf("variable %d: configured %%(%s), the API has %%(%s)", i+1, w[i], h[i])
		}
	}
	if len(w) != len(h) {
		return fmt.Sprintf("configured %d variables, the API has %d", len(w), len(h))
	}
	i := 0
	for i < len(want) && i < len(have) && want[i] == have[i] {
		i++
	}
	return fmt.Sprintf("same variables, other text from byte %d: configured %q, the API has %q", i, around(want, i), around(have, i))
}

func around(s string, i int) string {
	return strings.ToValidUTF8(s[min(i, len(s)):min(i+20, len(s))], "")
}

// variables returns the names of a template's variables in order.
func variables(template string) []string {
	var out []string
	for i := 0; i+1 < len(template); i++ {
		if template[i] != '%' {
			continue
		}
		if template[i+1] == '%' {
			i++
			continue
		}
		if template[i+1] != '(' {
			continue
		}
		end := strings.IndexByte(template[i:], ')')
		if end < 0 {
			break
		}
		out = append(out, template[i+2:i+end])
		i += end
	}
	return out
}
