-- title: What is kept in the quarantine, by sender and subject
-- description: Messages that were seen in the filter's quarantine, once each, however often it was read. The sender is the authenticated one, else that of From.
-- param: since DateTime('UTC') = -24h | events of this time and later
-- param: until DateTime('UTC') = now | and before this
-- param: domain String = | only these domains, with commas; empty: all
-- param: direction String = | incoming, outgoing, unknown, with commas; empty: all
-- choice: group_by = sender_and_subject, sender, subject, auth_user, script, client, domain, evidence | what a row is
-- param: tz String = UTC | zone of the times
-- param: limit UInt32 = 100 | rows
-- needs: column auth_user of kind quarantine when group_by = auth_user | the header Auth-User of your mail server
-- needs: column php_script of kind quarantine when group_by = script | mail.add_x_header of PHP
SELECT
    multiIf({group_by:String} IN ('sender_and_subject', 'sender'), lower(if(auth_sender = '', from_header, auth_sender)), {group_by:String} = 'auth_user', auth_user, {group_by:String} = 'script', php_script,
        {group_by:String} = 'client', client, {group_by:String} = 'domain', domain, {group_by:String} = 'evidence', evidence, '') AS who,
    if({group_by:String} IN ('sender_and_subject', 'subject'), subject_header, '') AS subject,
    count() AS messages,
    uniqExact(to_header) AS recipients,
    sum(size) AS bytes,
    max(evidence) AS one_evidence,
    toTimeZone(min(event_time), {tz:String}) AS first,
    toTimeZone(max(event_time), {tz:String}) AS last
FROM
(
    SELECT *
    FROM quarantine_messages
    WHERE event_time >= {since:DateTime('UTC')} AND event_time < {until:DateTime('UTC')}
        AND ({domain:String} = '' OR domain IN splitByChar(',', {domain:String}))
        AND ({direction:String} = '' OR has(splitByChar(',', {direction:String}), direction))
    ORDER BY received_at DESC, k_off DESC
    LIMIT 1 BY server, account, folder, uid_validity, uid
)
GROUP BY who, subject
ORDER BY messages DESC, who, subject
LIMIT {limit:UInt32}
