package query

import (
	"fmt"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"millrace/schema"
)

var (
	reportName = regexp.MustCompile(`^[a-z][a-z0-9_]{0,62}$`)
	headerLine = regexp.MustCompile(`^--\s*([a-z_]+):\s*(.*?)\s*$`)
	paramLine  = regexp.MustCompile(`^(\w+) ([\w(), ']+?) =\s*(.*?)\s*(?:\|\s*(.*))?$`)
	choiceLine = regexp.MustCompile(`^(\w+) = (\w+(?:\s*,\s*\w+)*)(?: \| (.*))?$`)
	needLine   = regexp.MustCompile(`^column (\w+) of kind (\w+)(?: when (\w+) = (\w+))? \| (.+)$`)
	paramUse   = regexp.MustCompile(`\{(\w+):([^{}]+)\}`)
)

// parseReport reads a report's file. It begins with comment lines:
//
//	-- title: Top senders
//	-- description: Who sends most, and how much of it. More such lines go on.
//	-- param: since DateTime('UTC') = -24h | messages of this time and later
//	-- choice: group_by = identity, sender | what a row is; the first is the default
//	-- needs: column identity of kind message when group_by = identity | template variable %(identity)s
//
// then comes one SELECT with ClickHouse's own {name:Type} parameters. The default of a time
// may be now, or so long ago as in -24h; that of what an invalid sender is may be
// reports.invalid_sender. The type of a choice is String. What [Report.text] and
// [Report.expand] describe may stand in the SELECT.
func parseReport(file, text string) (Report, error) {
	r := Report{Name: strings.TrimSuffix(filepath.Base(file), ".sql")}
	line := 0
	fail := func(format string, args ...any) (Report, error) {
		return r, fmt.Errorf("cannot read report %s, line %d: %s", file, line, fmt.Sprintf(format, args...))
	}
	if !reportName.MatchString(r.Name) {
		return r, fmt.Errorf("cannot read report %s: its name %q is none: want small letters, digits and _, a letter first", file, r.Name)
	}
	var needLines []int
	rest := text
	for {
		first, after, _ := strings.Cut(rest, "\n")
		first = strings.TrimSpace(first)
		if !strings.HasPrefix(first, "--") && (first != "" || after == "") {
			break
		}
		rest = after
		line++
		m := headerLine.FindStringSubmatch(first)
		if m == nil {
			continue // a comment
		}
		key, value := m[1], m[2]
		switch key {
		case "title":
			r.Title = value
		case "description":
			r.Description = strings.TrimSpace(r.Description + " " + value)
		case "param":
			m := paramLine.FindStringSubmatch(value)
			if m == nil {
				return fail("%q: want -- param: NAME TYPE = DEFAULT | DOC", first)
			}
			r.Parameters = append(r.Parameters, Parameter{Name: m[1], Type: m[2], Default: m[3], Doc: m[4]})
		case "choice":
			m := choiceLine.FindStringSubmatch(value)
			if m == nil {
				return fail("%q: want -- choice: NAME = WORD, WORD | DOC", first)
			}
			words := choiceWords(m[2])
			r.Parameters = append(r.Parameters, Parameter{Name: m[1], Type: "String", Default: words[0], Doc: m[3], Choices: words})
		case "needs":
			m := needLine.FindStringSubmatch(value)
			if m == nil {
				return fail("%q: want -- needs: column NAME of kind KIND | HINT, or ... KIND when PARAM = VALUE | HINT", first)
			}
			r.Needs = append(r.Needs, Need{Column: m[1], Kind: m[2], Param: m[3], Value: m[4], Hint: m[5]})
			needLines = append(needLines, line)
		default:
			return fail("%q: want title, description, param, choice or needs", key)
		}
		if n := len(r.Parameters); n > 1 && slices.ContainsFunc(r.Parameters[:n-1], func(p Parameter) bool { return p.Name == r.Parameters[n-1].Name }) && (key == "param" || key == "choice") {
			return fail("parameter %q is there twice", r.Parameters[n-1].Name)
		}
	}
	begins := line + 1
	r.SQL = strings.TrimRight(strings.TrimSpace(rest), "; \t\r\n")
	if line = 1; r.Title == "" {
		return fail("it has no -- title:")
	}
	if line = begins; r.SQL == "" {
		return fail("it has no SELECT")
	}
	for _, at := range paramUse.FindAllStringSubmatchIndex(rest, -1) {
		line = begins + strings.Count(rest[:at[0]], "\n")
		name, typ := rest[at[2]:at[3]], rest[at[4]:at[5]]
		p, ok := r.Parameter(name)
		if !ok {
			return fail("parameter %q has no -- param: or -- choice: line", name)
		}
		if p.Type != typ {
			return fail("parameter %q is %s here and %s in the header", name, typ, p.Type)
		}
	}
	r.targets = targetsLine.MatchString(r.SQL)
	if _, at, err := r.text(nil); err != nil {
		line = begins + strings.Count(rest[:strings.Index(rest, r.SQL)], "\n") + at
		return fail("%v", err)
	}
	for i, n := range r.Needs {
		line = needLines[i]
		if err := n.check(r); err != nil {
			return fail("%v", err)
		}
	}
	return r, nil
}

// ConfiguredInvalidSender is the default of a parameter that stands for the configuration's
// key of that name. Ask, which knows no configuration, takes that key's own default for it:
// who has one gives [InvalidWords] of it.
const ConfiguredInvalidSender = "reports.invalid_sender"

// InvalidWords is the value of a parameter invalid_sender: STATUS/CLASS/SUB_CLASS, with
// commas; empty: nothing is.
func InvalidWords(list []schema.Invalid) string {
	var all []string
	for _, i := range list {
		all = append(all, strings.Join([]string{schema.NormalWord(i.Status), schema.NormalWord(i.Class), schema.NormalWord(i.SubClass)}, "/"))
	}
	return strings.Join(all, ",")
}

// check finds what the need names.
func (n Need) check(r Report) error {
	kinds := schema.Kinds()
	at := slices.IndexFunc(kinds, func(k *schema.Kind) bool { return k.Name == n.Kind })
	if at < 0 {
		return fmt.Errorf("there is no kind %q", n.Kind)
	}
	if !slices.ContainsFunc(kinds[at].Fields, func(f schema.Field) bool { return f.Name == n.Column }) {
		return fmt.Errorf("kind %s has no column %q", n.Kind, n.Column)
	}
	if n.Param == "" {
		return nil
	}
	p, ok := r.Parameter(n.Param)
	if !ok || len(p.Choices) > 0 && !slices.Contains(p.Choices, n.Value) {
		return fmt.Errorf("there is no choice %s = %s", n.Param, n.Value)
	}
	return nil
}
