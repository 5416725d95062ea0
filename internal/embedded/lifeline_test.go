package embedded

import (
	"bytes"
	"context"
	"strings"
	"testing"
	"time"
)

// The life line runs with the settings of profile default. A limit of time
// there once stopped the whole server, cleanly and silently.
func TestLifeLine_OutlivesATimeLimit(t *testing.T) {
	t.Parallel()
	const own = ", max_execution_time=0"
	if !strings.Contains(lifeLine, own) {
		t.Fatalf("the life line is %q", lifeLine)
	}

	// The other way round first: without its own setting the server ends.
	t.Run("without its own setting it ends", func(t *testing.T) {
		t.Parallel()
		c, _ := startWithTimeLimit(t, strings.NewReplacer(own, ""))
		select {
		case <-c.done:
		case <-time.After(20 * time.Second):
			t.Fatal("the server does not end: this test tests nothing")
		}
	})
	t.Run("as it is it stays", func(t *testing.T) {
		t.Parallel()
		c, config := startWithTimeLimit(t, strings.NewReplacer())
		select {
		case <-c.done:
			t.Fatalf("the server ended: %v", c.failure())
		case <-time.After(3 * time.Second):
		}
		db, err := openNative(config.native.String(), config.admin)
		if err != nil {
			t.Fatal(err)
		}
		defer db.Close()
		if err := db.Ping(context.Background()); err != nil {
			t.Fatal(err)
		}
		c.stdin.Close()
		select {
		case <-c.done:
		case <-time.After(20 * time.Second):
			t.Fatal("the child does not end when its standard input closes")
		}
		if c.err != nil {
			t.Fatalf("unclean end: %v\n%s", c.err, c.output.text)
		}
	})
}

// startWithTimeLimit starts a server whose profile default allows a query one
// second, with arguments changed by the replacer.
func startWithTimeLimit(t *testing.T, change *strings.Replacer) (*child, *serverConfig) {
	t.Helper()
	library, err := FindLibrary("")
	if err != nil {
		t.Fatal(err)
	}
	config := &serverConfig{
		dir: t.TempDir(), databases: []string{"millrace"}, memory: 1 << 30,
		admin: Credentials{"millrace", "password of the test"}, reader: Credentials{"reader", "password of the test"},
	}
	for _, dir := range []string{config.dataPath(), config.logDir()} {
		if err := privateDir(dir); err != nil {
			t.Fatal(err)
		}
	}
	l, err := planListeners("127.0.0.1:0", Off)
	if err != nil {
		t.Fatal(err)
	}
	if err := l.pick(config); err != nil {
		t.Fatal(err)
	}
	users := config.usersXML()
	limited := bytes.ReplaceAll(users, []byte("<max_execution_time>0<"), []byte("<max_execution_time>1<"))
	if bytes.Equal(users, limited) {
		t.Fatal("profile default has no max_execution_time to change")
	}
	for path, text := range map[string][]byte{config.mainPath(): config.mainXML(), config.usersPath(): limited} {
		if err := writePrivate(path, text); err != nil {
			t.Fatal(err)
		}
	}
	lock, err := lockDir(context.Background(), config.dir, time.Second)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(lock.unlock)
	args := config.args()
	for i := range args {
		args[i] = change.Replace(args[i])
	}
	c, err := startChild(nil, lock.file, config, childSpec{
		Library: library, Args: args, Native: config.native.String(), Admin: config.admin.User, Password: config.admin.Password, StopSeconds: 10,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.kill)
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	if err := c.waitForLifeLine(ctx, config.native.String(), config.admin); err != nil {
		t.Fatal(err)
	}
	return c, config
}

func TestTailBuffer_KeepsTheEndWithoutStackTraces(t *testing.T) {
	t.Parallel()
	var b tailBuffer
	for _, text := range []string{
		strings.Repeat("x", 3*tailBytes), "\nLogging warning to /a/b\n",
		"Code: 210. DB::Exception: no, Stack trace (when copying this message):\n", "\n0. ? @ 0x00000000aa\n", " (version 26.7.2.1)\n",
	} {
		if n, err := b.Write([]byte(text)); n != len(text) || err != nil {
			t.Fatalf("wrote %d bytes: %v", n, err)
		}
	}
	if len(b.text) > tailBytes {
		t.Fatalf("keeps %d bytes", len(b.text))
	}
	if got, want := b.String()[strings.IndexByte(b.String(), '\n')+1:], "Code: 210. DB::Exception: no"; got != want {
		t.Fatalf("got %q, want %q", got, want)
	}
}
