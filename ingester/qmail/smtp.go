package qmail

import (
	"bytes"

	"millrace/schema"
)

// Bounds of one message's lines. What is beyond begins an event of its own, and both are
// flagged.
const (
	maxGroupBytes = 256 << 10
	maxRecipients = 1000
)

// SMTP decodes the SMTP log of a port: `2021-03-09 11:10:37, KEY, REST`. Lines of one
// message stand together, as the host's documentation says, and no line tells which
// message it is of. A group opens at `from` and ends with the reply behind `size`, or
// with the next `from`.
type SMTP struct {
	o         Options
	session   []byte
	direction []byte
	clock     clock
	g         group
	event     schema.Event
	domain    []byte
}

// span is a part of the group's bytes.
type span struct{ start, end int32 }

// recipient is what the group says of one.
type recipient struct {
	address, reply                   span
	check, name, ip, checked, detail span
	code                             uint16
	replied                          bool
	binary                           [16]byte // the address
}

// group is the lines of one message, and what they say.
type group struct {
	open       bool
	bytes      []byte // the lines, each with a line end
	lines      int
	offset     int64
	latest     int64 // when its last line was taken
	first      Line  // without its bytes
	time       int64
	flags      schema.Flag
	sender     span
	reply      span // to the sender
	code       uint16
	begun      bool // by `from`
	recipients []recipient
	size       span
	last       span // reply
	lastCode   uint16
	stage      stage
}

// stage is what the next reply is to.
type stage uint8

const (
	toNothing stage = iota
	toSender
	toRecipient
	toData
)

// NewSMTP makes the decoder of a source.
func NewSMTP(o Options) *SMTP {
	if o.Timeout == 0 {
		o.Timeout = DefaultTimeout
	}
	d := &SMTP{o: o, clock: clock{zone: o.Zone}, direction: unknown}
	switch o.Port {
	case 25:
		d.session, d.direction = schema.Padded("smtp"), incoming
	case 465:
		d.session, d.direction = schema.Padded("smtps"), outgoing
	case 587:
		d.session, d.direction = schema.Padded("submission"), outgoing
	}
	if o.Direction != "" {
		d.direction = schema.Padded(o.Direction)
	}
	return d
}

// The keys of the log, and positions of the fields.
var (
	keyFrom, keyTo, keyResp, keyCheck, keySize = []byte("from"), []byte("to"), []byte("resp"), []byte("check"), []byte("size")

	smtpPort, smtpSession                 = schema.SMTP.Index("port"), schema.SMTP.Index("session")
	smtpDomain, smtpSender                = schema.SMTP.Index("domain"), schema.SMTP.Index("sender")
	smtpSenderCode, smtpSenderReply       = schema.SMTP.Index("sender_code"), schema.SMTP.Index("sender_reply")
	smtpRecipients, smtpRecipientCodes    = schema.SMTP.Index("recipients"), schema.SMTP.Index("recipient_codes")
	smtpRecipientReplies, smtpChecks      = schema.SMTP.Index("recipient_replies"), schema.SMTP.Index("checks")
	smtpCheckNames, smtpCheckIPs          = schema.SMTP.Index("check_client_names"), schema.SMTP.Index("check_client_ips")
	smtpCheckRecipients, smtpCheckDetails = schema.SMTP.Index("check_recipients"), schema.SMTP.Index("check_details")
	smtpSize, smtpCode, smtpReply         = schema.SMTP.Index("size"), schema.SMTP.Index("code"), schema.SMTP.Index("reply")
	smtpAccepted, smtpQmailTime, smtpQP   = schema.SMTP.Index("accepted"), schema.SMTP.Index("qmail_time"), schema.SMTP.Index("qp")
)

// Line implements Decoder.
func (d *SMTP) Line(l Line, emit Emit) (schema.Reason, string) {
	ms, flags, key, rest, reason := d.clock.keyed(l.Bytes)
	if reason != "" {
		return reason, "the line does not begin with a date, a time, a key and a comma behind each"
	}
	g := &d.g
	switch {
	case bytes.Equal(key, keyResp):
		d.resp(ms, flags, l, rest, emit)
	case bytes.Equal(key, keyFrom):
		d.close(emit)
		g.begin(ms, flags, l)
		g.begun, g.stage = true, toSender
		g.sender = g.add(l.Bytes, address(rest))
	case bytes.Equal(key, keyTo):
		d.join(ms, flags, l, emit)
		if len(g.recipients) == maxRecipients {
			d.split(ms, flags, l, emit)
		}
		g.recipients = append(g.recipients, recipient{address: g.add(l.Bytes, address(rest))})
		g.stage = toRecipient
	case bytes.Equal(key, keyCheck):
		if g.checked() {
			d.other(ms, flags, l, key, rest, emit)
			break
		}
		d.join(ms, flags, l, emit)
		d.check(l.Bytes, rest)
	case bytes.Equal(key, keySize):
		d.join(ms, flags, l, emit)
		g.size = g.add(l.Bytes, rest)
		g.stage = toData
	default:
		d.other(ms, flags, l, key, rest, emit)
	}
	return "", ""
}

