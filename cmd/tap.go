package cmd

import (
	"bufio"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"millrace/ingester/tap"
)

func newTap() *cobra.Command {
	var (
		from        ingesterAddress
		filter      = url.Values{}
		rejects     bool
		contains    []string
		count       uint64
		limit       time.Duration
		rate        string
		inJSON, raw bool
	)
	lists := map[string]*[]string{"kind": {}, "listener": {}, "domain": {}, "peer": {}, "reason": {}}
	c := &cobra.Command{
		Use:   "tap",
		Short: "Watch events and rejects of a running ingester as they pass",
		Long: `Watch events and rejects of a running ingester as they pass: a line or two for each, times in UTC. Every filter that
is given must match; a list matches with any of its words. The ingester never waits for this command: what comes
faster than --rate, or than it is read, is counted and said. What is dropped before it is decoded (a sender that is
not allowed, an empty frame) is not here, but in the metrics. Ctrl-C ends it.

--raw prints the bytes of each frame and a line end; on a terminal what it would obey is escaped.
--json prints a JSON object for each, and one with the key "tap" for the counts.

Frames hold personal data: the ingester answers its own machine only, unless http.tap says otherwise.`,
		Example: `  millrace tap                                          # ten a second of all that passes
  millrace tap --rejects                                # what cannot be decoded, and why
  millrace tap --domain example.com,.example.org --rate 0
  millrace tap --kind status --contains 550 --count 20 --json
  millrace tap --http 127.0.0.1:8514 --listener filter-tcp --peer 192.0.2.0/24 --for 10s`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if inJSON && raw {
				return usagef("either --json or --raw")
			}
			for name, list := range lists {
				filter[name] = *list
			}
			if rejects {
				if len(*lists["kind"]) > 0 {
					return usagef("either --rejects or --kind")
				}
				filter.Set("kind", "reject")
			}
			filter["contains"] = contains
			filter.Set("rate", strings.TrimSuffix(rate, "/s"))
			filter.Set("count", strconv.FormatUint(count, 10))
			filter.Set("for", limit.String())
			ctx, stop := signal.NotifyContext(c.Context(), os.Interrupt, syscall.SIGTERM)
			defer stop()
			res, err := from.open(ctx, c, "/tap", filter)
			if err != nil {
				return err
			}
			defer res.Body.Close()
			p := tapPrinter{out: c.OutOrStdout(), json: inJSON, raw: raw, rate: strings.TrimSuffix(rate, "/s") + "/s"}
			p.terminal = isTerminal(p.out)
			p.colour = p.terminal && os.Getenv("NO_COLOR") == ""
			err = p.follow(res.Body)
			fmt.Fprintf(c.ErrOrStderr(), "%s\n", p.sum())
			return from.ended(ctx, err)
		},
	}
	from.flags(c)
	f := c.Flags()
	for name, doc := range map[string]string{
		"kind":     "`KIND`s: message, status, reject",
		"listener": "`NAME`s of listeners",
		"domain":   "`DOMAIN`s of events; .DOMAIN is all below it",
		"peer":     "senders: addresses or networks (`CIDR`)",
		"reason":   "rejects for these `REASON`s (docs/errors.md)",
	} {
		f.StringSliceVar(lists[name], name, nil, doc)
	}
	f.BoolVar(&rejects, "rejects", false, "rejects only: --kind reject")
	f.StringArrayVar(&contains, "contains", nil, "frames that hold this `TEXT`, byte for byte; again for another")
	f.Uint64Var(&count, "count", 0, "end after so many; 0: not")
	f.DurationVar(&limit, "for", 0, "end after this time")
	f.StringVar(&rate, "rate", strconv.Itoa(tap.DefaultRate)+"/s", "show at most so many a second; 0: all")
	f.BoolVar(&inJSON, "json", false, "JSON lines")
	f.BoolVar(&raw, "raw", false, "the frames alone")
	oneOfFlag(c, "kind", "message", "status", "reject")
	return c
}

// ingesterAddress finds the operations server of a running ingester.
type ingesterAddress struct {
	config, http string
	address      string
}

func (a *ingesterAddress) flags(c *cobra.Command) {
	configFlag(c, &a.config, theDefaults)
	c.Flags().StringVar(&a.http, "http", "", "`HOST:PORT` of the ingester's operations server (default http.ingest of the configuration)")
}

