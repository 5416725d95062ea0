package imaptest

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapclient"

	"millrace/internal/certtest"
	"millrace/internal/porttest"
)

// User and Password are the account that a server has.
const (
	User     = "global"
	Password = "correct horse"
)

// Server is a running dovecot.
type Server struct {
	Host      string // 127.0.0.1
	TLSPort   int    // TLS from the first byte
	PlainPort int    // none, or STARTTLS
	MailPort  int    // SMTP with AUTH, of StartRelay: none, or STARTTLS
	CA        string // PEM file of the authority that signed its certificate

	pool   *certtest.Authority
	zone   string
	relay  *Relay
	dir    string
	owner  uint32
	cmd    *exec.Cmd
	exited chan struct{}
	mails  atomic.Int64
}

// Start runs a server that ends with the test.
func Start(t testing.TB) *Server {
	t.Helper()
	return StartIn(t, "UTC")
}

// StartIn is Start for a server in a time zone, as the variable TZ has it.
func StartIn(t testing.TB, zone string) *Server {
	t.Helper()
	return start(t, &Server{zone: zone})
}

// Relay is where a server sends the mail that it is given.
type Relay struct {
	Address string // HOST:PORT
	TLS     string // no, starttls or smtps
	CA      string // PEM file of the authority that has signed the relay's certificate
}

// StartRelay is Start for a server that takes mail at MailPort too, and relays it while its
// sender waits.
func StartRelay(t testing.TB, to Relay) *Server {
	t.Helper()
	return start(t, &Server{zone: "UTC", relay: &to})
}

const nobody = 65534

func start(t testing.TB, s *Server) *Server {
	t.Helper()
	tree := tree(t)
	// A short name: the place of the modules must be no longer than the one that it replaces.
	dir, err := os.MkdirTemp("/tmp", "dv")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	s.Host, s.dir, s.owner, s.exited, s.pool = "127.0.0.1", dir, uint32(os.Getuid()), make(chan struct{}), certtest.New(t)
	s.CA = s.pool.File
	s.TLSPort, s.PlainPort = port(t), port(t)
	if s.relay != nil {
		s.MailPort = port(t)
	}
	attr := &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	group := uint32(os.Getgid())
	if s.owner == 0 {
		s.owner, group = nobody, nobody
		attr.Credential = &syscall.Credential{Uid: s.owner, Gid: group}
	}
	if err := s.install(tree, s.pool.Issue(t, certtest.Subject{}), group); err != nil {
		t.Fatal(err)
	}

	// doveconf reads the file and becomes dovecot, which finds its settings in the environment.
	config := filepath.Join(dir, "dovecot.conf")
	s.cmd = exec.Command(filepath.Join(dir, "bin/doveconf"), "-f", "service=master", "-c", config, "-m", "master", "-p", "-e",
		filepath.Join(dir, "bin/dovecot"), "-F", "-c", config)
	s.cmd.Dir, s.cmd.SysProcAttr = dir, attr
	s.cmd.Env = []string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin", "TZ=" + s.zone, "LD_LIBRARY_PATH=" + libraries(dir, tree)}
	// A file, and not a pipe, whose other end its children would hold open.
	said, err := os.Create(filepath.Join(dir, "said"))
	if err != nil {
		t.Fatal(err)
	}
	defer said.Close()
	s.cmd.Stdout, s.cmd.Stderr = said, said
	if err := s.cmd.Start(); err != nil {
		t.Fatalf("cannot start dovecot: %v", err)
	}
	go func() {
		_ = s.cmd.Wait()
		close(s.exited)
	}()
	t.Cleanup(s.Kill)
	t.Cleanup(func() {
		if said, err := os.ReadFile(filepath.Join(s.dir, "log")); err == nil && t.Failed() {
			t.Logf("dovecot's log:\n%s", said)
		}
	})
	if err := s.wait(); err != nil {
		s.Kill()
		t.Fatal(err)
	}
	return s
}

func port(t testing.TB) int {
	t.Helper()
	return int(netip.MustParseAddrPort(porttest.TCP(t)).Port())
}

// tree is where the packages are unpacked: under .tools beside go.mod.
func tree(t testing.TB) string {
	t.Helper()
	at, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for {
		if _, err := os.Stat(filepath.Join(at, "go.mod")); err == nil {
			break
		}
		if at == filepath.Dir(at) {
			t.Fatal("go.mod is nowhere above this directory")
		}
		at = filepath.Dir(at)
	}
	tree := filepath.Join(at, ".tools/debian")
	if _, err := os.Stat(filepath.Join(tree, "usr/lib/dovecot/submission")); err != nil {
		t.Fatalf("dovecot is missing: `make tools` unpacks Debian's packages dovecot-core, dovecot-imapd and dovecot-submissiond under .tools: %v", err)
	}
	return tree
}

