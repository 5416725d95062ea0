package cmd

import (
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"millrace/internal/config"
	"millrace/query"
)

// asking are the flags of every command that asks ClickHouse.
type asking struct{ path, data, server string }

func (a *asking) flags(c *cobra.Command) {
	configFlag(c, &a.path, theDefaults)
	f := c.Flags()
	f.StringVar(&a.data, "data", "", "data `DIR` of millrace up, with the reader's password (default: where up keeps it)")
	f.StringVar(&a.server, "server", "", "ask `HOST:PORT` (native protocol; more than one with commas) instead of clickhouse.addresses")
	_ = c.MarkFlagDirname("data")
}

// options are where and as whom to ask, and the configuration that says so.
func (a *asking) options(c *cobra.Command) (query.Options, *config.Config, error) {
	cfg, err := loadConfig(c, a.path)
	if err != nil {
		return query.Options{}, nil, err
	}
	if a.server != "" {
		cfg.ClickHouse.Addresses, cfg.ClickHouse.Shards = strings.Split(a.server, ","), nil
	}
	o, err := readerOptions(cfg, a.data)
	return o, cfg, err
}

// period are the flags that say of when.
type period struct{ since, until, last, zone string }

func (p *period) flags(c *cobra.Command, without string) {
	f := c.Flags()
	f.StringVar(&p.since, "since", "", "from `TIME` on: "+query.TimeForms+" ("+without+")")
	f.StringVar(&p.until, "until", "", "before `TIME`")
	f.StringVar(&p.last, "last", "", "of the last `DURATION`, as 24h or 7d, instead of --since")
	f.StringVar(&p.zone, "tz", "UTC", "`ZONE` that times are given and shown in, as Europe/Sofia")
	oneOfFlag(c, "tz", "UTC", "Local")
}

// times are the bounds; zero where none is given.
func (p *period) times(now time.Time) (since, until time.Time, zone *time.Location, err error) {
	if zone, err = time.LoadLocation(p.zone); err != nil {
		return since, until, nil, usagef("--tz %q: want the name of a zone, as UTC or Europe/Sofia", p.zone)
	}
	if zone == time.Local {
		return since, until, nil, usagef("--tz Local: the server does not know this machine's zone; name it, as Europe/Sofia")
	}
	if p.last != "" {
		ago, err := config.ParseDuration(p.last)
		if err != nil || ago <= 0 || p.since != "" {
			return since, until, nil, usagef("--last %q: want how long, as 24h or 7d, and no --since", p.last)
		}
		since = now.Add(-ago)
	}
	for _, b := range []struct {
		flag, text string
		at         *time.Time
	}{{"since", p.since, &since}, {"until", p.until, &until}} {
		if b.text == "" {
			continue // --last says it
		}
		if *b.at, err = parseTime(b.flag, b.text, now, zone); err != nil {
			return since, until, nil, err
		}
	}
	if !until.IsZero() && !since.Before(until) {
		return since, until, nil, usagef("the period ends before it begins: since %s, until %s", since.UTC().Format(time.RFC3339), until.UTC().Format(time.RFC3339))
	}
	return since, until, zone, nil
}

// parseTime reads the time that a flag has, as query.ParseTime does. Empty is the zero time.
func parseTime(flag, text string, now time.Time, zone *time.Location) (time.Time, error) {
	if text == "" {
		return time.Time{}, nil
	}
	t, err := query.ParseTime(text, now, zone)
	if err != nil {
		return t, usagef("--%s %q: %w", flag, text, err)
	}
	return t, nil
}

// said names a period for the one who asked.
func said(since, until time.Time, zone *time.Location) string {
	text := "to now"
	if !until.IsZero() {
		text = "to " + until.In(zone).Format(time.DateTime)
	}
	if since.IsZero() {
		return fmt.Sprintf("all times %s (%s)", text, zone)
	}
	return fmt.Sprintf("%s %s (%s)", since.In(zone).Format(time.DateTime), text, zone)
}
