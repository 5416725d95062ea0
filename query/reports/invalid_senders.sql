-- title: Who sends under senders that are not theirs
-- description: Messages that were refused for their sender, by who sent them. An account that tries many of them is a script or was stolen.
-- param: since DateTime('UTC') = -24h | messages of this time and later
-- param: until DateTime('UTC') = now | and before this
-- param: domain String = | only these domains, with commas; empty: all
-- param: direction String = outgoing | incoming, outgoing, unknown, with commas; empty: all
-- param: class String = | only these classes, with commas, in any spelling, or groups: accepted, rejected, temporarily-rejected, quarantined; empty: all
-- choice: group_by = auth_user, identity, sender, domain, sender_ip | what a row is
-- param: invalid_sender String = reports.invalid_sender | what an invalid sender is: STATUS/CLASS/SUB_CLASS with commas, each in one spelling (small letters, hyphens), an empty part is any; by default what the configuration says; empty: none
-- param: tz String = UTC | zone of the times
-- param: limit UInt32 = 100 | rows
-- needs: column identity of kind message when group_by = identity | template variable %(identity)s
-- needs: column auth_user of kind message when group_by = auth_user | template variable %(auth_user)s
-- needs: column sender of kind message when group_by = sender | template variable %(sender)s
-- needs: column sender_ip of kind message when group_by = sender_ip | template variable %(sender_ip)s
-- needs: column sub_class of kind message | template variable %(sub_class)s
WITH
    wanted AS
    (
        SELECT arrayJoin(splitByChar(',', {class:String})) AS word
        UNION DISTINCT
        SELECT class FROM classes WHERE has(splitByChar(',', {class:String}), word)
    )
SELECT
    multiIf(
        {group_by:String} = 'auth_user', auth_user,
        {group_by:String} = 'identity', identity,
        {group_by:String} = 'sender', if(sender = '', '<>', lower(sender)),
        {group_by:String} = 'domain', domain,
        replaceOne(toString(sender_ip), '::ffff:', '')) AS who,
    countIf(invalid) AS invalid_senders,
    count() AS messages,
    round(100 * invalid_senders / messages, 1) AS percent,
    uniqExactIf(lower(sender), invalid) AS senders,
    minIf(lower(sender), invalid) AS one_of_them,
    toTimeZone(maxIf(last_time, invalid), {tz:String}) AS last,
    {{targets(groupUniqArrayIf((domain, auth_user), direction = 'outgoing'))}} AS targets
FROM
(
    SELECT
        *,
        {invalid_sender:String} != '' AND arrayExists(t -> t[1] IN ('', status_norm) AND t[2] IN ('', class_norm) AND t[3] IN ('', trimBoth(replaceRegexpAll(lower(sub_class), '[ _\\t-]+', '-'), '-')),
            arrayMap(t -> splitByChar('/', t), splitByChar(',', {invalid_sender:String}))) AS invalid
    FROM messages
    WHERE id_time >= {since:DateTime('UTC')} AND id_time < {until:DateTime('UTC')}
        AND has_message AND ({domain:String} = '' OR domain IN splitByChar(',', {domain:String}))
        AND ({direction:String} = '' OR has(splitByChar(',', {direction:String}), direction))
        AND ({class:String} = '' OR class_norm IN (wanted) OR class_group IN (wanted))
)
GROUP BY who
HAVING invalid_senders > 0
ORDER BY invalid_senders DESC, who
LIMIT {limit:UInt32}
