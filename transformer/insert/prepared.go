package insert

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2/lib/column"
	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"
)

// prepared keeps batches that were sent, for the memory of their columns: one made
// anew grows them from nothing, which is most of what an insert costs. Sending such
// a batch again begins a new INSERT on any connection.
type prepared struct {
	mutex sync.Mutex
	free  []*batch
}

// keepBatches is how many are kept. Each holds the memory of one block.
const keepBatches = 4

// batch is a driver's batch with a context that changes from INSERT to INSERT.
type batch struct {
	driver.Batch
	ctx       *current
	statement string
	columns   []column.Interface
}

// take returns an empty batch for the statement.
func (p *prepared) take(ctx context.Context, conn driver.Conn, statement string) (*batch, error) {
	p.mutex.Lock()
	for i, b := range p.free {
		if b.statement == statement {
			p.free = append(p.free[:i], p.free[i+1:]...)
			p.mutex.Unlock()
			b.ctx.p.Store(&ctx)
			for _, c := range b.columns {
				c.Reset()
			}
			return b, nil
		}
	}
	p.mutex.Unlock()
	b := &batch{ctx: new(current), statement: statement}
	b.ctx.p.Store(&ctx)
	var err error
	if b.Batch, err = conn.PrepareBatch(b.ctx, statement); err != nil {
		return nil, err
	}
	b.columns = b.Columns()
	return b, nil
}

// put keeps a batch that was sent without an error, the newest ones of all.
func (p *prepared) put(b *batch) {
	p.mutex.Lock()
	defer p.mutex.Unlock()
	if len(p.free) == keepBatches {
		copy(p.free, p.free[1:])
		p.free = p.free[:keepBatches-1]
	}
	p.free = append(p.free, b)
}

// current is the context of the INSERT that is under way.
type current struct {
	p atomic.Pointer[context.Context]
}

func (c *current) now() context.Context        { return *c.p.Load() }
func (c *current) Deadline() (time.Time, bool) { return c.now().Deadline() }
func (c *current) Done() <-chan struct{}       { return c.now().Done() }
func (c *current) Err() error                  { return c.now().Err() }
func (c *current) Value(key any) any           { return c.now().Value(key) }
