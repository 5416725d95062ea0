package config

import (
	"errors"
	"fmt"
	"io/fs"
	"math"
	"net"
	"net/netip"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
	_ "time/tzdata" // a container image may have no zone files
)

// A value is one setting in its text form: what the decoder sets and the
// example prints. Set's error says what is wrong; what is allowed is in the
// key table.
type value interface {
	Set(text string) error
	String() string
}

// Size is a number of bytes: "65535", "64KiB", "4MiB".
type Size int

// The units that a Size is written in.
const (
	KiB Size = 1 << 10
	MiB Size = 1 << 20
	GiB Size = 1 << 30
)

var sizeUnits = []struct {
	name string
	size Size
}{{"GiB", GiB}, {"MiB", MiB}, {"KiB", KiB}, {"B", 1}, {"", 1}}

// ParseSize reads a number of bytes. The decimal units kB, MB and GB are
// refused: half of their users mean the binary ones.
func ParseSize(text string) (Size, error) {
	digits := strings.TrimRight(text, "BKMGTikmgt ")
	unit := strings.TrimSpace(text[len(digits):])
	n, err := strconv.ParseInt(digits, 10, 64)
	if err != nil || n < 0 {
		return 0, errors.New("not a whole number of bytes")
	}
	for _, u := range sizeUnits {
		if u.name == unit {
			if n > math.MaxInt64/int64(GiB) || n*int64(u.size) > math.MaxInt {
				return 0, errors.New("too large")
			}
			return Size(n) * u.size, nil
		}
	}
	return 0, fmt.Errorf("unknown unit %q", unit)
}

func (s Size) String() string {
	for _, u := range sizeUnits {
		if u.size > 1 && s >= u.size && s%u.size == 0 {
			return strconv.Itoa(int(s/u.size)) + u.name
		}
	}
	return strconv.Itoa(int(s))
}

// Set implements value.
func (s *Size) Set(text string) (err error) {
	n, err := ParseSize(text)
	if err == nil {
		*s = n
	}
	return err
}

// ParseDuration reads Go's durations and, on top of them, days and weeks of 24
// hours: "400d", "1d12h". A number without a unit is refused.
func ParseDuration(text string) (time.Duration, error) {
	rest, total := text, time.Duration(0)
	for _, u := range []struct {
		name string
		unit time.Duration
	}{{"w", 7 * 24 * time.Hour}, {"d", 24 * time.Hour}} {
		digits, after, found := strings.Cut(rest, u.name)
		if !found {
			continue
		}
		n, err := strconv.ParseUint(digits, 10, 31)
		if err != nil || n > uint64((math.MaxInt64-int64(total))/int64(u.unit)) {
			return 0, errors.New("not a time")
		}
		total, rest = total+time.Duration(n)*u.unit, after
	}
	if rest == "" && rest != text {
		return total, nil
	}
	d, err := time.ParseDuration(rest)
	switch {
	case err != nil && isNumber(text):
		return 0, errors.New("a time needs a unit")
	case err != nil:
		return 0, errors.New("not a time")
	case d < 0 && text[0] == '-':
		return 0, errors.New("a time cannot be negative")
	case d < 0 || total+d < 0:
		return 0, errors.New("not a time")
	}
	return total + d, nil
}

// FormatDuration is the inverse of ParseDuration, in the largest units that
// leave no fraction: "400d", "48h", "1s".
func FormatDuration(d time.Duration) string {
	const day = 24 * time.Hour
	if d >= 7*day && d%day == 0 {
		return strconv.Itoa(int(d/day)) + "d"
	}
	if d < 2*time.Minute && d >= time.Second && d%time.Second == 0 {
		return strconv.Itoa(int(d/time.Second)) + "s"
	}
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = s[:len(s)-2]
	}
	if strings.HasSuffix(s, "h0m") {
		s = s[:len(s)-2]
	}
	return s
}

func isNumber(s string) bool {
	_, err := strconv.ParseFloat(s, 64)
	return err == nil
}

type durationValue struct{ d *time.Duration }

func (v durationValue) String() string { return FormatDuration(*v.d) }
func (v durationValue) Set(text string) error {
	d, err := ParseDuration(text)
	if err == nil {
		*v.d = d
	}
	return err
}

// Networks are the schemes of a listener's address.
var Networks = []string{"udp", "tcp", "tls", "relp", unixgram, "smtp", "smtps", "lmtp"}

