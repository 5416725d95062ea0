package quarantine

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"millrace/internal/certtest"
	"millrace/internal/config"
	"millrace/internal/imaptest"
	"millrace/internal/porttest"
)

// options are those of a client of s.
func options(t *testing.T, s *imaptest.Server) Options {
	t.Helper()
	cfg := config.Default()
	cfg.Quarantine.Host, cfg.Quarantine.TLS.CA = s.Host, s.CA
	encrypted, err := cfg.QuarantineTLS()
	if err != nil {
		t.Fatal(err)
	}
	return Options{Host: s.Host, Port: s.TLSPort, TLS: encrypted, User: imaptest.User, Password: imaptest.Password, Timeout: time.Minute, MaxHeader: 64 << 10}
}

func dial(t *testing.T, o Options) *Client {
	t.Helper()
	c, err := Dial(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

var noon = time.Date(2026, 11, 25, 12, 0, 0, 0, time.UTC)

// letter is a message with a subject of its own.
func letter(n int) string {
	return fmt.Sprintf("From: sender%d@example.com\r\nTo: recipient@example.net\r\nSubject: number %d\r\n\r\nThe body is not read.\r\n", n, n)
}

// subjects reads the headers of what was found.
func subjects(t *testing.T, c *Client, f Folder, found []Found) (all []string) {
	t.Helper()
	d, err := NewDecoder(&config.Default().Quarantine.Columns)
	if err != nil {
		t.Fatal(err)
	}
	var m Message
	n, err := c.Headers(f, found, func(_ Found, header []byte, cut bool) error {
		d.Decode(&m, header, cut, Outgoing)
		all = append(all, m.Subject)
		return nil
	})
	if err != nil || n != len(all) {
		t.Fatal(n, err)
	}
	return all
}

func TestClient(t *testing.T) {
	t.Parallel()
	// Servers compare days as their own zone has them.
	for _, zone := range []string{"UTC", "EAST-14", "WEST12"} {
		t.Run(zone, func(t *testing.T) {
			t.Parallel()
			testClient(t, imaptest.StartIn(t, zone))
		})
	}
}

func testClient(t *testing.T, s *imaptest.Server) {
	s.Append(t, "Caught (Outgoing)",
		imaptest.Mail{At: noon.Add(-time.Second), Text: letter(1)},
		imaptest.Mail{At: noon, Text: letter(2)},
		imaptest.Mail{At: noon.Add(time.Minute), Text: letter(3)},
		imaptest.Mail{At: noon.Add(time.Hour - time.Second), Text: letter(4)},
		imaptest.Mail{At: noon.Add(time.Hour), Text: letter(5)},
	)
	starttls := options(t, s)
	starttls.Port, starttls.StartTLS = s.PlainPort, true
	plain := options(t, s)
	plain.Port, plain.TLS = s.PlainPort, nil
	unverified := options(t, s)
	unverified.TLS = &tls.Config{InsecureSkipVerify: true}
	for _, o := range []Options{options(t, s), starttls, plain, unverified} {
		c := dial(t, o)
		if c.Peer().String() != "127.0.0.1" {
			t.Error(c.Peer())
		}
		f, err := c.Open("Caught (Outgoing)", "quarantine.outgoing")
		if err != nil || f.Messages != 5 || f.Validity == 0 {
			t.Fatal(f, err)
		}
		found, err := c.Find(f, Window{noon, noon.Add(time.Hour)}, nil)
		if err != nil || len(found) != 3 || found[0].UID != 2 || found[0].Millis != noon.UnixMilli() || found[0].Size != int64(len(letter(2))) {
			t.Fatal(found, err)
		}
		if all := subjects(t, c, f, found); !slices.Equal(all, []string{"number 2", "number 3", "number 4"}) {
			t.Error(all)
		}
	}
	if n := s.Seen(t, "Caught (Outgoing)"); n != 0 {
		t.Errorf("%d messages are marked as read", n)
	}
}

// A folder with nothing in it, one whose messages are of other days, and one from which
// messages go between the search and the headers.
func TestClient_Empty(t *testing.T) {
	t.Parallel()
	s := imaptest.Start(t)
	s.Append(t, "Empty")
	s.Append(t, "Caught", imaptest.Mail{At: noon, Text: letter(1)}, imaptest.Mail{At: noon, Text: letter(2)}, imaptest.Mail{At: noon, Text: letter(3)})
	c := dial(t, options(t, s))
	for name, w := range map[string]Window{"Empty": {noon, noon.Add(time.Hour)}, "Caught": {noon.Add(time.Second), noon.Add(time.Hour)}} {
		f, err := c.Open(name, "key")
		if err != nil {
			t.Fatal(err)
		}
		if found, err := c.Find(f, w, nil); err != nil || len(found) > 0 {
			t.Errorf("%s: %v, %v", name, found, err)
		}
	}
	f, err := c.Open("Caught", "key")
	if err != nil {
		t.Fatal(err)
	}
	found, err := c.Find(f, Window{noon, noon.Add(time.Hour)}, nil)
	if err != nil {
		t.Fatal(err)
	}
	s.Delete(t, "Caught", 2)
	if all := subjects(t, c, f, found); !slices.Equal(all, []string{"number 1", "number 3"}) {
		t.Error(all)
	}
}

// Two thousand messages come in pages, whose borders lose and double nothing. Headers are cut at
// the limit, and bodies stay where they are.
func TestClient_Pages(t *testing.T) {
	t.Parallel()
	s := imaptest.Start(t)
	const n = 2*headersPage*4 + 1
	mail := make([]imaptest.Mail, n)
	for i := range mail {
		mail[i] = imaptest.Mail{At: noon.Add(time.Duration(i) * time.Second), Text: letter(i)}
	}
	mail[7].Text = "Subject: number 7\r\nX-Long: " + strings.Repeat("long ", 20_000) + "\r\n\r\nbody"
	s.Append(t, "Caught", mail...)
	o := options(t, s)
	o.MaxHeader = 4 << 10
	c := dial(t, o)
	f, err := c.Open("Caught", "key")
	if err != nil {
		t.Fatal(err)
	}
	looked := 0
	found, err := c.Find(f, Window{noon, noon.Add(24 * time.Hour)}, func(done, all int) { looked = done })
	if err != nil || len(found) != n || looked != n {
		t.Fatal(len(found), looked, err)
	}
	d, err := NewDecoder(&config.Default().Quarantine.Columns)
	if err != nil {
		t.Fatal(err)
	}
	i := 0
	var m Message
	got, err := c.Headers(f, found, func(at Found, header []byte, cut bool) error {
		d.Decode(&m, header, cut, Outgoing)
		if want := fmt.Sprintf("number %d", i); m.Subject != want || at.UID != found[i].UID || cut != (i == 7) {
			return fmt.Errorf("message %d is %q, UID %d, cut %v", i, m.Subject, at.UID, cut)
		}
		if cut && (len(header) != o.MaxHeader || !slices.Contains(m.Flags.Words(), "incomplete")) || strings.Contains(string(header), "body") {
			return fmt.Errorf("header of %d bytes, flags %v", len(header), m.Flags.Words())
		}
		i++
		return nil
	})
	if err != nil || got != n {
		t.Error(got, err)
	}
	if _, err := c.Open("Caught", "key"); err != nil {
		t.Errorf("the connection is of no more use: %v", err)
	}
}

func TestClient_Receiver(t *testing.T) {
	t.Parallel()
	s := imaptest.Start(t)
	s.Append(t, "Caught", imaptest.Mail{At: noon, Text: letter(1)}, imaptest.Mail{At: noon, Text: letter(2)})
	c := dial(t, options(t, s))
	f, _ := c.Open("Caught", "key")
	found, err := c.Find(f, Window{noon, noon.Add(time.Hour)}, nil)
	if err != nil {
		t.Fatal(err)
	}
	full := errors.New("the disk is full")
	if n, err := c.Headers(f, found, func(Found, []byte, bool) error { return full }); !errors.Is(err, full) || n != 1 {
		t.Error(n, err)
	}
}

func TestDial_Failure(t *testing.T) {
	t.Parallel()
	s := imaptest.Start(t)
	f := func(want string, change func(*Options)) {
		t.Helper()
		o := options(t, s)
		change(&o)
		c, err := Dial(t.Context(), o)
		if err == nil {
			c.Close()
		}
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf(" got %v\nwant %s", err, want)
		}
	}
	at := fmt.Sprintf("127.0.0.1:%d", s.TLSPort)
	f("cannot log in to IMAP server "+at+` as "global": the server refuses this user with this password: NO [AUTHENTICATIONFAILED]`, func(o *Options) { o.Password = "wrong" })
	f(`as "nobody": the server refuses this user`, func(o *Options) { o.User = "nobody" })
	f("cannot trust IMAP server "+at+": x509: certificate signed by unknown authority", func(o *Options) {
		o.TLS = &tls.Config{ServerName: "127.0.0.1", RootCAs: certtest.New(t).Pool}
	})
	f("certificate is valid for localhost, not quarantine.example.com; quarantine.tls.ca names", func(o *Options) { o.TLS.ServerName = "quarantine.example.com" })
	f("cannot trust IMAP server", func(o *Options) {
		o.Port, o.StartTLS, o.TLS.ServerName = s.PlainPort, true, "quarantine.example.com"
	})
	f("it does not speak TLS there; is it quarantine.tls.mode starttls", func(o *Options) { o.Port = s.PlainPort })
	f("connection refused; it is quarantine.host and quarantine.port", func(o *Options) { o.Port = int(netip.MustParseAddrPort(porttest.TCP(t)).Port()) })
	f("cannot speak IMAP with 127.0.0.1:", func(o *Options) { o.Port, o.TLS = says(t, "220 smtp.example.com ESMTP\r\n"), nil })
	f("no greeting came: connection closed before greeting", func(o *Options) { o.Port, o.TLS = says(t, ""), nil })
	f(`the server says BYE "too many connections"`, func(o *Options) { o.Port, o.TLS = says(t, "* BYE too many connections\r\n"), nil })
}

// says is the port of a server that says one thing and hangs up.
func says(t *testing.T, words string) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			_, _ = conn.Write([]byte(words))
			_ = conn.(*net.TCPConn).CloseWrite()
			_, _ = conn.Read(make([]byte, 100)) // so that what the client says is no reset
			conn.Close()
		}
	}()
	return l.Addr().(*net.TCPAddr).Port
}

