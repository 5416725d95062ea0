package schema

import (
	"fmt"
	"strings"
)

// Proto is docs/events.proto: the records for readers in any language.
func Proto() string {
	var b strings.Builder
	b.WriteString("// Rendered from the package schema by `make generate`; do not edit.\n")
	b.WriteString("// A record's value in topic PREFIX+message is a Message, and so on.\n")
	b.WriteString("syntax = \"proto3\";\n\npackage millrace;\n")
	for _, k := range Kinds() {
		fmt.Fprintf(&b, "\n// %s\nmessage %s {\n", k.Doc, strings.ToUpper(k.Name[:1])+k.Name[1:])
		for _, f := range k.Fields {
			if f.Number == 0 {
				continue
			}
			packing := ""
			if f.Type == Codes {
				packing = " [packed = false]"
			}
			fmt.Fprintf(&b, "  // %s%s\n  %s %s = %d%s;\n", f.Doc, unit(f.Type), f.Type.Proto(), f.Name, f.Number, packing)
		}
		b.WriteString("}\n")
	}
	return b.String()
}

func unit(t Type) string {
	switch t {
	case Millis:
		return " (milliseconds since 1970 UTC)"
	case Seconds:
		return " (seconds since 1970 UTC)"
	case IP:
		return " (4 or 16 bytes)"
	case IPs:
		return " (each of 0, 4 or 16 bytes)"
	default:
		return ""
	}
}

// Markdown is docs/schema.md.
func Markdown() string {
	var b strings.Builder
	b.WriteString("# Tables and records\n\n")
	b.WriteString("Rendered from the package `schema` by `make generate`; do not edit. The records in Kafka are described for other\n")
	b.WriteString("programs by [events.proto](events.proto); `No.` is the protobuf field number, and `-` means that the transformer\n")
	b.WriteString("fills the column in. Nothing is Nullable: an absent value is its type's default, and `flags` and `bad_fields` say why.\n")
	for _, k := range Kinds() {
		fmt.Fprintf(&b, "\n## %s\n\n%s\nTopic `PREFIX%s`, key `(%s)`, one partition a week by `received_at`.\n\n", k.Table, k.Doc, k.Topic, k.OrderBy)
		b.WriteString("| Column | Type | No. | Meaning |\n|---|---|---|---|\n")
		for _, f := range k.Fields {
			number := "-"
			if f.Number != 0 {
				number = fmt.Sprint(f.Number)
			}
			fmt.Fprintf(&b, "| `%s` | `%s` | %s | %s |\n", f.Name, f.Type.ClickHouse(), number, f.Doc)
		}
	}
	for _, v := range Views() {
		fmt.Fprintf(&b, "\n## %s\n\nA view. %s\n\n| Column | Type | Meaning |\n|---|---|---|\n", v.Name, v.Doc)
		for _, f := range v.Columns {
			fmt.Fprintf(&b, "| `%s` | `%s` | %s |\n", f.Name, f.ClickHouse(), f.Doc)
		}
	}
	b.WriteString(ownersMarkdown())
	b.WriteString("\n## Words in `flags`\n\n| Word | Meaning |\n|---|---|\n")
	for i, w := range flagWords {
		fmt.Fprintf(&b, "| `%s` | %s |\n", w, flagDocs[i])
	}
	return b.String()
}

// ErrorsMarkdown is docs/errors.md.
func ErrorsMarkdown() string {
	var b strings.Builder
	b.WriteString("# Rejects and drops\n\n")
	b.WriteString("Rendered from the package `schema` by `make generate`; do not edit. Every frame that a listener receives becomes an\n")
	b.WriteString("event, a reject or a counted drop: received = published + joined + rejected + dropped + in flight, by listener.\n")
	b.WriteString("\n## Rejected: kept in the table `rejects`\n\n`millrace_frames_rejected_total{listener, reason}`\n\n")
	reasonTable(&b, RejectReasons())
	b.WriteString("\n## Dropped: counted, and nothing of it is kept\n\n`millrace_frames_dropped_total{listener, reason}`\n\n")
	reasonTable(&b, DropReasons())
	return b.String()
}

func reasonTable(b *strings.Builder, rows []ReasonDoc) {
	b.WriteString("| Reason | What it means | What to do |\n|---|---|---|\n")
	for _, r := range rows {
		fmt.Fprintf(b, "| `%s` | %s | %s |\n", r.Reason, r.Meaning, strings.ReplaceAll(r.Mend, "|", "\\|"))
	}
}
