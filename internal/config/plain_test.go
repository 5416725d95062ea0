package config

import (
	"strings"
	"testing"
)

// What is not encrypted stays on loopback, unless somebody says that it need not.
func TestPlain(t *testing.T) {
	t.Parallel()
	f := func(text, want string) {
		t.Helper()
		_, err := Parse("m.yaml", []byte(text), noEnv)
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%s: %v, want %q", text, err, want)
		}
	}
	f(`http: {ingest: "0.0.0.0:8514"}`, "http.ingest: 0.0.0.0:8514: it is beyond loopback, and what is said there is not encrypted; http.plain: any says that this is meant")
	f(`http: {transform: "[::]:8515"}`, "http.transform")
	f(`http: {serve: "192.0.2.1:8516"}`, "http.serve")
	f(`up: {kafka: "192.0.2.1:9092"}`, "up.kafka: 192.0.2.1:9092: it is beyond loopback, and what is said there is not encrypted; up.plain: any")
	f(`up: {clickhouse_http: "0.0.0.0:8123"}`, "up.clickhouse_http")
	f(`http: {ingest: "0.0.0.0:8514", plain: any}`, "")
	f(`up: {clickhouse_native: "0.0.0.0:9000", plain: any}`, "")
	f(`http: {ingest: "off", transform: "127.0.0.2:0", serve: "[::1]:1"}`, "")
	c := Default()
	if err := c.CheckPlain(); err != nil {
		t.Error(err)
	}
	if err := c.HTTP.Ingest.Set("192.0.2.1:0"); err != nil {
		t.Fatal(err)
	}
	if err := c.CheckPlain(); err == nil || !strings.Contains(err.Error(), "cannot listen on 192.0.2.1:0 (http.ingest)") {
		t.Error(err)
	}
}
