package cmd

import (
	"fmt"
	"strings"
	"testing"
)

func TestClasses(t *testing.T) {
	t.Parallel()
	r := execute(t, "", "classes")
	r.contains(t, 0, "not-spam       accepted\n  also     ham, notspam, clean\n  means    nothing speaks against it\n", "unknown        (the status says)\n")
	if strings.Contains(r.out, "*") {
		t.Error("a star without classes of one's own:", r.out)
	}
	own := file(t, "m.yaml", "classes:\n- {word: Grey List, class: greylisted, group: temporarily-rejected, meaning: 'first contact, come again'}\n- {word: ham, class: allow-list}\n- {word: unsure, group: rejected}\n")
	execute(t, "", "classes", "--config", own).contains(t, 0,
		"greylisted*    temporarily-rejected\n  also     grey-list*\n  means    first contact, come again\n", "unsure*        rejected\n", "allow-listed, ham*\n", "  also     notspam, clean\n")
	execute(t, "", "classes", "--config", own, "--format", "csv").contains(t, 0,
		"word,class,group,meaning,advice,own\nnot-spam,not-spam,accepted,", "\ngrey-list,greylisted,temporarily-rejected,\"first contact, come again\",,1\n", "\nblacklisted,block-list,rejected,")
	execute(t, "", "classes", "--config", own, "--format", "json").contains(t, 0,
		`{"word":"ham","class":"allow-list","group":"accepted","meaning":"an allow list names its sender or recipient"`, `"advice":"","own":true}`)
	execute(t, "", "classes", "--format", "xml").contains(t, 2, `--format "xml": allowed table, csv, json`)

	f := func(entries, want string) {
		t.Helper()
		execute(t, "", "classes", "--config", file(t, "wrong.yaml", "classes:\n"+entries)).contains(t, 2, want)
	}
	f("- {word: a}\n", `classes[0].group: it is empty, and "a" is a class of its own: want one of accepted, rejected, temporarily-rejected, quarantined`)
	f("- {class: spam}\n", "classes[0].word: ")
	f("- {word: '- _'}\n", "classes[0].word: it is empty")
	f("- {word: a, class: spam}\n- {word: A, class: virus}\n", `:3:10: classes[1].word: "A" is there twice`)
	f("- {word: spam, class: virus}\n", `classes[0].class: "spam" is a class itself, it cannot be a word for "virus"`)
	f("- {word: a, class: b, group: bad}\n", "classes[0].group: got \"bad\"; allowed ")
	f("- {word: a, class: spam, group: accepted}\n- {word: b, class: spam, group: rejected}\n", `classes[1].group: "rejected" contradicts "accepted", which an entry before says of class "spam"`)
	f(fmt.Sprintf("- {word: a, class: spam, meaning: %q, extra: 1}\n", "x"), "extra: unknown key")
}
