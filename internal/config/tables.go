package config

import "time"

const (
	ms     = time.Millisecond
	second = time.Second
	minute = time.Minute
	hour   = time.Hour
	day    = 24 * time.Hour
)

func (c *Config) keys() []key {
	return []key{
		{name: "listeners", to: sections[Listener]{&c.Listeners, (*Listener).keys},
			def:     "[{name: filter-udp, address: 'udp://127.0.0.1:5514'}, {name: filter-tcp, address: 'tcp://127.0.0.1:5514'}]",
			allowed: "a list of listeners",
			doc:     "Where syslog and abuse reports arrive. A list that is given replaces the two default listeners."},
		{name: "files", to: sections[Files]{&c.Files, (*Files).keys}, def: "[]",
			allowed: "a list of files",
			doc: "Log files of this machine that ingest and up follow, beside the listeners: through rotation by rename or copytruncate, into what gzip, zstd or bzip2 made of them, " +
				"each line once, also over a crash (docs/logs.md)."},
		text("state_dir", &c.StateDir, "", "Directory in which ingest remembers how far each file was read; one for each ingester. Empty: $STATE_DIRECTORY/files, which systemd sets, or files in up.data."),
		{name: "formats", to: sections[Format]{&c.Formats, (*Format).keys}, def: "[]", live: true,
			allowed: "a list of formats",
			doc: "Templates of the log source beside the built-in ones (m1 s1 m2 s2 m3 s3): the text given to its API, word for word. " +
				"A listener uses those that its own formats name."},
		{name: "classes", to: sections[Class]{&c.Classes, (*Class).keys}, def: "[]", live: true,
			allowed: "a list of classes",
			doc: "Words for classes of messages beside the built-in ones: ingest brings them into one spelling (class_norm), and millrace schema apply puts them into the views " +
				"classes and messages, where rows of before count too. millrace classes prints all."},
		sub("domains", &c.Domains, "The domains whose mail this is: they give a message its direction, where neither a user nor an identity does."),
		sub("reports", &c.Reports, "Questions with a name (millrace report), and what they count: millrace schema apply writes that into the views that count."),
		sub("api", &c.API, "The HTTP API of millrace serve, and of millrace up."),
		sub("kafka", &c.Kafka, "The log between ingest and transform."),
		sub("clickhouse", &c.ClickHouse, "Where the rows go, and where query asks."),
		sub("transform", &c.Transform, "What the transformer promises, and when a block of rows is complete: whichever of the limits comes first."),
		sub("retention", &c.Retention, "How long ClickHouse keeps what; millrace schema apply writes it into the tables."),
		sub("http", &c.HTTP, "Metrics, health and profiles of the daemons: /metrics /healthz /readyz /debug/pprof; of ingest and up also /tap /capture."),
		sub("log", &c.Log, "What the daemons write to standard error."),
		sub("stop", &c.Stop, "What the first SIGTERM or Ctrl-C starts. The second stops at once."),
		sub("up", &c.Up, "The trial stack on one machine, millrace up. Nothing else reads these keys."),
		sub("source", &c.Source, "The mail filter's own API, which is told where to send its log: millrace source."),
		sub("quarantine", &c.Quarantine, "The mail filter's quarantine, read over IMAP: millrace quarantine."),
		sub("mail", &c.Mail, "The server that takes mail of Millrace's own: the reports of reports.recipients and of millrace schedule."),
		{name: "rules", to: sections[Rule]{&c.Rules, (*Rule).keys}, def: "[{name: automatic}]",
			allowed: "a list of rules",
			doc: "What is locked and blocked by itself, by the instance that acts. A list that is given replaces the default one, which locks the identities of outgoing users that have " +
				"lock identities automatically switched on (millrace outgoing-user set --lock-automatically=true), and nothing else. millrace rules says what each would do now."},
		{name: "effects", to: sections[Effect]{&c.Effects, (*Effect).keys}, def: "[]",
			allowed: "a list of effects",
			doc:     "What is done when a lock or a block begins or ends, once for each change."},
	}
}

