package embedded

import (
	"fmt"
	"strings"
)

// Cluster makes a server one of several that know each other, for tests of what Millrace
// does on a cluster: each is a shard of its own. This form of ClickHouse has no more than
// remote_servers: nothing that takes up ON CLUSTER, and no listener for replicas.
type Cluster struct {
	Name   string   // its name in remote_servers
	Secret string   // what the servers know each other by
	Shards []string // native addresses of all servers, this one's too
}

func (c *Cluster) addresses() (all []hostPort, err error) {
	for _, text := range c.Shards {
		a, err := parseAddress("clickhouse-native", text)
		if err != nil {
			return nil, err
		}
		if !a.loopback() {
			return nil, fmt.Errorf("cannot start ClickHouse in a cluster with %q: it is for loopback alone", text)
		}
		all = append(all, a)
	}
	return all, nil
}

// xml is the section of the server's configuration.
func (c *Cluster) xml() string {
	var b strings.Builder
	all, _ := c.addresses() // the start has looked at them
	fmt.Fprintf(&b, "  <remote_servers>\n    <%s>\n      <secret>%s</secret>\n", c.Name, escape(c.Secret))
	for _, a := range all {
		fmt.Fprintf(&b, "      <shard><replica><host>%s</host><port>%d</port></replica></shard>\n", a.host, a.port)
	}
	fmt.Fprintf(&b, "    </%s>\n  </remote_servers>\n", c.Name)
	return b.String()
}

// clusterGrants are what an admin needs beside the rights of one server, as docs/cluster.md
// says.
var clusterGrants = []string{"GRANT CLUSTER, REMOTE ON *.*", "GRANT TABLE ENGINE ON Distributed"}
