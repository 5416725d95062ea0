package transport

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"millrace/ingester/framing"
)

// Sink takes the frames of one connection or one UDP socket, in their order.
type Sink interface {
	// Frame takes one frame, good or a reject; drops do not come here, Stats has them.
	// f.Bytes is valid until Frame returns. On TCP it may block. An error means that the
	// frame was not taken and none will be; it is counted as a drop, reason shutdown.
	Frame(peer netip.AddrPort, f framing.Frame) error
	// Flush is called when all frames of what has been read were given, and last of all
	// when the connection or socket ends.
	Flush()
}

// Receipts is told which frames are safe. A transport whose senders want to know gives
// one to each Sink, and its frames have a Receipt.
type Receipts interface {
	// Kept says that what became of the frames with these receipts cannot get lost any
	// more. It is called from any goroutine and does not block; list is valid until it
	// returns.
	Kept(list []uint32)
}

// Listener is an open socket.
type Listener interface {
	// Addr is where it listens, the port chosen by the kernel included.
	Addr() net.Addr
	// Serve gives frames to sinks that it gets from open, one for each connection or UDP
	// socket, with nil where no sender wants a receipt, until soft ends. Then it takes no more connections, hands over what has
	// been read and what waits in the sockets, closes them and returns. When hard ends
	// it closes them at once; a Sink that blocks must see hard by itself.
	Serve(soft, hard context.Context, open func(Receipts) Sink) error
	Stats() *Stats
	// Reload takes Allow, AllowAny, ProxyFrom, Ordered and TLS of o in place of what it had, also
	// while it serves; o.Network is what it was. Connections that would not be let in any more are closed.
	Reload(o Options)
	// Close closes a listener that does not serve.
	Close() error
}

// Options of a listener. The zero value of those with a default means the default.
type Options struct {
	Name    string // listeners[].name, for the log
	Network string // one of Networks
	Address string // HOST:PORT, or a path; see ParseAddress

	Framing   framing.Mode  // of a stream
	MaxFrame  int           // DefaultMaxTCP, MaxUDP
	FrameIdle time.Duration // DefaultFrameIdle

	Allow    []netip.Prefix // senders; an empty list allows loopback alone
	AllowAny bool           // listeners[].allow: any
	TLS      *TLS           // of tls://

	Passed    []*os.File // open sockets, of systemd; none: it opens its own
	ReusePort bool       // share the sockets with a second process of the same user

	ProxyFrom     []netip.Prefix // load balancers: a connection of theirs begins with a PROXY header
	HeaderTimeout time.Duration  // for it; 5 s

	MaxConnections        int           // DefaultMaxConnections
	MaxConnectionsPerPeer int           // 0: no limit of its own
	IdleTimeout           time.Duration // for the next bytes of a connection; 0: none
	FrameTimeout          time.Duration // for the rest of a frame; 0: none
	OpenFrames            int           // bytes that unfinished frames may hold; DefaultOpenFrames

	Ordered       bool          // datagrams of a sender go to the sink in the order in which they came
	Sockets       int           // UDP sockets on the address; DefaultSockets
	ReceiveBuffer int           // bytes of each UDP socket; DefaultReceiveBuffer
	SocketMode    fs.FileMode   // of a Unix socket's file; DefaultSocketMode
	DrainTime     time.Duration // for how long a stop goes on reading; DefaultDrainTime

	Forward       Forward       // of mail: where each message goes first
	AnswerTimeout time.Duration // of mail: until its sender is told to try again; DefaultAnswerTimeout

	Logger *slog.Logger
}

// Defaults and limits.
const (
	DefaultMaxTCP         = framing.DefaultMax
	MaxUDP                = 65535
	DefaultFrameIdle      = 200 * time.Millisecond
	DefaultMaxConnections = 16384
	DefaultSockets        = 2
	DefaultReceiveBuffer  = 8 << 20
	DefaultDrainTime      = time.Second
	DefaultOpenFrames     = 64 << 20
	DefaultSocketMode     = 0o666
)

// unixgram is the one transport whose addresses are paths.
const unixgram = "unixgram"

// transports is the list that a new one joins.
var transports = []struct {
	network string
	listen  func(Options) (Listener, error)
}{
	{"tcp", listenTCP},
	{"tls", listenTCP},
	{"relp", listenRELP},
	{"udp", listenUDP},
	{unixgram, listenUnixgram},
	{"smtp", listenMail},
	{"smtps", listenMail},
	{"lmtp", listenMail},
}

// Networks are the schemes of an address.
func Networks() []string {
	var names []string
	for _, t := range transports {
		names = append(names, t.network)
	}
	return names
}

