package transport

import (
	"context"
	"crypto/tls"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"millrace/ingester/framing"
	"millrace/schema"
)

// TestContract is what every transport keeps. A new one joins by being in the list.
func TestContract(t *testing.T) {
	t.Parallel()
	for _, v := range variants(t) {
		t.Run(v.name, func(t *testing.T) {
			t.Parallel()
			for _, c := range []struct {
				name string
				run  func(*testing.T, variant)
			}{
				{"a frame arrives whole", contractWhole},
				{"empty frames are counted and not given", contractEmpty},
				{"the allow-list", contractAllow},
				{"garbage leaves it running", contractGarbage},
				{"a stop hands over everything", contractStop},
				{"a stop under load loses nothing that was read", contractStopUnderLoad},
				{"a hard stop waits for nobody", contractHard},
				{"a taken port", contractTaken},
				{"IPv6", contractIPv6},
			} {
				t.Run(c.name, func(t *testing.T) {
					t.Parallel()
					c.run(t, v)
				})
			}
		})
	}
}

func contractWhole(t *testing.T, v variant) {
	s := start(t, v, Options{}, newRecorder())
	c := s.dial(t, "")
	frame := "<14>\"id\",\"\xFC ü, \x01 \"quoted\"\nline two\"" + strings.Repeat("x", 30000)
	send(t, c, frame+"\x00")
	send(t, c, "<14>two\x00")
	frames := s.waitFor(t, 2)
	if !slices.Contains(texts(frames), frame) || !slices.Contains(texts(frames), "<14>two") {
		t.Errorf("%.200q", texts(frames))
	}
	for _, f := range frames {
		if v.network == unixgram {
			if f.peer.IsValid() {
				t.Errorf("peer %s", f.peer)
			}
		} else if f.peer.String() != c.LocalAddr().String() {
			t.Errorf("peer %s, want %s", f.peer, c.LocalAddr())
		}
		if f.reject != "" || f.size != len(f.text) || f.flags != 0 {
			t.Errorf("%.100q: reject %q, size %d, flags %v", f.text, f.reject, f.size, f.flags.Words())
		}
	}
	if n := s.Stats().Frames.Load(); n != 2 {
		t.Errorf("Frames %d", n)
	}
	eventually(t, "bytes are counted", func() bool { return s.Stats().Bytes.Load() == onWire(c, frame+"\x00<14>two\x00") })
}

func contractEmpty(t *testing.T, v variant) {
	s := start(t, v, Options{}, newRecorder())
	c := s.dial(t, "")
	empty := "<14>\x00"
	if v.mail() {
		empty = "\x00" // whatever else stands in a message is for its format
	}
	send(t, c, empty, "<14>x\x00")
	s.waitFor(t, 1)
	s.stop()
	s.wait(t)
	if n := s.Stats().Empty.Load(); n != 1 {
		t.Errorf("Empty %d, want 1", n)
	}
	if frames := texts(s.waitFor(t, 1)); len(frames) != 1 {
		t.Errorf("%q", frames)
	}
}

func contractAllow(t *testing.T, v variant) {
	if v.network == unixgram {
		return // its senders have no address: the file's permissions are its list
	}
	s := start(t, v, Options{Allow: []netip.Prefix{netip.MustParsePrefix("127.0.0.2/32")}}, newRecorder())
	stranger := s.dial(t, "127.0.0.1")
	stranger.Write([]byte("<14>stranger\x00")) // on TCP it may find the connection closed
	eventually(t, "the stranger is counted", func() bool { return s.Stats().NotAllowed.Load() == 1 })
	send(t, s.dial(t, "127.0.0.2"), "<14>friend\x00")
	if frames := texts(s.waitFor(t, 1)); !slices.Equal(frames, []string{"<14>friend"}) {
		t.Errorf("%q", frames)
	}
	if v.stream() {
		if _, err := stranger.Read(make([]byte, 1)); err == nil {
			t.Errorf("the stranger's connection is still open")
		}
	}
}

