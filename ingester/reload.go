package ingester

import (
	"fmt"

	"millrace/ingester/format"
	"millrace/ingester/qmail"
	"millrace/ingester/transport"
	"millrace/internal/config"
	"millrace/schema"
)

// planned is what a listener takes from the configuration and a Reload can change.
type planned struct {
	rules     *rules
	listening transport.Options // Network, and Allow, AllowAny, ProxyFrom, TLS
	rejects   config.RejectLimit
	expires   int64 // when the certificate does, in Unix seconds; 0: there is none
}

// plan compiles the formats and reads the certificates of all listeners. It changes
// nothing; errors name the key and its place in the file.
func plan(cfg *config.Config) ([]planned, error) {
	formats, err := CompileFormats(cfg)
	if err != nil {
		return nil, err
	}
	plans := make([]planned, len(cfg.Listeners))
	for i := range plans {
		l, p := &cfg.Listeners[i], &plans[i]
		p.rules = rulesOf(l, formats[i].Set, formats[i].Logs)
		p.rules.reports = reportsOf(cfg, l)
		p.rejects = l.RejectLimit
		p.listening = transport.Options{Network: l.Address.Network, Allow: l.Allow.Prefixes, AllowAny: l.Allow.Any, ProxyFrom: l.ProxyFrom, Ordered: len(formats[i].Logs) > 0}
		if l.TLS.Cert == "" {
			continue
		}
		c, err := l.TLS.Load()
		if err != nil {
			return nil, cfg.Wrong(fmt.Sprintf("listeners[%d].tls", i), err)
		}
		p.listening.TLS = &transport.TLS{Config: c, ClientNames: l.TLS.ClientNames, HandshakeTimeout: l.TLS.HandshakeTimeout}
		p.expires = config.Expiry(c).Unix()
	}
	return plans, nil
}

// rulesOf are a listener's.
func rulesOf(l *config.Listener, formats *format.Set, logs []string) *rules {
	r := &rules{direction: schema.Padded(l.Direction), formats: formats, logs: logs, zone: l.TimeZone, raw: l.Raw}
	r.log = qmail.Options{Zone: l.TimeZone, Port: uint16(l.SMTPPort), Timeout: l.GroupTimeout}
	if l.Direction != "unknown" {
		r.log.Direction = l.Direction
	}
	return r
}

// follow makes the frames to come follow a plan.
func (in *input) follow(p planned) {
	in.rules.Store(p.rules)
	in.rejects.set(p.rejects)
	in.expires.Store(p.expires)
}

// Reload takes over from cfg, which has been checked, what can change while frames come:
// of each listener that has kept its name and address, its formats and how their values
// are read, its reject limit, its allow-list, its load balancers and its certificates. One
// with another address waits for the restart: who may write to loopback was said for
// loopback, and the socket is still where it was. Connections whose sender may not send any
// more are closed, others go on. An error has changed nothing.
func (in *Ingester) Reload(cfg *config.Config) error {
	plans, err := plan(cfg)
	if err != nil {
		return err
	}
	for i := range cfg.Listeners {
		for j, input := range in.inputs {
			if l := &cfg.Listeners[i]; l.Name == string(input.name) && l.Address == in.cfg.Listeners[j].Address {
				input.follow(plans[i])
				in.listeners[j].Reload(plans[i].listening)
			}
		}
	}
	return nil
}
