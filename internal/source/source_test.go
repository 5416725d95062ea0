package source_test

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"millrace/internal/source"
	"millrace/internal/source/sourcetest"
)

const (
	m3 = `"sx-m3","%(id)s","%(sender)s","%(subject_header)s","sx-end"`
	s3 = `"sx-s3","%(id)s","%(status)s","%(delivery_data)s","sx-end"`
)

var known = []source.Template{{Name: "m3", Kind: source.KindMessage, Text: m3}, {Name: "s3", Kind: source.KindStatus, Text: s3}}

func settings() source.Settings {
	return source.Settings{
		Host: "syslog.example.net", Port: 5514, Facility: "mail", SocketType: "SOCK_STREAM",
		MessageTemplate: m3, Enabled: true, Level: "DEBUG", StatusTemplate: s3,
	}
}

func client(t *testing.T, a *sourcetest.API) *source.Client {
	t.Helper()
	c, err := source.New(source.Options{Address: a.URL, User: sourcetest.User, Password: sourcetest.Password, CAFile: a.CAFile})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

func TestEscape(t *testing.T) {
	t.Parallel()
	f := func(in, want string) {
		t.Helper()
		if got := source.Escape(in); got != want {
			t.Errorf("Escape(%q) = %s, want %s", in, got, want)
		}
		if back, err := url.QueryUnescape(source.Escape(in)); err != nil || back != in {
			t.Errorf("Escape(%q) decodes to %q, %v", in, back, err)
		}
		if back, err := url.PathUnescape(source.Escape(in)); err != nil || back != in {
			t.Errorf("Escape(%q) decodes to %q where '+' is no space, %v", in, back, err)
		}
	}
	f("", "")
	f("azAZ09-._~", "azAZ09-._~")
	f(`"%(id)s","%(sender)s"`, "%22%25%28id%29s%22%2C%22%25%28sender%29s%22")
	f("a b+c", "a%20b%2Bc")
	f("50%%", "50%25%25")
	f("a\tb", "a%09b")
	f("&=?#/:;@$!*'", "%26%3D%3F%23%2F%3A%3B%40%24%21%2A%27")
	f("é\x00", "%C3%A9%00")
}

func TestSetURL(t *testing.T) {
	t.Parallel()
	e, user, password, err := source.ParseEndpoint("https://bob:pw@filter.example.net:8443/cgi-bin/api")
	if err != nil || user != "bob" || string(password) != "pw" {
		t.Fatal(user, err)
	}
	s := settings()
	s.MessageTemplate, s.StatusTemplate = `"%(id)s" + 5%%`, "default"
	want := "https://filter.example.net:8443/cgi-bin/api?call=api_set_remote_syslog_server" +
		"&host=syslog.example.net&port=5514&facility=mail&socket_type=SOCK_STREAM" +
		"&message_template=%22%25%28id%29s%22%20%2B%205%25%25&enabled=True&level=DEBUG&status_template=default"
	if got := e.SetURL(s); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	if got := e.SetURL(source.Settings{}); !strings.HasSuffix(got, "&host=&port=&facility=&socket_type=&message_template=&enabled=False&level=&status_template=") {
		t.Errorf("all eight arguments are not there: %s", got)
	}
	if got := e.GetURL(); got != "https://filter.example.net:8443/cgi-bin/api?call=api_get_remote_syslog_server" {
		t.Error(got)
	}
}

func TestParseEndpoint(t *testing.T) {
	t.Parallel()
	ok := func(in, want string) {
		t.Helper()
		if e, _, _, err := source.ParseEndpoint(in); err != nil || e.String() != want {
			t.Errorf("ParseEndpoint(%q) = %s, %v, want %s", in, e, err, want)
		}
	}
	ok("filter.example.net", "https://filter.example.net/cgi-bin/api")
	ok("https://filter.example.net/", "https://filter.example.net/cgi-bin/api")
	ok("https://filter.example.net/cgi-bin/api", "https://filter.example.net/cgi-bin/api")
	ok("https://[2001:db8::1]:8443", "https://[2001:db8::1]:8443/cgi-bin/api")
	bad := func(in string) {
		t.Helper()
		_, _, _, err := source.ParseEndpoint(in)
		if err == nil {
			t.Errorf("ParseEndpoint(%q) succeeds", in)
		} else if strings.Contains(err.Error(), "s3cret") {
			t.Errorf("ParseEndpoint(%q) shows the password: %v", in, err)
		}
	}
	bad("")
	bad("http://u:s3cret@filter.example.net")
	bad("https://")
	bad("https://u:s3cret@filter.example.net/?call=x")
	bad("https://u:s3cret@filter.example.net:port/")
	bad("https://u:s3cret%zz@filter.example.net/")
	bad("ftp://u:s3cret@filter.example.net/")
}

func TestSetAndGet(t *testing.T) {
	t.Parallel()
	templates := []string{
		m3, "default", `%(id)s`, `"%(id)s"`, `'%(id)s'`, `it's "%(subject_header)s", 5%% of \n`, "%(id)s\t%(sender)s",
		`%(id)s=%(sender)s: x `, `"%(id)s","é %(subject_header)s"`,
	}
	for _, layout := range sourcetest.Layouts() {
		t.Run(string(layout), func(t *testing.T) {
			t.Parallel()
			a := sourcetest.New(t, layout)
			c := client(t, a)
			for _, template := range templates {
				if layout == sourcetest.Lines && template == `'%(id)s'` {
					continue // a line cannot tell these quotes from its own
				}
				s := settings()
				s.MessageTemplate = template
				if err := c.Set(t.Context(), s); err != nil {
					t.Fatal(err)
				}
				if got := a.Stored()["message_template"]; got != template {
					t.Fatalf("the API was told %q, want %q", got, template)
				}
				r, err := c.Get(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				if r.Settings != s {
					t.Errorf("got  %+v\nwant %+v", r.Settings, s)
				}
				if len(r.Given) != 8 || len(r.Other) != 0 {
					t.Errorf("given %v, other %v", r.Given, r.Other)
				}
				if d := source.Diff(s, r); len(d) != 0 {
					t.Errorf("difference: %v", d)
				}
			}
		})
	}
}

func TestAnswersThatAreErrors(t *testing.T) {
	t.Parallel()
	f := func(name string, status int, body string, wants ...string) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a := sourcetest.New(t, sourcetest.Lines)
			a.Answer(func(w http.ResponseWriter, _ string) bool {
				if status >= 300 && status < 400 {
					w.Header().Set("Location", "https://u:"+url.QueryEscape(sourcetest.Password)+"@elsewhere.example/login")
				}
				w.WriteHeader(status)
				fmt.Fprint(w, body)
				return true
			})
			c := client(t, a)
			_, getErr := c.Get(t.Context())
			for _, err := range []error{c.Set(t.Context(), settings()), getErr} {
				if err == nil {
					t.Fatal("no error")
				}
				for _, want := range append(wants, a.URL) {
					if !strings.Contains(err.Error(), want) {
						t.Errorf("error does not say %q: %v", want, err)
					}
				}
				if strings.Contains(err.Error(), sourcetest.Password) || strings.Contains(err.Error(), "battery") || strings.Contains(err.Error(), "second line") {
					t.Errorf("error says too much: %v", err)
				}
			}
		})
	}
	f("html", 200, "<html><title>Log in</title>\nsecond line", "web page", "<html><title>Log in</title>")
	f("error text", 200, "ERROR: no such host\nsecond line", "ERROR: no such host")
	f("traceback", 200, "Traceback (most recent call last):\n  second line", "Traceback")
	f("server error", 500, "oops\nsecond line", "500", "oops")
	f("forbidden", 403, "no", "403", `user "admin"`)
	f("redirect", 302, "", "302", "elsewhere.example")
	f("password quoted back", 200, "error: user admin with "+sourcetest.Password+" unknown", "xxxxx")
	f("password encoded back", 200, "error: "+source.Escape(sourcetest.Password), "xxxxx")
	f("too long", 200, strings.Repeat("x", 1<<20+1), "longer than 1048576")
	f("something", 200, "no idea what you want", "no idea what you want")
}

