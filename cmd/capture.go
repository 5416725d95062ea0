package cmd

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/url"
	"os"
	"os/signal"
	"strconv"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"millrace/ingester"
	"millrace/ingester/format"
	"millrace/ingester/tap"
	"millrace/internal/config"
)

func newCapture() *cobra.Command {
	var (
		from     ingesterAddress
		listener string
		count    uint64
		limit    time.Duration
		most     string
		path     string
		force    bool
	)
	c := &cobra.Command{
		Use:   "capture -o FILE",
		Short: "Record frames of a running ingester as they came, and say what they are like",
		Long: `Record frames of a running ingester, byte for byte, headers included, with an octet count before each (RFC 6587:
"LEN SP FRAME"). "millrace template test FILE" and "millrace generate --from FILE" read the file. Frames of which
the ingester itself keeps the beginning alone are counted and not in it, and so are those that came faster than
this command could take them: the ingester never waits. Ctrl-C ends it, and the file is whole.

At the end it says what the source really sends: how frames end, what stands before them, how times and absent
values are written, which words there are. Frames hold personal data: the file's mode is 0600, and the ingester
answers its own machine only, unless http.tap says otherwise.`,
		Example: `  millrace capture --listener filter-tcp --for 10m -o filter.frames
  millrace capture --count 1000 -o - | millrace template test --config /etc/millrace.yaml -
  millrace generate --from filter.frames --to tcp://127.0.0.1:5514 --framing octet`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if path == "" {
				return usagef("-o FILE is missing; - is standard output")
			}
			if _, err := os.Lstat(path); err == nil && path != "-" && !force {
				return isThere(path)
			}
			bytes, err := config.ParseSize(most)
			if err != nil {
				return usagef("--max-bytes %q: %w; allowed: bytes, or a number with KiB, MiB or GiB", most, err)
			}
			query := url.Values{"count": {strconv.FormatUint(count, 10)}, "for": {limit.String()}, "max_bytes": {strconv.FormatInt(int64(bytes), 10)}}
			if listener != "" {
				query.Set("listener", listener)
			}
			ctx, stop := signal.NotifyContext(c.Context(), os.Interrupt, syscall.SIGTERM)
			defer stop()
			r := recording{from: &from, listener: listener}
			in, err := r.open(ctx, c, query)
			if err != nil {
				return err
			}
			defer in.Close()
			out, err := openCapture(c, path, force)
			if err != nil {
				return err
			}
			err = r.run(ctx, in, out)
			if closed := out.Close(); err == nil && closed != nil {
				err = fmt.Errorf("cannot write %s: %w", path, closed)
			}
			report := c.OutOrStdout()
			if path == "-" {
				report = c.ErrOrStderr()
			}
			r.report(report, path)
			return err
		},
	}
	from.flags(c)
	f := c.Flags()
	f.StringVar(&listener, "listener", "", "`NAME` of the one listener; without it all")
	f.Uint64Var(&count, "count", 0, "end after so many frames; 0: not")
	f.DurationVar(&limit, "for", 0, "end after this time")
	f.StringVar(&most, "max-bytes", "64MiB", "end before the file is longer than this `SIZE`")
	f.StringVarP(&path, "output", "o", "", "`FILE` to write; - is standard output")
	f.BoolVar(&force, "force", false, "write over a file that is there")
	_ = c.MarkFlagFilename("output")
	return c
}

func isThere(path string) error {
	return fmt.Errorf("cannot write %q: it is there already; --force writes over it", path)
}

type noClose struct{ io.Writer }

func (noClose) Close() error { return nil }

