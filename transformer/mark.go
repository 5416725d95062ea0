package transformer

import (
	"fmt"
	"hash/crc32"
	"strconv"
	"strings"
	"time"

	"millrace/schema"
)

// mark is what the metadata of a commit says beside the offset, which is where
// everything before is in ClickHouse.
type mark struct {
	epoch uint16 // incarnation of the topic that the offset is of

	// The intent: rows of [offset, end) may be in ClickHouse. 0: none.
	end         int64
	fingerprint uint32 // of the range's record batches
	reader      uint32 // what makes rows of the records: see rowsOf
	shard       string // where its INSERT goes; of a commit without an intent, where the last one went
	wide        bool   // rows of [offset, ...) may be at other shards, too
	query       bool   // only what was missing is inserted, by asking ClickHouse
	time        int64  // of the announcement, milliseconds
	first       int64  // of the range's first announcement, where that is another

	// The last record batch before the offset, by which a topic that was made
	// again is told from the one the offset is of.
	anchor anchor
}

// anchor identifies one record batch.
type anchor struct {
	known bool
	base  int64
	crc   uint32
}

// since is when the first INSERT of the range may have been sent: ClickHouse is to
// remember its token since then.
func (m *mark) since() time.Time {
	if m.first != 0 {
		return time.UnixMilli(m.first)
	}
	return time.UnixMilli(m.time)
}

// markVersion is the first field of the text. A reader that does not know it
// takes the commit as one without metadata, and asks ClickHouse.
const markVersion = "1"

// String is the metadata: fields `name=value` behind the version, separated by
// semicolons. Unknown fields are ignored.
func (m mark) String() string {
	b := make([]byte, 0, 128)
	b = append(b, markVersion...)
	b = fmt.Appendf(b, ";ep=%d;t=%d", m.epoch, m.time)
	if m.shard != "" {
		b = fmt.Appendf(b, ";sh=%s", m.shard)
	}
	if m.wide {
		b = append(b, ";w=1"...)
	}
	if m.end > 0 {
		b = fmt.Appendf(b, ";e=%d;fp=%08x;r=%08x", m.end, m.fingerprint, m.reader)
		if m.query {
			b = append(b, ";q=1"...)
		}
		if m.first != 0 && m.first != m.time {
			b = fmt.Appendf(b, ";t0=%d", m.first)
		}
	}
	if m.anchor.known {
		b = fmt.Appendf(b, ";lb=%d;lc=%08x", m.anchor.base, m.anchor.crc)
	}
	return string(b)
}

// parseMark reads metadata; ok is false when it is not ours.
func parseMark(s string) (m mark, ok bool) {
	fields := strings.Split(s, ";")
	if fields[0] != markVersion {
		return mark{}, false
	}
	var hasEpoch, hasCRC, hasFingerprint bool
	for _, f := range fields[1:] {
		name, value, _ := strings.Cut(f, "=")
		var err error
		var u uint64
		switch name {
		case "ep":
			u, err = strconv.ParseUint(value, 10, 16)
			m.epoch, hasEpoch = uint16(u), true
		case "t":
			m.time, err = strconv.ParseInt(value, 10, 64)
		case "t0":
			m.first, err = strconv.ParseInt(value, 10, 64)
		case "e":
			m.end, err = strconv.ParseInt(value, 10, 64)
		case "fp":
			u, err = strconv.ParseUint(value, 16, 32)
			m.fingerprint, hasFingerprint = uint32(u), true
		case "r":
			u, err = strconv.ParseUint(value, 16, 32)
			m.reader = uint32(u)
		case "sh":
			m.shard = value
		case "w":
			m.wide = value == "1"
		case "q":
			m.query = value == "1"
		case "lb":
			m.anchor.base, err = strconv.ParseInt(value, 10, 64)
			m.anchor.known = true
		case "lc":
			u, err = strconv.ParseUint(value, 16, 32)
			m.anchor.crc, hasCRC = uint32(u), true
		}
		if err != nil {
			return mark{}, false
		}
	}
	if !hasEpoch || m.end < 0 || m.end > 0 && !hasFingerprint || m.anchor.known != hasCRC {
		return mark{}, false
	}
	return m, true
}

// CommittedEpoch reads the epoch from the metadata of a commit; ok is false when a
// transformer did not write it.
func CommittedEpoch(metadata string) (epoch uint16, ok bool) {
	m, ok := parseMark(metadata)
	return m.epoch, ok
}

// readerVersion changes with the code that reads records, wherever the same record
// may give another row, or a row of another table, than it did before.
const readerVersion = 1

// rowsOf tells whether two programs make the same rows of a topic's records: it is
// a sum over the fields of the topic's tables and the version of the reader.
func rowsOf(k *schema.Kind, version int) uint32 {
	sum := crc32.New(castagnoli)
	fmt.Fprint(sum, version)
	for _, k := range []*schema.Kind{k, schema.Reject} {
		for _, f := range k.Fields {
			fmt.Fprint(sum, ",", f.Number, f.Name, f.Type)
		}
	}
	return sum.Sum32()
}

// token is what ClickHouse knows a block by. The group stands for the pipeline:
// two of them into one table would be two sets of rows. The epoch and the
// fingerprint keep a re-created topic's ranges from being taken for the old ones.
func token(group string, epoch uint16, topic string, partition int, start, end int64, fingerprint uint32) string {
	return fmt.Sprintf("v1/%s/%d/%s/%d/%d-%d/%08x", group, epoch, topic, partition, start, end, fingerprint)
}
