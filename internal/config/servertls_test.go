package config

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"millrace/internal/certtest"
)

// encryptedFile is a configuration with one tls:// listener, beside its certificates.
func encryptedFile(t *testing.T, pair certtest.Pair, more string) (file string, data []byte) {
	t.Helper()
	dir := filepath.Dir(pair.Cert)
	text := "listeners: [{name: a, address: 'tls://127.0.0.1:6514', tls: {cert: " + filepath.Base(pair.Cert) + ", key: " + filepath.Base(pair.Key) + more + "}}]\n"
	return filepath.Join(dir, "m.yaml"), []byte(text)
}

func TestServerTLS(t *testing.T) {
	t.Parallel()
	a := certtest.New(t)
	pair := a.Issue(t, certtest.Subject{})
	file, data := encryptedFile(t, pair, ", client_ca: "+filepath.Base(a.File)+", client_names: [relay.example.net, '*.example.org', 192.0.2.1]")
	c, err := Parse(file, data, os.Getenv)
	if err != nil {
		t.Fatal(err)
	}
	l := &c.Listeners[0]
	if l.TLS.Cert != pair.Cert || l.TLS.HandshakeTimeout != 10*time.Second || len(l.TLS.ClientNames) != 3 || l.MaxFrame != 64*KiB {
		t.Errorf("%+v", l)
	}
	loaded, err := l.TLS.Load()
	if err != nil || len(loaded.Certificates) != 1 || loaded.ClientCAs == nil {
		t.Errorf("%+v %v", loaded, err)
	}
	if w := c.Warnings(); len(w) != 0 {
		t.Errorf("%q", w)
	}
}

func TestServerTLS_Wrong(t *testing.T) {
	t.Parallel()
	a := certtest.New(t)
	pair, other := a.Issue(t, certtest.Subject{}), a.Issue(t, certtest.Subject{})
	wrong := func(data, want string) {
		t.Helper()
		_, err := Parse(filepath.Join(filepath.Dir(pair.Cert), "m.yaml"), []byte(data), os.Getenv)
		var problems *Problems
		if !errors.As(err, &problems) || len(problems.List) != 1 || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: have %v, want %s", data, err, want)
		}
	}
	with := func(more string) string {
		_, data := encryptedFile(t, pair, more)
		return string(data)
	}
	wrong("listeners: [{name: a, address: 'tls://127.0.0.1:1'}]\n", "listeners[0].tls: cert and key are missing: tls://127.0.0.1:1 needs both")
	wrong("listeners: [{name: a, address: 'tcp://127.0.0.1:1', tls: {cert: a.pem}}]\n", "listeners[0].tls: has no meaning on tcp; allowed on")
	wrong("listeners: [{name: a, address: 'tls://127.0.0.1:1', tls: {cert: no.pem, key: no.pem}}]\n", "listeners[0].tls: cannot use cert and key: open ")
	wrong("listeners: [{name: a, address: 'tls://127.0.0.1:1', tls: {cert: '"+pair.Cert+"', key: '"+other.Key+"'}}]\n", "private key does not match public key")
	wrong(with(", client_ca: no.pem"), "listeners[0].tls: cannot read client_ca: open ")
	wrong(with(", client_ca: "+filepath.Base(pair.Key)), "no PEM certificate in it")
	wrong(with(", client_names: [a.example.net]"), "listeners[0].tls.client_names: without client_ca")
	wrong(with(", handshake_timeout: 1ms"), `listeners[0].tls.handshake_timeout: got "1ms"`)
	for name, why := range map[string]string{
		"a..b": "not a host name", "'*'": "all of the first label", "a.*.net": "all of the first label", "r*.example.net": "all of the first label",
		"köln.example": "xn--", "a b.example": "' ' cannot be", "''": "not a host name",
	} {
		wrong(with(", client_ca: "+filepath.Base(a.File)+", client_names: ["+name+"]"), why)
	}
	wrong("listeners: [{name: a, address: 'tcp://127.0.0.1:1'}, {name: b, address: 'tls://127.0.0.1:1', tls: {cert: '"+pair.Cert+"', key: '"+pair.Key+"'}}]\n",
		"listeners[1].address: got \"tls://127.0.0.1:1\"")
}

func TestWarnings_CertificateExpires(t *testing.T) {
	t.Parallel()
	a := certtest.New(t)
	for left, want := range map[time.Duration]string{-time.Hour: "has expired", 13 * day: "expires on", 15 * day: ""} {
		file, data := encryptedFile(t, a.Issue(t, certtest.Subject{CommonName: "a", NotAfter: time.Now().Add(left)}), "")
		c, err := Parse(file, data, os.Getenv)
		if err != nil {
			t.Fatal(err)
		}
		w := c.Warnings()
		if (len(w) == 1) != (want != "") || want != "" && (!strings.Contains(w[0], want) || !strings.Contains(w[0], `listener "a"`)) {
			t.Errorf("%v: %q, want %q", left, w, want)
		}
	}
}
