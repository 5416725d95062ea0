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
