package stack

import (
	"millrace/ingester/format"
	"millrace/internal/config"
	"millrace/internal/source"
)

// KnownTemplates are the templates that the configuration may name: the built-in ones and its own.
func KnownTemplates(cfg *config.Config) []source.Template {
	var all []source.Template
	for _, f := range format.Builtin() {
		all = append(all, source.Template{Name: f.Name, Kind: f.Kind.Name, Text: f.Template.String()})
	}
	for _, f := range cfg.Formats {
		all = append(all, source.Template{Name: f.Name, Kind: f.Kind, Text: f.Template})
	}
	return all
}

// syslogSettings are what the configuration asks of the filter's remote syslog.
func syslogSettings(cfg *config.Config) source.Settings {
	src, known := &cfg.Source, KnownTemplates(cfg)
	s := source.Settings{Host: src.Host, Port: src.Port, Facility: src.Facility, SocketType: src.SocketType, Enabled: src.Enabled, Level: src.Level}
	// A name that is none of a template was refused when it was to be used; here it is shown as it is.
	var err error
	if s.MessageTemplate, err = source.Resolve(source.KindMessage, src.MessageTemplate, known); err != nil {
		s.MessageTemplate = src.MessageTemplate
	}
	if s.StatusTemplate, err = source.Resolve(source.KindStatus, src.StatusTemplate, known); err != nil {
		s.StatusTemplate = src.StatusTemplate
	}
	return s
}
