package api

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"millrace/query/access"
	"millrace/query/account"
)

// base is where all endpoints are.
const base = "/api/v1"

// endpoint is one question or decision, and what the OpenAPI document says of it.
type endpoint struct {
	method  string
	path    string // below base, with {name} as net/http has it
	summary string
	open    bool          // to those who are nobody yet
	least   []access.Role // who may; none: everybody who is somebody
	params  []param
	more    bool // parameters beside these: those of a report
	body    any  // a value of the body's type; nil: it has none
	answer  any  // a value of the answer's type; nil: rows
	formats []string
	serve   func(*request) error
}

// param is a parameter in the query.
type param struct {
	name, typ, doc string // typ is string, integer or boolean
	words          []string
}

var admins = []access.Role{access.Admin}

// request is one request to an endpoint.
type request struct {
	*http.Request
	s    *Server
	w    http.ResponseWriter
	who  account.Principal
	args url.Values
}

func (r *request) text(name string) string { return r.args.Get(name) }

func (r *request) number(name string, otherwise, low, high int) (int, error) {
	text := r.text(name)
	if text == "" {
		return otherwise, nil
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < low || n > high {
		return 0, problemf(http.StatusBadRequest, "%s=%q: want a number from %d to %d", name, text, low, high)
	}
	return n, nil
}

func (r *request) flag(name string) (bool, error) {
	switch text := r.text(name); text {
	case "", "false":
		return false, nil
	case "true":
		return true, nil
	default:
		return false, problemf(http.StatusBadRequest, "%s=%q: want true or false", name, text)
	}
}

// into reads the body.
func (r *request) into(v any) error {
	d := json.NewDecoder(r.Body)
	d.DisallowUnknownFields()
	if err := d.Decode(v); err != nil {
		return problemf(http.StatusBadRequest, "cannot read the body: %v", err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return problemf(http.StatusBadRequest, "cannot read the body: there is something behind it")
	}
	return nil
}

// json answers with a value.
func (r *request) json(v any) error {
	body, err := json.Marshal(v)
	if err != nil {
		return err
	}
	return r.whole("application/json", append(body, '\n'))
}

// whole answers with a body that is known, under a strong ETag (RFC 9110, section 8.8.3).
func (r *request) whole(contentType string, body []byte) error {
	sum := sha256.Sum256(body)
	tag := `"` + hex.EncodeToString(sum[:16]) + `"`
	h := r.w.Header()
	h.Set("Content-Type", contentType)
	h.Set("Cache-Control", "private, no-cache")
	h.Set("ETag", tag)
	h.Add("Vary", "Authorization, Cookie")
	if r.Method == http.MethodGet && matches(r.Header.Get("If-None-Match"), tag) {
		h.Del("Content-Type")
		r.w.WriteHeader(http.StatusNotModified)
		return nil
	}
	_, err := r.w.Write(body)
	if err != nil {
		return errGone
	}
	return nil
}

// errGone is that the client is.
var errGone = errors.New("the client is gone")

// matches compares as If-None-Match does: weakly.
func matches(header, tag string) bool {
	for one := range strings.SplitSeq(header, ",") {
		if one = strings.TrimSpace(one); one == "*" || strings.TrimPrefix(one, "W/") == tag {
			return true
		}
	}
	return false
}

// handle is the endpoint behind its checks.
func (s *Server) handle(e endpoint) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		q := &request{Request: r, s: s, w: w}
		if err := q.check(e); err != nil {
			s.fail(w, r, err)
			return
		}
		started := &startedWriter{ResponseWriter: w}
		q.w = started
		err := e.serve(q)
		switch {
		case err == nil || errors.Is(err, errGone):
		case started.started:
			s.o.Logger.Warn("an answer was cut off", "path", r.URL.Path, "user", q.who.Name, "error", err)
			panic(http.ErrAbortHandler) // nobody takes the part for the whole
		default:
			s.fail(w, r, err)
		}
	})
}

func (r *request) check(e endpoint) error {
	var err error
	if r.args, err = url.ParseQuery(r.URL.RawQuery); err != nil {
		return badRequest(err)
	}
	for name, values := range r.args {
		i := slices.IndexFunc(e.params, func(p param) bool { return p.name == name })
		switch {
		case i < 0 && !e.more:
			return problemf(http.StatusBadRequest, "there is no parameter %q of %s %s", name, e.method, base+e.path)
		case len(values) > 1:
			return problemf(http.StatusBadRequest, "the parameter %s is there %d times", name, len(values))
		case i >= 0 && len(e.params[i].words) > 0 && values[0] != "" && !slices.Contains(e.params[i].words, values[0]):
			return problemf(http.StatusBadRequest, "%s=%q: want %s", name, values[0], strings.Join(e.params[i].words, ", "))
		}
	}
	if e.open {
		return nil
	}
	r.who, err = Login(r.s.o.Accounts, r.Request)
	if errors.Is(err, errNobody) || errors.Is(err, account.ErrDenied) {
		return problemf(http.StatusUnauthorized, "%v", err)
	}
	if err != nil {
		return err
	}
	if len(e.least) > 0 && !slices.Contains(e.least, r.who.Role) {
		return problemf(http.StatusForbidden, "%s has the role %s, and may not", r.who.Name, r.who.Role)
	}
	return nil
}

// startedWriter knows whether an answer has begun.
type startedWriter struct {
	http.ResponseWriter
	started bool
}

func (w *startedWriter) WriteHeader(status int) {
	w.started = true
	w.ResponseWriter.WriteHeader(status)
}

func (w *startedWriter) Write(p []byte) (int, error) {
	w.started = true
	return w.ResponseWriter.Write(p)
}

func (w *startedWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// bounded gathers an answer, up to a size.
type bounded struct {
	bytes.Buffer
	max int
}

func (b *bounded) Write(p []byte) (int, error) {
	if b.Len()+len(p) > b.max {
		return 0, fmt.Errorf("it is larger than %d bytes", b.max)
	}
	return b.Buffer.Write(p)
}
