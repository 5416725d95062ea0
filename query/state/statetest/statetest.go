// Package statetest gives the tests of other packages a store on a broker of its own.
package statetest

import (
	"context"
	"testing"
	"time"

	"millrace/internal/embedded"
	"millrace/internal/topics"
	"millrace/query/state"
)

// Options are for a store on the broker at address, with a group that elects fast.
func Options(address string) state.Options {
	const topic = "millrace." + topics.State
	wanted := topics.Options{
		Brokers: []string{address}, Topics: []string{topic}, Create: true,
		Partitions: 1, Replication: 1, Compact: true, BatchBytes: topics.StateBatchBytes,
	}
	return state.Options{
		Brokers: []string{address}, Topic: topic, Group: "millrace.acting",
		SessionTimeout: 3 * time.Second, RebalanceTimeout: 2 * time.Second, HeartbeatInterval: 200 * time.Millisecond,
		EnsureTopic: func(ctx context.Context) error { _, err := topics.Ensure(ctx, wanted); return err },
	}
}

// Open opens a store on a broker of its own, in memory. Both end with the test.
func Open(t testing.TB) *state.Store {
	t.Helper()
	b, err := embedded.StartBroker(embedded.BrokerOptions{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Close)
	return OpenAt(t, b.Addr)
}

// OpenAt opens a store on a broker that the test has.
func OpenAt(t testing.TB, address string) *state.Store {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	s, err := state.Open(ctx, Options(address))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}
