package ingester

import (
	"fmt"
	"net"
	"strings"
	"testing"
	"time"
)

// structured is a frame with everything that a header can hold.
const structured = `<165>1 2023-03-30T02:11:05.250+02:00 filter1.example.net mailfilter 4711 ID47 [filter@32473 node="f1" note="a\"b\]\\c"][x y="z"] `

// TestTransportFields reads back from Kafka what an event has of its way here.
func TestTransportFields(t *testing.T) {
	t.Parallel()
	r := newRig(t, "  - {name: in-tcp, address: 'tcp://127.0.0.1:0', direction: incoming, raw: always}\n"+
		"  - {name: out-udp, address: 'udp://127.0.0.1:0', direction: outgoing, raw: always}\n", "")
	before := time.Now().Truncate(time.Millisecond)
	for i, listener := range []string{"in-tcp", "out-udp"} {
		r.send(listener, structured+m1(testID(i), "structured")+"\x00")
	}
	r.within("both are published", func(a Account) bool { return a.Published == 2 })
	after := time.Now()
	for _, e := range r.read(2) {
		listener, transport, direction := "in-tcp", "tcp", "incoming"
		if e["transport"] == "udp" {
			listener, transport, direction = "out-udp", "udp", "outgoing"
		}
		e.want(t, "kind", "message", "listener", listener, "transport", transport, "direction", direction,
			"peer_ip", "127.0.0.1", "facility", "20", "severity", "5",
			"syslog_host", "filter1.example.net", "syslog_app", "mailfilter", "syslog_pid", "4711",
			"structured_data", `filter@32473.node=f1 filter@32473.note=a"b]\c x.y=z`,
			"format", "m1", "event_time", "2023-03-30 00:11:01.000", "event_time_source", "event", "id_time", "2023-03-30 00:11:01",
			"flags", "", "bad_fields", "", "subject_header", "structured", "raw", structured+m1(e["id"], "structured"))
		at, err := time.Parse("2006-01-02 15:04:05.000", e["received_at"])
		if err != nil || at.Before(before) || at.After(after) {
			t.Errorf("received_at is %q: not between %v and %v", e["received_at"], before.UTC(), after.UTC())
		}
	}
}

// TestEventTimeSource: the event's own time, else its id's, else the header's,
// else when it came.
func TestEventTimeSource(t *testing.T) {
	t.Parallel()
	r := newRig(t, tcp, "")
	timeless := func(id string) string { return strings.Replace(m1(id, id), "1680135061", "", 1) }
	r.send("tcp", structured+timeless(testID(1))+"\x00", structured+timeless("no-id")+"\x00", "<22>"+timeless("no-id-no-header")+"\x00", structured+"nonsense\x00")
	r.within("all are acknowledged", func(a Account) bool { return a.Published+a.RejectedTotal() == 4 })
	for _, e := range r.read(4) {
		switch {
		case e["kind"] == "reject":
			e.want(t, "event_time_source", "received", "event_time", e["received_at"], "id_time", e["received_at"][:19],
				"facility", "20", "severity", "5", "syslog_host", "filter1.example.net", "direction", "unknown", "listener", "tcp", "peer_ip", "127.0.0.1",
				"reason", "no_template", "raw", structured+"nonsense", "frame_bytes", fmt.Sprint(len(structured)+len("nonsense")))
		case e["id"] == "no-id":
			e.want(t, "event_time_source", "header", "event_time", "2023-03-30 00:11:05.250", "id_time", "2023-03-30 00:11:05", "flags", "bad_id")
		case e["id"] == "no-id-no-header":
			e.want(t, "event_time_source", "received", "event_time", e["received_at"], "id_time", e["received_at"][:19], "flags", "bad_id")
		default:
			e.want(t, "event_time_source", "id", "event_time", "2023-03-30 00:11:01.000", "id_time", "2023-03-30 00:11:01", "flags", "")
		}
	}
}

// TestPeerIPv6: an IPv6 sender keeps its address.
func TestPeerIPv6(t *testing.T) {
	t.Parallel()
	if l, err := net.Listen("tcp", "[::1]:0"); err != nil {
		t.Logf("this machine has no IPv6 loopback (%v): an IPv4 sender to a listener on all addresses instead", err)
		r := newRig(t, "  - {name: any, address: 'tcp://0.0.0.0:0', allow: ['127.0.0.0/8']}\n", "")
		_, port, _ := net.SplitHostPort(r.addr["any"].String())
		c, err := net.Dial("tcp", "127.0.0.1:"+port)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		fmt.Fprintf(c, "<22>%s\x00", m1(testID(1), "four"))
		r.read(1)[0].want(t, "peer_ip", "127.0.0.1")
		return
	} else {
		l.Close()
	}
	r := newRig(t, "  - {name: six, address: 'tcp://[::1]:0'}\n  - {name: six-udp, address: 'udp://[::1]:0'}\n", "")
	r.send("six", "<22>"+m1(testID(1), "six")+"\x00")
	r.send("six-udp", "<22>"+m1(testID(2), "six")+"\x00")
	for _, e := range r.read(2) {
		e.want(t, "peer_ip", "::1")
	}
}

// TestRawPolicy: always, flagged, never; rejects always keep it.
func TestRawPolicy(t *testing.T) {
	t.Parallel()
	var listeners strings.Builder
	for _, network := range []string{"tcp", "udp"} {
		for _, policy := range []string{"always", "flagged", "never"} {
			fmt.Fprintf(&listeners, "  - {name: %s-%s, address: '%s://127.0.0.1:0', raw: %s}\n", policy, network, network, policy)
		}
	}
	r := newRig(t, listeners.String(), "")
	frames := map[string]string{ // by subject, or what is left of it
		"clean":       "<22>" + m1(testID(1), "clean"),
		"no pri":      m1(testID(2), "no pri"),
		"caf\uFFFD":   "<22>" + m1(testID(3), "caf\xe9"),
		"bad address": "<22>" + strings.Replace(m1(testID(4), "bad address"), "192.0.2.1", "nowhere", 1),
		"":            "<22>nonsense \xff",
	}
	flags := map[string]string{"no pri": "no_pri", "caf\uFFFD": "bad_utf8", "bad address": "bad_ip"}
	for name := range r.addr {
		for _, f := range frames {
			r.send(name, f+"\x00")
		}
	}
	n := len(r.addr) * len(frames)
	r.within("all are acknowledged", func(a Account) bool { return a.Published+a.RejectedTotal() == uint64(n) })
	for _, e := range r.read(n) {
		policy, _, _ := strings.Cut(e["listener"], "-")
		subject := e["subject_header"]
		raw := ""
		if e["kind"] == "reject" || policy == "always" || policy == "flagged" && subject != "clean" {
			raw = frames[subject]
		}
		e.want(t, "raw", raw, "flags", flags[subject])
	}
}
