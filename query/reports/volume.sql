-- title: Mail by hour or day
-- description: How much came in which hour, in which direction, and what the filter did with it. Hours and days are those of --tz.
-- param: since DateTime('UTC') = -24h | messages of this time and later
-- param: until DateTime('UTC') = now | and before this
-- param: domain String = | only these domains, with commas; empty: all
-- param: direction String = | incoming, outgoing, unknown, with commas; empty: all
-- param: class String = | only these classes, with commas, in any spelling, or groups: accepted, rejected, temporarily-rejected, quarantined; empty: all
-- choice: group_by = hour, day | how long a row is
-- param: tz String = UTC | zone of the times
-- param: limit UInt32 = 1000 | rows
WITH
    wanted AS
    (
        SELECT arrayJoin(splitByChar(',', {class:String})) AS word
        UNION DISTINCT
        SELECT class FROM classes WHERE has(splitByChar(',', {class:String}), word)
    )
SELECT
    if({group_by:String} = 'hour', toStartOfHour(toTimeZone(id_time, {tz:String})), toStartOfDay(toTimeZone(id_time, {tz:String}))) AS begins,
    count() AS messages,
    countIf(direction = 'incoming') AS incoming,
    countIf(direction = 'outgoing') AS outgoing,
    countIf(direction NOT IN ('incoming', 'outgoing')) AS unknown,
    countIf(class_group = 'accepted') AS accepted,
    countIf(class_group = 'rejected') AS rejected,
    countIf(class_group = 'temporarily-rejected') AS temporarily_rejected,
    countIf(class_group = 'quarantined') AS quarantined,
    sum(incoming_size) AS bytes
FROM messages
WHERE id_time >= {since:DateTime('UTC')} AND id_time < {until:DateTime('UTC')}
    AND has_message AND ({domain:String} = '' OR domain IN splitByChar(',', {domain:String}))
    AND ({direction:String} = '' OR has(splitByChar(',', {direction:String}), direction))
    AND ({class:String} = '' OR class_norm IN (wanted) OR class_group IN (wanted))
GROUP BY begins
ORDER BY begins
LIMIT {limit:UInt32}