// keyed cuts a line of an SMTP or delivery log into its parts, which are views of it.
func (c *clock) keyed(line []byte) (ms int64, flags schema.Flag, key, rest []byte, reason schema.Reason) {
	ms, flags, ok := c.read(line)
	if !ok {
		return 0, 0, nil, nil, schema.ReasonBadDate
	}
	b := line[stampSize:]
	if len(b) < 3 || b[0] != ',' || b[1] != ' ' {
		return 0, 0, nil, nil, schema.ReasonNoTemplate
	}
	b = b[2:]
	at := bytes.IndexByte(b, ',')
	if at <= 0 {
		return 0, 0, nil, nil, schema.ReasonNoTemplate
	}
	key, rest = b[:at], b[at+1:]
	if len(rest) > 0 && rest[0] == ' ' {
		rest = rest[1:]
	}
	return ms, flags, key, rest, ""
}

// join opens a group where a line's beginning is missing, or the lines' bound is reached.
func (d *SMTP) join(ms int64, flags schema.Flag, l Line, emit Emit) {
	g := &d.g
	switch {
	case !g.open:
		g.begin(ms, flags, l)
		g.flags |= schema.FlagIncomplete
	case len(g.bytes)+len(l.Bytes) >= maxGroupBytes:
		d.split(ms, flags, l, emit)
	default:
		g.flags |= flags
		g.latest = l.Received
	}
}

// split ends the group in its middle and opens one for the rest.
func (d *SMTP) split(ms int64, flags schema.Flag, l Line, emit Emit) {
	d.g.flags |= schema.FlagIncomplete
	d.close(emit)
	d.g.begin(ms, flags|schema.FlagIncomplete, l)
}

func (g *group) begin(ms int64, flags schema.Flag, l Line) {
	*g = group{
		open: true, bytes: g.bytes[:0], recipients: g.recipients[:0],
		offset: l.Offset, latest: l.Received, first: Line{Received: l.Received, Header: l.Header}, time: ms, flags: flags,
	}
}

// add keeps a line. part, which is one of its own, becomes a span of the group's bytes.
func (g *group) add(line, part []byte) span {
	start := len(g.bytes)
	g.bytes = append(append(g.bytes, line...), '\n')
	g.lines++
	return inside(start, line, part)
}

// inside is where part stands, when line stands at start.
func inside(start int, line, part []byte) span {
	if len(part) == 0 {
		return span{}
	}
	// part is a view of line, and so is as far from the end of its memory.
	at := start + cap(line) - cap(part)
	return span{int32(at), int32(at + len(part))}
}

func (g *group) text(s span) []byte { return g.bytes[s.start:s.end] }

// resp is a reply: to whatever the line before was about.
func (d *SMTP) resp(ms int64, flags schema.Flag, l Line, rest []byte, emit Emit) {
	d.join(ms, flags, l, emit)
	g := &d.g
	c, _ := code(rest)
	g.last, g.lastCode = g.add(l.Bytes, rest), c
	switch g.stage {
	case toSender:
		g.reply, g.code = g.last, c
	case toRecipient:
		r := &g.recipients[len(g.recipients)-1]
		// A second reply is to the message that was sent, or that the filter looked at, and the last word.
		if !r.replied {
			r.reply, r.code, r.replied = g.last, c, true
		}
	case toData:
		d.close(emit)
		return
	}
}

// checked tells whether the next check is one for which the columns have no place: the
// sender's, which chkuser writes before there is a recipient, or a second one of a
// recipient, as when its intrusion threshold is reached (chkuser.c).
func (g *group) checked() bool {
	if !g.open {
		return false
	}
	n := len(g.recipients)
	if n == 0 {
		return g.begun
	}
	return g.recipients[n-1].check != span{}
}

