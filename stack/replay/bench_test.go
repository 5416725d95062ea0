package replay_test

import (
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"millrace/schema"
	"millrace/stack/replay"
)

// BenchmarkEvents replaces all rows of two weeks, while somebody else counts them again and
// again: how fast, and for how long they see rows beside those that replace them.
func BenchmarkEvents(b *testing.B) {
	const rows = 100_000
	for b.Loop() {
		b.StopTimer()
		w := newWorld(b)
		all := make([]string, 25_000)
		for partition := range uint16(rows / len(all)) {
			for n := range all {
				all[n] = frame(n)
			}
			w.ingest(w.reading(wrong, "UTC"), partition, all)
		}
		o := replay.EventOptions{Options: replay.Options{Config: w.reading(right, "UTC"), Insert: true}, Kind: schema.Message, Since: wednesday}
		var over atomic.Int64 // the longest time in which a reader saw too many
		stop, stopped := make(chan struct{}), make(chan struct{})
		go func() {
			defer close(stopped)
			var since time.Time
			for {
				select {
				case <-stop:
					return
				default:
				}
				asked := time.Now()
				switch n := w.value("SELECT count() FROM DB.message_events"); {
				case n == fmt.Sprint(rows):
					since = time.Time{}
				case since.IsZero():
					since = asked
				default:
					over.Store(max(over.Load(), int64(time.Since(since))))
				}
			}
		}()
		b.StartTimer()
		r, err := replay.Events(b.Context(), o)
		b.StopTimer()
		close(stop)
		<-stopped
		if err != nil || r.Replaced != rows {
			b.Fatal(r, err)
		}
		b.ReportMetric(time.Duration(over.Load()).Seconds(), "s/twice")
		b.StartTimer()
	}
	b.ReportMetric(float64(rows*b.N)/b.Elapsed().Seconds(), "rows/s")
}
