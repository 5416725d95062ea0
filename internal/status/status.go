package status

import "time"

// Status is one daemon's answer.
type Status struct {
	Daemon  string    `json:"daemon"` // up, ingest, transform
	Version string    `json:"version"`
	Commit  string    `json:"commit"`
	Now     time.Time `json:"now"`
	Started time.Time `json:"started"`
	Ready   bool      `json:"ready"`
	Waiting []Waiting `json:"waiting,omitempty"` // why it is not ready

	Listeners      []Listener   `json:"listeners,omitempty"`
	FilteringHosts *Senders     `json:"filtering_hosts,omitempty"`
	Publisher      *Publisher   `json:"publisher,omitempty"`
	Transformer    *Transformer `json:"transformer,omitempty"`
}

// Waiting is one condition that does not hold.
type Waiting struct {
	For    string `json:"for"`
	Reason string `json:"reason"`
}

// Listener is the account of one listener and of who sends to it.
type Listener struct {
	Name          string            `json:"name"`
	Address       string            `json:"address"`
	Received      uint64            `json:"received"`
	Published     uint64            `json:"published"`
	Joined        uint64            `json:"joined"`   // lines in an event that another line counts for
	Rejected      map[string]uint64 `json:"rejected"` // by reason
	Dropped       map[string]uint64 `json:"dropped"`  // by reason
	InFlight      int64             `json:"in_flight"`
	Closes        bool              `json:"closes"` // received = published + joined + rejected + dropped + in flight
	Bytes         uint64            `json:"bytes"`
	Connections   int64             `json:"connections"`
	ReceiveBuffer int64             `json:"receive_buffer,omitempty"`
	LastEvent     time.Time         `json:"last_event,omitzero"`
	Peers         Senders           `json:"peers"`
}

// Senders are those with the highest rate; the others are summed.
type Senders struct {
	Known  int      `json:"known"`            // in the table
	Gone   uint64   `json:"gone"`             // how often the longest silent one made room for another
	Shown  []Sender `json:"shown"`            //
	Others *Counts  `json:"others,omitempty"` // those not shown, and those gone
}

// Counts are what a sender has sent.
type Counts struct {
	Frames  uint64 `json:"frames"`
	Rejects uint64 `json:"rejects"`
	Dropped uint64 `json:"dropped"`
	Bytes   uint64 `json:"bytes"`
}

// Sender is a peer or a filtering host.
type Sender struct {
	Name           string `json:"name"`
	FilteringHost  string `json:"filtering_host,omitempty"`         // of a peer, if its events name one
	SeveralHosts   bool   `json:"several_filtering_hosts,omitzero"` // of a peer: FilteringHost is the first
	RejectsUnknown bool   `json:"rejects_unknown,omitzero"`         // rejects cannot be told to be this filtering host's
	Counts
	First     time.Time `json:"first_event"`
	Last      time.Time `json:"last_event"`
	Rate      float64   `json:"rate"`                   // frames a second, over about a minute
	RateSince float64   `json:"rate_since_first_event"` // frames a second
	Skew      *float64  `json:"clock_skew_seconds,omitempty"`
	Samples   uint64    `json:"clock_samples"`
}

// Publisher is the ingester's side of Kafka.
type Publisher struct {
	Error              string `json:"error,omitempty"` // why Kafka takes nothing
	BufferedBytes      int64  `json:"buffered_bytes"`
	BufferLimitBytes   int64  `json:"buffer_limit_bytes"`
	Batches            uint64 `json:"batches"`
	Retries            uint64 `json:"retries"`
	PossibleDuplicates uint64 `json:"possible_duplicates"`
}

// Transformer is the way from Kafka to ClickHouse.
type Transformer struct {
	Tables         []Table  `json:"tables"`
	Blocked        []string `json:"blocked,omitempty"` // partitions whose block ClickHouse refuses
	BufferedBytes  int64    `json:"buffered_bytes"`
	Inserts        uint64   `json:"inserts"`
	InsertErrors   uint64   `json:"insert_errors"`
	RefusedRecords uint64   `json:"refused_records"`
	LostRecords    uint64   `json:"lost_records"`
}

// Table is what went into one table, and how far it is behind its topic.
type Table struct {
	Name       string `json:"name"`
	Rows       uint64 `json:"rows"` // inserted by this process
	Lag        int64  `json:"lag"`  // records of its topic that are not in ClickHouse
	Partitions int    `json:"partitions"`
}