func (l *Listener) keys() []key {
	return []key{
		nameKey(&l.Name, "Its name: in the column listener, in metrics, in messages."),
		{name: "address", to: &l.Address, need: true,
			allowed: "tcp://HOST:PORT, tls://HOST:PORT, relp://HOST:PORT or udp://HOST:PORT, IPv6 in brackets: tcp://[::]:514; unixgram:///PATH; smtp://HOST:PORT, smtps://HOST:PORT or lmtp://HOST:PORT for abuse reports",
			doc: "Where it listens. relp is rsyslog's protocol: it acknowledges a frame when Kafka has it. smtp, smtps (TLS from the first byte) and lmtp take abuse reports (ARF) " +
				"for whatever recipient, and say 250 when Kafka has them."},
		oneOf("framing", &l.Framing, "auto", "What ends a frame on TCP and TLS: a NUL byte, a line feed, a count of octets in front (RFC 6587); auto sees by itself. "+
			"A datagram is always one frame, and RELP has frames of its own. With lf, and with auto in the first frame of a connection, a line feed and a priority in a subject begin a frame: set nul or octet where the sender does.", "auto", "nul", "lf", "octet"),
		live(texts("formats", &l.Formats, "[builtin]", "Names of the formats that it decodes. The word builtin stands for all built-in templates; smtp, delivery and spamdyke are the logs of a qmail-based server, whose lines must stay in their order. Mail has one, arf, and needs no names.",
			"names of formats, or builtin")),
		{name: "time_zone", to: zoneValue{&l.TimeZone}, def: "UTC", allowed: "a name such as Europe/Amsterdam, or an offset such as +02:00",
			doc: "Zone of the times that come without one.", live: true},
		live(texts("nulls", &l.Nulls, "['', None, '-']", "Words that stand for no value. In free text only None does, and it is flagged.", "a list of texts")),
		live(oneOf("direction", &l.Direction, "unknown", "Which mail this source logs: the column direction.", "incoming", "outgoing", "unknown")),
		live(number("smtp_port", &l.SMTPPort, "0", 0, 65535, "Format smtp: port that the log is of. 25 is incoming mail, 465 and 587 are outgoing, where direction does not say; 0 is not known.")),
		live(duration("group_timeout", &l.GroupTimeout, "1m", second, day, "Format smtp: a message of which no line has come for so long is complete, and flagged incomplete if its end is missing.")),
		{name: "allow", to: &l.Allow, allowed: "a list of networks such as [192.0.2.0/24, 2001:db8::1], or the word any",
			doc: "Who may send. Must be given beyond loopback, for UDP too.", live: true},
		{name: "proxy_from", to: &l.ProxyFrom, def: "[]", allowed: "a list of networks such as [192.0.2.10]", live: true,
			doc: "Load balancers. A connection of theirs must begin with a PROXY header, version 1 or 2 (before TLS); its sender is who the header names, and allow means that one. Nobody else's header is believed. TCP."},
		live(oneOf("raw", &l.Raw, "flagged", "Which events keep the frame they came from (column raw): all, those with a flag, none. Rejects always do. millrace replay --kind decodes it again.", "always", "flagged", "never")),
		sub("reject_limit", &l.RejectLimit, "How many rejects are stored. The excess is counted as dropped (reject_limit), so that a flood of garbage cannot fill a disk."),
		{name: "max_frame", to: &l.MaxFrame, allowed: sizeUnit + "512 to 1MiB (UDP: 65535, mail: 64MiB)",
			ok: func() bool { return 512 <= l.MaxFrame && l.MaxFrame <= maxMail },
			doc: "Longest frame, or message; a longer one is rejected with its beginning. Default 64KiB on TCP, 65535 on UDP, 16MiB for mail, " +
				"whose sender is told (SIZE), and refused beyond it (552)."},
		duration("frame_idle", &l.FrameIdle, "200ms", 10*ms, minute, "With framing auto, a frame that nothing ended is complete after this silence; longer on a lossy path, where a retransmission takes its time. TCP and TLS."),
		size("receive_buffer", &l.ReceiveBuffer, "4MiB", 4*KiB, GiB, "Receive buffer of each socket, asked of the kernel; it grants net.core.rmem_max at most. UDP."),
		number("sockets", &l.Sockets, "1", 1, 64, "Sockets that share the port (SO_REUSEPORT): the kernel spreads the senders over them. Each has a reader, and under load up to three more. UDP."),
		number("max_connections", &l.MaxConnections, "1024", 1, 65535, "Connections at a time; one more is closed, and the log says so. TCP."),
		number("max_connections_per_peer", &l.MaxConnectionsPerPeer, "0", 0, 65535, "Of these, connections of one sender; 0 is no limit of its own. TCP."),
		duration("idle_timeout", &l.IdleTimeout, "0s", 0, 30*day, "A connection on which nothing comes for so long is closed; 0 is never. TCP; mail has 5m where nothing is said."),
		duration("frame_timeout", &l.FrameTimeout, "30s", 0, day, "A frame that has begun ends within this time, or its connection is closed and what came of it is a reject; 0 is never. TCP; mail has 10m where nothing is said, and its sender keeps the message."),
		size("open_frames", &l.OpenFrames, "64MiB", MiB, 16*GiB, "Memory for frames that have begun, over all connections that wait for the rest. Beyond it the connection whose frame is the oldest is closed. TCP; of mail, for all messages that are in hand: beyond it the next one is put off (451)."),
		boolean("reuse_port", &l.ReusePort, "false", "Let a second millrace of the same user listen here too: it shares the sockets of this one, and whichever stops leaves the queues to the other. For an upgrade that refuses, resets and loses nothing. Linux."),
		{name: "socket_mode", to: modeValue{&l.SocketMode}, def: "'0666'", allowed: "permissions in octal, such as '0660'",
			doc: "Permissions of the socket's file: who may write to it may send. The default is /dev/log's. unixgram."},
		sub("tls", &l.TLS, "Our certificate, and whose we want. tls:// and smtps:// listeners; relp://; smtp:// and lmtp:// by STARTTLS, without which mail is refused if client_ca is set."),
		live(oneOf("body", &l.Body, "drop", "Whether a report's event keeps the body of the message that it is about. Its header is always kept. Mail.", "keep", "drop")),
		{name: "forward_to", to: textValue{&l.ForwardTo, checkForward}, def: `""`, allowed: "smtp://HOST:PORT or smtps://HOST:PORT",
			doc: "An existing parser of reports: each message goes there first, as it came and with its envelope, and is taken (250) only when it has been. smtp:// is encrypted if it is offered, without a look at the certificate; smtps:// looks. Mail."},
		duration("answer_timeout", &l.AnswerTimeout, "1m", second, 30*minute, "For how long the sender of a message waits for Kafka, and for forward_to, until it is told to try again (451). Mail."),
	}
}

