package api

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"

	"millrace/query"
	"millrace/query/access"
	"millrace/query/account"
	"millrace/query/lock"
	"millrace/query/state"
)

// problem is an answer of RFC 9457.
type problem struct {
	Status int    `json:"status"`
	Title  string `json:"title"`
	Detail string `json:"detail,omitempty"`
}

func (p *problem) Error() string { return p.Detail }

func problemf(status int, format string, args ...any) *problem {
	return &problem{Status: status, Title: http.StatusText(status), Detail: fmt.Sprintf(format, args...)}
}

// badRequest is an error of the one who asks.
func badRequest(err error) *problem { return problemf(http.StatusBadRequest, "%v", err) }

// ClickHouse's codes of a limit that was reached.
var limitCodes = map[int32]string{
	158: "api.rows_limit", 307: "api.rows_limit", 396: "api.rows_limit",
	159: "api.time_limit", 160: "api.time_limit", 241: "api.memory_limit",
}

// noValue tells whether ClickHouse refused a parameter that is no value of its type: with
// BAD_QUERY_PARAMETER, or the code of whatever could not be read. What is asked for goes to the
// server as parameters alone, so that it is the asker's.
func noValue(e *query.Error) bool {
	return e.Code == 457 || strings.Contains(e.Text, " for query parameter '")
}

// problemOf gives an error its status; ok is false for one that is ours, and not for
// everybody to read.
func problemOf(err error) (p *problem, ok bool) {
	var limited *account.LimitedError
	var noIdentification *lock.NoIdentificationError
	var refused *query.Error
	var code *lock.CodeError
	switch {
	case errors.As(err, &p):
		return p, true
	case errors.As(err, &code):
		return badRequest(err), true
	case errors.Is(err, access.ErrHidden):
		return problemf(http.StatusForbidden, "%v", err), true
	case errors.Is(err, account.ErrNoUser):
		return problemf(http.StatusNotFound, "%v", err), true
	case errors.As(err, &limited):
		return problemf(http.StatusTooManyRequests, "%v", err), true
	case errors.Is(err, state.ErrConflict), errors.As(err, &noIdentification):
		return problemf(http.StatusConflict, "%v", err), true
	case errors.As(err, &refused) && noValue(refused):
		return badRequest(refused), true
	case errors.As(err, &refused):
		if key, of := limitCodes[refused.Code]; of {
			return problemf(http.StatusUnprocessableEntity, "the question reached its limit %s; ask about less: a domain, a shorter period, other rules", key), true
		}
	}
	return problemf(http.StatusInternalServerError, "the cause is in the log"), false
}

// Problem is what an error is to those who ask.
type Problem = problem

// ProblemOf gives an error its status and words; nil for one that is not for everybody to read.
func ProblemOf(err error) *Problem {
	if p, ours := problemOf(err); ours {
		return p
	}
	return nil
}

// fail answers with a problem.
func (s *Server) fail(w http.ResponseWriter, r *http.Request, err error) {
	p, ours := problemOf(err)
	if !ours && r.Context().Err() == nil {
		s.o.Logger.Error("cannot answer", "path", r.URL.Path, "error", err)
	}
	h := w.Header()
	h.Set("Content-Type", "application/problem+json")
	h.Set("Cache-Control", "no-store")
	h.Del("ETag")
	var limited *account.LimitedError
	if errors.As(err, &limited) {
		h.Set("Retry-After", strconv.Itoa(int(limited.Retry.Seconds())+1))
	}
	if p.Status == http.StatusUnauthorized {
		h.Set("WWW-Authenticate", `Basic realm="millrace", charset="UTF-8"`)
	}
	w.WriteHeader(p.Status)
	_ = json.NewEncoder(w).Encode(p) // the client may be gone
}
