package quarantine

import (
	"net/netip"
	"time"

	"millrace/ingester/clean"
	"millrace/internal/eximid"
	"millrace/schema"
)

// Place is where a message was found.
type Place struct {
	Server    string
	Peer      netip.Addr
	Account   string
	Folder    Folder
	Direction string
}

var (
	transportIMAP = schema.Padded("imap")
	sourceEvent   = schema.Padded("event")
	own           = schema.Padded("quarantine") // listener and format

	columnFields = [Columns]int{
		index("from_header"), index("to_header"), index("reply_to_header"), index("qmail_uid"), index("invoked_for"), index("client"),
		index("evidence"), index("php_script"), index("auth_sender"), index("auth_user"), index("auth_email"),
	}
	domainField, subjectField, messageIDField = index("domain"), index("subject_header"), index("message_id")
	idField, sizeField, folderField           = index("id"), index("size"), index("folder")
	validityField, uidField                   = index("uid_validity"), index("uid")
	serverField, accountField                 = index("server"), index("account")
)

func index(name string) int { return schema.Quarantine.Index(name) }

// Event makes e the event of a message. header becomes its raw as listeners' frames do: always,
// when flagged, or never. e borrows all that it is given.
func (m *Message) Event(e *schema.Event, at Place, f Found, header []byte, raw string, now time.Time) {
	e.Reset(schema.Quarantine)
	e.SetMillis(schema.ReceivedAt, now.UnixMilli())
	e.SetText(schema.Listener, own)
	e.SetText(schema.Transport, transportIMAP)
	e.SetIP(schema.PeerIP, at.Peer)
	e.SetText(schema.Format, own)
	e.SetText(schema.Direction, []byte(at.Direction))
	e.Flag(m.Flags)
	m.times(e, f)
	for i, v := range m.Columns {
		e.SetText(columnFields[i], []byte(v))
	}
	e.SetText(domainField, []byte(m.Domain))
	e.SetText(subjectField, []byte(m.Subject))
	e.SetText(messageIDField, []byte(m.MessageID))
	e.SetText(idField, []byte(m.EximID))
	e.SetUint(sizeField, uint64(max(f.Size, 0)))
	e.SetText(folderField, []byte(at.Folder.Name))
	e.SetUint(validityField, uint64(at.Folder.Validity))
	e.SetUint(uidField, uint64(f.UID))
	e.SetText(serverField, []byte(at.Server))
	e.SetText(accountField, []byte(at.Account))
	if raw == "always" || raw == "flagged" && (e.Flagged() != 0 || !clean.Is(header)) {
		e.SetText(schema.Raw, header)
	}
}

// times are when it came into the quarantine and, if its id says so, into the filter.
func (m *Message) times(e *schema.Event, f Found) {
	ms := min(max(f.Millis, schema.MinMillis), schema.MaxMillis)
	e.SetMillis(schema.EventTime, ms)
	e.SetText(schema.EventTimeSource, sourceEvent)
	seconds, ok := eximid.Second([]byte(m.EximID))
	if !ok {
		seconds = uint64(min(max(ms/1000, 0), schema.MaxSeconds))
	}
	e.SetUint(schema.IDTime, seconds)
}