func TestOpen_Failure(t *testing.T) {
	t.Parallel()
	s := imaptest.Start(t)
	s.Append(t, "Caught")
	s.Append(t, "Überfällig")
	_, err := dial(t, options(t, s)).Open("Caught (Outgoing)", "quarantine.outgoing")
	if want := `cannot open folder "Caught (Outgoing)" (quarantine.outgoing): the server says NO "Mailbox doesn't exist`; err == nil || !strings.HasPrefix(err.Error(), want) {
		t.Errorf(" got %v\nwant %s", err, want)
	}
	if want := `there are "Caught", "INBOX", "Überfällig"`; err == nil || !strings.HasSuffix(err.Error(), want) {
		t.Errorf(" got %v\nwant %s", err, want)
	}
}

// The server goes away while headers come.
func TestHeaders_ServerGoes(t *testing.T) {
	t.Parallel()
	s := imaptest.Start(t)
	// More than all buffers in between hold.
	filler := "X-Filler: " + strings.Repeat("x", 30_000) + "\r\n"
	var mail []imaptest.Mail
	for i := range 600 {
		mail = append(mail, imaptest.Mail{At: noon, Text: filler + letter(i)})
	}
	s.Append(t, "Caught", mail...)
	c := dial(t, options(t, s))
	f, _ := c.Open("Caught", "key")
	found, err := c.Find(f, Window{noon, noon.Add(time.Hour)}, nil)
	if err != nil || len(found) != 600 {
		t.Fatal(len(found), err)
	}
	got := 0
	n, err := c.Headers(f, found, func(_ Found, header []byte, cut bool) error {
		if got++; got == 3 {
			s.Kill()
		}
		if !strings.HasSuffix(string(header), "\r\n\r\n") || cut {
			return fmt.Errorf("header %d is cut", got)
		}
		return nil
	})
	if err == nil || n != got || n >= 600 || !strings.HasPrefix(err.Error(), fmt.Sprintf(`cannot read all headers of folder "Caught", %d of 600 were read: `, n)) {
		t.Errorf("%d: %v", n, err)
	}
	if _, err := c.Open("Caught", "key"); err == nil {
		t.Error("the server is gone")
	}
}

