package cmd

import (
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"millrace/ingester"
	"millrace/ingester/format"
	"millrace/ingester/framing"
	"millrace/ingester/header"
	"millrace/internal/config"
)

// maxSample bounds what template test and generate --from read.
const maxSample = 64 << 20

func newTemplate() *cobra.Command {
	c := group(&cobra.Command{
		Use:     "template",
		Short:   "Try the templates on frames, without a filter",
		Example: "  millrace template test --config /etc/millrace.yaml frames.txt",
	})
	c.AddCommand(newTemplateTest())
	return c
}

func newTemplateTest() *cobra.Command {
	var path, listener, mode string
	c := &cobra.Command{
		Use:   "test [FILE|-]",
		Short: "Decode sample frames and show, field by field, what came of them",
		Long: `Decode sample frames from FILE, or from standard input, as a listener would, and show for each which format it is of,
what came out of which column, and why the other formats did not match. With or without <PRI> and syslog header.
The file is what
"millrace capture" wrote (octet counts), or its frames end with NUL if it holds one, else each line is a frame. Exit code 1 when a frame is rejected.`,
		Example: `  millrace template test --config /etc/millrace.yaml frames.txt
  printf '%s\n' '<14>"1phfsb-0004M4-O4","mx.example","a@b.example",...' | millrace template test
  millrace template test --listener filter-tcp filter.frames`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			cfg, err := loadConfig(c, path)
			if err != nil {
				return err
			}
			i := max(0, slices.IndexFunc(cfg.Listeners, func(l config.Listener) bool { return !l.Address.Mail() }))
			if listener != "" {
				if i = slices.IndexFunc(cfg.Listeners, func(l config.Listener) bool { return l.Name == listener }); i < 0 {
					return usagef("--listener %q: the configuration has no listener of that name", listener)
				}
			}
			if l := &cfg.Listeners[i]; l.Address.Mail() {
				return usagef("listener %q takes messages (%s), which are of no template", l.Name, l.Address)
			}
			formats, err := ingester.CompileFormats(cfg)
			if err != nil {
				return err
			}
			if formats[i].Set == nil {
				return usagef("listener %q decodes no template, but the logs %s: millrace tap shows what becomes of their lines", cfg.Listeners[i].Name, strings.Join(formats[i].Logs, ", "))
			}
			path := "-"
			if len(args) == 1 {
				path = args[0]
			}
			data, name, err := readSample(c, path)
			if err != nil {
				return err
			}
			how := framing.Detect(data)
			if mode != "" {
				if how, err = framing.ParseMode(mode); err != nil {
					return &usageError{err}
				}
			}
			t := templateTest{out: c.OutOrStdout(), set: formats[i].Set, listener: &cfg.Listeners[i], now: time.Now().UnixMilli()}
			t.frames(data, how)
			return t.result(name)
		},
	}
	configFlag(c, &path, theDefaults)
	c.Flags().StringVar(&listener, "listener", "", "decode as this listener does (default: the first one)")
	c.Flags().StringVar(&mode, "framing", "", "what ends a frame: auto, nul, lf, octet (default: by the file)")
	oneOfFlag(c, "framing", "auto", "nul", "lf", "octet")
	return c
}

// readSample reads a file of frames; - is standard input.
func readSample(c *cobra.Command, path string) (data []byte, name string, err error) {
	in, name := c.InOrStdin(), "standard input"
	if path != "-" {
		f, err := os.Open(path)
		if err != nil {
			return nil, "", fmt.Errorf("cannot read the frames: %w", err)
		}
		defer f.Close()
		in, name = f, path
	}
	if data, err = io.ReadAll(io.LimitReader(in, maxSample+1)); err != nil {
		return nil, "", fmt.Errorf("cannot read the frames: %w", err)
	}
	if len(data) > maxSample {
		return nil, "", fmt.Errorf("cannot take more than %d bytes of frames", maxSample)
	}
	return data, name, nil
}

type templateTest struct {
	out      io.Writer
	set      *format.Set
	listener *config.Listener
	now      int64
	decoder  format.Decoder

	count, rejected int
}

func (t *templateTest) frames(data []byte, mode framing.Mode) {
	framer := framing.New(mode, int(t.listener.MaxFrame))
	for {
		f, advance, ok := framer.Next(data, framing.EOF)
		data = data[advance:]
		if !ok {
			return
		}
		if f.Drop == "" {
			t.frame(f)
		}
	}
}

