package query

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"regexp"
	"strings"
	"sync"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2"
	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"
	"golang.org/x/text/language"
	"golang.org/x/text/message"
)

// Options say where ClickHouse is and who asks.
type Options struct {
	Addresses   []string // HOST:PORT of the native protocol; default 127.0.0.1:9000
	Database    string   // default millrace
	User        string
	Password    string
	TLS         *tls.Config   // nil: plain
	DialTimeout time.Duration // default 5 s
	ReadTimeout time.Duration // of silence on the connection; default 5 min (the server reports progress while it works)
}

func (o Options) withDefaults() Options {
	if len(o.Addresses) == 0 {
		o.Addresses = []string{"127.0.0.1:9000"}
	}
	if o.Database == "" {
		o.Database = "millrace"
	}
	if o.DialTimeout <= 0 {
		o.DialTimeout = 5 * time.Second
	}
	if o.ReadTimeout <= 0 {
		o.ReadTimeout = 5 * time.Minute
	}
	return o
}

// Error is a statement that the server refused.
type Error struct {
	Code int32  // ClickHouse's error code
	Text string // its message, on one line where it was one
}

func (e *Error) Error() string {
	return fmt.Sprintf("ClickHouse refused the query (code %d): %s", e.Code, e.Text)
}

// Summary is what is known about a result when it has been written.
type Summary struct {
	Rows     int           // written, without the totals of WITH TOTALS
	Elapsed  time.Duration // from sending the statement to the last row
	ReadRows uint64        // what the server read for it
	Cut      bool          // the table was cut at its bound: there are more rows
	More     bool          // there are more rows than [Output.Limit]
}

// String is the footer of a result.
func (s Summary) String() string {
	rows := "rows"
	if s.Rows == 1 {
		rows = "row"
	}
	text := message.NewPrinter(language.English).Sprintf("%d %s in %.3f s, %d read", s.Rows, rows, s.Elapsed.Seconds(), s.ReadRows)
	if s.Cut {
		text = "cut after " + text + "; the other formats (tsv, csv, json) are not cut"
	}
	return text
}

// Statement is SQL with values for its parameters, written as a field of a tab-separated line
// is (package sqltext does it for texts).
type Statement struct {
	SQL        string
	Parameters map[string]string
	Limits     Limits
}

// Limits are what a statement may use; 0 is what the server's profile allows.
type Limits struct {
	Time   time.Duration // max_execution_time
	Rows   uint64        // max_rows_to_read: of the tables
	Memory uint64        // max_memory_usage: bytes
	Groups uint64        // max_rows_to_group_by
}

func (l Limits) settings() clickhouse.Settings {
	// On a cluster the tables are of all shards: what is asked of one within a question about
	// another is asked once, where the server would refuse to choose.
	s := clickhouse.Settings{"readonly": 2, "distributed_product_mode": "global"}
	if l.Time > 0 {
		s["max_execution_time"] = l.Time.Seconds()
	}
	if l.Rows > 0 {
		s["max_rows_to_read"] = l.Rows
	}
	if l.Memory > 0 {
		s["max_memory_usage"] = l.Memory
	}
	if l.Groups > 0 {
		s["max_rows_to_group_by"], s["group_by_overflow_mode"] = l.Groups, "throw"
	}
	return s
}

// Output is where a result goes, and how.
type Output struct {
	To       io.Writer
	Format   Format
	NoHeader bool // of a result that goes on with an earlier one
	Limit    int  // rows that are written; of one more [Summary.More] tells. 0: all
	Hidden   int  // columns at the end, of type String, that are not written

	// Made is a column that is made for each row; its hidden columns come behind the others. nil: none.
	Made *Column

	// PlainAddresses: 192.0.2.1 for ::ffff:192.0.2.1, and nothing for ::.
	PlainAddresses bool

	// Row is told the hidden columns of each row, and says whether the row is written; nil: all are.
	Row func(hidden []string) bool
}

// Run opens a connection, runs one statement, writes its result to w, and
// closes the connection.
func Run(ctx context.Context, o Options, sql string, w io.Writer, f Format) (Summary, error) {
	return RunStatement(ctx, o, Statement{SQL: sql}, Output{To: w, Format: f})
}

// RunStatement opens a connection, runs the statement, writes its result, and closes the
// connection.
func RunStatement(ctx context.Context, o Options, st Statement, out Output) (Summary, error) {
	sql := strings.TrimRight(strings.TrimSpace(st.SQL), "; \t\r\n")
	if sql == "" {
		return Summary{}, errors.New("cannot run an empty query")
	}
	if _, err := ParseFormat(string(out.Format)); err != nil {
		return Summary{}, err
	}
	if m := formatClause.FindStringSubmatch(sql); m != nil && !strings.EqualFold(m[1], "asc") && !strings.EqualFold(m[1], "desc") {
		return Summary{}, fmt.Errorf("cannot run a query that ends in FORMAT %s: the format is chosen apart (--format table, tsv, csv or json)", m[1])
	}
	o = o.withDefaults()
	settings := st.Limits.settings()
	s, err := runWith(ctx, o, settings, sql, st.Parameters, out)
	// A limit that the user's profile does not let grow is stricter there. Nothing was run yet.
	for range len(settings) {
		for name := range settings {
			if isConstraint(err, name) {
				delete(settings, name)
				s, err = runWith(ctx, o, settings, sql, st.Parameters, out)
				break
			}
		}
	}
	// A user whose profile has readonly=1 may not touch the setting, and needs
	// nothing of it: nothing was run yet, and its profile is stricter.
	if isReadonlySetting(err) {
		s, err = runWith(ctx, o, nil, sql, st.Parameters, out)
	}
	return s, err
}

