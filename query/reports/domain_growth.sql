-- title: Domains whose mail grew most
-- description: Messages of each domain in the period, and in the time of the same length before it.
-- param: since DateTime('UTC') = -24h | messages of this time and later
-- param: until DateTime('UTC') = now | and before this
-- param: domain String = | only these domains, with commas; empty: all
-- param: direction String = | incoming, outgoing, unknown, with commas; empty: all
-- param: class String = | only these classes, with commas, in any spelling, or groups: accepted, rejected, temporarily-rejected, quarantined; empty: all
-- param: tz String = UTC | zone of the times
-- param: limit UInt32 = 100 | rows
WITH
    wanted AS
    (
        SELECT arrayJoin(splitByChar(',', {class:String})) AS word
        UNION DISTINCT
        SELECT class FROM classes WHERE has(splitByChar(',', {class:String}), word)
    ),
    toDateTime(greatest(0, 2 * toInt64(toUnixTimestamp({since:DateTime('UTC')})) - toInt64(toUnixTimestamp({until:DateTime('UTC')}))), 'UTC') AS start
SELECT
    domain,
    countIf(id_time >= {since:DateTime('UTC')}) AS messages,
    countIf(id_time < {since:DateTime('UTC')}) AS before,
    toInt64(messages) - toInt64(before) AS growth,
    if(before = 0, 0, round(messages / before, 2)) AS times,
    countIf(id_time >= {since:DateTime('UTC')} AND class_group != 'accepted') AS not_accepted,
    sumIf(incoming_size, id_time >= {since:DateTime('UTC')}) AS bytes,
    toTimeZone(max(last_time), {tz:String}) AS last
FROM messages
WHERE id_time >= start AND id_time < {until:DateTime('UTC')}
    AND has_message AND ({domain:String} = '' OR domain IN splitByChar(',', {domain:String}))
    AND ({direction:String} = '' OR has(splitByChar(',', {direction:String}), direction))
    AND ({class:String} = '' OR class_norm IN (wanted) OR class_group IN (wanted))
GROUP BY domain
ORDER BY growth DESC, domain
LIMIT {limit:UInt32}
