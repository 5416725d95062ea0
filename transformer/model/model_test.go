package model

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

var update = flag.Bool("update", false, "write the golden files")

// more is what `make model` asks for.
var more = os.Getenv("MILLRACE_MODEL") != ""

// broken are protocols without one of their rules, and worlds without one of the
// assumptions, each with the least faults that show what it is for.
var broken = []struct {
	name   string
	rules  func(*Rules)
	world  func(*World)
	faults int
	kinds  Faults
}{
	{name: "deduplication", rules: func(r *Rules) { r.Dedup = NoDedup }, faults: 1, kinds: LostAnswer},
	{name: "intent", rules: func(r *Rules) { r.Intent = false }, faults: 1, kinds: Crash},
	{name: "announce first", rules: func(r *Rules) { r.AnnounceFirst = false }, faults: 1, kinds: Crash},
	{name: "fencing", rules: func(r *Rules) { r.Fencing = false }, faults: 1, kinds: Rebalance},
	{name: "unknown ends", rules: func(r *Rules) { r.UnknownEnds = false }, faults: 2, kinds: LostCommit | Crash},
	{name: "lease", rules: func(r *Rules) { r.Lease = false }, faults: 1, kinds: Rebalance},
	{name: "retry token", rules: func(r *Rules) { r.RetryToken = false }, faults: 1, kinds: LostAnswer},
	{name: "same token", rules: func(r *Rules) { r.SameToken = false }, faults: 1, kinds: Crash},
	{name: "fingerprint", rules: func(r *Rules) { r.Fingerprint = false }, faults: 2, kinds: Crash | Remake},
	{name: "epoch", rules: func(r *Rules) { r.Epoch = false }, faults: 1, kinds: Remake},
	{name: "anchor", rules: func(r *Rules) { r.Anchor = false }, faults: 1, kinds: Remake},
	{name: "ask", rules: func(r *Rules) { r.Ask = false }, faults: 2, kinds: LostOffset | Crash},
	{name: "wait", rules: func(r *Rules) { r.Wait = false }, faults: 1, kinds: Upgrade},
	{name: "query token", rules: func(r *Rules) { r.QueryToken = false }, faults: 3, kinds: Upgrade | LostAnswer | Crash},
	{name: "window", rules: func(r *Rules) { r.Window = false }, faults: 1, kinds: Crash},
	{name: "restart", rules: func(r *Rules) { r.Restart = false }, faults: 2, kinds: Crash | PowerLoss},
	{name: "first time", rules: func(r *Rules) { r.FirstTime = false }, faults: 2, kinds: LostAnswer | Crash},
	{name: "recheck", rules: func(r *Rules) { r.Recheck = false }, faults: 1, kinds: LostAnswer},
	{name: "reader", rules: func(r *Rules) { r.Reader = false }, faults: 1, kinds: Upgrade},
	{name: "retention", rules: func(r *Rules) { r.Retention = false }, faults: 2, kinds: Crash | Truncate},
	{name: "count lost", rules: func(r *Rules) { r.CountLost = false }, faults: 1, kinds: Truncate},

	{name: "world bounded insert", world: func(w *World) { w.BoundedInsert = false }, faults: 1, kinds: Upgrade | Rebalance},
	{name: "world noticed remake", world: func(w *World) { w.NoticedRemake = false }, faults: 1, kinds: Remake},
	{name: "world quiet reset", world: func(w *World) { w.QuietReset = false }, faults: 2, kinds: Crash | LostOffset},
	{name: "world slow takeover", world: func(w *World) { w.SlowTakeover = false }, faults: 2, kinds: Rebalance | PowerLoss},
	{name: "world plain remake", world: func(w *World) { w.PlainRemake = false }, faults: 2, kinds: Remake | Truncate},
	{name: "world clean election", world: func(w *World) { w.CleanElection = false }, faults: 1, kinds: Unclean},
	{name: "world ordered restart", world: func(w *World) { w.OrderedRestart = false }, faults: 2, kinds: LostAnswer | PowerLoss},
}

// With any one rule or assumption off there is a course on which a row is lost or
// doubled.
func TestExplore_Broken(t *testing.T) {
	t.Parallel()
	for _, b := range broken {
		if underRace && b.faults > 1 {
			continue
		}
		t.Run(b.name, func(t *testing.T) {
			t.Parallel()
			c := Config{Protocol(), Assumed(), Bounds{Records: 2, Faults: b.faults, Kinds: b.kinds, States: 500_000}}
			if more { // else TestExplore has to do
				if r, err := Explore(c); err != nil || r.Problem != "" {
					t.Fatalf("with all rules: %v, %s", err, r)
				}
			}
			if b.rules != nil {
				b.rules(&c.Rules)
			} else {
				b.world(&c.World)
			}
			r, err := Explore(c)
			if err != nil {
				t.Fatal(err)
			}
			if r.Problem == "" {
				t.Fatalf("nothing is lost and nothing doubled without it, in %d states", r.States)
			}
			golden(t, b.name, r.String())
		})
	}
}

