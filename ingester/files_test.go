package ingester

import (
	"compress/gzip"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"millrace/internal/config"
)

// followed is a directory of logs, and an ingester that follows them.
type followed struct {
	t          *testing.T
	dir, state string
	written    []string // all lines, in their order
	formats    string
}

func newFollowed(t *testing.T, formats string) *followed {
	dir := t.TempDir()
	f := &followed{t: t, dir: filepath.Join(dir, "log"), state: filepath.Join(dir, "state"), formats: formats}
	if err := os.Mkdir(f.dir, 0o755); err != nil {
		t.Fatal(err)
	}
	return f
}

// rig starts an ingester on a broker that was there before, or on one of its own.
func (f *followed) rig(on *rig) *rig {
	f.t.Helper()
	change := func(cfg *config.Config) {
		text := fmt.Sprintf("files: [{name: log, paths: ['%s/*'], formats: [%s], raw: always, time_zone: Europe/Sofia, smtp_port: 25, group_timeout: 1s}]\nstate_dir: '%s'\n", f.dir, f.formats, f.state)
		with, err := config.Parse("files.yaml", []byte(text), func(string) string { return "" })
		if err != nil {
			f.t.Fatal(err)
		}
		cfg.Files, cfg.StateDir = with.Files, with.StateDir
	}
	if on != nil {
		return newRigOn(f.t, on.broker, tcp, "", change)
	}
	return newRig(f.t, tcp, "", change)
}

func (f *followed) path(name string) string { return filepath.Join(f.dir, name) }

// write appends lines to a log.
func (f *followed) write(name string, lines ...string) {
	f.t.Helper()
	file, err := os.OpenFile(f.path(name), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		f.t.Fatal(err)
	}
	defer file.Close()
	if _, err := file.WriteString(strings.Join(lines, "")); err != nil {
		f.t.Fatal(err)
	}
	f.written = append(f.written, lines...)
}

// bare is session without the syslog header.
func bare(n int) []string {
	var lines []string
	for _, line := range session("x", n) {
		_, text, _ := strings.Cut(line, " smtp: ")
		lines = append(lines, text)
	}
	return lines
}

// once fails unless each line that was written is in the raw of as many events of the log
// as it was written.
func (f *followed) once(events []event) {
	f.t.Helper()
	want, got := map[string]int{}, map[string]int{}
	for _, line := range f.written {
		want[line]++
	}
	places := map[string]bool{}
	for _, e := range events {
		if e["listener"] != "log" {
			continue
		}
		if place := e["source"] + " " + e["source_offset"]; places[place] {
			f.t.Errorf("two events of %s", place)
		} else {
			places[place] = true
		}
		for line := range strings.Lines(e["raw"]) {
			if !strings.HasSuffix(line, "\n") {
				line += "\n"
			}
			got[line]++
		}
	}
	for line, n := range want {
		if got[line] != n {
			f.t.Errorf("%q was written %d times, and is in %d events", line, n, got[line])
		}
	}
	if !maps.Equal(want, got) && !f.t.Failed() {
		f.t.Errorf("events have lines that nobody wrote")
	}
}

// messages writes whole messages, from one number to before another.
func (f *followed) messages(name string, from, to int) {
	f.t.Helper()
	var lines []string
	for n := from; n < to; n++ {
		lines = append(lines, bare(n)...)
	}
	f.write(name, lines...)
}

func (r *rig) published(n int) {
	r.t.Helper()
	r.within(fmt.Sprintf("%d events are published", n), func(a Account) bool { return int(a.Published) >= n })
}

