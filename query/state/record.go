package state

import (
	"encoding/json"
	"errors"
	"fmt"
	"time"
)

// envelope is the value of a record. Its fields keep their meaning in all versions; what
// is in State may grow.
type envelope struct {
	V      int             `json:"v"`
	ID     string          `json:"id"` // of this record: a copy that a retry made has the same
	At     time.Time       `json:"at"`
	By     string          `json:"by"`
	How    string          `json:"how"`
	Action string          `json:"action"`
	Why    string          `json:"why,omitempty"`
	State  json.RawMessage `json:"state,omitempty"`

	// Since is the condition: no effect if the key has changed at this offset or later.
	// nil: none.
	Since *Version `json:"since,omitempty"`
	// Term is the writer's; 0: it acts for a person.
	Term int64 `json:"term,omitempty"`
	// Removed: the key is no more. A tombstone follows.
	Removed bool `json:"removed,omitempty"`
	// Repair: the state that held before a record without effect, again.
	Repair bool `json:"repair,omitempty"`
}

const envelopeVersion = 1

func decodeEnvelope(value []byte) (*envelope, error) {
	e := new(envelope)
	if err := json.Unmarshal(value, e); err != nil {
		return nil, fmt.Errorf("cannot read a record of state: %w", err)
	}
	if e.V < envelopeVersion || e.ID == "" {
		return nil, errors.New("cannot read a record of state: it has no version or no id")
	}
	return e, nil
}

func (e *envelope) mark(at Version) Mark {
	return Mark{Version: at, At: e.At, Actor: e.By, How: e.How, Action: e.Action, Reason: e.Why}
}

// Effect is what a record came to.
type Effect string

// Effects.
const (
	Applied    Effect = "applied"
	Repaired   Effect = "repaired"   // what holds was said again: nothing is different
	Conflict   Effect = "conflict"   // the key had changed since its author looked
	Fenced     Effect = "fenced"     // a later term had begun
	Duplicate  Effect = "duplicate"  // a second copy
	Forgotten  Effect = "forgotten"  // a tombstone after a removal
	Unreadable Effect = "unreadable" // of a newer version, or not ours
)

// Record is one record of the log and what it came to.
type Record struct {
	Offset int64
	Key    Key
	Mark   Mark
	ID     string
	Term   int64
	Effect Effect

	old, new *entry
}

// States are those of the key before and after, in JSON and without secrets; nil: none, or
// one that only a newer version knows.
func (r Record) States() (before, after json.RawMessage) { return r.old.text(), r.new.text() }

// text is the state of e in JSON, as it may be copied.
func (e *entry) text() json.RawMessage {
	if e == nil || e.env.Removed || e.value == nil {
		return nil
	}
	text, err := json.Marshal(e.public(e.value))
	if err != nil {
		return nil
	}
	return text
}
