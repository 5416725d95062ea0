-- title: Events by status
-- param: hours UInt32 = 24 | how far back, in hours
SELECT kind, status, count() AS events, max(event_time) AS last
FROM
(
    SELECT 'message' AS kind, status_norm AS status, event_time, received_at FROM message_events
    UNION ALL
    SELECT 'status', status_norm, event_time, received_at FROM status_events
    UNION ALL
    SELECT 'reject', reason, event_time, received_at FROM rejects
)
WHERE received_at > now() - toIntervalHour({hours:UInt32})
GROUP BY kind, status
ORDER BY events DESC, kind, status
