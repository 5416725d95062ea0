package cmd

import (
	"encoding/csv"
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"millrace/schema"
)

func newClasses() *cobra.Command {
	var path, format string
	c := &cobra.Command{
		Use:   "classes",
		Short: "Print the classes of messages: their words, old and new, what they mean and what to do",
		Long: `Print the classes of messages (column class_norm): the words that mean each, the group that it is of, what it means and what
to do about it. A star marks what the configuration has added or changed (classes). csv and json have a line for each word,
as the view classes in ClickHouse. It asks no server.`,
		Example: `  millrace classes
  millrace classes --format csv --config /etc/millrace.yaml`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			var write func(io.Writer, *schema.ClassTable) error
			switch format {
			case "table":
				write = classesTable
			case "csv":
				write = classesCSV
			case "json":
				write = classesJSON
			default:
				return usagef("--format %q: allowed table, csv, json", format)
			}
			cfg, err := loadConfig(c, path)
			if err != nil {
				return err
			}
			return write(c.OutOrStdout(), cfg.ClassTable())
		},
	}
	configFlag(c, &path, theDefaults)
	c.Flags().StringVar(&format, "format", "table", "`FORMAT`: table, csv or json")
	return c
}

func classesTable(w io.Writer, t *schema.ClassTable) error {
	var b strings.Builder
	all := t.Spellings()
	for i := 0; i < len(all); {
		class := all[i].Class
		var words []string
		for ; i < len(all) && all[i].Name == class.Name; i++ {
			word := all[i].Word
			if all[i].Own {
				word += "*"
			}
			words = append(words, word)
		}
		group := class.Group
		if group == "" {
			group = "(the status says)"
		}
		fmt.Fprintf(&b, "%-14s %s\n", words[0], group)
		if len(words) > 1 {
			fmt.Fprintf(&b, "  also     %s\n", strings.Join(words[1:], ", "))
		}
		for _, line := range [][2]string{{"means", class.Meaning}, {"advice", class.Advice}} {
			if line[1] != "" {
				fmt.Fprintf(&b, "  %-8s %s\n", line[0], line[1])
			}
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func classesCSV(w io.Writer, t *schema.ClassTable) error {
	out := csv.NewWriter(w)
	rows := [][]string{{"word", "class", "group", "meaning", "advice", "own"}}
	for _, s := range t.Spellings() {
		own := 0
		if s.Own {
			own = 1
		}
		rows = append(rows, []string{s.Word, s.Name, s.Group, s.Meaning, s.Advice, strconv.Itoa(own)})
	}
	return out.WriteAll(rows)
}

func classesJSON(w io.Writer, t *schema.ClassTable) error {
	out := json.NewEncoder(w)
	out.SetEscapeHTML(false)
	for _, s := range t.Spellings() {
		if err := out.Encode(struct {
			Word    string `json:"word"`
			Class   string `json:"class"`
			Group   string `json:"group"`
			Meaning string `json:"meaning"`
			Advice  string `json:"advice"`
			Own     bool   `json:"own"`
		}{s.Word, s.Name, s.Group, s.Meaning, s.Advice, s.Own}); err != nil {
			return err
		}
	}
	return nil
}
