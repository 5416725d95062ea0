package ingester

import (
	"fmt"

	"millrace/ingester/format"
	"millrace/internal/config"
	"millrace/schema"
)

// ListenerFormats are the formats of one listener, as the configuration lists
// them, and ready to decode.
type ListenerFormats struct {
	List []*format.Format // templates
	Set  *format.Set      // nil: there is none
	Logs []string         // of qmail-based servers
}

// CompileFormats compiles the configured templates and binds them to the
// listeners that name them, in the listeners' order; one for mail has none. Errors name the key and its
// place in the file.
func CompileFormats(cfg *config.Config) ([]ListenerFormats, error) {
	known, err := knownFormats(cfg)
	if err != nil {
		return nil, err
	}
	all := make([]ListenerFormats, len(cfg.Listeners))
	for i := range cfg.Listeners {
		if cfg.Listeners[i].Address.Mail() {
			continue // its messages are reports: see reports.go
		}
		if all[i], err = compile(cfg, known, &cfg.Listeners[i], fmt.Sprintf("listeners[%d].formats", i)); err != nil {
			return nil, err
		}
	}
	return all, nil
}

// compile binds a listener's formats to it. at is their place in the configuration.
func compile(cfg *config.Config, known map[string]*format.Format, l *config.Listener, at string) (f ListenerFormats, err error) {
	for _, name := range l.Templates() {
		f.List = append(f.List, known[name])
	}
	if f.Logs = l.Logs(); len(f.List) == 0 && len(f.Logs) > 0 {
		return f, nil
	}
	if f.Set, err = format.NewSet(f.List, optionsOf(cfg, l)); err != nil {
		return f, cfg.Wrong(at, err)
	}
	return f, nil
}

// optionsOf is how a listener's values are read.
func optionsOf(cfg *config.Config, l *config.Listener) format.Options {
	return format.Options{TimeZone: l.TimeZone, Nulls: l.Nulls, Direction: l.Direction, Classes: cfg.ClassTable(), Own: cfg.OwnDomains()}
}

// knownFormats are the built-in and the configured formats, by name.
func knownFormats(cfg *config.Config) (map[string]*format.Format, error) {
	known := map[string]*format.Format{}
	for _, f := range format.Builtin() {
		known[f.Name] = f
	}
	for i, f := range cfg.Formats {
		t, err := format.Compile(f.Template)
		if err != nil {
			return nil, cfg.Wrong(fmt.Sprintf("formats[%d].template", i), err)
		}
		known[f.Name] = &format.Format{Name: f.Name, Kind: schema.KindByName(f.Kind), Template: t, CSVQuoting: f.Quoting == "csv"}
	}
	return known, nil
}
