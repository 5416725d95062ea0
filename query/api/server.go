package api

import (
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"time"

	"golang.org/x/sync/semaphore"

	"millrace/internal/config"
	"millrace/query"
	"millrace/query/access"
	"millrace/query/account"
	"millrace/query/state"
)

// Options say what a Server answers from.
type Options struct {
	Query    query.Options // where and as whom ClickHouse is asked
	Store    *state.Store
	Accounts *account.Accounts
	Reports  []query.Report // the built-in ones and the operator's own

	Limits  query.Limits
	Exports int // at a time; an export has ten times Limits.Time

	History func(ctx context.Context, kinds []string, limit int) (any, error) // who decided what, newest first
	// Who gets reports by mail as configured, and how that is changed.
	Recipients   []config.Recipient
	SetRecipient func(ctx context.Context, by state.By, report, domain, username, recipient string) error

	Compat http.Handler // /cgi-bin/api; nil: none

	Logger *slog.Logger
	Now    func() time.Time // default: time.Now
}

// Server answers over HTTP.
type Server struct {
	o       Options
	exports *semaphore.Weighted
	metrics *metrics
	handler http.Handler
	spec    []byte // the OpenAPI document
}

// New makes a server, which does not listen yet.
func New(o Options) *Server {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Exports == 0 {
		o.Exports = 4
	}
	s := &Server{o: o, exports: semaphore.NewWeighted(int64(o.Exports)), metrics: newMetrics()}
	mux := http.NewServeMux()
	all := s.endpoints()
	for _, e := range all {
		mux.Handle(e.method+" "+base+e.path, s.measured(e.path, s.handle(e)))
	}
	s.spec = document(all)
	if o.Compat != nil {
		mux.Handle("/cgi-bin/api", s.measured("/cgi-bin/api", o.Compat))
	}
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		s.fail(w, r, problemf(http.StatusNotFound, "there is no %s; %s/openapi.json says what there is", r.URL.Path, base))
	})
	guarded := http.NewCrossOriginProtection()
	guarded.SetDenyHandler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.fail(w, r, problemf(http.StatusForbidden, "another site sent this request"))
	}))
	s.handler = secured(guarded.Handler(mux))
	return s
}

// ServeHTTP answers.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) { s.handler.ServeHTTP(w, r) }

// secured adds what browsers should know of every answer.
func secured(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("Strict-Transport-Security", "max-age=31536000")
		r.Body = http.MaxBytesReader(w, r.Body, maxBody)
		next.ServeHTTP(w, r)
	})
}

const maxBody = 8 << 20

// Listen answers on a listener, over TLS, until soft ends; then until the questions that are
// open are answered, or hard ends.
func (s *Server) Listen(soft, hard context.Context, l net.Listener, c *Certificate) error {
	server := &http.Server{
		Handler: s, TLSConfig: &tls.Config{MinVersion: tls.VersionTLS12, GetCertificate: c.show}, ReadHeaderTimeout: 10 * time.Second, ReadTimeout: time.Minute, IdleTimeout: 2 * time.Minute,
		MaxHeaderBytes: 64 << 10, ErrorLog: slog.NewLogLogger(s.o.Logger.Handler(), slog.LevelDebug),
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		<-soft.Done()
		if err := server.Shutdown(hard); err != nil {
			server.Close()
		}
	}()
	err := server.ServeTLS(l, "", "")
	if !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	<-done
	return nil
}

// sessionCookie carries a token, as a login gives it. The prefix binds it to this host (RFC 6265bis).
const sessionCookie = "__Host-millrace"

// Login says who asks: by token (Bearer, or the password of Basic, or the cookie), or by name
// and password.
func Login(a *account.Accounts, r *http.Request) (account.Principal, error) {
	from := remote(r)
	if bearer, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer "); ok {
		return a.AuthenticateToken(r.Context(), strings.TrimSpace(bearer), from)
	}
	if name, password, ok := r.BasicAuth(); ok {
		if account.IsToken(password) {
			who, err := a.AuthenticateToken(r.Context(), password, from)
			if err == nil && name != "" && !strings.EqualFold(name, who.Name) {
				return account.Principal{}, account.ErrDenied
			}
			return who, err
		}
		return a.Authenticate(r.Context(), name, password, from)
	}
	if c, err := r.Cookie(sessionCookie); err == nil {
		return a.AuthenticateToken(r.Context(), c.Value, from)
	}
	return account.Principal{}, errNobody
}

var errNobody = errors.New("no name and password, and no token")

// remote is the address of the one who asks.
func remote(r *http.Request) netip.Addr {
	a, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return netip.Addr{}
	}
	return a.Addr().Unmap()
}

// By is who makes a change, for the log of the state.
func By(who account.Principal, how string) state.By {
	return state.By{Actor: how + ":" + who.Name, How: how}
}

// MayDecide tells whether somebody may change what is a domain's.
func MayDecide(who account.Principal, domain string) error {
	switch {
	case who.Role == access.Admin:
		return nil
	case who.Role == access.DomainUser:
		for _, d := range who.Domains {
			if d == domain {
				return nil
			}
		}
	}
	return problemf(http.StatusForbidden, "%s may not decide about the domain %q", who.Name, domain)
}
