-- title: Who sent more than a number of messages within a time
-- description: The greatest number of messages that each sent within any stretch of --param window seconds, where it is above --param threshold, and when that was first so.
-- param: since DateTime('UTC') = -24h | messages of this time and later
-- param: until DateTime('UTC') = now | and before this
-- param: domain String = | only these domains, with commas; empty: all
-- param: direction String = outgoing | incoming, outgoing, unknown, with commas; empty: all
-- param: class String = | only these classes, with commas, in any spelling, or groups: accepted, rejected, temporarily-rejected, quarantined; empty: all
-- choice: group_by = sender, identity, auth_user, domain, sender_ip | what a row is
-- param: threshold UInt64 = 2000 | more messages than this
-- param: window UInt32 = 3600 | seconds
-- param: tz String = UTC | zone of the times
-- param: limit UInt32 = 100 | rows
-- needs: column identity of kind message when group_by = identity | template variable %(identity)s
-- needs: column auth_user of kind message when group_by = auth_user | template variable %(auth_user)s
-- needs: column sender of kind message when group_by = sender | template variable %(sender)s
-- needs: column sender_ip of kind message when group_by = sender_ip | template variable %(sender_ip)s
WITH
    wanted AS
    (
        SELECT arrayJoin(splitByChar(',', {class:String})) AS word
        UNION DISTINCT
        SELECT class FROM classes WHERE has(splitByChar(',', {class:String}), word)
    )
SELECT
    who,
    max(within) AS most,
    toTimeZone(argMax(id_time, (within, -toInt64(toUnixTimestamp(id_time)))), {tz:String}) AS at,
    toTimeZone(minIf(id_time, within > {threshold:UInt64}), {tz:String}) AS over_since,
    count() AS messages,
    {{targets(groupUniqArrayIf((domain, auth_user), direction = 'outgoing'))}} AS targets
FROM
(
    SELECT
        multiIf(
            {group_by:String} = 'sender', if(sender = '', '<>', lower(sender)),
            {group_by:String} = 'identity', identity,
            {group_by:String} = 'auth_user', auth_user,
            {group_by:String} = 'domain', domain,
            replaceOne(toString(sender_ip), '::ffff:', '')) AS who,
        domain,
        auth_user,
        direction,
        id_time,
        count() OVER (PARTITION BY who ORDER BY toUnixTimestamp(id_time) RANGE BETWEEN {window:UInt32} PRECEDING AND CURRENT ROW) AS within
    FROM messages
    WHERE id_time >= {since:DateTime('UTC')} AND id_time < {until:DateTime('UTC')}
        AND has_message AND ({domain:String} = '' OR domain IN splitByChar(',', {domain:String}))
        AND ({direction:String} = '' OR has(splitByChar(',', {direction:String}), direction))
        AND ({class:String} = '' OR class_norm IN (wanted) OR class_group IN (wanted))
)
WHERE who != ''
GROUP BY who
HAVING most > {threshold:UInt64}
ORDER BY most DESC, who
LIMIT {limit:UInt32}