func (f *Files) keys() []key {
	return []key{
		nameKey(&f.Name, "Its name: in the column listener, in metrics, in messages."),
		{name: "paths", to: &f.Paths, need: true, allowed: "a list of absolute paths, with * ? and [...] in them",
			doc: "Files, or patterns that find them. Let them find what rotation makes of a log too (/var/log/smtp.log*): its last lines may be there only."},
		oneOf("from", &f.From, "beginning", "Where reading begins in files that are there when the paths are followed for the first time.", "beginning", "end"),
		size("max_line", &f.MaxLine, "64KiB", 512, MiB, "Longest line; a longer one is rejected with its beginning."),
		texts("formats", &f.Formats, "[builtin]", "As listeners[].formats.", "names of formats, or builtin"),
		{name: "time_zone", to: zoneValue{&f.TimeZone}, def: "UTC", allowed: "a name such as Europe/Amsterdam, or an offset such as +02:00", doc: "Zone of the times that come without one."},
		texts("nulls", &f.Nulls, "['', None, '-']", "As listeners[].nulls.", "a list of texts"),
		oneOf("direction", &f.Direction, "unknown", "Which mail these files log: the column direction.", "incoming", "outgoing", "unknown"),
		number("smtp_port", &f.SMTPPort, "0", 0, 65535, "As listeners[].smtp_port."),
		duration("group_timeout", &f.GroupTimeout, "1m", second, day, "As listeners[].group_timeout."),
		oneOf("raw", &f.Raw, "flagged", "Which events keep the lines they came from (column raw): all, those with a flag, none.", "always", "flagged", "never"),
		sub("reject_limit", &f.RejectLimit, "How many rejects are stored, as listeners[].reject_limit: all lines of these files are of one peer."),
	}
}

