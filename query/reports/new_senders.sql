-- title: Who sends for the first time
-- description: Who sent in the period and not in the days before it. A new identity with much mail is a new customer or a stolen one.
-- param: since DateTime('UTC') = -24h | messages of this time and later
-- param: until DateTime('UTC') = now | and before this
-- param: domain String = | only these domains, with commas; empty: all
-- param: direction String = outgoing | incoming, outgoing, unknown, with commas; empty: all
-- param: class String = | only these classes, with commas, in any spelling, or groups: accepted, rejected, temporarily-rejected, quarantined; empty: all
-- choice: group_by = sender, identity, auth_user, sender_ip, domain | what a row is
-- param: history UInt16 = 30 | days before the period in which there was nothing
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
    multiIf(
        {group_by:String} = 'sender', if(sender = '', '<>', lower(sender)),
        {group_by:String} = 'identity', identity,
        {group_by:String} = 'auth_user', auth_user,
        {group_by:String} = 'sender_ip', replaceOne(toString(sender_ip), '::ffff:', ''),
        domain) AS who,
    min(domain) AS one_domain,
    toTimeZone(min(id_time), {tz:String}) AS first,
    count() AS messages,
    countIf(class_group != 'accepted') AS not_accepted,
    uniqExact(lower(recipient)) AS recipients,
    toTimeZone(max(last_time), {tz:String}) AS last,
    {{targets(groupUniqArrayIf((domain, auth_user), direction = 'outgoing'))}} AS targets
FROM messages
WHERE id_time >= {since:DateTime('UTC')} - toIntervalDay({history:UInt16}) AND id_time < {until:DateTime('UTC')}
    AND has_message AND ({domain:String} = '' OR domain IN splitByChar(',', {domain:String}))
    AND ({direction:String} = '' OR has(splitByChar(',', {direction:String}), direction))
    AND ({class:String} = '' OR class_norm IN (wanted) OR class_group IN (wanted))
GROUP BY who
HAVING who != '' AND min(id_time) >= {since:DateTime('UTC')}
ORDER BY messages DESC, who
LIMIT {limit:UInt32}
