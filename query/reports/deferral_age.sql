-- title: Messages that still wait, by how long they do
-- description: Messages whose latest status is that they wait for their delivery, by their age at the end of the period. A filter tries for days: the first steps fill and empty all the time, the last ones should be empty.
-- param: since DateTime('UTC') = -60d | messages of this time and later
-- param: until DateTime('UTC') = now | and before this
-- param: domain String = | only these domains, with commas; empty: all
-- param: direction String = | incoming, outgoing, unknown, with commas; empty: all
-- param: class String = | only these classes, with commas, in any spelling, or groups: accepted, rejected, temporarily-rejected, quarantined; empty: all
-- choice: group_by = age, domain, recipient_domain, destination, sender | what a row is
-- param: tz String = UTC | zone of the times
-- param: limit UInt32 = 100 | rows
-- needs: column delivery_fqdn of kind status when group_by = destination | status template variable %(delivery_fqdn)s
WITH
    wanted AS
    (
        SELECT arrayJoin(splitByChar(',', {class:String})) AS word
        UNION DISTINCT
        SELECT class FROM classes WHERE has(splitByChar(',', {class:String}), word)
    ),
    [15 * 60, 3600, 4 * 3600, 24 * 3600, 4 * 24 * 3600, 4294967295] AS steps,
    ['under 15 minutes', '15 minutes to 1 hour', '1 to 4 hours', '4 to 24 hours', '1 to 4 days', 'over 4 days'] AS names
SELECT
    what,
    count() AS messages,
    countIf(status_norm = 'queue-frozen') AS frozen,
    uniqExact(lower(recipient)) AS recipients,
    sum(attempts) AS tries,
    toTimeZone(min(id_time), {tz:String}) AS oldest,
    intDiv(max(age), 3600) AS oldest_hours,
    argMax(delivery_data, (last_time, delivery_data)) AS last_reply
FROM
(
    SELECT
        *,
        dateDiff('second', id_time, {until:DateTime('UTC')}) AS age,
        arrayFirstIndex(s -> age < s, steps) AS step,
        multiIf(
            {group_by:String} = 'age', names[step],
            {group_by:String} = 'domain', domain,
            {group_by:String} = 'recipient_domain', lower(splitByChar('@', recipient)[-1]),
            {group_by:String} = 'destination', if(delivery_fqdn != '', lower(delivery_fqdn), replaceOne(toString(delivery_ip), '::ffff:', '')),
            if(sender = '', '<>', lower(sender))) AS what
    FROM messages
    WHERE id_time >= {since:DateTime('UTC')} AND id_time < {until:DateTime('UTC')}
        AND ({domain:String} = '' OR domain IN splitByChar(',', {domain:String}))
        AND ({direction:String} = '' OR has(splitByChar(',', {direction:String}), direction))
        AND ({class:String} = '' OR class_norm IN (wanted) OR class_group IN (wanted))
        AND status_norm IN ('queued', 'queue-frozen')
)
GROUP BY what
ORDER BY if({group_by:String} = 'age', min(step), 0), messages DESC, what
LIMIT {limit:UInt32}
