package status

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"time"
)

const (
	// Path is where a daemon answers.
	Path = "/status"
	// DefaultSenders is how many senders of a kind are shown.
	DefaultSenders = 20
	// answerMax bounds what is believed of an answer.
	answerMax = 64 << 20
	timeout   = 10 * time.Second
)

// Handler answers GET /status?senders=N with what read returns, as JSON.
func Handler(read func() Status) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		n := DefaultSenders
		if text := r.URL.Query().Get("senders"); text != "" {
			var err error
			if n, err = strconv.Atoi(text); err != nil || n < 0 {
				http.Error(w, fmt.Sprintf("cannot show senders=%q: it is no number", text), http.StatusBadRequest)
				return
			}
		}
		s := read()
		for i := range s.Listeners {
			s.Listeners[i].Peers.limit(n)
		}
		if s.FilteringHosts != nil {
			s.FilteringHosts.limit(n)
		}
		h := w.Header()
		h.Set("Content-Type", "application/json")
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Cache-Control", "no-store")
		_ = json.NewEncoder(w).Encode(s) // a client that has gone is no concern of ours
	})
}

// limit keeps the n with the highest rate, and adds the others up.
func (s *Senders) limit(n int) {
	slices.SortFunc(s.Shown, func(a, b Sender) int {
		return cmp.Or(cmp.Compare(b.Rate, a.Rate), b.Last.Compare(a.Last), cmp.Compare(a.Name, b.Name))
	})
	if n >= len(s.Shown) {
		return
	}
	if s.Others == nil {
		s.Others = new(Counts)
	}
	for _, o := range s.Shown[n:] {
		s.Others.Frames += o.Frames
		s.Others.Rejects += o.Rejects
		s.Others.Dropped += o.Dropped
		s.Others.Bytes += o.Bytes
	}
	s.Shown = s.Shown[:n]
}

// Get asks the daemon at HOST:PORT. raw is its answer as it came.
func Get(ctx context.Context, address string, senders int) (s Status, raw []byte, err error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	u := url.URL{Scheme: "http", Host: reachable(address), Path: Path, RawQuery: "senders=" + strconv.Itoa(senders)}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return s, nil, fmt.Errorf("cannot ask %q for its status: %w", address, err)
	}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	res, err := client.Do(req)
	if err != nil {
		var op *net.OpError
		if errors.As(err, &op) {
			err = op.Err
		}
		return s, nil, fmt.Errorf("cannot ask %s for its status: %w", address, err)
	}
	defer res.Body.Close()
	raw, err = io.ReadAll(io.LimitReader(res.Body, answerMax))
	if err != nil {
		return s, nil, fmt.Errorf("cannot read the status of %s: %w", address, err)
	}
	if res.StatusCode != http.StatusOK {
		return s, nil, fmt.Errorf("cannot ask %s for its status: it answers %s; is it a millrace, and as new as this one?", address, res.Status)
	}
	if err := json.Unmarshal(raw, &s); err != nil || s.Daemon == "" {
		return s, nil, fmt.Errorf("cannot read the status of %s: it is no answer of a millrace", address)
	}
	return s, raw, nil
}

// reachable makes an address that is listened on one that can be called.
func reachable(address string) string {
	host, port, err := net.SplitHostPort(address)
	if ip := net.ParseIP(host); err == nil && (host == "" || ip != nil && ip.IsUnspecified()) {
		if ip != nil && ip.To4() == nil {
			return net.JoinHostPort("::1", port)
		}
		return net.JoinHostPort("127.0.0.1", port)
	}
	return address
}
