package config

import (
	"bytes"
	"flag"
	"os"
	"path/filepath"
	"reflect"
	"testing"
)

var update = flag.Bool("update", false, "write the golden files anew")

func noEnv(string) string { return "" }

// The shipped example is rendered from the key tables and means the defaults.
func TestExample(t *testing.T) {
	t.Parallel()
	path := filepath.Join("..", "..", "deploy", "config.example.yaml")
	want := Example()
	if *update {
		if err := os.WriteFile(path, want, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Fatalf("%s is not what the key tables say: run go generate ./internal/config", path)
	}
	c, err := Parse(path, got, noEnv)
	if err != nil {
		t.Fatal(err)
	}
	equal(t, c, Default())
}

// equal compares settings, not where they were read from.
func equal(t *testing.T, got, want *Config) {
	t.Helper()
	for _, c := range []*Config{got, want} {
		c.File, c.where, c.Kafka.dir, c.ClickHouse.dir = "", nil, "", ""
	}
	g, w := reflect.ValueOf(*got), reflect.ValueOf(*want)
	for i := range g.NumField() {
		if g.Type().Field(i).IsExported() && !reflect.DeepEqual(g.Field(i).Interface(), w.Field(i).Interface()) {
			t.Errorf("%s\n got %+v\nwant %+v", g.Type().Field(i).Name, g.Field(i).Interface(), w.Field(i).Interface())
		}
	}
}
