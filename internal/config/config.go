package config

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// Config is the whole configuration. The zero value is of no use: take
// [Default] or [Load].
type Config struct {
	Listeners  []Listener
	Files      []Files
	StateDir   string
	Formats    []Format
	Classes    []Class
	Domains    Domains
	Reports    Reports
	API        API
	Kafka      Kafka
	ClickHouse ClickHouse
	Transform  Transform
	Retention  Retention
	HTTP       HTTP
	Log        Log
	Stop       Stop
	Up         Up
	Source     Source
	Quarantine Quarantine
	Mail       Mail
	Rules      []Rule
	Effects    []Effect

	// File is what the configuration was read from; empty: the defaults.
	File string

	where map[string]position // key path -> place in File
}

// Listener is one socket that syslog frames arrive on.
type Listener struct {
	Name           string
	Address        Address
	Framing        string   // auto, nul, lf, octet
	Formats        []string // names as written; see FormatNames
	TimeZone       *time.Location
	Nulls          []string
	Direction      string // incoming, outgoing, unknown
	SMTPPort       int    // of the server whose SMTP log it takes; 0: not known
	GroupTimeout   time.Duration
	Allow          Allow
	Raw            string // always, flagged, never
	RejectLimit    RejectLimit
	MaxFrame       Size
	FrameIdle      time.Duration
	ReceiveBuffer  Size
	Sockets        int            // UDP
	MaxConnections int            // streams
	ProxyFrom      []netip.Prefix // streams

	ReusePort             bool
	MaxConnectionsPerPeer int           // streams
	IdleTimeout           time.Duration // streams
	FrameTimeout          time.Duration // streams
	OpenFrames            Size          // streams

	SocketMode fs.FileMode // unixgram
	TLS        ServerTLS

	Body          string        // of reports: keep, drop
	ForwardTo     string        // of mail: where each message goes too; see Forward
	AnswerTimeout time.Duration // of mail
}

// Files are log files that are followed.
type Files struct {
	Name         string
	Paths        []string // absolute, or patterns
	From         string   // beginning, end
	MaxLine      Size
	Formats      []string // names as written
	TimeZone     *time.Location
	Nulls        []string
	Direction    string
	SMTPPort     int
	GroupTimeout time.Duration
	Raw          string
	RejectLimit  RejectLimit
}

// Listener is how their lines are understood, as that of a listener's frames.
func (f *Files) Listener() *Listener {
	return &Listener{
		Name: f.Name, Formats: f.Formats, TimeZone: f.TimeZone, Nulls: f.Nulls, Direction: f.Direction, SMTPPort: f.SMTPPort,
		GroupTimeout: f.GroupTimeout, Raw: f.Raw, RejectLimit: f.RejectLimit,
	}
}

// CheckpointDir is state_dir or, when it is empty, the directory that systemd gives a
// service for its state, or files below up.data.
func (c *Config) CheckpointDir() (string, error) {
	if c.StateDir != "" {
		return c.StateDir, nil
	}
	if dir := os.Getenv("STATE_DIRECTORY"); dir != "" {
		return filepath.Join(dir, "files"), nil
	}
	dir, err := c.Up.DataDir()
	return filepath.Join(dir, "files"), err
}

// RejectLimit is how much of rejects a listener stores.
type RejectLimit struct {
	Rows     int  // of a peer and interval; 0: no limit
	Bytes    Size // likewise
	Interval time.Duration
	Peers    int // so many peers' limits are the listener's
}

// FormatNames is Formats with the word "builtin" replaced by what it stands for.
func (l *Listener) FormatNames() []string {
	var names []string
	for _, name := range l.Formats {
		if name == Builtin {
			names = append(names, BuiltinFormats...)
		} else {
			names = append(names, name)
		}
	}
	return names
}

// Builtin stands, in a listener's formats, for all of BuiltinFormats.
const Builtin = "builtin"

// BuiltinFormats are the formats that need no configuration. Package
// ingester/format defines them; a test of package cmd keeps the two equal.
var BuiltinFormats = []string{"m1", "s1", "m2", "s2", "m3", "s3"}

