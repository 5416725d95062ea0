package qmail

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"millrace/schema"
)

// TestDelivery_Sender holds, over random queues, that an attempt without the flag
// sender_inferred has the sender that it was made for, and that hardly any has the flag
// where messages do not overlap but for those that wait for another try. Half way the log is rotated.
func TestDelivery_Sender(t *testing.T) {
	t.Parallel()
	for seed := range uint64(40) {
		overlap := seed%2 == 1
		q := &queue{rand: rand.New(rand.NewPCG(1, seed)), overlap: overlap}
		shared := NewDeferred(10_000)
		d := NewDelivery(Options{Deferred: shared})
		attempts, flagged := 0, 0
		emit := func(e *schema.Event) {
			attempts++
			number := e.Uint(dvNumber)
			switch {
			case e.Flagged()&schema.FlagSenderInferred != 0:
				flagged++
			case string(e.Text(dvSender)) != q.senders[number]:
				t.Errorf("seed %d: attempt %d is of %s, and was of %s", seed, number, e.Text(dvSender), q.senders[number])
			}
		}
		for n := range 4000 {
			if n == 2000 {
				for q.running() {
					q.result()
				}
				q.drain(t, d, emit)
				d.End(emit)
				d = NewDelivery(Options{Deferred: shared})
			}
			q.step()
			q.drain(t, d, emit)
		}
		if attempts < 1000 {
			t.Fatalf("seed %d: only %d attempts", seed, attempts)
		}
		if !overlap && flagged*50 > attempts {
			t.Errorf("seed %d: %d of %d attempts have the flag", seed, flagged, attempts)
		}
	}
}

// queue is qmail-send, more or less.
type queue struct {
	rand    *rand.Rand
	overlap bool // messages come while others are being delivered
	lines   []string
	at      time.Duration
	mail    int
	senders map[uint64]string // by attempt
	last    uint64
	tries   []delivery // that run
	waiting []delivery // deferred
}

type delivery struct {
	number            uint64
	sender, recipient string
}

func (q *queue) running() bool { return len(q.tries) > 0 }

func (q *queue) drain(t *testing.T, d Decoder, emit Emit) {
	for _, line := range q.lines {
		if reason, detail := d.Line(Line{Bytes: []byte(line)}, emit); reason != "" {
			t.Fatalf("%s: %s: %s", line, reason, detail)
		}
	}
	q.lines = q.lines[:0]
}

func (q *queue) say(format string, args ...any) {
	q.at += time.Duration(q.rand.IntN(3)) * time.Second
	stamp := time.Date(2021, 3, 9, 0, 0, 0, 0, time.UTC).Add(q.at).Format(time.DateTime)
	q.lines = append(q.lines, stamp+", "+fmt.Sprintf(format, args...))
}

func (q *queue) step() {
	switch n := q.rand.IntN(4); {
	case n == 0 && (q.overlap || !q.running()):
		q.mail++
		sender := fmt.Sprintf("s%d@example.org", q.mail)
		q.say("init, <%s>", sender)
		recipients := 100_000
		if q.overlap {
			recipients = 500
		}
		for range 1 + q.rand.IntN(3) {
			q.try(delivery{sender: sender, recipient: fmt.Sprintf("r%d@example.net", q.rand.IntN(recipients))})
		}
	case n == 1 && len(q.waiting) > 0 && (q.overlap || !q.running()):
		d := q.waiting[0]
		q.waiting = q.waiting[1:]
		q.try(d)
	case q.running():
		q.result()
	}
}

func (q *queue) try(d delivery) {
	if q.senders == nil {
		q.senders = map[uint64]string{}
	}
	q.last++
	d.number = q.last
	q.senders[d.number] = d.sender
	q.tries = append(q.tries, d)
	q.say("try, %d, remote, %s", d.number, d.recipient)
}

func (q *queue) result() {
	i := q.rand.IntN(len(q.tries))
	d := q.tries[i]
	q.tries = append(q.tries[:i], q.tries[i+1:]...)
	outcome := "success"
	if q.rand.IntN(3) == 0 {
		outcome = "deferral"
		q.waiting = append(q.waiting, d)
	}
	q.say("result, %d, %s, text", d.number, outcome)
}

// TestDeferred_Bound holds that the one that has waited for longest goes first.
func TestDeferred_Bound(t *testing.T) {
	t.Parallel()
	const most = 1000
	d := NewDeferred(most)
	name := func(n int) []byte { return fmt.Appendf(nil, "r%d@example.net", n) }
	for n := range most + 10 {
		d.put(name(n), []byte("s@example.org"), true, false)
	}
	for n := range most + 10 {
		sender, known, unsure, ok := d.take(name(n), nil)
		if ok != (n >= 10) || ok && (string(sender) != "s@example.org" || !known || unsure) {
			t.Fatalf("%d: %q %v %v %v", n, sender, known, unsure, ok)
		}
	}
	if len(d.queues) != 0 || d.count != 0 || d.oldest != nil || d.newest != nil {
		t.Errorf("%d queues and %d deliveries are left", len(d.queues), d.count)
	}
}

// A delivery that is deferred and tried again allocates nothing.
func TestDeferred_Allocs(t *testing.T) {
	const most = 1000
	d := NewDeferred(most)
	recipients := make([][]byte, 2*most)
	for n := range recipients {
		recipients[n] = fmt.Appendf(nil, "r%d@example.net", n)
	}
	sender, n := []byte("s@example.org"), 0
	again := func() {
		for range 1000 {
			d.put(recipients[n%len(recipients)], sender, true, false)
			if n%3 == 0 {
				sender, _, _, _ = d.take(recipients[(n/2)%len(recipients)], sender[:0])
				sender = append(sender[:0], "s@example.org"...)
			}
			n++
		}
	}
	for range 50 {
		again()
	}
	if got := testing.AllocsPerRun(100, again); got != 0 {
		t.Errorf("%v allocations", got)
	}
}
