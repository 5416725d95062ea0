package config

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// crossCheck refuses settings that are possible one by one and not together.
func (c *Config) crossCheck(d *decoder) {
	c.checkListeners(d)
	c.checkFiles(d)
	c.checkFormats(d)
	c.checkClasses(d)
	c.checkDomains(d)
	c.checkReports(d)
	c.checkRecipients(d)
	c.checkAPI(d)
	c.checkMail(d)
	c.checkKafka(d)
	c.checkClickHouse(d)
	c.checkQuarantine(d)
	for _, p := range c.plainAddresses() {
		d.report(p.key, Problem{Text: p.address.String() + ": " + p.text()})
	}
	c.checkRules(d)
	if c.Retention.Raw > c.Retention.Events && !d.failed("retention") {
		d.report("retention.raw", Problem{Got: quoted(FormatDuration(c.Retention.Raw)),
			Allowed: "at most retention.events, " + FormatDuration(c.Retention.Events)})
	}
	for _, t := range []struct{ key, name, kind string }{
		{"source.message_template", c.Source.MessageTemplate, "message"},
		{"source.status_template", c.Source.StatusTemplate, "status"},
	} {
		if t.name != "default" && !strings.Contains(t.name, "%(") && !slices.Contains(c.templateNames(), t.name) {
			d.report(t.key, Problem{Got: quoted(t.name), Allowed: "a text with %(name)s variables, default, " + strings.Join(c.templateNames(), ", ")})
		}
	}
	if (c.Source.Username != "") != c.Source.Password.IsSet() && c.Source.URL != "" && !d.failed("source") {
		d.report("source", Problem{Text: "username and password (or $MILLRACE_SOURCE_PASSWORD) go together"})
	}
}

func (c *Config) known(format string) bool { return slices.Contains(c.formatNames(), format) }

func (c *Config) formatNames() []string { return append(c.templateNames(), LogFormats...) }

func (c *Config) templateNames() []string {
	all := slices.Clone(BuiltinFormats)
	for _, f := range c.Formats {
		all = append(all, f.Name)
	}
	return all
}

func (c *Config) checkListeners(d *decoder) {
	if d.failed("listeners") && len(c.Listeners) == 0 {
		return
	}
	if len(c.Listeners) == 0 {
		d.report("listeners", Problem{Got: "an empty list", Allowed: "at least one listener"})
	}
	for i := range c.Listeners {
		l := &c.Listeners[i]
		at := fmt.Sprintf("listeners[%d]", i)
		c.checkListener(d, l, at)
		before := c.Listeners[:i]
		if j := slices.IndexFunc(before, func(o Listener) bool { return o.Name == l.Name }); j >= 0 && l.Name != "" {
			d.report(at+".name", Problem{Got: quoted(l.Name),
				Allowed: fmt.Sprintf("a name of its own: listeners[%d] has that one", j)})
		}
		if j := slices.IndexFunc(before, func(o Listener) bool { return clash(o.Address, l.Address) }); j >= 0 {
			d.report(at+".address", Problem{Got: quoted(l.Address.String()),
				Allowed: fmt.Sprintf("an address of its own: listeners[%d] has %s", j, before[j].Address)})
		}
	}
}

func (c *Config) checkFiles(d *decoder) {
	for i := range c.Files {
		f, at := &c.Files[i], fmt.Sprintf("files[%d]", i)
		c.checkFormatNames(d, f.Listener(), at)
		if len(f.Paths) == 0 && !d.failed(at+".paths") {
			d.report(at+".paths", Problem{Got: "an empty list", Allowed: "at least one absolute path"})
		}
		for j, p := range f.Paths {
			if err := checkPattern(p); err != nil {
				d.report(fmt.Sprintf("%s.paths[%d]", at, j), Problem{Got: quoted(p), Why: err.Error(), Allowed: "an absolute path, with * ? and [...] in it"})
			}
		}
		if limit := c.Kafka.BatchBytes / 2; f.MaxLine >= limit && !d.failed(at+".max_line", "kafka.batch_bytes") {
			d.report(at+".max_line", Problem{Got: quoted(f.MaxLine.String()), Allowed: "less than half of kafka.batch_bytes, " + c.Kafka.BatchBytes.String() + ": a record holds the line decoded and raw"})
		}
		taken := slices.ContainsFunc(c.Listeners, func(l Listener) bool { return l.Name == f.Name }) ||
			slices.ContainsFunc(c.Files[:i], func(o Files) bool { return o.Name == f.Name })
		if taken && f.Name != "" {
			d.report(at+".name", Problem{Got: quoted(f.Name), Allowed: "a name of its own: a listener or other files have that one"})
		}
	}
}