// The end of the context ends what waits for the server.
func TestHeaders_Context(t *testing.T) {
	t.Parallel()
	s := imaptest.Start(t)
	s.Append(t, "Caught", imaptest.Mail{At: noon, Text: letter(1)}, imaptest.Mail{At: noon, Text: letter(2)})
	ctx, cancel := context.WithCancelCause(t.Context())
	c, err := Dial(ctx, options(t, s))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	f, _ := c.Open("Caught", "key")
	cancel(errors.New("somebody pressed Ctrl-C"))
	if _, err := c.Find(f, Window{noon, noon.Add(time.Hour)}, nil); err == nil || err.Error() != `cannot search folder "Caught": somebody pressed Ctrl-C` {
		t.Error(err)
	}
}

// A server that takes commands and says nothing is given up.
func TestDial_Silence(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	var open atomic.Pointer[net.Conn]
	go func() {
		if conn, err := l.Accept(); err == nil {
			open.Store(&conn)
			_, _ = conn.Write([]byte("* OK [CAPABILITY IMAP4rev1] ready\r\n"))
		}
	}()
	_, err = Dial(t.Context(), Options{Host: "127.0.0.1", Port: l.Addr().(*net.TCPAddr).Port, User: "u", Password: "p", Timeout: 100 * time.Millisecond})
	if err == nil || !strings.HasSuffix(err.Error(), `as "u": no word from the server for 100ms (quarantine.timeout)`) {
		t.Error(err)
	}
	if conn := open.Load(); conn != nil {
		(*conn).Close()
	}
}

// Without TLS a password goes to this machine alone. 192.0.2.1 is nobody's; a connection to it
// need not exist to be refused.
func TestOpen_Plain(t *testing.T) {
	t.Parallel()
	c := &Client{o: Options{Host: "192.0.2.1", Port: 143}, link: &link{Conn: elsewhere{}}}
	if err := c.open(); err == nil || !strings.HasPrefix(err.Error(), "cannot log in to 192.0.2.1:143: without TLS the password would cross a network in clear") {
		t.Error(err)
	}
}

// elsewhere is a connection to another machine.
type elsewhere struct{ net.Conn }

func (elsewhere) RemoteAddr() net.Addr { return &net.TCPAddr{IP: net.IPv4(192, 0, 2, 1), Port: 143} }
