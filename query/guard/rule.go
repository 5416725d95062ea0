package guard

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"millrace/internal/config"
	"millrace/internal/sqltext"
	"millrace/query"
	"millrace/schema"
)

// Rule is a rule of the configuration with its words resolved.
type Rule struct {
	config.Rule
	classes, groups []string
	never           never
	views           schema.ViewSettings
}

// NewRule resolves the words of a rule that the configuration has checked.
func NewRule(cfg *config.Config, r config.Rule) Rule {
	classes, groups, _ := cfg.RuleClasses(&r)
	return Rule{Rule: r, classes: classes, groups: groups, never: newNever(r.Never), views: schema.ViewSettings{Classes: cfg.ClassTable()}}
}

const (
	// maxSubjects are looked at in a round: of more, those with the greatest counts.
	maxSubjects = 10_000
	// skew is how much an event's own time may be after the one it was received at: clocks
	// differ. What is further ahead counts when its time has come.
	skew = time.Hour
	// reportAge is how old the message of an abuse report may be.
	reportAge = 7 * 24 * time.Hour
)

// crossing is something that a rule counts by, and is at its threshold or above.
type crossing struct {
	Domain  string `json:"domain"`
	User    string `json:"user"`
	Method  string `json:"method"` // identification method that the subject is of
	Subject string `json:"subject"`
	Count   uint64 `json:"most"`
	Newest  int64  `json:"newest"` // when the newest was received that counted, in milliseconds
	Last    int64  `json:"last"`   // event time of the last one
}

// address is SQL for an address's text as people write it.
func address(column string) string { return "replaceOne(toString(" + column + "), '::ffff:', '')" }

// folded is SQL for a name in the form in which it is compared.
func folded(column string) string {
	return "if(position(" + column + ", '@') > 0, lower(" + column + "), " + column + ")"
}

// messages is SQL for what messages count. Classes alone need the events of messages;
// groups, which statuses decide too, need their state: the view, of what was received of
// late.
func (r *Rule) messages(database string) string {
	const received = "received_at >= fromUnixTimestamp64Milli({received:Int64})"
	if len(r.groups) == 0 {
		return `SELECT argMin((domain, auth_user, sender, identity, ` + address("sender_ip") + `, received_at), event_time) AS e, min(event_time) AS at, toUInt64(1) AS weight
        FROM ` + schema.QuoteName(database) + "." + schema.QuoteName(schema.Message.Table) + `
        WHERE ` + received + ` AND event_time >= fromUnixTimestamp64Milli({since:Int64}) AND event_time < fromUnixTimestamp64Milli({until:Int64})
            AND (auth_user != '' OR identity != '' OR direction = 'outgoing') AND class_norm IN ({classes:Array(String)})
        GROUP BY k_topic, k_epoch, k_part, k_off`
	}
	return `SELECT (domain, auth_user, sender, identity, ` + address("sender_ip") + `, last_time) AS e, first_time AS at, toUInt64(1) AS weight
        FROM
        (
            ` + schema.Messages.Where(r.views, database, received) + `
        )
        WHERE has_message AND direction = 'outgoing' AND (class_norm IN ({classes:Array(String)}) OR class_group IN ({groups:Array(String)}))
            AND first_time >= fromUnixTimestamp64Milli({since:Int64}) AND first_time < fromUnixTimestamp64Milli({until:Int64})`
}

// reports is SQL for what abuse reports count: at the time they came, as what the message
// with their id says, or they themselves.
func (r *Rule) reports(database string) string {
	table := schema.QuoteName(database) + "." + schema.QuoteName(schema.Feedback.Table)
	recent := "received_at >= fromUnixTimestamp64Milli({since:Int64}) AND event_time >= fromUnixTimestamp64Milli({reported:Int64}) AND feedback_type IN ('abuse', 'fraud', 'virus')"
	return `SELECT (if(m.id != '', m.m_domain, r.domain), multiIf(m.m_user != '', m.m_user, r.auth_user != '', r.auth_user, r.filter_username),
                if(m.m_sender != '', m.m_sender, r.sender), m.m_identity, r.ip, r.received_at) AS e, r.received_at AS at, toUInt64({feedback:UInt64} * r.times) AS weight
        FROM
        (
            SELECT id, domain, auth_user, filter_username, sender, ` + address("source_ip") + ` AS ip, received_at, least(greatest(incidents, 1), 1000) AS times,
                match(user_agent, '^(?i)(spamexperts|spampanel)') AS own
            FROM ` + table + `
            WHERE ` + recent + `
        ) AS r
        LEFT JOIN
        (
            SELECT id, any(domain) AS m_domain, any(auth_user) AS m_user, any(sender) AS m_sender, any(identity) AS m_identity
            FROM ` + schema.QuoteName(database) + "." + schema.QuoteName(schema.Message.Table) + `
            WHERE id IN (SELECT id FROM ` + table + ` WHERE ` + recent + ` AND id != '')
                AND received_at >= fromUnixTimestamp64Milli({reported:Int64}) - toIntervalDay(1)
            GROUP BY id
        ) AS m ON r.id = m.id
        WHERE NOT (r.own AND m.id != '')`
}

