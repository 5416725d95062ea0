package insert

import (
	"errors"
	"fmt"
	"io"
	"testing"

	"github.com/ClickHouse/clickhouse-go/v2"
)

func TestLoopback(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		addrs []string
		want  bool
	}{
		{[]string{"127.0.0.1:9000"}, true},
		{[]string{"localhost:9000", "[::1]:9000"}, true},
		{[]string{"127.0.0.1:9000", "192.0.2.1:9000"}, false},
		{[]string{"clickhouse.example:9000"}, false},
		{[]string{"no port"}, false},
	} {
		if got := loopback(c.addrs); got != c.want {
			t.Errorf("loopback(%q) = %v, want %v", c.addrs, got, c.want)
		}
	}
}

func TestRefused(t *testing.T) {
	t.Parallel()
	if !Refused(fmt.Errorf("cannot insert: %w", &clickhouse.Exception{Code: 241})) {
		t.Error("an exception of the server is a refusal")
	}
	if Refused(fmt.Errorf("cannot insert: %w", io.ErrUnexpectedEOF)) || Refused(errors.New("x")) {
		t.Error("a lost connection is none")
	}
}
