package embedded

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
)

// BrokerOptions say how to start a broker. All may be left empty.
type BrokerOptions struct {
	// DataDir is the stack's data directory; the broker takes DataDir/kafka.
	// Without one the log is in memory and ends with the process.
	DataDir string
	// Address is HOST:PORT; port 0 is any free port. Default: 127.0.0.1:0.
	Address string
	// Advertise is the host that clients are told to connect to. Default: the
	// host of Address, or this machine's first address when that is a wildcard.
	Advertise string
	// Topics are created with so many partitions unless they exist. An existing
	// topic stays as it is.
	Topics map[string]int

	// RetentionAge (default 48 h) and RetentionBytes (the whole log, all topics
	// together) say what may be deleted. After an unclean end the broker reads
	// its whole log into memory for a moment, so RetentionBytes is at most, and by
	// default, a quarter of the memory.
	RetentionAge   time.Duration
	RetentionBytes int64
	// RetentionGroup's committed offsets are the low-water mark: nothing at or
	// above them is deleted. Default: millrace.
	RetentionGroup string
	// RetentionFloor, when given, takes the place of RetentionGroup. It returns
	// the lowest offset that must stay; a negative one deletes nothing.
	RetentionFloor func(topic string, partition int32) int64
	// RetentionInterval is how often retention is applied (default 1 minute).
	RetentionInterval time.Duration

	// MinSessionTimeout is the shortest session timeout that a consumer group
	// may ask for (default 1 s).
	MinSessionTimeout time.Duration
	// SegmentBytes is the size of one log file, the unit of deletion. Default:
	// from RetentionBytes.
	SegmentBytes int64
	// MaxMessageBytes bounds one record batch (default 16 MiB).
	MaxMessageBytes int
	Logger          *slog.Logger
}

// Broker is a running broker.
type Broker struct {
	// Addr is the address that clients of this machine connect to.
	Addr string
	// Credentials are demanded (SASL PLAIN) when the address is beyond loopback;
	// they stand in DataDir/kafka-credentials. Empty: none are demanded.
	Credentials Credentials

	options BrokerOptions
	cluster *kfake.Cluster
	lock    *dirLock
	logDir  string // "" without persistence
	stop    context.CancelFunc
	wait    sync.WaitGroup
	once    sync.Once
}

