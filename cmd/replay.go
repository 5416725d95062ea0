package cmd

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"millrace/internal/config"
	"millrace/query"
	"millrace/schema"
	"millrace/stack/replay"
	"millrace/transformer"
)

func newReplay() *cobra.Command {
	var f replayFlags
	c := &cobra.Command{
		Use:   "replay --rejects | --kind KIND | --topic TOPIC",
		Short: "Make events of rejects, mend events, or fill gaps from Kafka, each row once",
		Long: `Do again what went wrong the first time, so that each row is there once. Without --insert it only says what would be
done. A run that was interrupted is simply run again. Run one at a time.

  --rejects      Decode stored rejects again with the configuration of today, and insert what is an event now: for the day
                 after a template was missing. The rejects stay.
  --kind KIND    Decode the frames that events keep (column raw: listeners[].raw, kept for retention.raw) again with the
                 configuration of today, and replace the rows that become others: for the day after a template or a time
                 zone turned out to be wrong. How a frame came (received_at, peer_ip, listener, header) stays as it is.
  --topic TOPIC  Read a range of Kafka again and insert what has no row in ClickHouse: for the day after rows were dropped,
                 or an older copy of the tables was restored. It stays below what the transformers have confirmed, which may
                 be at work.

It needs the user that writes (clickhouse.username); for millrace up it finds its password in the data directory (--data).`,
		Example: `  millrace replay --rejects --config /etc/millrace.yaml
  millrace replay --rejects --reason no_template --since 48h --config /etc/millrace.yaml --insert
  millrace replay --rejects --format ours --insert
  millrace replay --kind message --since 2026-11-23 --until 2026-11-25T14:00:00Z --insert
  millrace replay --topic message --from 2026-11-16 --to 2026-11-23 --insert
  millrace replay --topic message --partition 0 --from-offset 120000 --to-offset 130000 --insert`,
		Args: cobra.NoArgs,
		RunE: f.run,
	}
	configFlag(c, &f.path, theDefaults)
	set := c.Flags()
	set.BoolVar(&f.rejects, "rejects", false, "decode the table rejects again")
	set.StringVar(&f.kind, "kind", "", "decode events of this `KIND` again: message or status")
	set.StringVar(&f.topic, "topic", "", "read this `TOPIC` again: message, status or reject, with or without kafka.topic_prefix")
	set.StringVar(&f.reason, "reason", "", "--rejects: those of one `REASON` (docs/errors.md)")
	set.StringVar(&f.since, "since", "", "--rejects, --kind: those that came since `TIME`: "+query.TimeForms)
	set.StringVar(&f.until, "until", "", "--kind: those that came before `TIME`")
	set.StringVar(&f.format, "format", "", "--rejects, --kind: decode as this `FORMAT` alone, whatever their listener has")
	set.StringVar(&f.from, "from", "", "--topic: records since `TIME` (default: all that Kafka has)")
	set.StringVar(&f.to, "to", "", "--topic: records before `TIME` (default: all that are confirmed)")
	set.IntVar(&f.partition, "partition", -1, "--topic: one `PARTITION` (default: all)")
	set.Int64Var(&f.fromOffset, "from-offset", 0, "--topic --partition: from this `OFFSET` on")
	set.Int64Var(&f.toOffset, "to-offset", 0, "--topic --partition: up to, and without, this `OFFSET`")
	set.BoolVar(&f.insert, "insert", false, "do it; without it nothing is changed")
	set.StringVar(&f.data, "data", "", "data `DIR` of millrace up, with its password (default: where up keeps it)")
	set.StringVar(&f.server, "server", "", "`HOST:PORT` (native protocol; more than one with commas) instead of clickhouse.addresses")
	_ = c.MarkFlagDirname("data")
	_ = c.RegisterFlagCompletionFunc("kind", cobra.FixedCompletions([]string{"message", "status"}, cobra.ShellCompDirectiveNoFileComp))
	_ = c.RegisterFlagCompletionFunc("topic", cobra.FixedCompletions([]string{"message", "status", "reject"}, cobra.ShellCompDirectiveNoFileComp))
	return c
}

