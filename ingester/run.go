package ingester

import (
	"context"
	"errors"
	"net"

	"golang.org/x/sync/errgroup"

	"millrace/ingester/tap"
	"millrace/ingester/transport"
	"millrace/internal/topics"
	"millrace/schema"
)

// Addr is where a listener listens.
type Addr struct {
	Name    string
	Network string // the scheme of its address
	Addr    net.Addr
}

// Addrs are the addresses of all listeners, in the order of the configuration.
func (in *Ingester) Addrs() []Addr {
	all := make([]Addr, len(in.listeners))
	for i, l := range in.listeners {
		all[i] = Addr{string(in.inputs[i].name), in.cfg.Listeners[i].Address.Network, l.Addr()}
	}
	return all
}

// State is nil when Kafka takes records, else it says why not.
func (in *Ingester) State() error { return in.publisher.State() }

// Ready is closed when Kafka takes records for the first time.
func (in *Ingester) Ready() <-chan struct{} { return in.publisher.Ready() }

// Taps are the pages on which people look at frames as they pass.
func (in *Ingester) Taps() *tap.Pages {
	p := &tap.Pages{Hub: &in.taps, Log: in.log}
	for _, input := range in.every() {
		p.Listeners = append(p.Listeners, string(input.name))
	}
	return p
}

// Account is the sum of all listeners' accounts.
func (in *Ingester) Account() Account {
	total := Account{Rejected: map[schema.Reason]uint64{}, Dropped: map[schema.Reason]uint64{}}
	for _, input := range in.every() {
		a := input.ledger.read()
		total.Received += a.Received
		total.Published += a.Published
		total.Joined += a.Joined
		total.InFlight += a.InFlight
		for r, n := range a.Rejected {
			total.Rejected[r] += n
		}
		for r, n := range a.Dropped {
			total.Dropped[r] += n
		}
	}
	return total
}

// Run serves until soft ends. Then the listeners hand over what is in their
// sockets, and the publisher sends until Kafka has acknowledged all of it or
// hard ends, at which what is left is counted as dropped (shutdown).
func (in *Ingester) Run(soft, hard context.Context) error {
	for _, input := range in.every() {
		input.hard = hard
	}
	defer in.taps.Close()
	publishing, drain := context.WithCancel(context.WithoutCancel(hard))
	defer drain()
	var published errgroup.Group
	published.Go(func() error { return in.publisher.Run(publishing, hard) })

	ensuring, created := context.WithCancel(soft)
	var creating errgroup.Group
	creating.Go(func() error {
		// Its connections have one use; kafka-go would keep asking for metadata over them.
		if c, ok := in.topics.Transport.(interface{ CloseIdleConnections() }); ok {
			defer c.CloseIdleConnections()
		}
		return topics.Await(ensuring, in.topics, in.log)
	})

	summed := in.summarize()

	expired := in.expireLines()

	group, serving := errgroup.WithContext(soft)
	for i := range in.listeners {
		group.Go(func() error {
			return in.listeners[i].Serve(serving, hard, func(r transport.Receipts) transport.Sink { return in.inputs[i].sinkFor(r) })
		})
	}
	if in.files != nil {
		group.Go(func() error { return in.files.follow(serving) })
	}
	group.Go(func() error {
		<-serving.Done() // also without a listener: a trial stack may have none
		return nil
	})
	err := group.Wait()
	created()
	_ = creating.Wait()
	expired()
	for _, input := range in.every() {
		input.lines.end(input)
	}
	drain() // only now: nobody appends any more
	err = errors.Join(err, published.Wait())
	if in.files != nil {
		err = errors.Join(err, in.files.finish())
	}
	summed()

	a := in.Account()
	counts := []any{"received", a.Received, "published", a.Published, "rejected", sum(a.Rejected), "dropped", sum(a.Dropped), "in_flight", a.InFlight}
	if a.Joined > 0 {
		counts = append(counts, "joined", a.Joined)
	}
	if unanswered, relp := in.unanswered(); relp {
		counts = append(counts, "relp_unanswered", unanswered)
	}
	in.log.Info("ingester stopped", counts...)
	return err
}

// unanswered is the number of RELP frames that no connection has answered; relp is false
// without a listener of that kind.
func (in *Ingester) unanswered() (n uint64, relp bool) {
	for i, l := range in.listeners {
		if string(in.inputs[i].transport) == "relp" {
			n, relp = n+l.Stats().Unanswered.Load(), true
		}
	}
	return n, relp
}
