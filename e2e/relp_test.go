package e2e

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"millrace/internal/certtest"
	"millrace/internal/embedded"
	"millrace/schema"
)

// relay is an rsyslogd that takes lines over TCP and sends them on by RELP.
func relay(t *testing.T, to, action string) (in string) {
	t.Helper()
	rsyslogd := needs(t, "rsyslogd", "`make tools` unpacks Debian's packages rsyslog and rsyslog-relp under .tools", "../.tools/debian/usr/sbin/rsyslogd")
	in = fmt.Sprintf("127.0.0.1:%d", freePort(t, "tcp"))
	_, inPort, _ := net.SplitHostPort(in)
	host, port, _ := net.SplitHostPort(to)
	dir := t.TempDir()
	// The action is the one of docs/operations.md, at the pace of a test.
	runRsyslog(t, rsyslogd, dir, fmt.Sprintf(`
global(workDirectory="%s")
module(load="imptcp")
module(load="omrelp")
input(type="imptcp" address="127.0.0.1" port="%s" ruleset="relay")
template(name="millrace" type="string" string="<%%pri%%>%%rawmsg-after-pri%%")
ruleset(name="relay" queue.type="LinkedList" queue.size="100000") {
  action(type="omrelp" target="%s" port="%s" template="millrace"
         action.resumeRetryCount="-1" action.resumeInterval="1"
         queue.type="LinkedList" queue.size="100000" queue.filename="millrace" queue.saveOnShutdown="on"
         queue.timeoutWorkerthreadShutdown="-1" %s)
}
`, dir, inPort, host, port, action))
	until(t, "rsyslogd listens", func() bool {
		c, err := net.Dial("tcp", in)
		if err == nil {
			c.Close()
		}
		return err == nil
	}, func() string { return "connection refused" })
	return in
}

// feed writes messages with the ids from first on to a relay until it is told to end.
type feed struct {
	sent atomic.Int64
	end  func() int // stops, and says how many there were
}

func startFeed(t *testing.T, in string, first int) *feed {
	t.Helper()
	conn, err := net.Dial("tcp", in)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	f := new(feed)
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		tick := time.NewTicker(5 * time.Millisecond)
		defer tick.Stop()
		for n := first; ; {
			var b strings.Builder
			for range 10 {
				b.WriteString("<22>" + m1(testID(n), "over RELP") + "\n")
				n++
			}
			if _, err := conn.Write([]byte(b.String())); err != nil {
				done <- err
				return
			}
			f.sent.Add(10)
			select {
			case <-tick.C:
			case <-ctx.Done():
				done <- nil
				return
			}
		}
	}()
	f.end = func() int {
		t.Helper()
		stop()
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		return int(f.sent.Load())
	}
	return f
}

// messages counts, by id, the message events that a broker has, as they come.
type messages struct {
	client *kgo.Client
	ids    map[string]int
}

func consumeMessages(t *testing.T, broker string) *messages {
	t.Helper()
	client, err := kgo.NewClient(kgo.SeedBrokers(broker), kgo.ConsumeTopics("millrace.message"),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.FetchMaxWait(50*time.Millisecond))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	return &messages{client, map[string]int{}}
}

var messageID = schema.Message.Index("id")

// poll reads what is there.
func (m *messages) poll(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	m.client.PollFetches(ctx).EachRecord(func(rec *kgo.Record) {
		var e schema.Event
		if err := (schema.Reader{}).Read(schema.Message, rec.Value, &e); err != nil {
			t.Error(err)
		}
		m.ids[string(e.Text(messageID))]++
	})
}

// missing counts the ids of first to last-1 that have not been seen, and how often one
// was seen again.
func (m *messages) missing(first, last int) (missing, again int) {
	for n := first; n < last; n++ {
		switch seen := m.ids[testID(n)]; {
		case seen == 0:
			missing++
		default:
			again += seen - 1
		}
	}
	return missing, again
}

