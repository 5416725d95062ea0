package search

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
)

// cursor is where a page ends: the values that its last row is sorted by.
type cursor struct {
	Kind   string   `json:"k"`
	Sort   string   `json:"s"`
	Up     bool     `json:"u,omitempty"`
	Values []string `json:"v"`
}

// Cursor is where the page ends whose last row has these values in the hidden columns.
func (s Statement) Cursor(hidden []string) string {
	text, err := json.Marshal(cursor{s.kind, s.sort, s.up, hidden})
	if err != nil {
		panic("BUG: " + err.Error()) // texts alone
	}
	return base64.RawURLEncoding.EncodeToString(text)
}

func errCursor(text string) error {
	return fmt.Errorf("cannot go on after %q: it is no cursor of a search that sorts like this one", text)
}

func readCursor(text string, s Statement) ([]string, error) {
	raw, err := base64.RawURLEncoding.DecodeString(text)
	if err != nil {
		return nil, errCursor(text)
	}
	var c cursor
	if json.Unmarshal(raw, &c) != nil || c.Kind != s.kind || c.Sort != s.sort || c.Up != s.up {
		return nil, errCursor(text)
	}
	return c.Values, nil
}
