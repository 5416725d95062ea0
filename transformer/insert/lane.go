package insert

import (
	"context"
	"errors"
	"net"
	"sync"
	"time"

	"github.com/ClickHouse/ch-go/compress"
	"github.com/ClickHouse/clickhouse-go/v2"
	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"
	"github.com/ClickHouse/clickhouse-go/v2/lib/proto"

	"millrace/internal/crashpoint"
	"millrace/transformer/block"
)

// A lane is a driver's pool of exactly one connection, of which we know the socket. The
// driver dials, logs in, sends the INSERT with its settings, and reads the answer. The
// block itself, which it has no way to take ready-made over the native protocol, is
// written to the socket between the two by us: to the driver it is an INSERT without
// rows of its own.
//
// What makes this sound: the pool has one connection, which PrepareBatch takes and Send
// or Abort gives back, and the driver writes nothing in between. A connection that is
// dialed anew is noted before it is used.
type lane struct {
	conn    driver.Conn
	socket  net.Conn // the newest; the driver's, and ours between PrepareBatch and Send
	columns []int
	native  block.Native
	writer  writer
}

// The block is written for a revision with custom serialization, which servers have
// announced since 22.1; the driver must speak it too.
var _ = [1]struct{}{}[min(proto.DBMS_TCP_PROTOCOL_VERSION, proto.DBMS_MIN_REVISION_WITH_CUSTOM_SERIALIZATION)-proto.DBMS_MIN_REVISION_WITH_CUSTOM_SERIALIZATION]

// lanes are as many as there have been INSERTs at a time.
type lanes struct {
	options clickhouse.Options

	mutex  sync.Mutex
	free   []*lane
	closed bool
}

var errClosed = errors.New("the connections to ClickHouse are closed")

// take returns a lane that nobody else has until put.
func (p *lanes) take() (*lane, error) {
	p.mutex.Lock()
	defer p.mutex.Unlock()
	if p.closed {
		return nil, errClosed
	}
	if n := len(p.free); n > 0 {
		l := p.free[n-1]
		p.free = p.free[:n-1]
		return l, nil
	}
	l := new(lane)
	o := p.options
	o.MaxOpenConns, o.MaxIdleConns = 1, 1
	dial := o.DialContext
	o.DialContext = func(ctx context.Context, address string) (net.Conn, error) {
		c, err := dial(ctx, address)
		if err == nil {
			l.socket = c
		}
		return c, err
	}
	l.writer.method = o.Compression
	var err error
	l.conn, err = clickhouse.Open(&o)
	return l, err
}

func (p *lanes) put(l *lane) {
	p.mutex.Lock()
	defer p.mutex.Unlock()
	if p.closed {
		_ = l.conn.Close()
		return
	}
	p.free = append(p.free, l)
}

func (p *lanes) close() error {
	p.mutex.Lock()
	defer p.mutex.Unlock()
	p.closed = true
	var err error
	for _, l := range p.free {
		err = errors.Join(err, l.conn.Close())
	}
	p.free = nil
	return err
}

// write sends the block as one Data packet.
func (l *lane) write(b *block.Block, deadline time.Time) error {
	defer l.native.Sent()
	pieces := l.native.Encode(b, l.columns, true)
	if first, now := crashpoint.Half("halfsent", pieces); now {
		_ = l.writer.packet(bare(l.socket), first, deadline)
		crashpoint.Die()
	}
	return l.writer.packet(bare(l.socket), pieces, deadline)
}

// frameBytes is how much is compressed at a time: ClickHouse's own
// max_compress_block_size.
const frameBytes = 1 << 20

// pieceBytes is how much is gathered for one write where a socket takes one piece only.
const pieceBytes = 64 << 10

// writer writes Data packets. It keeps its memory.
type writer struct {
	method   *clickhouse.Compression
	compress *compress.Writer
	gathered []byte
	vector   net.Buffers
}

// dataPacket begins one: the packet's type, and the name of the external table, of
// which there is none.
var dataPacket = []byte{proto.ClientData, 0}

// packet writes pieces, which are the caller's and are only read.
func (w *writer) packet(to net.Conn, pieces [][]byte, deadline time.Time) error {
	if w.method != nil && w.method.Method != clickhouse.CompressionNone {
		return w.compressed(to, pieces, deadline)
	}
	if tcp, ok := to.(*net.TCPConn); ok {
		return w.vectored(tcp, pieces, deadline)
	}
	w.gathered = append(w.gathered[:0], dataPacket...)
	for _, p := range pieces {
		if len(w.gathered)+len(p) > pieceBytes {
			if err := send(to, w.gathered, deadline); err != nil {
				return err
			}
			w.gathered = w.gathered[:0]
		}
		if len(p) > pieceBytes {
			if err := send(to, p, deadline); err != nil {
				return err
			}
			continue
		}
		w.gathered = append(w.gathered, p...)
	}
	return send(to, w.gathered, deadline)
}

// vectored lets the kernel gather. A server that does not read for writeTimeout while
// about vectorBytes are written is given up.
func (w *writer) vectored(to *net.TCPConn, pieces [][]byte, deadline time.Time) error {
	w.vector = append(w.vector[:0], dataPacket)
	defer func() { clear(w.vector[:cap(w.vector)]) }()
	bytes := 0
	flush := func() error {
		if err := to.SetWriteDeadline(writeDeadline(deadline)); err != nil {
			return err
		}
		v := w.vector // WriteTo moves its receiver on
		_, err := v.WriteTo(to)
		w.vector, bytes = w.vector[:0], 0
		return err
	}
	for _, p := range pieces {
		w.vector = append(w.vector, p)
		if bytes += len(p); bytes >= vectorBytes {
			if err := flush(); err != nil {
				return err
			}
		}
	}
	return flush()
}

const vectorBytes = 4 << 20

func (w *writer) compressed(to net.Conn, pieces [][]byte, deadline time.Time) error {
	if w.compress == nil {
		w.compress = compress.NewWriter(compress.Level(w.method.Level), compress.Method(w.method.Method))
	}
	frame := func(b []byte) error {
		if err := w.compress.Compress(b); err != nil {
			return err
		}
		return send(to, w.compress.Data, deadline)
	}
	if err := send(to, dataPacket, deadline); err != nil {
		return err
	}
	w.gathered = w.gathered[:0]
	for _, p := range pieces {
		for len(p) > 0 {
			if len(w.gathered) == 0 && len(p) >= frameBytes {
				if err := frame(p[:frameBytes]); err != nil {
					return err
				}
				p = p[frameBytes:]
				continue
			}
			n := min(len(p), frameBytes-len(w.gathered))
			w.gathered, p = append(w.gathered, p[:n]...), p[n:]
			if len(w.gathered) == frameBytes {
				if err := frame(w.gathered); err != nil {
					return err
				}
				w.gathered = w.gathered[:0]
			}
		}
	}
	if len(w.gathered) == 0 {
		return nil
	}
	return frame(w.gathered)
}

// bare is c without the bound on its writes: ours have a deadline of their own.
func bare(c net.Conn) net.Conn {
	switch b := c.(type) {
	case systemConn:
		return b.Conn
	case boundConn:
		return b.Conn
	}
	return c
}

// send writes b, within writeTimeout and before the deadline.
func send(to net.Conn, b []byte, deadline time.Time) error {
	if err := to.SetWriteDeadline(writeDeadline(deadline)); err != nil {
		return err
	}
	_, err := to.Write(b)
	return err
}

func writeDeadline(deadline time.Time) time.Time {
	if t := time.Now().Add(writeTimeout); t.Before(deadline) {
		return t
	}
	return deadline
}
