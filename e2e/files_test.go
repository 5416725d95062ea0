package e2e

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"millrace/internal/embedded"
	"millrace/schema"
)

// mailLog is a qmail host's logs in one file, as a writer goes on with it: whole messages
// and cut ones, deliveries that end long after they began, rotation by rename and by
// copytruncate.
type mailLog struct {
	t    *testing.T
	path string
	file *os.File
	rng  *rand.Rand

	messages int
	rotated  int
	open     []int // deliveries that are under way
	lines    atomic.Int64
	mu       sync.Mutex
	written  map[string]int
	told     map[string]bool // lines that are in no event: they tell of later ones
}

func newMailLog(t *testing.T, path string) *mailLog {
	t.Helper()
	l := &mailLog{t: t, path: path, rng: rand.New(rand.NewPCG(5, 1)), written: map[string]int{}, told: map[string]bool{}}
	l.begin()
	t.Cleanup(func() { l.file.Close() })
	return l
}

func (l *mailLog) begin() {
	var err error
	if l.file, err = os.OpenFile(l.path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644); err != nil {
		l.t.Fatal(err)
	}
}

func (l *mailLog) line(format string, args ...any) string {
	return fmt.Sprintf("2026-03-09 12:%02d:%02d, ", l.messages/60%60, l.messages%60) + fmt.Sprintf(format, args...) + "\n"
}

// more appends what a moment brings.
func (l *mailLog) more() {
	n := l.messages
	l.messages++
	lines := []string{
		l.line("from, s%d@example.org", n), l.line("resp, 250 ok"), l.line("to, <r%d@example.com>", n),
		l.line("check, accepted rcpt, h:198.51.100.25, r%d@example.com, found existing recipient", n), l.line("resp, 250 ok"),
		l.line("size, %d", n), l.line("resp, 250 ok 1615286631 qp %d", n),
	}
	if l.rng.IntN(8) == 0 {
		lines = lines[:1+l.rng.IntN(6)]
	}
	told := l.line("init, <s%d@example.org>", n)
	lines = append(lines, told, l.line("try, %d, local, r%d@example.com", n, n))
	l.open = append(l.open, n)
	for len(l.open) > 0 && l.rng.IntN(3) > 0 {
		i := l.rng.IntN(len(l.open))
		lines = append(lines, l.line("result, %d, success, did_1+0+0/", l.open[i]))
		l.open = append(l.open[:i], l.open[i+1:]...)
	}
	l.append(told, lines)
}

// settle ends all deliveries: an attempt is decoded from the lines of one file.
func (l *mailLog) settle() {
	var lines []string
	for _, n := range l.open {
		lines = append(lines, l.line("result, %d, success, did_1+0+0/", n))
	}
	l.open = l.open[:0]
	l.append("", lines)
}

// append writes lines, in pieces that end anywhere. told is in no event.
func (l *mailLog) append(told string, lines []string) {
	text := strings.Join(lines, "")
	l.mu.Lock()
	for _, line := range lines {
		l.written[line]++
	}
	l.told[told] = true
	l.mu.Unlock()
	l.lines.Add(int64(len(lines)))
	for len(text) > 0 {
		piece := text[:1+l.rng.IntN(len(text))]
		if _, err := l.file.WriteString(piece); err != nil {
			l.t.Error(err)
			return
		}
		text = text[len(piece):]
	}
}

func (l *mailLog) rotate() {
	l.settle()
	l.rotated++
	old := fmt.Sprintf("%s.%d", l.path, l.rotated)
	if l.rotated%2 == 0 {
		if err := os.Rename(l.path, old); err != nil {
			l.t.Error(err)
		}
		l.file.Close()
		l.begin()
		return
	}
	from, err := os.Open(l.path)
	if err != nil {
		l.t.Error(err)
		return
	}
	defer from.Close()
	to, err := os.Create(old)
	if err == nil {
		_, err = io.Copy(to, from)
		to.Close()
	}
	if err == nil {
		err = l.file.Truncate(0)
	}
	if err != nil {
		l.t.Error(err)
	}
}

// write goes on until ctx ends.
func (l *mailLog) write(ctx context.Context) {
	for ctx.Err() == nil {
		for range 1 + l.rng.IntN(20) {
			l.more()
		}
		if l.messages > 200*(l.rotated+1) {
			l.rotate()
		}
		time.Sleep(time.Duration(l.rng.IntN(20)) * time.Millisecond)
	}
	l.settle()
}

