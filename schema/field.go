package schema

// Type says how a field's value is written in a record and in a column.
type Type uint8

// The types. Record encodings are protobuf's; an absent field is the default.
const (
	Text    Type = iota + 1 // UTF-8 without NUL: string, String
	Word                    // UTF-8 of few distinct values: string, LowCardinality(String)
	Bytes                   // any bytes: bytes, String
	UInt8                   // uint32, UInt8
	UInt16                  // uint32, UInt16
	UInt64                  // uint64, UInt64
	Millis                  // milliseconds since 1970 UTC: int64, DateTime64(3, 'UTC')
	Seconds                 // seconds since 1970 UTC: uint32, DateTime('UTC')
	IP                      // bytes of length 4 or 16, IPv6 (an IPv4 address is mapped)
	Names                   // repeated string, Array(LowCardinality(String))
	Map                     // map<string, string>, Map(String, String)
	Texts                   // repeated string, Array(String): in their order, empty ones kept
	Codes                   // repeated uint32, Array(UInt16): likewise
	IPs                     // repeated bytes of length 0, 4 or 16, Array(IPv6): likewise
)

var typeNames = [...]struct{ proto, clickHouse string }{
	Text:    {"string", "String"},
	Word:    {"string", "LowCardinality(String)"},
	Bytes:   {"bytes", "String"},
	UInt8:   {"uint32", "UInt8"},
	UInt16:  {"uint32", "UInt16"},
	UInt64:  {"uint64", "UInt64"},
	Millis:  {"int64", "DateTime64(3, 'UTC')"},
	Seconds: {"uint32", "DateTime('UTC')"},
	IP:      {"bytes", "IPv6"},
	Names:   {"repeated string", "Array(LowCardinality(String))"},
	Map:     {"map<string, string>", "Map(String, String)"},
	Texts:   {"repeated string", "Array(String)"},
	Codes:   {"repeated uint32", "Array(UInt16)"},
	IPs:     {"repeated bytes", "Array(IPv6)"},
}

// Proto is the type's name in docs/events.proto.
func (t Type) Proto() string { return typeNames[t].proto }

// ClickHouse is the type of the field's column.
func (t Type) ClickHouse() string { return typeNames[t].clickHouse }

// MinMillis and MaxMillis bound a time: DateTime64(3) holds the years 1900 to
// 2299, but clickhouse-go counts nanoseconds in 64 bits, which end in April 2262.
// MaxSeconds bounds DateTime, which ends in 2106.
const (
	MinMillis  = -2208988800000
	MaxMillis  = 9223372036854
	MaxSeconds = 1<<32 - 1
)

// protobuf wire types.
const (
	wireVarint = 0
	wireLen    = 2
)

// Repeated tells whether a record may hold several values of a field, each under its tag.
func (t Type) Repeated() bool { return t >= Names }

func (t Type) wire() uint64 {
	switch t {
	case UInt8, UInt16, UInt64, Millis, Seconds, Codes:
		return wireVarint
	default:
		return wireLen
	}
}

// Field is one value of an event: one protobuf field, one column.
type Field struct {
	Number int    // protobuf number, never reused; 0: not in the record
	Name   string // what the source's own documentation calls it
	Type   Type
	Codec  string // column codec; "" is the server's default, which alone can be recompressed
	Doc    string // one line, for docs/schema.md

	tag []byte // protobuf tag, made at start
}

// MaxFields is how many fields a kind can have: Event keeps them in a 64-bit set.
const MaxFields = 64

// maxNumber bounds field numbers, so that Reader finds a field by an array index.
const maxNumber = 255