// LogFormats are the logs of qmail-based servers, which are no templates: a listener's
// formats may name them too. Package ingester/qmail defines them; a test of package cmd
// keeps the two equal.
var LogFormats = []string{"smtp", "delivery", "spamdyke"}

// Templates are the listener's formats that are templates.
func (l *Listener) Templates() []string {
	return slices.DeleteFunc(l.FormatNames(), isLog)
}

// Logs are the listener's formats that are logs of qmail-based servers.
func (l *Listener) Logs() []string {
	return slices.DeleteFunc(l.FormatNames(), func(name string) bool { return !isLog(name) })
}

func isLog(name string) bool { return slices.Contains(LogFormats, name) }

// ReportFormat is the one format of a listener for mail: abuse reports (package
// ingester/arf).
const ReportFormat = "arf"

// Forward is forward_to in two parts: smtp or smtps, and HOST:PORT. Both are empty
// without one.
func (l *Listener) Forward() (network, address string) {
	network, address, _ = strings.Cut(l.ForwardTo, "://")
	return network, address
}

// checkForward wants what a client of SMTP can dial.
func checkForward(s string) error {
	if s == "" {
		return nil
	}
	network, address, _ := strings.Cut(s, "://")
	if network != "smtp" && network != "smtps" {
		return fmt.Errorf("unknown network %q", network)
	}
	host, port, err := splitHostPort(address)
	switch {
	case err != nil:
		return err
	case host == "":
		return errors.New("the host is missing")
	case port == 0:
		return errors.New("the port is 0")
	}
	return nil
}

// Format is a template of the log source, beside the built-in ones.
type Format struct {
	Name     string
	Kind     string // message, status
	Template string
	Quoting  string // none, csv
}

// Kafka is the log between the two daemons.
type Kafka struct {
	Brokers     []string
	TopicPrefix string
	Group       string
	ClientID    string

	CreateTopics bool
	Partitions   int
	Replication  int
	Retention    time.Duration

	Compression string // none, snappy, lz4, zstd
	Linger      time.Duration
	BatchBytes  Size
	StickyBytes Size
	BufferBytes Size

	RequestTimeout    time.Duration
	SessionTimeout    time.Duration
	RebalanceTimeout  time.Duration
	HeartbeatInterval time.Duration

	TLS  TLS
	SASL SASL

	dir string // relative paths of certificates start here
}

// SASL is how Kafka knows who we are.
type SASL struct {
	Mechanism string // none, plain, scram-sha-256, scram-sha-512
	Username  string
	Password  Secret
}

// TLS is the encryption of one client.
type TLS struct {
	Enabled    bool
	CA         string
	Cert       string
	Key        string
	ServerName string
}

// ServerTLS is the encryption of one listener.
type ServerTLS struct {
	Cert             string
	Key              string
	ClientCA         string
	ClientNames      []string
	HandshakeTimeout time.Duration
}

// ClickHouse is where the rows go.
type ClickHouse struct {
	Addresses     []string
	Shards        []Shard // none: Addresses are all there is
	Database      string
	Cluster       string
	Replication   string // ReplicationNone, ReplicationTables, ReplicationDatabase
	Username      string
	Password      Secret
	Reader        Login
	Compression   string // auto, none, lz4
	DialTimeout   time.Duration
	ReadTimeout   time.Duration
	InsertTimeout time.Duration
	TLS           TLS

	dir string
}

// Shard is where the rows of a share of Kafka's partitions go.
type Shard struct {
	Name      string
	Addresses []string // of its replicas
}

// Values of ClickHouse.Replication.
const (
	ReplicationNone     = "none"
	ReplicationTables   = "tables"
	ReplicationDatabase = "database"
)

// ReadDatabase is the database that questions are asked in: that of the tables or, on a
// cluster, of those that read from all shards.
func (c *ClickHouse) ReadDatabase() string {
	if c.Cluster == "" {
		return c.Database
	}
	return c.Database + "_all"
}

// Login is a user and its password.
type Login struct {
	Username string
	Password Secret
}

// Transform says when a block of rows is complete.
type Transform struct {
	Delivery    string // ExactlyOnce, AtLeastOnce
	BlockRows   int
	BlockBytes  Size
	BlockAge    time.Duration
	BufferBytes Size
}

