package schema

// Positions of the fields that every kind begins with, in Event and in Fields.
const (
	ReceivedAt = iota
	EventTime
	EventTimeSource
	IDTime
	Listener
	Transport
	PeerIP
	Facility
	Severity
	SyslogHost
	SyslogApp
	SyslogPID
	StructuredData
	Format
	Direction
	Flags
	BadFields
	Raw
	Extra
	Source
	SourceOffset
	SourcePath
	KTopic
	KEpoch
	KPart
	KOff
	Revision
	CommonFields // how many there are
)

// commonFields stand first in every kind. Numbers 23 to 31 are kept free for
// more of them; a kind's own fields begin at 32.
var commonFields = [CommonFields]Field{
	ReceivedAt:      {Number: 1, Name: "received_at", Type: Millis, Codec: "Delta, Default", Doc: "when the ingester took the frame from the socket"},
	EventTime:       {Number: 2, Name: "event_time", Type: Millis, Codec: "Delta, Default", Doc: "the event's own time; see event_time_source"},
	EventTimeSource: {Number: 3, Name: "event_time_source", Type: Word, Doc: "where event_time is from: event, id (the Exim id), header (syslog), received"},
	IDTime:          {Number: 4, Name: "id_time", Type: Seconds, Codec: "Delta, Default", Doc: "the Exim id's own time, else event_time: a message and its statuses share it"},
	Listener:        {Number: 5, Name: "listener", Type: Word, Doc: "name of the listener that took it"},
	Transport:       {Number: 6, Name: "transport", Type: Word, Doc: "udp, tcp, tls, relp, unixgram, smtp, smtps or lmtp: the scheme of the listener's address; file: followed; imap: read from a mailbox"},
	PeerIP:          {Number: 7, Name: "peer_ip", Type: IP, Doc: "address of the sender of the frame"},
	Facility:        {Number: 8, Name: "facility", Type: UInt8, Doc: "syslog facility (RFC 5424 table 1); 1 (user) when the frame had no PRI"},
	Severity:        {Number: 9, Name: "severity", Type: UInt8, Doc: "syslog severity (RFC 5424 table 2)"},
	SyslogHost:      {Number: 10, Name: "syslog_host", Type: Word, Doc: "HOSTNAME of the syslog header"},
	SyslogApp:       {Number: 11, Name: "syslog_app", Type: Word, Doc: "TAG (RFC 3164) or APP-NAME (RFC 5424)"},
	SyslogPID:       {Number: 12, Name: "syslog_pid", Type: Text, Doc: "PROCID of the syslog header"},
	StructuredData:  {Number: 13, Name: "structured_data", Type: Map, Doc: "RFC 5424 structured data, keys are SD-ID.PARAM-NAME"},
	Format:          {Number: 14, Name: "format", Type: Word, Doc: "name of the format that decoded it"},
	Direction:       {Number: 15, Name: "direction", Type: Word, Doc: "incoming, outgoing or unknown, as the listener is configured"},
	Flags:           {Number: 16, Name: "flags", Type: Names, Doc: "what the decoder had to forgive"},
	BadFields:       {Number: 17, Name: "bad_fields", Type: Names, Doc: "fields whose value did not parse and was left empty"},
	Raw:             {Number: 18, Name: "raw", Type: Bytes, Doc: "the frame as it came; kept always, when flagged, or never, as the listener is configured"},
	Extra:           {Number: 19, Name: "extra", Type: Map, Doc: "template variables that have no column of their own"},
	Source:          {Number: 20, Name: "source", Type: Word, Doc: "fingerprint of the file that the line stands in; empty for what came over the network"},
	SourceOffset:    {Number: 21, Name: "source_offset", Type: UInt64, Codec: "Delta, Default", Doc: "byte of the file that its (first) line begins at"},
	SourcePath:      {Number: 22, Name: "source_path", Type: Word, Doc: "path of that file when it was read"},
	KTopic:          {Name: "k_topic", Type: Word, Doc: "Kafka topic of the record, without the prefix"},
	KEpoch:          {Name: "k_epoch", Type: UInt16, Doc: "incarnation of the topic: a re-created topic has the next one"},
	KPart:           {Name: "k_part", Type: UInt16, Doc: "Kafka partition of the record"},
	KOff:            {Name: "k_off", Type: UInt64, Codec: "Delta, Default", Doc: "Kafka offset of the record"},
	Revision:        {Name: "revision", Type: UInt8, Doc: "how often its frame was decoded again since (millrace replay --kind)"},
}
