package transport

import (
	"io"
	"net"
	"sync"
	"time"

	"millrace/ingester/relp"
)

const (
	// relpWindow is how many frames of a connection may wait for their answers. A sender
	// has a window of its own, of 128 unless configured; a larger one than ours meets
	// back-pressure.
	relpWindow = 4096
	// answerPatience is how long a sender may leave its answers unread.
	answerPatience = 30 * time.Second
	// answerBytes is how much of them is written at a time.
	answerBytes = 4 << 10
)

// answers are what a RELP connection owes its sender: one `rsp` for each frame, in the
// frames' order, once it is kept. They are written by a goroutine that lives while there
// is something to write, so that who reports what is kept never waits for a sender.
type answers struct {
	to      io.Writer
	nc      net.Conn      // below it
	changed chan struct{} // something was kept or written, or writing has failed

	mu      sync.Mutex
	kept    [relpWindow / 64]uint64 // a ring: which of the frames from next on are kept
	at      int                     // next's place in it
	next    uint32                  // the oldest frame that is not kept
	waiting int                     // frames taken from next on
	ready   int                     // frames before next whose answers are to be written
	writing bool
	ended   bool // nothing is written any more: an error, or the connection's end
}

func newAnswers(to io.Writer, nc net.Conn) *answers {
	return &answers{to: to, nc: nc, changed: make(chan struct{}, 1)}
}

// take notes a frame that is given to the sink. There must be room.
func (a *answers) take(txnr uint32) {
	a.mu.Lock()
	if a.waiting == 0 {
		a.next = txnr
	}
	a.waiting++
	a.mu.Unlock()
}

// Kept implements Receipts.
func (a *answers) Kept(list []uint32) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, txnr := range list {
		// Numbers begin anew behind the largest.
		ahead := int(txnr) - int(a.next)
		if ahead < 0 {
			ahead += relp.MaxTXNR
		}
		if ahead >= a.waiting {
			continue // answered already, or none of ours
		}
		bit := (a.at + ahead) % relpWindow
		a.kept[bit/64] |= 1 << (bit % 64)
	}
	for a.waiting > 0 && a.kept[a.at/64]&(1<<(a.at%64)) != 0 {
		a.kept[a.at/64] &^= 1 << (a.at % 64)
		a.at = (a.at + 1) % relpWindow
		a.next = relp.After(a.next)
		a.waiting--
		a.ready++
	}
	if a.ready > 0 && !a.writing && !a.ended {
		a.writing = true
		go a.write()
	}
	a.signal()
}

func (a *answers) signal() {
	select {
	case a.changed <- struct{}{}:
	default:
	}
}

var answerBuffers = sync.Pool{New: func() any { return new([answerBytes]byte) }}

// write writes what is ready until nothing is.
func (a *answers) write() {
	room := answerBuffers.Get().(*[answerBytes]byte)
	defer answerBuffers.Put(room)
	buf := room[:]
	a.mu.Lock()
	defer a.mu.Unlock()
	for a.ready > 0 && !a.ended {
		buf = buf[:0]
		n := 0
		for ; n < a.ready && len(buf) < answerBytes-relp.HeaderMax; n++ {
			buf = relp.AppendOK(buf, before(a.next, a.ready-n))
		}
		a.mu.Unlock()
		err := a.send(buf)
		a.mu.Lock()
		if err != nil {
			a.ended = true
			a.nc.Close() // its reader may wait for more
			break
		}
		a.ready -= n
	}
	a.writing = false
	a.signal()
}

// before is the number n frames before txnr.
func before(txnr uint32, n int) uint32 {
	i := int(txnr) - n
	if i < 1 {
		i += relp.MaxTXNR
	}
	return uint32(i)
}

func (a *answers) send(b []byte) error {
	a.nc.SetWriteDeadline(time.Now().Add(answerPatience))
	_, err := a.to.Write(b)
	return err
}

// full says whether no further frame may be taken.
func (a *answers) full() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.waiting == relpWindow
}

// done says whether all is answered, or nothing more will be.
func (a *answers) done() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.ended || a.waiting == 0 && a.ready == 0 && !a.writing
}

// end lets no further answer be written, waits for a write that has begun, and returns
// how many answers are owed.
func (a *answers) end() (owed int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.ended = true
	for a.writing {
		a.mu.Unlock()
		<-a.changed
		a.mu.Lock()
	}
	return a.waiting + a.ready
}
