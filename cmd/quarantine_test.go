package cmd

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"millrace/internal/config"
	"millrace/internal/embedded/embeddedtest"
	"millrace/internal/imaptest"
	"millrace/internal/porttest"
	"millrace/schema"
)

var update = flag.Bool("update", false, "write the golden files anew")

// quarantineWorld is a server with mail of today and of yesterday, in a zone in which it is about noon.
type quarantineWorld struct {
	*imaptest.Server
	zone     string
	midnight time.Time
	config   string
}

func newQuarantineWorld(t *testing.T) *quarantineWorld {
	t.Helper()
	now := time.Now().UTC()
	hours := 12 - now.Hour()
	w := &quarantineWorld{Server: imaptest.Start(t), zone: fmt.Sprintf("%+03d:00", hours)}
	year, month, day := now.Date()
	w.midnight = time.Date(year, month, day, 0, 0, 0, 0, time.FixedZone("", hours*3600))
	yesterday := w.midnight.AddDate(0, 0, -1)
	mail := func(at time.Time, name string) imaptest.Mail {
		t.Helper()
		path, err := filepath.Glob("../ingester/quarantine/testdata/mail/" + name + "*")
		if err != nil || len(path) != 1 {
			t.Fatal(path, err)
		}
		text, err := os.ReadFile(path[0])
		if err != nil {
			t.Fatal(err)
		}
		return imaptest.Mail{At: at, Text: string(text)}
	}
	w.Append(t, "Caught (Outgoing)",
		mail(yesterday.Add(-time.Second), "03"), // of the day before
		mail(yesterday, "01"),
		mail(yesterday.Add(3*time.Hour), "02"), // a bounce
		mail(yesterday.Add(5*time.Hour), "04"),
		mail(yesterday.Add(6*time.Hour), "06"),
		mail(yesterday.Add(7*time.Hour), "09"),
		mail(yesterday.Add(8*time.Hour), "14"),
		mail(w.midnight.Add(-time.Second), "15"),
		mail(w.midnight, "05"),
		mail(now.Add(-90*time.Minute), "17"),
		mail(now.Add(-30*time.Minute), "19"),
	)
	w.Append(t, "Caught", mail(yesterday.Add(time.Hour), "08"), mail(w.midnight.Add(time.Hour), "18"))
	w.config = file(t, "q.yaml", w.section())
	return w
}

// section is that of a configuration.
func (w *quarantineWorld) section() string {
	return fmt.Sprintf("quarantine: {host: 127.0.0.1, port: %d, tls: {ca: '%s'}, time_zone: '%s'}\n", w.TLSPort, w.CA, w.zone)
}

// list runs the command with the password on its standard input.
func (w *quarantineWorld) list(t *testing.T, args ...string) result {
	t.Helper()
	return execute(t, imaptest.Password+"\n", append([]string{"quarantine", "--config", w.config}, args...)...)
}

const prompt = "Please enter the password for the IMAP account 'global'.\n"

// golden compares with a file of testdata.
func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("not as %s: got\n%s", path, got)
	}
}

// firsts are the second cells of rows, to tell which messages they are of.
func firsts(t *testing.T, out string) string {
	t.Helper()
	var all []string
	for i, line := range strings.Split(strings.TrimSpace(out), "\n") {
		cells := strings.SplitN(line, ",", 3)
		if len(cells) < 3 || i > 0 && cells[0] != fmt.Sprint(i) || i == 0 && line != "#,From,To,Reply-To,Qmail UID,Invoked for,IP/Username,Evidence,PHP script,Auth.sender,Auth-User,Auth-Email" {
			t.Fatalf("line %d of the list is %q", i, line)
		}
		if i > 0 {
			all = append(all, cells[1])
		}
	}
	return strings.Join(all, " ")
}

// TestQuarantine is what the vendor's script does.
func TestQuarantine(t *testing.T) {
	t.Parallel()
	w := newQuarantineWorld(t)

	// As in the vendor's documentation: on the screen, outgoing, without bounces, of yesterday.
	r := execute(t, imaptest.Password+"\n", "quarantine", "-d", "-o", "-n", "-s", fmt.Sprintf("127.0.0.1:%d", w.TLSPort), "--ca", w.CA, "--tz", w.zone)
	yesterday := w.midnight.AddDate(0, 0, -1)
	golden(t, "quarantine.txt", r.out)
	if want := prompt + fmt.Sprintf("7 messages in \"Caught (Outgoing)\", %s to %s; 1 from mailer-daemon left out\n",
		yesterday.Format(time.RFC3339), w.midnight.Format(time.RFC3339)); r.code != 0 || r.errs != want {
		t.Errorf("code %d, got %s\nwant %s", r.code, r.errs, want)
	}

	// The same rows in a file, in which a spreadsheet finds no formula.
	path := filepath.Join(t.TempDir(), "list.csv")
	r = w.list(t, "-c", "-o", "-n", "--output", path)
	r.contains(t, 0, "wrote 6 rows to "+path)
	saved, err := os.ReadFile(path)
	if err != nil || r.out != "" {
		t.Fatal(r.out, err)
	}
	golden(t, "quarantine.csv", string(saved))
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
	w.list(t, "--csv", "--display", "--no-bounce", "--raw-cells", "--output", path).contains(t, 0, "6,\"=HYPERLINK(")
	if raw, err := os.ReadFile(path); err != nil || !bytes.Contains(raw, []byte("\r\n6,\"=HYPERLINK(")) || bytes.Count(raw, []byte("\r\n")) != 7 {
		t.Errorf("%s, %v", raw, err)
	}
}

