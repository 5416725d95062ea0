package ingester

import (
	"sync"
	"time"

	"millrace/ingester/qmail"
)

// Bounds of what is remembered of logs that stood somewhere before: how many, and of how
// many deliveries that will be tried again.
const (
	maxRotated      = 256
	rotatedDeferred = 1 << 14
)

// rotated knows, by place, which deliveries the logs there have deferred: the log that
// stands there after a rotation tells of the next tries.
type rotated struct {
	mu     sync.Mutex
	places map[string]*rotatedLog
}

type rotatedLog struct {
	deferred *qmail.Deferred
	asked    time.Time
}

// of is what is known at a place: of a program's lines in a file.
func (r *rotated) of(place string) *qmail.Deferred {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.places == nil {
		r.places = map[string]*rotatedLog{}
	}
	log := r.places[place]
	if log == nil {
		if len(r.places) == maxRotated {
			r.forget()
		}
		log = &rotatedLog{deferred: qmail.NewDeferred(rotatedDeferred)}
		r.places[place] = log
	}
	log.asked = time.Now()
	return log.deferred
}

// forget forgets the place that nobody has asked about for longest.
func (r *rotated) forget() {
	oldest := ""
	for place, log := range r.places {
		if oldest == "" || log.asked.Before(r.places[oldest].asked) {
			oldest = place
		}
	}
	delete(r.places, oldest)
}
