package search

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"time"

	"millrace/query"
	"millrace/query/access"
)

// Describe writes what is known of a message, a block of lines for each recipient, columns
// without a value left out. found is false when there is nothing of it.
func Describe(ctx context.Context, o query.Options, id string, zone *time.Location, w io.Writer) (found bool, err error) {
	r, err := RelationByName("messages")
	if err != nil {
		return false, err
	}
	q := Query{Where: Rule{Field: "id", Op: Is, Values: []string{id}}, Ascending: true, Limit: 1000, Columns: r.plainColumns()}
	var rows bytes.Buffer
	if _, err := Run(ctx, o, access.Everything(), q, query.Limits{}, query.Output{To: &rows, Format: query.JSON}); err != nil {
		return false, err
	}
	for line := range bytes.Lines(rows.Bytes()) {
		var values map[string]any
		d := json.NewDecoder(bytes.NewReader(line))
		d.UseNumber()
		if err := d.Decode(&values); err != nil {
			return found, fmt.Errorf("cannot read the message: %w", err)
		}
		if found {
			fmt.Fprintln(w)
		}
		found = true
		for _, c := range q.Columns {
			text := fmt.Sprint(values[c])
			if t, err := time.Parse(time.RFC3339Nano, text); err == nil {
				if text = ""; t.Unix() > 0 {
					text = t.In(zone).Format("2006-01-02 15:04:05.999 ") + zone.String()
				}
			}
			if text == "" || text == "0" {
				continue
			}
			if _, err := fmt.Fprintf(w, "%-22s %s\n", c, query.Visible(text)); err != nil {
				return found, err
			}
		}
	}
	return found, nil
}

// plainColumns are the columns that can be shown as they are.
func (r Relation) plainColumns() []string {
	var all []string
	for _, f := range r.Fields() {
		if found, err := r.find(f); err == nil && found.class != mapping && f != "event_key" && f != "has_message" {
			all = append(all, f)
		}
	}
	return all
}
