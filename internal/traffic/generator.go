package traffic

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"millrace/internal/eximid"
)

// Kind says what a frame is: a message event or a status event.
type Kind uint8

// The kinds of frames, named as the schema names them.
const (
	Message Kind = iota
	Status
	kinds
)

func (k Kind) String() string {
	if k == Status {
		return "status"
	}
	return "message"
}

// Options say what to generate. The zero value is fit for use.
type Options struct {
	Seed    uint64
	Format  string    // m1 (default), m2, m3, mixed; status events come in the format that goes with it
	Framing string    // auto and nul (default): a NUL after each frame; lf; octet: RFC 6587's count before it; none
	Header  string    // bare (default): PRI alone; rfc3164; rfc5424
	Start   time.Time // the clock of the first frame; default 2026-01-05 08:00 UTC
	// Step is how far the clock goes with each frame; default 1 ms.
	Step time.Duration
	// SeparatorShare is the share of ordinary subjects that hold the separator
	// `","`, which makes their frames ambiguous. It is at most 0.01.
	SeparatorShare float64
	// Lane and Lanes set generators with the same seed apart: Lanes of them
	// (default 1), each with its own Lane from 0, never give the same id.
	Lane, Lanes int
}

// Generator makes one stream of frames. It is for one goroutine.
type Generator struct {
	r       random
	walk    walk
	words   *words
	pairs   []*pair
	framing framing
	header  header

	separators  int // per million
	nanos, step int64
	second      int64
	stamp       []byte // the second in decimal
	headerTime  []byte // the second as the header has it

	m    message
	runs [runs]run
	live []story // messages with statuses to come; cap is fixed
}

// stories is how many messages may wait for their status events. The fuller it
// is, the likelier is a status event next: their share settles at what doc.go
// says.
const stories = 256

type framing uint8

const (
	framingNUL framing = iota
	framingLF
	framingOctet
	framingNone
)

type header uint8

const (
	headerBare header = iota
	header3164
	header5424
)

var framings = map[string]framing{"": framingNUL, "auto": framingNUL, "nul": framingNUL, "lf": framingLF, "octet": framingOctet, "none": framingNone}

var headers = map[string]header{"": headerBare, "bare": headerBare, "rfc3164": header3164, "rfc5424": header5424}

// New returns a generator, or an error that names the option.
func New(o Options) (*Generator, error) {
	pairs, err := pairsOf(o.Format)
	if err != nil {
		return nil, err
	}
	f, known := framings[strings.ToLower(o.Framing)]
	if !known {
		return nil, fmt.Errorf("cannot generate framing %q: the framings are auto, nul, lf, octet, none", o.Framing)
	}
	h, known := headers[strings.ToLower(o.Header)]
	if !known {
		return nil, fmt.Errorf("cannot generate header %q: the headers are bare, rfc3164, rfc5424", o.Header)
	}
	if !(o.SeparatorShare >= 0 && o.SeparatorShare <= 0.01) {
		return nil, fmt.Errorf("cannot generate a separator share of %v: it is from 0 to 0.01", o.SeparatorShare)
	}
	if o.Lanes == 0 {
		o.Lanes = 1
	}
	if o.Lane < 0 || o.Lane >= o.Lanes {
		return nil, fmt.Errorf("cannot generate lane %d of %d: lanes count from 0", o.Lane, o.Lanes)
	}
	if o.Start.IsZero() {
		o.Start = time.Date(2026, 1, 5, 8, 0, 0, 0, time.UTC)
	}
	if o.Step == 0 {
		o.Step = time.Millisecond
	}
	if o.Step < 0 {
		return nil, fmt.Errorf("cannot generate with a step of %v: time goes forward", o.Step)
	}
	return &Generator{
		r:          random(mix(o.Seed) ^ mix(uint64(o.Lane)<<32|uint64(o.Lanes))),
		walk:       newWalk(o.Seed, o.Lane, o.Lanes),
		words:      vocabulary(),
		pairs:      pairs,
		framing:    f,
		header:     h,
		separators: int(o.SeparatorShare * 1e6),
		nanos:      o.Start.UnixNano() - int64(o.Step),
		step:       int64(o.Step),
		m:          message{text: make([]byte, 0, 4096)},
		live:       make([]story, 0, stories),
	}, nil
}