func golden(t *testing.T, name, got string) {
	t.Helper()
	file := filepath.Join("testdata", strings.ReplaceAll(name, " ", "-")+".txt")
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s differs (-update writes it):\n%s", file, got)
	}
}

func explore(t *testing.T, b Bounds) *Result {
	t.Helper()
	begun := time.Now()
	r, err := Explore(Config{Protocol(), Assumed(), b})
	if err != nil {
		t.Fatal(err)
	}
	if r.Problem != "" {
		t.Errorf("%d records, %d faults:\n%s", b.Records, b.Faults, r)
	}
	t.Logf("%d records, %d faults of kinds %#x: %d states, %d steps, %d at rest, %.1f s", b.Records, b.Faults, b.Kinds, r.States, r.Steps, r.Quiet, time.Since(begun).Seconds())
	return r
}

const processes = Crash | Rebalance | LostAnswer | LostCommit

// Nothing is lost and nothing doubled, whatever happens: the bounds that every run
// of the tests can afford.
func TestExplore(t *testing.T) {
	t.Parallel()
	explore(t, Bounds{Records: 2, Faults: 1, Kinds: AllFaults})
	if underRace {
		return
	}
	explore(t, Bounds{Records: 3, Faults: 1, Kinds: AllFaults &^ Remake})
	explore(t, Bounds{Records: 2, Faults: 2, Kinds: processes})
}

// The same with more, for `make model`: some minutes and a gigabyte or two.
func TestExplore_More(t *testing.T) {
	if !more {
		t.Log("left out: MILLRACE_MODEL is not set; `make model` sets it")
		return
	}
	explore(t, Bounds{Records: 2, Faults: 2, Kinds: AllFaults})
	explore(t, Bounds{Records: 3, Faults: 2, Kinds: processes})
	explore(t, Bounds{Records: 2, Faults: 3, Kinds: Crash | LostAnswer | PowerLoss})
	explore(t, Bounds{Records: 4, Faults: 1, Kinds: AllFaults &^ Remake})
}

// Without a token ClickHouse goes by content, which does almost as well: a variant
// without tokens is broken only when that is off, too.
func TestExplore_DeduplicationByContent(t *testing.T) {
	t.Parallel()
	c := Config{Protocol(), Assumed(), Bounds{Records: 2, Faults: 1, Kinds: processes}}
	c.Rules.Dedup = ByContent
	r, err := Explore(c)
	if err != nil {
		t.Fatal(err)
	}
	if r.Problem != "" {
		t.Errorf("deduplication by content:\n%s", r)
	}
}

func TestExplore_Failure(t *testing.T) {
	t.Parallel()
	for _, b := range []Bounds{{}, {Records: MaxRecords + 1}, {Records: 1, Faults: -1}, {Records: 2, Faults: 1, Kinds: Crash, States: 10}} {
		if _, err := Explore(Config{Protocol(), Assumed(), b}); err == nil {
			t.Errorf("%+v: no error", b)
		}
	}
}

func trace(text string) (all []Event) {
	for _, f := range strings.Fields(text) {
		member, step, _ := strings.Cut(f, ":")
		all = append(all, Event{member, step})
	}
	return all
}

func TestLegal(t *testing.T) {
	t.Parallel()
	c := Config{Protocol(), Assumed(), Bounds{Records: 3, Parts: 1, Kinds: Crash | LostAnswer | Rebalance}}
	for name, text := range map[string]string{
		"a block":  "A:looked A:recovered A:confirmed A:sealed A:announced A:insert A:attempt A:half A:inserted A:confirmed",
		"a kill":   "A:looked A:recovered A:confirmed A:sealed A:announced A:attempt A:killed B:looked B:reannounced B:attempt B:redone B:recovered B:sealed",
		"a repeat": "A:looked A:recovered A:confirmed A:sealed A:announced A:attempt A:failed A:attempt A:inserted A:sealed A:announced",
	} {
		if err := Legal(trace(text), c); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	for name, text := range map[string]string{
		"insert before announce":          "A:looked A:recovered A:confirmed A:sealed A:attempt A:announced A:inserted",
		"announce before recovery":        "A:looked A:sealed A:announced",
		"a second block before the first": "A:looked A:recovered A:confirmed A:sealed A:announced A:sealed",
		"a dead member":                   "A:looked A:recovered A:killed A:confirmed",
		"an intent that nobody finishes":  "A:looked A:recovered A:confirmed A:sealed A:announced A:killed A:looked A:recovered",
		"another's block":                 "A:looked A:recovered A:confirmed A:sealed A:announced B:attempt",
		"an unknown step":                 "A:looked A:teleported",
	} {
		if err := Legal(trace(text), c); err == nil {
			t.Errorf("%s: legal", name)
		}
	}
	c.Bounds.Records = MaxRecords + 1
	if err := Legal(nil, c); err == nil {
		t.Error("too many records: no error")
	}
}
