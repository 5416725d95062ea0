package migrate

import (
	"fmt"

	"github.com/ClickHouse/clickhouse-go/v2"

	"millrace/internal/config"
	"millrace/schema"
)

// SettingsOf are the configuration's clickhouse and retention sections.
func SettingsOf(cfg *config.Config, binary string) Settings {
	return Settings{
		Database:    cfg.ClickHouse.Database,
		Cluster:     cfg.ClickHouse.Cluster,
		Replication: cfg.ClickHouse.Replication,
		Retention:   schema.Retention{Events: cfg.Retention.Events, Raw: cfg.Retention.Raw, Rollups: cfg.Retention.Rollups},
		Views: schema.ViewSettings{
			Classes: cfg.ClassTable(), InvalidSenders: invalid(cfg.Reports.InvalidSender), InvalidRecipients: invalid(cfg.Reports.InvalidRecipient),
		},
		Binary: binary,
	}
}

func invalid(list []config.Invalid) []schema.Invalid {
	all := []schema.Invalid{} // an empty list is one: nothing is invalid
	for _, i := range list {
		all = append(all, schema.Invalid(i))
	}
	return all
}

// FromConfig opens a connection as the configuration says, and a Migrator on it.
// The caller closes the connection.
func FromConfig(cfg *config.Config, binary string) (*Migrator, clickhouse.Conn, error) {
	o, err := cfg.ClickHouseOptions()
	if err != nil {
		return nil, nil, err
	}
	o.Auth.Database = "" // it may not exist yet
	conn, err := clickhouse.Open(o)
	if err != nil {
		return nil, nil, fmt.Errorf("cannot use the ClickHouse options: %w", err)
	}
	m, err := New(conn, SettingsOf(cfg, binary))
	if err != nil {
		conn.Close()
		return nil, nil, err
	}
	return m, conn, nil
}