// maxMail is the longest message that can be configured: it is held in memory.
const maxMail = 64 * MiB

func (r *RejectLimit) keys() []key {
	return []key{
		live(number("rows", &r.Rows, "30000", 0, 100_000_000, "Rejects of one peer in an interval; 0 is no limit.")),
		live(size("bytes", &r.Bytes, "16MiB", 0, 16*GiB, "Bytes of one peer's rejects in an interval; 0 is no limit.")),
		live(duration("interval", &r.Interval, "1m", second, day, "The interval.")),
		live(number("peers", &r.Peers, "4", 1, 10_000, "The listener stores at most so many times as much as one peer may: a datagram's address can be forged.")),
	}
}

func (t *ServerTLS) keys() []key {
	return []key{
		live(text("cert", &t.Cert, "", "PEM file of our certificate, and behind it those of the authorities between it and the one that clients trust. "+
			"Relative paths start at this file's directory. SIGHUP reads the files again.")),
		live(text("key", &t.Key, "", "PEM file of its private key.")),
		live(text("client_ca", &t.ClientCA, "", "PEM file of the authorities whose certificates we demand of clients; empty: none is demanded.")),
		live(texts("client_names", &t.ClientNames, "[]", "Names one of which a client's certificate must have; none: whoever client_ca vouches for may send.",
			"a list of host names such as relay.example.net or *.example.net, or of IP addresses")),
		live(duration("handshake_timeout", &t.HandshakeTimeout, "10s", 100*ms, 5*minute, "A client that is not done with the handshake by then is cut off.")),
	}
}

func (f *Format) keys() []key {
	return []key{
		nameKey(&f.Name, "Its name: in the column format and in a listener's formats."),
		oneOf("kind", &f.Kind, "message", "What an event of it is.", "message", "status"),
		{name: "template", to: textValue{s: &f.Template, check: notEmpty}, need: true, allowed: `text with %(name)s variables, as given to the source's API`,
			doc: "The template."},
		oneOf("quoting", &f.Quoting, "none", "csv: the sender doubles quotes within quotes; most do not.", "none", "csv"),
	}
}