// Next appends the next frame with its framing to dst and returns the extended
// buffer and what the frame is. It allocates nothing when dst has room for 4 KiB.
func (g *Generator) Next(dst []byte) ([]byte, Kind) {
	g.tick()
	at := len(dst)
	if g.framing == framingOctet {
		dst = append(dst, "00000 "...)
	}
	kind := Message
	if g.r.below(stories) < len(g.live) {
		kind = Status
		dst = g.appendStatus(dst)
	} else {
		g.compose()
		if len(g.m.rest) > 0 {
			g.live = append(g.live, g.m.story)
		}
		dst = g.appendMessage(dst)
	}
	switch g.framing {
	case framingNUL:
		dst = append(dst, 0)
	case framingLF:
		dst = append(dst, '\n')
	case framingOctet:
		dst = count(dst, at)
	}
	return dst, kind
}

// count writes the length of dst[at+6:] where room for six bytes was left, and
// closes up what the length does not need.
func count(dst []byte, at int) []byte {
	const room = len("00000 ")
	var b [20]byte
	length := strconv.AppendUint(b[:0], uint64(len(dst)-at-room), 10)
	n := copy(dst[at:], length)
	dst[at+n] = ' '
	n++
	return dst[:at+n+copy(dst[at+n:], dst[at+room:])]
}

func (g *Generator) tick() {
	g.nanos += g.step
	second := g.nanos / 1e9
	if second == g.second {
		return
	}
	g.second = second
	g.stamp = strconv.AppendInt(g.stamp[:0], second, 10)
	switch g.header {
	case header3164:
		g.headerTime = time.Unix(second, 0).UTC().AppendFormat(g.headerTime[:0], time.Stamp)
	case header5424:
		g.headerTime = time.Unix(second, 0).UTC().AppendFormat(g.headerTime[:0], "2006-01-02T15:04:05")
	}
}

// appendMillis writes the milliseconds of the clock as ".123".
func (g *Generator) appendMillis(dst []byte) []byte {
	ms := g.nanos / 1e6 % 1000
	return append(dst, '.', byte('0'+ms/100), byte('0'+ms/10%10), byte('0'+ms%10))
}

// appendHeader writes PRI (user.info, or user.warning for bad news) and the
// header.
func (g *Generator) appendHeader(dst []byte, host uint8, word string) []byte {
	pri := "<14>"
	switch word {
	case "rejected", "not-accepted", "bounced", "queue-bounced", "queue-frozen", "queue-expired":
		pri = "<12>"
	}
	dst = append(dst, pri...)
	switch g.header {
	case header3164:
		dst = append(append(dst, g.headerTime...), ' ')
		dst = append(append(dst, filteringHosts[host]...), " filter[4711]: "...)
	case header5424:
		dst = append(append(dst, "1 "...), g.headerTime...)
		dst = append(g.appendMillis(dst), "Z "...)
		dst = append(append(dst, filteringHosts[host]...), " filter 4711 - - "...)
	}
	return dst
}

func (g *Generator) appendMessage(dst []byte) []byte {
	m := &g.m
	dst = g.appendHeader(dst, m.host, m.status)
	return g.appendRow(dst, &m.format.message, &m.story, m.status, noTry)
}

func (g *Generator) appendStatus(dst []byte) []byte {
	i := g.r.below(len(g.live))
	s := &g.live[i]
	next := s.rest[0]
	s.rest = s.rest[1:]
	dst = g.appendHeader(dst, s.host, next.word)
	dst = g.appendRow(dst, &s.format.status, s, next.word, next.try)
	if len(s.rest) == 0 {
		last := len(g.live) - 1
		g.live[i] = g.live[last]
		g.live = g.live[:last]
	}
	return dst
}