// replayFlags are the command line of millrace replay.
type replayFlags struct {
	rejects                bool
	kind, topic            string
	reason, format         string
	since, until, from, to string
	partition              int
	fromOffset, toOffset   int64
	insert                 bool
	path, data, server     string
	now                    time.Time
}

// replayForm is one of what replay does.
type replayForm struct {
	flag string   // asks for it
	with []string // the flags that go with it
	// prepare reads them. What it returns does it; print is nil when there is nothing to tell.
	prepare func(*replayFlags, *cobra.Command) (replayed, error)
}

type replayed func(context.Context, replay.Options) (print func(io.Writer), err error)

var replayForms = []replayForm{
	{"rejects", []string{"reason", "since", "format"}, (*replayFlags).ofRejects},
	{"kind", []string{"since", "until", "format"}, (*replayFlags).ofKind},
	{"topic", []string{"from", "to", "partition", "from-offset", "to-offset"}, (*replayFlags).ofTopic},
}

// form is the one that was asked for.
func (f *replayFlags) form(c *cobra.Command) (*replayForm, error) {
	var asked []*replayForm
	for i := range replayForms {
		if c.Flags().Changed(replayForms[i].flag) {
			asked = append(asked, &replayForms[i])
		}
	}
	if len(asked) != 1 || c.Flags().Changed("rejects") && !f.rejects {
		return nil, usagef("what is to be done again? one of --rejects, --kind message|status, --topic message|status|reject")
	}
	goesWith := map[string][]string{}
	for _, form := range replayForms {
		for _, name := range form.with {
			goesWith[name] = append(goesWith[name], "--"+form.flag)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(goesWith)) {
		if c.Flags().Changed(name) && !slices.Contains(asked[0].with, name) {
			return nil, usagef("--%s goes with %s, not with --%s", name, strings.Join(goesWith[name], " and "), asked[0].flag)
		}
	}
	return asked[0], nil
}

func (f *replayFlags) run(c *cobra.Command, _ []string) error {
	form, err := f.form(c)
	if err != nil {
		return err
	}
	f.now = time.Now()
	do, err := form.prepare(f, c)
	if err != nil {
		return err
	}
	o := replay.Options{Insert: f.insert}
	if o.Config, err = loadConfig(c, f.path); err != nil {
		return err
	}
	if shards := o.Config.ClickHouse.Shards; len(shards) > 0 {
		switch {
		case form.flag == "topic" && f.server != "":
			return usagef("--server does not go with --topic where there are clickhouse.shards: it looks at all of them")
		case form.flag != "topic" && f.server == "":
			return usagef("which shard? run it for each of clickhouse.shards, the first with --server %s", strings.Join(shards[0].Addresses, ","))
		}
	}
	if f.server != "" {
		o.Config.ClickHouse.Addresses = strings.Split(f.server, ",")
	}
	if err := writeAs(o.Config, f.data); err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(c.Context(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	line := newProgress(c.ErrOrStderr())
	o.Progress = func(done, all uint64) { line.show("%s of %d", bar(done, all), all) }
	print, err := do(ctx, o)
	line.end()
	if errors.Is(err, syscall.ECONNREFUSED) {
		elsewhere := "another place is --server HOST:PORT"
		if form.flag == "topic" {
			elsewhere = "other places are kafka.brokers, and of ClickHouse --server HOST:PORT"
		}
		return fmt.Errorf("%w; millrace up serves it there, %s", err, elsewhere)
	}
	if print != nil {
		print(c.OutOrStdout())
	}
	return err
}

func (f *replayFlags) ofRejects(*cobra.Command) (replayed, error) {
	since, err := f.time("since", f.since)
	if err != nil {
		return nil, err
	}
	return func(ctx context.Context, o replay.Options) (func(io.Writer), error) {
		r, err := replay.Rejects(ctx, replay.RejectOptions{Options: o, Reason: f.reason, Since: since, Format: f.format})
		if err != nil && r.Rejects == 0 {
			return nil, err
		}
		return func(out io.Writer) { printRejects(out, &r, o.Insert) }, err
	}, nil
}

func (f *replayFlags) ofKind(*cobra.Command) (replayed, error) {
	kind := schema.KindByName(f.kind)
	if kind == nil || kind == schema.Reject {
		return nil, usagef("--kind %q: message or status; rejects are --rejects", f.kind)
	}
	if f.since == "" {
		return nil, usagef("--kind: which? --since TIME, as 2026-11-25, 2026-11-25T14:00:00Z or 48h")
	}
	since, err := f.time("since", f.since)
	if err != nil {
		return nil, err
	}
	until, err := f.time("until", f.until)
	if err != nil {
		return nil, err
	}
	if !until.IsZero() && !until.After(since) {
		return nil, usagef("--until %q is not after --since %q", f.until, f.since)
	}
	return func(ctx context.Context, o replay.Options) (func(io.Writer), error) {
		r, err := replay.Events(ctx, replay.EventOptions{Options: o, Kind: kind, Since: since, Until: until, Format: f.format})
		if err != nil && r.Rows == 0 {
			return nil, err
		}
		return func(out io.Writer) { printEvents(out, kind, &r, o.Insert) }, err
	}, nil
}

func (f *replayFlags) ofTopic(c *cobra.Command) (replayed, error) {
	o := replay.TopicOptions{Partition: f.partition}
	if c.Flags().Changed("partition") && f.partition < 0 {
		return nil, usagef("--partition %d is none", f.partition)
	}
	for _, end := range []struct {
		name, time string
		offset     int64
		bound      *transformer.RefillBound
	}{{"from", f.from, f.fromOffset, &o.From}, {"to", f.to, f.toOffset, &o.To}} {
		at, err := f.time(end.name, end.time)
		switch inOffsets := c.Flags().Changed(end.name + "-offset"); {
		case err != nil:
			return nil, err
		case inOffsets && end.time != "":
			return nil, usagef("either --%s or --%s-offset", end.name, end.name)
		case inOffsets && f.partition < 0:
			return nil, usagef("--%s-offset is one partition's: --partition PARTITION", end.name)
		case inOffsets && end.offset < 0:
			return nil, usagef("--%s-offset %d is none", end.name, end.offset)
		case inOffsets:
			*end.bound = transformer.AtOffset(end.offset)
		case end.time != "":
			*end.bound = transformer.AtTime(at)
		}
	}
	if c.Flags().Changed("from-offset") && c.Flags().Changed("to-offset") && f.fromOffset > f.toOffset {
		return nil, usagef("--from-offset %d is beyond --to-offset %d", f.fromOffset, f.toOffset)
	}
	return func(ctx context.Context, common replay.Options) (func(io.Writer), error) {
		o.Options = common
		if o.Kind = schema.KindByName(strings.TrimPrefix(f.topic, common.Config.Kafka.TopicPrefix)); o.Kind == nil {
			return nil, usagef("--topic %q: message, status or reject", f.topic)
		}
		if err := trialLogin(common.Config, f.data); err != nil {
			return nil, err
		}
		r, err := replay.Topic(ctx, o)
		if err != nil && r.Records == 0 {
			return nil, err
		}
		return func(out io.Writer) { printTopic(out, o.Kind, &r, o.Insert) }, err
	}, nil
}

// time reads the value of a flag.
func (f *replayFlags) time(flag, value string) (time.Time, error) {
	return parseTime(flag, value, f.now, time.UTC)
}

// writeAs lets the configuration write to the ClickHouse of millrace up, whose user's
// password is in its data directory, unless it names a user of its own.
func writeAs(cfg *config.Config, data string) error {
	if data == "" {
		if cfg.ClickHouse.Password.IsSet() || cfg.ClickHouse.Username != config.Default().ClickHouse.Username {
			return nil
		}
		var err error
		if data, err = cfg.Up.DataDir(); err != nil {
			return nil // no home, so no trial stack either
		}
	}
	file := filepath.Join(data, "clickhouse", "admin")
	line, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) && data != cfg.Up.Data {
		return nil // a server of one's own
	}
	if err != nil {
		return fmt.Errorf("cannot read the password of the user that writes: %w", err)
	}
	user, password, ok := strings.Cut(strings.TrimSpace(string(line)), ":")
	if !ok {
		return fmt.Errorf("cannot read the password of the user that writes: %s has no line user:password", file)
	}
	cfg.ClickHouse.Username, cfg.ClickHouse.Password = user, config.NewSecret(password)
	return nil
}
