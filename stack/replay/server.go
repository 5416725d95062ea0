package replay

import (
	"context"
	"fmt"
	"net/netip"
	"strings"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2"
	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"

	"millrace/internal/config"
	"millrace/schema"
	"millrace/transformer/block"
	"millrace/transformer/insert"
)

// Options are those of every form.
type Options struct {
	Config *config.Config // of today
	Insert bool           // do it; else it is counted, and nothing changes
	// Progress is told how many of how many rows or records were looked at; nil: nobody is.
	Progress func(done, all uint64)
	// step is called between the steps of what changes ClickHouse; tests end a run there.
	step func(name string) error
}

func (o *Options) progress(done, all uint64) {
	if o.Progress != nil {
		o.Progress(done, all)
	}
}

func (o *Options) at(step string) error {
	if o.step == nil {
		return nil
	}
	return o.step(step)
}

const (
	// attempts to insert a block, before the run is given up.
	attempts = 5
	// insertTimeout bounds one of them.
	insertTimeout = time.Minute
	// answerTimeout bounds a question and the work on its answer.
	answerTimeout = 24 * time.Hour
)

// server is ClickHouse: what is asked goes through the driver, blocks through the
// transformer's inserter.
type server struct {
	conn     driver.Conn
	inserter *insert.ClickHouse
	database string
}

// connect also looks, before anything is to be inserted, whether the tables of kinds
// remember tokens.
func connect(ctx context.Context, o *Options, kinds []*schema.Kind) (*server, error) {
	options, err := o.Config.ClickHouseOptions()
	if err != nil {
		return nil, err
	}
	// The driver counts its ReadTimeout from the question to the last row, between which
	// lies all the decoding of a week. TCP notices a server that is gone.
	patient := *options
	patient.ReadTimeout = answerTimeout
	conn, err := clickhouse.Open(&patient)
	if err != nil {
		return nil, fmt.Errorf("cannot use ClickHouse at %q: %w", strings.Join(options.Addr, ", "), err)
	}
	s := &server{conn: conn, database: o.Config.ClickHouse.Database}
	if s.inserter, err = insert.Open(insert.Options{ClickHouse: options, Database: s.database}); err != nil {
		conn.Close()
		return nil, err
	}
	if o.Insert {
		if err := s.inserter.Check(ctx, kinds); err != nil {
			s.close(ctx)
			return nil, err
		}
	}
	return s, nil
}

// close leaves the connection of a question that ctx has cut short to the end of the
// process.
func (s *server) close(ctx context.Context) {
	if ctx.Err() == nil {
		s.conn.Close()
		s.inserter.Close()
	}
}

func (s *server) table(k *schema.Kind) string {
	return schema.QuoteName(s.database) + "." + schema.QuoteName(k.Table)
}

// ask calls scan for each row of the answer. The driver is given a context that does not
// end, because it would close a channel that its own reader may still be sending on.
func (s *server) ask(ctx context.Context, sql string, args []any, scan func(driver.Rows) error) error {
	rows, err := s.conn.Query(context.WithoutCancel(ctx), sql, args...)
	if err != nil {
		return err
	}
	for rows.Next() {
		if ctx.Err() != nil {
			return context.Cause(ctx) // the rest of the answer is not waited for
		}
		if err := scan(rows); err != nil {
			return err
		}
	}
	if err := rows.Err(); err != nil {
		return err
	}
	return rows.Close()
}

// count is the one number that the server answers with.
func (s *server) count(ctx context.Context, sql string, args ...any) (n uint64, err error) {
	err = s.ask(ctx, sql, args, func(rows driver.Rows) error { return rows.Scan(&n) })
	return n, err
}

// insert sends a block until it is there: the same rows under the same token.
func (s *server) insert(ctx context.Context, b *block.Block, token string) (err error) {
	for n := range attempts {
		if n > 0 {
			select {
			case <-ctx.Done():
				return ctx.Err()
			case <-time.After(time.Second << n):
			}
		}
		attempt, cancel := context.WithTimeout(ctx, insertTimeout)
		err = s.inserter.Insert(attempt, b, token)
		cancel()
		if err == nil || ctx.Err() != nil {
			return err
		}
	}
	return err
}

// plain is an address as a listener has it: none of a Unix socket, IPv4 as such.
func plain(a netip.Addr) netip.Addr {
	if a.IsUnspecified() {
		return netip.Addr{}
	}
	return a.Unmap()
}
