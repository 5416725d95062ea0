// Command millrace receives the remote syslog of mail filters and mail
// servers, carries it through Kafka and lands it in ClickHouse exactly once.
package main

import (
	"os"

	"millrace/cmd"
	"millrace/internal/embedded"
)

func main() {
	embedded.RunChildIfAsked() // the ClickHouse of `millrace up` is this binary again
	os.Exit(cmd.Main())
}
