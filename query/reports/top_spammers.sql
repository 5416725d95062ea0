-- title: Who sends most spam
-- description: Senders by their messages of the classes of --class (spam and what is refused like it), beside all that they sent.
-- param: since DateTime('UTC') = -24h | messages of this time and later
-- param: until DateTime('UTC') = now | and before this
-- param: domain String = | only these domains, with commas; empty: all
-- param: direction String = outgoing | incoming, outgoing, unknown, with commas; empty: all
-- param: class String = spam,phish,virus,block-list,locked,oversize,deferred | only these classes, with commas, in any spelling, or groups: accepted, rejected, temporarily-rejected, quarantined; empty: all
-- choice: group_by = sender, identity, auth_user, domain, sender_ip | what a row is
-- param: tz String = UTC | zone of the times
-- param: limit UInt32 = 50 | rows
-- needs: column identity of kind message when group_by = identity | template variable %(identity)s
-- needs: column auth_user of kind message when group_by = auth_user | template variable %(auth_user)s
-- needs: column sender of kind message when group_by = sender | template variable %(sender)s
-- needs: column sender_ip of kind message when group_by = sender_ip | template variable %(sender_ip)s
-- needs: column class_norm of kind message | template variable %(main_class)s (2016: %(classification)s)
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
        {group_by:String} = 'domain', domain,
        replaceOne(toString(sender_ip), '::ffff:', '')) AS who,
    countIf(bad) AS spam_messages,
    count() AS messages,
    round(100 * spam_messages / messages, 1) AS percent,
    countIf(bad AND class_norm = 'spam') AS spam,
    countIf(bad AND class_norm = 'phish') AS phish,
    countIf(bad AND class_norm = 'virus') AS virus,
    uniqExactIf(lower(recipient), bad) AS recipients,
    uniqExactIf(subject_header, bad) AS subjects,
    toTimeZone(maxIf(last_time, bad), {tz:String}) AS last,
    {{targets(groupUniqArrayIf((domain, auth_user), bad AND direction = 'outgoing'))}} AS targets
FROM
(
    SELECT *, ({class:String} = '' OR class_norm IN (wanted) OR class_group IN (wanted)) AS bad
    FROM messages
    WHERE id_time >= {since:DateTime('UTC')} AND id_time < {until:DateTime('UTC')}
        AND has_message AND ({domain:String} = '' OR domain IN splitByChar(',', {domain:String}))
        AND ({direction:String} = '' OR has(splitByChar(',', {direction:String}), direction))
)
GROUP BY who
HAVING spam_messages > 0
ORDER BY spam_messages DESC, who
LIMIT {limit:UInt32}
