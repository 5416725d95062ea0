package cmd

import (
	"path/filepath"
	"testing"
)

func TestCheck_Success(t *testing.T) {
	t.Parallel()
	example := filepath.Join("..", "deploy", "config.example.yaml")
	execute(t, "", "check", "--config", example).want(t, 0, "configuration "+example+` is good
listener filter-udp  udp://127.0.0.1:5514   datagrams, formats m1 s1 m2 s2 m3 s3, allow 127.0.0.0/8 ::1/128, raw flagged
listener filter-tcp  tcp://127.0.0.1:5514   framing auto, formats m1 s1 m2 s2 m3 s3, allow 127.0.0.0/8 ::1/128, raw flagged
kafka                127.0.0.1:9092         topics millrace.{message,status,smtp,delivery,spamdyke,line,feedback,quarantine,reject}, group millrace, compression snappy
clickhouse           127.0.0.1:9000         database millrace, user default, compression auto
retention            events 400d            raw 30d
api                  127.0.0.1:8443         HTTPS with a certificate of its own making
http                 ingest 127.0.0.1:8514  transform 127.0.0.1:8515, serve 127.0.0.1:8516
`, "")
	path := file(t, "m.yaml", `
listeners: [{name: a, address: "tcp://:514", allow: any, formats: [mine]}]
formats:
  - {name: mine, template: '"%(id)s","%(weather)s"'}
  - {name: idle, template: '"%(id)s","%(domain)s"'}
source: {url: "https://filter.example", username: u, password: p}
`)
	execute(t, "", "check", "--config", path).contains(t, 0,
		"configuration "+path+" is good\n",
		"source      https://filter.example  templates m3 s3\n",
		"millrace: warning: format \"mine\": %(weather)s is no field of message: its values go into the column extra\n",
		"millrace: warning: format \"idle\" is in no listener's formats: it decodes nothing\n",
		"millrace: warning: listener \"a\" takes events from anybody who can reach tcp://:514\n")
}

func TestCheck_Failure(t *testing.T) {
	t.Parallel()
	execute(t, "", "check", "--config", "nothing.yaml").want(t, 2, "",
		"millrace: cannot read configuration: open nothing.yaml: no such file or directory\n")
	path := file(t, "m.yaml", "listners: []\nlog: {level: loud}\n")
	execute(t, "", "check", "--config", path).want(t, 2, "", "millrace: cannot use configuration "+path+", 2 problems:\n"+
		"  "+path+":1:1: listners: unknown key; did you mean \"listeners\"?; allowed listeners, files, state_dir, formats, classes, domains, reports, api, kafka, clickhouse, transform, retention, http, log, stop, up, source, quarantine, mail, rules, effects\n"+
		"  "+path+":2:14: log.level: got \"loud\"; allowed debug, info, warn, error\n")
	// Two variables that nothing keeps apart.
	path = file(t, "m.yaml", "formats:\n  - name: x\n    template: '%(id)s%(domain)s'\n")
	execute(t, "", "check", "--config", path).contains(t, 2, "millrace: cannot use configuration "+path+":\n  "+path+":3:15: formats[0].template: ", "domain")
	// Two formats that no frame could tell apart.
	path = file(t, "m.yaml", `
listeners: [{name: a, address: "tcp://127.0.0.1:1", formats: [x, y]}]
formats:
  - {name: x, template: '"%(id)s","%(from_header)s"'}
  - {name: y, template: '"%(id)s","%(subject_header)s"'}
`)
	execute(t, "", "check", "--config", path).contains(t, 2, path+":2:62: listeners[0].formats: ", `"x"`, `"y"`)
}