func TestQuarantine_Times(t *testing.T) {
	t.Parallel()
	w := newQuarantineWorld(t)
	f := func(want string, args ...string) {
		t.Helper()
		r := w.list(t, args...)
		if got := firsts(t, r.out); got != want || r.code != 0 {
			t.Errorf("%v: code %d\n got %s\nwant %s\n%s", args, r.code, got, want, r.errs)
		}
	}
	day := func(ago int) string { return w.midnight.AddDate(0, 0, -ago).Format(time.DateOnly) }
	const today = "panel@host9.example.net first@example.com \"\"\"MAILER-DAEMON\"\" <spammer@example.com>\""
	f(today, "-t")
	f(today, "--today", "--outgoing")
	f(today, "--from", day(0))
	f("support@example.com", "-i", "-t")
	f("", "-i", "-t", "-n")
	f("\"\"\"Ünal\"\" <u@example.com>\"", "-i")
	f("support@example.com "+today, "-i", "-o", "-t")
	f("\"\"\"MAILER-DAEMON\"\" <spammer@example.com>\"", "--since", "1h")
	f("first@example.com \"\"\"MAILER-DAEMON\"\" <spammer@example.com>\"", "--since", "2h")
	// The borders of a day, to the second.
	f("Karin <karin@example.com>", "--from", day(2), "--to", day(2))
	f("\"=HYPERLINK(\"\"http://192.0.2.1/?\"\"&A1 panel@host9.example.net", "--from", day(1)+"T23:59:59", "--to", day(0)+" 00:00:01")
	f("", "--from", day(0)+"T00:00:01", "--to", day(0)+"T00:00:02")
}

func TestQuarantine_Passwords(t *testing.T) {
	t.Parallel()
	w := newQuarantineWorld(t)
	good, bad := file(t, "good", imaptest.Password+"\r\nnot this\n"), file(t, "bad", "wrong\n")
	empty := file(t, "empty", "\n")
	const refused = `millrace: cannot log in to IMAP server 127.0.0.1:`
	execute(t, "", "quarantine", "--config", w.config, "--password-file", good).contains(t, 0, "#,From,To")
	execute(t, "", "quarantine", "--config", w.config, "--password-file", bad).contains(t, 1, refused, `as "global": the server refuses this user with this password: NO [AUTHENTICATIONFAILED]`)
	execute(t, "", "quarantine", "--config", w.config, "--password-file", empty).contains(t, 1, "millrace: cannot read the password: "+empty+": it is empty\n")
	execute(t, "", "quarantine", "--config", w.config, "--password-file", "/nowhere/file").contains(t, 1, "millrace: cannot read the password: open /nowhere/file: no such file or directory")
	execute(t, "\n", "quarantine", "--config", w.config).contains(t, 1, prompt, "millrace: cannot read the password: it is empty\n")
	execute(t, "wrong", "quarantine", "--config", w.config, "-u", "somebody").contains(t, 1, "IMAP account 'somebody'.", `as "somebody"`)
	r := execute(t, "", "quarantine", "--config", w.config, "-p", imaptest.Password)
	r.contains(t, 0, "#,From,To", "warning: everybody on this machine can see the password of -p")
	inFile := file(t, "q.yaml", strings.Replace(w.section(), "{host", "{password: '"+imaptest.Password+"', host", 1))
	execute(t, "", "quarantine", "--config", inFile).contains(t, 0, "#,From,To")
	named := file(t, "q.yaml", strings.Replace(w.section(), "{host", "{password_file: '"+good+"', host", 1))
	execute(t, "", "quarantine", "--config", named).contains(t, 0, "#,From,To")
	execute(t, "", "quarantine", "--config", named, "--password-file", bad).contains(t, 1, refused)
	for _, r := range []result{r} {
		if strings.Contains(r.out+r.errs, imaptest.Password) {
			t.Errorf("the password is printed: %+v", r)
		}
	}
}

