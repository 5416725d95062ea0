package stack

import (
	"context"
	"fmt"
	"io"
	"strings"
	"time"

	"millrace/ingester"
	"millrace/internal/config"
	"millrace/internal/service"
)

// pair is one key=address of the ready line.
type pair struct{ key, address string }

// readyLine writes the one line on standard output that says that all serves.
func readyLine(w io.Writer, pairs []pair) {
	var b strings.Builder
	b.WriteString("ready")
	for _, p := range pairs {
		b.WriteString(" " + p.key + "=" + p.address)
	}
	fmt.Fprintln(w, b.String())
}

// addresses are syslog_udp, syslog_tcp, smtp and so on: the first listener of each network.
func addresses(in *ingester.Ingester) (pairs []pair) {
	for _, network := range config.Networks {
		for _, l := range in.Addrs() {
			if l.Network == network {
				key := "syslog_" + network
				if (config.Address{Network: network}).Mail() {
					key = network
				}
				pairs = append(pairs, pair{key, l.Addr.String()})
				break
			}
		}
	}
	return pairs
}

// waitReady returns true when all conditions hold, false when ctx ends first.
func waitReady(ctx context.Context, c *service.Conditions) bool {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for c.Ready() != nil {
		select {
		case <-ctx.Done():
			return false
		case <-tick.C:
		}
	}
	return true
}
