-- title: Deliveries that failed, by remote host
-- description: Messages that the filter could not deliver or that still wait after a try, and attempts that a qmail server's log calls failure or deferral. The column log says which of the two a row is of.
-- param: since DateTime('UTC') = -24h | messages of this time and later
-- param: until DateTime('UTC') = now | and before this
-- param: domain String = | only these domains, with commas; empty: all
-- param: direction String = | incoming, outgoing, unknown, with commas; empty: all
-- param: class String = | only these classes, with commas, in any spelling, or groups: accepted, rejected, temporarily-rejected, quarantined; a qmail server's log has none; empty: all
-- choice: group_by = remote_host, remote_ip, recipient_domain, code, enhanced_code, domain | what a row is
-- param: tz String = UTC | zone of the times
-- param: limit UInt32 = 100 | rows
WITH
    wanted AS
    (
        SELECT arrayJoin(splitByChar(',', {class:String})) AS word
        UNION DISTINCT
        SELECT class FROM classes WHERE has(splitByChar(',', {class:String}), word)
    )
SELECT
    multiIf(
        {group_by:String} = 'remote_host', host,
        {group_by:String} = 'remote_ip', ip,
        {group_by:String} = 'recipient_domain', lower(splitByChar('@', rcpt)[-1]),
        {group_by:String} = 'code', if(smtp_code = 0, '', toString(smtp_code)),
        {group_by:String} = 'enhanced_code', enhanced,
        domain) AS what,
    log,
    countIf(final) AS failed,
    countIf(NOT final) AS deferred,
    uniqExact(lower(rcpt)) AS recipients,
    uniqExact(domain) AS domains,
    argMax(words, (at, words)) AS last_reply,
    toTimeZone(max(at), {tz:String}) AS last
FROM
(
    SELECT
        'filter' AS log, domain, recipient AS rcpt, lower(delivery_fqdn) AS host, replaceOne(if(delivery_ip = toIPv6('::'), '', toString(delivery_ip)), '::ffff:', '') AS ip,
        delivery_code AS smtp_code, delivery_enhanced AS enhanced, delivery_data AS words, last_time AS at,
        status_norm NOT IN ('queued', 'queue-frozen') AS final
    FROM messages
    WHERE id_time >= {since:DateTime('UTC')} AND id_time < {until:DateTime('UTC')}
        AND ({domain:String} = '' OR domain IN splitByChar(',', {domain:String}))
        AND ({direction:String} = '' OR has(splitByChar(',', {direction:String}), direction))
        AND ({class:String} = '' OR class_norm IN (wanted) OR class_group IN (wanted))
        AND (status_norm IN ('delivery-failed', 'bounced', 'queue-bounced', 'queue-expired') OR status_norm IN ('queued', 'queue-frozen') AND attempts > 0)
    UNION ALL
    SELECT
        'qmail', domain, recipient, if(remote_host = '' AND remote_ip = toIPv6('::'), toString(channel), lower(remote_host)), replaceOne(if(remote_ip = toIPv6('::'), '', toString(remote_ip)), '::ffff:', ''),
        code, toString(enhanced_code), text, event_time,
        outcome = 'failure'
    FROM delivery_attempts
    WHERE event_time >= {since:DateTime('UTC')} AND event_time < {until:DateTime('UTC')}
        AND ({domain:String} = '' OR domain IN splitByChar(',', {domain:String}))
        AND ({direction:String} = '' OR has(splitByChar(',', {direction:String}), direction))
        AND {class:String} = '' AND outcome IN ('failure', 'deferral')
)
GROUP BY what, log
ORDER BY failed + deferred DESC, what, log
LIMIT {limit:UInt32}