func openCapture(c *cobra.Command, path string, force bool) (io.WriteCloser, error) {
	if path == "-" {
		return noClose{c.OutOrStdout()}, nil
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err == nil {
		return f, nil
	}
	if !errors.Is(err, os.ErrExist) {
		return nil, fmt.Errorf("cannot write the frames: %w", err)
	}
	if !force {
		return nil, isThere(path)
	}
	if f, err = os.OpenFile(path, os.O_WRONLY|os.O_TRUNC, 0o600); err != nil {
		return nil, fmt.Errorf("cannot write the frames: %w", err)
	}
	if err := f.Chmod(0o600); err != nil {
		f.Close()
		return nil, fmt.Errorf("cannot write the frames: %w", err)
	}
	return f, nil
}

// recording is a capture under way.
type recording struct {
	from     *ingesterAddress
	listener string
	summary  tap.Summary
	counts   tap.Counts
	end      string
	written  uint64
}

func (r *recording) open(ctx context.Context, c *cobra.Command, query url.Values) (io.ReadCloser, error) {
	res, err := r.from.open(ctx, c, "/capture", query)
	if err != nil {
		return nil, err
	}
	if got, want := mediaType(res.Header.Get("Content-Type")), mediaType(tap.CaptureType); got != want {
		res.Body.Close()
		return nil, fmt.Errorf("cannot read what the ingester at %s sends: it is of another version", r.from.address)
	}
	return res.Body, nil
}

// run writes frames from stream to file until either ends.
func (r *recording) run(ctx context.Context, stream io.Reader, file io.Writer) error {
	out := bufio.NewWriterSize(file, 256<<10)
	in := tap.NewReader(stream)
	var it tap.Item
	var number []byte
	var err error
	for {
		if err = in.Next(&it); err != nil {
			break
		}
		r.summary.Add(&it)
		if it.Size > len(it.Frame) {
			continue
		}
		number = append(strconv.AppendInt(number[:0], int64(len(it.Frame)), 10), ' ')
		out.Write(number) // bufio keeps the error
		if _, werr := out.Write(it.Frame); werr != nil {
			return fmt.Errorf("cannot write the frames: %w", werr)
		}
		r.written++
	}
	r.counts, r.end = in.Counts, in.End
	if werr := out.Flush(); werr != nil {
		return fmt.Errorf("cannot write the frames: %w", werr)
	}
	if errors.Is(err, io.EOF) && r.end != "" {
		return nil
	}
	return r.from.ended(ctx, err)
}

func mediaType(s string) string {
	t, params, err := mime.ParseMediaType(s)
	if err != nil {
		return s
	}
	return t + " " + params["version"]
}

// report says what was captured. The values are looked at with the formats of the
// listener here, or else of the first one.
func (r *recording) report(w io.Writer, path string) {
	if path == "-" {
		path = "standard output"
	}
	frames := "frames"
	if r.written == 1 {
		frames = "frame"
	}
	fmt.Fprintf(w, "%d %s in %s", r.written, frames, path)
	if r.summary.Frames > 1 {
		fmt.Fprintf(w, ", over %s", r.summary.Span())
	}
	switch r.end {
	case "max_bytes":
		fmt.Fprint(w, "; --max-bytes is reached")
	case "", "count", "for":
	default:
		fmt.Fprintf(w, "; %s", r.end)
	}
	fmt.Fprintln(w)
	if n := r.counts.NotShown(); n > 0 {
		fmt.Fprintf(w, "%d MORE CAME faster than they could be recorded: they are not in the file\n", n)
	}
	cfg, err := config.Load(r.from.config)
	if err != nil {
		cfg = config.Default()
	}
	i := 0
	for k := range cfg.Listeners {
		if cfg.Listeners[k].Name == r.listener {
			i = k
		}
	}
	var list []*format.Format
	var o format.Options
	if formats, err := ingester.CompileFormats(cfg); err == nil && len(formats) > 0 {
		l := &cfg.Listeners[i]
		list, o = formats[i].List, format.Options{TimeZone: l.TimeZone, Nulls: l.Nulls, Direction: l.Direction, Classes: cfg.ClassTable()}
	}
	r.summary.Write(w, list, o)
}
