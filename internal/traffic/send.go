package traffic

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

// SendOptions say what to send, where to and how fast.
type SendOptions struct {
	To          string  // tcp://HOST:PORT or udp://HOST:PORT
	Count       uint64  // frames in all; 0: until the context ends
	Rate        float64 // frames a second in all; 0: as fast as TCP takes them, 20,000 over UDP
	Connections int     // default 1

	Seed           uint64
	Format         string // as in Options, like the next three
	Framing        string
	Header         string
	SeparatorShare float64
	Start          time.Time // default: now

	// Frames, if there are any, are sent in place of generated ones, again and again.
	// Of Seed to Start only Framing applies. Over UDP each is a datagram as it is.
	Frames [][]byte

	// Drain bounds the wait for the peer to take everything and close, after
	// the last frame on TCP; default 30 s.
	Drain time.Duration
	// Progress, if set, is called about every second with what has been sent.
	Progress func(Report)
}

// Report is what has been sent: frames that were handed to the kernel whole.
type Report struct {
	Frames  uint64
	Bytes   uint64
	ByKind  map[string]uint64
	Elapsed time.Duration
}

const (
	udpRate    = 20_000 // the pace of UDP when none is asked for: a receiver with default buffers keeps up
	batchBytes = 128 << 10
	maxFrame   = 4 << 10
	tcpDebt    = time.Second           // what a connection that stalled may catch up:
	udpDebt    = 10 * time.Millisecond // over UDP next to nothing, a burst overflows the receiver
	tick       = 2 * time.Millisecond  // the shortest sleep between two batches
	udpBurst   = 64                    // datagrams between two looks at the clock
	stopGrace  = 2 * time.Second       // for the write under way when the context ends
	dialBound  = 10 * time.Second
	flushEvery = 50 * time.Millisecond // the longest a frame waits in a batch
)

// sent is what all connections of a Send have sent so far.
type sent struct {
	replay bool
	bytes  atomic.Uint64
	byKind [kinds]atomic.Uint64
}

func (s *sent) report(since time.Time) Report {
	r := Report{Bytes: s.bytes.Load(), ByKind: make(map[string]uint64, kinds), Elapsed: time.Since(since)}
	for k := range kinds {
		n := s.byKind[k].Load()
		r.ByKind[k.String()] = n
		r.Frames += n
	}
	if s.replay {
		r.ByKind = map[string]uint64{"replayed": r.Frames}
	}
	return r
}

// Send generates traffic and sends it over Connections connections, each with
// a lane of its own of the seed. It returns when Count frames are sent and, on
// TCP, the peer has read all of them and closed; or when ctx ends, with ctx's
// error; or with the first error of a connection, which ends the others. The
// Report is right in each case, but for what TCP had taken and the peer not.
func Send(ctx context.Context, o SendOptions) (Report, error) {
	network, address, err := ParseTarget(o.To)
	if err != nil {
		return Report{}, err
	}
	if network == "udp" && o.Framing == "octet" {
		return Report{}, fmt.Errorf("cannot send octet counts to %q: a datagram is its own frame", o.To)
	}
	if o.Rate < 0 {
		return Report{}, fmt.Errorf("cannot send at a rate of %v frames a second", o.Rate)
	}
	if o.Connections == 0 {
		o.Connections = 1
	}
	if o.Connections < 0 || o.Connections > 10_000 {
		return Report{}, fmt.Errorf("cannot send over %d connections: 1 to 10000", o.Connections)
	}
	if o.Rate == 0 && network == "udp" {
		o.Rate = udpRate
	}
	if o.Drain == 0 {
		o.Drain = 30 * time.Second
	}
	if o.Start.IsZero() {
		o.Start = time.Now()
	}
	senders, err := newSenders(o, network, address)
	if err != nil {
		return Report{}, err
	}

	total := &sent{replay: len(o.Frames) > 0}
	begin := time.Now()
	run, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var group sync.WaitGroup
	var first error
	var once sync.Once
	for _, s := range senders {
		group.Go(func() {
			if err := s.run(run, total); err != nil {
				once.Do(func() { first = err })
				cancel(err)
			}
		})
	}
	finished := make(chan struct{})
	go func() {
		group.Wait()
		close(finished)
	}()
	report(o, total, begin, finished)
	return total.report(begin), first
}

func report(o SendOptions, total *sent, begin time.Time, finished <-chan struct{}) {
	if o.Progress == nil {
		<-finished
		return
	}
	every := time.NewTicker(time.Second)
	defer every.Stop()
	for {
		select {
		case <-finished:
			return
		case <-every.C:
			o.Progress(total.report(begin))
		}
	}
}

// sender is one connection.
type sender struct {
	g                source
	network, address string
	count            uint64 // 0 with endless
	endless          bool
	rate             float64 // 0: none
	debt             time.Duration
	drain            time.Duration
}

func newSenders(o SendOptions, network, address string) ([]*sender, error) {
	n := o.Connections
	if o.Count > 0 {
		n = int(min(uint64(n), o.Count))
	}
	rate := o.Rate / float64(n)
	debt := tcpDebt
	if network == "udp" {
		debt = udpDebt
	}
	step := time.Microsecond // without a rate the clock goes slower than the traffic, never into the future
	if rate > 0 {
		step = time.Duration(float64(time.Second) / rate)
	}
	senders := make([]*sender, n)
	for lane := range senders {
		g, err := newSource(o, network, step, lane, n)
		if err != nil {
			return nil, err
		}
		count := o.Count / uint64(n)
		if uint64(lane) < o.Count%uint64(n) {
			count++
		}
		senders[lane] = &sender{g, network, address, count, o.Count == 0, rate, debt, o.Drain}
	}
	return senders, nil
}

