package retrieve

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2"

	"millrace/ingester/quarantine"
	"millrace/internal/config"
	"millrace/internal/embedded"
	"millrace/internal/embedded/embeddedtest"
	"millrace/internal/imaptest"
	"millrace/schema"
)

func TestMain(m *testing.M) { os.Exit(embeddedtest.Main(m)) }

var noon = time.Date(2026, 11, 25, 12, 0, 0, 0, time.UTC)

// world is a quarantine of so many messages, a broker, and a table.
type world struct {
	*imaptest.Server
	broker   *embedded.Broker
	database string
}

func newWorld(t *testing.T, messages int, header string) (*world, Options) {
	t.Helper()
	w := &world{Server: imaptest.Start(t), broker: embeddedtest.Broker(t), database: embeddedtest.Database(t)}
	mail := make([]imaptest.Mail, messages)
	for i := range mail {
		mail[i] = imaptest.Mail{At: noon, Text: fmt.Sprintf("From: s%d@example.com\n%s\nbody\n", i, header)}
	}
	w.Append(t, "Caught (Outgoing)", mail...)
	if err := embeddedtest.Connect(t, w.database).Exec(t.Context(), schema.Quarantine.CreateTable(schema.Layout{Database: w.database})); err != nil {
		t.Fatal(err)
	}
	cfg := config.Default()
	q := &cfg.Quarantine
	q.Host, q.Port, q.TLS.CA = w.Host, w.TLSPort, w.CA
	cfg.Kafka.Brokers, cfg.ClickHouse.Database = []string{w.broker.Addr}, w.database
	ch := embeddedtest.ClickHouse(t)
	return w, Options{
		Config: cfg, Password: imaptest.Password, Directions: []string{quarantine.Outgoing}, Window: quarantine.Day(noon, 0), Load: true,
		ClickHouse: []*clickhouse.Options{{Addr: []string{ch.NativeAddr}, Auth: clickhouse.Auth{Username: ch.Reader.User, Password: ch.Reader.Password}}},
	}
}

// What was read is in Kafka, also when the server goes away in the middle.
func TestRun_ServerGoes(t *testing.T) {
	t.Parallel()
	w, o := newWorld(t, 600, "X-Filler: "+strings.Repeat("x", 30_000)+"\n")
	rows := 0
	o.Row = func(*quarantine.Message) error {
		if rows++; rows == 5 {
			w.Kill()
		}
		return nil
	}
	r, err := Run(t.Context(), o)
	if err == nil || !strings.Contains(err.Error(), fmt.Sprintf("%d of 600 were read", rows)) {
		t.Error(err)
	}
	if r.Found != 600 || r.Rows != rows || r.Loaded != rows || rows >= 600 {
		t.Errorf("%d rows, %+v", rows, r)
	}
}

// Ctrl-C ends the reading, and what was read is in Kafka.
func TestRun_Stopped(t *testing.T) {
	t.Parallel()
	_, o := newWorld(t, 600, "X-Filler: "+strings.Repeat("x", 30_000)+"\n")
	ctx, stop := context.WithCancelCause(t.Context())
	pressed := errors.New("somebody pressed Ctrl-C")
	rows := 0
	o.Row = func(*quarantine.Message) error {
		if rows++; rows == 5 {
			stop(pressed)
			return pressed
		}
		return nil
	}
	r, err := Run(ctx, o)
	if !errors.Is(err, pressed) || r.Loaded != 4 {
		t.Errorf("%v, %+v", err, r)
	}
}

// A receiver that can take no more, as when the disk is full, is an error.
func TestRun_Receiver(t *testing.T) {
	t.Parallel()
	_, o := newWorld(t, 3, "")
	full := errors.New("the disk is full")
	o.Row = func(*quarantine.Message) error { return full }
	if r, err := Run(t.Context(), o); !errors.Is(err, full) || r.Loaded != 0 {
		t.Errorf("%v, %+v", err, r)
	}
}

// Kafka goes away before the first message: nothing is called loaded.
func TestRun_KafkaGoes(t *testing.T) {
	t.Parallel()
	w, o := newWorld(t, 3, "")
	o.Config.Stop.DrainTimeout = time.Second
	o.Row = func(*quarantine.Message) error {
		w.broker.Close()
		return nil
	}
	r, err := Run(t.Context(), o)
	if err == nil || !strings.HasPrefix(err.Error(), "cannot load all messages: Kafka acknowledged 0 of 3 within 1s (stop.drain_timeout): ") || r.Loaded != 0 {
		t.Errorf("%v, %+v", err, r)
	}
}

// A header that makes the record too large leaves its raw behind.
func TestRun_TooLarge(t *testing.T) {
	t.Parallel()
	_, o := newWorld(t, 3, "X-Filler: "+strings.Repeat("x", 30_000)+"\n")
	o.Config.Quarantine.Raw, o.Config.Kafka.BatchBytes = "always", 16<<10
	if r, err := Run(t.Context(), o); err != nil || r.Loaded != 3 {
		t.Errorf("%v, %+v", err, r)
	}
}
