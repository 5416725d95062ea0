package config

import (
	"bufio"
	"fmt"
	"os"
	"slices"
	"strings"

	"millrace/internal/mailname"
)

// Domains are those whose mail the installation handles.
type Domains struct {
	Own  []string
	File string
}

func (o *Domains) keys() []key {
	return []key{
		live(texts("own", &o.Own, "[]", "Domains whose mail this is. A message without a user or an identity is incoming when its recipient is of one of them, and outgoing when its sender is; "+
			"where neither is, its direction is that of its listener.", "a list of domains")),
		live(text("file", &o.File, "", "File with more of them, one a line; SIGHUP reads it again. Relative paths start at this file's directory.")),
	}
}

// OwnDomains are the domains of both, in all their spellings.
func (c *Config) OwnDomains() map[string]struct{} {
	all, err := c.ownDomains()
	if err != nil { // a loaded configuration was checked, and the file was there
		return nil
	}
	return all
}

func (c *Config) ownDomains() (map[string]struct{}, error) {
	names := slices.Clone(c.Domains.Own)
	if c.Domains.File != "" {
		f, err := os.Open(c.Domains.File)
		if err != nil {
			return nil, fmt.Errorf("cannot read the domains: %w", err)
		}
		defer f.Close()
		lines := bufio.NewScanner(f)
		for lines.Scan() {
			if line, _, _ := strings.Cut(lines.Text(), "#"); strings.TrimSpace(line) != "" {
				names = append(names, strings.TrimSpace(line))
			}
		}
		if err := lines.Err(); err != nil {
			return nil, fmt.Errorf("cannot read the domains in %s: %w", c.Domains.File, err)
		}
	}
	all := map[string]struct{}{}
	for _, n := range names {
		if _, err := mailname.Domain(n); err != nil {
			return nil, err
		}
		for _, form := range mailname.Forms(n) {
			all[form] = struct{}{}
		}
	}
	return all, nil
}

func (c *Config) checkDomains(d *decoder) {
	if _, err := c.ownDomains(); err != nil {
		d.report("domains", Problem{Text: err.Error()})
	}
}
