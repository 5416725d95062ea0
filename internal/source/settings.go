package source

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// The arguments of api_set_remote_syslog_server, in the order in which the
// vendor documents them.
const (
	FieldHost            = "host"
	FieldPort            = "port"
	FieldFacility        = "facility"
	FieldSocketType      = "socket_type"
	FieldMessageTemplate = "message_template"
	FieldEnabled         = "enabled"
	FieldLevel           = "level"
	FieldStatusTemplate  = "status_template"
)

// Fields lists the eight arguments in documented order.
func Fields() []string {
	return []string{
		FieldHost, FieldPort, FieldFacility, FieldSocketType,
		FieldMessageTemplate, FieldEnabled, FieldLevel, FieldStatusTemplate,
	}
}

// DefaultTemplate is the word that makes the API use its own template, whose
// text the vendor does not publish.
const DefaultTemplate = "default"

// Settings are the eight arguments of api_set_remote_syslog_server.
type Settings struct {
	Host            string // of the syslog server, as the filter resolves it
	Port            int    // 0: left to the API
	Facility        string // a name ("mail", "local0") or a number; "": left to the API
	SocketType      string // "SOCK_STREAM" or "SOCK_DGRAM"; "": left to the API
	MessageTemplate string // text with %(name)s, or "default"
	Enabled         bool
	Level           string // "DEBUG", "INFO", ...; "": left to the API
	StatusTemplate  string // text with %(name)s, or "default"
}

// Value returns the argument called field as it goes over the wire; "" for a
// name that is none of [Fields].
func (s Settings) Value(field string) string {
	switch field {
	case FieldHost:
		return s.Host
	case FieldPort:
		if s.Port == 0 {
			return ""
		}
		return strconv.Itoa(s.Port)
	case FieldFacility:
		return s.Facility
	case FieldSocketType:
		return s.SocketType
	case FieldMessageTemplate:
		return s.MessageTemplate
	case FieldEnabled:
		// The vendor's example is written in Python's spelling.
		if s.Enabled {
			return "True"
		}
		return "False"
	case FieldLevel:
		return s.Level
	case FieldStatusTemplate:
		return s.StatusTemplate
	}
	return ""
}

// put stores the text that the API gave for field.
func (s *Settings) put(field, value string) error {
	switch field {
	case FieldHost:
		s.Host = value
	case FieldPort:
		if value == "" {
			s.Port = 0
			return nil
		}
		n, err := strconv.Atoi(value)
		if err != nil || n < 0 || n > 65535 {
			return fmt.Errorf("cannot read %s %q: want a number from 0 to 65535", field, clip(value))
		}
		s.Port = n
	case FieldFacility:
		s.Facility = value
	case FieldSocketType:
		s.SocketType = value
	case FieldMessageTemplate:
		s.MessageTemplate = value
	case FieldEnabled:
		on, ok := parseBool(value)
		if !ok {
			return fmt.Errorf("cannot read %s %q: want True or False", field, clip(value))
		}
		s.Enabled = on
	case FieldLevel:
		s.Level = value
	case FieldStatusTemplate:
		s.StatusTemplate = value
	}
	return nil
}

func parseBool(s string) (value, ok bool) {
	switch strings.ToLower(s) {
	case "true", "1", "yes", "on", "enabled":
		return true, true
	case "false", "0", "no", "off", "disabled", "":
		return false, true
	}
	return false, false
}