func TestGetEmpty(t *testing.T) {
	t.Parallel()
	a := sourcetest.New(t, sourcetest.Lines)
	a.Answer(func(http.ResponseWriter, string) bool { return true })
	c := client(t, a)
	if _, err := c.Get(t.Context()); err == nil || !strings.Contains(err.Error(), "no remote syslog server is set") {
		t.Error(err)
	}
	if err := c.Set(t.Context(), settings()); err != nil {
		t.Error(err)
	}
	a.Answer(func(w http.ResponseWriter, _ string) bool { fmt.Fprintln(w, `""`); return true })
	if err := c.Set(t.Context(), settings()); err != nil {
		t.Error(`"" is the documented success:`, err)
	}
}

func TestPasswordIsNeverShown(t *testing.T) {
	t.Parallel()
	a := sourcetest.New(t, sourcetest.Lines)
	const secret = "wr0ng-s3cret"
	c, err := source.New(source.Options{Address: strings.Replace(a.URL, "https://", "https://admin:"+secret+"@", 1), CAFile: a.CAFile})
	if err != nil {
		t.Fatal(err)
	}
	err = c.Set(t.Context(), settings())
	if err == nil || !strings.Contains(err.Error(), "401") || !strings.Contains(err.Error(), "Authorization required") {
		t.Error(err)
	}
	if strings.Contains(fmt.Sprint(err), secret) || strings.Contains(c.SetURL(settings()), secret) {
		t.Error("the password is shown:", err)
	}
	for _, q := range a.Calls() {
		if strings.Contains(q, secret) {
			t.Error("the password is in the query:", q)
		}
	}
	o := source.Options{Password: secret}
	var b strings.Builder
	slog.New(slog.NewJSONHandler(&b, nil)).Info("x", "options", o, "password", o.Password)
	fmt.Fprintf(&b, "%v %+v %#v %s %q", o, o, o, o.Password, o.Password)
	if strings.Contains(b.String(), secret) {
		t.Error(b.String())
	}

	// A server that is not there.
	c, err = source.New(source.Options{Address: "https://admin:" + secret + "@127.0.0.1:1"})
	if err != nil {
		t.Fatal(err)
	}
	err = c.Set(t.Context(), settings())
	if err == nil || strings.Contains(err.Error(), secret) || strings.Contains(err.Error(), "message_template=") {
		t.Error(err)
	}
}

