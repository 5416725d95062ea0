package cmd

import (
	"testing"

	"millrace/internal/embedded/embeddedtest"
)

// A past is made up, and counted.
func TestGenerate_Direct(t *testing.T) {
	t.Parallel()
	database := embeddedtest.Database(t)
	path := configured(t, database, "x")
	execute(t, "", "schema", "apply", "--config", path).contains(t, 0, "message_events")
	execute(t, "", "generate", "--direct", "2000", "--days", "3", "--domains", "20", "--config", path).contains(t, 0, "made up 2000 messages in ")
	execute(t, "", "schema", "count", "--config", path).contains(t, 0, "messages_hourly: ", "senders_hourly: ", " events counted\n")
	var messages, counted, senders uint64
	if err := embeddedtest.Connect(t, database).QueryRow(t.Context(), "SELECT (SELECT count() FROM messages), (SELECT sum(messages) FROM messages_hourly), (SELECT sum(messages) FROM senders_hourly)").Scan(&messages, &counted, &senders); err != nil {
		t.Fatal(err)
	}
	if messages != 2000 || counted != 2000 || senders != 2000 {
		t.Errorf("%d messages, of which %d and %d are counted", messages, counted, senders)
	}
	execute(t, "", "generate", "--direct", "5", "--rate", "7").contains(t, 2, "--rate is for frames that are sent, not for --direct")
	execute(t, "", "generate", "--days", "7").contains(t, 2, "--days is for --direct")
	execute(t, "", "generate", "--direct", "5", "--days", "0", "--config", path).contains(t, 1, "cannot make 0 days up: allowed 1 to 3650")
}
