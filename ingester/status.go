package ingester

import (
	"net/netip"
	"time"

	"millrace/ingester/peers"
	"millrace/internal/status"
	"millrace/schema"
)

// Status fills what the ingester knows: its listeners, who sends, its side of Kafka.
func (in *Ingester) Status(s *status.Status) {
	now := time.Now().UnixMilli()
	alone := map[string]bool{} // filtering hosts that a peer of their own sends for
	for i, input := range in.every() {
		a, t, address := input.ledger.settled(), input.ledger.transport, "files"
		if i < len(in.listeners) {
			address = in.cfg.Listeners[i].Address.Network + "://" + in.listeners[i].Addr().String()
		}
		l := status.Listener{
			Name: string(input.name), Address: address,
			Received: a.Received, Published: a.Published, Joined: a.Joined, Rejected: byWord(a.Rejected), Dropped: byWord(a.Dropped), InFlight: a.InFlight, Closes: a.Closes(),
			Bytes: t.Bytes.Load(), Connections: t.Open.Load(), ReceiveBuffer: t.ReceiveBuffer.Load(),
			LastEvent: moment(input.ledger.lastTook.Load()),
		}
		r := input.peers.Read(now)
		for _, p := range r.Senders {
			if p.Host != "" && !p.Several {
				alone[p.Host] = true
			}
		}
		if i < len(in.listeners) {
			l.Peers = senders(r, now, peerName)
		}
		s.Listeners = append(s.Listeners, l)
	}
	r := in.hosts.Read(now)
	hosts := senders(r, now, func(key string) string { return key })
	for i, h := range r.Senders {
		hosts.Shown[i].RejectsUnknown = !h.Named && !alone[h.Key]
	}
	s.FilteringHosts = &hosts

	stats := in.publisher.Stats()
	used, limit := in.publisher.Buffered()
	s.Publisher = &status.Publisher{
		BufferedBytes: int64(used), BufferLimitBytes: int64(limit), Batches: stats.Batches.Load(),
		Retries: stats.Retries.Load(), PossibleDuplicates: stats.PossibleDuplicates.Load(),
	}
	if err := in.State(); err != nil {
		s.Publisher.Error = err.Error()
	}
}

// settled is a reading at a moment at which no frame is being handed from one count to
// the next, if there is one soon.
func (l *ledger) settled() (a Account) {
	for range 100 {
		if a = l.read(); a.Closes() {
			break
		}
	}
	return a
}

func senders(r peers.Reading, now int64, name func(key string) string) status.Senders {
	all := status.Senders{Known: len(r.Senders), Gone: r.Evicted, Shown: make([]status.Sender, len(r.Senders))}
	for i, p := range r.Senders {
		s := status.Sender{
			Name: name(p.Key), FilteringHost: p.Host, SeveralHosts: p.Several, Counts: status.Counts(p.Counts),
			First: moment(p.First), Last: moment(p.Last), Rate: p.Rate, Samples: p.Samples,
			RateSince: float64(p.Frames) / (float64(max(now-p.First, 1000)) / 1000),
		}
		if p.Samples > 0 {
			s.Skew = &p.Skew
		}
		all.Shown[i] = s
	}
	if r.Gone != (peers.Counts{}) {
		all.Others = (*status.Counts)(&r.Gone)
	}
	return all
}

// peerName is the address of a peer; a Unix socket's has none.
func peerName(key string) string {
	a := netip.AddrFrom16([16]byte([]byte(key)))
	if a.IsUnspecified() {
		return "local"
	}
	return a.Unmap().String()
}

func byWord(counts map[schema.Reason]uint64) map[string]uint64 {
	m := map[string]uint64{}
	for r, n := range counts {
		m[string(r)] = n
	}
	return m
}

func moment(millis int64) time.Time {
	if millis == 0 {
		return time.Time{}
	}
	return time.UnixMilli(millis).UTC()
}
