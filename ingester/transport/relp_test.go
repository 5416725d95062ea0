package transport

import (
	"fmt"
	"math/rand/v2"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"millrace/ingester/mailtest"
	"millrace/ingester/relp"
	"millrace/ingester/relp/relptest"
	"millrace/schema"
)

var overRELP = variant{name: "relp", network: "relp", client: asRELP}

func asRELP(c net.Conn) net.Conn { return relptest.New(c) }

// raw is the connection below the protocol.
func raw(c net.Conn) net.Conn {
	switch c := c.(type) {
	case *relptest.Client:
		return c.Conn
	case *mailtest.Client:
		return c.Conn
	}
	return c
}

// onWire is how many bytes a connection needed for what was written, its first.
func onWire(c net.Conn, written string) uint64 {
	switch c := c.(type) {
	case *relptest.Client:
		return relptest.OnWire(written)
	case *mailtest.Client:
		return c.OnWire(written)
	}
	return uint64(len(written))
}

func dialRELP(t *testing.T, s *server) *relptest.Client { return s.dial(t, "").(*relptest.Client) }

func ok(txnr int) string { return fmt.Sprintf("%d rsp 6 200 OK", txnr) }

const relpAccepted = "1 rsp 60 200 OK\nrelp_version=0\nrelp_software=millrace\ncommands=syslog"

// TestRELP_Session is a whole session: offers, messages, a close by the sender, which
// hears of everything before it.
func TestRELP_Session(t *testing.T) {
	t.Parallel()
	r := newRecorder()
	r.withhold = true
	s := start(t, overRELP, Options{}, r)
	c := dialRELP(t, s)
	send(t, c, "<14>one\x00<14>two\nlines\x00")
	s.waitFor(t, 2)
	if have := c.Said(t, 1); !slices.Equal(have, []string{relpAccepted}) {
		t.Errorf("%q before anything is kept", have)
	}
	send(t, raw(c), c.Next("close", ""))
	r.release(0)
	r.release(1)
	want := []string{relpAccepted, ok(2), ok(3), ok(4), "0 serverclose 0"}
	have := c.Wait(t, "the end", func(_ []string, closed bool) bool { return closed })
	if !slices.Equal(have, want) {
		t.Errorf("have %q\nwant %q", have, want)
	}
	if frames := texts(s.waitFor(t, 2)); !slices.Equal(frames, []string{"<14>one", "<14>two\nlines"}) {
		t.Errorf("%q", frames)
	}
	eventually(t, "the connection is gone", func() bool { return s.Stats().Open.Load() == 0 })
	if n := s.Stats().Unanswered.Load(); n != 0 {
		t.Errorf("%d unanswered", n)
	}
}

// TestRELP_AnswersInOrder: whatever becomes safe first, each frame is answered once and
// in turn.
func TestRELP_AnswersInOrder(t *testing.T) {
	t.Parallel()
	const frames = 1000
	r := newRecorder()
	r.withhold = true
	s := start(t, overRELP, Options{}, r)
	c := dialRELP(t, s)
	want := []string{relpAccepted}
	for i := range frames {
		send(t, c, fmt.Sprintf("<14>%d", i))
		want = append(want, ok(2+i))
	}
	s.waitFor(t, frames)
	for _, i := range rand.New(rand.NewPCG(1, 1)).Perm(frames) {
		if i != 0 {
			r.release(i)
		}
	}
	if have := c.Said(t, 1); len(have) != 1 {
		t.Errorf("%d answers while the first frame is not kept", len(have)-1)
	}
	r.release(0)
	for i := range frames {
		r.release(i) // a second report changes nothing
	}
	s.stop()
	s.wait(t)
	have := c.Wait(t, "the end", func(_ []string, closed bool) bool { return closed })
	if want = append(want, "0 serverclose 0"); !slices.Equal(have, want) {
		t.Errorf("%d answers, want %d: %q", len(have), len(want), have[len(have)-3:])
	}
}

