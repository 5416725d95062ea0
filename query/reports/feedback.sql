-- title: Abuse reports by identity
-- description: Reports that came about mail, by who had sent it. The identity is that of the message with the reported id; a report of a message that is not in the logs has none.
-- param: since DateTime('UTC') = -24h | events of this time and later
-- param: until DateTime('UTC') = now | and before this
-- param: domain String = | only these domains, with commas; empty: all
-- param: direction String = | incoming, outgoing, unknown, with commas; empty: all
-- choice: group_by = identity, auth_user, sender, source_ip, domain, feedback_type | what a row is
-- param: tz String = UTC | zone of the times
-- param: limit UInt32 = 100 | rows
-- needs: column identity of kind message when group_by = identity | template variable %(identity)s
-- needs: column auth_user of kind feedback when group_by = auth_user | an Authentication-Results field with smtp.auth in the reports
WITH
    reports AS
    (
        SELECT id, auth_user, sender, source_ip, domain, feedback_type, incidents, recipients, subject_header, event_time
        FROM feedback_reports
        WHERE event_time >= {since:DateTime('UTC')} AND event_time < {until:DateTime('UTC')}
            AND ({domain:String} = '' OR domain IN splitByChar(',', {domain:String}))
            AND ({direction:String} = '' OR has(splitByChar(',', {direction:String}), direction))
    ),
    sent AS
    (
        SELECT id, max(identity) AS sent_by, maxIf((domain, auth_user), direction = 'outgoing') AS of
        FROM messages
        WHERE id IN (SELECT id FROM reports WHERE id != '')
        GROUP BY id
    )
SELECT
    multiIf({group_by:String} = 'identity', sent_by, {group_by:String} = 'auth_user', auth_user, {group_by:String} = 'sender', if(sender = '', '<>', lower(sender)),
        {group_by:String} = 'source_ip', replaceOne(toString(source_ip), '::ffff:', ''), {group_by:String} = 'domain', domain, toString(feedback_type)) AS who,
    count() AS reports,
    sum(incidents) AS reported,
    arrayStringConcat(arraySort(groupUniqArray(toString(feedback_type))), ',') AS types,
    uniqExactIf(reports.id, reports.id != '') AS messages,
    length(groupUniqArrayArray(recipients)) AS complainants,
    uniqExact(subject_header) AS subjects,
    toTimeZone(min(event_time), {tz:String}) AS first,
    toTimeZone(max(event_time), {tz:String}) AS last,
    {{targets(groupUniqArrayIf(if(sent.id = '', (reports.domain, reports.auth_user), sent.of), sent.id = '' OR sent.of.1 != ''))}} AS targets
FROM reports
LEFT JOIN sent ON reports.id = sent.id
GROUP BY who
ORDER BY reports DESC, who
LIMIT {limit:UInt32}
