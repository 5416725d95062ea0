package kafkatest

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"millrace/internal/certtest"
)

// node is one broker that is a controller too.
type node struct {
	id                           int
	dir                          string
	client, internal, controller string // addresses

	cmd    *exec.Cmd
	exited chan struct{} // closed at the end of cmd
	asked  bool          // to end
}

// Flags of the Java processes: little memory, and a start that is quick rather
// than code that is fast after minutes.
var (
	toolFlags   = []string{"-Xmx128m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn"}
	brokerFlags = []string{
		"-Xms128m", "-Xmx384m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Djava.awt.headless=true",
		"-Dorg.slf4j.simpleLogger.showDateTime=true", "-Dorg.slf4j.simpleLogger.dateTimeFormat=HH:mm:ss.SSS",
		// What the settings are is in server.properties.
		"-Dorg.slf4j.simpleLogger.log.kafka.server.KafkaConfig=warn",
		"-Dorg.slf4j.simpleLogger.log.org.apache.kafka.common.config=warn",
		"-Dorg.slf4j.simpleLogger.log.org.apache.kafka.clients=warn",
	}
)

func javaCommand() (string, error) {
	if home := os.Getenv("JAVA_HOME"); home != "" {
		return filepath.Join(home, "bin", "java"), nil
	}
	path, err := exec.LookPath("java")
	if err != nil {
		return "", fmt.Errorf("cannot run Apache Kafka: %w (Debian package default-jre-headless, 17 or later)", err)
	}
	return path, nil
}

// settings are the node's server.properties.
func (c *Cluster) settings(n *node) (map[string]string, error) {
	voters := make([]string, len(c.nodes))
	for i, v := range c.nodes {
		voters[i] = fmt.Sprintf("%d@%s", v.id, v.controller)
	}
	replicas, insync := fmt.Sprint(min(c.o.Nodes, 3)), fmt.Sprint(min(c.o.Nodes, 3)/2+1)
	s := map[string]string{
		"process.roles": "broker,controller", "node.id": fmt.Sprint(n.id), "log.dirs": filepath.Join(n.dir, "data"),
		"controller.quorum.voters":  strings.Join(voters, ","),
		"controller.listener.names": "CONTROLLER", "inter.broker.listener.name": "INTERNAL",
		"listeners":            "CLIENT://" + n.client + ",INTERNAL://" + n.internal + ",CONTROLLER://" + n.controller,
		"advertised.listeners": "CLIENT://" + n.client + ",INTERNAL://" + n.internal,

		"default.replication.factor": replicas, "min.insync.replicas": insync,
		"offsets.topic.replication.factor": replicas, "offsets.topic.num.partitions": "3",
		"transaction.state.log.replication.factor": replicas, "transaction.state.log.min.isr": insync,
		"auto.create.topics.enable":        "false", // a cluster with care for its names
		"group.initial.rebalance.delay.ms": "0",
		"log.retention.ms":                 "-1", // the tests' records may be of any day
		// A dead node is noticed in seconds, not in ten and more.
		"broker.session.timeout.ms": "4000", "broker.heartbeat.interval.ms": "500", "replica.lag.time.max.ms": "4000",
		"controller.quorum.election.timeout.ms": "1000", "controller.quorum.fetch.timeout.ms": "2000",
		"leader.imbalance.check.interval.seconds": "5",
	}
	protocol := "PLAINTEXT"
	if c.o.Authority != nil {
		protocol = "SSL"
		if err := c.secure(n, s); err != nil {
			return nil, err
		}
	}
	if len(c.o.Users) > 0 {
		protocol = "SASL_" + protocol
		c.authenticate(s)
	}
	s["listener.security.protocol.map"] = "CLIENT:" + protocol + ",INTERNAL:PLAINTEXT,CONTROLLER:PLAINTEXT"
	maps.Copy(s, c.o.Settings)
	return s, nil
}

// secure gives the node a certificate and lets it ask for one.
func (c *Cluster) secure(n *node, s map[string]string) error {
	host, _, _ := strings.Cut(n.client, ":")
	pair := c.o.Authority.Issue(c.t, certtest.Subject{CommonName: "broker", Names: []string{host}})
	// Kafka wants the key and the certificate in one file.
	var pem []byte
	for _, file := range []string{pair.Key, pair.Cert} {
		b, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		pem = append(pem, b...)
	}
	both := filepath.Join(n.dir, "node.pem")
	if err := os.WriteFile(both, pem, 0o600); err != nil {
		return err
	}
	maps.Copy(s, map[string]string{
		"listener.name.client.ssl.keystore.type": "PEM", "listener.name.client.ssl.keystore.location": both,
		"listener.name.client.ssl.truststore.type": "PEM", "listener.name.client.ssl.truststore.location": c.o.Authority.File,
		"listener.name.client.ssl.client.auth": "required",
	})
	return nil
}

