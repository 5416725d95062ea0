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
	List []*format.Format
	Set  *format.Set
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
		l := &cfg.Listeners[i]
		if l.Address.Mail() {
			continue // its messages are reports: see reports.go
		}
		for _, name := range l.FormatNames() {
			all[i].List = append(all[i].List, known[name])
		}
		set, err := format.NewSet(all[i].List, optionsOf(l))
		if err != nil {
			return nil, cfg.Wrong(fmt.Sprintf("listeners[%d].formats", i), err)
		}
		all[i].Set = set
	}
	return all, nil
}

// optionsOf is how a listener's values are read.
func optionsOf(l *config.Listener) format.Options {
	return format.Options{TimeZone: l.TimeZone, Nulls: l.Nulls, Direction: l.Direction}
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
