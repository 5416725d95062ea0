package tap

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net/netip"

	"millrace/ingester/framing"
	"millrace/ingester/header"
	"millrace/schema"
)

// Item is one frame, and what became of it.
type Item struct {
	Received  int64 // Unix milliseconds
	Peer      netip.AddrPort
	Listener  string
	Transport string
	Kind      *schema.Kind
	Format    string        // of an event
	Reason    string        // of a reject
	Drop      schema.Reason // why nothing of it went to Kafka; "" if it did

	PRI                header.PRIState
	Facility, Severity uint8
	BOM                bool
	Style              header.Style
	Ended              framing.Ended
	Trailer, Lead      framing.Delimiters

	Size   int    // of the frame; more than len(Frame) when it was too long to be kept
	Frame  []byte // as it came, without count and trailer
	Record []byte // the event as Kafka gets it; a capture has none
}

// What an item of the stream is: a frame, or the counts.
const (
	tagFrame byte = iota + 1
	tagCounts
)

// maxItem bounds what a reader believes: the longest frame twice, and more.
const maxItem = 16 << 20

// Positions of fields that each kind has elsewhere; -1: it has not.
var (
	domainOf = positions("domain")
	reasonOf = schema.Reject.Index("reason")
)

// positions are those of the kinds that have such a field.
func positions(field string) map[*schema.Kind]int {
	of := map[*schema.Kind]int{}
	for _, k := range schema.Kinds() {
		if i := k.Index(field); i >= 0 {
			of[k] = i
		}
	}
	return of
}

// appendFrame adds a frame to dst as an item. It must agree with Item.read.
func appendFrame(dst []byte, e *schema.Event, h *header.Header, f *framing.Frame, peer netip.AddrPort, drop schema.Reason, events bool) []byte {
	at := len(dst)
	dst = append(dst, 0, 0, 0, 0, tagFrame)
	dst = binary.AppendVarint(dst, e.Millis(schema.ReceivedAt))
	address := peer.Addr().As16()
	dst = append(dst, b2u(peer.IsValid()))
	dst = append(dst, address[:]...)
	dst = binary.BigEndian.AppendUint16(dst, peer.Port())
	dst = appendText(dst, e.Text(schema.Listener))
	dst = appendText(dst, e.Text(schema.Transport))
	dst = appendText(dst, e.Kind.Name)
	dst = appendText(dst, e.Text(schema.Format))
	if e.Kind == schema.Reject {
		dst = appendText(dst, e.Text(reasonOf))
	} else {
		dst = appendText(dst, "")
	}
	dst = appendText(dst, drop)
	dst = append(dst, byte(h.PRI), h.Facility, h.Severity, b2u(h.BOM), byte(h.Style), byte(f.Ended))
	dst = binary.BigEndian.AppendUint16(dst, uint16(f.Trailer))
	dst = binary.BigEndian.AppendUint16(dst, uint16(f.Lead))
	dst = binary.AppendUvarint(dst, uint64(max(f.Size, len(f.Bytes))))
	dst = appendText(dst, f.Bytes)
	if events {
		dst = schema.AppendRecord(dst, e)
	}
	binary.BigEndian.PutUint32(dst[at:], uint32(len(dst)-at-4))
	return dst
}

func appendText[T ~string | ~[]byte](dst []byte, s T) []byte {
	return append(binary.AppendUvarint(dst, uint64(len(s))), s...)
}

func b2u(b bool) byte {
	if b {
		return 1
	}
	return 0
}

// errItem is a stream that this program cannot read.
var errItem = errors.New("cannot read what the ingester sends: it is of another version, or was cut")

// read fills the item from b, of which Frame and Record are views.
func (it *Item) read(b []byte) error {
	d := decoder{b: b}
	it.Received = d.varint()
	valid := d.byte() != 0
	address := [16]byte(d.take(16))
	port := d.uint16()
	it.Peer = netip.AddrPort{}
	if valid {
		it.Peer = netip.AddrPortFrom(netip.AddrFrom16(address).Unmap(), port)
	}
	it.Listener, it.Transport = string(d.text()), string(d.text())
	it.Kind = schema.KindByName(string(d.text()))
	it.Format, it.Reason, it.Drop = string(d.text()), string(d.text()), schema.Reason(d.text())
	it.PRI, it.Facility, it.Severity, it.BOM = header.PRIState(d.byte()), d.byte(), d.byte(), d.byte() != 0
	it.Style, it.Ended = header.Style(d.byte()), framing.Ended(d.byte())
	it.Trailer, it.Lead = framing.Delimiters(d.uint16()), framing.Delimiters(d.uint16())
	it.Size = int(d.uvarint())
	it.Frame = d.text()
	it.Record = d.b
	if d.bad || it.Kind == nil || it.Style > header.RFC5424 || it.Size < len(it.Frame) {
		return errItem
	}
	return nil
}

