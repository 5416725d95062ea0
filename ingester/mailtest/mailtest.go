// Package mailtest is the sender's side of SMTP and LMTP, for tests. Nothing else imports
// it.
package mailtest

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/textproto"
	"strings"
	"sync"
)

// Client is a sender as a net.Conn: what is written up to a NUL, or to the end of a
// Write, goes as one message, which is not changed on the way (BDAT, RFC 3030). Write does
// not wait for answers; messages that have none when the session ends are still the
// sender's.
type Client struct {
	net.Conn
	greeting string
	queue    chan string
	ended    chan struct{}

	mu      sync.Mutex
	err     error
	answers []string
}

// New begins a session; greeting is EHLO or LHLO.
func New(nc net.Conn, greeting string) *Client {
	c := &Client{Conn: nc, greeting: greeting, queue: make(chan string, 256), ended: make(chan struct{})}
	go c.run()
	return c
}

// OnWire is how many bytes a session has that begins with what Write would send.
func (c *Client) OnWire(b string) uint64 {
	n := len(c.hello())
	for _, m := range messages(b) {
		n += len(envelope) + len(bdat(m))
	}
	return uint64(n)
}

const envelope = "MAIL FROM:<sender@example.org>\r\nRCPT TO:<abuse@example.net>\r\n"

func (c *Client) hello() string { return c.greeting + " client.example.org\r\n" }

func bdat(message string) string { return fmt.Sprintf("BDAT %d LAST\r\n%s", len(message), message) }

func messages(b string) []string { return strings.Split(strings.TrimSuffix(b, "\x00"), "\x00") }

// Write implements net.Conn.
func (c *Client) Write(b []byte) (int, error) {
	for _, m := range messages(string(b)) {
		select {
		case <-c.ended:
			return 0, c.Err()
		default:
		}
		select {
		case c.queue <- m:
		case <-c.ended:
			return 0, c.Err()
		}
	}
	return len(b), nil
}

// Read implements net.Conn: a sender has nothing to read but the end.
func (c *Client) Read([]byte) (int, error) {
	<-c.ended
	return 0, io.EOF
}

// Ended is closed when the session is over.
func (c *Client) Ended() <-chan struct{} { return c.ended }

// Err is why the session has ended.
func (c *Client) Err() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.err
}

// Answers are those to messages.
func (c *Client) Answers() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return append([]string(nil), c.answers...)
}

func (c *Client) run() {
	err := c.talk()
	c.mu.Lock()
	c.err = err
	c.mu.Unlock()
	c.Conn.Close()
	close(c.ended)
}

func (c *Client) talk() error {
	in := textproto.NewReader(bufio.NewReader(c.Conn))
	expect := func(code int) (string, error) {
		_, text, err := in.ReadResponse(code)
		return text, err
	}
	if _, err := expect(220); err != nil {
		return err
	}
	if _, err := io.WriteString(c.Conn, c.hello()); err != nil {
		return err
	}
	if _, err := expect(250); err != nil {
		return err
	}
	// The server may end while nothing is to be sent, which only a read tells.
	for {
		told := make(chan error, 1)
		go func() {
			_, err := in.R.Peek(1)
			told <- err
		}()
		select {
		case m := <-c.queue:
			if err := c.send(m); err != nil {
				return err
			}
			if err := <-told; err != nil {
				return err
			}
			if err := c.answered(expect); err != nil {
				return err
			}
		case err := <-told:
			if err == nil {
				_, err = expect(250)
			}
			if err == nil {
				err = errors.New("an answer that nobody asked for")
			}
			return err
		}
	}
}

// send writes a message and its envelope at once: the server offers PIPELINING.
func (c *Client) send(m string) error {
	_, err := io.WriteString(c.Conn, envelope+bdat(m))
	return err
}

func (c *Client) answered(expect func(int) (string, error)) error {
	for range 2 { // MAIL, RCPT
		if _, err := expect(250); err != nil {
			return err
		}
	}
	text, err := expect(250)
	if err != nil {
		return err
	}
	c.mu.Lock()
	c.answers = append(c.answers, text)
	c.mu.Unlock()
	return nil
}
