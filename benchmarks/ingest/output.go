package main

import (
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// Between these a page's text is the program's.
const pageBegin, pageEnd = "<!-- bench-ingest: written by make bench-ingest -->", "<!-- bench-ingest: end -->"

// keepFiles writes the report into dir, named after the version, and into the page.
func (r *Report) keepFiles(dir, page string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	name := filepath.Join(dir, "ingest-"+r.Version)
	asJSON, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	asCSV, err := r.csv()
	if err != nil {
		return err
	}
	for ending, content := range map[string]string{".txt": r.text(), ".json": string(asJSON) + "\n", ".csv": asCSV, ".svg": r.plot()} {
		if err := os.WriteFile(name+ending, []byte(content), 0o644); err != nil {
			return fmt.Errorf("cannot keep the results: %w", err)
		}
	}
	plot, err := filepath.Rel(filepath.Dir(page), name+".svg")
	if err != nil {
		return err
	}
	return rewrite(page, r.markdown(filepath.ToSlash(plot)))
}

// rewrite replaces what stands between the marks of a page.
func rewrite(page, content string) error {
	old, err := os.ReadFile(page)
	if err != nil {
		return fmt.Errorf("cannot write the results into the page: %w", err)
	}
	before, rest, ok := strings.Cut(string(old), pageBegin)
	_, after, ok2 := strings.Cut(rest, pageEnd)
	if !ok || !ok2 {
		return errors.New("cannot write the results into " + page + ": it lacks the line " + pageBegin + " or " + pageEnd)
	}
	return os.WriteFile(page, []byte(before+pageBegin+"\n\n"+content+"\n"+pageEnd+after), 0o644)
}

// csv has a line for each figure of each round.
func (r *Report) csv() (string, error) {
	var b strings.Builder
	w := csv.NewWriter(&b)
	rows := [][]string{{"section", "program", "case", "round", "metric", "value"}}
	for _, x := range r.Results {
		for round, m := range x.Rounds {
			for _, name := range m.names() {
				rows = append(rows, []string{x.Section, x.Peer, x.Case, strconv.Itoa(round + 1), name, strconv.FormatFloat(m[name], 'g', 6, 64)})
			}
		}
	}
	if err := w.WriteAll(rows); err != nil {
		return "", err
	}
	return b.String(), nil
}