func (g *Generator) appendRow(dst []byte, row *row, s *story, word string, t try) []byte {
	for i, c := range row.columns {
		dst = append(dst, row.literals[i]...)
		dst = g.appendColumn(dst, c, s, word, t)
	}
	return append(dst, row.literals[len(row.columns)]...)
}

func (g *Generator) appendColumn(dst []byte, c column, s *story, word string, t try) []byte {
	m := &g.m
	switch c {
	case colID:
		return appendID(dst, s.second, s.number, s.long)
	case colFilteringHost:
		return append(dst, filteringHosts[s.host]...)
	case colDomain:
		return append(dst, s.domain...)
	case colRecipient:
		return appendAddress(dst, s.rcptLocal, s.rcptDomain)
	case colStatus:
		return append(dst, word...)
	case colTimestamp:
		return g.appendMillis(append(dst, g.stamp...))
	case colSender:
		return append(dst, m.get(m.sender)...)
	case colSenderHost:
		return append(dst, m.get(m.rdns)...)
	case colHelo:
		return append(dst, m.get(m.helo)...)
	case colSenderIP:
		return append(dst, m.get(m.ip)...)
	case colSenderLocation:
		return append(dst, m.country...)
	case colIncomingSize:
		return strconv.AppendUint(dst, m.in, 10)
	case colOutgoingSize:
		return strconv.AppendUint(dst, m.out, 10)
	case colBandwidth:
		return strconv.AppendUint(dst, m.in+m.out, 10)
	case colClassification:
		return append(dst, classWords[m.class].classification...)
	case colDetails:
		return append(dst, m.get(m.details)...)
	case colCode:
		return append(dst, m.code...)
	case colMainClass:
		return append(dst, classWords[m.class].main...)
	case colSubClass:
		return append(dst, m.sub...)
	case colExtraClass:
		return append(dst, m.get(m.extra)...)
	case colAuthUser:
		return append(dst, m.get(m.auth)...)
	case colIdentity:
		return append(dst, m.get(m.identity)...)
	case colFrom:
		return append(dst, m.get(m.from)...)
	case colTo:
		return append(dst, m.get(m.to)...)
	case colCC:
		return append(dst, m.get(m.cc)...)
	case colSubject:
		return append(dst, m.get(m.subject)...)
	}
	if t == noTry { // nothing was tried: the delivery columns are empty
		return dst
	}
	return g.appendDelivery(dst, c, s, t)
}

func (g *Generator) appendDelivery(dst []byte, c column, s *story, t try) []byte {
	switch c {
	case colDeliveryIP:
		home := mix(uint64(s.rcptDomain[0])<<32 | uint64(s.rcptDomain[len(s.rcptDomain)/2])<<16 | uint64(len(s.rcptDomain)))
		if home&7 == 0 {
			return appendIPv6(dst, uint16(home>>16), uint16(home>>32), uint16(home>>48))
		}
		return appendIPv4(dst, 203, 0, 113, byte(home>>8))
	case colDeliveryPort:
		return append(dst, "25"...)
	case colDeliveryInterface:
		return appendIPv4(dst, 198, 51, 100, 10+s.host)
	case colDeliveryFQDN:
		if s.outgoing {
			dst = append(dst, "mx1."...)
		} else {
			dst = append(dst, "mail."...)
		}
		return append(dst, s.rcptDomain...)
	case colDeliveryData:
		switch t {
		case tryTaken:
			reply := remoteReplies[g.r.below(len(remoteReplies))]
			dst = append(dst, reply...)
			if reply[len(reply)-1] == ' ' {
				dst = eximid.AppendDigits(dst, s.number, 6)
			}
			return dst
		case tryDeferred:
			return appendReply(dst, deferrals[g.r.below(len(deferrals))], s)
		default:
			return appendReply(dst, failures[g.r.below(len(failures))], s)
		}
	}
	return dst
}

// appendReply writes a reply with the recipient in the place of each %.
func appendReply(dst []byte, reply string, s *story) []byte {
	for {
		before, after, found := strings.Cut(reply, "%")
		dst = append(dst, before...)
		if !found {
			return dst
		}
		dst = appendAddress(dst, s.rcptLocal, s.rcptDomain)
		reply = after
	}
}
