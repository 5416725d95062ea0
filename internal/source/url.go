package source

import (
	"fmt"
	"net/url"
	"strings"
)

const (
	callSet = "api_set_remote_syslog_server"
	callGet = "api_get_remote_syslog_server"

	apiPath = "/cgi-bin/api"
)

// SetURL returns the address that sets s: all eight arguments, in documented
// order, without user and password.
func (e Endpoint) SetURL(s Settings) string {
	var b strings.Builder
	b.WriteString(e.base)
	b.WriteString("?call=" + callSet)
	for _, f := range Fields() {
		b.WriteString("&" + f + "=")
		b.WriteString(Escape(s.Value(f)))
	}
	return b.String()
}

// GetURL returns the address that reads the settings back.
func (e Endpoint) GetURL() string { return e.base + "?call=" + callGet }

// Endpoint is the address of a software API without credentials.
type Endpoint struct{ base string }

// ParseEndpoint reads "https://HOST", "HOST", or the whole "https://HOST/cgi-bin/api".
// User and password that stand in the address are returned apart.
func ParseEndpoint(address string) (e Endpoint, user string, password Secret, err error) {
	if address == "" {
		return e, "", "", fmt.Errorf("cannot use an empty API address: want https://HOST")
	}
	text := address
	if !strings.Contains(text, "://") {
		text = "https://" + text
	}
	u, err := url.Parse(text)
	if err != nil {
		// The parser quotes its input, which may hold a password.
		return e, "", "", fmt.Errorf("cannot read the API address %q: want https://HOST", withoutUserinfo(address))
	}
	if u.User != nil {
		user = u.User.Username()
		p, _ := u.User.Password()
		password = Secret(p)
		u.User = nil
	}
	switch {
	case u.Scheme != "https":
		return e, "", "", fmt.Errorf("cannot use the API address %q: want https, because the password travels with every call", u.Redacted())
	case u.Host == "" || u.Hostname() == "":
		return e, "", "", fmt.Errorf("cannot use the API address %q: it names no host", u.Redacted())
	case u.RawQuery != "" || u.Fragment != "":
		return e, "", "", fmt.Errorf("cannot use the API address %q: want https://HOST without a query", withoutUserinfo(address))
	}
	path := strings.TrimSuffix(u.EscapedPath(), "/")
	if path == "" {
		path = apiPath
	}
	return Endpoint{base: "https://" + u.Host + path}, user, password, nil
}

// String returns the address.
func (e Endpoint) String() string { return e.base }

// withoutUserinfo cuts everything up to the last '@' of an address that could
// not be parsed: better to show too little.
func withoutUserinfo(s string) string {
	if i := strings.LastIndexByte(s, '@'); i >= 0 {
		return "xxxxx" + s[i:]
	}
	return s
}

// Escape encodes a value for a query: everything but the unreserved characters
// of RFC 3986 becomes %XX. It differs from url.QueryEscape in the space, which
// becomes %20: '+' is a space only to a decoder of HTML forms, and a template
// in which it stayed a '+' would be a different template.
func Escape(s string) string {
	const hex = "0123456789ABCDEF"
	b := make([]byte, 0, len(s)+len(s)/2)
	for i := 0; i < len(s); i++ {
		c := s[i]
		switch {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9',
			c == '-', c == '.', c == '_', c == '~':
			b = append(b, c)
		default:
			b = append(b, '%', hex[c>>4], hex[c&15])
		}
	}
	return string(b)
}
