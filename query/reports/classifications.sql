-- title: Why the filter did what it did: messages by class
-- description: Classes, what decided for them (sub_class), and how much of all mail they are. millrace classes says what each means.
-- param: since DateTime('UTC') = -24h | messages of this time and later
-- param: until DateTime('UTC') = now | and before this
-- param: domain String = | only these domains, with commas; empty: all
-- param: direction String = | incoming, outgoing, unknown, with commas; empty: all
-- param: class String = | only these classes, with commas, in any spelling, or groups: accepted, rejected, temporarily-rejected, quarantined; empty: all
-- choice: group_by = class, sub_class, status, domain | what divides a class further; class: nothing
-- param: tz String = UTC | zone of the times
-- param: limit UInt32 = 100 | rows
-- needs: column class_norm of kind message | template variable %(main_class)s (2016: %(classification)s)
-- needs: column sub_class of kind message when group_by = sub_class | template variable %(sub_class)s
WITH
    wanted AS
    (
        SELECT arrayJoin(splitByChar(',', {class:String})) AS word
        UNION DISTINCT
        SELECT class FROM classes WHERE has(splitByChar(',', {class:String}), word)
    )
SELECT
    class_norm AS class_name,
    multiIf({group_by:String} = 'sub_class', sub_class, {group_by:String} = 'status', status_norm, {group_by:String} = 'domain', domain, '') AS what,
    count() AS messages,
    round(100 * messages / sum(messages) OVER (), 1) AS percent,
    countIf(direction = 'incoming') AS incoming,
    countIf(direction = 'outgoing') AS outgoing,
    countIf(direction NOT IN ('incoming', 'outgoing')) AS unknown,
    uniqExact(lower(sender)) AS senders,
    sum(incoming_size) AS bytes,
    toTimeZone(max(last_time), {tz:String}) AS last
FROM messages
WHERE id_time >= {since:DateTime('UTC')} AND id_time < {until:DateTime('UTC')}
    AND has_message AND ({domain:String} = '' OR domain IN splitByChar(',', {domain:String}))
    AND ({direction:String} = '' OR has(splitByChar(',', {direction:String}), direction))
    AND ({class:String} = '' OR class_norm IN (wanted) OR class_group IN (wanted))
GROUP BY class_name, what
ORDER BY messages DESC, class_name, what
LIMIT {limit:UInt32}
