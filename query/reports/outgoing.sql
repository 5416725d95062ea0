-- title: Outgoing mail by identity, sender, user, domain or client
-- description: How much each sent, and what the filter did with it: the panel's outgoing report. --class rejected or --class accepted asks for half of it.
-- description: A message to three recipients counts three times.
-- param: since DateTime('UTC') = -24h | messages of this time and later
-- param: until DateTime('UTC') = now | and before this
-- param: domain String = | only these domains, with commas; empty: all
-- param: direction String = outgoing | incoming, outgoing, unknown, with commas; empty: all
-- param: class String = | only these classes, with commas, in any spelling, or groups: accepted, rejected, temporarily-rejected, quarantined; empty: all
-- choice: group_by = identity, sender, auth_user, domain, sender_ip | what a row is
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
        {group_by:String} = 'identity', identity,
        {group_by:String} = 'sender', if(sender = '', '<>', lower(sender)),
        {group_by:String} = 'auth_user', auth_user,
        {group_by:String} = 'domain', domain,
        replaceOne(toString(sender_ip), '::ffff:', '')) AS who,
    count() AS messages,
    countIf(class_group = 'accepted') AS accepted,
    countIf(class_group = 'rejected') AS rejected,
    countIf(class_group = 'temporarily-rejected') AS temporarily_rejected,
    countIf(class_group = 'quarantined') AS quarantined,
    countIf(class_norm = 'spam') AS spam,
    countIf(class_norm = 'phish') AS phish,
    countIf(class_norm = 'virus') AS virus,
    uniqExact(lower(recipient)) AS recipients,
    sum(incoming_size) AS bytes,
    toTimeZone(min(first_time), {tz:String}) AS first,
    toTimeZone(max(last_time), {tz:String}) AS last,
    {{targets(groupUniqArrayIf((domain, auth_user), direction = 'outgoing'))}} AS targets
FROM messages
WHERE id_time >= {since:DateTime('UTC')} AND id_time < {until:DateTime('UTC')}
    AND has_message AND ({domain:String} = '' OR domain IN splitByChar(',', {domain:String}))
    AND ({direction:String} = '' OR has(splitByChar(',', {direction:String}), direction))
    AND ({class:String} = '' OR class_norm IN (wanted) OR class_group IN (wanted))
GROUP BY who
ORDER BY messages DESC, who
LIMIT {limit:UInt32}
