package transport

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"

	"github.com/emersion/go-smtp"

	"millrace/ingester/framing"
	"millrace/schema"
)

// mailSession is what go-smtp asks: whose mail, for whom, and what becomes of it. On LMTP
// its answer is that for each recipient.
type mailSession struct {
	m    *mailListener
	c    *mailConn
	sc   *smtp.Conn
	from string
	to   []string

	chunks atomic.Bool // a message comes in chunks, and its last is not there
}

// Reset implements smtp.Session. A message in chunks that is given up ends the connection:
// go-smtp's goroutine for it may still be about to tell its result, to the next one.
func (s *mailSession) Reset() {
	s.from, s.to = "", nil
	if s.chunks.Load() {
		s.c.gaveUp = true
	}
}

// chunked notes the end of a message that comes in chunks.
type chunked struct {
	io.Reader
	s *mailSession
}

func (c chunked) Read(b []byte) (int, error) {
	n, err := c.Reader.Read(b)
	if err == io.EOF {
		c.s.chunks.Store(false)
	}
	return n, err
}

// Logout implements smtp.Session.
func (s *mailSession) Logout() error { return nil }

func reply(code int, enhanced smtp.EnhancedCode, format string, v ...any) error {
	return &smtp.SMTPError{Code: code, EnhancedCode: enhanced, Message: fmt.Sprintf(format, v...)}
}

func (s *mailSession) tooLarge() error {
	return reply(552, smtp.EnhancedCode{5, 3, 4}, "The message exceeds %d bytes (listeners[].max_frame)", s.m.o.MaxFrame)
}

// Mail implements smtp.Session.
func (s *mailSession) Mail(from string, o *smtp.MailOptions) error {
	if err := s.encrypted(); err != nil {
		return err
	}
	if o != nil && o.Size > int64(s.m.o.MaxFrame) {
		line := fmt.Sprintf("MAIL FROM:<%s> SIZE=%d", from, o.Size)
		ctx, cancel := context.WithTimeout(s.m.hard, s.m.patience)
		defer cancel()
		if err := s.deliver(ctx, s.oversize([]byte(line), int(o.Size))); err != nil {
			return err
		}
		return s.tooLarge()
	}
	s.from = from
	return nil
}

// encrypted holds a listener that wants certificates of its clients to that.
func (s *mailSession) encrypted() error {
	if s.m.startTLS == nil {
		return nil
	}
	current := s.m.startTLS.current.Load()
	if current.Config.ClientAuth != tls.RequireAndVerifyClientCert {
		return nil
	}
	state, ok := s.sc.TLSConnectionState()
	switch {
	case !ok:
		return reply(530, smtp.EnhancedCode{5, 7, 0}, "Must issue a STARTTLS command first (listeners[].tls.client_ca)")
	case current.admits(state) != nil: // since a reload
		s.m.stats.Refuse(s.c.peer.Addr())
		return reply(530, smtp.EnhancedCode{5, 7, 0}, "The certificate is not permitted any more (listeners[].tls)")
	}
	return nil
}

// Rcpt implements smtp.Session: whoever it is for, it is for us.
func (s *mailSession) Rcpt(to string, _ *smtp.RcptOptions) error {
	s.to = append(s.to, to)
	return nil
}

// Data implements smtp.Session. Its nil is the 250.
func (s *mailSession) Data(r io.Reader) error {
	if _, pipe := r.(*io.PipeReader); pipe {
		s.chunks.Store(true)
		r = chunked{r, s}
	}
	data, size, err := s.receive(r)
	defer s.m.inHand.Add(-int64(cap(data)))
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(s.m.hard, s.m.patience)
	defer cancel()
	if size > len(data) {
		if err := s.deliver(ctx, s.oversize(data[:min(len(data), framing.RejectHead)], size)); err != nil {
			return err
		}
		return s.tooLarge()
	}
	if len(bytes.TrimSpace(data)) == 0 {
		s.m.stats.Empty.Add(1)
		return nil
	}
	if s.m.forward != nil {
		if err := s.m.forward.send(ctx, s.m.hostname, s.from, s.to, data); err != nil {
			s.putOff(&s.m.stats.PutOffForward, "cannot forward a message, whose sender will try again (listeners[].forward_to)", err)
			return reply(451, smtp.EnhancedCode{4, 4, 0}, "Cannot forward the message, try again later")
		}
	}
	return s.deliver(ctx, framing.Frame{Bytes: data, Size: len(data), Ended: framing.ByCount})
}