func (k *Kafka) keys() []key {
	return []key{
		texts("brokers", &k.Brokers, "['127.0.0.1:9092']", "Brokers to begin with; the others are found through them. Where this key is left out: up.kafka.", "a list of HOST:PORT"),
		{name: "topic_prefix", to: textValue{&k.TopicPrefix, checkTopic}, def: "millrace.", allowed: "up to 200 of a-z A-Z 0-9 . _ -",
			doc: "Topics are named PREFIXmessage, PREFIXstatus, PREFIXreject."},
		{name: "group", to: textValue{&k.Group, both(notEmpty, checkTopic)}, def: "millrace", allowed: "1 to 200 of a-z A-Z 0-9 . _ -",
			doc: "Consumer group of the transformers. A new name reads the topics again, and inserts nothing twice."},
		text("client_id", &k.ClientID, "millrace", "How the brokers name us in their logs and quotas."),
		boolean("create_topics", &k.CreateTopics, "true", "Create missing topics. If false, or not permitted, the error says what to create."),
		number("partitions", &k.Partitions, "6", 1, 1000, "Partitions of a created topic: at most so many transformers work at a time."),
		number("replication", &k.Replication, "0", 0, 100, "Copies of a created topic; 0 is three, or as many as there are brokers."),
		duration("retention", &k.Retention, "7d", hour, 3650*day, "How long a created topic keeps its records: how long ClickHouse may be away."),
		oneOf("compression", &k.Compression, "snappy", "Of the records. A million of them: snappy 0.4 CPU seconds, lz4 0.8, zstd 1.2.", "none", "snappy", "lz4", "zstd"),
		duration("linger", &k.Linger, "50ms", 0, 10*second, "How long a batch waits for more records."),
		size("batch_bytes", &k.BatchBytes, "512KiB", 16*KiB, 8*MiB, "Largest batch. The brokers' message.max.bytes (1 MiB) must hold it."),
		size("sticky_bytes", &k.StickyBytes, "32MiB", 16*KiB, 16*GiB, "How much goes to one partition before the next. An insert into ClickHouse is of one partition: few at a time make few, large inserts."),
		size("buffer_bytes", &k.BufferBytes, "64MiB", MiB, 16*GiB, "Memory for batches that are open or on their way. When it is full, TCP stops reading and UDP drops are counted."),
		duration("request_timeout", &k.RequestTimeout, "20s", second, 5*minute, "For one request to a broker."),
		duration("session_timeout", &k.SessionTimeout, "60s", 6*second, 30*minute, "A transformer that is silent for so long loses its partitions. The brokers' group.max.session.timeout.ms bounds it."),
		duration("rebalance_timeout", &k.RebalanceTimeout, "40s", 5*second, 30*minute, "How long a rebalance waits for a transformer; less than session_timeout."),
		duration("heartbeat_interval", &k.HeartbeatInterval, "3s", 100*ms, minute, "Less than a third of session_timeout."),
		sub("tls", &k.TLS, "Encryption towards the brokers."),
		sub("sasl", &k.SASL, "Authentication towards the brokers."),
	}
}

func (s *SASL) keys() []key {
	return []key{
		oneOf("mechanism", &s.Mechanism, "none", "How we authenticate. plain sends the password itself: only with tls.", "none", "plain", "scram-sha-256", "scram-sha-512"),
		text("username", &s.Username, "", "User."),
		secret("password", &s.Password, "MILLRACE_KAFKA_PASSWORD", "Password."),
	}
}

func (t *TLS) keys() []key {
	return []key{
		boolean("enabled", &t.Enabled, "false", "Encrypt, and verify the server's certificate."),
		text("ca", &t.CA, "", "PEM file of the authorities that we trust; empty: those of the system. Relative paths start at this file's directory."),
		text("cert", &t.Cert, "", "PEM file of our own certificate, if the server asks for one."),
		text("key", &t.Key, "", "PEM file of its private key."),
		text("server_name", &t.ServerName, "", "Name that the server's certificate must have; empty: the host connected to."),
	}
}