func libraries(dir, tree string) string {
	places, _ := filepath.Glob(filepath.Join(tree, "usr/lib/*-linux-gnu")) // the pattern is good
	return strings.Join(append([]string{filepath.Join(dir, "bin"), filepath.Join(dir, "m/old-stats")}, places...), ":")
}

// install fills the server's directory.
func (s *Server) install(tree string, pair certtest.Pair, group uint32) error {
	files := map[string]string{
		"bin/dovecot": "usr/sbin/dovecot", "bin/doveconf": "usr/bin/doveconf",
		"bin/libdovecot-storage.so.0": "usr/lib/dovecot/libdovecot-storage.so.0", "bin/libdovecot-login.so.0": "usr/lib/dovecot/libdovecot-login.so.0",
		"m/libssl_iostream_openssl.so": "usr/lib/dovecot/modules/libssl_iostream_openssl.so",
		"m/old-stats/libstats_auth.so": "usr/lib/dovecot/modules/old-stats/libstats_auth.so",
	}
	// dovecot wants the programs of all services to be there.
	programs, err := filepath.Glob(filepath.Join(tree, "usr/lib/dovecot/[a-z]*[a-z]"))
	if err != nil {
		return err
	}
	for _, path := range programs {
		name := filepath.Base(path)
		if info, err := os.Stat(path); err == nil && info.Mode().IsRegular() && !strings.HasSuffix(name, ".so") {
			files["bin/"+name] = "usr/lib/dovecot/" + name
		}
	}
	for to, from := range files {
		data, err := os.ReadFile(filepath.Join(tree, from))
		if err != nil {
			return err
		}
		if err := s.write(to, data); err != nil {
			return err
		}
	}
	library, err := os.ReadFile(filepath.Join(tree, "usr/lib/dovecot/libdovecot.so.0"))
	if err != nil {
		return err
	}
	compiled, modules := []byte("\x00/usr/lib/dovecot/modules\x00"), "\x00"+filepath.Join(s.dir, "m")+"\x00"
	if n := bytes.Count(library, compiled); n != 1 || len(modules) > len(compiled) {
		return fmt.Errorf("cannot place dovecot's modules at %s: its library has their place %d times", modules, n)
	}
	library = bytes.Replace(library, compiled, append([]byte(modules), make([]byte, len(compiled)-len(modules))...), 1)
	if err := s.write("bin/libdovecot.so.0", library); err != nil {
		return err
	}
	for to, from := range map[string]string{"cert.pem": pair.Cert, "key.pem": pair.Key} {
		data, err := os.ReadFile(from)
		if err != nil {
			return err
		}
		if err := s.write(to, data); err != nil {
			return err
		}
	}
	config, err := s.config(tree, group)
	if err != nil {
		return err
	}
	err = errors.Join(s.write("dovecot.conf", []byte(config)), s.write("passwd", []byte(User+":{PLAIN}"+Password+"\n")),
		os.MkdirAll(filepath.Join(s.dir, "run"), 0o755), os.MkdirAll(filepath.Join(s.dir, "mail"), 0o755))
	if err != nil || os.Getuid() != 0 {
		return err
	}
	return filepath.WalkDir(s.dir, func(path string, _ fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		return os.Chown(path, int(s.owner), int(group))
	})
}

