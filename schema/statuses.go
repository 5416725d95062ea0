package schema

import (
	"fmt"
	"strings"
)

// StatusWord is a value of status_norm.
type StatusWord struct {
	Word  string
	Final bool // nothing happens to the message behind it, but by hand
	Doc   string
}

// Statuses are the words that are known; a filter may write others. Where two events of a
// message have the same time, the one whose word stands further down is the later one: a
// final status is above all that are not.
var Statuses = []StatusWord{
	{"queued", false, "waits for its delivery, or for the next try"},
	{"temporarily-rejected", false, "refused with 4xx: its sender tries again"},
	{"queue-frozen", false, "waits, and is not tried any more"},
	{"quarantined", false, "kept in the quarantine"},
	{"accepted", false, "taken over with 2xx"},
	{"released", false, "taken out of the quarantine by somebody, to be delivered"},
	{"auto-released", false, "taken out of the quarantine by a rule, to be delivered"},
	{"not-accepted", true, "not taken over"},
	{"rejected", true, "refused with 5xx"},
	{"delivery-failed", true, "refused by the destination"},
	{"queue-expired", true, "was in the queue for too long"},
	{"queue-removed", true, "removed from the queue"},
	{"queue-bounced", true, "bounced out of the queue"},
	{"quarantine-expired", true, "was in the quarantine for too long"},
	{"quarantine-removed", true, "removed from the quarantine"},
	{"blackholed", true, "taken over and thrown away"},
	{"bounced", true, "sent back to its sender"},
	{"delivered", true, "taken over by the destination"},
}

// statusRank is SQL for the rank of a status: its place in Statuses, 0 for another word.
func statusRank(column string) string {
	words, ranks := make([]string, len(Statuses)), make([]string, len(Statuses))
	for i, s := range Statuses {
		words[i], ranks[i] = "'"+s.Word+"'", fmt.Sprint(i+1)
	}
	return fmt.Sprintf("transform(toString(%s), [%s], [%s], 0)", column, strings.Join(words, ", "), strings.Join(ranks, ", "))
}

// orderOf is SQL for an event's place in the life of its message: (event_time, rank of the
// status, received_at, topic, epoch, partition, offset) in one number of 193 bits, whose
// parts have 44, 8, 44, 1, 16, 16 and 64. A comparison of tuples would cost ten times as
// much. Times are counted from 1830 on, so that none is negative.
func orderOf(topic int) string {
	return fmt.Sprintf("((toInt256((toUnixTimestamp64Milli(event_time) + %[1]d) * 256 + %[2]s) * 35184372088832 + ((toUnixTimestamp64Milli(received_at) + %[1]d) * 2 + %[3]d)) * 4294967296 + (k_epoch * 65536 + k_part)) * 4294967296 * 4294967296 + k_off",
		1<<42, statusRank("status_norm"), topic)
}
