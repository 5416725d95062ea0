package transport

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// relpClient is the sender's side of RELP as a net.Conn: what is written up to a NUL, or
// to the end of a Write, goes as one message. It opens the session with the first.
type relpClient struct {
	net.Conn
	last   int // transaction number
	opened bool

	mu      sync.Mutex
	changed chan struct{}
	answers []string // NUMBER rsp ..., and hints, as they came
	closed  bool     // by the server
}

const relpOffers = "relp_version=0\nrelp_software=librelp,1.11.0,http://librelp.adiscon.com\ncommands=syslog"

func newRELPClient(c net.Conn) net.Conn {
	r := &relpClient{Conn: c, changed: make(chan struct{})}
	go r.listen()
	return r
}

// raw is the connection below the protocol.
func raw(c net.Conn) net.Conn {
	if r, ok := c.(*relpClient); ok {
		return r.Conn
	}
	return c
}

// onWire is how many bytes a connection needed for messages, its first ones.
func onWire(c net.Conn, messages string) uint64 {
	if _, ok := c.(*relpClient); !ok {
		return uint64(len(messages))
	}
	b := relpFrame(1, "open", relpOffers)
	for i, m := range relpMessages(messages) {
		b += relpFrame(2+i, "syslog", m)
	}
	return uint64(len(b))
}

func relpMessages(b string) []string { return strings.Split(strings.TrimSuffix(b, "\x00"), "\x00") }

func relpFrame(txnr int, command, data string) string {
	if data == "" {
		return fmt.Sprintf("%d %s 0\n", txnr, command)
	}
	return fmt.Sprintf("%d %s %d %s\n", txnr, command, len(data), data)
}

// Write implements net.Conn.
func (r *relpClient) Write(b []byte) (int, error) {
	var out []byte
	if !r.opened {
		r.opened = true
		out = append(out, r.frame("open", relpOffers)...)
	}
	for _, m := range relpMessages(string(b)) {
		out = append(out, r.frame("syslog", m)...)
	}
	if _, err := r.Conn.Write(out); err != nil {
		return 0, err
	}
	return len(b), nil
}

func (r *relpClient) frame(command, data string) string {
	r.last++
	return relpFrame(r.last, command, data)
}

// listen notes what the server says, and hangs up when it does.
func (r *relpClient) listen() {
	in := bufio.NewReader(r.Conn)
	for {
		answer, err := readRELP(in)
		r.mu.Lock()
		if err != nil {
			r.closed = true
			r.Conn.Close()
		} else {
			r.answers = append(r.answers, answer)
		}
		close(r.changed)
		r.changed = make(chan struct{})
		r.mu.Unlock()
		if err != nil {
			return
		}
	}
}

// readRELP reads one frame by its length and returns it without the line feed.
func readRELP(in *bufio.Reader) (string, error) {
	var head []byte
	for bytes.Count(head, []byte(" ")) < 3 {
		c, err := in.ReadByte()
		if err != nil {
			return "", err
		}
		if c == '\n' {
			return string(head), nil // no data
		}
		head = append(head, c)
	}
	n, err := strconv.Atoi(strings.Fields(string(head))[2])
	if err != nil {
		return "", err
	}
	data := make([]byte, n+1)
	if _, err := io.ReadFull(in, data); err != nil {
		return "", err
	}
	if data[n] != '\n' {
		return "", fmt.Errorf("no line feed behind %q", data)
	}
	return string(head) + string(data[:n]), nil
}

// wait returns all that the server has said once ok likes it.
func (r *relpClient) wait(t testing.TB, what string, ok func(answers []string, closed bool) bool) []string {
	t.Helper()
	timeout := time.After(patience)
	for {
		r.mu.Lock()
		answers, closed, changed := r.answers[:len(r.answers):len(r.answers)], r.closed, r.changed
		r.mu.Unlock()
		if ok(answers, closed) {
			return answers
		}
		select {
		case <-changed:
		case <-timeout:
			t.Fatalf("not within %s: %s; the server said %.500q, closed %t", patience, what, answers, closed)
		}
	}
}

// Read waits for the end: the client's own goroutine reads the answers.
func (r *relpClient) Read([]byte) (int, error) {
	for timeout := time.After(patience); ; {
		r.mu.Lock()
		closed, changed := r.closed, r.changed
		r.mu.Unlock()
		if closed {
			return 0, io.EOF
		}
		select {
		case <-changed:
		case <-timeout:
			return 0, os.ErrDeadlineExceeded
		}
	}
}

// said waits for the n-th thing that the server says, and the whole of it is returned.
func (r *relpClient) said(t testing.TB, n int) []string {
	t.Helper()
	return r.wait(t, fmt.Sprintf("%d answers", n), func(a []string, _ bool) bool { return len(a) >= n })
}
