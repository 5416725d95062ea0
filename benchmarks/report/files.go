package report

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

// Marks are the two lines of a page between which the text is the program's.
func Marks(program string) (begin, end string) {
	return "<!-- " + program + ": written by make " + program + " -->", "<!-- " + program + ": end -->"
}

// Keep writes what a run found into dir, named after the benchmark (bench-NAME) and the
// version, and the tables into the page. whole is what the JSON holds; plot is an SVG, or
// empty, and its caption is what the page says of it.
func (r *Report) Keep(dir, page, name string, whole any, notes []string, sheets []*Sheet, plot, caption string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("cannot keep the results: %w", err)
	}
	file := filepath.Join(dir, name+"-"+r.Version)
	asJSON, err := json.MarshalIndent(whole, "", "  ")
	if err != nil {
		return err
	}
	asCSV, err := r.csv()
	if err != nil {
		return err
	}
	files := map[string]string{".txt": Text(notes, sheets), ".json": string(asJSON) + "\n", ".csv": asCSV}
	content := Markdown(notes, sheets)
	if plot != "" {
		files[".svg"] = plot
		at, err := filepath.Rel(filepath.Dir(page), file+".svg")
		if err != nil {
			return err
		}
		content += fmt.Sprintf("\n![%s](%s)\n", caption, filepath.ToSlash(at))
	}
	for ending, text := range files {
		if err := os.WriteFile(file+ending, []byte(text), 0o644); err != nil {
			return fmt.Errorf("cannot keep the results: %w", err)
		}
	}
	return rewrite(page, "bench-"+name, content)
}

// rewrite replaces what stands between the marks of a page.
func rewrite(page, program, content string) error {
	begin, end := Marks(program)
	old, err := os.ReadFile(page)
	if err != nil {
		return fmt.Errorf("cannot write the results into the page: %w", err)
	}
	before, rest, ok := strings.Cut(string(old), begin)
	_, after, ok2 := strings.Cut(rest, end)
	if !ok || !ok2 {
		return errors.New("cannot write the results into " + page + ": it lacks the line " + begin + " or " + end)
	}
	return os.WriteFile(page, []byte(before+begin+"\n\n"+content+"\n"+end+after), 0o644)
}

// csv has a line for each figure of each round.
func (r *Report) csv() (string, error) {
	var b strings.Builder
	w := csv.NewWriter(&b)
	rows := [][]string{{"section", "program", "case", "round", "metric", "value"}}
	for _, x := range r.Results {
		for round, m := range x.Rounds {
			for _, name := range m.Names() {
				rows = append(rows, []string{x.Section, x.Peer, x.Case, strconv.Itoa(round + 1), name, strconv.FormatFloat(m[name], 'g', 6, 64)})
			}
		}
	}
	if err := w.WriteAll(rows); err != nil {
		return "", err
	}
	return b.String(), nil
}
