package embedded

import (
	"net"
	"time"
)

// ApplyRetention applies retention as if it were now.
func (b *Broker) ApplyRetention(now time.Time) error { return b.applyRetention(now) }

// LogBytes is the size of the log on disk.
func (b *Broker) LogBytes() (int64, error) {
	_, total, err := readSegments(b.logDir + "/partitions")
	return total, err
}

// Guard wraps a listener as the broker does.
func Guard(ln net.Listener, max int64) net.Listener {
	return newGuard(ln, hostPort{"127.0.0.1", 9092}, max)
}

// Advertised is what clients are told of an address.
func Advertised(address, host string) (string, error) {
	a, err := parseAddress("kafka", address)
	return advertised(a, host).String(), err
}
