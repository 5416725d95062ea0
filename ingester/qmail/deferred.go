package qmail

import (
	"bytes"
	"hash/maphash"
	"sync"
)

// maxSender is how long a sender is that is remembered, in bytes; qmail-smtpd takes 900.
const maxSender = 1 << 10

// Deferred knows which deliveries will be tried again, and whose messages they are: the
// delivery log's first form says neither a message's number nor its sender when it is
// tried again. Decoders of a log and of what stands in its place after a rotation share
// one. It is safe for concurrent use.
type Deferred struct {
	most int

	mu     sync.Mutex
	queues map[uint64]deferrals // by a hash of the recipient
	oldest *deferral            // of all, in the order in which they were deferred
	newest *deferral
	idle   *deferral // a list of those that can be used again
	count  int
}

// deferrals are the deliveries to one recipient.
type deferrals struct {
	first, last *deferral
	unsure      bool // whose the next one is
}

// deferral is a delivery that will be tried again.
type deferral struct {
	earlier, later *deferral
	next           *deferral // to the same recipient
	recipient      uint64
	sender         []byte
	known          bool // the sender is
}

// NewDeferred makes one that knows of none, and will remember so many; of more, that which
// has waited for longest is forgotten. Each takes some 150 bytes, and its sender.
func NewDeferred(most int) *Deferred { return &Deferred{most: most, queues: map[uint64]deferrals{}} }

var recipientSeed = maphash.MakeSeed()

// put notes that a delivery was deferred. unsure: the sender may be another.
func (d *Deferred) put(recipient, sender []byte, known, unsure bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.count == d.most {
		d.remove(d.oldest)
	}
	x := d.idle
	if x != nil {
		d.idle = x.later
	} else {
		x = new(deferral)
	}
	*x = deferral{earlier: d.newest, recipient: maphash.Bytes(recipientSeed, recipient), sender: append(x.sender[:0], sender...), known: known}
	if d.newest != nil {
		d.newest.later = x
	} else {
		d.oldest = x
	}
	d.newest = x
	d.count++
	q := d.queues[x.recipient]
	if q.last != nil {
		q.unsure = q.unsure || !bytes.Equal(q.last.sender, x.sender) || q.last.known != known
		q.last.next = x
	} else {
		q.first = x
	}
	q.last, q.unsure = x, q.unsure || unsure
	d.queues[x.recipient] = q
}

// take takes the delivery out that has waited for longest of those to a recipient, and
// appends its sender.
func (d *Deferred) take(recipient, sender []byte) (_ []byte, known, unsure, ok bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	q, ok := d.queues[maphash.Bytes(recipientSeed, recipient)]
	if !ok {
		return sender, false, false, false
	}
	sender, known = append(sender, q.first.sender...), q.first.known
	d.remove(q.first)
	return sender, known, q.unsure, true
}

// doubt notes that one of the deliveries to a recipient may have been tried. It tells
// whether there are any.
func (d *Deferred) doubt(recipient []byte) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	hash := maphash.Bytes(recipientSeed, recipient)
	q, ok := d.queues[hash]
	if ok && !q.unsure {
		q.unsure = true
		d.queues[hash] = q
	}
	return ok
}

// remove takes out the first one to its recipient.
func (d *Deferred) remove(x *deferral) {
	if x.earlier != nil {
		x.earlier.later = x.later
	} else {
		d.oldest = x.later
	}
	if x.later != nil {
		x.later.earlier = x.earlier
	} else {
		d.newest = x.earlier
	}
	q := d.queues[x.recipient]
	if q.first = x.next; q.first == nil {
		delete(d.queues, x.recipient)
	} else {
		d.queues[x.recipient] = q
	}
	d.count--
	x.earlier, x.next, x.later = nil, nil, d.idle
	d.idle = x
}
