package source

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"
)

const (
	// maxAnswer bounds what is read of an answer; two templates and six words
	// are some kilobytes.
	maxAnswer      = 1 << 20
	defaultTimeout = 30 * time.Second
)

// Secret is a text that prints as "xxxxx", however it is formatted or logged.
type Secret string

// String, GoString, LogValue and MarshalText hide the value.
func (Secret) String() string               { return "xxxxx" }
func (Secret) GoString() string             { return `"xxxxx"` }
func (Secret) LogValue() slog.Value         { return slog.StringValue("xxxxx") }
func (Secret) MarshalText() ([]byte, error) { return []byte("xxxxx"), nil }

// Options say which API to speak to, and how.
type Options struct {
	Address  string        // https://HOST; user:password@ in it is used when User is empty
	User     string        // for Basic authentication
	Password Secret        //
	CAFile   string        // PEM certificates to trust besides the system's
	Timeout  time.Duration // of one call; 0: 30 s
}

// Client calls one API. It may be used by several goroutines.
type Client struct {
	Endpoint
	user     string
	password string
	http     *http.Client
}

// New prepares a client; it calls nothing yet.
func New(o Options) (*Client, error) {
	e, user, password, err := ParseEndpoint(o.Address)
	if err != nil {
		return nil, err
	}
	if o.User != "" {
		user, password = o.User, o.Password
	} else if o.Password != "" {
		password = o.Password
	}
	conf := &tls.Config{MinVersion: tls.VersionTLS12}
	if o.CAFile != "" {
		pem, err := os.ReadFile(o.CAFile)
		if err != nil {
			return nil, fmt.Errorf("cannot read the CA file: %w", err)
		}
		pool, err := x509.SystemCertPool()
		if err != nil {
			pool = x509.NewCertPool()
		}
		if !pool.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("cannot use the CA file %q: it holds no PEM certificate", o.CAFile)
		}
		conf.RootCAs = pool
	}
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.TLSClientConfig = conf
	timeout := o.Timeout
	if timeout <= 0 {
		timeout = defaultTimeout
	}
	return &Client{
		Endpoint: e,
		user:     user,
		password: string(password),
		http: &http.Client{
			Transport: transport,
			Timeout:   timeout,
			// A redirected call would carry the password elsewhere, and a set
			// call that ends on a login page has set nothing.
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
	}, nil
}

// Close releases idle connections.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// Set stores s at the API. nil means that the API answered with the empty
// text, which is its word for success.
func (c *Client) Set(ctx context.Context, s Settings) error {
	if err := s.Validate(); err != nil {
		return err
	}
	body, err := c.call(ctx, callSet, c.SetURL(s))
	if err != nil {
		return err
	}
	// The documentation writes the empty answer as "".
	if text := strings.TrimSpace(string(body)); text != "" && text != `""` && text != `''` {
		return fmt.Errorf("cannot set the remote syslog server: the API at %s answered %s; an empty answer means success", c.Endpoint, c.quote(text))
	}
	return nil
}

// Get reads the settings back.
func (c *Client) Get(ctx context.Context) (Reading, error) {
	body, err := c.call(ctx, callGet, c.GetURL())
	if err != nil {
		return Reading{}, err
	}
	r, err := Parse(body)
	if err != nil {
		return Reading{}, fmt.Errorf("cannot read the remote syslog settings of %s: %s", c.Endpoint, c.redact(err.Error()))
	}
	return r, nil
}

func (c *Client) call(ctx context.Context, name, address string) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return nil, fmt.Errorf("cannot build the call of %s: %s", name, c.redact(err.Error()))
	}
	req.Header.Set("Accept", "text/plain, application/json;q=0.9, */*;q=0.1")
	if c.user != "" || c.password != "" {
		req.SetBasicAuth(c.user, c.password)
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, c.transportError(name, err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1))
	if err != nil {
		return nil, c.transportError(name, err)
	}
	if len(body) > maxAnswer {
		return nil, fmt.Errorf("cannot use the answer of %s at %s: it is longer than %d bytes", name, c.Endpoint, maxAnswer)
	}
	if err := c.checkAnswer(name, resp, body); err != nil {
		return nil, err
	}
	return body, nil
}

// transportError drops the URL that net/http puts in front: with two templates
// in it the cause would be lost at the end of two thousand characters.
func (c *Client) transportError(name string, err error) error {
	var ue *url.Error
	if errors.As(err, &ue) {
		err = ue.Err
	}
	var unknown x509.UnknownAuthorityError
	if errors.As(err, &unknown) {
		return fmt.Errorf("cannot call %s at %s: %w; if the authority is your own, give its certificate as the CA file", name, c.Endpoint, err)
	}
	return fmt.Errorf("cannot call %s at %s: %w", name, c.Endpoint, err)
}

func (c *Client) checkAnswer(name string, resp *http.Response, body []byte) error {
	text := strings.TrimSpace(string(bytes.TrimPrefix(body, []byte("\xef\xbb\xbf"))))
	switch code := resp.StatusCode; {
	case code == http.StatusUnauthorized || code == http.StatusForbidden:
		return fmt.Errorf("cannot call %s at %s: the API refused user %q (%s): %s", name, c.Endpoint, c.user, resp.Status, c.quote(text))
	case code >= 300 && code < 400:
		to := resp.Header.Get("Location")
		if u, err := url.Parse(to); err == nil {
			to = u.Redacted()
		}
		return fmt.Errorf("cannot call %s at %s: it redirects to %s (%s), which is not followed", name, c.Endpoint, c.quote(to), resp.Status)
	case code != http.StatusOK && code != http.StatusNoContent:
		return fmt.Errorf("cannot call %s at %s: the API answered %s: %s", name, c.Endpoint, resp.Status, c.quote(text))
	}
	if what := errorText(text); what != "" {
		return fmt.Errorf("cannot call %s at %s: the API answered with %s: %s", name, c.Endpoint, what, c.quote(text))
	}
	return nil
}

// errorText says what kind of failure a text is that came with status 200, and
// "" when it looks like none.
func errorText(text string) string {
	if strings.HasPrefix(text, "<") {
		return "a web page"
	}
	lower := strings.ToLower(text[:min(len(text), 64)])
	for _, p := range []string{
		"error", "err:", "exception", "traceback", "access denied", "permission denied", "invalid ",
		"unknown ", "missing ", "usage:", "not authorized", "unauthorized", "authentication ", "failed",
	} {
		if strings.HasPrefix(lower, p) {
			return "an error"
		}
	}
	return ""
}

// quote shows the first line of an answer, bounded and without the password.
func (c *Client) quote(text string) string {
	return fmt.Sprintf("%q", clip(c.redact(firstLine(text))))
}

func (c *Client) redact(text string) string {
	if c.password == "" {
		return text
	}
	basic := base64.StdEncoding.EncodeToString([]byte(c.user + ":" + c.password))
	for _, s := range []string{basic, c.password, Escape(c.password), url.QueryEscape(c.password)} {
		text = strings.ReplaceAll(text, s, "xxxxx")
	}
	return text
}

func firstLine(s string) string {
	s = strings.TrimSpace(s)
	if i := strings.IndexAny(s, "\r\n"); i >= 0 {
		return s[:i]
	}
	return s
}