func checkPattern(p string) error {
	if !filepath.IsAbs(p) {
		return errors.New("it is not absolute")
	}
	_, err := filepath.Match(p, "")
	return err
}

// clash reports whether two listeners cannot both be bound.
func clash(a, b Address) bool {
	if a.Network == unixgram && a == b {
		return true
	}
	if a.transport() != b.transport() || a.Port != b.Port || a.Port == 0 {
		return false
	}
	return a.Host == b.Host || a.wildcard() || b.wildcard()
}

// wildcard tells an address of all of the machine's.
func (a Address) wildcard() bool { return a.Host == "" || a.Host == "0.0.0.0" || a.Host == "::" }

func (c *Config) checkListener(d *decoder, l *Listener, at string) {
	if len(l.ProxyFrom) > 0 && !l.Allow.Any && len(l.Allow.Prefixes) == 0 && !d.failed(at+".allow") {
		d.report(at+".allow", Problem{Text: "missing: with proxy_from it names the senders behind the load balancer; allowed a list of their networks, such as [192.0.2.0/24], or the word any"})
	} else if l.Address != (Address{}) && !l.Address.Loopback() && !l.Allow.Any && len(l.Allow.Prefixes) == 0 && !d.failed(at+".allow") {
		d.report(at+".allow", Problem{Text: fmt.Sprintf(
			"missing, and %s can be reached from other machines; allowed a list of the networks that send, such as [192.0.2.0/24], or the word any", l.Address)})
	}
	if l.Address.Network == "udp" && l.MaxFrame > 65535 && !d.failed(at+".max_frame") {
		d.report(at+".max_frame", Problem{Got: quoted(l.MaxFrame.String()), Allowed: "at most 65535 on UDP"})
	}
	if !l.Address.Mail() && l.MaxFrame > MiB && l.Address.Network != "" && l.Address.Network != "udp" && !d.failed(at+".max_frame") {
		d.report(at+".max_frame", Problem{Got: quoted(l.MaxFrame.String()), Allowed: "at most 1MiB on " + l.Address.Network})
	}
	for _, only := range []struct {
		key      string
		networks []string
	}{
		{"sockets", []string{"udp"}}, {"receive_buffer", []string{"udp"}},
		{"max_connections", streams}, {"frame_idle", delimited},
		{"max_connections_per_peer", streams}, {"idle_timeout", streams}, {"frame_timeout", streams}, {"open_frames", streams}, {"proxy_from", streams},
		{"socket_mode", []string{unixgram}}, {"allow", remote},
		{"body", mailers}, {"forward_to", mailers}, {"answer_timeout", mailers},
	} {
		_, given := d.where[at+"."+only.key]
		if given && !slices.Contains(only.networks, l.Address.Network) && l.Address.Network != "" && !atDefault(l, only.key) {
			d.report(at+"."+only.key, Problem{Text: "has no meaning on " + l.Address.Network + "; allowed on " + strings.Join(only.networks, " and ") + " listeners"})
		}
	}
	l.checkTLS(d, at+".tls")
	if l.Address.Mail() {
		l.checkMail(d, at)
		return
	}
	c.checkFormatNames(d, l, at)
}

// CheckFormats says what is wrong with the formats of files that are imported.
func (c *Config) CheckFormats(f *Files) error {
	for i, name := range f.Formats {
		switch {
		case name == ReportFormat && len(f.Formats) > 1:
			return fmt.Errorf("format %q is of mails, and goes with no other", name)
		case name != Builtin && name != ReportFormat && !c.known(name):
			return fmt.Errorf("format %q: there are builtin, %s, %s", name, strings.Join(c.formatNames(), ", "), ReportFormat)
		case slices.Contains(f.Formats[:i], name):
			return fmt.Errorf("format %q is named twice", name)
		}
	}
	return nil
}