func (c *ClickHouse) keys() []key {
	return []key{
		texts("addresses", &c.Addresses, "['127.0.0.1:9000']", "Servers, native protocol; tried in order. Where this key is left out: up.clickhouse_native.", "a list of HOST:PORT"),
		{name: "shards", to: sections[Shard]{&c.Shards, (*Shard).keys}, def: "[]", allowed: "a list of shards",
			doc: "Servers that the rows are spread over: those of Kafka's partition p go to shard p modulo their number. Empty: all go to addresses. " +
				"Where a partition's rows go may change with this list only after transform was stopped in order."},
		{name: "database", to: textValue{&c.Database, checkDatabase}, def: "millrace", allowed: "1 to 63 letters, digits and _, no digit first",
			doc: "Database of all tables."},
		{name: "cluster", to: textValue{&c.Cluster, checkCluster}, def: `""`, allowed: "a name of the servers' remote_servers",
			doc: "Cluster that millrace schema makes the tables on (ON CLUSTER), and in DATABASE_all tables that read from all shards, which query asks. Empty: none; each shard is made by itself."},
		oneOf("replication", &c.Replication, ReplicationNone, "How the tables that are made on the cluster have copies: tables are ReplicatedMergeTree, database is a Replicated database, none is for tables without.",
			ReplicationNone, ReplicationTables, ReplicationDatabase),
		text("username", &c.Username, "default", "User that writes and that changes the schema."),
		secret("password", &c.Password, "MILLRACE_CLICKHOUSE_PASSWORD", "Its password."),
		sub("reader", &c.Reader, "User that millrace query asks as: give it SELECT on the database, readonly=2, and nothing else."),
		oneOf("compression", &c.Compression, "auto", "Of inserts: auto is none on loopback and lz4 beyond.", "auto", "none", "lz4"),
		duration("dial_timeout", &c.DialTimeout, "5s", 100*ms, minute, "For a connection."),
		duration("read_timeout", &c.ReadTimeout, "30s", second, 10*minute, "For the server's next word."),
		duration("insert_timeout", &c.InsertTimeout, "20s", second, 25*second, "For one insert. With three heartbeats it must fit into kafka.rebalance_timeout."),
		sub("tls", &c.TLS, "Encryption towards the servers."),
	}
}

func (s *Shard) keys() []key {
	addresses := texts("addresses", &s.Addresses, "", "Its replicas, native protocol; tried in order.", "a list of HOST:PORT")
	addresses.need = true
	return []key{
		nameKey(&s.Name, "What transform notes in Kafka with each block: the name stays with the servers."),
		addresses,
	}
}

func (l *Login) keys() []key {
	return []key{
		text("username", &l.Username, "millrace_reader", "User."),
		secret("password", &l.Password, "MILLRACE_CLICKHOUSE_READER_PASSWORD", "Password."),
	}
}

func (t *Transform) keys() []key {
	return []key{
		oneOf("delivery", &t.Delivery, ExactlyOnce, "What is promised of each row. exactly-once refuses to start when the topics' or the tables' settings do not allow it.", ExactlyOnce, AtLeastOnce),
		number("block_rows", &t.BlockRows, "250000", 1, 1_000_000, "Rows."),
		size("block_bytes", &t.BlockBytes, "64MiB", 64*KiB, 120*MiB, "Bytes."),
		duration("block_age", &t.BlockAge, "1s", 10*ms, 5*minute, "Time since its first row: most of the delay at low traffic."),
		size("buffer_bytes", &t.BufferBytes, "256MiB", 8*MiB, GiB*15, "Memory for what is fetched and not yet inserted, over all partitions. When it is full, fetching waits."),
	}
}

// maxRetention, 68 years, ends a row before 2106, where ClickHouse's DateTime does and
// begins at 1970 again: with more, rows would be gone at once.
const maxRetention = 25_000 * day

func (r *Retention) keys() []key {
	return []key{
		duration("events", &r.Events, "400d", day, maxRetention, "Events, counted from their arrival."),
		duration("raw", &r.Raw, "30d", day, maxRetention, "The frame an event came from (column raw); not longer than events."),
		duration("rollups", &r.Rollups, "1825d", 31*day, maxRetention, "What is counted by the hour (messages_hourly, senders_hourly), from that hour on: it may outlive the events."),
	}
}

