package service

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/pprof"
	"net/netip"
	"os"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// ListenError says in one form that an address cannot be listened on: what was
// to listen there, the address and the flag that chooses another. Exit code 2.
func ListenError(what, network, address, flag string, err error) error {
	why := err
	var errno syscall.Errno
	hint := ""
	if errors.As(err, &errno) {
		why = errno
		switch errno {
		case syscall.EADDRINUSE:
			hint = "; another process has that port"
		case syscall.EACCES, syscall.EPERM:
			hint = "; ports below 1024 need CAP_NET_BIND_SERVICE"
		}
	}
	if flag != "" {
		hint += fmt.Sprintf("; %s HOST:PORT chooses another", flag)
	}
	return WithExitCode(2, fmt.Errorf("cannot listen for %s on %s %s (%s): %w%s", what, network, address, orKey(flag), why, hint))
}

func orKey(flag string) string {
	if flag == "" {
		return "from the configuration"
	}
	return flag
}

// ServerOptions is what the operations server shows.
type ServerOptions struct {
	Address    string // HOST:PORT, or "off": then nothing listens
	Flag       string // the flag or key that sets Address, for messages
	Registry   *prometheus.Registry
	Conditions *Conditions
	Pprof      string // "loopback" (as is ""), "any", "off"
	Logger     *slog.Logger
	Status     http.Handler // GET /status; nil: none
}

// Page is one that a daemon adds to its operations server.
type Page struct {
	Path    string // as /tap
	Who     string // "loopback" (as is ""), "any", "off"
	Key     string // the configuration key that says so, for refusals
	Handler http.HandlerFunc
}

// Server serves /metrics, /healthz, /readyz, /status and /debug/pprof.
type Server struct {
	listener net.Listener
	mux      *http.ServeMux
	http     *http.Server
	index    atomic.Pointer[string]
	closing  context.Context // ends when Close begins, and with it endless answers
	done     chan struct{}
	err      error
}

// Serve listens and answers until Close. It goes on while the daemon drains, so
// that /readyz can say so. The error names the address and the flag.
func Serve(o ServerOptions) (*Server, error) {
	if o.Address == off {
		return &Server{}, nil
	}
	l, err := (&net.ListenConfig{}).Listen(context.Background(), "tcp", o.Address)
	if err != nil {
		return nil, ListenError("operations HTTP", "tcp", o.Address, o.Flag, err)
	}
	log := orDiscard(o.Logger)
	closing, closed := context.WithCancel(context.Background())
	s := &Server{listener: l, mux: http.NewServeMux(), closing: closing, done: make(chan struct{})}
	s.mux.Handle("GET /metrics", promhttp.HandlerFor(o.Registry, promhttp.HandlerOpts{
		ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelError),
	}))
	s.mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) {
		plain(w, http.StatusOK, "ok\n")
	})
	s.mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) {
		unmet := o.Conditions.Unmet()
		if len(unmet) == 0 {
			plain(w, http.StatusOK, "ready\n")
			return
		}
		text := "not ready\n"
		for _, u := range unmet {
			text += u.String() + "\n"
		}
		plain(w, http.StatusServiceUnavailable, text)
	})
	if o.Status != nil {
		s.mux.Handle("GET /status", o.Status)
	}
	s.list("millrace\n/metrics\n/healthz\n/readyz\n/status\n/debug/pprof/\n")
	s.mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, _ *http.Request) {
		plain(w, http.StatusOK, *s.index.Load())
	})
	s.profiles(o.Pprof)
	s.http = &http.Server{
		Handler:           s.mux,
		ReadHeaderTimeout: 10 * time.Second,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    64 << 10,
		ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelDebug),
	}
	s.http.RegisterOnShutdown(closed)
	go func() {
		defer close(s.done)
		if err := s.http.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			s.err = err
			log.Error("operations HTTP ended", "address", o.Address, "error", err)
		}
	}()
	return s, nil
}

func plain(w http.ResponseWriter, code int, text string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(code)
	_, _ = w.Write([]byte(text)) // a client that has gone is no concern of ours
}

func (s *Server) list(index string) { s.index.Store(&index) }

// Add serves one more page, which GET asks for. Its requests end when Close begins.
func (s *Server) Add(p Page) {
	if s.listener == nil {
		return
	}
	s.list(*s.index.Load() + p.Path + "\n")
	s.mux.HandleFunc("GET "+p.Path, func(w http.ResponseWriter, r *http.Request) {
		switch {
		case p.Who == off:
			plain(w, http.StatusForbidden, p.Path+" is off ("+p.Key+")\n")
			return
		case p.Who != "any" && !fromLoopback(r):
			plain(w, http.StatusForbidden, p.Path+" is for this machine only ("+p.Key+": loopback)\n")
			return
		}
		ctx, cancel := context.WithCancel(r.Context())
		defer cancel()
		defer context.AfterFunc(s.closing, cancel)()
		p.Handler(w, r.WithContext(ctx))
	})
}

// profiles show what is in memory, mail addresses included: by default only to
// who is on this machine.
func (s *Server) profiles(who string) {
	if who == "off" {
		return
	}
	handle := func(pattern string, f http.HandlerFunc) {
		s.mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
			if who != "any" && !fromLoopback(r) {
				plain(w, http.StatusForbidden, "profiles are for this machine only (http.pprof)\n")
				return
			}
			f(w, r)
		})
	}
	handle("/debug/pprof/", pprof.Index)
	handle("/debug/pprof/cmdline", pprof.Cmdline)
	handle("/debug/pprof/profile", pprof.Profile)
	handle("/debug/pprof/symbol", pprof.Symbol)
	handle("/debug/pprof/trace", pprof.Trace)
}

// fromLoopback also asks for a host that is ours: a web page that a browser on
// this machine shows must not read profiles by DNS rebinding.
func fromLoopback(r *http.Request) bool {
	peer, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil || !peer.Addr().Unmap().IsLoopback() {
		return false
	}
	host, _, err := net.SplitHostPort(r.Host)
	if err != nil {
		host = r.Host
	}
	ip, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && ip.Unmap().IsLoopback()
}

const off = "off"

type offAddr struct{}

func (offAddr) Network() string { return "tcp" }
func (offAddr) String() string  { return off }

// Addr is where the server listens: the port that was found when 0 was asked
// for. It reads "off" when it does not.
func (s *Server) Addr() net.Addr {
	if s.listener == nil {
		return offAddr{}
	}
	return s.listener.Addr()
}

// Close lets answers under way finish until ctx ends, and then cuts them off.
func (s *Server) Close(ctx context.Context) error {
	if s.listener == nil {
		return nil
	}
	err := s.http.Shutdown(ctx)
	if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) {
		err = s.http.Close()
	}
	<-s.done
	if err != nil && !errors.Is(err, os.ErrClosed) {
		return fmt.Errorf("cannot close operations HTTP: %w", err)
	}
	return s.err
}
