package config

import (
	"slices"
	"testing"
)

// Commands find the servers of millrace up by the configuration that it was started with.
func TestParse_ServersOfUp(t *testing.T) {
	t.Parallel()
	for text, want := range map[string][2]string{
		"":                               {"127.0.0.1:9092", "127.0.0.1:9000"},
		"up: {kafka: '127.0.0.1:19092'}": {"127.0.0.1:19092", "127.0.0.1:9000"},
		"up: {clickhouse_native: ':19000', plain: any}":   {"127.0.0.1:9092", "127.0.0.1:19000"},
		"up: {clickhouse_native: 'off'}":                  {"127.0.0.1:9092", "127.0.0.1:9000"},
		"up: {kafka: '0.0.0.0:19092', plain: any}":        {"127.0.0.1:19092", "127.0.0.1:9000"},
		"up: {kafka: '[::]:19092', plain: any}":           {"[::1]:19092", "127.0.0.1:9000"},
		"up: {kafka: 'mill.example.net:992', plain: any}": {"mill.example.net:992", "127.0.0.1:9000"},
		"up: {kafka: '127.0.0.1:0'}":                      {"127.0.0.1:9092", "127.0.0.1:9000"},
		"kafka: {brokers: ['192.0.2.1:9092']}\nclickhouse: {addresses: ['192.0.2.2:9000']}\nup: {kafka: '127.0.0.1:1', clickhouse_native: '127.0.0.1:2'}": {"192.0.2.1:9092", "192.0.2.2:9000"},
	} {
		c, err := Parse("test.yaml", []byte(text), func(string) string { return "" })
		if err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		if !slices.Equal(c.Kafka.Brokers, []string{want[0]}) || !slices.Equal(c.ClickHouse.Addresses, []string{want[1]}) {
			t.Errorf("%s: %q %q, want %q", text, c.Kafka.Brokers, c.ClickHouse.Addresses, want)
		}
	}
}