func (o *BrokerOptions) setDefaults() error {
	if o.Address == "" {
		o.Address = "127.0.0.1:0"
	}
	if o.RetentionAge == 0 {
		o.RetentionAge = 48 * time.Hour
	}
	if o.RetentionInterval == 0 {
		o.RetentionInterval = time.Minute
	}
	if o.RetentionGroup == "" {
		o.RetentionGroup = "millrace"
	}
	if o.MinSessionTimeout == 0 {
		o.MinSessionTimeout = time.Second
	}
	if o.MaxMessageBytes == 0 {
		o.MaxMessageBytes = 16 << 20
	}
	if bound := physicalMemory() / 4; o.DataDir != "" && (o.RetentionBytes == 0 || o.RetentionBytes > bound) {
		o.RetentionBytes = bound
	}
	if o.SegmentBytes == 0 {
		partitions := int64(0)
		for _, n := range o.Topics {
			partitions += int64(n)
		}
		o.SegmentBytes = 64 << 20
		if o.RetentionBytes > 0 {
			// The segment in use is never deleted: all of them together must be
			// a small part of the bound.
			o.SegmentBytes = min(max(o.RetentionBytes/(8*max(partitions, 1)), 1<<20), 64<<20)
		}
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.RetentionAge < 0 || o.RetentionBytes < 0 {
		return fmt.Errorf("cannot start the broker: retention of %v and %d bytes: neither may be negative", o.RetentionAge, o.RetentionBytes)
	}
	for topic, n := range o.Topics {
		if n < 1 || n > 10_000 {
			return fmt.Errorf("cannot create topic %q with %d partitions: want 1 to 10000", topic, n)
		}
	}
	return nil
}

// century, in milliseconds, stands for "never".
const century = 100 * 365 * 24 * 3600 * 1000

// StartBroker returns when the broker serves and all topics exist.
func StartBroker(o BrokerOptions) (*Broker, error) {
	if err := o.setDefaults(); err != nil {
		return nil, err
	}
	address, err := parseAddress("kafka", o.Address)
	if err != nil {
		return nil, err
	}
	b := &Broker{options: o}
	opts := []kfake.Opt{
		kfake.NumBrokers(1),
		kfake.ClusterID("millrace"),
		kfake.GroupMinSessionTimeout(o.MinSessionTimeout),
		kfake.WithLogger(brokerLogger{o.Logger}),
		kfake.BrokerConfigs(map[string]string{
			"message.max.bytes": strconv.Itoa(o.MaxMessageBytes),
			"log.segment.bytes": strconv.FormatInt(o.SegmentBytes, 10),
			"log.retention.ms":  strconv.FormatInt(o.RetentionAge.Milliseconds(), 10),
			// The broker's own retention, which knows nothing of what has been
			// inserted, runs with the log cleaner: never.
			"log.cleaner.backoff.ms": strconv.Itoa(century),
			// A group's offsets outlive any pause of the transformer.
			"offsets.retention.minutes": strconv.Itoa(century / 60_000),
		}),
	}
	if o.DataDir != "" {
		dir := filepath.Join(o.DataDir, "kafka")
		if err := privateDir(dir); err != nil {
			return nil, err
		}
		if b.lock, err = lockDir(context.Background(), dir, predecessorWait); err != nil {
			return nil, err
		}
		b.logDir = filepath.Join(dir, "log")
		// No SyncWrites: what a killed process has written is in the page cache
		// and stays. Losing power can cost the last seconds, as with Kafka.
		opts = append(opts, kfake.DataDir(b.logDir))
	}
	if !address.loopback() {
		if o.DataDir == "" {
			return nil, fmt.Errorf("cannot listen on %q for --kafka: beyond loopback the broker demands credentials, and without a data directory it has no place for them", o.Address)
		}
		if b.Credentials, err = loadCredentials(filepath.Join(o.DataDir, "kafka-credentials"), "millrace"); err != nil {
			b.lock.unlock()
			return nil, err
		}
		opts = append(opts, kfake.EnableSASL(), kfake.Superuser("PLAIN", b.Credentials.User, b.Credentials.Password))
	}
	if err := b.start(address, opts); err != nil {
		b.lock.unlock()
		return nil, err
	}
	return b, nil
}

func (b *Broker) start(address hostPort, opts []kfake.Opt) error {
	o := &b.options
	ln, err := listen("kafka", address)
	if err != nil {
		return err
	}
	address.port = ln.Addr().(*net.TCPAddr).Port
	b.Addr = address.dialable().String()
	guard := newGuard(ln, advertised(address, o.Advertise), int64(o.MaxMessageBytes)*4)
	opts = append(opts, kfake.ListenFn(func(string, string) (net.Listener, error) { return guard, nil }))

	began := time.Now()
	if b.cluster, err = kfake.NewCluster(opts...); err != nil {
		ln.Close()
		return fmt.Errorf("cannot start the broker on %q: %w", b.logDir, err)
	}
	for _, topic := range slices.Sorted(maps.Keys(o.Topics)) {
		err := b.cluster.CreateTopic(topic, int32(o.Topics[topic]), nil)
		if err != nil && !errors.Is(err, kerr.TopicAlreadyExists) {
			b.cluster.Close()
			return fmt.Errorf("cannot create topic %q with %d partitions: %w", topic, o.Topics[topic], err)
		}
	}
	// Reading an unclean log leaves as much garbage as the log is big.
	debug.FreeOSMemory()
	o.Logger.Debug("broker serves", "address", b.Addr, "log", b.logDir, "took", time.Since(began))

	ctx, cancel := context.WithCancel(context.Background())
	b.stop = cancel
	if b.logDir != "" {
		b.wait.Go(func() { b.retain(ctx) })
	}
	return nil
}

// Cluster gives tests the broker itself: its faults, its groups, its offsets.
func (b *Broker) Cluster() *kfake.Cluster { return b.cluster }

// Close stops the broker and writes its state. More than one call is fine.
func (b *Broker) Close() {
	b.once.Do(func() {
		b.stop()
		b.wait.Wait()
		b.cluster.Close()
		b.lock.unlock()
	})
}

// advertised is what the broker's metadata tells clients to connect to.
func advertised(a hostPort, host string) hostPort {
	if host != "" {
		a.host = host
		return a
	}
	if !net.ParseIP(a.host).IsUnspecified() {
		return a
	}
	// A wildcard means nothing to a client elsewhere. An address of this machine
	// serves clients here and there; a host name might not resolve.
	addrs, _ := net.InterfaceAddrs()
	for _, addr := range addrs {
		if n, ok := addr.(*net.IPNet); ok && n.IP.IsGlobalUnicast() && (n.IP.To4() != nil) == (net.ParseIP(a.host).To4() != nil) {
			a.host = n.IP.String()
			return a
		}
	}
	return a.dialable()
}

// brokerLogger hands the broker's warnings on; its own "info" is one line per
// request.
type brokerLogger struct{ log *slog.Logger }

func (l brokerLogger) Logf(level kfake.LogLevel, format string, args ...any) {
	switch level {
	case kfake.LogLevelError:
		l.log.Error("broker: " + fmt.Sprintf(format, args...))
	case kfake.LogLevelWarn:
		l.log.Warn("broker: " + fmt.Sprintf(format, args...))
	}
}
