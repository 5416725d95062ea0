package config

import (
	"encoding/json"
	"log/slog"
)

const hidden = "***"

// Secret is a text that does not print itself: fmt, slog, encoding/json and
// YAML all show "***" (and nothing when it is empty). Only Reveal gives it.
//
// The text is behind a pointer, because fmt prints the unexported fields of a
// struct that holds a Secret without asking its methods: it then shows an
// address.
type Secret struct{ text *string }

// NewSecret keeps text from being printed.
func NewSecret(text string) Secret {
	if text == "" {
		return Secret{}
	}
	return Secret{&text}
}

// Reveal returns the text. Give it to a client library and to nothing else.
func (s Secret) Reveal() string {
	if s.text == nil {
		return ""
	}
	return *s.text
}

// IsSet reports whether there is a text.
func (s Secret) IsSet() bool { return s.text != nil }

func (s Secret) String() string {
	if s.text == nil {
		return ""
	}
	return hidden
}

// GoString hides the text from %#v.
func (s Secret) GoString() string { return `config.Secret("` + s.String() + `")` }

// LogValue hides the text from slog.
func (s Secret) LogValue() slog.Value { return slog.StringValue(s.String()) }

// MarshalText hides the text from encoders.
func (s Secret) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// MarshalJSON hides the text from encoding/json.
func (s Secret) MarshalJSON() ([]byte, error) { return json.Marshal(s.String()) }

// MarshalYAML hides the text from the YAML encoder.
func (s Secret) MarshalYAML() (any, error) { return s.String(), nil }

// Set implements value.
func (s *Secret) Set(text string) error {
	*s = NewSecret(text)
	return nil
}
