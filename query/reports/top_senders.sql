-- title: Top senders
-- param: hours UInt32 = 24 | how far back, in hours
-- param: limit UInt32 = 10 | how many
SELECT
    if(sender = '', '<>', sender) AS sender, -- bounces: the null sender, as SMTP writes it
    count() AS messages,
    uniqExact(recipient) AS recipients,
    sum(incoming_size) AS bytes,
    max(event_time) AS last
FROM message_events
WHERE received_at > now() - toIntervalHour({hours:UInt32})
GROUP BY sender
ORDER BY messages DESC, sender
LIMIT {limit:UInt32}