// inKafka reads all topics from their beginning, and counts lines of raw, and events by
// source and offset.
func (l *mailLog) inKafka(broker string, until int64) (lines map[string]int, places map[string]int) {
	l.t.Helper()
	var topics []string
	for _, k := range schema.Kinds() {
		topics = append(topics, "millrace."+k.Topic)
	}
	client, err := kgo.NewClient(kgo.SeedBrokers(broker), kgo.ConsumeTopics(topics...), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.FetchMaxWait(100*time.Millisecond))
	if err != nil {
		l.t.Fatal(err)
	}
	defer client.Close()
	lines, places = map[string]int{}, map[string]int{}
	seen := int64(0)
	for quiet := 0; quiet < 10 || seen < until && quiet < 60; {
		ctx, cancel := context.WithTimeout(context.Background(), 500*time.Millisecond)
		fetches := client.PollFetches(ctx)
		cancel()
		quiet++
		fetches.EachRecord(func(rec *kgo.Record) {
			quiet = 0
			kind := schema.KindByName(strings.TrimPrefix(rec.Topic, "millrace."))
			var e schema.Event
			if err := (schema.Reader{}).Read(kind, rec.Value, &e); err != nil {
				l.t.Fatal(err)
			}
			places[fmt.Sprintf("%s at %d", e.Text(schema.Source), e.Uint(schema.SourceOffset))]++
			for line := range strings.Lines(string(e.Text(schema.Raw))) {
				lines[strings.TrimSuffix(line, "\n")+"\n"]++
				seen++
			}
		})
	}
	return lines, places
}

// TestFiles_Killed kills an ingester again and again while it follows a log that is
// written and rotated: each line is in one event, none is missing.
func TestFiles_Killed(t *testing.T) {
	t.Parallel()
	topics := map[string]int{}
	for _, k := range schema.Kinds() {
		topics["millrace."+k.Topic] = 6
	}
	broker, err := embedded.StartBroker(embedded.BrokerOptions{Topics: topics})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(broker.Close)
	dir := t.TempDir()
	config := filepath.Join(dir, "ingest.yaml")
	if err := os.Mkdir(filepath.Join(dir, "log"), 0o755); err != nil {
		t.Fatal(err)
	}
	l := newMailLog(t, filepath.Join(dir, "log", "mail.log"))
	text := fmt.Sprintf("listeners: [{name: tcp, address: \"tcp://127.0.0.1:0\"}]\n"+
		"files: [{name: mail, paths: [\"%s*\"], formats: [smtp, delivery], raw: always, group_timeout: 1s}]\nstate_dir: %q\n"+
		"kafka: {brokers: [\"%s\"], topic_prefix: millrace., linger: 20ms}\nhttp: {ingest: \"127.0.0.1:0\"}\n", l.path, filepath.Join(dir, "state"), broker.Addr)
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	var writing sync.WaitGroup
	writing.Go(func() { l.write(ctx) })
	when := rand.New(rand.NewPCG(7, 7))
	const kills = 9
	published := 0
	for range kills {
		p := start(t, "ingest", "--config", config)
		p.waitReady()
		time.Sleep(time.Duration(1500+when.IntN(2500)) * time.Millisecond)
		published += int(p.metric("millrace_frames_published_total", `listener="mail"`))
		p.signal(syscall.SIGKILL)
	}
	stop()
	writing.Wait()
	p := start(t, "ingest", "--config", config)
	p.waitReady()
	want := int64(0)
	l.mu.Lock()
	for line, n := range l.written {
		if !l.told[line] {
			want += int64(n)
		}
	}
	l.mu.Unlock()
	lines, places := l.inKafka(broker.Addr, want)
	if code := p.signal(syscall.SIGTERM); code != 0 {
		t.Errorf("exit code %d", code)
	}
	missing, doubled := 0, 0
	for line, n := range l.written {
		if l.told[line] {
			continue
		}
		if lines[line] < n {
			missing += n - lines[line]
			if missing < 5 {
				t.Logf("missing: %q, %d of %d", line, lines[line], n)
			}
		}
		doubled += max(lines[line]-n, 0)
	}
	for line, n := range lines {
		if l.written[line] == 0 {
			doubled += n
			t.Logf("nobody wrote %q", line)
		}
	}
	for place, n := range places {
		if n > 1 {
			doubled += n - 1
			t.Logf("%d events of %s", n, place)
		}
	}
	t.Logf("%d kills, %d rotations, %d lines, %d events, of which %d before a kill: missing=%d doubled=%d", kills, l.rotated, l.lines.Load(), len(places), published, missing, doubled)
	if missing != 0 || doubled != 0 {
		t.Error("it is not exactly once")
	}
	if published == 0 || l.rotated < 2 {
		t.Error("nothing was killed that was at work, or nothing was rotated")
	}
}