func newSource(o SendOptions, network string, step time.Duration, lane, lanes int) (source, error) {
	if len(o.Frames) > 0 {
		if network == "udp" {
			o.Framing = "none"
		}
		return newReplay(o.Frames, o.Framing, lane, lanes)
	}
	return New(Options{
		Seed: o.Seed, Format: o.Format, Framing: o.Framing, Header: o.Header, SeparatorShare: o.SeparatorShare,
		Start: o.Start, Step: step, Lane: lane, Lanes: lanes,
	})
}

func (s *sender) run(ctx context.Context, total *sent) error {
	dialer := net.Dialer{Timeout: dialBound}
	conn, err := dialer.DialContext(ctx, s.network, s.address)
	if err != nil {
		return fmt.Errorf("cannot connect to %s://%s: %w", s.network, s.address, err)
	}
	defer conn.Close()
	// A write that blocks when ctx ends gets a moment more, so that it is
	// rarely a frame that is cut.
	stop := context.AfterFunc(ctx, func() { _ = conn.SetWriteDeadline(time.Now().Add(stopGrace)) })
	defer stop()

	w := &batch{conn: conn, datagrams: s.network == "udp", total: total}
	w.buffer = make([]byte, 0, batchBytes+maxFrame)
	err = s.pump(ctx, w)
	if err == nil {
		err = w.flush()
	}
	if err != nil && !errors.Is(err, ctx.Err()) {
		return fmt.Errorf("cannot send to %s://%s: %w", s.network, s.address, err)
	}
	if tcp, isTCP := conn.(*net.TCPConn); isTCP {
		if closeErr := s.finish(ctx, tcp); err == nil {
			err = closeErr
		}
	}
	return err
}

// pump generates frames at the rate until the count is reached or ctx ends,
// and hands batches to w.
func (s *sender) pump(ctx context.Context, w *batch) error {
	begin := time.Now()
	flushed := begin
	var base, done uint64 // frames before begin, frames in all
	for s.endless || done < s.count {
		if ctx.Err() != nil {
			if err := w.flush(); err != nil {
				return err
			}
			return context.Cause(ctx)
		}
		burst := uint64(udpBurst)
		if s.rate > 0 {
			elapsed := time.Since(begin)
			due := base + uint64(elapsed.Seconds()*s.rate) + 1
			if debt := float64(due) - float64(done); debt > s.rate*s.debt.Seconds()+1 {
				begin, base = time.Now(), done
				continue
			}
			if due <= done {
				if err := w.flush(); err != nil {
					return err
				}
				next := time.Duration(float64(done-base) / s.rate * float64(time.Second))
				sleep(ctx, max(next-elapsed, tick))
				continue
			}
			burst = min(burst, due-done)
		}
		if !s.endless {
			burst = min(burst, s.count-done)
		}
		for range burst {
			w.add(s.g)
			done++
		}
		if now := time.Now(); w.full() || now.Sub(flushed) >= flushEvery {
			if err := w.flush(); err != nil {
				return err
			}
			flushed = now
		}
	}
	return nil
}

func sleep(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
}

// finish closes our half and waits for the peer to close its own, which it
// does when it has read everything.
func (s *sender) finish(ctx context.Context, conn *net.TCPConn) error {
	bound := s.drain
	if ctx.Err() != nil {
		bound = min(bound, stopGrace)
	}
	if err := conn.CloseWrite(); err != nil {
		return fmt.Errorf("cannot close the connection to %s: %w", s.address, err)
	}
	if err := conn.SetReadDeadline(time.Now().Add(bound)); err != nil {
		return fmt.Errorf("cannot set a deadline on the connection to %s: %w", s.address, err)
	}
	stop := context.AfterFunc(ctx, func() { _ = conn.SetReadDeadline(time.Now().Add(min(bound, stopGrace))) })
	defer stop()
	switch _, err := io.Copy(io.Discard, conn); {
	case err == nil:
		return nil
	case errors.Is(err, os.ErrDeadlineExceeded) && ctx.Err() == nil:
		return fmt.Errorf("cannot tell that %s took everything: it did not close the connection within %v", s.address, bound)
	case ctx.Err() != nil:
		return context.Cause(ctx)
	default:
		return fmt.Errorf("cannot tell that %s took everything: %w", s.address, err)
	}
}

// batch collects frames and writes them with one call on TCP, one by one on UDP.
type batch struct {
	conn      net.Conn
	datagrams bool
	total     *sent
	buffer    []byte
	ends      []uint32 // where each frame ends in buffer, times two, plus its kind
}

func (b *batch) add(g source) {
	var kind Kind
	b.buffer, kind = g.Next(b.buffer)
	b.ends = append(b.ends, uint32(len(b.buffer))<<1|uint32(kind))
}

func (b *batch) full() bool { return b.datagrams || len(b.buffer) >= batchBytes-udpBurst*maxFrame/4 }

// flush writes the frames and counts those that went out whole, also when the
// write failed in the middle.
func (b *batch) flush() error {
	if len(b.ends) == 0 {
		return nil
	}
	var written int
	var err error
	if b.datagrams {
		for _, end := range b.ends {
			if _, err = b.conn.Write(b.buffer[written : end>>1]); err != nil {
				break
			}
			written = int(end >> 1)
		}
	} else {
		written, err = b.conn.Write(b.buffer)
	}
	var byKind [kinds]uint64
	for _, end := range b.ends {
		if int(end>>1) > written {
			break
		}
		byKind[end&1]++
	}
	for k, n := range byKind {
		b.total.byKind[k].Add(n)
	}
	b.total.bytes.Add(uint64(written))
	b.buffer, b.ends = b.buffer[:0], b.ends[:0]
	return err
}
