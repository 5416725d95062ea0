package source

import (
	"fmt"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// Template is a format that somebody knows: a built-in one of the ingester, or
// one of the configuration.
type Template struct {
	Name string // "m3"
	Kind string // "message" or "status"
	Text string
}

// Kinds of the two templates of the API.
const (
	KindMessage = "message"
	KindStatus  = "status"
)

// Resolve turns what a user gives as a template into the text to send: the
// word "default" as it is, the name of a known template of that kind, or a
// text with variables.
func Resolve(kind, given string, known []Template) (string, error) {
	if given == "" || given == DefaultTemplate || strings.Contains(given, "%(") {
		return given, nil
	}
	var names []string
	for _, t := range known {
		if t.Kind != kind {
			continue
		}
		if strings.EqualFold(t.Name, given) {
			return t.Text, nil
		}
		names = append(names, t.Name)
	}
	return "", fmt.Errorf("cannot find the %s template %q: want %q, a text with %%(name)s variables, or one of %s",
		kind, clip(given), DefaultTemplate, strings.Join(names, ", "))
}

// Format is an entry of the configuration's list of formats.
type Format struct {
	Name     string `yaml:"name"`
	Kind     string `yaml:"kind"`
	Template string `yaml:"template"`

	// Known: a template with this text exists under Name, nothing has to be
	// configured for it.
	Known bool `yaml:"-"`
}

// Formats turns the templates that the API has into formats. A template whose
// text is known keeps that name. "default" and "" have no text: they are left
// out and named in notes.
func Formats(s Settings, known []Template) (formats []Format, notes []string) {
	for _, t := range []struct{ kind, field, text string }{
		{KindMessage, FieldMessageTemplate, s.MessageTemplate},
		{KindStatus, FieldStatusTemplate, s.StatusTemplate},
	} {
		switch t.text {
		case "":
			notes = append(notes, fmt.Sprintf("the API has no %s: no %s events will come", t.field, t.kind))
			continue
		case DefaultTemplate:
			notes = append(notes, ownTemplate(t.field))
			continue
		}
		if i := slices.IndexFunc(known, func(k Template) bool { return k.Kind == t.kind && k.Text == t.text }); i >= 0 {
			formats = append(formats, Format{known[i].Name, t.kind, t.text, true})
			continue
		}
		name := "source-" + t.kind
		for n := 2; slices.ContainsFunc(known, func(k Template) bool { return k.Name == name }); n++ {
			name = fmt.Sprintf("source-%s-%d", t.kind, n)
		}
		formats = append(formats, Format{name, t.kind, t.text, false})
	}
	return formats, notes
}

// ownTemplate is the note about a template that the API chose.
func ownTemplate(field string) string {
	return fmt.Sprintf("the API uses its own %s and does not show its text: set one explicitly, so that it can be decoded", field)
}

// FormatsYAML renders formats as the `formats:` list of the configuration.
// Formats that are known already appear as a comment.
func FormatsYAML(formats []Format) ([]byte, error) {
	var b strings.Builder
	var list []*yaml.Node
	for _, f := range formats {
		if f.Known {
			fmt.Fprintf(&b, "# the %s template is %s, which is known already\n", f.Kind, f.Name)
			continue
		}
		n := &yaml.Node{}
		if err := n.Encode(f); err != nil {
			return nil, fmt.Errorf("cannot write format %q: %w", f.Name, err)
		}
		// Single quotes: templates are full of double ones.
		n.Content[5].Style = yaml.SingleQuotedStyle
		if strings.ContainsAny(f.Template, "\t\r\n") {
			n.Content[5].Style = yaml.DoubleQuotedStyle
		}
		list = append(list, n)
	}
	if len(list) == 0 {
		return []byte(b.String()), nil
	}
	out, err := yaml.Marshal(map[string]any{"formats": list})
	if err != nil {
		return nil, fmt.Errorf("cannot write the formats: %w", err)
	}
	return append([]byte(b.String()), out...), nil
}

// DiffFormats says which templates of the API no configured format decodes.
// have is what the API has, configured the formats of the listener it sends to.
// A template of the API's own that is wanted so is no difference: Warnings has
// said what it costs.
func DiffFormats(want, have Settings, configured []Template) []Difference {
	var out []Difference
	formats, notes := Formats(have, configured)
	notes = slices.DeleteFunc(notes, func(n string) bool {
		return want.MessageTemplate == DefaultTemplate && n == ownTemplate(FieldMessageTemplate) ||
			want.StatusTemplate == DefaultTemplate && n == ownTemplate(FieldStatusTemplate)
	})
	for _, n := range notes {
		out = append(out, Difference{Field: "formats", Note: n})
	}
	for _, f := range formats {
		if f.Known {
			continue
		}
		d := Difference{Field: f.Kind + "_template", Have: f.Template, Note: "no configured format has this template"}
		// The nearest is the one that shares the most leading variables.
		best := -1
		for _, k := range configured {
			if k.Kind != f.Kind {
				continue
			}
			w, h := variables(k.Text), variables(f.Template)
			n := 0
			for n < min(len(w), len(h)) && w[n] == h[n] {
				n++
			}
			if n > best {
				best = n
				d.Want = k.Text
				d.Note = fmt.Sprintf("no configured format has this template; nearest is %s, %s", k.Name, templateDifference(k.Text, f.Template))
			}
		}
		out = append(out, d)
	}
	return out
}