// checkFormatNames wants names of formats, each once.
func (c *Config) checkFormatNames(d *decoder, l *Listener, at string) {
	if len(l.Formats) == 0 && !d.failed(at+".formats") {
		d.report(at+".formats", Problem{Got: "an empty list", Allowed: "builtin, " + strings.Join(c.formatNames(), ", ")})
	}
	var seen []string
	for i, name := range l.Formats {
		one := fmt.Sprintf("%s.formats[%d]", at, i)
		expanded := (&Listener{Formats: []string{name}}).FormatNames()
		switch {
		case name != Builtin && !c.known(name):
			d.report(one, Problem{Got: quoted(name), Allowed: "builtin, " + strings.Join(c.formatNames(), ", ")})
		case slices.ContainsFunc(expanded, func(n string) bool { return slices.Contains(seen, n) }):
			d.report(one, Problem{Got: quoted(name), Allowed: "each format once"})
		default:
			seen = append(seen, expanded...)
		}
	}
}

// checkMail refuses what has a meaning for lines of a log alone, and what cannot work.
func (l *Listener) checkMail(d *decoder, at string) {
	if l.MaxFrame > l.OpenFrames && !d.failed(at+".max_frame", at+".open_frames") {
		d.report(at+".max_frame", Problem{Got: quoted(l.MaxFrame.String()), Allowed: "at most open_frames, " + l.OpenFrames.String() + ", which holds the messages in hand"})
	}
	if network, address := l.Forward(); network != "" && !d.failed(at+".forward_to") {
		host, port, _ := splitHostPort(address)
		if port == l.Address.Port && (host == l.Address.Host || isLoopback(host) && (l.Address.Loopback() || l.Address.wildcard())) {
			d.report(at+".forward_to", Problem{Got: quoted(l.ForwardTo), Allowed: "another server than this listener, which would send each message to itself"})
		}
	}
	for _, name := range []string{"framing", "nulls"} {
		if _, given := d.where[at+"."+name]; given && !atDefault(l, name) {
			d.report(at+"."+name, Problem{Text: "has no meaning on " + l.Address.Network + ": a message is one frame, in a format of its own"})
		}
	}
	if !slices.Equal(l.Formats, []string{ReportFormat}) && !d.failed(at+".formats") && !atDefault(l, "formats") {
		d.report(at+".formats", Problem{Got: quoted(strings.Join(l.Formats, " ")), Allowed: ReportFormat + " alone on " + l.Address.Network + ", which needs no formats"})
	}
	l.Formats = []string{ReportFormat}
}

// atDefault lets the rendered example, which writes every key, load.
func atDefault(l *Listener, name string) bool {
	fresh := &Listener{}
	(&decoder{where: map[string]position{}}).defaults(fresh.keys(), "")
	text := func(l *Listener) string {
		for _, k := range l.keys() {
			if k.name == name {
				return render(k)
			}
		}
		return ""
	}
	return text(l) == text(fresh)
}

func (c *Config) checkFormats(d *decoder) {
	for i, f := range c.Formats {
		at := fmt.Sprintf("formats[%d].name", i)
		if slices.Contains(BuiltinFormats, f.Name) || isLog(f.Name) || f.Name == Builtin || f.Name == ReportFormat || f.Name == "default" {
			d.report(at, Problem{Got: quoted(f.Name), Allowed: "a name that is not one of builtin, default, arf, " + strings.Join(append(slices.Clone(BuiltinFormats), LogFormats...), ", ")})
		}
		for j := range i {
			if c.Formats[j].Name == f.Name && f.Name != "" {
				d.report(at, Problem{Got: quoted(f.Name), Allowed: fmt.Sprintf("a name of its own: formats[%d] has that one", j)})
			}
		}
	}
}

// checkAddresses wants what a client can dial.
func checkAddresses(d *decoder, path string, addresses []string) {
	if len(addresses) == 0 && !d.failed(path) {
		d.report(path, Problem{Got: "an empty list", Allowed: "at least one HOST:PORT"})
	}
	for i, a := range addresses {
		host, port, err := splitHostPort(a)
		why := ""
		switch {
		case err != nil:
			why = err.Error()
		case host == "":
			why = "the host is missing"
		case port == 0:
			why = "the port is 0"
		default:
			continue
		}
		d.report(fmt.Sprintf("%s[%d]", path, i), Problem{Got: quoted(a), Allowed: "HOST:PORT, IPv6 in brackets: [::1]:9092", Why: why})
	}
}

