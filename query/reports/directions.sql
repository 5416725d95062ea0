-- title: Totals by direction
-- description: One row for each direction. Unknown is mail of which neither the listener's direction nor a user or identity says which way it went.
-- param: since DateTime('UTC') = -24h | messages of this time and later
-- param: until DateTime('UTC') = now | and before this
-- param: domain String = | only these domains, with commas; empty: all
-- param: direction String = | incoming, outgoing, unknown, with commas; empty: all
-- param: class String = | only these classes, with commas, in any spelling, or groups: accepted, rejected, temporarily-rejected, quarantined; empty: all
-- param: tz String = UTC | zone of the times
WITH
    wanted AS
    (
        SELECT arrayJoin(splitByChar(',', {class:String})) AS word
        UNION DISTINCT
        SELECT class FROM classes WHERE has(splitByChar(',', {class:String}), word)
    )
SELECT
    if(direction IN ('incoming', 'outgoing'), direction, 'unknown') AS way,
    count() AS messages,
    countIf(class_group = 'accepted') AS accepted,
    countIf(class_group = 'rejected') AS rejected,
    countIf(class_group = 'temporarily-rejected') AS temporarily_rejected,
    countIf(class_group = 'quarantined') AS quarantined,
    sum(incoming_size) AS bytes,
    uniqExact(domain) AS domains,
    uniqExact(lower(sender)) AS senders,
    uniqExact(lower(recipient)) AS recipients,
    toTimeZone(max(last_time), {tz:String}) AS last
FROM messages
WHERE id_time >= {since:DateTime('UTC')} AND id_time < {until:DateTime('UTC')}
    AND has_message AND ({domain:String} = '' OR domain IN splitByChar(',', {domain:String}))
    AND ({direction:String} = '' OR has(splitByChar(',', {direction:String}), direction))
    AND ({class:String} = '' OR class_norm IN (wanted) OR class_group IN (wanted))
GROUP BY way
ORDER BY way
