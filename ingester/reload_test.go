package ingester

import (
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"

	"millrace/internal/config"
)

// TestReload_Rules: formats, direction and raw are taken over by connections
// that are open; a configuration with a mistake leaves everything as it was.
func TestReload_Rules(t *testing.T) {
	t.Parallel()
	const lines = "  - {name: in, address: 'tcp://127.0.0.1:0', %s}\n"
	with := func(broker, keys, template string) *config.Config {
		return parse(t, broker, fmt.Sprintf(lines, keys), "formats:\n  - {name: mine, template: '"+template+"'}\n")
	}
	r := newRig(t, fmt.Sprintf(lines, "formats: [mine], raw: never"), "formats:\n  - {name: mine, template: 'a %(id)s %(sender)s;'}\n")
	conn := r.dial("in")
	step := 0
	send := func(frame string) event {
		t.Helper()
		if _, err := fmt.Fprintf(conn, "<22>%s\x00", frame); err != nil {
			t.Fatal(err)
		}
		step++
		all := r.read(step)
		return all[slices.IndexFunc(all, func(e event) bool {
			return e["id"] == testID(step) || e["raw"] == "<22>"+frame
		})]
	}
	first := "a " + testID(1) + " x@example.org;"
	send(first).want(t, "kind", "message", "format", "mine", "direction", "unknown", "raw", "", "sender", "x@example.org")

	// One listener is good, the template is not: nothing is taken over.
	bad := with(r.broker.Addr, "formats: [mine], direction: outgoing, raw: always", "b %(id)s %(sender)s;")
	bad.Formats[0].Template = "%(id)s%(sender)s"
	var problems *config.Problems
	if err := r.Reload(bad); !errors.As(err, &problems) || !strings.Contains(err.Error(), "formats[0].template") {
		t.Errorf("%v", err)
	}
	send("a "+testID(2)+" x@example.org;").want(t, "kind", "message", "direction", "unknown", "raw", "")

	if err := r.Reload(with(r.broker.Addr, "formats: [mine], direction: outgoing, raw: always", "b %(id)s %(sender)s;")); err != nil {
		t.Fatal(err)
	}
	send("b "+testID(3)+" x@example.org;").want(t, "kind", "message", "direction", "outgoing", "raw", "<22>b "+testID(3)+" x@example.org;")
	send("a "+testID(4)+" x@example.org;").want(t, "kind", "reject", "reason", "no_template", "direction", "outgoing")
	r.drained()
}

// TestReload_UnderTraffic: no frame is lost, doubled or misread while the configuration is
// taken over again and again.
func TestReload_UnderTraffic(t *testing.T) {
	t.Parallel()
	const senders, each = 4, 2000
	r := newRig(t, "  - {name: in, address: 'tcp://127.0.0.1:0', formats: [m1]}\n", "")
	cfgs := []*config.Config{
		parse(t, r.broker.Addr, "  - {name: in, address: 'tcp://127.0.0.1:0', formats: [m1], direction: incoming}\n", ""),
		parse(t, r.broker.Addr, "  - {name: in, address: 'tcp://127.0.0.1:0', formats: [builtin], direction: outgoing}\n", ""),
	}
	var sending sync.WaitGroup
	for s := range senders {
		conn := r.dial("in")
		sending.Go(func() {
			for i := range each {
				if err := write(conn, "<22>"+m1(testID(s*each+i), "x")+"\x00"); err != nil {
					t.Errorf("a connection ended: %v", err)
					return
				}
			}
		})
	}
	done := make(chan struct{})
	go func() { sending.Wait(); close(done) }()
	for n := 0; ; n++ {
		select {
		case <-done:
		default:
			if err := r.Reload(cfgs[n%2]); err != nil {
				t.Fatal(err)
			}
			continue
		}
		break
	}
	r.within("all is published", func(a Account) bool { return a.Published == senders*each })
	once(t, r.read(senders*each), 0, senders*each)
	r.drained()
}

func write(c net.Conn, s string) error {
	_, err := c.Write([]byte(s))
	return err
}
