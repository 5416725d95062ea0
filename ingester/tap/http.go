package tap

import (
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"log/slog"
	"net/http"
	"time"
)

// DefaultWriteTimeout is a reader's.
const DefaultWriteTimeout = 10 * time.Second

const (
	eventBuffer = 1 << 20
	frameBuffer = 4 << 20

	// CaptureType is the media type of /capture; another number is another layout.
	CaptureType = "application/vnd.millrace.capture; version=1"

	closeTimeout = time.Second // for the last lines

	reportEvery = time.Second
	aliveEvery  = 10 * time.Second // so that a reader that is gone is noticed
)

// Pages are the HTTP endpoints of a hub.
type Pages struct {
	Hub          *Hub
	Listeners    []string // for filters
	Log          *slog.Logger
	WriteTimeout time.Duration // how long a reader may take nothing before it is cut off; 0: DefaultWriteTimeout
}

// Tap answers GET /tap with a JSON line for each event.
func (p *Pages) Tap(w http.ResponseWriter, r *http.Request) {
	var l line
	var item Item
	p.serve(w, r, "application/x-ndjson", Options{Events: true, Buffer: eventBuffer}, true, func(dst, items []byte) []byte {
		for len(items) > 0 {
			n := 4 + binary.BigEndian.Uint32(items)
			if err := item.read(items[5:n]); err != nil {
				panic("BUG: " + err.Error()) // we wrote it
			}
			dst = l.append(dst, &item)
			items = items[n:]
		}
		return dst
	}, appendCounts)
}

// Capture answers GET /capture with items, as Reader reads them.
func (p *Pages) Capture(w http.ResponseWriter, r *http.Request) {
	p.serve(w, r, CaptureType, Options{Buffer: frameBuffer}, false,
		func(dst, items []byte) []byte { return items },
		func(dst []byte, c Counts, end string) []byte { return c.appendItem(dst, end) })
}

func (p *Pages) serve(w http.ResponseWriter, r *http.Request, media string, o Options, paced bool,
	items func(dst, items []byte) []byte, counts func(dst []byte, c Counts, end string) []byte) {
	refuse := func(code int, err error) { http.Error(w, err.Error(), code) }
	q := r.URL.Query()
	if !paced && !q.Has("rate") {
		q.Set("rate", "0")
	}
	var err error
	if o.Request, err = ParseRequest(q, p.Listeners); err != nil {
		refuse(http.StatusBadRequest, err)
		return
	}
	t, err := p.Hub.Open(o)
	if err != nil {
		refuse(http.StatusServiceUnavailable, err)
		return
	}
	defer t.Close()
	ctx := r.Context()
	// Frames hold personal data: who looked at them is in the log.
	p.Log.Info("frames are watched", "page", r.URL.Path, "by", r.RemoteAddr)
	defer func() {
		c := t.now()
		p.Log.Info("frames are no longer watched", "page", r.URL.Path, "by", r.RemoteAddr, "shown", c.Shown, "not_shown", c.NotShown())
	}()
	timeout := cmp.Or(p.WriteTimeout, DefaultWriteTimeout)
	if o.For > 0 {
		defer time.AfterFunc(o.For, func() { t.finish(endFor) }).Stop()
	}
	w.Header().Set("Content-Type", media)
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	out := http.NewResponseController(w)
	// When the server closes, a reader that takes nothing does not hold it up.
	defer context.AfterFunc(ctx, func() { _ = out.SetWriteDeadline(time.Now().Add(closeTimeout)) })()
	write := func(b []byte) error {
		within := timeout
		if ctx.Err() != nil {
			within = closeTimeout
		}
		if err := out.SetWriteDeadline(time.Now().Add(within)); err != nil && !errors.Is(err, http.ErrNotSupported) {
			return err
		}
		if len(b) > 0 {
			if _, err := w.Write(b); err != nil {
				return err
			}
		}
		return out.Flush()
	}
	if write(nil) != nil { // the header: the reader knows that it listens
		return
	}
	stream(ctx, t, write, items, counts)
}

// stream hands what t gets to write until t ends, ctx does, or the reader is gone.
func stream(ctx context.Context, t *Tap, write func([]byte) error,
	items func(dst, items []byte) []byte, counts func(dst []byte, c Counts, end string) []byte) {
	var buf []byte
	var told Counts
	toldAt := time.Now()
	for {
		taken, c, end := t.Next(ctx, reportEvery)
		if ctx.Err() != nil && end == "" {
			return
		}
		buf = items(buf[:0], taken)
		if len(buf) > 0 && write(buf) != nil {
			return
		}
		since := time.Since(toldAt)
		if end == "" && (since < reportEvery || c == told && since < aliveEvery) {
			continue
		}
		told, toldAt = c, time.Now()
		if write(counts(nil, c, end)) != nil || end != "" {
			return
		}
	}
}
