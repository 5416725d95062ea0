// Command millrace receives the remote syslog of mail filters and mail
// servers, carries it through Kafka and lands it in ClickHouse exactly once.
package main

import (
	"os"

	"millrace/cmd"
)

func main() { os.Exit(cmd.Main()) }
