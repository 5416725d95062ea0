package main

import (
	"bytes"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"millrace/internal/embedded"
)

func TestMain(m *testing.M) {
	embedded.RunChildIfAsked()
	os.Exit(m.Run())
}

// TestShortRun is the benchmark, too short to say anything about speed: each question has
// an answer, results and page are complete, and a database that was kept is taken again.
func TestShortRun(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	program := filepath.Join(dir, "millrace")
	if out, err := exec.Command("go", "build", "-o", program, "millrace").CombinedOutput(); err != nil {
		t.Fatalf("cannot build the program: %v\n%s", err, out)
	}
	page, err := os.ReadFile("../../docs/performance.md")
	if err != nil {
		t.Fatal(err)
	}
	o := options{
		rounds: 2, messages: 20_000, days: 40, domains: 50, data: filepath.Join(dir, "data"), millrace: program, version: "test",
		results: filepath.Join(dir, "results"), page: filepath.Join(dir, "performance.md"), keep: true,
	}
	if err := os.WriteFile(o.page, page, 0o644); err != nil {
		t.Fatal(err)
	}
	for _, kept := range []string{"It was made in", ""} {
		var out bytes.Buffer
		if err := run(t.Context(), o, &out, io.Discard); err != nil {
			t.Fatal(err)
		}
		written, err := os.ReadFile(o.page)
		if err != nil {
			t.Fatal(err)
		}
		for _, q := range questions {
			if !strings.Contains(out.String(), q.name) || !strings.Contains(string(written), q.name) {
				t.Errorf("the tables lack %q", q.name)
			}
		}
		if !strings.Contains(out.String(), kept) || kept == "" && strings.Contains(out.String(), "It was made in") {
			t.Errorf("made, or taken again:\n%s", out.String())
		}
	}
	o.messages++
	if err := run(t.Context(), o, io.Discard, io.Discard); err == nil || !strings.Contains(err.Error(), "it has 20000 messages, not 20001 (-messages)") {
		t.Error(err)
	}
}
