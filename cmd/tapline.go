package cmd

import (
	"bytes"
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"
)

const (
	dim    = "\x1b[2m"
	bold   = "\x1b[1m"
	red    = "\x1b[31m"
	green  = "\x1b[32m"
	yellow = "\x1b[33m"
	plain  = "\x1b[0m"
)

// tapEvent is an event as /tap writes it: fields by their names in the schema.
type tapEvent struct {
	fields map[string]any
}

// get is a field as text that a terminal can be given.
func (e *tapEvent) get(name string) string {
	switch v := e.fields[name].(type) {
	case nil:
		return ""
	case string:
		return harmless(v)
	default:
		return fmt.Sprint(v)
	}
}

func (e *tapEvent) words(name string) string {
	list, _ := e.fields[name].([]any)
	words := make([]string, len(list))
	for i, w := range list {
		words[i] = fmt.Sprint(w)
	}
	return strings.Join(words, " ")
}

const tapIndent = "             " // as wide as the time and a space

// text is the event for a person: one or two lines, or of a reject up to three.
func (e *tapEvent) text(colour bool) string {
	paint := func(code, s string) string {
		if !colour || s == "" {
			return s
		}
		return code + s + plain
	}
	when := e.get("received_at")
	if _, clock, ok := strings.Cut(when, "T"); ok {
		when = strings.TrimSuffix(clock, "Z")
	}
	peer := e.get("peer_ip")
	if peer == "" {
		peer = "-"
	}
	parts := []string{paint(dim, when), paint(dim, e.get("listener")), paint(dim, peer)}
	var below string
	if e.fields["kind"] == "reject" {
		parts = append(parts, paint(red, "reject "+e.get("reason"))+":", e.get("detail"))
		below = e.quoted(paint)
	} else {
		parts = append(parts, e.get("kind"), paint(dim, e.get("format")), orDash(e.get("id")))
		if e.fields["kind"] == "message" {
			sender := e.get("sender")
			if sender == "" {
				sender = "<>"
			}
			parts = append(parts, sender, "->")
			below = e.get("subject_header")
		} else {
			below = e.delivery()
		}
		parts = append(parts, orDash(e.get("recipient")), paint(statusColour(e.get("status_norm")), e.outcome()))
		below = shorten(below, 160)
		if below != "" {
			below = tapIndent + paint(bold, below) + "\n"
		}
	}
	if flags := e.words("flags"); flags != "" {
		if bad := e.words("bad_fields"); bad != "" {
			flags += ": " + bad
		}
		parts = append(parts, paint(yellow, "["+flags+"]"))
	}
	if drop := e.get("dropped"); drop != "" {
		parts = append(parts, paint(red, "DROPPED "+drop))
	}
	return strings.Join(parts, " ") + "\n" + below
}

func orDash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

// outcome is status/class: delivered/not-spam.
func (e *tapEvent) outcome() string {
	class := e.get("main_class")
	if class == "" {
		class = e.get("classification_code")
	}
	if class == "" {
		class = e.get("classification")
	}
	if class == "" {
		return orDash(e.get("status"))
	}
	return orDash(e.get("status")) + "/" + class
}

// delivery is where a status event's message went, and the answer.
func (e *tapEvent) delivery() string {
	to := e.get("delivery_fqdn")
	if ip := e.get("delivery_ip"); ip != "" {
		if port := e.get("delivery_port"); port != "" {
			ip += " port " + port
		}
		to = strings.TrimSpace(to + " [" + ip + "]")
	}
	if reply := e.get("delivery_data"); reply != "" && to != "" {
		to += ": " + reply
	} else {
		to += reply
	}
	return to
}

func statusColour(norm string) string {
	switch norm {
	case "delivered", "released":
		return green
	case "queued":
		return yellow
	case "":
		return dim
	}
	return red
}

func shorten(s string, most int) string {
	if utf8.RuneCountInString(s) <= most {
		return s
	}
	return string([]rune(s)[:most-3]) + "..."
}

// quotedWidth is how much of a rejected frame is shown.
const quotedWidth = 110

// quoted is a rejected frame around the place that the reject's detail names, with a
// mark below it.
func (e *tapEvent) quoted(paint func(code, s string) string) string {
	frame := e.frame()
	from, to := blamed(e.text0("reason"), e.text0("detail"), frame)
	begin := 0
	if to > quotedWidth {
		begin = max(0, min(from, len(frame))-quotedWidth/2)
	}
	end := min(len(frame), begin+quotedWidth)
	before, after := "", ""
	if begin > 0 {
		before = "..."
	}
	if end < len(frame) || e.fields["frame_size"] != nil {
		after = "..."
	}
	escape := func(b []byte) string { return harmless(string(b)) }
	from, to = max(from, begin), min(to, end)
	if from < 0 || from > to || e.fields["frame_size"] != nil {
		return tapIndent + before + escape(frame[begin:end]) + after + "\n"
	}
	left, middle := before+escape(frame[begin:from]), escape(frame[from:to])
	mark := "^" + strings.Repeat("~", max(0, utf8.RuneCountInString(middle)-1))
	return tapIndent + left + middle + escape(frame[to:end]) + after + "\n" +
		tapIndent + strings.Repeat(" ", utf8.RuneCountInString(left)) + paint(red, mark) + "\n"
}

// harmless escapes what a terminal would obey or not show, and nothing else.
func harmless(s string) string {
	ok := func(r rune) bool { return strconv.IsPrint(r) }
	if utf8.ValidString(s) && !strings.ContainsFunc(s, func(r rune) bool { return !ok(r) }) {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); {
		r, n := utf8.DecodeRuneInString(s[i:])
		if ok(r) && (r != utf8.RuneError || n > 1) {
			b.WriteString(s[i : i+n])
		} else {
			q := strconv.QuoteToASCII(s[i : i+n])
			b.WriteString(q[1 : len(q)-1])
		}
		i += n
	}
	return b.String()
}

// text0 is a field as it is.
func (e *tapEvent) text0(name string) string {
	s, _ := e.fields[name].(string)
	return s
}

// blamed is the place in the frame that a reject's detail names: the longest text in
// quotes that stands in the frame, or the end of a frame that was cut. from is -1
// when it names none.
func blamed(reason, detail string, frame []byte) (from, to int) {
	switch reason {
	case "short", "truncated", "truncated_eof":
		return len(frame), len(frame)
	}
	from = -1
	longest := 0
	for i := 0; i < len(detail); i++ {
		if detail[i] != '"' && detail[i] != '`' {
			continue
		}
		q, err := strconv.QuotedPrefix(detail[i:])
		if err != nil {
			continue
		}
		text, err := strconv.Unquote(q)
		if err == nil && len(text) > longest {
			if at := bytes.Index(frame, []byte(text)); at >= 0 {
				from, to, longest = at, at+len(text), len(text)
			}
		}
		i += len(q) - 1
	}
	return from, to
}
