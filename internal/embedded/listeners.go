package embedded

import (
	"fmt"
	"strings"
)

// listeners is what the options ask for: which address each protocol has, and
// which of them ClickHouse itself cannot serve.
type listeners struct {
	native    hostPort
	http      *hostPort // nil: off
	relayHTTP bool      // http is on another host than native
}

// planListeners works around two limits: every ClickHouse listener is on the
// same host, and the pipeline needs the native one.
func planListeners(native, http string) (*listeners, error) {
	l := &listeners{native: hostPort{host: "127.0.0.1"}}
	var err error
	if native != Off {
		if l.native, err = parseAddress("clickhouse-native", native); err != nil {
			return nil, err
		}
	}
	if http != Off {
		a, err := parseAddress("clickhouse-http", http)
		if err != nil {
			return nil, err
		}
		l.http = &a
		l.relayHTTP = a.host != l.native.host
	}
	if l.http != nil && l.http.port != 0 && l.http.port == l.native.port && !l.relayHTTP {
		return nil, fmt.Errorf("cannot listen on %q for both --clickhouse-native and --clickhouse-http", l.native)
	}
	return l, nil
}

func (l *listeners) beyondLoopback() bool {
	return !l.native.loopback() || l.http != nil && !l.http.loopback()
}

// pick fills in the addresses that ClickHouse will open, all free a moment ago.
func (l *listeners) pick(config *serverConfig) (err error) {
	if config.native, err = pickPort("clickhouse-native", l.native); err != nil {
		return err
	}
	config.withHTTP = l.http != nil
	switch {
	case l.http == nil:
		return nil
	case l.relayHTTP:
		config.http, err = pickPort("clickhouse-http", hostPort{host: l.native.host})
	default:
		config.http, err = pickPort("clickhouse-http", *l.http)
	}
	return err
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