// Validate refuses what no API could use. What merely looks unusual is left to
// [Settings.Warnings], because the vendor documents no list of legal words.
func (s Settings) Validate() error {
	if s.Host == "" && s.Enabled {
		return fmt.Errorf("cannot enable remote syslog: %s is empty; give the address of the syslog server as the filter sees it", FieldHost)
	}
	if i := strings.IndexFunc(s.Host, func(r rune) bool { return r <= ' ' || r == 0x7f || r == '/' }); i >= 0 {
		return fmt.Errorf("cannot use %s %q: a name or an address is wanted, without scheme, space or path", FieldHost, clip(s.Host))
	}
	if s.Port < 0 || s.Port > 65535 {
		return fmt.Errorf("cannot use %s %d: want 1 to 65535", FieldPort, s.Port)
	}
	for _, f := range []string{FieldFacility, FieldSocketType, FieldLevel, FieldMessageTemplate, FieldStatusTemplate} {
		v := s.Value(f)
		if i := strings.IndexFunc(v, func(r rune) bool { return r < ' ' && r != '\t' || r == 0x7f }); i >= 0 {
			return fmt.Errorf("cannot use %s %q: control character %q at byte %d; only TAB may stand in a template", f, clip(v), v[i], i)
		}
	}
	for _, f := range []string{FieldMessageTemplate, FieldStatusTemplate} {
		v := s.Value(f)
		if v == "" || v == DefaultTemplate {
			continue
		}
		if !strings.Contains(v, "%(") {
			return fmt.Errorf("cannot use %s %q: neither %q nor a text with a %%(name)s variable", f, clip(v), DefaultTemplate)
		}
	}
	return nil
}

var (
	facilities = []string{
		"kern", "user", "mail", "daemon", "auth", "syslog", "lpr", "news", "uucp", "cron", "authpriv", "ftp",
		"", "", "", "", "local0", "local1", "local2", "local3", "local4", "local5", "local6", "local7",
	}
	levels = map[string]int{"DEBUG": 10, "INFO": 20, "WARNING": 30, "WARN": 30, "ERROR": 40, "CRITICAL": 50, "FATAL": 50}
)

// Warnings names the words that are none of those known to work. The API may
// still accept them.
func (s Settings) Warnings() []string {
	var w []string
	if f := canonical(FieldFacility, s.Facility); f != "" && !slices.Contains(facilities, f) {
		w = append(w, fmt.Sprintf("%s %q is not a syslog facility (user, mail, local0 to local7, ... or 0 to 23)", FieldFacility, clip(s.Facility)))
	}
	if t := canonical(FieldSocketType, s.SocketType); t != "" && t != "tcp" && t != "udp" {
		w = append(w, fmt.Sprintf("%s %q is neither SOCK_STREAM (TCP) nor SOCK_DGRAM (UDP)", FieldSocketType, clip(s.SocketType)))
	}
	if s.Level != "" {
		if _, ok := levels[s.Level]; !ok {
			w = append(w, fmt.Sprintf("%s %q is not a Python level name in upper case (DEBUG, INFO, WARNING, ERROR, CRITICAL)", FieldLevel, clip(s.Level)))
		}
	}
	if s.Enabled && s.MessageTemplate == "" && s.StatusTemplate == "" {
		w = append(w, "both templates are empty: the API decides what is sent")
	}
	for _, field := range []string{FieldMessageTemplate, FieldStatusTemplate} {
		if s.Value(field) == DefaultTemplate {
			w = append(w, fmt.Sprintf("%s %s: the API does not show the text of its own template; what no format of the listener matches ends in the table rejects", field, DefaultTemplate))
		}
	}
	return w
}

// canonical folds the spellings that mean the same, so that comparing what was
// set with what the API shows does not report a difference of spelling.
func canonical(field, value string) string {
	v := strings.TrimSpace(value)
	switch field {
	case FieldHost:
		return strings.ToLower(strings.TrimSuffix(v, "."))
	case FieldFacility:
		v = strings.ToLower(v)
		v = strings.TrimPrefix(v, "log_")
		if n, err := strconv.Atoi(v); err == nil && n >= 0 && n < len(facilities) && facilities[n] != "" {
			return facilities[n]
		}
		return v
	case FieldSocketType:
		switch v = strings.ToLower(strings.TrimPrefix(v, "socket.")); v {
		case "sock_stream", "stream", "1":
			return "tcp"
		case "sock_dgram", "dgram", "2":
			return "udp"
		}
		return v
	case FieldLevel:
		v = strings.ToUpper(v)
		if n, ok := levels[v]; ok {
			return strconv.Itoa(n)
		}
		return v
	case FieldMessageTemplate, FieldStatusTemplate:
		return value // every byte of a template counts
	}
	return v
}

// clip bounds a value that is quoted in an error.
func clip(s string) string {
	const limit = 120
	if len(s) <= limit {
		return s
	}
	return strings.ToValidUTF8(s[:limit], "") + "..."
}
