package ingester

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"millrace/ingester/transport"
	"millrace/internal/certtest"
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

// from connects to a listener from an address of ours.
func (r *rig) from(address, listener string) net.Conn {
	r.t.Helper()
	var local net.Addr = &net.TCPAddr{IP: net.ParseIP(address)}
	to := r.addr[listener]
	if to.Network() == "udp" {
		local = &net.UDPAddr{IP: net.ParseIP(address)}
	}
	c, err := (&net.Dialer{LocalAddr: local}).Dial(to.Network(), to.String())
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() { c.Close() })
	return c
}

// stats are those of a listener.
func (r *rig) stats(listener string) *transport.Stats {
	i := slices.IndexFunc(r.Addrs(), func(a Addr) bool { return a.Name == listener })
	return r.listeners[i].Stats()
}

// refuses waits until one more frame or connection was refused for its sender than do
// was called for.
func (r *rig) refuses(listener string, do func()) {
	r.t.Helper()
	before := r.stats(listener).NotAllowed.Load()
	do()
	within(r.t, listener+" refuses it", func() bool { return r.stats(listener).NotAllowed.Load() == before+1 },
		func() string { return fmt.Sprintf("%d before, %d now", before, r.stats(listener).NotAllowed.Load()) })
}

// senders are those of message events, by the last digit of their ids.
func (r *rig) senders(n int) string {
	r.t.Helper()
	var all []string
	for _, e := range r.read(n) {
		all = append(all, e["id"][len(e["id"])-4:len(e["id"])-3]+" "+e["peer_ip"])
	}
	slices.Sort(all)
	return strings.Join(all, ", ")
}

// TestReload_Senders: who may send, who is a load balancer, and whose name a certificate
// must have, each in the listener that says so and in no other: one that was let in is
// refused afterwards, and the other way round.
func TestReload_Senders(t *testing.T) {
	t.Parallel()
	cert := certtest.New(t)
	server := cert.Issue(t, certtest.Subject{})
	files := fmt.Sprintf("cert: '%s', key: '%s', client_ca: '%s'", server.Cert, server.Key, cert.File)
	with := func(tcp, udp, proxied, secured string) string {
		return fmt.Sprintf(`  - {name: tcp, address: 'tcp://127.0.0.1:0', framing: nul, allow: [%s]}
  - {name: udp, address: 'udp://127.0.0.1:0', allow: [%s]}
  - {name: proxied, address: 'tcp://127.0.0.1:0', framing: nul, allow: [127.0.0.0/8], proxy_from: [%s]}
  - {name: secured, address: 'tls://127.0.0.1:0', framing: nul, tls: {%s, client_names: [%s]}}
`, tcp, udp, proxied, files, secured)
	}
	r := newRig(t, with("127.0.0.2", "127.0.0.3", "127.0.0.4", "a.example.net"), "")
	events := 0
	takes := func(c net.Conn, text string) {
		t.Helper()
		if err := write(c, text); err != nil {
			t.Fatal(err)
		}
		events++
		r.within("it is taken", func(a Account) bool { return a.Published == uint64(events) })
	}
	frame := func(n int) string { return "<22>" + m1(testID(n), "x") + "\x00" }
	shake := func(name string) *tls.Conn {
		c := tls.Client(r.dial("secured"), cert.Client(cert.Issue(t, certtest.Subject{Names: []string{name}})))
		_ = c.Handshake() // of TLS 1.3 the client's side is over before the server has looked
		return c
	}
	const header = "PROXY TCP4 127.0.0.77 127.0.0.1 1 2\r\n"

	// Before.
	tcp, udp := r.from("127.0.0.2", "tcp"), r.from("127.0.0.3", "udp")
	takes(tcp, frame(1))
	takes(udp, frame(2))
	r.refuses("tcp", func() { r.from("127.0.0.3", "tcp") })
	r.refuses("udp", func() { _ = write(r.from("127.0.0.2", "udp"), frame(99)) })
	takes(r.from("127.0.0.4", "proxied"), header+frame(3)) // on somebody's behalf
	plain := r.from("127.0.0.5", "proxied")
	takes(plain, frame(4))
	a := shake("a.example.net")
	takes(a, frame(5))
	r.refuses("secured", func() { shake("b.example.net") })

	if err := r.Reload(parse(t, r.broker.Addr, with("127.0.0.3", "127.0.0.2", "127.0.0.5", "b.example.net"), "")); err != nil {
		t.Fatal(err)
	}

	// Afterwards. Connections of those that may not send any more are closed.
	closed(t, tcp)
	closed(t, a)
	within(t, "the two are counted", func() bool {
		return r.stats("tcp").NotAllowed.Load() == 2 && r.stats("secured").NotAllowed.Load() == 2
	}, func() string { return "" })
	r.refuses("udp", func() { _ = write(udp, frame(99)) })
	r.refuses("tcp", func() { r.from("127.0.0.2", "tcp") })
	takes(r.from("127.0.0.3", "tcp"), frame(6))
	takes(r.from("127.0.0.2", "udp"), frame(7))
	takes(plain, frame(8)) // a connection that has begun has no header
	takes(r.from("127.0.0.4", "proxied"), frame(9))
	takes(r.from("127.0.0.5", "proxied"), header+frame(10))
	r.refuses("secured", func() { shake("a.example.net") })
	takes(shake("b.example.net"), frame(11))
	bad := r.from("127.0.0.5", "proxied")
	if err := write(bad, frame(99)); err != nil {
		t.Fatal(err)
	}
	closed(t, bad) // it has to begin with a header now
	if n := r.stats("proxied").BadHeaders.Load(); n != 1 {
		t.Errorf("%d connections have no header, want 1", n)
	}
	r.drained()
	if got, want := r.senders(events), "1 127.0.0.2, 2 127.0.0.3, 3 127.0.0.77, 4 127.0.0.5, 5 127.0.0.1, 6 127.0.0.3, 7 127.0.0.2, 8 127.0.0.5, 9 127.0.0.4, A 127.0.0.77, B 127.0.0.1"; got != want {
		t.Errorf("the senders are\n%s, want\n%s", got, want)
	}
}

