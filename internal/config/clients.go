package config

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2"
	"github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/sasl"
	"github.com/segmentio/kafka-go/sasl/plain"
	franz "github.com/twmb/franz-go/pkg/sasl"
	"github.com/twmb/franz-go/pkg/sasl/scram"
)

const (
	// kafka-go has no forced refresh of its metadata and picks a random time up
	// to this one: the time until a moved leader is found.
	metadataTTL = 1500 * time.Millisecond
	kafkaDial   = 5 * time.Second
)

// KafkaTransport is what kafka-go's Client needs: addresses, encryption and
// authentication. topics are those whose metadata it keeps; none: all that the
// brokers have.
func (c *Config) KafkaTransport(topics ...string) (*kafka.Transport, error) {
	k := &c.Kafka
	tlsConfig, err := k.TLS.load(k.dir)
	if err != nil {
		return nil, fmt.Errorf("cannot use kafka.tls: %w", err)
	}
	return &kafka.Transport{
		Dial:           (&net.Dialer{Timeout: kafkaDial, KeepAlive: 15 * time.Second}).DialContext,
		DialTimeout:    kafkaDial,
		ClientID:       k.ClientID,
		TLS:            tlsConfig,
		SASL:           k.SASL.mechanism(),
		MetadataTTL:    metadataTTL,
		MetadataTopics: topics,
	}, nil
}

// KafkaDialer is the same for kafka-go's ConsumerGroup, which knows no Transport.
func (c *Config) KafkaDialer() (*kafka.Dialer, error) {
	k := &c.Kafka
	tlsConfig, err := k.TLS.load(k.dir)
	if err != nil {
		return nil, fmt.Errorf("cannot use kafka.tls: %w", err)
	}
	return &kafka.Dialer{
		ClientID:      k.ClientID,
		Timeout:       kafkaDial,
		DualStack:     true,
		KeepAlive:     15 * time.Second,
		TLS:           tlsConfig,
		SASLMechanism: k.SASL.mechanism(),
	}, nil
}

// KafkaGroup is the part of a consumer group's configuration that the file
// decides. The caller adds the topics.
func (c *Config) KafkaGroup() (kafka.ConsumerGroupConfig, error) {
	dialer, err := c.KafkaDialer()
	if err != nil {
		return kafka.ConsumerGroupConfig{}, err
	}
	k := &c.Kafka
	return kafka.ConsumerGroupConfig{
		ID:                k.Group,
		Brokers:           k.Brokers,
		Dialer:            dialer,
		HeartbeatInterval: k.HeartbeatInterval,
		SessionTimeout:    k.SessionTimeout,
		RebalanceTimeout:  k.RebalanceTimeout,
		JoinGroupBackoff:  time.Second,
		StartOffset:       kafka.FirstOffset,
		// A join takes as long as the slowest member; shorter than the session
		// and a group under faults never comes together again.
		Timeout: k.SessionTimeout,
	}, nil
}

// mechanism is nil for none.
func (s *SASL) mechanism() sasl.Mechanism {
	login := scram.Auth{User: s.Username, Pass: s.Password.Reveal()}
	switch s.Mechanism {
	case "plain":
		return plain.Mechanism{Username: s.Username, Password: s.Password.Reveal()}
	case "scram-sha-256":
		return scramMechanism{login.AsSha256Mechanism()}
	case "scram-sha-512":
		return scramMechanism{login.AsSha512Mechanism()}
	}
	return nil
}

// scramMechanism gives franz-go's SCRAM to kafka-go, whose own one needs four
// modules more.
type scramMechanism struct{ franz.Mechanism }

func (m scramMechanism) Start(ctx context.Context) (sasl.StateMachine, []byte, error) {
	session, first, err := m.Authenticate(ctx, "")
	return scramSession{session}, first, err
}

type scramSession struct{ franz.Session }

func (s scramSession) Next(_ context.Context, challenge []byte) (bool, []byte, error) {
	return s.Challenge(challenge)
}