// TestRELP_Broken: what is no RELP, or not allowed where it stands, ends the connection
// and is a reject. No message is ever refused: its sender would throw it away.
func TestRELP_Broken(t *testing.T) {
	t.Parallel()
	open := relptest.Frame(1, "open", relptest.Offers)
	long := strings.Repeat("x", 3000)
	for name, c := range map[string]struct {
		sent    string
		detail  string
		answers []string
	}{
		"plain syslog":        {sent: "<14>no RELP\n", detail: "transaction number"},
		"number 0":            {sent: "0 open 0\n", detail: "transaction number"},
		"ten digits":          {sent: "1000000000 open 0\n", detail: "transaction number"},
		"no command":          {sent: "1  0\n", detail: "command"},
		"command of 33":       {sent: "1 " + strings.Repeat("a", 33) + " 0\n", detail: "command"},
		"no length":           {sent: "1 open \n", detail: "data length"},
		"length of 10":        {sent: "1 open 1000000000 x\n", detail: "data length"},
		"no line feed":        {sent: "1 open 3 abcd\n", detail: "line feed"},
		"no offers":           {sent: "1 open 0\n", detail: "relp_version", answers: []string{"1 rsp 30 500 no relp_version is offered"}},
		"syslog not offered":  {sent: relptest.Frame(1, "open", "relp_version=1\ncommands=eventlog"), detail: "not offered", answers: []string{"1 rsp 37 500 the command syslog is not offered"}},
		"syslog before open":  {sent: relptest.Frame(1, "syslog", "<14>x"), detail: "not allowed here"},
		"open twice":          {sent: open + relptest.Frame(2, "open", relptest.Offers), detail: "not allowed here", answers: []string{relpAccepted}},
		"unknown command":     {sent: open + relptest.Frame(2, "starttls", ""), detail: "starttls", answers: []string{relpAccepted}},
		"a number left out":   {sent: open + relptest.Frame(3, "syslog", "<14>x"), detail: "3 follows 1", answers: []string{relpAccepted}},
		"a number twice":      {sent: open + relptest.Frame(1, "syslog", "<14>x"), detail: "1 follows 1", answers: []string{relpAccepted}},
		"long, no line feed":  {sent: open + "2 syslog 3000 " + long + "x", detail: "line feed", answers: []string{relpAccepted}},
		"a lone CR in header": {sent: "1 open\r 0\n", detail: "command"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := start(t, overRELP, Options{MaxFrame: 2000}, newRecorder())
			client := dialRELP(t, s)
			send(t, raw(client), c.sent)
			have := client.Wait(t, "the end", func(_ []string, closed bool) bool { return closed })
			if !slices.Equal(have, c.answers) {
				t.Errorf("answers %q, want %q", have, c.answers)
			}
			frames := s.waitFor(t, 1)
			if len(frames) != 1 || frames[0].reject != schema.ReasonBadFrame {
				t.Errorf("%q", shown(frames))
			}
			if !strings.Contains(frames[0].detail, c.detail) {
				t.Errorf("detail %q, want %q in it", frames[0].detail, c.detail)
			}
		})
	}
}

// TestRELP_Oversize: a message beyond max_frame is a reject with its beginning, answered
// when that is kept, and the session goes on.
func TestRELP_Oversize(t *testing.T) {
	t.Parallel()
	s := start(t, overRELP, Options{MaxFrame: 2000}, newRecorder())
	c := dialRELP(t, s)
	long := "<14>" + strings.Repeat("x", 300_000)
	send(t, c, "<14>A", long, "<14>B", "<14>"+strings.Repeat("y", 1996))
	have := shown(s.waitFor(t, 4))
	want := []string{`"<14>A"`, fmt.Sprintf("oversize(300004) %q", long[:1024]), `"<14>B"`, fmt.Sprintf("%q", "<14>"+strings.Repeat("y", 1996))}
	if !slices.Equal(have, want) {
		t.Errorf("have %.300q\nwant %.300q", have, want)
	}
	if have := c.Said(t, 5); !slices.Equal(have[1:], []string{ok(2), ok(3), ok(4), ok(5)}) {
		t.Errorf("%q", have)
	}
}

// TestRELP_Empty: a message with nothing in it is counted and answered.
func TestRELP_Empty(t *testing.T) {
	t.Parallel()
	s := start(t, overRELP, Options{}, newRecorder())
	c := dialRELP(t, s)
	send(t, c, "<14>", "<14>x")
	send(t, raw(c), c.Next("syslog", ""))
	if have := c.Said(t, 4); !slices.Equal(have[1:], []string{ok(2), ok(3), ok(4)}) {
		t.Errorf("%q", have)
	}
	if n := s.Stats().Empty.Load(); n != 2 {
		t.Errorf("Empty %d, want 2", n)
	}
}

// TestRELP_Window: a sender without a window of its own is not read beyond ours until
// answers go out.
func TestRELP_Window(t *testing.T) {
	t.Parallel()
	const frames = relpWindow + 500
	r := newRecorder()
	r.withhold = true
	s := start(t, overRELP, Options{}, r)
	c := dialRELP(t, s)
	for i := range frames {
		send(t, c, fmt.Sprintf("<14>%d", i))
	}
	s.waitFor(t, relpWindow)
	for i := range relpWindow - 1 {
		r.release(i + 1)
	}
	if n := len(s.waitFor(t, 0)); n != relpWindow {
		t.Errorf("%d frames are taken without an answer, want %d", n, relpWindow)
	}
	r.release(0)
	s.waitFor(t, frames)
	for i := relpWindow; i < frames; i++ {
		r.release(i)
	}
	if have := c.Said(t, 1+frames); have[frames] != ok(1+frames) {
		t.Errorf("the last answer is %q", have[frames])
	}
}

