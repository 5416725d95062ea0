package peers

import (
	"container/list"
	"math"
	"slices"
	"sync"
)

const (
	// Max is how many senders a table holds; one takes about 0.5 KiB.
	Max = 10_000
	// maxKey cuts what a sender claims as a name; a host's has 253 characters at most.
	maxKey = 255
	// clockSamples is how many of a sender's clock samples are kept.
	clockSamples = 15
	// window is the time over which the rate is weighted, in seconds.
	window = 60
)

// Counts are what a sender has sent.
type Counts struct {
	Frames  uint64 // those dropped included
	Rejects uint64 // frames that could not be decoded, those beyond the reject limit included
	Dropped uint64 // frames of which nothing is kept
	Bytes   uint64
}

func (c *Counts) add(o Counts) {
	c.Frames += o.Frames
	c.Rejects += o.Rejects
	c.Dropped += o.Dropped
	c.Bytes += o.Bytes
}

// Table is the account of the senders of one kind: the peers of a listener, or the
// filtering hosts. All methods may be called by any goroutine.
type Table struct {
	max int

	mu      sync.Mutex
	entries map[string]*entry
	order   *list.List // of *entry, the one heard last in front
	gone    Counts     // of those that made room
	evicted uint64
}

type entry struct {
	key   string
	place *list.Element
	Counts
	first, last int64   // Unix milliseconds
	rate        float64 // frames a second, as of last
	clock       [clockSamples]float32
	clocked     uint64

	host    string // of a peer: the filtering host of its events
	several bool   // of a peer: its events are of more than one
	named   bool   // of a filtering host: a syslog header has named it too
}

// New makes a table with room for max senders.
func New(max int) *Table {
	return &Table{max: max, entries: map[string]*entry{}, order: list.New()}
}

// commit adds what a tally has counted for one sender, and returns the one
// filtering host that the sender stands for, if any.
func (t *Table) commit(s *slot, now int64) (host string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	e := t.entries[string(s.key)]
	if e == nil {
		if s.aside {
			return ""
		}
		e = t.enter(s.key, now)
	}
	e.add(s.Counts)
	if s.aside {
		return ""
	}
	t.order.MoveToFront(e.place)
	e.rate = e.rate*fade(now-e.last) + float64(s.Frames)/window
	e.last = max(e.last, now)
	if s.clock != 0 {
		e.clock[e.clocked%clockSamples] = float32(s.clock-now) / 1000
		e.clocked++
	}
	e.named = e.named || s.named
	switch {
	case len(s.host) == 0:
	case s.several, e.host != "" && e.host != string(s.host):
		e.several = true
	case e.host == "":
		e.host = string(s.host)
	}
	if e.several {
		return ""
	}
	return e.host
}

// enter makes room for a new sender and takes it in.
func (t *Table) enter(key []byte, now int64) *entry {
	var e *entry
	if len(t.entries) >= t.max {
		e = t.order.Remove(t.order.Back()).(*entry) // the longest silent one's memory serves again
		delete(t.entries, e.key)
		t.gone.add(e.Counts)
		t.evicted++
		*e = entry{}
	} else {
		e = new(entry)
	}
	e.key, e.first, e.last = string(key), now, now
	e.place = t.order.PushFront(e)
	t.entries[e.key] = e
	return e
}

// blame counts rejects for the sender of that name, if the table has it.
func (t *Table) blame(key string, rejects uint64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if e := t.entries[key]; e != nil {
		e.Rejects += rejects
	}
}

// fade is what is left of a rate after so many milliseconds of silence.
func fade(millis int64) float64 { return math.Exp(-float64(max(millis, 0)) / (1000 * window)) }

// Sender is a reading of one sender's account.
type Sender struct {
	Key string // 16 bytes of an address, or a name
	Counts
	First, Last int64   // Unix milliseconds
	Rate        float64 // frames a second, weighted over about a minute
	Skew        float64 // seconds, positive: its clock is ahead; see the package comment
	Samples     uint64  // clock samples taken; 0: Skew says nothing

	Host    string // of a peer: the filtering host that its events name
	Several bool   // of a peer: they name more than one, Host is the first
	Named   bool   // of a filtering host: rejects that name it in their header are counted
}

// Reading is a table's state at one moment.
type Reading struct {
	Senders []Sender // heard last first
	Gone    Counts   // of senders that made room for others
	Evicted uint64   // how often one made room
}

// Read copies the table. Rates are as of now, in Unix milliseconds.
func (t *Table) Read(now int64) Reading {
	t.mu.Lock()
	copied := make([]entry, 0, len(t.entries))
	for at := t.order.Front(); at != nil; at = at.Next() {
		copied = append(copied, *at.Value.(*entry))
	}
	r := Reading{Gone: t.gone, Evicted: t.evicted}
	t.mu.Unlock()
	r.Senders = make([]Sender, len(copied))
	for i := range copied {
		e := &copied[i]
		s := Sender{
			Key: e.key, Counts: e.Counts, First: e.first, Last: e.last,
			Skew: e.skew(), Samples: e.clocked, Host: e.host, Several: e.several, Named: e.named,
		}
		// A young sender's rate is weighted over its life.
		s.Rate = e.rate * fade(now-e.last) / (1 - fade(max(now-e.first, 1000)))
		r.Senders[i] = s
	}
	return r
}

// skew is the median of the samples.
func (e *entry) skew() float64 {
	n := min(e.clocked, clockSamples)
	if n == 0 {
		return 0
	}
	kept := e.clock // a copy
	slices.Sort(kept[:n])
	return math.Round(1000*(float64(kept[n/2])+float64(kept[(n-1)/2]))/2) / 1000
}
