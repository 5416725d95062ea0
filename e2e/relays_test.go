package e2e

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"millrace/internal/porttest"
)

// The programs that relay what comes over UDP: rsyslog and syslog-ng, installed or
// unpacked under .tools.

func needsRsyslog(t *testing.T) string {
	t.Helper()
	return needs(t, "rsyslogd", "`make tools` unpacks Debian's package rsyslog under .tools", "../.tools/debian/usr/sbin/rsyslogd")
}

func needsSyslogNG(t *testing.T) string {
	t.Helper()
	return needs(t, "syslog-ng", "`make tools` unpacks Debian's package syslog-ng-core under .tools", "../.tools/debian/usr/sbin/syslog-ng")
}

// startRsyslog runs rsyslogd as a relay from UDP to the TCP listener at to and
// returns its UDP address. template "" is rsyslog's own default.
func startRsyslog(t *testing.T, rsyslogd, to, template string) string {
	t.Helper()
	host, port, _ := net.SplitHostPort(to)
	use := ""
	if template != "" {
		use = ` template="safe"`
	}
	return relayRsyslog(t, rsyslogd, "", template, fmt.Sprintf(`action(type="omfwd" target="%s" port="%s" protocol="tcp"%s)`, host, port, use))
}

// relayRsyslog runs rsyslogd with an input, whose UDP address it returns, and actions.
// global are more parameters of global(), declarations stand before the actions.
func relayRsyslog(t *testing.T, rsyslogd, global, declarations, actions string) string {
	t.Helper()
	dir := t.TempDir()
	in := porttest.UDP(t)
	_, port, _ := net.SplitHostPort(in)
	runRsyslog(t, rsyslogd, dir, fmt.Sprintf(`
global(workDirectory="%s"%s)
module(load="imudp")
input(type="imudp" address="127.0.0.1" port="%s" ruleset="relay")
%s
ruleset(name="relay") {
  %s
}
`, dir, global, port, declarations, actions))
	awaitUDP(t, rsyslogd, in)
	return in
}

// runRsyslog runs rsyslogd with a configuration until the test ends.
func runRsyslog(t *testing.T, rsyslogd, dir, config string) {
	t.Helper()
	file := write(t, filepath.Join(dir, "rsyslog.conf"), config)
	cmd := exec.Command(rsyslogd, "-n", "-f", file, "-i", filepath.Join(dir, "pid"), "-C")
	if root, ok := strings.CutSuffix(rsyslogd, "/usr/sbin/rsyslogd"); ok && root != "" {
		lib := root + "/usr/lib/x86_64-linux-gnu"
		cmd.Args = append(cmd.Args, "-M", lib+"/rsyslog")
		cmd.Env = append(os.Environ(), "LD_LIBRARY_PATH="+lib)
	}
	runRelay(t, cmd)
}

// startSyslogNG runs syslog-ng with a source, whose UDP address it returns, and the
// destinations, as syslog-ng's configuration words them. flags are those of the source.
func startSyslogNG(t *testing.T, syslogNG, flags, destinations string) string {
	t.Helper()
	dir := t.TempDir()
	in := porttest.UDP(t)
	_, port, _ := net.SplitHostPort(in)
	file := write(t, filepath.Join(dir, "syslog-ng.conf"), fmt.Sprintf(`@version: 3.38
options { keep-hostname(yes); stats-freq(0); time-reopen(1); };
source s { network(ip("127.0.0.1") port(%s) transport("udp") flags(%s)); };
destination d { %s };
log { source(s); destination(d); };
`, port, flags, destinations))
	cmd := exec.Command(syslogNG, "-F", "--no-caps", "-f", file, "-R", filepath.Join(dir, "persist"),
		"-c", filepath.Join(dir, "ctl"), "-p", filepath.Join(dir, "pid"))
	if root, ok := strings.CutSuffix(syslogNG, "/usr/sbin/syslog-ng"); ok && root != "" {
		lib := root + "/usr/lib/syslog-ng"
		cmd.Args = append(cmd.Args, "--module-path="+lib+"/3.38")
		cmd.Env = append(os.Environ(), "LD_LIBRARY_PATH="+root+"/usr/lib/x86_64-linux-gnu:"+lib)
	}
	runRelay(t, cmd)
	awaitUDP(t, syslogNG, in)
	return in
}

// runRelay runs cmd until the test's end.
func runRelay(t *testing.T, cmd *exec.Cmd) {
	t.Helper()
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	var output bytes.Buffer
	cmd.Stdout, cmd.Stderr = &output, &output
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		_ = cmd.Wait()
		if t.Failed() {
			t.Logf("%s said:\n%s", filepath.Base(cmd.Path), output.String())
		}
	})
}

// awaitUDP returns when a program listens on in. Its socket answers nothing; it is there
// when the port cannot be bound again.
func awaitUDP(t *testing.T, what, in string) {
	t.Helper()
	until(t, filepath.Base(what)+" listens", func() bool {
		c, err := net.ListenPacket("udp", in)
		if err == nil {
			c.Close()
		}
		return err != nil
	}, func() string { return "port still free" })
}

// write makes a file and returns its path.
func write(t *testing.T, path, text string) string {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}