// A log that is there, grows, is renamed and begun anew, and compressed.
func TestFiles_Rotation(t *testing.T) {
	t.Parallel()
	f := newFollowed(t, "smtp")
	f.messages("smtp.log", 0, 100)
	r := f.rig(nil)
	r.published(100)
	f.messages("smtp.log", 100, 150)
	r.published(150)
	if err := os.Rename(f.path("smtp.log"), f.path("smtp.log.1")); err != nil {
		t.Fatal(err)
	}
	f.messages("smtp.log.1", 150, 160) // its writer has it open still
	f.messages("smtp.log", 160, 260)
	r.published(260)
	// Compressed while another line has come that nobody has read: the text is one source.
	r.drained()
	f.messages("smtp.log.1", 260, 270)
	text, err := os.ReadFile(f.path("smtp.log.1"))
	if err != nil {
		t.Fatal(err)
	}
	gz, err := os.Create(f.path("smtp.log.1.gz"))
	if err != nil {
		t.Fatal(err)
	}
	z := gzip.NewWriter(gz)
	if _, err := z.Write(text); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	gz.Close()
	if err := os.Remove(f.path("smtp.log.1")); err != nil {
		t.Fatal(err)
	}
	again := f.rig(r)
	again.published(10)
	again.drained()
	events := again.read(270)
	f.once(events)
	var sources []string
	for _, e := range events {
		e.want(t, "kind", "smtp", "transport", "file", "listener", "log", "flags", "", "event_time", "2021-03-09 10:43:51.000", "peer_ip", "")
		if !slices.Contains(sources, e["source"]) {
			sources = append(sources, e["source"])
		}
	}
	if len(sources) != 2 {
		t.Errorf("sources %q", sources)
	}
}