// unixgram is the one of Networks whose addresses are paths.
const unixgram = "unixgram"

// streams are those of Networks whose frames come over connections, delimited those
// whose frames are listeners[].framing's, mailers those that take messages.
var (
	streams   = []string{"tcp", "tls", "relp", "smtp", "smtps", "lmtp"}
	delimited = []string{"tcp", "tls"}
	mailers   = []string{"smtp", "smtps", "lmtp"}
)

// remote are those of Networks whose senders have an address.
var remote = slices.DeleteFunc(slices.Clone(Networks), func(n string) bool { return n == unixgram })

// Address is where a listener listens: one of Networks, a host and a port, or a path. An empty host is every address of the machine.
type Address struct {
	Network string
	Host    string
	Port    uint16
	Path    string // of a Unix socket
}

// ParseAddress reads "tcp://HOST:PORT" and the like.
func ParseAddress(text string) (Address, error) {
	network, hostport, found := strings.Cut(text, "://")
	if !found {
		return Address{}, errors.New("the network is missing")
	}
	if !slices.Contains(Networks, network) {
		return Address{}, fmt.Errorf("unknown network %q", network)
	}
	if network == unixgram {
		if !filepath.IsAbs(hostport) {
			return Address{}, errors.New("the path does not begin with /")
		}
		return Address{Network: network, Path: filepath.Clean(hostport)}, nil
	}
	host, port, err := splitHostPort(hostport)
	if err != nil {
		return Address{}, err
	}
	return Address{Network: network, Host: host, Port: port}, nil
}

// Stream reports whether frames arrive over connections, whose senders can wait.
func (a Address) Stream() bool { return slices.Contains(streams, a.Network) }

// Mail reports whether what arrives is messages, not lines of a log.
func (a Address) Mail() bool { return slices.Contains(mailers, a.Network) }

// transport is the network below: two listeners cannot both have a port of it.
func (a Address) transport() string {
	if a.Stream() {
		return "tcp"
	}
	return a.Network
}

// HostPort is the address as package net wants it: of a Unix socket the path.
func (a Address) HostPort() string {
	if a.Network == unixgram {
		return a.Path
	}
	return net.JoinHostPort(a.Host, strconv.Itoa(int(a.Port)))
}

func (a Address) String() string {
	if a == (Address{}) {
		return ""
	}
	return a.Network + "://" + a.HostPort()
}

// Loopback reports whether only this machine can reach the address.
func (a Address) Loopback() bool { return a.Network == unixgram || isLoopback(a.Host) }

// Set implements value.
func (a *Address) Set(text string) error {
	got, err := ParseAddress(text)
	if err == nil {
		*a = got
	}
	return err
}

// Off is the word that turns a listener of the commands off.
const Off = "off"

// Endpoint is "HOST:PORT", or empty when it is "off".
type Endpoint string

// Enabled reports whether the endpoint is not off.
func (e Endpoint) Enabled() bool { return e != "" }

// Loopback reports whether only this machine can reach the endpoint.
func (e Endpoint) Loopback() bool {
	host, _, err := splitHostPort(string(e))
	return err == nil && isLoopback(host)
}

func (e Endpoint) String() string {
	if e == "" {
		return Off
	}
	return string(e)
}

// Set implements value.
func (e *Endpoint) Set(text string) error {
	if text == Off {
		*e = ""
		return nil
	}
	if _, _, err := splitHostPort(text); err != nil {
		return err
	}
	*e = Endpoint(text)
	return nil
}

// splitHostPort is net.SplitHostPort with errors for people, and a numeric port.
func splitHostPort(text string) (host string, port uint16, err error) {
	host, p, err := net.SplitHostPort(text)
	if err != nil {
		switch {
		case strings.Count(text, ":") == 0:
			return "", 0, errors.New("the port is missing")
		case strings.Count(text, ":") > 1 && !strings.HasPrefix(text, "["):
			return "", 0, errors.New("an IPv6 address needs brackets: [::1]:514")
		}
		return "", 0, errors.New("not HOST:PORT")
	}
	n, err := strconv.ParseUint(p, 10, 16)
	if err != nil {
		return "", 0, fmt.Errorf("the port %q is not a number from 0 to 65535", p)
	}
	if host == "*" {
		host = ""
	}
	if strings.ContainsAny(host, "/ @\"'") {
		return "", 0, fmt.Errorf("%q is not a host", host)
	}
	return host, uint16(n), nil
}

