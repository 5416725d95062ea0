-- title: Outgoing mail by identity, user or domain, from the counts of each hour
-- description: What outgoing answers, for weeks and months: it reads what was counted of each hour and not the messages. Hours are whole: the one that since lies in counts, and each that begins before until.
-- description: The counts are a minute behind. Recipients are an estimate where there are many, within some 2%.
-- param: since DateTime('UTC') = -30d | hours with this time and later
-- param: until DateTime('UTC') = now | that begin before this
-- param: domain String = | only these domains, with commas; empty: all
-- param: direction String = outgoing | incoming, outgoing, unknown, with commas; empty: all
-- param: class String = | only these classes, with commas, in any spelling, or groups: accepted, rejected, temporarily-rejected, quarantined; empty: all
-- choice: group_by = identity, auth_user, domain | what a row is
-- param: tz String = UTC | zone of the times
-- param: limit UInt32 = 100 | rows
-- needs: column identity of kind message when group_by = identity | template variable %(identity)s
-- needs: column auth_user of kind message when group_by = auth_user | template variable %(auth_user)s
WITH
    wanted AS
    (
        SELECT arrayJoin(splitByChar(',', {class:String})) AS word
        UNION DISTINCT
        SELECT class FROM classes WHERE has(splitByChar(',', {class:String}), word)
    )
SELECT
    multiIf({group_by:String} = 'identity', identity, {group_by:String} = 'auth_user', auth_user, domain) AS who,
    sum(m.messages) AS messages,
    sumIf(m.messages, class_group = 'accepted') AS accepted,
    sumIf(m.messages, class_group = 'rejected') AS rejected,
    sumIf(m.messages, class_group = 'temporarily-rejected') AS temporarily_rejected,
    sumIf(m.messages, class_group = 'quarantined') AS quarantined,
    sumIf(m.messages, class_norm = 'spam') AS spam,
    sumIf(m.messages, class_norm = 'phish') AS phish,
    sumIf(m.messages, class_norm = 'virus') AS virus,
    sum(m.invalid_senders) AS invalid_senders,
    uniqCombinedMerge(12)(m.recipients) AS recipients,
    sum(m.bytes) AS bytes,
    toTimeZone(min(hour), {tz:String}) AS first_hour,
    toTimeZone(max(hour), {tz:String}) AS last_hour,
    {{targets(groupUniqArrayIf((domain, auth_user), direction = 'outgoing'))}} AS targets
FROM messages_hourly AS m
WHERE hour >= toStartOfHour({since:DateTime('UTC')}) AND hour < {until:DateTime('UTC')}
    AND ({domain:String} = '' OR domain IN splitByChar(',', {domain:String}))
    AND ({direction:String} = '' OR has(splitByChar(',', {direction:String}), direction))
    AND ({class:String} = '' OR class_norm IN (wanted) OR class_group IN (wanted))
GROUP BY who
ORDER BY messages DESC, who
LIMIT {limit:UInt32}
