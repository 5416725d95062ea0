-- title: Who sends far more than usual
-- description: Senders with an hour in the period in which they sent more than --param factor times what they send in an hour otherwise, on the average of the --param history days before.
-- description: It looks at all mail, so that it finds a run that the filter misses. usual is messages an hour; times is 0 for who sent nothing before.
-- param: since DateTime('UTC') = -24h | messages of this time and later
-- param: until DateTime('UTC') = now | and before this
-- param: domain String = | only these domains, with commas; empty: all
-- param: direction String = outgoing | incoming, outgoing, unknown, with commas; empty: all
-- param: class String = | only these classes, with commas, in any spelling, or groups: accepted, rejected, temporarily-rejected, quarantined; empty: all
-- choice: group_by = identity, sender, auth_user, domain, sender_ip | what a row is
-- param: factor Float64 = 5 | times the usual
-- param: minimum UInt64 = 50 | messages in the hour, at least
-- param: history UInt16 = 7 | days that say what is usual
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
    ),
    hours AS
    (
        SELECT
            multiIf(
                {group_by:String} = 'identity', identity,
                {group_by:String} = 'sender', if(sender = '', '<>', lower(sender)),
                {group_by:String} = 'auth_user', auth_user,
                {group_by:String} = 'domain', domain,
                replaceOne(toString(sender_ip), '::ffff:', '')) AS who,
            toStartOfHour(id_time) AS hour,
            countIf(id_time >= {since:DateTime('UTC')}) AS sent,
            countIf(id_time < {since:DateTime('UTC')}) AS sent_before,
            countIf(id_time >= {since:DateTime('UTC')} AND class_group != 'accepted') AS refused,
            groupUniqArrayIf((domain, auth_user), direction = 'outgoing' AND id_time >= {since:DateTime('UTC')}) AS users
        FROM messages
        WHERE id_time >= {since:DateTime('UTC')} - toIntervalDay({history:UInt16}) AND id_time < {until:DateTime('UTC')}
            AND has_message AND ({domain:String} = '' OR domain IN splitByChar(',', {domain:String}))
            AND ({direction:String} = '' OR has(splitByChar(',', {direction:String}), direction))
            AND ({class:String} = '' OR class_norm IN (wanted) OR class_group IN (wanted))
        GROUP BY who, hour
    ),
    usually AS (SELECT who, round(sum(sent_before) / (24 * {history:UInt16}), 2) AS usual FROM hours GROUP BY who)
SELECT
    who,
    toTimeZone(argMax(hour, (sent, -toInt64(toUnixTimestamp(hour)))), {tz:String}) AS worst_hour,
    max(sent) AS most,
    any(usual) AS usual_in_an_hour,
    if(usual_in_an_hour = 0, 0, round(most / usual_in_an_hour, 1)) AS times,
    countIf(sent >= {minimum:UInt64} AND sent > {factor:Float64} * usual) AS hours_over,
    sum(sent) AS messages,
    sum(refused) AS not_accepted,
    {{targets(groupUniqArrayArray(users))}} AS targets
FROM hours
INNER JOIN usually USING (who)
WHERE who != ''
GROUP BY who
HAVING hours_over > 0
ORDER BY most DESC, who
LIMIT {limit:UInt32}
