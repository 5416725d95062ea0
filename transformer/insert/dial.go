package insert

import (
	"context"
	"crypto/tls"
	"net"
	"syscall"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2"
)

// writeTimeout bounds one write to a server that does not read. The driver sets
// a deadline for reading only.
const writeTimeout = 20 * time.Second

// boundWrites makes every connection of the options bound its writes.
func boundWrites(o *clickhouse.Options) {
	dial, tlsConfig := o.DialContext, o.TLS
	if dial == nil {
		d := &net.Dialer{Timeout: o.DialTimeout}
		dial = func(ctx context.Context, address string) (net.Conn, error) {
			if tlsConfig != nil {
				return (&tls.Dialer{NetDialer: d, Config: tlsConfig}).DialContext(ctx, "tcp", address)
			}
			return d.DialContext(ctx, "tcp", address)
		}
	}
	o.DialContext = func(ctx context.Context, address string) (net.Conn, error) {
		c, err := dial(ctx, address)
		if err != nil {
			return nil, err
		}
		under := c
		if t, ok := c.(*tls.Conn); ok {
			under = t.NetConn()
		}
		if s, ok := under.(syscall.Conn); ok {
			return systemConn{boundConn{c}, s}, nil
		}
		return boundConn{c}, nil
	}
}

type boundConn struct{ net.Conn }

func (c boundConn) Write(b []byte) (int, error) {
	if err := c.SetWriteDeadline(time.Now().Add(writeTimeout)); err != nil {
		return 0, err
	}
	return c.Conn.Write(b)
}

// systemConn lets the driver look whether an idle connection was closed.
type systemConn struct {
	boundConn
	system syscall.Conn
}

func (c systemConn) SyscallConn() (syscall.RawConn, error) { return c.system.SyscallConn() }
