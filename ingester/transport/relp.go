package transport

import (
	"fmt"
	"time"

	"millrace/ingester/framing"
	"millrace/ingester/relp"
	"millrace/schema"
)

// relpSoftware is what we call ourselves to senders.
const relpSoftware = "millrace"

// closePatience is how long a sender may take to close its side once we have, so that
// it has read its answers before the connection goes.
const closePatience = 5 * time.Second

// listenRELP is TCP on which senders are told what is safe: see package relp for the
// frames and answers.go for the answers.
func listenRELP(o Options) (Listener, error) {
	l, err := newTCP(o)
	if err != nil {
		return nil, err
	}
	l.speak = speakRELP
	return l, nil
}

func speakRELP(c *conn, open func(Receipts) Sink) (protocol, Sink) {
	c.bearSilence(answerPatience)
	s := &relpSession{c: c, parser: relp.NewParser(c.l.o.MaxFrame), answers: newAnswers(c.io, c.nc)}
	return s, open(s.answers)
}

// relpSession is the protocol of one RELP connection.
type relpSession struct {
	c       *conn
	parser  *relp.Parser
	answers *answers
	opened  bool
	broken  bool
	held    bool   // Next has left frames, as too many have no answer yet
	closed  uint32 // number of the sender's close, once it has come
}

// Next implements protocol. What is no RELP is a reject, and ends the connection, and so
// does what a sender must not ask for. An unfinished frame at the end is nothing: its
// sender has no answer, and sends it again.
func (s *relpSession) Next(data []byte, _ framing.End) (f framing.Frame, advance int, ok bool) {
	for {
		if s.broken || s.closed != 0 {
			return f, len(data), false
		}
		if s.held = s.answers.full(); s.held {
			return f, advance, false
		}
		r, n, complete, err := s.parser.Next(data[advance:])
		if err != nil {
			return s.breaks(data[advance:], err), len(data), true
		}
		advance += n
		if !complete {
			return f, advance, false
		}
		switch command := string(r.Command); {
		case command == relp.Syslog && s.opened:
			return s.message(r), advance, true
		case command == relp.Open && !s.opened:
			err = s.open(r)
		case command == relp.Close && s.opened:
			s.closed = r.TXNR
		default:
			err = fmt.Errorf("the command %q is not known, or not allowed here", r.Command)
		}
		if err != nil {
			return s.breaks(data[advance-n:advance], err), len(data), true
		}
	}
}

// message makes the frame of a message.
func (s *relpSession) message(r relp.Frame) framing.Frame {
	s.answers.take(r.TXNR)
	f := framing.Whole(r.Data)
	if r.TooLong {
		f = framing.Frame{Reject: schema.ReasonOversize, Bytes: r.Data, Size: r.Size,
			Detail: fmt.Sprintf("a message of %d bytes exceeds the limit of %d (listeners[].max_frame)", r.Size, s.c.l.o.MaxFrame)}
	} else {
		f.Ended = framing.ByCount
	}
	f.Receipt = r.TXNR
	if f.Drop != "" {
		s.answers.Kept([]uint32{r.TXNR}) // it goes no further
	}
	return f
}

func (s *relpSession) open(r relp.Frame) error {
	offers, err := relp.ParseOffers(r.Data)
	if err != nil {
		s.answers.send(relp.AppendRefusal(nil, r.TXNR, err.Error()))
		return err
	}
	s.opened = true
	return s.answers.send(relp.AppendAccept(nil, r.TXNR, offers, relpSoftware))
}

// breaks makes the reject of what ends the session.
func (s *relpSession) breaks(b []byte, err error) framing.Frame {
	s.broken = true
	const what = "closed a connection that does not speak RELP"
	if n := s.c.l.notices.due(what); n > 0 {
		s.c.l.o.Logger.Warn(what, "count", n, "peer", s.c.peer, "error", err, "begins", string(b[:min(len(b), 40)]))
	}
	return framing.Frame{Reject: schema.ReasonBadFrame, Detail: "no RELP: " + err.Error(),
		Bytes: b[:min(len(b), framing.RejectHead)], Size: len(b), Close: true}
}

// EndsOnIdle implements protocol: a frame has a length.
func (s *relpSession) EndsOnIdle(int) bool { return false }

// Flow implements protocol.
func (s *relpSession) Flow() flow {
	switch {
	case s.closed != 0:
		return over
	case s.held:
		return held
	}
	return flowing
}

// Wait implements protocol.
func (s *relpSession) Wait() {
	for s.answers.full() {
		select {
		case <-s.answers.changed:
		case <-s.c.l.woken:
			return
		}
	}
}

// Owes implements protocol.
func (s *relpSession) Owes() bool { return !s.answers.done() }

// End implements protocol: it answers what gets kept until a stop's deadline, tells the
// sender that this is all, and gives it time to read that.
func (s *relpSession) End(orderly bool) {
	if orderly && !s.broken {
		for !s.answers.done() {
			select {
			case <-s.answers.changed:
				continue
			case <-s.c.l.hard.Done():
			}
			break
		}
	} else {
		s.c.nc.Close() // ends a write that has begun
	}
	owed := s.answers.end()
	s.c.l.stats.Unanswered.Add(uint64(owed))
	if !orderly || s.broken || owed > 0 {
		return
	}
	var b []byte
	if s.closed != 0 {
		b = relp.AppendOK(b, s.closed)
	}
	if s.answers.send(relp.AppendServerClose(b)) != nil {
		return
	}
	// To close with input unread would reset the connection, and the sender could lose
	// answers that it has not read yet.
	if half, ok := s.c.io.(interface{ CloseWrite() error }); ok && half.CloseWrite() == nil {
		s.c.nc.SetReadDeadline(time.Now().Add(closePatience))
		s.c.discard()
	}
}
