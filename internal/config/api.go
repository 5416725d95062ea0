package config

import (
	"os"
	"path/filepath"
	"strings"
	"time"
)

// API is where millrace serve answers, and what one question may cost.
type API struct {
	Address Endpoint
	TLS     ServerTLS // Cert and Key alone; empty: a certificate of our own making
	Dir     string

	TimeLimit   time.Duration
	RowsLimit   int
	MemoryLimit Size
	MaxExports  int
}

func (a *API) keys() []key {
	keys := []key{
		endpoint("address", &a.Address, "127.0.0.1:8443", "Where it answers: HTTPS, and to nobody without a password or a token."),
		text("cert", &a.TLS.Cert, "", "PEM file of its certificate, and behind it those of the authorities in between. Relative paths start at this file's directory. Empty: one of its own making, in api.dir."),
		text("key", &a.TLS.Key, "", "PEM file of the certificate's private key."),
		text("dir", &a.Dir, "", "Directory of that certificate and of the first password. Empty: $STATE_DIRECTORY/api, which systemd sets, or api in up.data."),
		duration("time_limit", &a.TimeLimit, "30s", 100*ms, 60*minute, "For one question; an export has ten times that."),
		number("rows_limit", &a.RowsLimit, "2000000000", 1000, 1<<62, "Rows that one question may read."),
		size("memory_limit", &a.MemoryLimit, "2GiB", 64<<20, 1<<40, "Memory of ClickHouse that one question may take."),
		number("exports", &a.MaxExports, "4", 1, 1000, "Exports at a time."),
	}
	// One configuration for all daemons, of which this one alone has the files: in containers.
	for i := range keys {
		switch keys[i].name {
		case "cert", "key":
			keys[i].env = "MILLRACE_API_" + strings.ToUpper(keys[i].name)
		}
	}
	return keys
}

// APIDir is api.dir or what stands for it.
func (c *Config) APIDir() (string, error) {
	if c.API.Dir != "" {
		return c.API.Dir, nil
	}
	if dir := os.Getenv("STATE_DIRECTORY"); dir != "" {
		return filepath.Join(dir, "api"), nil
	}
	dir, err := c.Up.DataDir()
	return filepath.Join(dir, "api"), err
}

func (c *Config) checkAPI(d *decoder) {
	if (c.API.TLS.Cert == "") != (c.API.TLS.Key == "") {
		d.report("api", Problem{Text: "cert and key go together: one of them is missing"})
		return
	}
	if c.API.TLS.Cert != "" {
		if _, err := c.API.TLS.Load(); err != nil {
			d.report("api", Problem{Text: err.Error()})
		}
	}
}
