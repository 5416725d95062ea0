// Package sourcetest is a software API that remembers what it is told, for the
// tests of whatever speaks to one: HTTPS with a certificate of its own
// authority, Basic authentication, and an answer in any of the layouts that
// source.Parse reads.
package sourcetest

import (
	"encoding/json"
	"encoding/pem"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// Layout is how the API writes its answer.
type Layout string

// The layouts.
const (
	Lines  Layout = "lines"
	JSON   Layout = "json"
	Python Layout = "python"
)

// Layouts lists them all.
func Layouts() []Layout { return []Layout{Lines, JSON, Python} }

// User and Password are what the API accepts.
const (
	User     = "admin"
	Password = "correct horse/+%@:battery"
)

var arguments = []string{"host", "port", "facility", "socket_type", "message_template", "enabled", "level", "status_template"}

// API is one fake. Its fields may be set before the first call.
type API struct {
	URL    string // https://127.0.0.1:PORT
	CAFile string // the certificate to trust

	layout Layout
	mu     sync.Mutex
	stored map[string]string
	calls  []string
	answer func(w http.ResponseWriter, call string) bool
}

// New starts a fake API that ends with the test.
func New(t testing.TB, layout Layout) *API {
	t.Helper()
	a := &API{layout: layout, stored: map[string]string{}}
	s := httptest.NewTLSServer(a)
	t.Cleanup(s.Close)
	a.URL = s.URL
	a.CAFile = filepath.Join(t.TempDir(), "ca.pem")
	block := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw})
	if err := os.WriteFile(a.CAFile, block, 0o600); err != nil {
		t.Fatal(err)
	}
	return a
}

// Stored returns what the API was told last.
func (a *API) Stored() map[string]string {
	a.mu.Lock()
	defer a.mu.Unlock()
	m := map[string]string{}
	for k, v := range a.stored {
		m[k] = v
	}
	return m
}

// Calls returns the raw query of every call so far.
func (a *API) Calls() []string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return append([]string(nil), a.calls...)
}

// Last are the arguments of the last call: for what Answer was given, which is called
// while no other call is answered.
func (a *API) Last() url.Values {
	if len(a.calls) == 0 {
		return nil
	}
	values, err := url.ParseQuery(a.calls[len(a.calls)-1])
	if err != nil {
		return nil
	}
	return values
}

// Answer lets f answer calls; where it returns false the API answers itself.
func (a *API) Answer(f func(w http.ResponseWriter, call string) bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.answer = f
}

// ServeHTTP is the API.
func (a *API) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.calls = append(a.calls, r.URL.RawQuery)
	if user, password, ok := r.BasicAuth(); !ok || user != User || password != Password {
		w.Header().Set("WWW-Authenticate", `Basic realm="software API"`)
		http.Error(w, "Authorization required", http.StatusUnauthorized)
		return
	}
	call := r.URL.Query().Get("call")
	if a.answer != nil && a.answer(w, call) {
		return
	}
	if r.URL.Path != "/cgi-bin/api" {
		http.NotFound(w, r)
		return
	}
	switch call {
	case "api_set_remote_syslog_server":
		for _, k := range arguments {
			a.stored[k] = r.URL.Query().Get(k)
		}
	case "api_get_remote_syslog_server":
		fmt.Fprint(w, Render(a.layout, a.stored))
	default:
		fmt.Fprintf(w, "ERROR: unknown call %q\n", call)
	}
}

// Render writes settings in a layout.
func Render(layout Layout, stored map[string]string) string {
	switch layout {
	case JSON:
		m := map[string]any{}
		for k, v := range stored {
			m[k] = v
		}
		m["enabled"] = stored["enabled"] == "True"
		m["port"] = json.Number(stored["port"])
		b, _ := json.Marshal(m)
		return string(b)
	case Python:
		var parts []string
		for _, k := range arguments {
			v := "u'" + strings.NewReplacer(`\`, `\\`, `'`, `\'`, "\t", `\t`).Replace(stored[k]) + "'"
			if k == "enabled" || k == "port" {
				v = stored[k]
			}
			parts = append(parts, fmt.Sprintf("'%s': %s", k, v))
		}
		return "{" + strings.Join(parts, ", ") + "}"
	}
	var b strings.Builder
	for _, k := range arguments {
		fmt.Fprintf(&b, "%s: %s\n", k, stored[k])
	}
	return b.String()
}
