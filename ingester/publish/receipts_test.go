package publish

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"time"

	"millrace/schema"
)

// told is a receiver of receipts.
type told struct {
	mu   sync.Mutex
	list []uint32
}

func (r *told) Kept(list []uint32) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.list = append(r.list, list...)
}

func (r *told) all() []uint32 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.list)
}

// confirmed appends events of a kind whose receipts, from first on, go to a receiver.
func confirmed(t testing.TB, p *Publisher, k *schema.Kind, to Receipts, first uint32, n int) {
	e := event()
	e.Reset(k)
	e.SetMillis(schema.ReceivedAt, 1_700_000_000_000)
	l := p.Acquire()
	defer l.Release()
	for i := range n {
		if err := l.Append(context.Background(), e, 0); err != nil {
			t.Fatal(err)
		}
		l.Confirm(k, to, first+uint32(i))
	}
}

func numbers(from uint32, n int) (list []uint32) {
	for i := range n {
		list = append(list, from+uint32(i))
	}
	return list
}

// held is a stub whose produce requests wait to be let go, one by one.
func held() (s *stub, asked chan string, answer chan error) {
	asked, answer = make(chan string, 100), make(chan error)
	return &stub{leaders: []int32{1, 2}, onProduce: func(r *produceRequest) error {
		asked <- r.Topics[0].Topic
		return <-answer
	}}, asked, answer
}

// TestConfirm: receipts come after Kafka's acknowledgement, each to its receiver, in the
// order of appending, and for no record without one.
func TestConfirm(t *testing.T) {
	t.Parallel()
	s, asked, answer := held()
	p, _ := runStub(t, s, func(o *Options) { o.Linger, o.Lanes = time.Hour, 1 })
	var a, b told
	l := p.Acquire()
	e := event()
	for i, to := range []Receipts{&a, nil, &a, &b, &a, nil} {
		if err := l.Append(context.Background(), e, 0); err != nil {
			t.Fatal(err)
		}
		if to != nil {
			l.Confirm(e.Kind, to, uint32(10+i))
		}
	}
	l.Release() // nothing lingers: somebody waits
	<-asked
	if len(a.all())+len(b.all()) != 0 {
		t.Errorf("receipts before the acknowledgement: %v %v", a.all(), b.all())
	}
	answer <- errors.New("the connection broke") // it is sent again
	<-asked
	if len(a.all())+len(b.all()) != 0 {
		t.Errorf("receipts after a failure: %v %v", a.all(), b.all())
	}
	answer <- nil
	within(t, "all receipts", func() bool { return len(a.all()) == 3 && len(b.all()) == 1 })
	if !slices.Equal(a.all(), []uint32{10, 12, 14}) || !slices.Equal(b.all(), []uint32{13}) {
		t.Errorf("%v %v", a.all(), b.all())
	}
	if n := p.Stats().Records.Load(); n != 6 {
		t.Errorf("%d records", n)
	}
}

// TestConfirm_Together: while a batch is under way the next ones of its kind are filled
// and leave after it, one and not many; another kind does not wait for them.
func TestConfirm_Together(t *testing.T) {
	t.Parallel()
	s, asked, answer := held()
	p, _ := runStub(t, s, func(o *Options) { o.Linger, o.Lanes = time.Hour, 1 })
	var a told
	confirmed(t, p, schema.Message, &a, 1, 1)
	if topic := <-asked; topic != "message" {
		t.Errorf("the first batch goes to %s", topic)
	}
	for i := range uint32(50) {
		confirmed(t, p, schema.Message, &a, 2+i, 1)
	}
	confirmed(t, p, schema.Reject, &a, 100, 1)
	if topic := <-asked; topic != "reject" {
		t.Errorf("the second batch goes to %s", topic)
	}
	answer <- nil
	answer <- nil
	if topic := <-asked; topic != "message" {
		t.Errorf("the third batch goes to %s", topic)
	}
	answer <- nil
	within(t, "all receipts", func() bool { return len(a.all()) == 52 })
	if n := p.Stats().Batches.Load(); n != 3 {
		t.Errorf("%d batches", n)
	}
	list := a.all()
	slices.Sort(list)
	if want := append(numbers(1, 51), 100); !slices.Equal(list, want) {
		t.Errorf("have %v\nwant %v", list, want)
	}
}

// TestConfirm_Lost: nobody is told of what a hard stop gives up.
func TestConfirm_Lost(t *testing.T) {
	t.Parallel()
	o := Options{Brokers: []string{"127.0.0.1:1"}, Transport: &stub{leaders: []int32{1}, onProduce: func(*produceRequest) error { return errors.New("away") }},
		BatchBytes: 64 << 10, BufferBytes: 8 << 20}
	p, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	hard, kill := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- p.Run(context.Background(), hard) }()
	var a told
	confirmed(t, p, schema.Message, &a, 1, 10)
	within(t, "sends fail", func() bool { return p.Stats().Retries.Load() > 0 })
	confirmed(t, p, schema.Message, &a, 11, 10)
	kill()
	if err := <-ended; !errors.Is(err, ErrLost) {
		t.Errorf("Run: %v", err)
	}
	if len(a.all()) != 0 {
		t.Errorf("receipts for what is lost: %v", a.all())
	}
}

// counting is a receiver that costs nothing.
type counting struct{ n int }

func (c *counting) Kept(list []uint32) { c.n += len(list) }

// TestConfirm_Allocs: a receipt costs nothing once a batch has had as many.
func TestConfirm_Allocs(t *testing.T) {
	var r receipts
	to := []*counting{{}, {}, {}}
	fill := func() {
		for i := range 1000 {
			r.add(to[i/10%len(to)], uint32(i))
		}
		r.give()
	}
	fill()
	if n := testing.AllocsPerRun(100, fill); n != 0 {
		t.Errorf("%v allocations for 1000 receipts", n)
	}
	if to[0].n+to[1].n+to[2].n != 102*1000 || r.wanted() {
		t.Errorf("%d, %d and %d receipts", to[0].n, to[1].n, to[2].n)
	}
	for _, run := range r.runs[:cap(r.runs)] {
		if run.to != nil {
			t.Fatal("a batch in the pool keeps a connection alive")
		}
	}
}
