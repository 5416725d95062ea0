package transformer

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"

	"millrace/schema"
)

// added is what a later version has more, laterMessage its kind of messages.
var (
	added        = schema.Field{Number: 200, Name: "queue", Type: schema.Text}
	laterMessage = schema.Message.With(added)
)

// addColumn does what the later version's migration would.
func (w *world) addColumn() {
	w.t.Helper()
	if err := w.conn.Exec(context.Background(), "ALTER TABLE "+w.database+".message_events ADD COLUMN "+added.Name+" "+added.Type.ClickHouse()); err != nil {
		w.t.Fatal(err)
	}
}

// produceBy sends n messages of the version that k is of, over all partitions. Those of the
// later one have a value in the new field, which tells whose event it is.
func (w *world) produceBy(k *schema.Kind, n int) {
	w.t.Helper()
	var records []*kgo.Record
	w.mutex.Lock()
	for range n {
		w.seq++
		id := fmt.Sprintf("message-%06d", w.seq)
		w.want[k.Table] = append(w.want[k.Table], id)
		e := event(k, id, w.seq)
		e.SetText(k.Index("sender"), []byte(id+"@example.com"))
		if i := k.Index(added.Name); i >= 0 {
			e.SetText(i, []byte("q-"+id))
		}
		records = append(records, w.record(k, int32(w.seq%partitions), schema.AppendRecord(nil, e)))
	}
	w.mutex.Unlock()
	w.send(records...)
}

// version makes a member one of the version that k is of.
func version(k *schema.Kind) func(*Options) {
	return func(o *Options) { o.Kinds = []*schema.Kind{k, schema.Status, schema.Reject} }
}

// allButAdded are the values of a row that both versions know.
const allButAdded = "id = concat(splitByChar('@', sender)[1]) AND domain = 'example.com' AND listener = 'test' AND k_topic = 'message'"

// Ingesters and transformers of two versions at once, in the order of an upgrade: the
// schema is first. Nothing is lost or doubled, whoever reads whose records, and who is
// killed; what only the later version knows is there where a later transformer has
// read it.
func TestVersions_SideBySide(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.addColumn()
	w.produceBy(schema.Message, 30)
	w.produceBy(laterMessage, 30)

	step, killed := killAt("half", 0) // an earlier one leaves a block that a later one finishes,
	w.start(version(schema.Message), step)
	<-killed
	later := w.start(version(laterMessage), nil)
	w.produceBy(schema.Message, 30)
	w.produceBy(laterMessage, 30)
	w.exactlyOnce()
	later.stop()

	w.produceBy(laterMessage, 30)
	w.produceBy(schema.Message, 30)
	step, killed = killAt("half", 0) // and a later one a block that an earlier one finishes
	w.start(version(laterMessage), step)
	<-killed
	earlier := w.start(version(schema.Message), nil)
	w.exactlyOnce()

	both := w.start(version(laterMessage), nil) // two versions in one group
	w.produceBy(laterMessage, 60)
	w.produceBy(schema.Message, 60)
	w.exactlyOnce()
	earlier.stop()
	from := w.seq
	w.produceBy(laterMessage, 60)
	w.produceBy(schema.Message, 60)
	w.exactlyOnce()
	both.stop()

	if n := w.count("SELECT countIf(NOT (" + allButAdded + ")) FROM DB.message_events"); n != 0 {
		t.Errorf("%d rows have other values than their events", n)
	}
	if n := w.count("SELECT countIf(queue NOT IN ('', concat('q-', id))) FROM DB.message_events"); n != 0 {
		t.Errorf("%d rows have another event's value", n)
	}
	for _, c := range []struct {
		whose, cond string
		want        int64
	}{{"later", "queue = concat('q-', id)", 60}, {"earlier", "queue = ''", 60}} {
		if n := w.count(fmt.Sprintf("SELECT countIf(%s) FROM DB.message_events WHERE id > 'message-%06d'", c.cond, from)); n != c.want {
			t.Errorf("read by later transformers alone, %d rows of %s ingesters are as they should, want %d", n, c.whose, c.want)
		}
	}
}

// A later transformer before its schema: events that have nothing in the new column are
// inserted; those that have wait for it, which is said, and come when it is there.
func TestVersions_SchemaComesLate(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	m := w.start(version(laterMessage), nil)
	w.produceBy(schema.Message, 30)
	w.exactlyOnce()
	w.produceBy(laterMessage, 30)
	w.eventually("the partitions say what they wait for", func() bool {
		blocked := m.State().Blocked
		return len(blocked) == partitions && strings.Contains(fmt.Sprint(blocked), added.Name)
	})
	if n := w.count("SELECT count() FROM DB.message_events"); n != 30 {
		t.Errorf("%d rows, want the 30 of before", n)
	}
	w.addColumn()
	w.exactlyOnce()
	if n := w.count("SELECT countIf(queue = concat('q-', id)) FROM DB.message_events"); n != 30 {
		t.Errorf("%d rows have their value, want 30", n)
	}
	w.eventually("none waits", func() bool { return len(m.State().Blocked) == 0 })
}
