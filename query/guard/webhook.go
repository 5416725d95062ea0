package guard

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"millrace/internal/config"
)

// Headers of a webhook's request.
const (
	HeaderEvent     = "Millrace-Event"     // the action
	HeaderTimestamp = "Millrace-Timestamp" // seconds since 1970, of this attempt
	HeaderSignature = "Millrace-Signature" // see Sign
	HeaderKey       = "Idempotency-Key"    // the event's id: the same in all attempts
)

// Sign is the value of HeaderSignature: v1= and, hexadecimal, the HMAC-SHA256 of the
// timestamp, a dot and the body.
func Sign(key []byte, timestamp string, body []byte) string {
	h := hmac.New(sha256.New, key)
	h.Write([]byte(timestamp))
	h.Write([]byte{'.'})
	h.Write(body)
	return "v1=" + hex.EncodeToString(h.Sum(nil))
}

func newWebhook(c *config.Effect, now func() time.Time) (func(context.Context, Event) error, error) {
	key, err := c.Key()
	if err != nil {
		return nil, err
	}
	client := &http.Client{
		Timeout: c.Timeout,
		// Whoever it was redirected to is not who the configuration names.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	return func(ctx context.Context, ev Event) error {
		body, err := json.Marshal(ev)
		if err != nil {
			return fmt.Errorf("cannot write the body of a webhook: %w", err)
		}
		req, err := http.NewRequestWithContext(ctx, http.MethodPost, c.URL, bytes.NewReader(body))
		if err != nil {
			return fmt.Errorf("cannot make the request of webhook %q: %w", c.Name, err)
		}
		timestamp := strconv.FormatInt(now().Unix(), 10)
		req.Header.Set("Content-Type", "application/json")
		req.Header.Set("User-Agent", "millrace")
		req.Header.Set(HeaderEvent, ev.Action)
		req.Header.Set(HeaderTimestamp, timestamp)
		req.Header.Set(HeaderSignature, Sign(key, timestamp, body))
		req.Header.Set(HeaderKey, ev.ID)
		resp, err := client.Do(req)
		if err != nil {
			var u *url.Error
			if errors.As(err, &u) {
				err = u.Err // the address may have a key in it
			}
			return fmt.Errorf("cannot call webhook %q: %w", c.Name, err)
		}
		defer resp.Body.Close()
		_, _ = io.Copy(io.Discard, io.LimitReader(resp.Body, 64<<10)) // so that the connection can be used again
		if resp.StatusCode/100 != 2 {
			return fmt.Errorf("cannot call webhook %q: it answered %s", c.Name, resp.Status)
		}
		return nil
	}, nil
}
