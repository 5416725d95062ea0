// Package relptest is the sender's side of RELP, for tests. Nothing else imports it.
package relptest

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

// Patience bounds every wait. None waits for it to pass.
const Patience = 20 * time.Second

// Client is a sender as a net.Conn: what is written up to a NUL, or to the end of a
// Write, goes as one message. It opens the session with the first. It has no window.
type Client struct {
	net.Conn
	last   int // transaction number
	opened bool

	mu      sync.Mutex
	changed chan struct{}
	answers []string // NUMBER rsp ..., and hints, as they came
	closed  bool     // by the server
}

// Offers are what it opens a session with: rsyslog's.
const Offers = "relp_version=0\nrelp_software=librelp,1.11.0,http://librelp.adiscon.com\ncommands=syslog"

// New makes the sender at one end of a connection.
func New(nc net.Conn) *Client {
	r := &Client{Conn: nc, changed: make(chan struct{})}
	go r.listen()
	return r
}

// OnWire is how many bytes a session has that begins with what Write would send.
func OnWire(b string) uint64 {
	wire := Frame(1, "open", Offers)
	for i, m := range messages(b) {
		wire += Frame(2+i, "syslog", m)
	}
	return uint64(len(wire))
}

func messages(b string) []string { return strings.Split(strings.TrimSuffix(b, "\x00"), "\x00") }

// Frame is a frame on the wire.
func Frame(txnr int, command, data string) string {
	if data == "" {
		return fmt.Sprintf("%d %s 0\n", txnr, command)
	}
	return fmt.Sprintf("%d %s %d %s\n", txnr, command, len(data), data)
}

// Write implements net.Conn.
func (c *Client) Write(b []byte) (int, error) {
	var out []byte
	if !c.opened {
		c.opened = true
		out = append(out, c.Next("open", Offers)...)
	}
	for _, m := range messages(string(b)) {
		out = append(out, c.Next("syslog", m)...)
	}
	if _, err := c.Conn.Write(out); err != nil {
		return 0, err
	}
	return len(b), nil
}

// Next is the next frame of the session, to be written to Conn.
func (c *Client) Next(command, data string) string {
	c.last++
	return Frame(c.last, command, data)
}

// listen notes what the server says, and hangs up when it does.
func (c *Client) listen() {
	in := bufio.NewReader(c.Conn)
	for {
		answer, err := read(in)
		c.mu.Lock()
		if err != nil {
			c.closed = true
			c.Conn.Close()
		} else {
			c.answers = append(c.answers, answer)
		}
		close(c.changed)
		c.changed = make(chan struct{})
		c.mu.Unlock()
		if err != nil {
			return
		}
	}
}

// read reads one frame by its length and returns it without the line feed.
func read(in *bufio.Reader) (string, error) {
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

// Wait returns all that the server has said once ok likes it.
func (c *Client) Wait(t testing.TB, what string, ok func(answers []string, closed bool) bool) []string {
	t.Helper()
	timeout := time.After(Patience)
	for {
		c.mu.Lock()
		answers, closed, changed := c.answers[:len(c.answers):len(c.answers)], c.closed, c.changed
		c.mu.Unlock()
		if ok(answers, closed) {
			return answers
		}
		select {
		case <-changed:
		case <-timeout:
			t.Fatalf("not within %s: %s; the server said %.500q, closed %t", Patience, what, answers, closed)
		}
	}
}

// Read waits for the end: the client's own goroutine reads the answers.
func (c *Client) Read([]byte) (int, error) {
	for timeout := time.After(Patience); ; {
		c.mu.Lock()
		closed, changed := c.closed, c.changed
		c.mu.Unlock()
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

// Said waits for the n-th thing that the server says, and the whole of it is returned.
func (c *Client) Said(t testing.TB, n int) []string {
	t.Helper()
	return c.Wait(t, fmt.Sprintf("%d answers", n), func(a []string, _ bool) bool { return len(a) >= n })
}
