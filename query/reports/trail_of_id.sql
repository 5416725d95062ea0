-- title: What became of a message of the filter, by its id
-- param: id String = - | Exim's id, as in message_events
-- param: limit UInt32 = 1000 | how many events
WITH
    found AS (SELECT * FROM message_trail WHERE id = {id:String} AND id != ''),
    (SELECT (min(event_time), max(event_time)) FROM found) AS span
SELECT event_time, kind, link, host, sender, recipients, client, what
FROM
(
    SELECT 'id' AS link, * FROM found
    UNION ALL
    -- The server's logs have no id of the filter: the same sender and recipient at that time.
    SELECT 'inferred', t.*
    FROM message_trail AS t
    WHERE t.kind IN ('smtp', 'spamdyke', 'delivery')
        AND t.event_time BETWEEN tupleElement(span, 1) - toIntervalMinute(30) AND tupleElement(span, 2) + toIntervalDay(1)
        AND t.sender IN (SELECT sender FROM found WHERE kind = 'message')
        AND hasAny(t.recipients, (SELECT groupUniqArrayArray(recipients) FROM found))
)
ORDER BY event_time, indexOf(['spamdyke', 'smtp', 'delivery', 'message', 'status', 'quarantine', 'feedback'], kind)
LIMIT {limit:UInt32}