// check is chkuser's line: brief, NAME:IP, recipient, detail. Any may be missing.
func (d *SMTP) check(line, rest []byte) {
	g := &d.g
	start := len(g.bytes)
	g.add(line, nil)
	var r *recipient
	if n := len(g.recipients); n > 0 {
		r = &g.recipients[n-1]
	} else {
		g.flags |= schema.FlagIncomplete
		g.recipients = append(g.recipients, recipient{})
		r = &g.recipients[0]
	}
	part := func() (p []byte) {
		if at := bytes.Index(rest, commaBlank); at >= 0 {
			p, rest = rest[:at], rest[at+2:]
		} else {
			p, rest = bytes.TrimSuffix(rest, commaBlank[:1]), nil
		}
		return p
	}
	r.check = inside(start, line, part())
	client := part()
	if at := bytes.IndexByte(client, ':'); at >= 0 {
		r.name, r.ip = inside(start, line, client[:at]), inside(start, line, client[at+1:])
	} else {
		r.name = inside(start, line, client)
	}
	r.checked = inside(start, line, part())
	r.detail = inside(start, line, rest)
}

var commaBlank = []byte(", ")

// other is a line with a key that is not known: a row of its own, and the group stays as it is.
func (d *SMTP) other(ms int64, flags schema.Flag, l Line, key, rest []byte, emit Emit) {
	emitLine(&d.event, general{log: logSMTP, level: levelInfo, key: key, text: rest}, ms, flags, d.direction, &l, emit)
}

// Open implements Decoder.
func (d *SMTP) Open() (offset int64, ok bool) { return d.g.offset, d.g.open }

// Held implements Decoder.
func (d *SMTP) Held() (lines, bytes int) {
	if !d.g.open {
		return 0, 0
	}
	return d.g.lines, len(d.g.bytes)
}

// Expire implements Decoder.
func (d *SMTP) Expire(now int64, emit Emit) {
	if d.g.open && now-d.g.latest > d.o.Timeout.Milliseconds() {
		d.close(emit)
	}
}

// End implements Decoder.
func (d *SMTP) End(emit Emit) { d.close(emit) }

// close makes the event of the group that is open.
func (d *SMTP) close(emit Emit) {
	g := &d.g
	if !g.open {
		return
	}
	g.open = false
	e := &d.event
	e.Reset(schema.SMTP)
	if !g.begun || g.lastCode == 0 || g.stage == toSender && g.code == 0 {
		g.flags |= schema.FlagIncomplete
	}
	setTime(e, g.time, &g.first)
	e.SetUint(schema.SourceOffset, uint64(g.offset))
	e.SetText(schema.Direction, d.direction)
	e.SetText(schema.Format, logSMTP)
	e.SetText(schema.Raw, g.bytes)
	e.SetUint(smtpPort, uint64(d.o.Port))
	e.SetText(smtpSession, d.session)
	e.SetText(smtpSender, g.text(g.sender))
	e.SetUint(smtpSenderCode, uint64(g.code))
	e.SetText(smtpSenderReply, g.text(g.reply))
	e.SetUint(smtpCode, uint64(g.lastCode))
	e.SetText(smtpReply, g.text(g.last))
	if text := g.text(g.size); len(text) > 0 {
		if v, ok := whole(text); ok {
			e.SetUint(smtpSize, v)
		} else {
			e.MarkBad(smtpSize, schema.FlagBadInt)
		}
	}
	if c, rest := code(g.text(g.last)); c/100 == 2 {
		epoch, pid, queued := accepted(rest) // says it also where the line with the size is missing
		if queued {
			e.SetUint(smtpQmailTime, epoch)
			e.SetUint(smtpQP, pid)
		}
		if queued || g.stage == toData {
			e.SetUint(smtpAccepted, 1)
		}
	}
	d.recipients(e)
	about := g.text(g.sender)
	if len(g.recipients) > 0 && (len(about) == 0 || !bytes.Equal(d.direction, outgoing)) {
		about = g.text(g.recipients[0].address)
	}
	lower, all := domain(d.domain[:0], about)
	d.domain = all
	e.SetText(smtpDomain, lower)
	e.Flag(g.flags)
	emit(e)
}

// recipients fills the columns that have an entry for each.
func (d *SMTP) recipients(e *schema.Event) {
	g := &d.g
	for i := range g.recipients {
		r := &g.recipients[i]
		if !r.replied {
			g.flags |= schema.FlagIncomplete
		}
		e.AddName(smtpRecipients, g.text(r.address))
		e.AddCode(smtpRecipientCodes, r.code)
		e.AddName(smtpRecipientReplies, g.text(r.reply))
		e.AddName(smtpChecks, g.text(r.check))
		e.AddName(smtpCheckNames, g.text(r.name))
		var binary []byte
		if text := g.text(r.ip); len(text) > 0 {
			if a, ok := ip(text); ok {
				r.binary = a.As16()
				binary = r.binary[:]
			} else {
				e.MarkBad(smtpCheckIPs, schema.FlagBadIP)
			}
		}
		e.AddName(smtpCheckIPs, binary)
		e.AddName(smtpCheckRecipients, g.text(r.checked))
		e.AddName(smtpCheckDetails, g.text(r.detail))
	}
}