func contractGarbage(t *testing.T, v variant) {
	s := start(t, v, Options{MaxFrame: 2000}, newRecorder())
	for seed := range uint64(20) {
		r := rand.New(rand.NewPCG(seed, 1))
		b := make([]byte, r.IntN(5000))
		for i := range b {
			b[i] = "\x00\n<>0123456789 \xFF\x80\x01"[r.IntN(18)]
			if r.IntN(3) == 0 {
				b[i] = byte(r.Uint32())
			}
		}
		c := raw(s.dial(t, ""))
		c.Write(b) // the other side may give the connection up
		c.Close()
	}
	c := s.dial(t, "")
	send(t, c, "<14>still here\x00")
	eventually(t, "a frame behind the garbage", func() bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		return slices.Contains(texts(s.frames), "<14>still here")
	})
}

// contractStop: the sink lets nothing pass until the stop has begun, so that nearly all
// is still in the socket then.
func contractStop(t *testing.T, v variant) {
	r := newRecorder()
	r.gate = make(chan struct{})
	s := start(t, v, Options{}, r)
	c := s.dial(t, "")
	var want []string
	n := 200
	if v.network == unixgram {
		n = 10 // net.unix.max_dgram_qlen: then the sender waits
	}
	if v.mail() {
		n = 1 // likewise; and what has not been answered, its sender has
	}
	for i := range n {
		frame := fmt.Sprintf("<14>frame %d %s", i, strings.Repeat("x", 50))
		want = append(want, frame)
		send(t, c, frame+"\x00")
	}
	switch {
	case v.delimited():
		send(t, c, "<14>torn")
		want = append(want, "<14>torn")
	case v.mail():
		eventually(t, "the message is read", func() bool { return s.Stats().Bytes.Load() == onWire(c, want[0]) })
	case v.stream():
		send(t, raw(c), "202 syslog 100 torn") // its sender has no answer, and still has it
	}
	if v.stream() && !v.mail() {
		late := s.dial(t, "")
		send(t, late, "<14>late\x00")
		want = append(want, "<14>late")
	}
	s.stop()
	close(r.gate)
	s.wait(t)
	frames := s.waitFor(t, 0)
	have := texts(frames)
	slices.Sort(have)
	slices.Sort(want)
	if !slices.Equal(have, want) {
		t.Errorf("%d frames, want %d", len(have), len(want))
	}
	for _, f := range frames {
		if torn := f.text == "<14>torn"; torn != (f.flags == schema.FlagNoTrailer) {
			t.Errorf("%q: flags %v", f.text, f.flags.Words())
		}
	}
	if n := s.Stats().Shutdown.Load(); n != 0 {
		t.Errorf("%d drops", n)
	}
	if v.stream() {
		if conn, err := net.Dial("tcp", s.Addr().String()); err == nil {
			conn.Close()
			t.Errorf("still takes connections")
		}
	}
}

// contractStopUnderLoad: the senders go on sending while it stops. What was read was
// given, to the byte.
func contractStopUnderLoad(t *testing.T, v variant) {
	s := start(t, v, Options{Framing: framing.NUL}, newRecorder())
	frame := "<14>" + strings.Repeat("x", 300)
	var senders sync.WaitGroup
	for range 3 {
		c := s.dial(t, "")
		// A UDP sender notices no stop by itself.
		ended := context.AfterFunc(s.soft, func() { c.SetWriteDeadline(time.Now().Add(50 * time.Millisecond)) })
		defer ended()
		senders.Go(func() {
			for {
				if _, err := c.Write([]byte(frame + "\x00")); err != nil {
					return
				}
			}
		})
	}
	eventually(t, "frames come", func() bool { return s.Stats().Frames.Load() >= 500 })
	s.stop()
	s.wait(t)
	senders.Wait()
	read := s.Stats().Bytes.Load()
	if v.network == "relp" || v.mail() {
		// A number takes one to six bytes, and what is torn is sent again: the frames are counted.
		read = s.Stats().Frames.Load() * uint64(len(frame)+1)
	}
	for _, f := range s.waitFor(t, 0) {
		switch {
		case f.flags == schema.FlagNoTrailer && strings.HasPrefix(frame, f.text):
			read -= uint64(len(f.text))
		case f.text == frame && f.flags == 0:
			read -= uint64(len(f.text)) + 1
		default:
			t.Fatalf("%q %v", f.text, f.flags.Words())
		}
	}
	if read != 0 {
		t.Errorf("%d bytes were read and not given", int64(read))
	}
}