// TestReload_Address: a listener's socket stays where it is, so what the file says of
// another address does not hold for it. Without allow one on loopback takes all that come,
// and any means there all of this machine; beyond loopback neither may be.
func TestReload_Address(t *testing.T) {
	t.Parallel()
	listeners := func(host, allow string) string {
		text := ""
		for _, network := range []string{"tcp", "udp"} {
			text += fmt.Sprintf("  - {name: %s, address: '%s://%s:0', %s}\n", network, network, host, allow)
		}
		return text
	}
	r := newRig(t, listeners("0.0.0.0", "allow: [127.0.0.2]"), "")
	events := uint64(0)
	check := func() {
		t.Helper()
		for _, l := range []string{"tcp", "udp"} {
			r.refuses(l, func() { _ = write(r.from("127.0.0.3", l), "<22>"+m1(testID(99), "x")) })
			if err := write(r.from("127.0.0.2", l), "<22>"+m1(testID(1), "x")+"\x00"); err != nil {
				t.Fatal(err)
			}
			events++
		}
		r.within("who may send can", func(a Account) bool { return a.Published == events })
	}
	check()
	for _, allow := range []string{"allow: any", "allow: [127.0.0.3]", "raw: always"} {
		if err := r.Reload(parse(t, r.broker.Addr, listeners("127.0.0.1", allow), "")); err != nil {
			t.Fatal(err)
		}
		check()
	}
	r.drained()
}

// TestReload_Unixgram: who may send to a Unix socket is the file system's affair, also
// behind a reload.
func TestReload_Unixgram(t *testing.T) {
	t.Parallel()
	listeners := "  - {name: local, address: 'unixgram://" + filepath.Join(t.TempDir(), "log") + "'}\n"
	r := newRig(t, listeners, "")
	for n := range uint64(2) {
		r.send("local", "<22>"+m1(testID(int(n)), "x"))
		r.within("it is taken", func(a Account) bool { return a.Published == n+1 })
		if err := r.Reload(parse(t, r.broker.Addr, listeners, "")); err != nil {
			t.Fatal(err)
		}
	}
	r.send("local", "<22>"+m1(testID(2), "x"))
	r.within("it is taken", func(a Account) bool { return a.Published == 3 })
	r.drained()
}