func TestCertificateIsVerified(t *testing.T) {
	t.Parallel()
	a := sourcetest.New(t, sourcetest.Lines)
	c, err := source.New(source.Options{Address: a.URL, User: sourcetest.User, Password: sourcetest.Password})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Get(t.Context()); err == nil || !strings.Contains(err.Error(), "CA file") {
		t.Error(err)
	}
	if len(a.Calls()) != 0 {
		t.Error("a call was made in spite of the unknown certificate")
	}
	if _, err := source.New(source.Options{Address: a.URL, CAFile: filepath.Join(t.TempDir(), "none.pem")}); err == nil {
		t.Error("a missing CA file is accepted")
	}
	empty := filepath.Join(t.TempDir(), "empty.pem")
	if err := os.WriteFile(empty, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := source.New(source.Options{Address: a.URL, CAFile: empty}); err == nil || !strings.Contains(err.Error(), "no PEM") {
		t.Error(err)
	}
}

func TestContextEnds(t *testing.T) {
	t.Parallel()
	a := sourcetest.New(t, sourcetest.Lines)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := client(t, a).Get(ctx); err == nil || !strings.Contains(err.Error(), "canceled") {
		t.Error(err)
	}
}

func TestParse_Success(t *testing.T) {
	t.Parallel()
	f := func(in string, want source.Settings, given ...string) {
		t.Helper()
		r, err := source.Parse([]byte(in))
		if err != nil {
			t.Errorf("Parse(%q): %v", in, err)
			return
		}
		if r.Settings != want {
			t.Errorf("Parse(%q)\ngot  %+v\nwant %+v", in, r.Settings, want)
		}
		for _, g := range given {
			if !r.Has(g) {
				t.Errorf("Parse(%q): %s not given", in, g)
			}
		}
	}
	f("host=h\nport=514\nenabled=true", source.Settings{Host: "h", Port: 514, Enabled: true}, "host", "port", "enabled")
	f("Host : h\r\nSocket type : SOCK_DGRAM\r\n", source.Settings{Host: "h", SocketType: "SOCK_DGRAM"})
	f("host\th\nlevel\tINFO", source.Settings{Host: "h", Level: "INFO"})
	f("# a warning of the platform\n\nhost: h\n-- end --", source.Settings{Host: "h"})
	f("host: 'h'\nport: '514'\nlevel: None", source.Settings{Host: "h", Port: 514}, "level")
	f(`message_template: u'"%(id)s"'`, source.Settings{MessageTemplate: `"%(id)s"`})
	f(`message_template: "\"%(id)s\",\"x\""`, source.Settings{MessageTemplate: `"%(id)s","x"`})
	f(`message_template: "%(id)s","%(sender)s"`, source.Settings{MessageTemplate: `"%(id)s","%(sender)s"`})
	f("\xef\xbb\xbfhost: ::1", source.Settings{Host: "::1"})
	f(`{"host":"h","port":514,"enabled":true,"level":null}`, source.Settings{Host: "h", Port: 514, Enabled: true}, "level")
	f(`{"messages":{},"result":{"host":"h","port":"514","enabled":"False"}}`, source.Settings{Host: "h", Port: 514}, "enabled")
	f(`[{"remote_syslog_host":"h"}]`, source.Settings{Host: "h"})
	f(`{'host': 'h', 'port': 514L, 'enabled': True, 'facility': None,}`, source.Settings{Host: "h", Port: 514, Enabled: true}, "facility")
	f(`{u'host': u'h', 'message_template': '"%(id)s"\t\'\x41\u00e9\U0001F600\101\q'}`, source.Settings{Host: "h", MessageTemplate: "\"%(id)s\"\t'A\u00e9\U0001F600A\\q"})
	f(`[('host', 'h'), ('port', 514)]`, source.Settings{Host: "h", Port: 514})
	f("{'message_template': 'ab'\n 'cd',\n 'host': \"it's\"}", source.Settings{MessageTemplate: "abcd", Host: "it's"})
}

func TestParse_Failure(t *testing.T) {
	t.Parallel()
	f := func(in, want string) {
		t.Helper()
		if _, err := source.Parse([]byte(in)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("Parse(%q): %v, want %q", in, err, want)
		}
	}
	f("", "empty")
	f("  \n", "empty")
	f(`""`, "empty")
	f("{}", "empty")
	f("hello\nworld", `begins "hello"`)
	f(`{"error":"no"}`, "names none of")
	f("{'host': 'h'", "names none of")
	f("host: h\nport: many", `cannot read port "many"`)
	f("port: 70000", "0 to 65535")
	f("enabled: maybe", `cannot read enabled "maybe"`)
	f(strings.Repeat("[", 1000), "names none of")
	f(strings.Repeat("{'a':", 1000), "names none of")
}

func TestValidate(t *testing.T) {
	t.Parallel()
	if err := settings().Validate(); err != nil {
		t.Error(err)
	}
	if w := settings().Warnings(); len(w) != 0 {
		t.Error(w)
	}
	f := func(change func(*source.Settings), want string) {
		t.Helper()
		s := settings()
		change(&s)
		if err := s.Validate(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
	f(func(s *source.Settings) { s.Host = "" }, "host is empty")
	f(func(s *source.Settings) { s.Host = "tcp://h" }, `"tcp://h"`)
	f(func(s *source.Settings) { s.Port = 65536 }, "65536")
	f(func(s *source.Settings) { s.MessageTemplate = "%(id)s\n" }, "control character")
	f(func(s *source.Settings) { s.StatusTemplate = "m3" }, `"m3"`)
	s := settings()
	s.Facility, s.SocketType, s.Level = "post", "TLS", "debug"
	if w := s.Warnings(); len(w) != 3 {
		t.Error(w)
	}
	s.Facility, s.SocketType, s.Level = "16", "udp", ""
	if w := s.Warnings(); len(w) != 0 {
		t.Error(w)
	}
	s.StatusTemplate = "default"
	if w := s.Warnings(); len(w) != 1 || !strings.Contains(w[0], "status_template default") {
		t.Error(w)
	}
}

func TestDiff(t *testing.T) {
	t.Parallel()
	all := source.Reading{Settings: settings(), Given: source.Fields()}
	f := func(change func(want *source.Settings, have *source.Reading), differs ...string) {
		t.Helper()
		want, have := settings(), all
		have.Given = append([]string(nil), all.Given...)
		change(&want, &have)
		var got []string
		for _, d := range source.Diff(want, have) {
			got = append(got, d.String())
		}
		if len(got) != len(differs) {
			t.Errorf("got %q, want %q", got, differs)
			return
		}
		for i := range got {
			if !strings.Contains(got[i], differs[i]) {
				t.Errorf("got %q, want %q", got[i], differs[i])
			}
		}
	}
	f(func(_ *source.Settings, _ *source.Reading) {})
	f(func(_ *source.Settings, h *source.Reading) { h.Host, h.Port = "other", 514 }, `host: configured "syslog.example.net", the API has "other"`, `port: configured "5514", the API has "514"`)
	f(func(_ *source.Settings, h *source.Reading) {
		h.Facility, h.SocketType, h.Level, h.Host = "2", "tcp", "10", "SYSLOG.example.net."
	})
	f(func(_ *source.Settings, h *source.Reading) { h.Enabled = false }, `enabled: configured "True", the API has "False"`)
	f(func(_ *source.Settings, h *source.Reading) { h.Given = h.Given[:7] }, "status_template: configured")
	f(func(w *source.Settings, h *source.Reading) { w.Facility, h.Facility = "", "local0" })
	f(func(w *source.Settings, h *source.Reading) { w.MessageTemplate = "default" })
	f(func(_ *source.Settings, h *source.Reading) { h.MessageTemplate = "default" }, "uses its own template")
	f(func(_ *source.Settings, h *source.Reading) { h.MessageTemplate = "" }, "has no template")
	f(func(_ *source.Settings, h *source.Reading) {
		h.MessageTemplate = strings.Replace(m3, "sender", "recipient", 1)
	},
		"variable 2: configured %(sender), the API has %(recipient)")
	f(func(_ *source.Settings, h *source.Reading) { h.MessageTemplate = m3 + "%(helo)s" }, "configured 3 variables, the API has 4")
	f(func(_ *source.Settings, h *source.Reading) { h.MessageTemplate = strings.Replace(m3, ",", ";", 1) }, "other text from byte 7")
}

func TestResolve(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{"default": "default", "": "", "m3": m3, "M3": m3, "%(x)s": "%(x)s"} {
		if got, err := source.Resolve(source.KindMessage, in, known); err != nil || got != want {
			t.Errorf("Resolve(%q) = %q, %v", in, got, err)
		}
	}
	if _, err := source.Resolve(source.KindMessage, "s3", known); err == nil || !strings.Contains(err.Error(), "one of m3") {
		t.Error(err)
	}
}

func TestFormats(t *testing.T) {
	t.Parallel()
	s := settings()
	s.MessageTemplate = "it's \"%(id)s\"\t%(sender)s"
	formats, notes := source.Formats(s, known)
	if len(notes) != 0 || len(formats) != 2 || formats[0].Known || !formats[1].Known || formats[1].Name != "s3" {
		t.Fatal(formats, notes)
	}
	text, err := source.FormatsYAML(formats)
	if err != nil {
		t.Fatal(err)
	}
	var got struct{ Formats []map[string]string }
	if err := yaml.Unmarshal(text, &got); err != nil {
		t.Fatal(err)
	}
	want := []map[string]string{{"name": "source-message", "kind": "message", "template": s.MessageTemplate}}
	if !reflect.DeepEqual(got.Formats, want) {
		t.Errorf("got %v, want %v from\n%s", got.Formats, want, text)
	}
	if d := source.DiffFormats(settings(), s, known); len(d) != 1 || !strings.Contains(d[0].String(), "nearest is m3") {
		t.Error(d)
	}

	s.MessageTemplate, s.StatusTemplate = "default", ""
	formats, notes = source.Formats(s, known)
	if len(formats) != 0 || len(notes) != 2 {
		t.Error(formats, notes)
	}
	if d := source.DiffFormats(settings(), s, known); len(d) != 2 {
		t.Error(d)
	}
	if d := source.DiffFormats(s, s, known); len(d) != 1 || !strings.Contains(d[0].String(), "status_template") {
		t.Error(d) // its own message template is what was asked for
	}
	if d := source.DiffFormats(settings(), settings(), known); len(d) != 0 {
		t.Error(d)
	}
}

func ExampleEndpoint_SetURL() {
	e, _, _, _ := source.ParseEndpoint("filter.example.net")
	fmt.Println(e.SetURL(source.Settings{
		Host: "192.0.2.7", Port: 514, Facility: "mail", SocketType: "SOCK_STREAM", Enabled: true,
		Level: "DEBUG", MessageTemplate: `"%(id)s","%(subject_header)s"`, StatusTemplate: "default",
	}))
	// Output: https://filter.example.net/cgi-bin/api?call=api_set_remote_syslog_server&host=192.0.2.7&port=514&facility=mail&socket_type=SOCK_STREAM&message_template=%22%25%28id%29s%22%2C%22%25%28subject_header%29s%22&enabled=True&level=DEBUG&status_template=default
}

func FuzzParse(f *testing.F) {
	stored := map[string]string{
		"host": "h", "port": "514", "facility": "mail", "socket_type": "SOCK_STREAM",
		"message_template": m3, "enabled": "True", "level": "DEBUG", "status_template": "default",
	}
	for _, l := range sourcetest.Layouts() {
		f.Add([]byte(sourcetest.Render(l, stored)))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		r, err := source.Parse(data)
		if err != nil {
			return
		}
		again, err := source.Parse(data)
		if err != nil || !reflect.DeepEqual(r, again) {
			t.Fatalf("read twice: %+v and %+v, %v", r, again, err)
		}
		if len(r.Given) == 0 || r.Port < 0 || r.Port > 65535 {
			t.Fatalf("impossible: %+v", r)
		}
		for _, d := range source.Diff(r.Settings, r) {
			if r.Has(d.Field) {
				t.Fatalf("differs from itself: %v", d)
			}
		}
		formats, _ := source.Formats(r.Settings, nil)
		if _, err := source.FormatsYAML(formats); err != nil {
			t.Fatal(err)
		}
	})
}
