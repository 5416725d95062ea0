package e2e

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"millrace/internal/embedded"
	"millrace/internal/porttest"
)

// systemd is a command of one of its programs, installed or unpacked under .tools.
func systemd(t *testing.T, program string, args ...string) *exec.Cmd {
	t.Helper()
	path := needs(t, program, "`make tools` unpacks Debian's package systemd under .tools", "../.tools/debian/usr/bin/"+program)
	cmd := exec.Command(path, args...)
	if root, ok := strings.CutSuffix(path, "/usr/bin/"+program); ok && root != "" {
		lib := root + "/usr/lib/x86_64-linux-gnu"
		cmd.Env = append(os.Environ(), "LD_LIBRARY_PATH="+lib+"/systemd:"+lib, "SYSTEMD_UNIT_PATH="+root+"/usr/lib/systemd/system:")
	}
	return cmd
}

// TestSocketActivation: systemd's own program opens the sockets, and starts the ingester
// when the first frame comes, which is taken. Which socket is whose is said by its name.
func TestSocketActivation(t *testing.T) {
	t.Parallel()
	broker, err := embedded.StartBroker(embedded.BrokerOptions{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(broker.Close)
	for _, network := range []string{"tcp", "udp"} {
		t.Run(network, func(t *testing.T) {
			config := write(t, filepath.Join(t.TempDir(), "millrace.yaml"), fmt.Sprintf(`
listeners:
  - {name: one, address: "%[1]s://127.0.0.1:0"}
  - {name: two, address: "%[1]s://127.0.0.1:0"}
kafka: {brokers: ["%[2]s"]}
http: {ingest: "127.0.0.1:0"}
`, network, broker.Addr))
			free := porttest.TCP
			if network == "udp" {
				free = porttest.UDP
			}
			addresses := map[string]string{"two": free(t), "one": free(t)}
			args := []string{"--listen=" + addresses["two"], "--listen=" + addresses["one"], "--fdname=two:one"}
			if network == "udp" {
				args = append(args, "--datagram")
			}
			p := startCommand(t, systemd(t, "systemd-socket-activate", append(args, binary, "ingest", "--config", config)...))
			until(t, "the sockets are open", func() bool { return strings.Count(p.text(), "Listening on") == len(addresses) }, p.text)
			for i, name := range []string{"one", "two"} {
				c, err := net.Dial(network, addresses[name])
				if err != nil {
					t.Fatal(err)
				}
				defer c.Close()
				for n := range 1 + i {
					if _, err := c.Write([]byte("<22>" + m1(testID(n), "activates") + "\x00")); err != nil {
						t.Fatal(err)
					}
				}
				if i == 0 {
					p.waitReady() // the frame has started it
				}
			}
			for i, name := range []string{"one", "two"} {
				until(t, name+" has its frames", func() bool {
					return p.metric("millrace_frames_published_total", `listener="`+name+`"`) == float64(1+i)
				}, p.text)
			}
		})
	}
}

// TestUnits: systemd has nothing to say about the units that we ship, and the sockets have
// the names and addresses of listeners in the configuration beside them.
func TestUnits(t *testing.T) {
	t.Parallel()
	units, err := filepath.Glob("../deploy/systemd/*.s*")
	if err != nil || len(units) < 6 {
		t.Fatalf("%q, %v", units, err)
	}
	config, err := os.ReadFile("../deploy/config.systemd.yaml")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	// What the units start is where the test has it; /bin/kill, of procps, may be missing here.
	here := strings.NewReplacer("/usr/bin/millrace", binary, "/bin/kill", "/bin/true")
	var copies []string
	for _, unit := range units {
		text, err := os.ReadFile(unit)
		if err != nil {
			t.Fatal(err)
		}
		copies = append(copies, write(t, filepath.Join(dir, filepath.Base(unit)), here.Replace(string(text))))
		name := regexp.MustCompile(`(?m)^FileDescriptorName=(.*)$`).FindSubmatch(text)
		address := regexp.MustCompile(`(?m)^Listen(Stream|Datagram)=(.*)$`).FindSubmatch(text)
		if strings.HasSuffix(unit, ".socket") && string(name[1]) != "local" { // whose lines its unit has
			network := map[string]string{"Stream": "tcp", "Datagram": "udp"}[string(address[1])]
			if want := fmt.Sprintf("- name: %s\n    address: \"%s://%s\"\n", name[1], network, address[2]); !bytes.Contains(config, []byte(want)) {
				t.Errorf("%s: deploy/config.systemd.yaml has no listener\n%s", unit, want)
			}
		}
	}
	verify := func(files ...string) string {
		t.Helper()
		cmd := systemd(t, "systemd-analyze", append([]string{"verify", "--man=no"}, files...)...)
		out, err := cmd.CombinedOutput()
		if err != nil {
			return fmt.Sprintf("%v\n%s", err, out)
		}
		return string(out)
	}
	if said := verify(copies...); said != "" {
		t.Error(said)
	}
	bad := write(t, filepath.Join(dir, "bad.service"), "[Service]\nExecStart="+binary+"\nTimeoutStopSecond=1\nRestart=perhaps\n")
	if said := verify(bad); !strings.Contains(said, "TimeoutStopSecond") || !strings.Contains(said, "perhaps") {
		t.Errorf("of a bad unit systemd says %q", said)
	}
}
