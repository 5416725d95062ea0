-- title: What became of a message of a qmail server, by EPOCH and PID of its "250 ok EPOCH qp PID"
-- param: epoch UInt32 = 0 | EPOCH; 0: any
-- param: qp UInt64 = 0 | PID
-- param: limit UInt32 = 1000 | how many events
WITH
    found AS (SELECT * FROM message_trail WHERE qp = {qp:UInt64} AND qp != 0 AND kind IN ('smtp', 'spamdyke') AND ({epoch:UInt32} = 0 OR toUInt32(qmail_time) = {epoch:UInt32})),
    (SELECT (min(qmail_time), max(qmail_time)) FROM found) AS span
SELECT event_time, kind, link, host, sender, recipients, client, what
FROM
(
    SELECT 'qp' AS link, * FROM found
    UNION ALL
    -- qmail-send's own lines have the PID alone, which is used again: with it the time must fit.
    SELECT if(t.qp = {qp:UInt64}, 'qp', 'inferred'), t.*
    FROM message_trail AS t
    WHERE t.event_time BETWEEN tupleElement(span, 1) - toIntervalMinute(30) AND tupleElement(span, 2) + toIntervalDay(7)
        AND (t.kind = 'delivery' AND t.qp = {qp:UInt64}
            OR t.kind IN ('delivery', 'message') AND t.qp = 0 AND t.sender IN (SELECT sender FROM found)
                AND hasAny(t.recipients, (SELECT groupUniqArrayArray(recipients) FROM found)))
)
ORDER BY event_time, indexOf(['spamdyke', 'smtp', 'delivery', 'message', 'status', 'quarantine', 'feedback'], kind)
LIMIT {limit:UInt32}