func TestQuarantine_PasswordEnvironment(t *testing.T) {
	w := newQuarantineWorld(t)
	t.Setenv("MILLRACE_IMAP_PASSWORD", imaptest.Password)
	r := execute(t, "", "quarantine", "--config", w.config)
	r.contains(t, 0, "#,From,To")
	if strings.Contains(r.errs, prompt) {
		t.Error("it asks nevertheless")
	}
}

func TestQuarantine_Connections(t *testing.T) {
	t.Parallel()
	w := newQuarantineWorld(t)
	w.list(t, "--tls", "starttls", "--port", fmt.Sprint(w.PlainPort)).contains(t, 0, "#,From,To")
	w.list(t, "--tls", "none", "--port", fmt.Sprint(w.PlainPort)).contains(t, 0, "#,From,To")
	at := fmt.Sprintf("127.0.0.1:%d", w.TLSPort)
	execute(t, "x\n", "quarantine", "-s", at).contains(t, 1, "millrace: cannot trust IMAP server "+at+": x509: certificate signed by unknown authority", "quarantine.tls.ca")
	execute(t, imaptest.Password, "quarantine", "-s", at, "--insecure", "--tz", w.zone).contains(t, 0, "warning: the certificate of 127.0.0.1 is not verified", "#,From,To")
	list := filepath.Join(t.TempDir(), "list.csv")
	other := file(t, "q.yaml", strings.Replace(w.section(), "{host", "{outgoing: [Sent], host", 1))
	execute(t, imaptest.Password, "quarantine", "--config", other, "-c", "--output", list).contains(t, 1,
		`millrace: cannot open folder "Sent" (quarantine.outgoing): the server says NO `, `there are "Caught", "Caught (Outgoing)", "INBOX"`, list+" was not written")
	if left, _ := filepath.Glob(filepath.Join(filepath.Dir(list), "*")); len(left) > 0 {
		t.Errorf("left behind: %q", left)
	}
	none := file(t, "q.yaml", strings.Replace(w.section(), "{host", "{incoming: [], host", 1))
	execute(t, imaptest.Password, "quarantine", "--config", none, "-i").contains(t, 1, "millrace: cannot search the incoming quarantine: quarantine.incoming names no folder\n")
}

func TestQuarantine_Check(t *testing.T) {
	t.Parallel()
	path := file(t, "q.yaml", "quarantine: {host: 2001:db8::25, tls: {mode: starttls}}\n")
	execute(t, "", "check", "--config", path).contains(t, 0, `[2001:db8::25]:143`, `user global, TLS starttls, incoming ["Caught"], outgoing ["Caught (Outgoing)"]`)
}

func TestQuarantine_Usage(t *testing.T) {
	t.Parallel()
	f := func(want string, args ...string) {
		t.Helper()
		execute(t, "", append([]string{"quarantine"}, args...)...).want(t, 2, "", "millrace: cannot understand the command line: "+want+"\nSee 'millrace quarantine --help'.\n")
	}
	f("the server is missing: -s HOST, or quarantine.host in the configuration")
	f("--today, --since, and --from with --to are three ways to say which time: one of them", "-s", "h", "-t", "--since", "1h")
	f(`--since "soon": allowed how long ago, as 1h or 2d, or a time, as 2026-11-25 or 2026-11-25T14:00`, "-s", "h", "--since", "soon")
	f(`--from "2026-13-01": allowed: a day as 2026-11-25, or a time as 2026-11-25T14:00 or 2026-11-25T14:00:00Z`, "-s", "h", "--from", "2026-13-01")
	f("--to without --from: since when?", "-s", "h", "--to", "2026-11-25")
	f("the time ends before it begins: 2026-11-25T00:00:00Z to 2026-11-25T00:00:00Z", "-s", "h", "--from", "2026-11-25", "--to", "2026-11-24", "--tz", "UTC")
	f(`--tz "Mars": unknown time zone; allowed local, a name such as Europe/Amsterdam, or an offset such as +02:00`, "-s", "h", "--tz", "Mars")
	f("--tls \"ssl\": implicit, starttls or none", "-s", "h", "--tls", "ssl")
	f("--port 70000: 1 to 65535", "-s", "h", "--port", "70000")
	f(`--imaphost "h:imap": want HOST or HOST:PORT`, "-s", "h:imap")
	f("--output goes with -c", "-s", "h", "--output", "x.csv")
}

