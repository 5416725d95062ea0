package stack

import (
	"context"
	"fmt"
	"sync"
	"time"

	"millrace/internal/config"
	"millrace/internal/embedded"
)

// engine is the embedded ClickHouse, started again when it ends by itself (out
// of memory, a kill): same data, same addresses. The transformer goes on where
// it was.
type engine struct {
	options embedded.ClickHouseOptions

	mu     sync.Mutex
	server *embedded.ClickHouse
}

// stopAtOnce is what ClickHouse has to end by itself when the stop is cut short.
// To kill it costs nothing that was inserted.
const stopAtOnce = time.Second

func (s *Stack) startClickHouse(ctx context.Context) error {
	s.engine.options = embedded.ClickHouseOptions{
		DataDir: s.data, Native: s.cfg.Up.ClickHouseNative.String(), HTTP: s.cfg.Up.ClickHouseHTTP.String(),
		Databases: []string{s.cfg.ClickHouse.Database}, Logger: s.log,
	}
	server, err := embedded.StartClickHouse(ctx, s.engine.options)
	if err != nil {
		return err
	}
	s.engine.server, s.clickHouse = server, server
	// From now on the addresses are those that were given out.
	s.engine.options.Native = server.NativeAddr
	if server.HTTPAddr != "" && s.cfg.Up.ClickHouseHTTP.Loopback() {
		s.engine.options.HTTP = server.HTTPAddr
	}
	s.undo(func() {
		ctx, cancel := context.WithTimeout(context.Background(), s.cfg.Stop.DrainTimeout)
		defer cancel()
		// A stop at once waits a moment for a server in good health, and no longer.
		defer context.AfterFunc(s.hard, func() { time.AfterFunc(stopAtOnce, cancel) })()
		s.engine.mu.Lock()
		defer s.engine.mu.Unlock()
		if err := s.engine.server.Stop(ctx); err != nil {
			s.log.Warn("ClickHouse did not stop cleanly", "error", err)
		}
	})
	cfg := *s.cfg
	s.cfg = &cfg
	ch := &cfg.ClickHouse
	ch.Addresses, ch.TLS = []string{server.NativeAddr}, config.TLS{}
	ch.Shards, ch.Cluster, ch.Replication = nil, "", config.ReplicationNone // it is one server
	ch.Username, ch.Password = server.Admin.User, config.NewSecret(server.Admin.Password)
	ch.Reader = config.Login{Username: server.Reader.User, Password: config.NewSecret(server.Reader.Password)}
	return nil
}

// keepClickHouse starts ClickHouse again whenever it ends by itself. It gives up,
// which ends the stack, when it cannot be started for restartLimit.
func (s *Stack) keepClickHouse(ctx context.Context) error {
	const restartLimit = 2 * time.Minute
	for {
		select {
		case <-ctx.Done():
			return nil
		case err := <-s.engine.server.Exited():
			if ctx.Err() != nil {
				return nil
			}
			s.log.Error("starting ClickHouse again", "because", err)
		}
		for began := time.Now(); ; {
			server, err := embedded.StartClickHouse(ctx, s.engine.options)
			if err == nil {
				s.engine.mu.Lock()
				s.engine.server = server
				s.engine.mu.Unlock()
				s.log.Info("ClickHouse serves again", "address", server.NativeAddr)
				break
			}
			if ctx.Err() != nil {
				return nil
			}
			if time.Since(began) > restartLimit {
				return fmt.Errorf("cannot start ClickHouse again: %w", err)
			}
			s.log.Warn("cannot start ClickHouse again yet", "error", err)
			select {
			case <-ctx.Done():
				return nil
			case <-time.After(2 * time.Second):
			}
		}
	}
}
