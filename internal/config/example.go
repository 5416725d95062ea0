package config

import (
	"bytes"
	"fmt"
	"net/netip"
	"strings"
)

const exampleHead = `# Millrace: every key, at its default. An empty file means the same as this one.
#
# Check a file without starting anything: millrace check --config FILE
# An unknown key, a wrong type or an impossible value is an error that names
# file, line, column, key and what is allowed.
#
# Sizes: 65535, 64KiB, 4MiB. Times: 200ms, 30s, 48h, 400d. Texts that YAML would
# take for something else need quotes.
# SIGHUP reads the file again: the keys called reloadable take effect without a restart.
# A secret can come from the environment instead; the variable is named with it.
`

// Example renders the whole configuration at its defaults, every key with its
// documentation: deploy/config.example.yaml.
func Example() []byte {
	var b bytes.Buffer
	b.WriteString(exampleHead)
	writeSection(&b, Default().keys(), 0, true)
	return b.Bytes()
}

func writeSection(b *bytes.Buffer, keys []key, depth int, docs bool) {
	indent := strings.Repeat("  ", depth)
	for _, k := range keys {
		if depth == 0 {
			b.WriteByte('\n')
		}
		if docs {
			writeDoc(b, indent, k)
		}
		switch to := k.to.(type) {
		case section:
			fmt.Fprintf(b, "%s%s:\n", indent, k.name)
			writeSection(b, to.keys(), depth+1, docs)
		case list:
			writeList(b, indent, k, to, depth)
		default:
			fmt.Fprintf(b, "%s%s: %s\n", indent, k.name, render(k))
		}
	}
}

func writeList(b *bytes.Buffer, indent string, k key, l list, depth int) {
	empty, docs := true, true
	l.each(func(s section) {
		if empty {
			fmt.Fprintf(b, "%s%s:\n", indent, k.name)
		}
		empty = false
		var item bytes.Buffer
		writeSection(&item, s.keys(), depth+2, docs)
		docs = false // the second element looks like the first
		lead := strings.Repeat("  ", depth+1)
		if item.Bytes()[2*(depth+2)] == '#' {
			fmt.Fprintf(b, "%s-\n%s", lead, item.Bytes())
			return
		}
		fmt.Fprintf(b, "%s- %s", lead, item.Bytes()[2*(depth+2):])
	})
	if !empty {
		return
	}
	fmt.Fprintf(b, "%s%s: []\n", indent, k.name)
	// An element to copy, since there is none to look at.
	var item bytes.Buffer
	writeSection(&item, l.blank().keys(), depth+1, true)
	fmt.Fprintf(b, "%s#  -\n", indent)
	for line := range strings.Lines(item.String()) {
		fmt.Fprintf(b, "%s#  %s", indent, line)
	}
}

func writeDoc(b *bytes.Buffer, indent string, k key) {
	doc := k.doc
	if k.env != "" {
		doc += " Environment: " + k.env + "."
	}
	if k.live {
		doc += " Reloadable."
	}
	wrap(b, indent+"# ", doc)
	switch k.allowed {
	case "", "text", "true, false", "a list of listeners", "a list of formats", "a list of classes", "a list of rules", "a list of effects", headerSources:
		return // the value itself shows it
	}
	allowed := k.allowed
	for _, known := range []string{sizeUnit, timeUnit, "a whole number, "} {
		allowed = strings.TrimPrefix(allowed, known) // the head of the file says it
	}
	wrap(b, indent+"# ", "Allowed: "+allowed)
}

func wrap(b *bytes.Buffer, indent, text string) {
	const width = 100
	line := indent
	for _, word := range strings.Fields(text) {
		if len(line)+len(word) > width && line != indent {
			b.WriteString(strings.TrimRight(line, " ") + "\n")
			line = indent
		}
		line += word + " "
	}
	b.WriteString(strings.TrimRight(line, " ") + "\n")
}

func renderPrefixes(list []netip.Prefix) string {
	all := make([]string, len(list))
	for i, p := range list {
		all[i] = `"` + p.String() + `"`
	}
	return "[" + strings.Join(all, ", ") + "]"
}

// render is the setting as YAML.
func render(k key) string {
	switch to := k.to.(type) {
	case *[]string:
		all := make([]string, len(*to))
		for i, s := range *to {
			all[i] = `"` + s + `"`
			if strings.ContainsAny(s, `\"`) {
				all[i] = quote(s)
			}
		}
		return "[" + strings.Join(all, ", ") + "]"
	case *Allow:
		if to.Any {
			return "any"
		}
		return renderPrefixes(to.Prefixes)
	case *[]netip.Prefix:
		return renderPrefixes(*to)
	case boolValue, intValue, durationValue, *Size, levelValue, percentValue:
		return to.(value).String()
	case textValue:
		if k.allowed != "text" && k.name != "template" && *to.s != "" && !strings.ContainsAny(*to.s, ":#'\"%") {
			return *to.s // a word of a list needs no quotes
		}
		return `"` + *to.s + `"`
	case *Secret:
		return `""`
	case value:
		return `"` + to.String() + `"`
	}
	return ""
}