func (s *mailSession) oversize(head []byte, size int) framing.Frame {
	return framing.Frame{Reject: schema.ReasonOversize, Bytes: head, Size: size,
		Detail: fmt.Sprintf("a message of %d bytes exceeds the limit of %d (listeners[].max_frame)", size, s.m.o.MaxFrame)}
}

// receive reads a message. Of one that is too long its beginning is in data, and all of
// it is in size. What data takes is counted in inHand, also with an error.
func (s *mailSession) receive(r io.Reader) (data []byte, size int, err error) {
	s.c.begin()
	defer s.c.end()
	most := s.m.o.MaxFrame
	for {
		if len(data) == cap(data) {
			if len(data) > most {
				break
			}
			more := min(max(2*cap(data), 8<<10), most+1)
			growth := int64(more - cap(data))
			if s.m.inHand.Add(growth) > int64(s.m.o.OpenFrames)+1 { // most and one byte more
				s.m.inHand.Add(-growth)
				io.Copy(io.Discard, r)
				s.putOff(&s.m.stats.PutOffMemory, "put off a message: those in hand fill listeners[].open_frames", nil)
				return data, 0, reply(451, smtp.EnhancedCode{4, 3, 1}, "Too much mail at once, try again later")
			}
			grown := make([]byte, len(data), more)
			copy(grown, data)
			data = grown
		}
		n, err := r.Read(data[len(data):cap(data)])
		data = data[:len(data)+n]
		switch {
		case err == io.EOF && len(data) <= most:
			return data, len(data), nil
		case err == io.EOF:
			return data[:most], len(data), nil
		case err != nil:
			return data, 0, s.broken(err)
		}
	}
	rest, err := io.Copy(io.Discard, r)
	if err != nil {
		return data, 0, s.broken(err)
	}
	return data[:most], len(data) + int(rest), nil
}

// broken is the answer to a message that did not come whole: whoever sent it has it.
func (s *mailSession) broken(err error) error {
	if s.m.stopping.Load() {
		return reply(421, smtp.EnhancedCode{4, 3, 2}, "Shutting down, try again later")
	}
	if errors.Is(err, smtp.ErrDataReset) { // its client's wish; go-smtp tells nobody
		return reply(451, smtp.EnhancedCode{4, 4, 2}, "The message was given up")
	}
	return reply(421, smtp.EnhancedCode{4, 4, 2}, "The message did not come whole")
}

// deliver gives a frame to the sink and waits until it is kept.
func (s *mailSession) deliver(ctx context.Context, f framing.Frame) error {
	kept := s.c.promise.make(&f)
	err := s.c.sink.Frame(s.c.peer, f)
	if err == nil {
		s.m.stats.Frames.Add(1)
	}
	s.c.sink.Flush()
	if err == nil {
		select {
		case <-kept:
			return nil
		case <-ctx.Done():
			err = ctx.Err()
		}
	}
	s.putOff(&s.m.stats.PutOffKafka, "a message is not kept, and its sender will try again (listeners[].answer_timeout)", err)
	return reply(451, smtp.EnhancedCode{4, 3, 0}, "Cannot keep the message now, try again later")
}

// putOff counts a message that is answered with 451.
func (s *mailSession) putOff(count interface{ Add(uint64) uint64 }, what string, err error) {
	count.Add(1)
	if n := s.m.notices.due(what); n > 0 {
		s.m.o.Logger.Warn(what, "count", n, "peer", s.c.peer, "error", err)
	}
}

// promise is the Receipts of one connection, which has one message at a time.
type promise struct {
	mu   sync.Mutex
	last uint32
	kept chan struct{}
}

// make gives the frame a receipt, and returns what is closed when it is kept.
func (p *promise) make(f *framing.Frame) <-chan struct{} {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.last++
	if p.last == 0 {
		p.last = 1 // 0 is none
	}
	f.Receipt, p.kept = p.last, make(chan struct{})
	return p.kept
}

// Kept implements Receipts.
func (p *promise) Kept(list []uint32) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, r := range list {
		if r == p.last && p.kept != nil {
			close(p.kept)
			p.kept = nil
		}
	}
}
