package e2e

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// answers is the API of a `millrace up`, asked as a browser asks it: the certificate of the
// first start is trusted, and the login is a cookie.
type answers struct {
	*process
	client *http.Client
}

// secret reads a file that the first start has made, which nobody else may read.
func (p *process) secret(name string) []byte {
	p.t.Helper()
	file := filepath.Join(p.data, "api", name)
	info, err := os.Stat(file)
	if err != nil {
		p.t.Fatal(err)
	}
	if info.Mode().Perm() != 0o600 {
		p.t.Errorf("%s: %v", file, info.Mode())
	}
	text, err := os.ReadFile(file)
	if err != nil {
		p.t.Fatal(err)
	}
	return text
}

// login trusts the certificate and logs the first user in.
func (p *process) login(certificate, password string) *answers {
	p.t.Helper()
	trusted := x509.NewCertPool()
	if !trusted.AppendCertsFromPEM([]byte(certificate)) {
		p.t.Fatal("there is no certificate in tls.pem")
	}
	jar, err := cookiejar.New(nil)
	if err != nil {
		p.t.Fatal(err)
	}
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: trusted}}
	p.t.Cleanup(transport.CloseIdleConnections)
	a := &answers{p, &http.Client{Transport: transport, Jar: jar}}
	if text, status := a.ask("GET", "/me", ""); status != 401 {
		p.t.Fatalf("nobody is answered %d %s", status, text)
	}
	text, status := a.ask("POST", "/login", fmt.Sprintf(`{"name":"admin","password":%q}`, password))
	if status != 200 || !strings.Contains(text, `"role":"admin"`) {
		p.t.Fatalf("the first user's login: %d %s", status, text)
	}
	return a
}

func (a *answers) ask(method, path, body string) (text string, status int) {
	a.t.Helper()
	r, err := http.NewRequestWithContext(a.t.Context(), method, "https://"+a.addr["api"]+"/api/v1"+path, strings.NewReader(body))
	if err != nil {
		a.t.Fatal(err)
	}
	res, err := a.client.Do(r)
	if err != nil {
		a.t.Fatal(err)
	}
	defer res.Body.Close()
	answer, err := io.ReadAll(res.Body)
	if err != nil {
		a.t.Fatal(err)
	}
	return string(answer), res.StatusCode
}

// want asks until the answer has all of the parts: what was sent or decided shows up soon.
func (a *answers) want(path string, parts ...string) (text string) {
	a.t.Helper()
	until(a.t, fmt.Sprintf("%s has %q", path, parts), func() bool {
		var status int
		if text, status = a.ask("GET", path, ""); status != 200 {
			return false
		}
		for _, p := range parts {
			if !strings.Contains(text, p) {
				return false
			}
		}
		return true
	}, func() string { return text })
	return text
}

// TestAnswers asks the API of a real `millrace up`, from the password of the first start to a
// lock that is still there after a restart.
func TestAnswers(t *testing.T) {
	t.Parallel()
	data := filepath.Join(t.TempDir(), "data")
	p := up(t, data)
	certificate, password := string(p.secret("tls.pem")), strings.TrimSpace(string(p.secret("admin-password")))
	if file := filepath.Join(data, "api", "admin-password"); strings.Count(p.text(), file) != 1 || strings.Contains(p.text(), password) {
		t.Errorf("the first start does not say once that the password is in %s", file)
	}
	a := p.login(certificate, password)

	conn, err := net.Dial("tcp", p.addr["syslog_tcp"])
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	for i := range 3 {
		fmt.Fprintf(conn, "<22>%s\x00", m1(testID(1+i), fmt.Sprintf("number %d", i)))
	}
	search := "/search?since=2023-01-01&columns=id,subject_header,locked&q=" + url.QueryEscape("sender is sender@example.org and subject_header starts number")
	a.want(search, "number 0", "number 1", "number 2", `"locked":""`)
	a.want("/messages/"+testID(2), `"subject_header":"number 1"`, `"events":[{`)
	a.want("/export?since=2023-01-01&columns=id,subject_header&order=asc", fmt.Sprintf("id,subject_header\r\n%s,number 0\r\n%s,number 1\r\n%s,number 2\r\n", testID(1), testID(2), testID(3)))
	a.want("/reports/delivery_outcomes?since=2023-01-01", `"rows":[{`, `"messages":3`)

	var document struct {
		OpenAPI string
		Paths   map[string]any
	}
	if err := json.Unmarshal([]byte(a.want("/openapi.json")), &document); err != nil || document.OpenAPI != "3.1.0" || document.Paths["/api/v1/search"] == nil {
		t.Errorf("the OpenAPI document: %v, %s, %d paths", err, document.OpenAPI, len(document.Paths))
	}

	if text, status := a.ask("PUT", "/outgoing-users", `{"domain":"example.com","identification":"sender"}`); status != 200 {
		t.Fatalf("%d %s", status, text)
	}
	if text, status := a.ask("POST", "/locks", `{"targets":[{"domain":"example.com","identity":"sender@example.org"}],"reason":"spam run"}`); status != 200 || !strings.Contains(text, `"done":1`) {
		t.Fatalf("%d %s", status, text)
	}
	a.want(search, "number 0", `"locked":"identity: spam run"`)
	held := func(p *process) {
		t.Helper()
		config := filepath.Join(t.TempDir(), "millrace.yaml")
		if err := os.WriteFile(config, []byte("kafka: {brokers: ['"+p.addr["kafka"]+"']}\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		stdout, stderr, code := run(t, "locks", "--config", config, "--format", "csv")
		if code != 0 || !strings.Contains(stdout, "example.com,*,sender@example.org,yes") || !strings.Contains(stdout, "api:admin,spam run") {
			t.Errorf("millrace locks: %d\n%s%s", code, stdout, stderr)
		}
	}
	held(p)
	if code := p.signal(syscall.SIGTERM); code != 0 {
		t.Errorf("exit code %d", code)
	}

	// The next start has the same certificate, password and locks, and says nothing of a password.
	p = up(t, data)
	if strings.Contains(p.text(), "admin-password") {
		t.Error("the second start tells of a password")
	}
	a = p.login(certificate, password)
	a.want("/locks", `"identity":"sender@example.org"`, `"locked":true`, `"reason":"spam run"`, `"by":"api:admin"`)
	a.want(search, "number 0", `"locked":"identity: spam run"`)
	held(p)
	if code := p.signal(syscall.SIGTERM); code != 0 {
		t.Errorf("exit code %d", code)
	}
}