func (t *templateTest) frame(f framing.Frame) {
	t.count++
	if t.count > 1 {
		fmt.Fprintln(t.out)
	}
	fmt.Fprintf(t.out, "frame %d, %d bytes: ", t.count, max(f.Size, len(f.Bytes)))
	if f.Reject != "" {
		t.rejected++
		fmt.Fprintf(t.out, "rejected, %s: %s\n", f.Reject, f.Detail)
		return
	}
	var h header.Header
	rest := header.ParsePRI(header.StripTrailer(f.Bytes), &h)
	body := rest
	if !t.set.Matches(rest) {
		if b, ok := header.ParseRest(rest, &h, t.now, t.listener.TimeZone); ok {
			body = b
		}
	}
	c := format.Context{Received: t.now, Relay: rest[:len(rest)-len(body)]}
	if h.HasTime {
		c.Header = h.Millis
	}
	attempts := t.decoder.Explain(t.set, body, c)
	chosen := slices.IndexFunc(attempts, func(a format.Attempt) bool { return a.Chosen })
	if chosen < 0 {
		t.rejected++
		fmt.Fprintln(t.out, "rejected, no format matches")
	} else {
		fmt.Fprintf(t.out, "%s (%s)\n", attempts[chosen].Format.Name, attempts[chosen].Format.Kind.Name)
	}
	fmt.Fprintf(t.out, "  header: %s\n", describe(&h, rest, body))
	if chosen >= 0 {
		t.values(attempts[chosen])
	} else if i := nearest(attempts); i >= 0 {
		fmt.Fprintf(t.out, "  nearest: %s, as far as it goes\n", attempts[i].Format.Name)
		t.values(attempts[i])
	}
	for i, a := range attempts {
		if i == chosen {
			continue
		}
		why := a.Detail
		if why == "" {
			why = "another format fits better"
		}
		if a.Reason != "" {
			why = string(a.Reason) + ": " + why
		}
		fmt.Fprintf(t.out, "  not %s: %s\n", a.Format.Name, why)
	}
}

// values prints the columns of one attempt, aligned.
func (t *templateTest) values(a format.Attempt) {
	const widest = 40 // longer values push their own line only
	rows := make([][3]string, len(a.Values))
	var width [2]int
	for i, v := range a.Values {
		row := &rows[i]
		row[0], row[1] = v.Column, "-"
		if v.Column != v.Variable {
			row[0] += "[" + v.Variable + "]"
		}
		if v.Value != "" {
			row[1] = visible(v.Value)
		}
		if v.Text != v.Value {
			row[2] = "<- " + visible(v.Text)
		}
		if v.Note != "" {
			row[2] = strings.TrimSpace(row[2] + " (" + v.Note + ")")
		}
		for k := range width {
			width[k] = min(widest, max(width[k], utf8.RuneCountInString(row[k])))
		}
	}
	for _, row := range rows {
		line := fmt.Sprintf("  %-*s  %-*s  %s", width[0], row[0], width[1], row[1], row[2])
		fmt.Fprintln(t.out, strings.TrimRight(line, " "))
	}
	if len(a.Flags) > 0 {
		fmt.Fprintf(t.out, "  flags: %s\n", strings.Join(a.Flags, " "))
	}
}

// nearest is the attempt that cut a rejected frame into the most columns.
func nearest(attempts []format.Attempt) int {
	best := -1
	for i, a := range attempts {
		if len(a.Values) > 0 && (best < 0 || len(a.Values) > len(attempts[best].Values)) {
			best = i
		}
	}
	return best
}

func (t *templateTest) result(name string) error {
	if t.count == 0 {
		return fmt.Errorf("cannot find a frame in %s", name)
	}
	frames := "frames"
	if t.count == 1 {
		frames = "frame"
	}
	fmt.Fprintf(t.out, "\n%d %s, %d decoded, %d rejected (listener %s)\n", t.count, frames, t.count-t.rejected, t.rejected, t.listener.Name)
	if t.rejected > 0 {
		return fmt.Errorf("cannot decode %d of %d %s of %s", t.rejected, t.count, frames, name)
	}
	return nil
}

// visible quotes what a terminal would obey or not show.
func visible(s string) string {
	q := strconv.Quote(s)
	if q[1:len(q)-1] == s || strings.ReplaceAll(q[1:len(q)-1], `\"`, `"`) == s {
		return s
	}
	return q
}

// describe says in words what stood in front of the body.
func describe(h *header.Header, rest, body []byte) string {
	var parts []string
	switch h.PRI {
	case header.PRIMissing:
		parts = append(parts, "no PRI")
	case header.PRIBad:
		parts = append(parts, "a PRI that is none")
	default:
		parts = append(parts, fmt.Sprintf("PRI %d (facility %d, severity %d)", int(h.Facility)*8+int(h.Severity), h.Facility, h.Severity))
	}
	if h.BOM {
		parts = append(parts, "byte order mark")
	}
	if len(body) == len(rest) {
		return strings.Join(append(parts, "no syslog header"), ", ")
	}
	parts = append(parts, fmt.Sprintf("%v header %s", h.Style, visible(strings.TrimSpace(string(rest[:len(rest)-len(body)])))))
	return strings.Join(parts, ", ")
}