// TestRELP_KillNine: rsyslog sends by RELP while the ingester is killed and started
// again, and again. Every message is in Kafka at the end; some are there twice.
func TestRELP_KillNine(t *testing.T) {
	t.Parallel()
	broker, err := embedded.StartBroker(embedded.BrokerOptions{Topics: map[string]int{"millrace.message": 6, "millrace.status": 6, "millrace.reject": 6}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(broker.Close)
	for i, encrypted := range []bool{false, true} {
		t.Run(fmt.Sprintf("tls=%t", encrypted), func(t *testing.T) {
			listener, action := "", ""
			if encrypted {
				listener, action = secretly(t)
			}
			to := fmt.Sprintf("127.0.0.1:%d", freePort(t, "tcp"))
			config := filepath.Join(t.TempDir(), "ingest.yaml")
			text := fmt.Sprintf("listeners:\n  - {name: relay, address: \"relp://%s\"%s}\nkafka: {brokers: [\"%s\"], topic_prefix: millrace.}\nhttp: {ingest: \"127.0.0.1:0\"}\n", to, listener, broker.Addr)
			if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			ingest := func() *process {
				p := start(t, "ingest", "--config", config)
				p.waitReady()
				return p
			}
			p := ingest()
			in := relay(t, to, action)
			first := (i + 1) * 1_000_000
			f := startFeed(t, in, first)
			kafka := consumeMessages(t, broker.Addr)
			const kills = 3
			for range kills {
				until(t, "traffic flows", func() bool { return p.published() >= 1500 }, func() string { return strconv.Itoa(p.published()) })
				p.signal(syscall.SIGKILL)
				before := f.sent.Load()
				until(t, "rsyslog queues", func() bool { return f.sent.Load() > before+500 }, func() string { return "" })
				p = ingest()
			}
			until(t, "traffic flows", func() bool { return p.published() >= 1500 }, func() string { return strconv.Itoa(p.published()) })
			// A polite stop leaves nothing unanswered: no duplicate comes of it.
			if code := p.signal(syscall.SIGTERM); code != 0 {
				t.Errorf("exit code %d after SIGTERM", code)
			}
			p = ingest()
			until(t, "traffic flows", func() bool { return p.published() >= 500 }, func() string { return strconv.Itoa(p.published()) })
			sent := f.end()
			// rsyslog looks at its connection when it sends, so it is given something to send.
			again := 0
			tail := startFeed(t, in, first+500_000)
			until(t, "every message is in Kafka", func() bool {
				kafka.poll(t)
				var missing int
				missing, again = kafka.missing(first, first+sent)
				return missing == 0
			}, func() string {
				missing, _ := kafka.missing(first, first+sent)
				return fmt.Sprintf("%d of %d are missing", missing, sent)
			})
			tail.end()
			owed := p.metric("millrace_relp_unanswered_total")
			t.Logf("%d messages, %d kills: 0 missing, %d duplicates, %v unanswered in the last process", sent, kills, again, owed)
			if most := kills * 128; again > most {
				t.Errorf("%d duplicates: more than a window of rsyslog (128) for each kill", again)
			}
			p.checkAccountOpen("relay")
		})
	}
}

// checkAccountOpen is checkAccount while frames come.
func (p *process) checkAccountOpen(listener string) {
	p.t.Helper()
	until(p.t, "the account closes", func() bool { return p.metric("millrace_frames_in_flight") == 0 }, func() string { return "" })
	p.checkAccount(listener)
}

// secretly is TLS for the two sides, each with a certificate that the other looks at.
func secretly(t *testing.T) (listener, action string) {
	a := certtest.New(t)
	server := a.Issue(t, certtest.Subject{Names: []string{"logs.example.net"}})
	client := a.Issue(t, certtest.Subject{Names: []string{"relay.example.net"}})
	return fmt.Sprintf(`, tls: {cert: "%s", key: "%s", client_ca: "%s", client_names: [relay.example.net]}`, server.Cert, server.Key, a.File),
		fmt.Sprintf(`tls="on" tls.caCert="%s" tls.myCert="%s" tls.myPrivKey="%s" tls.authMode="name" tls.permittedPeer=["logs.example.net"]`, a.File, client.Cert, client.Key)
}