// open asks for a page, and explains refusals.
func (a *ingesterAddress) open(ctx context.Context, c *cobra.Command, path string, query url.Values) (*http.Response, error) {
	a.address = strings.TrimSuffix(strings.TrimPrefix(a.http, "http://"), "/")
	if a.http == "" {
		cfg, err := loadConfig(c, a.config)
		if err != nil {
			return nil, err
		}
		if !cfg.HTTP.Ingest.Enabled() {
			return nil, usagef("http.ingest is off: --http HOST:PORT names the ingester")
		}
		a.address = cfg.HTTP.Ingest.String()
	}
	host, port, err := net.SplitHostPort(a.address)
	if err != nil {
		return nil, usagef("--http %q: want HOST:PORT", a.http)
	}
	if ip, err := netip.ParseAddr(host); host == "" || err == nil && ip.IsUnspecified() {
		host = "127.0.0.1" // it listens everywhere
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+net.JoinHostPort(host, port)+path+"?"+query.Encode(), nil)
	if err != nil {
		return nil, usagef("--http %q: %w", a.http, err)
	}
	transport := &http.Transport{DisableCompression: true, DialContext: (&net.Dialer{Timeout: 5 * time.Second}).DialContext, ResponseHeaderTimeout: 10 * time.Second}
	res, err := transport.RoundTrip(req)
	if err != nil {
		return nil, fmt.Errorf("cannot reach the ingester at %s: %w; --http HOST:PORT names another", a.address, err)
	}
	if res.StatusCode == http.StatusOK {
		fmt.Fprintf(c.ErrOrStderr(), "watching the ingester at %s; Ctrl-C ends it\n", a.address)
		return res, nil
	}
	defer res.Body.Close()
	text, _ := io.ReadAll(io.LimitReader(res.Body, 1<<10))
	why := strings.TrimSpace(string(text))
	switch res.StatusCode {
	case http.StatusBadRequest:
		return nil, usagef("%s", why)
	case http.StatusNotFound:
		why = "it has no " + path + ": it is no ingester, or an older one"
	}
	return nil, fmt.Errorf("cannot watch the ingester at %s: %s", a.address, why)
}

// ended is the error of a stream that ended with err; Ctrl-C is none.
func (a *ingesterAddress) ended(ctx context.Context, err error) error {
	if err == nil || ctx.Err() != nil {
		return nil
	}
	return fmt.Errorf("cannot go on watching the ingester at %s: %w", a.address, err)
}

func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// tapPrinter shows the lines of /tap.
type tapPrinter struct {
	out                   io.Writer
	json, raw             bool
	terminal, colour      bool
	rate                  string
	counts                tap.Counts
	shown, said, saidMiss uint64
	end                   string
}

// follow prints until the stream ends.
func (p *tapPrinter) follow(r io.Reader) error {
	in := bufio.NewReaderSize(r, 64<<10)
	for p.end == "" {
		line, err := in.ReadBytes('\n')
		if err != nil {
			if errors.Is(err, io.EOF) {
				err = io.ErrUnexpectedEOF
			}
			return err
		}
		if err := p.line(line); err != nil {
			return err
		}
	}
	return nil
}

func (p *tapPrinter) line(line []byte) error {
	var e tapEvent
	d := json.NewDecoder(strings.NewReader(string(line)))
	d.UseNumber()
	if err := d.Decode(&e.fields); err != nil {
		return fmt.Errorf("cannot read what it sends: %w", err)
	}
	if e.fields["tap"] != nil {
		return p.report(line)
	}
	p.shown++
	var err error
	switch {
	case p.json:
		_, err = p.out.Write(line)
	case p.raw && p.terminal:
		_, err = fmt.Fprintln(p.out, harmless(string(e.frame())))
	case p.raw:
		_, err = p.out.Write(append(e.frame(), '\n'))
	default:
		_, err = io.WriteString(p.out, e.text(p.colour))
	}
	return err
}

func (p *tapPrinter) report(line []byte) error {
	var v struct {
		Tap struct {
			tap.Counts
			End string `json:"end"`
		} `json:"tap"`
	}
	if err := json.Unmarshal(line, &v); err != nil {
		return fmt.Errorf("cannot read what it sends: %w", err)
	}
	p.counts, p.end = v.Tap.Counts, v.Tap.End
	if p.json {
		_, err := p.out.Write(line)
		return err
	}
	if p.raw {
		return nil
	}
	var err error
	if n := p.counts.OverRate - p.said; n > 0 {
		_, err = fmt.Fprintf(p.out, "%s%d not shown: faster than %s (--rate)%s\n", p.dim(), n, p.rate, p.plain())
	}
	if n := p.counts.Missed - p.saidMiss; n > 0 {
		_, err = fmt.Fprintf(p.out, "%s%d not shown: faster than this command reads%s\n", p.dim(), n, p.plain())
	}
	p.said, p.saidMiss = p.counts.OverRate, p.counts.Missed
	return err
}

func (p *tapPrinter) dim() string {
	if p.colour {
		return dim
	}
	return ""
}

func (p *tapPrinter) plain() string {
	if p.colour {
		return plain
	}
	return ""
}

// sum is the last line. After Ctrl-C the counts are those of the last second.
func (p *tapPrinter) sum() string {
	s := fmt.Sprintf("%d shown, %d over the rate, %d missed, %d not matched", p.shown, p.counts.OverRate, p.counts.Missed, p.counts.Unmatched)
	if p.end != "" && p.end != "count" && p.end != "for" {
		s += "; " + p.end
	}
	return s
}

// frame is the frame of an event, byte for byte.
func (e *tapEvent) frame() []byte {
	if s, ok := e.fields["frame"].(string); ok {
		return []byte(s)
	}
	s, _ := e.fields["frame_base64"].(string)
	b, _ := base64.StdEncoding.DecodeString(s)
	return b
}