func contractHard(t *testing.T, v variant) {
	r := newRecorder()
	r.gate = make(chan struct{}) // never opens
	s := start(t, v, Options{}, r)
	c := s.dial(t, "")
	frames, lost := "<14>one\x00<14>two\x00", uint64(2)
	if v.mail() {
		frames, lost = "<14>one\x00", 0 // its sender has it
	}
	send(t, c, frames)
	eventually(t, "bytes are read", func() bool { return s.Stats().Bytes.Load() >= onWire(c, frames) || !v.stream() })
	s.abort()
	s.wait(t)
	if n := len(s.waitFor(t, 0)); n != 0 {
		t.Errorf("%d frames through a closed gate", n)
	}
	if n := s.Stats().Shutdown.Load(); v.stream() && n != lost {
		t.Errorf("Shutdown %d, want %d: so many frames had been read", n, lost)
	}
	if n := s.Stats().PutOffKafka.Load(); v.mail() && n != 1 {
		t.Errorf("%d messages were put off, want 1", n)
	}
}

func contractTaken(t *testing.T, v variant) {
	s := start(t, v, Options{}, newRecorder())
	l, err := Listen(v.configured(Options{Address: s.Addr().String()}))
	if err == nil {
		l.Close()
		t.Fatalf("two listeners on %s", s.Addr())
	}
	for _, part := range []string{fmt.Sprintf("%q", v.network+"://"+s.Addr().String()), "listeners[].address", "address already in use"} {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("%q is not in: %v", part, err)
		}
	}
}

func contractIPv6(t *testing.T, v variant) {
	if v.network == unixgram {
		return
	}
	if c, err := net.ListenPacket("udp6", "[::1]:0"); err != nil {
		t.Logf("this machine has no IPv6: %v", err)
		return
	} else {
		c.Close()
	}
	s := start(t, v, Options{Address: "[::]:0", Allow: []netip.Prefix{netip.MustParsePrefix("::1/128"), netip.MustParsePrefix("127.0.0.0/8")}}, newRecorder())
	port := s.Addr().(interface{ AddrPort() netip.AddrPort }).AddrPort().Port()
	for i, host := range []string{"::1", "127.0.0.1"} {
		c, err := net.Dial(s.Addr().Network(), net.JoinHostPort(host, fmt.Sprint(port)))
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		if v.client != nil {
			c = v.client(c)
		}
		send(t, c, "<14>"+host+"\x00")
		f := s.waitFor(t, i+1)[i]
		if f.peer.Addr() != netip.MustParseAddr(host) {
			t.Errorf("peer %s, want %s", f.peer, host)
		}
	}
}

func TestParseAddress(t *testing.T) {
	t.Parallel()
	for _, s := range []string{"tcp://127.0.0.1:5514", "udp://[::1]:514", "tcp://:0", "udp://host.example.net:65535"} {
		network, address, err := ParseAddress(s)
		if err != nil || network+"://"+address != s {
			t.Errorf("%s: %q %q %v", s, network, address, err)
		}
	}
	for s, part := range map[string]string{
		"127.0.0.1:5514":          "tcp://, tls://, relp://, udp://, unixgram://, smtp://, smtps://, lmtp://",
		"http://127.0.0.1:80":     "tcp://, tls://, relp://, udp://, unixgram://, smtp://, smtps://, lmtp://",
		"tcp://127.0.0.1":         "tcp://HOST:PORT",
		"tcp://::1:5514":          "brackets",
		"tcp://127.0.0.1:x":       `port "x"`,
		"tcp://127.0.0.1:-1":      `port "-1"`,
		"udp://127.0.0.1:9999999": `port "9999999"`,
		"":                        "tcp://, tls://, relp://, udp://, unixgram://, smtp://, smtps://, lmtp://",
	} {
		if _, _, err := ParseAddress(s); err == nil || !strings.Contains(err.Error(), part) || !strings.Contains(err.Error(), fmt.Sprintf("%q", s)) || !strings.Contains(err.Error(), "listeners[].address") {
			t.Errorf("%q: %v, want %q in it", s, err, part)
		}
	}
}