// TestRELP_Stop: a stop waits for what was taken, answers it and says goodbye.
func TestRELP_Stop(t *testing.T) {
	t.Parallel()
	r := newRecorder()
	r.withhold = true
	s := start(t, overRELP, Options{}, r)
	c := dialRELP(t, s)
	idle := dialRELP(t, s)
	send(t, idle, "<14>idle")
	s.waitFor(t, 1)
	r.release(0)
	send(t, c, "<14>one\x00<14>two\x00")
	s.waitFor(t, 3)
	s.stop()
	r.release(1)
	r.release(2)
	s.wait(t)
	for _, x := range []struct {
		c    *relptest.Client
		want []string
	}{{c, []string{relpAccepted, ok(2), ok(3), "0 serverclose 0"}}, {idle, []string{relpAccepted, ok(2), "0 serverclose 0"}}} {
		if have := x.c.Wait(t, "the end", func(_ []string, closed bool) bool { return closed }); !slices.Equal(have, x.want) {
			t.Errorf("have %q\nwant %q", have, x.want)
		}
	}
	if n := s.Stats().Unanswered.Load(); n != 0 {
		t.Errorf("%d unanswered", n)
	}
}

// TestRELP_HardStop: what is not kept by then is not answered, and counted.
func TestRELP_HardStop(t *testing.T) {
	t.Parallel()
	r := newRecorder()
	r.withhold = true
	s := start(t, overRELP, Options{}, r)
	c := dialRELP(t, s)
	send(t, c, "<14>one\x00<14>two\x00")
	s.waitFor(t, 2)
	s.stop()
	s.abort()
	s.wait(t)
	r.release(0)
	if have := c.Wait(t, "the end", func(_ []string, closed bool) bool { return closed }); !slices.Equal(have, []string{relpAccepted}) {
		t.Errorf("%q", have)
	}
	if n := s.Stats().Unanswered.Load(); n != 2 {
		t.Errorf("%d unanswered, want 2", n)
	}
}

// TestRELP_Unanswered: frames whose sender has gone before they were kept are counted:
// it will send them again.
func TestRELP_Unanswered(t *testing.T) {
	t.Parallel()
	r := newRecorder()
	r.withhold = true
	s := start(t, overRELP, Options{}, r)
	c := dialRELP(t, s)
	send(t, c, "<14>one\x00<14>two\x00<14>three\x00")
	send(t, raw(c), "5 syslog 100 torn")
	s.waitFor(t, 3)
	r.release(0)
	c.Said(t, 2)
	c.Close()
	eventually(t, "two unanswered frames", func() bool { return s.Stats().Unanswered.Load() == 2 })
	r.release(1)
	r.release(2) // after the end: nobody minds
	if frames := texts(s.waitFor(t, 3)); len(frames) != 3 {
		t.Errorf("%q", frames)
	}
}

// TestAnswers_Wrap: numbers begin anew behind the largest, also within a window.
func TestAnswers_Wrap(t *testing.T) {
	t.Parallel()
	server, client := net.Pipe()
	defer server.Close()
	c := relptest.New(client)
	a := newAnswers(server, server)
	txnr := uint32(relp.MaxTXNR - 5)
	var numbers []uint32
	var want []string
	for range 12 {
		a.take(txnr)
		numbers = append(numbers, txnr)
		want = append(want, ok(int(txnr)))
		txnr = relp.After(txnr)
	}
	slices.Reverse(numbers)
	a.Kept(numbers[:11])
	a.Kept(numbers[11:])
	if have := c.Said(t, 12); !slices.Equal(have, want) {
		t.Errorf("have %q\nwant %q", have, want)
	}
	eventually(t, "all is answered", a.done)
	if n := a.end(); n != 0 {
		t.Errorf("%d owed", n)
	}
}

// TestRELP_IdleTimeout: a sender that waits for its answers is not idle; one that has
// them is.
func TestRELP_IdleTimeout(t *testing.T) {
	t.Parallel()
	r := newRecorder()
	r.withhold = true
	s := start(t, overRELP, Options{IdleTimeout: 20 * time.Millisecond}, r)
	idle, waits := dialRELP(t, s), dialRELP(t, s)
	send(t, waits, "<14>one")
	s.waitFor(t, 1)
	idle.Wait(t, "the end of the idle one", func(_ []string, closed bool) bool { return closed })
	r.release(0)
	have := waits.Wait(t, "the end", func(_ []string, closed bool) bool { return closed })
	if !slices.Equal(have, []string{relpAccepted, ok(2)}) {
		t.Errorf("%q", have)
	}
	if n := s.Stats().Idle.Load(); n != 2 {
		t.Errorf("%d were idle", n)
	}
}
