package cmd

import (
	"strings"
	"testing"
)

const (
	frameM1 = `<14>"1phfsb-0004M4-O4","mx243.antispamcloud.com","a@b.example","r@example.com","example.com","1680135062.25","mail.b.example","helo.b.example","192.0.2.1","1234","x","delivered","ham","Combined (0.02)","A <a@b.example>","r@example.com","","He said "hi", ok"`
	frameS1 = `<14>"1phfsb-0004M4-O4","mx243","example.com","r@example.com","delivered","1680135070","192.0.2.9","25","mx.example.com","250 ok"`
)

func TestTemplateTest(t *testing.T) {
	t.Parallel()
	frames := frameM1 + "\n" + frameS1 + "\n"
	want := []string{
		"frame 1, 257 bytes: m1 (message)\n  header: PRI 14 (facility 1, severity 6), no syslog header\n",
		"  id                      1phfsb-0004M4-O4\n",
		"  timestamp               2023-03-30 00:11:02.250  <- 1680135062.25\n",
		"  cc_header               -\n",
		"  subject_header          He said \"hi\", ok\n",
		"  outgoing_size           -                        <- x",
		"  not s2: ",
		"frame 2, 128 bytes: s1 (status)\n",
		"  delivery_data   250 ok\n",
		"  not m1: column_count: ",
		"\n2 frames, 2 decoded, 0 rejected (listener filter-udp)\n",
	}
	execute(t, frames, "template", "test").contains(t, 0, want...)
	execute(t, frames, "template", "test", "-").contains(t, 0, want...)
	execute(t, "", "template", "test", file(t, "frames", frames)).contains(t, 0, want...)
	execute(t, strings.ReplaceAll(frames, "\n", "\x00"), "template", "test", "--listener", "filter-tcp").
		contains(t, 0, "2 frames, 2 decoded, 0 rejected (listener filter-tcp)\n")
	execute(t, frames, "template", "test", "--framing", "nul").contains(t, 0, "frame 1, 386 bytes: ", "1 frame, 1 decoded, 0 rejected")
}

func TestTemplateTestOwnFormat(t *testing.T) {
	t.Parallel()
	path := file(t, "m.yaml", `
listeners:
  - {name: a, address: "tcp://127.0.0.1:1"}
  - {name: b, address: "tcp://127.0.0.1:2", formats: [mine]}
formats: [{name: mine, template: '[%(id)s|%(weather)s]', kind: status}]
`)
	execute(t, "<13>Nov 21 03:04:05 relay [1phfsb-0004M4-O4|rain\x1b[31m]\n", "template", "test", "--config", path, "--listener", "b").
		contains(t, 0, "mine (status)\n", "rfc3164 header Nov 21 03:04:05 relay\n", `extra[weather]  "rain\x1b[31m"`)
}

func TestTemplateTestRejects(t *testing.T) {
	t.Parallel()
	r := execute(t, "hello\n"+frameM1+"\n<14>\"1phfsb-0004M4-O4\",\"mx243\",\"example.com\"\n", "template", "test")
	r.contains(t, 1,
		"frame 1, 5 bytes: rejected, no format matches\n  header: no PRI, no syslog header\n  not m1: no_template: ",
		"frame 3, 44 bytes: rejected, no format matches\n",
		"  not s1: column_count: it has 3 values; s1 has 10\n",
		"3 frames, 1 decoded, 2 rejected (listener filter-udp)\n",
		"millrace: cannot decode 2 of 3 frames of standard input\n")
	execute(t, "", "template", "test").want(t, 1, "", "millrace: cannot find a frame in standard input\n")
	execute(t, "", "template", "test", "nothing.txt").want(t, 1, "",
		"millrace: cannot read the frames: open nothing.txt: no such file or directory\n")
}
