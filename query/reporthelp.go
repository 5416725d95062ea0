package query

import (
	"fmt"
	"io"
	"strings"
)

// WriteReports lists reports with their titles.
func WriteReports(w io.Writer, list []Report) error {
	width := 0
	for _, r := range list {
		width = max(width, len(r.Name))
	}
	var b strings.Builder
	for _, r := range list {
		fmt.Fprintf(&b, "%-*s  %s", width, r.Name, visible(r.Title))
		if r.File != "" {
			fmt.Fprintf(&b, " (%s)", visible(r.File))
		}
		b.WriteByte('\n')
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// WriteHelp says what the report answers and what its parameters are.
func (r Report) WriteHelp(w io.Writer) error {
	var b strings.Builder
	fmt.Fprintf(&b, "%s: %s\n", r.Name, r.Title)
	if r.Description != "" {
		fmt.Fprintf(&b, "%s\n", r.Description)
	}
	b.WriteByte('\n')
	width := 0
	for _, p := range r.Parameters {
		width = max(width, len(p.Name)+len(p.Default)+1)
	}
	for _, p := range r.Parameters {
		fmt.Fprintf(&b, "  %-*s  %s", width, p.Name+"="+p.Default, p.Doc)
		if len(p.Choices) > 0 {
			fmt.Fprintf(&b, ": %s", strings.Join(p.Choices, ", "))
		}
		b.WriteByte('\n')
	}
	for _, n := range r.Needs {
		when := ""
		if n.Param != "" {
			when = fmt.Sprintf(" with %s=%s", n.Param, n.Value)
		}
		fmt.Fprintf(&b, "  needs %s of kind %s%s: %s\n", n.Column, n.Kind, when, n.Hint)
	}
	_, err := io.WriteString(w, visibleLines(b.String()))
	return err
}

// visibleLines is visible for a text of several lines.
func visibleLines(text string) string {
	lines := strings.Split(text, "\n")
	for i := range lines {
		lines[i] = visible(lines[i])
	}
	return strings.Join(lines, "\n")
}
