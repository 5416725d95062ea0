package cmd

import (
	"strings"
	"testing"

	"millrace/internal/source/sourcetest"
)

func TestSourceURL(t *testing.T) {
	t.Parallel()
	r := execute(t, "", "source", "url", "--url", "https://filter.example.com", "--host", "logs.example.com", "--port", "5514", "--templates", "m1")
	r.contains(t, 0,
		"https://filter.example.com/cgi-bin/api?call=api_set_remote_syslog_server&host=logs.example.com&port=5514&facility=mail&socket_type=SOCK_STREAM&message_template=%22%25%28id%29s%22",
		"&enabled=True&level=INFO&status_template=%22%25%28id%29s%22")
	if strings.Count(r.out, "\n") != 1 || r.errs != "" {
		t.Errorf("%+v", r)
	}
	execute(t, "", "source", "url", "--url", "https://f.example", "--host", "h", "--templates", "default", "--enabled=false", "--level", "DEBUG").
		contains(t, 0, "&message_template=default&enabled=False&level=DEBUG&status_template=default\n")
	execute(t, "", "source", "url", "--url", "https://f.example", "--host", "h", "--templates", "m7").contains(t, 2, `--templates "m7": want m1, m2, m3 or default`)
	execute(t, "", "source", "url", "--url", "https://f.example", "--host", "h", "--message-template", "s3").contains(t, 2, `cannot find the message template "s3"`)
}

// set, get and check against an API over HTTPS.
func TestSourceCalls(t *testing.T) {
	t.Parallel()
	api := sourcetest.New(t, sourcetest.Lines)
	path := file(t, "m.yaml", `
listeners: [{name: a, address: "tcp://127.0.0.1:1", formats: [mine, s3]}]
formats: [{name: mine, template: '"mine","%(id)s","%(subject_header)s"'}]
source:
  url: "`+api.URL+`"
  ca: "`+api.CAFile+`"
  username: "`+sourcetest.User+`"
  password: "`+sourcetest.Password+`"
  host: logs.example.com
  message_template: mine
`)
	execute(t, "", "source", "set", "--config", path).want(t, 0,
		"set at "+api.URL+"/cgi-bin/api\nthe filter has what is configured\n", "")
	if got := api.Stored()["message_template"]; got != `"mine","%(id)s","%(subject_header)s"` {
		t.Errorf("the API has the template %q", got)
	}
	execute(t, "", "source", "check", "--config", path).want(t, 0, "the filter has what is configured\n", "")
	execute(t, "", "source", "check", "--config", path, "--port", "5514").contains(t, 1,
		`port: configured "5514", the API has "514"`, "millrace: cannot find the configuration at the filter: 1 difference\n")
	execute(t, "", "source", "get", "--config", path).contains(t, 0,
		"# host              logs.example.com\n", "# the message template is mine, which is known already\n")
	// What is not known comes out as a format for the configuration.
	bare := file(t, "bare.yaml", "source: {url: '"+api.URL+"', ca: '"+api.CAFile+"', username: '"+sourcetest.User+"', password: '"+sourcetest.Password+"'}\n")
	execute(t, "", "source", "get", "--config", bare).contains(t, 0,
		"formats:\n", "name: source-message\n", `template: '"mine","%(id)s","%(subject_header)s"'`)
	// Its own templates are what was asked for, and shown to be a risk.
	r := execute(t, "", "source", "set", "--config", path, "--templates", "default")
	r.contains(t, 0, "the filter has what is configured\n", "millrace: warning: status_template default: ")
	// A wrong password shows itself nowhere.
	wrong := file(t, "wrong.yaml", "source: {url: '"+api.URL+"', ca: '"+api.CAFile+"', username: u, password: hunter2}\n")
	r = execute(t, "", "source", "get", "--config", wrong)
	r.contains(t, 1, "millrace: cannot ", "401")
	if strings.Contains(r.out+r.errs, "hunter2") {
		t.Errorf("shows the password: %+v", r)
	}
}