// ClickHouseOptions is what clickhouse-go needs to write and to change the
// schema.
func (c *Config) ClickHouseOptions() (*clickhouse.Options, error) {
	ch := &c.ClickHouse
	return ch.options(ch.Addresses, ch.Username, ch.Password)
}

// ShardReaderOptions are ClickHouseReaderOptions for each shard; without shards, for the
// one that there is.
func (c *Config) ShardReaderOptions() (all []*clickhouse.Options, err error) {
	ch := &c.ClickHouse
	shards := ch.Shards
	if len(shards) == 0 {
		shards = []Shard{{Addresses: ch.Addresses}}
	}
	for _, s := range shards {
		o, err := ch.options(s.Addresses, ch.Reader.Username, ch.Reader.Password)
		if err != nil {
			return nil, err
		}
		all = append(all, o)
	}
	return all, nil
}

// ShardOptions are ClickHouseOptions for one of the shards.
func (c *Config) ShardOptions(s Shard) (*clickhouse.Options, error) {
	return c.ClickHouse.options(s.Addresses, c.ClickHouse.Username, c.ClickHouse.Password)
}

// ClickHouseReaderOptions is the same for the user that only reads.
func (c *Config) ClickHouseReaderOptions() (*clickhouse.Options, error) {
	ch := &c.ClickHouse
	return ch.options(ch.Addresses, ch.Reader.Username, ch.Reader.Password)
}

func (c *ClickHouse) options(addresses []string, user string, password Secret) (*clickhouse.Options, error) {
	tlsConfig, err := c.TLS.load(c.dir)
	if err != nil {
		return nil, fmt.Errorf("cannot use clickhouse.tls: %w", err)
	}
	method := clickhouse.CompressionNone
	if c.Compression == "lz4" || c.Compression == "auto" && !allLoopback(addresses) {
		method = clickhouse.CompressionLZ4
	}
	return &clickhouse.Options{
		Protocol:        clickhouse.Native,
		Addr:            addresses,
		Auth:            clickhouse.Auth{Database: c.Database, Username: user, Password: password.Reveal()},
		TLS:             tlsConfig,
		Compression:     &clickhouse.Compression{Method: method},
		DialTimeout:     c.DialTimeout,
		ReadTimeout:     c.ReadTimeout,
		MaxOpenConns:    16,
		MaxIdleConns:    8,
		ConnMaxLifetime: time.Hour,
		// In the order of the file: the first server that answers.
		ConnOpenStrategy: clickhouse.ConnOpenInOrder,
	}, nil
}

// SourceTLS is the encryption towards the source's API.
func (c *Config) SourceTLS() (*tls.Config, error) {
	t := TLS{Enabled: true, CA: c.Source.CA}
	got, err := t.load("")
	if err != nil {
		return nil, fmt.Errorf("cannot use source.ca: %w", err)
	}
	return got, nil
}

// load is nil when TLS is off.
func (t *TLS) load(dir string) (*tls.Config, error) {
	if !t.Enabled {
		return nil, nil
	}
	c := &tls.Config{MinVersion: tls.VersionTLS12, ServerName: t.ServerName}
	if t.CA != "" {
		pem, err := os.ReadFile(resolve(dir, t.CA))
		if err != nil {
			return nil, fmt.Errorf("cannot read ca: %w", err)
		}
		c.RootCAs = x509.NewCertPool()
		if !c.RootCAs.AppendCertsFromPEM(pem) {
			return nil, errors.New("cannot use ca " + quoted(t.CA) + ": no PEM certificate in it")
		}
	}
	if t.Cert != "" {
		pair, err := tls.LoadX509KeyPair(resolve(dir, t.Cert), resolve(dir, t.Key))
		if err != nil {
			return nil, fmt.Errorf("cannot use cert and key: %w", err)
		}
		c.Certificates = []tls.Certificate{pair}
	}
	return c, nil
}

func resolve(dir, path string) string {
	if filepath.IsAbs(path) {
		return path
	}
	return filepath.Join(dir, path)
}