func TestValidate(t *testing.T) {
	t.Parallel()
	some := []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}
	f := func(o Options, parts ...string) {
		t.Helper()
		err := Validate(o)
		if (err == nil) != (len(parts) == 0) {
			t.Errorf("%+v: %v", o, err)
			return
		}
		for _, part := range parts {
			if !strings.Contains(err.Error(), part) {
				t.Errorf("%+v: %q is not in: %v", o, part, err)
			}
		}
	}
	secured := &TLS{Config: &tls.Config{Certificates: make([]tls.Certificate, 1)}}
	for _, network := range Networks() {
		if network == unixgram {
			continue
		}
		var encryption *TLS
		if network == "tls" || network == "smtps" {
			encryption = secured
		}
		for _, address := range []string{"127.0.0.1:1", "127.9.9.9:1", "[::1]:1", "[::ffff:127.0.0.1]:1", "localhost:1"} {
			f(Options{Network: network, TLS: encryption, Address: address})
		}
		for _, address := range []string{":1", "0.0.0.0:1", "[::]:1", "192.0.2.1:1", "mail.example.net:1"} {
			f(Options{Network: network, TLS: encryption, Address: address}, fmt.Sprintf("%q", network+"://"+address), "listeners[].allow", "allow: any")
			f(Options{Network: network, TLS: encryption, Address: address, Allow: some})
			f(Options{Network: network, TLS: encryption, Address: address, AllowAny: true})
		}
	}
	f(Options{Network: "udp", Address: "127.0.0.1:1", MaxFrame: 65536}, "65536", "65535", "max_frame")
	f(Options{Network: "tcp", Address: "127.0.0.1:1", MaxFrame: 1 << 20})
	f(Options{Network: "tcp", Address: "127.0.0.1:1", MaxFrame: -1}, "-1", "max_frame")
	f(Options{Network: "sctp", Address: "127.0.0.1:1"}, "sctp")
	f(Options{Network: "tls", Address: "127.0.0.1:1"}, "tls://127.0.0.1:1", "certificate", "listeners[].tls")
	f(Options{Network: "tcp", Address: "127.0.0.1:1", TLS: secured}, "tcp", "listeners[].tls")
	f(Options{Network: "tls", Address: "127.0.0.1:1", TLS: &TLS{Config: secured.Config, ClientNames: []string{"a.example.net"}}}, "client_ca", "client_names")
}

func TestAllowList(t *testing.T) {
	t.Parallel()
	a := newAllowList(Options{Allow: []netip.Prefix{
		netip.MustParsePrefix("192.0.2.0/24"), netip.MustParsePrefix("2001:db8::/32"), netip.MustParsePrefix("::ffff:198.51.100.0/120"),
	}})
	for addr, want := range map[string]bool{
		"192.0.2.255": true, "192.0.3.0": false, "2001:db8:1::1": true, "2001:db9::": false, "198.51.100.7": true, "198.51.101.7": false, "127.0.0.1": false,
	} {
		if a.permits(netip.MustParseAddr(addr)) != want {
			t.Errorf("%s: %v", addr, !want)
		}
	}
	if !(&allowList{all: true}).permits(netip.MustParseAddr("192.0.3.0")) {
		t.Errorf("any does not allow any")
	}
}