func (s *Server) write(name string, data []byte) error {
	path := filepath.Join(s.dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	return os.WriteFile(path, data, 0o755)
}

// wait returns when the server greets on all ports.
func (s *Server) wait() error {
	deadline := time.Now().Add(time.Minute)
	for {
		err := errors.Join(s.greets(s.PlainPort, nil, "* OK [CAPABILITY"), s.greets(s.TLSPort, &tls.Config{RootCAs: s.pool.Pool, ServerName: s.Host}, "* OK [CAPABILITY"))
		if s.MailPort != 0 {
			err = errors.Join(err, s.greets(s.MailPort, nil, "220 "))
		}
		if err == nil {
			return nil
		}
		said, _ := os.ReadFile(filepath.Join(s.dir, "said"))
		log, _ := os.ReadFile(filepath.Join(s.dir, "log")) // there is none yet
		said = append(said, log...)
		select {
		case <-s.exited:
			return fmt.Errorf("dovecot ended: %s", said)
		case <-time.After(10 * time.Millisecond):
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("dovecot does not answer: %w\n%s", err, said)
		}
	}
}

func (s *Server) greets(port int, encrypted *tls.Config, greeting string) error {
	conn, err := net.Dial("tcp", s.at(port))
	if err != nil {
		return err
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
		return err
	}
	if encrypted != nil {
		conn = tls.Client(conn, encrypted)
	}
	for lines := bufio.NewReader(conn); ; {
		line, err := lines.ReadString('\n')
		if err != nil {
			return err
		}
		if strings.HasPrefix(line, greeting) { // before, it may say that it waits
			return nil
		}
	}
}

func (s *Server) at(port int) string { return net.JoinHostPort(s.Host, strconv.Itoa(port)) }

// Kill ends the server and what it serves at once.
func (s *Server) Kill() {
	_ = s.cmd.Process.Kill()
	<-s.exited
	// Its children see that it is gone, and end; those that a client holds are ended here.
	for _, pid := range s.children() {
		_ = syscall.Kill(pid, syscall.SIGKILL)
	}
}

// children are the processes that run from the server's directory.
func (s *Server) children() (pids []int) {
	all, _ := filepath.Glob("/proc/[0-9]*/exe")
	for _, exe := range all {
		if target, err := os.Readlink(exe); err == nil && strings.HasPrefix(target, s.dir+"/") {
			if pid, err := strconv.Atoi(strings.Split(exe, "/")[2]); err == nil {
				pids = append(pids, pid)
			}
		}
	}
	return pids
}

// Mail is a message and when it came.
type Mail struct {
	At   time.Time // INTERNALDATE, in whole seconds
	Text string    // header, empty line, body; with \n or \r\n
}

// Append makes the folder if it is not there and puts mail into it, in order. Mail becomes files
// of the folder's Maildir, whose times are their INTERNALDATE.
func (s *Server) Append(t testing.TB, folder string, mail ...Mail) {
	t.Helper()
	c := s.client(t)
	defer c.Close()
	var refused *imap.Error
	if err := c.Create(folder, nil).Wait(); err != nil && (!errors.As(err, &refused) || refused.Code != imap.ResponseCodeAlreadyExists) {
		t.Fatal(err)
	}
	maildir := filepath.Join(s.dir, "mail", User, "."+folder, "cur") // of a name in ASCII
	for _, m := range mail {
		// UIDs are given out in the order of the names' numbers.
		path := filepath.Join(maildir, fmt.Sprintf("%010d.test:2,", s.mails.Add(1)))
		if err := os.WriteFile(path, []byte(m.Text), 0o644); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(path, m.At, m.At); err != nil {
			t.Fatal(err)
		}
		if err := os.Chown(path, int(s.owner), -1); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := c.Select(folder, &imap.SelectOptions{ReadOnly: true}).Wait(); err != nil { // they get their UIDs
		t.Fatal(err)
	}
}

// Delete removes messages of a folder by UID.
func (s *Server) Delete(t testing.TB, folder string, uids ...uint32) {
	t.Helper()
	c := s.client(t)
	defer c.Close()
	if _, err := c.Select(folder, nil).Wait(); err != nil {
		t.Fatal(err)
	}
	var set imap.UIDSet
	for _, uid := range uids {
		set.AddNum(imap.UID(uid))
	}
	if err := c.Store(set, &imap.StoreFlags{Op: imap.StoreFlagsAdd, Silent: true, Flags: []imap.Flag{imap.FlagDeleted}}, nil).Close(); err != nil {
		t.Fatal(err)
	}
	if err := c.Expunge().Close(); err != nil {
		t.Fatal(err)
	}
}

// Seen is how many messages of a folder somebody has marked as read.
func (s *Server) Seen(t testing.TB, folder string) int {
	t.Helper()
	c := s.client(t)
	defer c.Close()
	if _, err := c.Select(folder, &imap.SelectOptions{ReadOnly: true}).Wait(); err != nil {
		t.Fatal(err)
	}
	data, err := c.UIDSearch(&imap.SearchCriteria{Flag: []imap.Flag{imap.FlagSeen}}, nil).Wait()
	if err != nil {
		t.Fatal(err)
	}
	return len(data.AllUIDs())
}

func (s *Server) client(t testing.TB) *imapclient.Client {
	t.Helper()
	c, err := imapclient.DialInsecure(s.at(s.PlainPort), nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Login(User, Password).Wait(); err != nil {
		t.Fatal(err)
	}
	return c
}