func (c *Config) checkKafka(d *decoder) {
	k := &c.Kafka
	checkAddresses(d, "kafka.brokers", k.Brokers)
	if k.BatchBytes > k.BufferBytes && !d.failed("kafka.batch_bytes", "kafka.buffer_bytes") {
		d.report("kafka.batch_bytes", Problem{Got: quoted(k.BatchBytes.String()),
			Allowed: "at most kafka.buffer_bytes, " + k.BufferBytes.String()})
	}
	// A record may hold the frame twice: decoded, and raw.
	for i := range c.Listeners {
		l := &c.Listeners[i]
		at := fmt.Sprintf("listeners[%d].max_frame", i)
		if l.Address.Mail() {
			continue // of a message a record has what it holds
		}
		if need := 2*l.MaxFrame + 4*KiB; need > k.BatchBytes && !d.failed(at, "kafka.batch_bytes") {
			d.report(at, Problem{Got: quoted(l.MaxFrame.String()),
				Allowed: fmt.Sprintf("less than half of kafka.batch_bytes, %s: a record holds the frame decoded and raw", k.BatchBytes)})
		}
	}
	// The order that a consumer group needs: a member must be able to end its
	// insert and rejoin before the rebalance gives it up, and the session must
	// outlast the rebalance, or waiting members are expired in their turn.
	if !d.failed("kafka.session_timeout", "kafka.rebalance_timeout") && k.RebalanceTimeout >= k.SessionTimeout {
		d.report("kafka.rebalance_timeout", Problem{Got: quoted(FormatDuration(k.RebalanceTimeout)),
			Allowed: "less than kafka.session_timeout, " + FormatDuration(k.SessionTimeout)})
	}
	if !d.failed("kafka.session_timeout", "kafka.heartbeat_interval") && 3*k.HeartbeatInterval > k.SessionTimeout {
		d.report("kafka.heartbeat_interval", Problem{Got: quoted(FormatDuration(k.HeartbeatInterval)),
			Allowed: "at most a third of kafka.session_timeout, " + FormatDuration(k.SessionTimeout)})
	}
	if !d.failed("kafka.rebalance_timeout", "kafka.heartbeat_interval", "clickhouse.insert_timeout") &&
		c.ClickHouse.InsertTimeout+3*k.HeartbeatInterval > k.RebalanceTimeout {
		d.report("clickhouse.insert_timeout", Problem{Got: quoted(FormatDuration(c.ClickHouse.InsertTimeout)),
			Allowed: fmt.Sprintf("at most kafka.rebalance_timeout (%s) less three heartbeats (%s): an insert must end before the group gives the partition to another",
				FormatDuration(k.RebalanceTimeout), FormatDuration(3*k.HeartbeatInterval))})
	}
	switch user := k.SASL.Username != "" && k.SASL.Password.IsSet(); {
	case d.failed("kafka.sasl"):
	case k.SASL.Mechanism != "none" && !user:
		d.report("kafka.sasl", Problem{Text: k.SASL.Mechanism + " needs username and password (or $MILLRACE_KAFKA_PASSWORD)"})
	case k.SASL.Mechanism == "none" && k.SASL.Username != "":
		d.report("kafka.sasl.mechanism", Problem{Got: quoted("none"), Allowed: "with a username: plain, scram-sha-256, scram-sha-512"})
	case k.SASL.Mechanism == "plain" && !k.TLS.Enabled && !allLoopback(k.Brokers):
		d.report("kafka.sasl.mechanism", Problem{Got: quoted("plain"), Allowed: "beyond loopback only with kafka.tls.enabled: it sends the password itself"})
	}
	checkTLS(d, "kafka.tls", &k.TLS, k.dir)
}

