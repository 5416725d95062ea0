package ingester

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"millrace/internal/config"
	"millrace/internal/embedded"
	"millrace/schema"
)

// TestNew_PortTaken names the address, and gives back what it had bound.
func TestNew_PortTaken(t *testing.T) {
	t.Parallel()
	for _, network := range []string{"tcp", "udp"} {
		taken, free := bind(t, network), bind(t, network)
		address := free.addr
		free.close()
		cfg := parse(t, "127.0.0.1:1", fmt.Sprintf("  - {name: one, address: '%[1]s://%[2]s'}\n  - {name: two, address: '%[1]s://%[3]s'}\n", network, address, taken.addr), "")
		_, err := New(Options{Config: cfg, Log: slog.New(slog.DiscardHandler)})
		var listen *ListenError
		if !errors.As(err, &listen) || listen.Network != network || !strings.Contains(err.Error(), taken.addr) {
			t.Errorf("%s: %v", network, err)
		}
		bindAt(t, network, address).close()
		taken.close()
	}
}

type bound struct {
	addr  string
	close func()
}

func bind(t *testing.T, network string) bound { return bindAt(t, network, "127.0.0.1:0") }

func bindAt(t *testing.T, network, address string) bound {
	t.Helper()
	if network == "udp" {
		c, err := net.ListenPacket(network, address)
		if err != nil {
			t.Fatal(err)
		}
		return bound{c.LocalAddr().String(), func() { c.Close() }}
	}
	l, err := net.Listen(network, address)
	if err != nil {
		t.Fatal(err)
	}
	return bound{l.Addr().String(), func() { l.Close() }}
}

// TestNew_Formats: what cannot be compiled, or told apart, is an error that names
// its key.
func TestNew_Formats(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ one, two, want string }{
		{"a %(id)s", "%(id)s%(sender)s", "formats[1].template"},
		{"a %(id)s", "a %(sender)s", "listeners[0].formats"},
	} {
		cfg := parse(t, "127.0.0.1:1", "  - {name: in, address: 'tcp://127.0.0.1:0', formats: [one, two]}\n",
			"formats:\n  - {name: one, template: 'x %(id)s'}\n  - {name: two, template: 'y %(id)s'}\n")
		cfg.Formats[0].Template, cfg.Formats[1].Template = c.one, c.two
		if _, err := New(Options{Config: cfg, Log: slog.New(slog.DiscardHandler)}); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%q and %q: %v", c.one, c.two, err)
		}
	}
}

// TestCustomFormat: a template of the configuration, with variables that have no
// column; and a listener's own list of formats.
func TestCustomFormat(t *testing.T) {
	t.Parallel()
	r := newRig(t, "  - {name: mine, address: 'tcp://127.0.0.1:0', formats: [mine]}\n  - {name: m3, address: 'udp://127.0.0.1:0', formats: [m3]}\n",
		"formats:\n  - {name: mine, kind: status, template: 'id=%(id)s colour=%(colour)s status=%(status)s;'}\n")
	r.send("mine", "<22>id="+testID(1)+" colour=deep blue status=delivered;\x00<22>"+m1(testID(2), "elsewhere")+"\x00")
	r.send("m3", "<22>"+m1(testID(3), "elsewhere"))
	got := r.read(3)
	slices.SortFunc(got, func(a, b event) int { return strings.Compare(a["kind"]+a["listener"], b["kind"]+b["listener"]) })
	got[0].want(t, "kind", "reject", "listener", "m3", "reason", "no_template")
	got[1].want(t, "kind", "reject", "listener", "mine", "reason", "no_template")
	got[2].want(t, "kind", "status", "format", "mine", "id", testID(1), "status", "delivered", "extra", "colour=deep blue")
	r.drained()
}

// TestAllow: what comes from elsewhere is counted, and nothing else of it.
func TestAllow(t *testing.T) {
	t.Parallel()
	r := newRig(t, "  - {name: tcp, address: 'tcp://127.0.0.1:0', allow: ['192.0.2.0/24']}\n  - {name: udp, address: 'udp://127.0.0.1:0', allow: ['192.0.2.0/24']}\n", "")
	r.send("udp", "<22>"+m1(testID(1), "from elsewhere"))
	closed(t, r.dial("tcp"))
	r.within("both are counted", func(a Account) bool { return a.Dropped[schema.DropNotAllowed] == 2 })
	if a := r.drained(); a.Received != 2 || a.Published != 0 {
		t.Errorf("account %+v", a)
	}
}

// TestTopics: missing ones are created as configured, or the state says how to.
func TestTopics(t *testing.T) {
	t.Parallel()
	broker, err := embedded.StartBroker(embedded.BrokerOptions{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(broker.Close)
	r := newRigOn(t, broker, tcp, "  create_topics: false\n")
	within(t, "the state says what is missing", func() bool {
		err := r.State()
		return err != nil && strings.Contains(err.Error(), "kafka-topics.sh") && strings.Contains(err.Error(), "millrace.message")
	}, func() string { return fmt.Sprint(r.State()) })
	select {
	case <-r.Ready():
		t.Error("ready without topics")
	default:
	}
	r.send("tcp", "<22>"+m1(testID(1), "waits")+"\x00")

	other := newRigOn(t, broker, tcp, "  partitions: 5\n")
	<-other.Ready()
	for _, k := range schema.Kinds() {
		if n := len(broker.Cluster().PartitionInfos("millrace." + k.Topic)); n != 5 {
			t.Errorf("topic of %s has %d partitions", k.Name, n)
		}
	}
	// The first one goes on by itself.
	r.within("the frame is published", func(a Account) bool { return a.Published == 1 })
	r.read(1)[0].want(t, "subject_header", "waits")
}

// TestRun_NoListener serves all the same until it is stopped: `millrace up` may
// have both of its listeners off.
func TestRun_NoListener(t *testing.T) {
	t.Parallel()
	r := newRig(t, "  - {name: none, address: 'tcp://127.0.0.1:0'}\n", "", func(c *config.Config) { c.Listeners = nil })
	select {
	case <-r.Ready():
	case <-time.After(patience):
		t.Fatalf("it is not ready: %v", r.State())
	}
	if err := r.State(); err != nil {
		t.Error(err)
	}
	if a := r.drained(); a.Received != 0 {
		t.Errorf("%+v", a)
	}
}