// formatClause is a FORMAT at the end of a query, which the native protocol
// would pass over in silence. "ORDER BY format DESC" is none.
var formatClause = regexp.MustCompile(`(?is)\sFORMAT\s+([A-Za-z][A-Za-z0-9]*)$`)

// ClickHouse's TOO_MANY_ROWS, READONLY and SETTING_CONSTRAINT_VIOLATION.
const (
	codeTooManyRows = 158
	codeReadonly    = 164
	codeConstraint  = 452
)

// TooManyRows tells whether a statement was ended by a limit on rows: of those that it reads,
// or of its groups.
func TooManyRows(err error) bool {
	var e *Error
	return errors.As(err, &e) && e.Code == codeTooManyRows
}

func isConstraint(err error, setting string) bool {
	var e *Error
	return errors.As(err, &e) && e.Code == codeConstraint && strings.Contains(e.Text, "Setting "+setting+" ")
}

func isReadonlySetting(err error) bool {
	var e *Error
	return errors.As(err, &e) && e.Code == codeReadonly && strings.Contains(e.Text, "'readonly' setting")
}

// session is one connection for one statement. The driver is given a context
// that does not end: it would close the channel of its blocks while its own
// reader may still be sending on it. Closing the connection under it instead
// ends the reader first, and the server stops a statement whose client is gone.
type session struct {
	conn driver.Conn

	mu     sync.Mutex
	socket net.Conn
	ended  bool
}

func (s *session) end() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ended = true
	if s.socket != nil {
		s.socket.Close()
	}
}

func (s *session) dial(ctx context.Context, o Options, address string) (net.Conn, error) {
	d := net.Dialer{Timeout: o.DialTimeout}
	c, err := d.DialContext(ctx, "tcp", address)
	if err != nil {
		return nil, err
	}
	if o.TLS != nil {
		conf := o.TLS.Clone()
		if conf.ServerName == "" {
			conf.ServerName, _, _ = net.SplitHostPort(address)
		}
		t := tls.Client(c, conf)
		if err := t.HandshakeContext(ctx); err != nil {
			c.Close()
			return nil, err
		}
		c = t
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ended {
		c.Close()
		return nil, net.ErrClosed
	}
	s.socket = c
	return c, nil
}

func runWith(ctx context.Context, o Options, settings clickhouse.Settings, sql string, params clickhouse.Parameters, out Output) (sum Summary, err error) {
	if err := ctx.Err(); err != nil {
		return sum, err
	}
	s := &session{}
	s.conn, err = clickhouse.Open(&clickhouse.Options{
		Addr:         o.Addresses,
		Auth:         clickhouse.Auth{Database: o.Database, Username: o.User, Password: o.Password},
		DialContext:  func(_ context.Context, address string) (net.Conn, error) { return s.dial(ctx, o, address) },
		Settings:     settings,
		DialTimeout:  o.DialTimeout,
		ReadTimeout:  o.ReadTimeout,
		MaxOpenConns: 1,
		MaxIdleConns: 1,
	})
	if err != nil {
		return sum, fmt.Errorf("cannot use the ClickHouse options: %w", err)
	}
	defer s.conn.Close()
	stop := context.AfterFunc(ctx, s.end)
	defer stop()

	var read progress
	start := time.Now()
	rows, err := s.conn.Query(clickhouse.Context(context.WithoutCancel(ctx),
		clickhouse.WithProgress(read.add),
		clickhouse.WithParameters(params)), sql)
	if errors.Is(err, io.EOF) && ctx.Err() == nil && s.connected() {
		// A statement without a result, such as SET.
		return Summary{Elapsed: time.Since(start)}, nil
	}
	if err != nil {
		return sum, s.explain(ctx, o, err)
	}
	n, end, err := write(rows, out)
	if err != nil || end == atLimit || end == atBound {
		s.end() // the rest of the result is not wanted: do not read it
		rows.Close()
	} else if err = rows.Close(); err == nil {
		err = rows.Err()
	}
	sum = Summary{Rows: n, Elapsed: time.Since(start), ReadRows: read.total(), Cut: end == atBound, More: end == atLimit || end == atLast}
	if err != nil {
		return sum, s.explain(ctx, o, err)
	}
	return sum, nil
}

func (s *session) connected() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.socket != nil
}

// explain gives an error its cause: the end of the context before the broken
// connection that it led to, the server's own words without their wrapping.
func (s *session) explain(ctx context.Context, o Options, err error) error {
	var we *writeError
	if errors.As(err, &we) {
		return fmt.Errorf("cannot write the result: %w", we.err)
	}
	var ex *clickhouse.Exception
	if errors.As(err, &ex) {
		return &Error{Code: ex.Code, Text: cleanMessage(ex.Message)}
	}
	if ctx.Err() != nil {
		return fmt.Errorf("the query was stopped: %w", context.Cause(ctx))
	}
	if !s.connected() {
		return fmt.Errorf("cannot connect to ClickHouse at %s: %w", strings.Join(o.Addresses, ", "), err)
	}
	return fmt.Errorf("cannot read the result from ClickHouse: %w", err)
}

// cleanMessage takes off what the server adds for its own log.
func cleanMessage(m string) string {
	m = strings.TrimSpace(m)
	m = strings.TrimPrefix(m, "DB::Exception: ")
	if i := strings.Index(m, "Stack trace:"); i > 0 {
		m = m[:i]
	}
	if i := strings.LastIndex(m, " (version "); i > 0 {
		m = m[:i]
	}
	return visible(strings.Join(strings.Fields(m), " "))
}

type progress struct {
	mu   sync.Mutex
	rows uint64
}

func (p *progress) add(x *clickhouse.Progress) {
	p.mu.Lock()
	p.rows += x.Rows
	p.mu.Unlock()
}

func (p *progress) total() uint64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.rows
}
