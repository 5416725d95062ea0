package config

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2"
	"github.com/segmentio/kafka-go"
	"github.com/twmb/franz-go/pkg/kfake"
)

// certificate makes a self-signed certificate for 127.0.0.1 and returns it and
// the directory with its cert.pem and key.pem.
func certificate(t *testing.T) (tls.Certificate, string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber:          big.NewInt(1),
		Subject:               pkix.Name{CommonName: "broker"},
		NotBefore:             time.Now().Add(-time.Hour),
		NotAfter:              time.Now().Add(time.Hour),
		IPAddresses:           []net.IP{net.IPv4(127, 0, 0, 1)},
		IsCA:                  true,
		BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	certPEM := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	keyPEM := pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: keyDER})
	dir := t.TempDir()
	for name, data := range map[string][]byte{"cert.pem": certPEM, "key.pem": keyPEM} {
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	pair, err := tls.X509KeyPair(certPEM, keyPEM)
	if err != nil {
		t.Fatal(err)
	}
	return pair, dir
}

// The transport, for producers, and the dialer, for consumer groups, both reach
// a broker that wants TLS and each kind of login, and both are refused with a
// wrong password.
func TestKafkaClients(t *testing.T) {
	t.Parallel()
	pair, dir := certificate(t)
	for _, mechanism := range []string{"none", "plain", "scram-sha-256", "scram-sha-512"} {
		for _, encrypted := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s/tls=%v", mechanism, encrypted), func(t *testing.T) {
				t.Parallel()
				opts := []kfake.Opt{kfake.NumBrokers(1), kfake.SeedTopics(3, "millrace.message")}
				if mechanism != "none" {
					opts = append(opts, kfake.EnableSASL(), kfake.Superuser(strings.ToUpper(mechanism), "anna", "s3cret,="))
				}
				if encrypted {
					opts = append(opts, kfake.TLS(&tls.Config{Certificates: []tls.Certificate{pair}}))
				}
				broker, err := kfake.NewCluster(opts...)
				if err != nil {
					t.Fatal(err)
				}
				t.Cleanup(broker.Close)
				load := func(password string) *Config {
					t.Helper()
					text := "kafka:\n  brokers: ['" + broker.ListenAddrs()[0] + "']\n"
					if mechanism != "none" {
						text += "  sasl: {mechanism: " + mechanism + ", username: anna, password: '" + password + "'}\n"
					}
					if encrypted {
						text += "  tls: {enabled: true, ca: cert.pem}\n" // relative to the file
					}
					c, err := Parse(filepath.Join(dir, "m.yaml"), []byte(text), noEnv)
					if err != nil {
						t.Fatal(err)
					}
					return c
				}
				ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
				defer cancel()
				check := func(c *Config) (byTransport, byDialer error) {
					t.Helper()
					transport, err := c.KafkaTransport("millrace.message")
					if err != nil {
						t.Fatal(err)
					}
					defer transport.CloseIdleConnections()
					client := &kafka.Client{Addr: kafka.TCP(c.Kafka.Brokers...), Transport: transport, Timeout: c.Kafka.RequestTimeout}
					meta, byTransport := client.Metadata(ctx, &kafka.MetadataRequest{Topics: []string{"millrace.message"}})
					if byTransport == nil && len(meta.Topics[0].Partitions) != 3 {
						t.Errorf("metadata %+v", meta)
					}
					group, err := c.KafkaGroup()
					if err != nil {
						t.Fatal(err)
					}
					partitions, byDialer := group.Dialer.LookupPartitions(ctx, "tcp", c.Kafka.Brokers[0], "millrace.message")
					if byDialer == nil && len(partitions) != 3 {
						t.Errorf("partitions %+v", partitions)
					}
					return byTransport, byDialer
				}
				a, b := check(load("s3cret,="))
				if a != nil || b != nil {
					t.Errorf("transport: %v, dialer: %v", a, b)
				}
				if mechanism != "none" {
					if a, b = check(load("wrong")); a == nil || b == nil {
						t.Errorf("with a wrong password: transport: %v, dialer: %v", a, b)
					}
				}
			})
		}
	}
}

func TestKafkaGroup(t *testing.T) {
	t.Parallel()
	g, err := Default().KafkaGroup()
	if err != nil {
		t.Fatal(err)
	}
	// Shorter, and a group under faults never comes together again.
	if g.Timeout < g.SessionTimeout || g.SessionTimeout <= g.RebalanceTimeout || g.ID != "millrace" || g.StartOffset != kafka.FirstOffset {
		t.Errorf("%+v", g)
	}
	g.Topics = []string{"millrace.message"}
	if err := g.Validate(); err != nil {
		t.Error(err)
	}
}

func TestClickHouseOptions(t *testing.T) {
	t.Parallel()
	_, dir := certificate(t)
	f := func(text string, check func(o, reader *clickhouse.Options) bool) {
		t.Helper()
		c, err := Parse(filepath.Join(dir, "m.yaml"), []byte(text), noEnv)
		if err != nil {
			t.Error(err)
			return
		}
		o, err := c.ClickHouseOptions()
		if err != nil {
			t.Error(err)
			return
		}
		reader, err := c.ClickHouseReaderOptions()
		if err != nil || !check(o, reader) {
			t.Errorf("%s\n%+v %+v %v", text, o.Auth, reader.Auth, err)
		}
	}
	f("", func(o, reader *clickhouse.Options) bool {
		return o.Compression.Method == clickhouse.CompressionNone && o.TLS == nil && o.Addr[0] == "127.0.0.1:9000" &&
			o.Auth == clickhouse.Auth{Database: "millrace", Username: "default"} && reader.Auth.Username == "millrace_reader" &&
			o.DialTimeout == 5*time.Second && o.ReadTimeout == 30*time.Second && o.MaxOpenConns > o.MaxIdleConns
	})
	f("clickhouse: {addresses: ['ch-1:9440', '127.0.0.1:9440'], username: w, password: a, reader: {username: r, password: b}, tls: {enabled: true, ca: cert.pem, cert: cert.pem, key: key.pem, server_name: ch}}\n",
		func(o, reader *clickhouse.Options) bool {
			return o.Compression.Method == clickhouse.CompressionLZ4 && o.Auth.Password == "a" && reader.Auth.Password == "b" &&
				o.TLS.ServerName == "ch" && o.TLS.RootCAs != nil && len(o.TLS.Certificates) == 1 && !o.TLS.InsecureSkipVerify
		})
	f("clickhouse: {compression: lz4}\n", func(o, _ *clickhouse.Options) bool { return o.Compression.Method == clickhouse.CompressionLZ4 })
	f("clickhouse: {compression: none, addresses: ['ch:9000']}\n", func(o, _ *clickhouse.Options) bool {
		return o.Compression.Method == clickhouse.CompressionNone
	})
}

func TestTLSFiles(t *testing.T) {
	t.Parallel()
	_, dir := certificate(t)
	f := func(tlsText, want string) {
		t.Helper()
		_, err := Parse(filepath.Join(dir, "m.yaml"), []byte("kafka: {tls: {enabled: true, "+tlsText+"}}\n"), noEnv)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %s", tlsText, err, want)
		}
	}
	f("ca: nothing.pem", "kafka.tls: cannot read ca: open "+filepath.Join(dir, "nothing.pem")+": no such file or directory")
	f("ca: key.pem", `kafka.tls: cannot use ca "key.pem": no PEM certificate in it`)
	f("cert: cert.pem, key: cert.pem", "kafka.tls: cannot use cert and key: ")
}