func (h *HTTP) keys() []key {
	return []key{
		endpoint("ingest", &h.Ingest, "127.0.0.1:8514", "Of millrace ingest, and of millrace up."),
		endpoint("transform", &h.Transform, "127.0.0.1:8515", "Of millrace transform."),
		endpoint("serve", &h.Serve, "127.0.0.1:8516", "Of millrace serve."),
		oneOf("plain", &h.Plain, "loopback", "Where they may listen: they have neither passwords nor TLS. any: beyond loopback too, where something else keeps others out.", "loopback", "any"),
		oneOf("pprof", &h.Pprof, "loopback", "Who may ask for profiles, which show what is in memory.", "loopback", "any", "off"),
		oneOf("tap", &h.Tap, "loopback", "Who may watch frames as they pass (/tap, /capture: millrace tap, millrace capture), with all that is in them.", "loopback", "any", "off"),
	}
}

func (l *Log) keys() []key {
	return []key{
		{name: "level", to: levelValue{&l.Level}, def: "info", allowed: "debug, info, warn, error", doc: "Least level.", live: true},
		oneOf("format", &l.Format, "text", "Layout of a line.", "text", "json"),
	}
}

func (s *Stop) keys() []key {
	return []key{
		duration("drain_timeout", &s.DrainTimeout, "30s", second, hour, "Time to hand over what has been read. What it does not suffice for is read again after the next start, "+
			"or, before Kafka has it, lost and counted."),
	}
}

func (u *Up) keys() []key {
	return []key{
		text("data", &u.Data, "", "Directory of all data; empty: ~/.local/share/millrace."),
		endpoint("kafka", &u.Kafka, "127.0.0.1:9092", "The embedded broker."),
		endpoint("clickhouse_native", &u.ClickHouseNative, "127.0.0.1:9000", "The embedded ClickHouse, native protocol."),
		endpoint("clickhouse_http", &u.ClickHouseHTTP, "127.0.0.1:8123", "The embedded ClickHouse, HTTP."),
		oneOf("plain", &u.Plain, "loopback", "Where these may listen: they have passwords, and no TLS. any: beyond loopback too, in a network that nobody else reads.", "loopback", "any"),
		duration("kafka_retention", &u.KafkaRetention, "48h", minute, 3650*day, "How long the embedded broker keeps records that have been inserted."),
		percent("kafka_retention_disk", &u.KafkaRetentionDisk, "10%", 0.001, 0.9, "Share of the disk that they may take."),
		percent("min_free_disk", &u.MinFreeDisk, "5%", 0, 0.9, "With less of the disk free, TCP stops reading and UDP drops are counted."),
	}
}

func (s *Source) keys() []key {
	return []key{
		{name: "url", to: textValue{&s.URL, checkURL}, def: `""`, allowed: "https://HOST or https://HOST/cgi-bin/api", doc: "Its API; empty: not used."},
		text("username", &s.Username, "", "User of the API."),
		secret("password", &s.Password, "MILLRACE_SOURCE_PASSWORD", "Password."),
		text("ca", &s.CA, "", "PEM file of the authorities that we trust; empty: those of the system."),
		duration("timeout", &s.Timeout, "30s", second, 10*minute, "For one call."),
		text("host", &s.Host, "", "The eight arguments of api_set_remote_syslog_server. This machine, as the filter reaches it."),
		number("port", &s.Port, "514", 1, 65535, "Port, as the filter reaches it."),
		text("facility", &s.Facility, "mail", "Syslog facility."),
		text("socket_type", &s.SocketType, "SOCK_STREAM", "SOCK_STREAM for TCP, SOCK_DGRAM for UDP: the words of the source."),
		oneOf("level", &s.Level, "INFO", "Least level that it sends.", "DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"),
		boolean("enabled", &s.Enabled, "true", "Whether it sends."),
		text("message_template", &s.MessageTemplate, "m3", "Name of a format, its text, or the word default: the source's own."),
		text("status_template", &s.StatusTemplate, "s3", "Name of a format, its text, or the word default: the source's own."),
		duration("import_locks", &s.ImportLocks, "0s", 0, day, "So often the identities that are locked in the filter's panel are asked for (api_list_locked_identities) and taken over; 0s: not."),
	}
}