// authenticate asks clients who they are, and lets them do what Allow allows.
func (c *Cluster) authenticate(s map[string]string) {
	plain := "org.apache.kafka.common.security.plain.PlainLoginModule required"
	for _, user := range slices.Sorted(maps.Keys(c.o.Users)) {
		plain += fmt.Sprintf(" user_%s=%q", user, c.o.Users[user])
	}
	const scram = "org.apache.kafka.common.security.scram.ScramLoginModule required;"
	maps.Copy(s, map[string]string{
		"sasl.enabled.mechanisms":                             "PLAIN,SCRAM-SHA-256,SCRAM-SHA-512",
		"listener.name.client.plain.sasl.jaas.config":         plain + ";",
		"listener.name.client.scram-sha-256.sasl.jaas.config": scram,
		"listener.name.client.scram-sha-512.sasl.jaas.config": scram,
		"authorizer.class.name":                               "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
		"super.users":                                         "User:ANONYMOUS", // who comes by the inner listeners
	})
}

// format writes the settings and makes the node's storage.
func (c *Cluster) format(n *node) error {
	if err := os.MkdirAll(n.dir, 0o700); err != nil {
		return err
	}
	s, err := c.settings(n)
	if err != nil {
		return err
	}
	var text strings.Builder
	for _, key := range slices.Sorted(maps.Keys(s)) {
		fmt.Fprintf(&text, "%s=%s\n", key, s[key])
	}
	if err := os.WriteFile(n.properties(), []byte(text.String()), 0o600); err != nil {
		return err
	}
	args := append(slices.Clone(toolFlags), "-cp", c.jars, "kafka.tools.StorageTool", "format", "-t", c.id, "-c", n.properties())
	for user, password := range c.o.Users {
		for _, mechanism := range []string{"SCRAM-SHA-256", "SCRAM-SHA-512"} {
			args = append(args, "--add-scram", fmt.Sprintf("%s=[name=%s,password=%s]", mechanism, user, password))
		}
	}
	if out, err := exec.Command(c.java, args...).CombinedOutput(); err != nil {
		return fmt.Errorf("cannot format the storage of node %d: %w\n%s", n.id, err, out)
	}
	return nil
}

// start runs the node's process.
func (c *Cluster) start(n *node) error {
	if n.runs() {
		return fmt.Errorf("cannot start node %d: it runs", n.id)
	}
	log, err := os.OpenFile(n.log(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	n.cmd = exec.Command(c.java, append(slices.Clone(brokerFlags), "-cp", c.jars, "kafka.Kafka", n.properties())...)
	n.cmd.Dir, n.cmd.Stdout, n.cmd.Stderr = n.dir, log, log
	n.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := n.cmd.Start(); err != nil {
		return fmt.Errorf("cannot start node %d: %w", n.id, err)
	}
	n.exited, n.asked = make(chan struct{}), false
	go func(cmd *exec.Cmd, exited chan struct{}) {
		_ = cmd.Wait()
		close(exited)
	}(n.cmd, n.exited)
	return nil
}

func (n *node) properties() string { return filepath.Join(n.dir, "server.properties") }
func (n *node) log() string        { return filepath.Join(n.dir, "server.log") }

func (n *node) runs() bool {
	if n.exited == nil {
		return false
	}
	select {
	case <-n.exited:
		return false
	default:
		return true
	}
}

// failed: it has ended and nobody asked it to.
func (n *node) failed() bool { return n.exited != nil && !n.runs() && !n.asked }

func (n *node) kill() error { return n.end(syscall.SIGKILL) }
func (n *node) stop() error { return n.end(syscall.SIGTERM) }

func (n *node) end(s syscall.Signal) error {
	if !n.runs() {
		return nil
	}
	n.asked = true
	if err := n.cmd.Process.Signal(s); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("cannot send %v to node %d: %w", s, n.id, err)
	}
	select {
	case <-n.exited:
		return nil
	case <-time.After(patience):
		return fmt.Errorf("node %d did not end within %v of %v", n.id, patience, s)
	}
}

// complaints are the last lines of the log that are more than news.
func (n *node) complaints() string {
	text, err := os.ReadFile(n.log())
	if err != nil {
		return err.Error()
	}
	var lines []string
	for line := range strings.Lines(string(text)) {
		if strings.Contains(line, " ERROR ") || strings.Contains(line, " WARN ") || strings.Contains(line, " FATAL ") {
			lines = append(lines, line)
		}
	}
	return strings.Join(lines[max(0, len(lines)-20):], "")
}