// decoder takes values off b; after the first that is not there all are zero.
type decoder struct {
	b   []byte
	bad bool
}

var zeros [16]byte

func (d *decoder) take(n int) []byte {
	if n > len(d.b) {
		d.bad, d.b = true, nil
		return zeros[:min(n, len(zeros))]
	}
	v := d.b[:n:n]
	d.b = d.b[n:]
	return v
}

func (d *decoder) byte() byte     { return d.take(1)[0] }
func (d *decoder) uint16() uint16 { return binary.BigEndian.Uint16(d.take(2)) }

func (d *decoder) varint() int64 {
	v, n := binary.Varint(d.b)
	d.take(d.length(n))
	return v
}

func (d *decoder) uvarint() uint64 {
	v, n := binary.Uvarint(d.b)
	d.take(d.length(n))
	return v
}

// length is that of a varint, or more than there is.
func (d *decoder) length(n int) int {
	if n <= 0 {
		return len(d.b) + 1
	}
	return n
}

func (d *decoder) text() []byte {
	n := d.uvarint()
	if n > uint64(len(d.b)) {
		d.bad, d.b = true, nil
		return nil
	}
	return d.take(int(n))
}

// Reader reads the items of /capture.
type Reader struct {
	r   *bufio.Reader
	buf []byte

	Counts Counts // as last told
	End    string // why the stream ended; "" until it has
}

// NewReader reads from r.
func NewReader(r io.Reader) *Reader { return &Reader{r: bufio.NewReaderSize(r, 256<<10)} }

// Next reads a frame into it, whose slices are good until the next call. io.EOF
// says that the ingester has ended the stream, End why.
func (r *Reader) Next(it *Item) error {
	for {
		b, err := r.item()
		if err != nil {
			return err
		}
		switch b[0] {
		case tagFrame:
			return it.read(b[1:])
		case tagCounts:
			if err := r.Counts.read(b[1:], &r.End); err != nil {
				return err
			}
			if r.End != "" {
				return io.EOF
			}
		default:
			return errItem
		}
	}
}

func (r *Reader) item() ([]byte, error) {
	var length [4]byte
	if _, err := io.ReadFull(r.r, length[:]); err != nil {
		return nil, ended(err)
	}
	n := int(binary.BigEndian.Uint32(length[:]))
	if n == 0 || n > maxItem {
		return nil, errItem
	}
	if cap(r.buf) < n {
		r.buf = make([]byte, max(n, 64<<10))
	}
	r.buf = r.buf[:n]
	if _, err := io.ReadFull(r.r, r.buf); err != nil {
		return nil, ended(err)
	}
	return r.buf, nil
}

// ended: the stream's own end comes with the counts.
func ended(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

// Counts say what became of the frames since a tap was opened.
type Counts struct {
	Shown     uint64 `json:"shown"`
	OverRate  uint64 `json:"over_rate"` // matched, and came faster than the rate
	Missed    uint64 `json:"missed"`    // matched, and the reader was too slow for them
	Unmatched uint64 `json:"not_matched"`
}

// NotShown are the frames that matched and that the reader does not get.
func (c Counts) NotShown() uint64 { return c.OverRate + c.Missed }

func (c Counts) String() string {
	return fmt.Sprintf("%d shown, %d over the rate, %d missed, %d not matched", c.Shown, c.OverRate, c.Missed, c.Unmatched)
}

func (c Counts) appendItem(dst []byte, end string) []byte {
	at := len(dst)
	dst = append(dst, 0, 0, 0, 0, tagCounts)
	for _, n := range []uint64{c.Shown, c.OverRate, c.Missed, c.Unmatched} {
		dst = binary.AppendUvarint(dst, n)
	}
	dst = appendText(dst, end)
	binary.BigEndian.PutUint32(dst[at:], uint32(len(dst)-at-4))
	return dst
}

func (c *Counts) read(b []byte, end *string) error {
	d := decoder{b: b}
	for _, n := range []*uint64{&c.Shown, &c.OverRate, &c.Missed, &c.Unmatched} {
		*n = d.uvarint()
	}
	*end = string(d.text())
	if d.bad {
		return errItem
	}
	return nil
}
