package transport

import (
	"net"

	"millrace/ingester/mailtest"
)

// asMail is a sender of messages over a connection.
func asMail(network string) func(net.Conn) net.Conn {
	greeting := "EHLO"
	if network == "lmtp" {
		greeting = "LHLO"
	}
	return func(c net.Conn) net.Conn { return mailtest.New(c, greeting) }
}