// statement is the one query of a round.
func (r *Rule) statement(database string, now time.Time) query.Statement {
	var legs []string
	if len(r.classes)+len(r.groups) > 0 {
		legs = append(legs, r.messages(database))
	}
	if r.Feedback > 0 {
		legs = append(legs, r.reports(database))
	}
	user, subjects := folded("e.2"), ""
	switch r.Per {
	case config.PerIdentity:
		subjects = "('sender', lower(e.3)), ('auth-user', " + folded("e.2") + "), ('header', " + folded("e.4") + ")"
	case config.PerAuthUser:
		subjects = "('', " + folded("e.2") + ")"
	case config.PerSender:
		subjects = "('', lower(e.3))"
	case config.PerIP:
		user, subjects = "''", "('', if(e.5 = '::', '', e.5))"
	}
	sql := `SELECT domain, user, k.1 AS method, k.2 AS subject, max(n) AS most,
    toUnixTimestamp64Milli(maxIf(newest_at, n >= {count:UInt64})) AS newest, max(ms) AS last
FROM
(
    SELECT domain, user, k, ms, sum(weight) OVER w AS n, max(received) OVER w AS newest_at
    FROM
    (
        SELECT e.1 AS domain, ` + user + ` AS user, arrayJoin([` + subjects + `]) AS k, toUnixTimestamp64Milli(at) AS ms, e.6 AS received, weight
        FROM
        (
        ` + strings.Join(legs, "\n        UNION ALL\n        ") + `
        )
        WHERE NOT arrayExists(p -> isIPAddressInRange(e.5, p), {networks:Array(String)})
    )
    WHERE domain != '' AND k.2 != ''
    WINDOW w AS (PARTITION BY domain, user, k ORDER BY ms RANGE BETWEEN {window:UInt32} PRECEDING AND CURRENT ROW)
)
GROUP BY domain, user, k
HAVING most >= {count:UInt64}
ORDER BY most DESC, domain, user, k
LIMIT {limit:UInt64}`
	since := now.Add(-r.Window - r.Late)
	ms := func(t time.Time) string { return fmt.Sprint(t.UnixMilli()) }
	return query.Statement{SQL: sql, Parameters: map[string]string{
		"since": ms(since), "until": ms(now.Add(skew)), "received": ms(since.Add(-skew)), "reported": ms(since.Add(-reportAge)),
		"classes": sqltext.Array(r.classes), "groups": sqltext.Array(r.groups), "networks": sqltext.Array(r.never.texts()),
		"count": fmt.Sprint(r.Count), "window": fmt.Sprint(r.Window.Milliseconds()), "feedback": fmt.Sprint(r.Feedback), "limit": fmt.Sprint(maxSubjects),
	}, Limits: query.Limits{Time: 30 * time.Second}}
}

// crossings asks ClickHouse. They are cut when there are more than a round looks at.
func (r *Rule) crossings(ctx context.Context, o query.Options, now time.Time) (list []crossing, cut bool, err error) {
	database := o.Database
	if database == "" {
		database = "millrace"
	}
	var out bytes.Buffer
	if _, err := query.RunStatement(ctx, o, r.statement(database, now), query.Output{To: &out, Format: query.JSON}); err != nil {
		return nil, false, fmt.Errorf("cannot ask what rule %q counts: %w", r.Name, err)
	}
	for d := json.NewDecoder(&out); d.More(); {
		var c crossing
		if err := d.Decode(&c); err != nil {
			return nil, false, fmt.Errorf("cannot read what rule %q counts: %w", r.Name, err)
		}
		list = append(list, c)
	}
	return list, len(list) == maxSubjects, nil
}
