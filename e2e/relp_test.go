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
	"millrace/internal/porttest"
	"millrace/schema"
)

// relay is an rsyslogd that takes lines over TCP and sends them on by RELP.
func relay(t *testing.T, to, action string) (in string) {
	t.Helper()
	rsyslogd := needs(t, "rsyslogd", "`make tools` unpacks Debian's packages rsyslog and rsyslog-relp under .tools", "../.tools/debian/usr/sbin/rsyslogd")
	in = porttest.TCP(t)
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
			for range 40 {
				b.WriteString("<22>" + m1(testID(n), "over RELP") + "\n")
				n++
			}
			if _, err := conn.Write([]byte(b.String())); err != nil {
				done <- err
				return
			}
			f.sent.Add(40)
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

// relpRig is a broker, an ingester over it that can be started again at the same address,
// and an rsyslogd that sends to it.
type relpRig struct {
	t      *testing.T
	config string
	feed   *feed
	in     string
	kafka  *messages
	*process
}

// firstID is the first message's number, lastIDs that of those that follow in the end.
const firstID, lastIDs = 1_000_000, 2_000_000

func startRELP(t *testing.T, encrypted bool) *relpRig {
	t.Helper()
	broker, err := embedded.StartBroker(embedded.BrokerOptions{Topics: map[string]int{"millrace.message": 6, "millrace.status": 6, "millrace.reject": 6}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(broker.Close)
	listener, action := "", ""
	if encrypted {
		listener, action = secretly(t)
	}
	to := porttest.TCP(t)
	r := &relpRig{t: t, config: filepath.Join(t.TempDir(), "ingest.yaml"), kafka: consumeMessages(t, broker.Addr)}
	text := fmt.Sprintf("listeners:\n  - {name: relay, address: \"relp://%s\"%s}\nkafka: {brokers: [\"%s\"], topic_prefix: millrace.}\nhttp: {ingest: \"127.0.0.1:0\"}\n", to, listener, broker.Addr)
	if err := os.WriteFile(r.config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	r.restart()
	r.in = relay(t, to, action)
	r.feed = startFeed(t, r.in, firstID)
	return r
}

func (r *relpRig) restart() {
	r.t.Helper()
	r.process = start(r.t, "ingest", "--config", r.config)
	r.waitReady()
}

// flows waits until the process has published so much.
func (r *relpRig) flows(n int) {
	r.t.Helper()
	until(r.t, "traffic flows", func() bool { return r.published() >= n }, func() string { return strconv.Itoa(r.published()) })
}

// finish ends the traffic, waits until every message is in Kafka, and returns how many
// there were and how many are there once more.
func (r *relpRig) finish() (sent, again int) {
	r.t.Helper()
	sent = r.feed.end()
	// rsyslog looks at its connection when it sends, so it is given something to send.
	tail := startFeed(r.t, r.in, lastIDs)
	missing := sent
	until(r.t, "every message is in Kafka", func() bool {
		r.kafka.poll(r.t)
		missing, again = r.kafka.missing(firstID, firstID+sent)
		return missing == 0
	}, func() string { return fmt.Sprintf("%d of %d are missing", missing, sent) })
	tail.end()
	until(r.t, "nothing is in flight", func() bool { return r.metric("millrace_frames_in_flight") == 0 }, func() string { return "" })
	r.checkAccount("relay")
	return sent, again
}

// TestRELP_KillNine: rsyslog sends by RELP while the ingester is killed and started
// again, and again. Every message is in Kafka at the end; some are there twice.
func TestRELP_KillNine(t *testing.T) {
	t.Parallel()
	for _, encrypted := range []bool{false, true} {
		t.Run(fmt.Sprintf("tls=%t", encrypted), func(t *testing.T) {
			r := startRELP(t, encrypted)
			const kills = 3
			for range kills {
				r.flows(4000)
				r.signal(syscall.SIGKILL)
				before := r.feed.sent.Load()
				until(t, "rsyslog queues", func() bool { return r.feed.sent.Load() > before+2000 }, func() string { return "" })
				r.restart()
			}
			r.flows(4000)
			sent, again := r.finish()
			t.Logf("%d messages, %d kills: 0 missing, %d twice", sent, kills, again)
			if most := kills * 128; again > most {
				t.Errorf("%d duplicates: more than a window of rsyslog (128) for each kill", again)
			}
		})
	}
}

// TestRELP_Restart: a stop answers what it has taken, so that nothing need be sent again.
//
// rsyslog does it all the same with one message now and then. A capture of 12 stops and
// 179,520 messages had one such: it was the first message of a session (number 2, behind
// the open), which a second worker of rsyslog had begun after the ingester was back. It was
// answered at once; the session went on for a second and 2,461 more messages, all of them
// answered, and ended in order: serverclose and FIN from us with nothing unread, FIN from
// rsyslog, no RST. The message came again 6.7 s later in the middle of another session, as
// number 15,716, and not among those that librelp sends again when it has connected. So it
// is rsyslog's queue that has it twice: the message with which the action was suspended,
// while nobody listened, goes out when the action resumes and is put back as well.
func TestRELP_Restart(t *testing.T) {
	t.Parallel()
	for _, encrypted := range []bool{false, true} {
		t.Run(fmt.Sprintf("tls=%t", encrypted), func(t *testing.T) {
			r := startRELP(t, encrypted)
			const stops = 3
			for range stops {
				r.flows(4000)
				p := r.process
				if code := r.signal(syscall.SIGTERM); code != 0 {
					t.Errorf("exit code %d after SIGTERM", code)
				}
				if !strings.Contains(p.text(), "relp_unanswered=0") {
					t.Errorf("a stop leaves messages without an answer:\n%s", p.text())
				}
				r.restart()
			}
			r.flows(500)
			sent, again := r.finish()
			t.Logf("%d messages, %d stops: 0 missing, %d twice", sent, stops, again)
			if again > stops {
				t.Errorf("%d of %d messages are there twice", again, sent)
			}
		})
	}
}

// secretly is TLS for the two sides, each with a certificate that the other looks at.
func secretly(t *testing.T) (listener, action string) {
	a := certtest.New(t)
	server := a.Issue(t, certtest.Subject{Names: []string{"logs.example.net"}})
	client := a.Issue(t, certtest.Subject{Names: []string{"relay.example.net"}})
	return fmt.Sprintf(`, tls: {cert: "%s", key: "%s", client_ca: "%s", client_names: [relay.example.net]}`, server.Cert, server.Key, a.File),
		fmt.Sprintf(`tls="on" tls.caCert="%s" tls.myCert="%s" tls.myPrivKey="%s" tls.authMode="name" tls.permittedPeer=["logs.example.net"]`, a.File, client.Cert, client.Key)
}