// TestQuarantine_Load: from the mailbox to the table, once.
func TestQuarantine_Load(t *testing.T) {
	t.Parallel()
	w := newQuarantineWorld(t)
	ch, database := embeddedtest.ClickHouse(t), embeddedtest.Database(t)
	var topics []string
	for _, k := range schema.Kinds() {
		topics = append(topics, config.Default().Kafka.Topic(k.Topic))
	}
	broker := embeddedtest.Broker(t, topics...)
	w.config = file(t, "q.yaml", w.section()+fmt.Sprintf(`
kafka: {brokers: ['%s']}
clickhouse: {addresses: ['%s'], database: %s, username: %s, password: '%s', reader: {username: %s, password: '%s'}}
transform: {block_age: 20ms}
http: {transform: 'off'}
`, broker.Addr, ch.NativeAddr, database, ch.Admin.User, ch.Admin.Password, ch.Reader.User, ch.Reader.Password))
	w.list(t, "--load").contains(t, 1, "millrace: cannot ask ClickHouse which messages are loaded already: table quarantine_messages is missing; millrace schema apply makes it")
	execute(t, "", "schema", "apply", "--config", w.config).contains(t, 0, "quarantine_messages")

	ctx, stop := context.WithCancel(t.Context())
	log, err := os.Create(filepath.Join(t.TempDir(), "log")) // that there is a stop is logged on the side
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	transformed := make(chan int, 1)
	go func() {
		transformed <- run(ctx, New(), []string{"transform", "--config", w.config}, strings.NewReader(""), io.Discard, log)
	}()
	defer func() {
		stop()
		if code := <-transformed; code != 0 {
			said, _ := os.ReadFile(log.Name())
			t.Errorf("transform: code %d\n%s", code, said)
		}
	}()
	rows := func(sql string) string {
		t.Helper()
		r := execute(t, "", "query", "--config", w.config, "--format", "tsv", sql)
		if r.code != 0 {
			t.Fatalf("%+v", r)
		}
		return r.out
	}
	inserted := func(n int) {
		t.Helper()
		for deadline := time.Now().Add(time.Minute); ; time.Sleep(20 * time.Millisecond) {
			got := rows("SELECT count() FROM quarantine_messages")
			if got == fmt.Sprintln(n) {
				return
			}
			if time.Now().After(deadline) {
				t.Fatalf("%s rows are there, want %d", got, n)
			}
		}
	}

	r := w.list(t, "--load", "-n")
	r.contains(t, 0, "loaded 6 messages, left out 0 that are loaded already\n")
	if r.out != "" {
		t.Errorf("a list that nobody asked for: %s", r.out)
	}
	inserted(6)
	// With the bounce; what is there is listed and not loaded again.
	r = w.list(t, "--load", "-d", "-i", "-o")
	r.contains(t, 0, "8 messages in \"Caught\", \"Caught (Outgoing)\"", "loaded 2 messages, left out 6 that are loaded already\n")
	if n := strings.Count(r.out, "\n"); n != 9 {
		t.Errorf("%d lines", n)
	}
	inserted(8)
	w.list(t, "--load", "-i", "-o").contains(t, 0, "loaded 0 messages, left out 8 that are loaded already\n")
	w.list(t, "--load", "-t").contains(t, 0, "loaded 3 messages, left out 0 that are loaded already\n")
	inserted(11)
	if got := rows("SELECT count(), uniqExact(server, account, folder, uid_validity, uid) FROM quarantine_messages"); got != "11\t11\n" {
		t.Errorf("rows and messages: %s", got)
	}
	got := rows("SELECT direction, folder, domain, from_header, qmail_uid, invoked_for, client, evidence, auth_user, id, size > 0, flags, raw != '', transport, peer_ip, server, account " +
		"FROM quarantine_messages ORDER BY direction, uid")
	golden(t, "quarantine.tsv", got)
	execute(t, "", "audit", "--config", w.config).contains(t, 0)
}

// Kafka that is away is an error, and so is ClickHouse.
func TestQuarantine_LoadAway(t *testing.T) {
	t.Parallel()
	w := newQuarantineWorld(t)
	nobody := porttest.TCP(t)
	w.config = file(t, "q.yaml", w.section()+fmt.Sprintf("kafka: {brokers: ['%s']}\nclickhouse: {addresses: ['%[1]s'], reader: {password: x}}\n", nobody))
	w.list(t, "--load").contains(t, 1, "millrace: cannot load messages: cannot reach Kafka", nobody)
	broker := embeddedtest.Broker(t)
	w.config = file(t, "q.yaml", w.section()+fmt.Sprintf("kafka: {brokers: ['%s']}\nclickhouse: {addresses: ['%s'], reader: {password: x}}\n", broker.Addr, nobody))
	w.list(t, "--load").contains(t, 1, "millrace: cannot ask ClickHouse which messages are loaded already: ", "connection refused", "clickhouse.addresses")
}
