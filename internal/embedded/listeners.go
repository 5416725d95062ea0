package embedded

import (
	"fmt"
	"strings"
)

// listeners is what the options ask for: which address each protocol has, and
// which of them ClickHouse itself cannot serve.
type listeners struct {
	native hostPort
	http   *hostPort // nil: off
	host   string    // where ClickHouse itself listens, with all it has
}

// planListeners works around two limits: every ClickHouse listener is on the
// same host, and the pipeline needs the native one. Two hosts: ClickHouse
// listens on loopback, and a relay takes the address that is elsewhere.
func planListeners(native, http string) (*listeners, error) {
	l := &listeners{native: hostPort{host: loopback}}
	var err error
	if native != Off {
		if l.native, err = parseAddress("clickhouse-native", native); err != nil {
			return nil, err
		}
	}
	l.host = l.native.host
	if http != Off {
		a, err := parseAddress("clickhouse-http", http)
		if err != nil {
			return nil, err
		}
		if a == l.native && a.port != 0 {
			return nil, fmt.Errorf("cannot listen on %q for both --clickhouse-native and --clickhouse-http", a)
		}
		if a.host != l.host {
			l.host = loopback
		}
		l.http = &a
	}
	return l, nil
}

const loopback = "127.0.0.1"

func (l *listeners) beyondLoopback() bool {
	return !l.native.loopback() || l.http != nil && !l.http.loopback()
}

// pick fills in the addresses that ClickHouse will open, all free a moment ago.
func (l *listeners) pick(config *serverConfig) (err error) {
	config.native, err = l.pickOne("clickhouse-native", l.native)
	config.withHTTP = l.http != nil
	if err == nil && config.withHTTP {
		config.http, err = l.pickOne("clickhouse-http", *l.http)
	}
	return err
}

func (l *listeners) pickOne(listener string, a hostPort) (hostPort, error) {
	if a.host != l.host {
		a = hostPort{host: l.host} // the relay takes the address itself
	}
	return pickPort(listener, a)
}

// retry says whether a failed start is worth another try: somebody took a port
// between the check and the start, a killed predecessor still holds the data,
// or somebody else used up the quota of user default.
func (l *listeners) retry(err error, attempt int) bool {
	text := err.Error()
	switch {
	case strings.Contains(text, "Cannot lock file"):
		return true // until the start's own deadline
	case strings.Contains(text, "Address already in use"), strings.Contains(text, "QUOTA_EXCEEDED"):
		return attempt < 10
	}
	return false
}