// Values of Transform.Delivery.
const (
	ExactlyOnce = "exactly-once"
	AtLeastOnce = "at-least-once"
)

// Retention is how long ClickHouse keeps what.
type Retention struct {
	Events  time.Duration
	Raw     time.Duration
	Rollups time.Duration
}

// HTTP is where the daemons serve metrics, health and profiles.
type HTTP struct {
	Ingest    Endpoint // millrace ingest, and millrace up
	Transform Endpoint // millrace transform alone
	Serve     Endpoint // millrace serve alone
	Plain     string   // loopback, any: where these may listen
	Pprof     string   // loopback, any, off
	Tap       string   // loopback, any, off
}

// Log is what is logged, and how.
type Log struct {
	Level  slog.Level
	Format string // text, json
}

// Stop is how the daemons stop.
type Stop struct {
	DrainTimeout time.Duration
}

// Up is the trial stack, millrace up.
type Up struct {
	Data               string
	Kafka              Endpoint
	ClickHouseNative   Endpoint
	ClickHouseHTTP     Endpoint
	KafkaRetention     time.Duration
	KafkaRetentionDisk float64 // share of the disk, 0..1
	MinFreeDisk        float64 // share of the disk, 0..1
	Plain              string  // loopback, any: where Kafka and ClickHouse may listen
}

// Source is the log source's own API, and what it shall be told.
type Source struct {
	URL      string
	Username string
	Password Secret
	CA       string
	Timeout  time.Duration

	Host            string
	Port            int
	Facility        string
	SocketType      string
	Level           string
	Enabled         bool
	MessageTemplate string
	StatusTemplate  string

	ImportLocks time.Duration // 0: not
}

// Default is the configuration of an empty file.
func Default() *Config {
	c := &Config{}
	d := decoder{where: map[string]position{}}
	d.defaults(c.keys(), "")
	if len(d.problems) > 0 { // the key tables contradict themselves; a test looks
		panic("config: " + d.problems[0].Error())
	}
	for i := range c.Listeners {
		c.Listeners[i].finish(func(string) bool { return false })
	}
	return c
}

// FormatByName returns the configured format of that name.
func (c *Config) FormatByName(name string) (Format, bool) {
	i := slices.IndexFunc(c.Formats, func(f Format) bool { return f.Name == name })
	if i < 0 {
		return Format{}, false
	}
	return c.Formats[i], true
}

// DataDir is up.data or, when it is empty, $XDG_DATA_HOME/millrace, which is
// ~/.local/share/millrace.
func (u *Up) DataDir() (string, error) {
	if u.Data != "" {
		return u.Data, nil
	}
	if dir := os.Getenv("XDG_DATA_HOME"); filepath.IsAbs(dir) {
		return filepath.Join(dir, "millrace"), nil
	}
	home, err := os.UserHomeDir()
	if err != nil {
		return "", fmt.Errorf("cannot find a directory for the data: %w (up.data names one)", err)
	}
	return filepath.Join(home, ".local", "share", "millrace"), nil
}

// Topic is the name of a kind's topic on the brokers.
func (k *Kafka) Topic(kind string) string { return k.TopicPrefix + kind }

// finish fills in what depends on another key and was not given.
func (l *Listener) finish(given func(key string) bool) {
	if l.MaxFrame == 0 {
		l.MaxFrame = 64 * KiB
		switch {
		case l.Address.Network == "udp":
			l.MaxFrame = 65535
		case l.Address.Mail():
			l.MaxFrame = 16 * MiB
		}
	}
	if l.Address.Mail() {
		if !given("formats") {
			l.Formats = []string{ReportFormat}
		}
		// A sender of mail may rest, and take its time for a large message (RFC 5321,
		// section 4.5.3.2).
		if !given("idle_timeout") {
			l.IdleTimeout = 5 * minute
		}
		if !given("frame_timeout") {
			l.FrameTimeout = 10 * minute
		}
	}
	if !l.Allow.Any && l.Allow.Prefixes == nil && l.Address.Network != unixgram && l.Address.Loopback() && len(l.ProxyFrom) == 0 {
		l.Allow = loopbackOnly()
	}
}
