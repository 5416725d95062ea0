package schema_test

import (
	"bufio"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"millrace/schema"
)

var update = flag.Bool("update", false, "write the rendered files and the ledger anew")

// TestGoldenRendered holds what is rendered from the tables against the
// committed files.
func TestGoldenRendered(t *testing.T) {
	f := func(path, want string) {
		t.Helper()
		if *update {
			if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, []byte(want), 0o644); err != nil {
				t.Fatal(err)
			}
			return
		}
		got, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if string(got) != want {
			t.Errorf("%s is not what the tables render: run `make generate`", path)
		}
	}
	f("../docs/schema.md", schema.Markdown())
	f("../docs/events.proto", schema.Proto())
	f("../docs/errors.md", schema.ErrorsMarkdown())
	var ddl strings.Builder
	for _, k := range schema.Kinds() {
		ddl.WriteString(k.CreateTable(schema.Layout{}) + ";\n")
		for _, s := range k.ModifyTTL(schema.Layout{}, schema.DefaultRetention) {
			ddl.WriteString(s + ";\n")
		}
		ddl.WriteString("\n")
	}
	f("testdata/tables.sql", ddl.String())
}

// TestGoldenLedger holds every field ever published against the tables: a
// number keeps its kind, name and type for ever. -update only appends.
func TestGoldenLedger(t *testing.T) {
	const path = "testdata/ledger.txt"
	current := map[string]string{} // kind + number -> name + type
	var order []string
	for _, k := range schema.Kinds() {
		for _, f := range k.Fields {
			if f.Number == 0 {
				continue
			}
			key := fmt.Sprintf("%s %d", k.Name, f.Number)
			current[key] = f.Name + " " + f.Type.Proto()
			order = append(order, key)
		}
	}
	recorded := map[string]string{}
	if file, err := os.Open(path); err == nil {
		for s := bufio.NewScanner(file); s.Scan(); {
			words := strings.SplitN(s.Text(), " ", 3)
			if len(words) != 3 {
				t.Fatalf("ledger line %q is not `kind number name type`", s.Text())
			}
			recorded[words[0]+" "+words[1]] = words[2]
		}
		file.Close()
	} else if !*update {
		t.Fatal(err)
	}
	for key, was := range recorded {
		if now, ok := current[key]; !ok {
			t.Errorf("field %s (%s) is gone: a field is kept, its number is never free again", key, was)
		} else if now != was {
			t.Errorf("field %s was %q and is %q: give the new meaning a new number", key, was, now)
		}
	}
	var added []string
	for _, key := range order {
		if _, ok := recorded[key]; !ok {
			added = append(added, key+" "+current[key])
		}
	}
	if len(added) == 0 {
		return
	}
	if !*update {
		t.Fatalf("fields without a ledger line: %q; run `make generate`", added)
	}
	file, err := os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	for _, line := range added {
		fmt.Fprintln(file, line)
	}
}

// TestDocsComplete holds the words of flags and reasons to be unique and
// documented.
func TestDocsComplete(t *testing.T) {
	seen := map[string]bool{}
	for _, r := range append(schema.RejectReasons(), schema.DropReasons()...) {
		if r.Meaning == "" || r.Mend == "" || seen[string(r.Reason)] {
			t.Errorf("reason %q is twice or has no doc", r.Reason)
		}
		seen[string(r.Reason)] = true
	}
	all := schema.Flag(1<<63 - 1).Words()
	if len(all) != 29 {
		t.Errorf("%d flag words; the constants and the words must be as many", len(all))
	}
}