// ParseAddress reads the value of listeners[].address, as "tcp://HOST:PORT" or
// "unixgram:///PATH". An empty host means all addresses of the machine.
func ParseAddress(s string) (network, address string, err error) {
	network, address, ok := strings.Cut(s, "://")
	known := false
	for _, t := range transports {
		known = known || t.network == network
	}
	if !ok || !known {
		return "", "", fmt.Errorf("cannot read address %q: it begins with one of %s:// (listeners[].address)", s, strings.Join(Networks(), "://, "))
	}
	if network == unixgram {
		if err := checkSocketPath(address); err != nil {
			return "", "", err
		}
		return network, address, nil
	}
	_, port, err := net.SplitHostPort(address)
	if err != nil {
		return "", "", fmt.Errorf("cannot read address %q: want %s://HOST:PORT, an IPv6 address in brackets (listeners[].address)", s, network)
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil {
		return "", "", fmt.Errorf("cannot read address %q: port %q is not a number from 0 to 65535, got %d (listeners[].address)", s, port, n)
	}
	return network, address, nil
}

// Validate checks options without opening anything.
func Validate(o Options) error {
	if _, _, err := ParseAddress(o.url()); err != nil {
		return err
	}
	if o.Network == "udp" && o.MaxFrame > MaxUDP {
		return fmt.Errorf("cannot take frames of %d bytes over UDP: %d is the most (listeners[].max_frame)", o.MaxFrame, MaxUDP)
	}
	for name, n := range map[string]int{"max_frame": o.MaxFrame, "receive_buffer": o.ReceiveBuffer, "sockets": o.Sockets, "max_connections": o.MaxConnections,
		"max_connections_per_peer": o.MaxConnectionsPerPeer, "open_frames": o.OpenFrames} {
		if n < 0 {
			return fmt.Errorf("cannot use %d: it is negative (listeners[].%s)", n, name)
		}
	}
	if err := validateTLS(o); err != nil {
		return err
	}
	if len(o.ProxyFrom) > 0 && !o.AllowAny && len(o.Allow) == 0 {
		return fmt.Errorf("cannot take PROXY headers on %q without a list of senders: set listeners[].allow to the networks behind the load balancer, or write allow: any", o.url())
	}
	if o.Network == unixgram {
		return nil // who may send is the file system's affair
	}
	host, _, _ := net.SplitHostPort(o.Address)
	if !o.AllowAny && len(o.Allow) == 0 && !isLoopback(host) {
		return fmt.Errorf("cannot listen on %q without a list of senders: anyone who reaches it could write events. "+
			"Set listeners[].allow to the networks of your senders, as [\"192.0.2.0/24\"], or write allow: any", o.url())
	}
	return nil
}

// guarded is for a socket that somebody else has bound, to more than o.Address perhaps.
func (o Options) guarded(bound net.Addr) error {
	if o.Network == unixgram || o.AllowAny || len(o.Allow) > 0 {
		return nil
	}
	host, _, _ := net.SplitHostPort(bound.String())
	if isLoopback(host) {
		return nil
	}
	return fmt.Errorf("cannot serve the socket on %s that was passed for %q without a list of senders: anyone who reaches it could write events. "+
		"Set listeners[].allow to the networks of your senders, as [\"192.0.2.0/24\"], or write allow: any", bound, o.url())
}

// isLoopback does not ask the resolver: a name other than localhost may mean anything tomorrow.
func isLoopback(host string) bool {
	if host == "localhost" {
		return true
	}
	addr, err := netip.ParseAddr(host)
	return err == nil && addr.Unmap().IsLoopback()
}

// Listen opens a listener.
func Listen(o Options) (Listener, error) {
	if err := Validate(o); err != nil {
		return nil, err
	}
	setDefault(&o.FrameIdle, DefaultFrameIdle)
	setDefault(&o.MaxConnections, DefaultMaxConnections)
	setDefault(&o.Sockets, DefaultSockets)
	setDefault(&o.ReceiveBuffer, DefaultReceiveBuffer)
	setDefault(&o.DrainTime, DefaultDrainTime)
	setDefault(&o.HeaderTimeout, headerTimeout)
	setDefault(&o.OpenFrames, DefaultOpenFrames)
	setDefault(&o.SocketMode, DefaultSocketMode)
	if o.Network == "udp" {
		setDefault(&o.MaxFrame, MaxUDP)
	}
	if slices.Contains(mailers, o.Network) {
		setDefault(&o.MaxFrame, DefaultMaxMail)
	}
	setDefault(&o.MaxFrame, DefaultMaxTCP)
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	o.Logger = o.Logger.With("listener", o.Name, "transport", o.Network)
	for _, t := range transports {
		if t.network == o.Network {
			l, err := t.listen(o)
			if err != nil {
				return nil, listenError(o, err)
			}
			if err := o.guarded(l.Addr()); err != nil {
				l.Close()
				return nil, err
			}
			return l, nil
		}
	}
	return nil, fmt.Errorf("cannot listen on network %q: there are %s", o.Network, strings.Join(Networks(), ", "))
}

// family is the network of the address: an IPv4 literal, 0.0.0.0 above all, means
// IPv4 alone, where package net would listen on IPv6 as well.
func family(network string, o Options) string {
	host, _, _ := net.SplitHostPort(o.Address)
	if a, err := netip.ParseAddr(host); err == nil && a.Is4() {
		return network + "4"
	}
	return network
}

// url is the address as the configuration has it.
func (o Options) url() string { return o.Network + "://" + o.Address }

func setDefault[T int | time.Duration | fs.FileMode](v *T, to T) {
	if *v == 0 {
		*v = to
	}
}

func listenError(o Options, err error) error {
	var op *net.OpError
	if errors.As(err, &op) {
		err = op.Err // its text would name the address once more
	}
	return fmt.Errorf("cannot listen on %q (listeners[].address): %w", o.url(), err)
}