// copytruncate: the log is copied, and cut to nothing while it is open. What was not read
// by then is in the copy.
func TestFiles_CopyTruncate(t *testing.T) {
	t.Parallel()
	f := newFollowed(t, "smtp")
	f.messages("smtp.log", 0, 100)
	r := f.rig(nil)
	r.published(100)
	r.gate.Close() // what comes now is not read before the log is cut
	f.messages("smtp.log", 100, 120)
	text, err := os.ReadFile(f.path("smtp.log"))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(f.path("smtp.log.1"), text, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(f.path("smtp.log"), 0); err != nil {
		t.Fatal(err)
	}
	f.messages("smtp.log", 120, 220)
	r.gate.Open()
	r.published(220)
	r.drained()
	f.once(r.read(220))
}

// A group whose rest does not come ends when the file has been silent, and what comes
// then is another event: also for who reads it again.
func TestFiles_Silence(t *testing.T) {
	t.Parallel()
	f := newFollowed(t, "smtp")
	f.messages("smtp.log", 0, 20)
	f.write("smtp.log", bare(20)[:4]...)
	r := f.rig(nil)
	r.published(21)
	f.write("smtp.log", bare(20)[4:]...)
	f.messages("smtp.log", 21, 30)
	r.published(31)
	a := r.drained()
	if want := uint64(30*7 - 31); a.Joined != want {
		t.Errorf("%d lines are joined, want %d", a.Joined, want)
	}
	events := r.read(31)
	f.once(events)
	incomplete := 0
	for _, e := range events {
		if e["flags"] == "incomplete" {
			incomplete++
		}
	}
	if incomplete != 2 {
		t.Errorf("%d events are incomplete", incomplete)
	}
}

// A stop leaves a message open whose lines are still to come: it is whole in the end.
func TestFiles_StopInAMessage(t *testing.T) {
	t.Parallel()
	f := newFollowed(t, "smtp")
	f.messages("smtp.log", 0, 20)
	f.write("smtp.log", bare(20)[:4]...)
	r := f.rig(nil)
	r.published(20)
	r.drained()
	f.write("smtp.log", bare(20)[4:]...)
	again := f.rig(r)
	again.published(1)
	again.drained()
	events := again.read(21)
	f.once(events)
	for _, e := range events {
		e.want(t, "flags", "")
	}
}

// Templates behind the headers that a relay writes, with lines that are too long, that are
// none, and a last one without an end.
func TestFiles_Templates(t *testing.T) {
	t.Parallel()
	f := newFollowed(t, "builtin")
	stamp := time.Now().UTC().Format(time.Stamp)
	for i := range 30 {
		f.write("relay.log", stamp+" relay1 "+m1(testID(i), "a#011b, #1, #400#")+"#000\n")
	}
	f.write("relay.log", strings.Repeat("x", 100<<10)+"\n", "\n", "hello\n", stamp+" relay1 "+m1(testID(30), "a\tb, #1, #400#"))
	r := f.rig(nil)
	r.published(30)
	r.within("the rejects are there", func(a Account) bool { return a.RejectedTotal() == 2 })
	if err := os.Remove(f.path("relay.log")); err != nil {
		t.Fatal(err)
	}
	r.published(31) // the last line when nobody can write to the file any more
	a := r.drained()
	if a.Published != 31 || a.RejectedTotal() != 2 || a.DroppedTotal() != 1 {
		t.Errorf("%+v", a)
	}
	for _, e := range r.read(33) {
		switch {
		case e["id"] == testID(30):
			e.want(t, "flags", "no_trailer", "subject_header", "a\tb, #1, #400#")
		case e["kind"] == "message":
			e.want(t, "syslog_host", "relay1", "transport", "file", "source_path", f.path("relay.log"), "flags", "", "subject_header", "a\tb, #1, #400#")
		}
	}
}

// The sender of a message that is tried again is known behind a rotation. An ingester that
// is started afterwards knows what the log tells of in front of the checkpoint.
func TestFiles_TriedAgain(t *testing.T) {
	t.Parallel()
	f := newFollowed(t, "delivery")
	at := 0
	attempt := func(recipient, outcome string) {
		at++
		f.write("delivery.log", fmt.Sprintf("2021-03-09 12:43:51, try, %d, remote, %s\n", at, recipient), fmt.Sprintf("2021-03-09 12:43:52, result, %d, %s, text\n", at, outcome))
	}
	message := func(n int, outcome string) {
		f.write("delivery.log", fmt.Sprintf("2021-03-09 12:43:50, init, <s%d@example.org>\n", n))
		attempt(fmt.Sprintf("r%d@example.net", n), outcome)
	}
	for n := range 60 {
		message(n, "deferral")
	}
	r := f.rig(nil)
	r.published(60)
	if err := os.Rename(f.path("delivery.log"), f.path("delivery.log.1")); err != nil {
		t.Fatal(err)
	}
	message(60, "deferral")
	for n := range 30 {
		attempt(fmt.Sprintf("r%d@example.net", n), "success")
	}
	r.published(91)
	r.drained()
	attempt("r30@example.net", "success") // deferred in the log that was rotated
	attempt("r60@example.net", "success")
	again := f.rig(r)
	again.published(2)
	again.drained()
	for _, e := range again.read(93) {
		if e["recipient"] == "r30@example.net" && e["outcome"] == "success" {
			e.want(t, "flags", "sender_inferred")
			continue
		}
		e.want(t, "flags", "", "sender", strings.Replace(strings.TrimSuffix(e["recipient"], "net")+"org", "r", "s", 1))
	}
}

// A file that two entries find is followed by one, and the log says so.
func TestFiles_TwoEntries(t *testing.T) {
	t.Parallel()
	f := newFollowed(t, "smtp")
	f.messages("smtp.log", 0, 50)
	r := newRig(t, tcp, "", func(cfg *config.Config) {
		text := fmt.Sprintf("files:\n- {name: one, paths: ['%[1]s/*'], formats: [smtp]}\n- {name: two, paths: ['%[1]s/smtp.log'], formats: [smtp]}\nstate_dir: '%[2]s'\n", f.dir, f.state)
		with, err := config.Parse("files.yaml", []byte(text), func(string) string { return "" })
		if err != nil {
			t.Fatal(err)
		}
		cfg.Files, cfg.StateDir = with.Files, with.StateDir
	})
	r.published(50)
	within(t, "the log says that both find it", func() bool { return strings.Contains(r.log.String(), "one entry of files is for each") }, r.log.String)
	if a := r.drained(); a.Published != 50 {
		t.Errorf("%+v", a)
	}
}