// isLoopback errs on the side of "no": a name may resolve to anything.
func isLoopback(host string) bool {
	if host == "localhost" {
		return true
	}
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.Unmap().IsLoopback()
}

// Allow says whose packets a listener takes.
type Allow struct {
	Any      bool
	Prefixes []netip.Prefix
}

// loopbackOnly is what a listener on loopback allows when nothing is said.
func loopbackOnly() Allow {
	return Allow{Prefixes: []netip.Prefix{
		netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("::1/128"),
	}}
}

// ParsePrefix reads a CIDR, or a single address as the network of one.
func ParsePrefix(text string) (netip.Prefix, error) {
	if ip, err := netip.ParseAddr(text); err == nil && ip.Zone() == "" {
		ip = ip.Unmap()
		return netip.PrefixFrom(ip, ip.BitLen()), nil
	}
	p, err := netip.ParsePrefix(text)
	if err != nil {
		return netip.Prefix{}, errors.New("not a network")
	}
	if p != p.Masked() {
		return netip.Prefix{}, fmt.Errorf("host bits are set; did you mean %s?", p.Masked())
	}
	return p, nil
}

// percentValue binds a share of a whole, written "10%".
type percentValue struct{ f *float64 }

func (v percentValue) String() string { return strconv.FormatFloat(*v.f*100, 'f', -1, 64) + "%" }
func (v percentValue) Set(text string) error {
	number, found := strings.CutSuffix(text, "%")
	f, err := strconv.ParseFloat(number, 64)
	if err != nil || math.IsNaN(f) {
		return errors.New("not a percentage")
	}
	if !found {
		return errors.New("the percent sign is missing")
	}
	*v.f = f / 100
	return nil
}

// zoneValue binds a time zone: a name of the IANA database or a fixed offset.
type zoneValue struct{ loc **time.Location }

func (v zoneValue) String() string {
	if *v.loc == nil {
		return "UTC"
	}
	return (*v.loc).String()
}

func (v zoneValue) Set(text string) error {
	loc, err := ParseTimeZone(text)
	if err == nil {
		*v.loc = loc
	}
	return err
}

// ParseTimeZone reads "Europe/Amsterdam", "UTC", "+02:00" or "-0330". "Local"
// is refused: the same file would mean different times on two machines.
func ParseTimeZone(text string) (*time.Location, error) {
	switch text {
	case "UTC", "Z":
		return time.UTC, nil
	case "", "Local":
		return nil, errors.New("the zone must be named")
	}
	if text[0] == '+' || text[0] == '-' {
		for _, layout := range []string{"-07:00", "-0700"} {
			if t, err := time.Parse(layout, text); err == nil {
				_, offset := t.Zone()
				if offset < -14*3600 || offset > 14*3600 {
					break
				}
				return time.FixedZone(text, offset), nil
			}
		}
		return nil, errors.New("not an offset")
	}
	loc, err := time.LoadLocation(text)
	if err != nil {
		return nil, errors.New("unknown time zone")
	}
	return loc, nil
}

// textValue binds free text; check, when given, says what is wrong with it.
type textValue struct {
	s     *string
	check func(string) error
}

func (v textValue) String() string { return *v.s }
func (v textValue) Set(text string) error {
	if strings.ContainsRune(text, 0) {
		return errors.New("holds a NUL byte")
	}
	if v.check != nil {
		if err := v.check(text); err != nil {
			return err
		}
	}
	*v.s = text
	return nil
}

// modeValue binds the permissions of a file, in octal.
type modeValue struct{ m *fs.FileMode }

func (v modeValue) String() string { return fmt.Sprintf("%#04o", *v.m) }
func (v modeValue) Set(text string) error {
	n, err := strconv.ParseUint(text, 8, 12)
	if err != nil || n > 0o777 || n == 0 {
		return errors.New("not the permissions of a file")
	}
	*v.m = fs.FileMode(n)
	return nil
}

type intValue struct{ n *int }

func (v intValue) String() string { return strconv.Itoa(*v.n) }
func (v intValue) Set(text string) error {
	n, err := strconv.Atoi(text)
	if err != nil {
		return errors.New("not a whole number")
	}
	*v.n = n
	return nil
}

type boolValue struct{ b *bool }

func (v boolValue) String() string { return strconv.FormatBool(*v.b) }
func (v boolValue) Set(text string) error {
	if text != "true" && text != "false" {
		return errors.New("neither true nor false")
	}
	*v.b = text == "true"
	return nil
}
