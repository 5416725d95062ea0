-- title: What became of the messages
-- description: Messages by their latest status.
-- param: since DateTime('UTC') = -24h | messages of this time and later
-- param: until DateTime('UTC') = now | and before this
-- param: domain String = | only these domains, with commas; empty: all
-- param: direction String = | incoming, outgoing, unknown, with commas; empty: all
-- param: class String = | only these classes, with commas, in any spelling, or groups: accepted, rejected, temporarily-rejected, quarantined; empty: all
-- choice: group_by = direction, domain, recipient_domain, destination | what the first column is
-- param: tz String = UTC | zone of the times
-- param: limit UInt32 = 100 | rows
-- needs: column delivery_fqdn of kind status when group_by = destination | status template variable %(delivery_fqdn)s
WITH
    wanted AS
    (
        SELECT arrayJoin(splitByChar(',', {class:String})) AS word
        UNION DISTINCT
        SELECT class FROM classes WHERE has(splitByChar(',', {class:String}), word)
    )
SELECT
    multiIf(
        {group_by:String} = 'direction', direction,
        {group_by:String} = 'domain', domain,
        {group_by:String} = 'recipient_domain', lower(splitByChar('@', recipient)[-1]),
        if(delivery_fqdn != '', lower(delivery_fqdn), replaceOne(toString(delivery_ip), '::ffff:', ''))) AS what,
    status_norm,
    count() AS messages,
    round(100 * messages / sum(messages) OVER (PARTITION BY what), 1) AS percent,
    sum(incoming_size) AS bytes,
    round(avg(attempts), 2) AS tries,
    toTimeZone(min(first_time), {tz:String}) AS first,
    toTimeZone(max(last_time), {tz:String}) AS last
FROM messages
WHERE id_time >= {since:DateTime('UTC')} AND id_time < {until:DateTime('UTC')}
    AND ({domain:String} = '' OR domain IN splitByChar(',', {domain:String}))
    AND ({direction:String} = '' OR has(splitByChar(',', {direction:String}), direction))
    AND ({class:String} = '' OR class_norm IN (wanted) OR class_group IN (wanted))
GROUP BY what, status_norm
ORDER BY messages DESC, what, status_norm
LIMIT {limit:UInt32}