func (c *Config) checkClickHouse(d *decoder) {
	checkAddresses(d, "clickhouse.addresses", c.ClickHouse.Addresses)
	checkTLS(d, "clickhouse.tls", &c.ClickHouse.TLS, c.ClickHouse.dir)
	if c.ClickHouse.Replication != ReplicationNone && c.ClickHouse.Cluster == "" && !d.failed("clickhouse.cluster", "clickhouse.replication") {
		d.report("clickhouse.replication", Problem{Got: quoted(c.ClickHouse.Replication), Allowed: "none without clickhouse.cluster"})
	}
	owner := map[string]string{}
	for i, s := range c.ClickHouse.Shards {
		at := fmt.Sprintf("clickhouse.shards[%d]", i)
		checkAddresses(d, at+".addresses", s.Addresses)
		before := c.ClickHouse.Shards[:i]
		if j := slices.IndexFunc(before, func(o Shard) bool { return o.Name == s.Name }); j >= 0 && s.Name != "" {
			d.report(at+".name", Problem{Got: quoted(s.Name), Allowed: fmt.Sprintf("a name of its own: clickhouse.shards[%d] has that one", j)})
		}
		for n, address := range s.Addresses {
			if first, taken := owner[address]; taken {
				d.report(fmt.Sprintf("%s.addresses[%d]", at, n), Problem{Got: quoted(address), Allowed: "a server of its own: " + first + " has that one"})
				continue
			}
			owner[address] = at
		}
	}
}

func checkTLS(d *decoder, path string, t *TLS, dir string) {
	if d.failed(path) {
		return
	}
	if !t.Enabled {
		if t.CA+t.Cert+t.Key+t.ServerName != "" {
			d.report(path+".enabled", Problem{Got: quoted("false"), Allowed: "true with the other keys of " + path})
		}
		return
	}
	if (t.Cert == "") != (t.Key == "") {
		d.report(path, Problem{Text: "cert and key go together"})
		return
	}
	if _, err := t.load(dir); err != nil {
		d.report(path, Problem{Text: err.Error()})
	}
}

// plainAddress is an address beyond loopback that is served without TLS.
type plainAddress struct {
	key, switched string
	address       Endpoint
}

func (p plainAddress) text() string {
	return fmt.Sprintf("it is beyond loopback, and what is said there is not encrypted; %s: any says that this is meant", p.switched)
}

// plainAddresses are those that nothing says are meant.
func (c *Config) plainAddresses() (all []plainAddress) {
	for _, p := range []struct {
		plainAddress
		where string
	}{
		{plainAddress{"http.ingest", "http.plain", c.HTTP.Ingest}, c.HTTP.Plain}, {plainAddress{"http.transform", "http.plain", c.HTTP.Transform}, c.HTTP.Plain}, {plainAddress{"http.serve", "http.plain", c.HTTP.Serve}, c.HTTP.Plain},
		{plainAddress{"up.kafka", "up.plain", c.Up.Kafka}, c.Up.Plain}, {plainAddress{"up.clickhouse_native", "up.plain", c.Up.ClickHouseNative}, c.Up.Plain}, {plainAddress{"up.clickhouse_http", "up.plain", c.Up.ClickHouseHTTP}, c.Up.Plain},
	} {
		if p.address.Enabled() && !p.address.Loopback() && p.where != "any" {
			all = append(all, p.plainAddress)
		}
	}
	return all
}

// CheckPlain refuses addresses beyond loopback that are served without TLS, and that nothing
// says are meant. The flags of commands are no part of a file, and are checked by it.
func (c *Config) CheckPlain() error {
	for _, p := range c.plainAddresses() {
		return fmt.Errorf("cannot listen on %s (%s): %s", p.address, p.key, p.text())
	}
	return nil
}

func allLoopback(addresses []string) bool {
	return !slices.ContainsFunc(addresses, func(a string) bool { return !Endpoint(a).Loopback() })
}

// Warnings are settings that can run and are probably not meant.
func (c *Config) Warnings() []string {
	var all []string
	for _, f := range c.Formats {
		used := slices.ContainsFunc(c.Listeners, func(l Listener) bool { return slices.Contains(l.Formats, f.Name) }) ||
			slices.ContainsFunc(c.Files, func(o Files) bool { return slices.Contains(o.Formats, f.Name) })
		if !used {
			all = append(all, fmt.Sprintf("format %q is in no listener's formats: it decodes nothing", f.Name))
		}
	}
	if c.Kafka.Replication == 1 && len(c.Kafka.Brokers) > 1 {
		all = append(all, "kafka.replication is 1 with several brokers: transform refuses such topics, as a disk that fails loses records")
	}
	for i := range c.Listeners {
		l := &c.Listeners[i]
		if l.Allow.Any && !l.Address.Loopback() && l.TLS.ClientCA == "" {
			all = append(all, fmt.Sprintf("listener %q takes events from anybody who can reach %s", l.Name, l.Address))
		}
		if w := l.expiryWarning(time.Now()); w != "" {
			all = append(all, w)
		}
	}
	return all
}
