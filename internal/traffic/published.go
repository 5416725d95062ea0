package traffic

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// ParseTarget splits tcp://HOST:PORT or udp://HOST:PORT.
func ParseTarget(to string) (network, address string, err error) {
	u, err := url.Parse(to)
	if err != nil {
		return "", "", fmt.Errorf("cannot send to %q: %w", to, err)
	}
	if u.Scheme != "tcp" && u.Scheme != "udp" {
		return "", "", fmt.Errorf("cannot send to %q: the target is tcp://HOST:PORT or udp://HOST:PORT", to)
	}
	if _, port, err := net.SplitHostPort(u.Host); err != nil || port == "" || strings.Trim(u.Path, "/") != "" {
		return "", "", fmt.Errorf("cannot send to %q: the target is %s://HOST:PORT", to, u.Scheme)
	}
	return u.Scheme, u.Host, nil
}

// Counts are what an ingester says of its frames: the terms of received =
// published + joined + rejected + dropped + in flight.
type Counts struct {
	Received, Published, Joined, Rejected, Dropped uint64
}

// Settled is how many frames have met their end.
func (c Counts) Settled() uint64 { return c.Published + c.Joined + c.Rejected + c.Dropped }

func (c Counts) minus(o Counts) Counts {
	return Counts{c.Received - o.Received, c.Published - o.Published, c.Joined - o.Joined, c.Rejected - o.Rejected, c.Dropped - o.Dropped}
}

const (
	pollEvery = 100 * time.Millisecond
	pollBound = 5 * time.Second
)

// Published reads the counts of a listener from an ingester's metrics; listener
// "" is the sum of all. A metric that is not there yet counts as zero.
func Published(ctx context.Context, metricsURL, listener string) (Counts, error) {
	address, err := metricsAddress(metricsURL)
	if err != nil {
		return Counts{}, err
	}
	ctx, cancel := context.WithTimeout(ctx, pollBound)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, address, http.NoBody)
	if err != nil {
		return Counts{}, fmt.Errorf("cannot read metrics from %q: %w", address, err)
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return Counts{}, fmt.Errorf("cannot read metrics: %w", err)
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return Counts{}, fmt.Errorf("cannot read metrics from %q: %s", address, response.Status)
	}
	return parseCounts(response.Body, listener)
}

// WaitPublished returns when the ingester has settled want frames more than
// baseline, which is what Published gave before the first was sent: Kafka has
// then acknowledged all that were published or rejected. It returns what came
// since baseline; frames that were dropped are an error. It waits until ctx ends.
func WaitPublished(ctx context.Context, metricsURL, listener string, baseline Counts, want uint64) (Counts, error) {
	every := time.NewTicker(pollEvery)
	defer every.Stop()
	var grown Counts
	for {
		now, err := Published(ctx, metricsURL, listener)
		switch {
		case err == nil && now.Settled() < baseline.Settled():
			return grown, fmt.Errorf("cannot wait for %d frames: the counts went back, the ingester has been started anew", want)
		case err == nil:
			grown = now.minus(baseline)
			if grown.Settled() < want {
				break
			}
			if grown.Dropped > 0 {
				return grown, fmt.Errorf("%d of %d frames were dropped", grown.Dropped, want)
			}
			return grown, nil
		case ctx.Err() == nil:
			return grown, err
		}
		select {
		case <-ctx.Done():
			return grown, fmt.Errorf("cannot wait for %d frames: %d were published, %d rejected, %d dropped: %w",
				want, grown.Published, grown.Rejected, grown.Dropped, context.Cause(ctx))
		case <-every.C:
		}
	}
}

// metricsAddress takes HOST:PORT, http://HOST:PORT and the whole address.
func metricsAddress(given string) (string, error) {
	if !strings.Contains(given, "://") {
		given = "http://" + given
	}
	u, err := url.Parse(given)
	if err != nil || u.Host == "" {
		return "", fmt.Errorf("cannot read metrics from %q: give http://HOST:PORT", given)
	}
	if u.Path == "" || u.Path == "/" {
		u.Path = "/metrics"
	}
	return u.String(), nil
}

func parseCounts(r io.Reader, listener string) (Counts, error) {
	var c Counts
	label := `listener="` + listener + `"`
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		line := lines.Text()
		name, rest, _ := strings.Cut(line, "{")
		var term *uint64
		switch name {
		case "millrace_frames_received_total":
			term = &c.Received
		case "millrace_frames_joined_total":
			term = &c.Joined
		case "millrace_frames_published_total":
			term = &c.Published
		case "millrace_frames_rejected_total":
			term = &c.Rejected
		case "millrace_frames_dropped_total":
			term = &c.Dropped
		default:
			continue
		}
		end := strings.LastIndex(rest, "} ")
		if end < 0 || listener != "" && !hasLabel(rest[:end], label) {
			continue
		}
		text, _, _ := strings.Cut(rest[end+2:], " ") // a time may follow
		v, err := strconv.ParseFloat(text, 64)
		if err != nil || !(v >= 0) {
			return Counts{}, fmt.Errorf("cannot read metrics: line %q has no count", line)
		}
		*term += uint64(v)
	}
	if err := lines.Err(); err != nil {
		return Counts{}, fmt.Errorf("cannot read metrics: %w", err)
	}
	return c, nil
}

func hasLabel(labels, label string) bool {
	at := strings.Index(labels, label)
	return at == 0 || at > 0 && labels[at-1] == ','
}
