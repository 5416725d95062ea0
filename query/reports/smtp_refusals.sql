-- title: What a server refused over SMTP, by reason and client
-- description: Recipients that were refused, and messages that were refused as a whole, of qmail servers' SMTP logs. The reason is chkuser's word, else the reply; 'no reply' is a message whose session ended before one.
-- param: since DateTime('UTC') = -24h | events of this time and later
-- param: until DateTime('UTC') = now | and before this
-- param: domain String = | only these domains, with commas; empty: all
-- param: direction String = | incoming, outgoing, unknown, with commas; empty: all
-- choice: group_by = client, client_name, sender, recipient_domain, domain, session | what a row is, with the reason
-- param: tz String = UTC | zone of the times
-- param: limit UInt32 = 100 | rows
-- needs: column check_client_ips of kind smtp when group_by = client | an SMTP log with chkuser's check lines
SELECT
    refusal.1 AS reason,
    multiIf({group_by:String} = 'client', replaceOne(if(refusal.2 = toIPv6('::'), '', toString(refusal.2)), '::ffff:', ''), {group_by:String} = 'client_name', lower(refusal.3),
        {group_by:String} = 'sender', if(sender = '', '<>', lower(sender)), {group_by:String} = 'recipient_domain', lower(splitByChar('@', refusal.4)[-1]), {group_by:String} = 'domain', domain, toString(session)) AS who,
    count() AS refusals,
    uniqExact(lower(sender)) AS senders,
    uniqExact(lower(refusal.4)) AS recipients,
    toTimeZone(min(event_time), {tz:String}) AS first,
    toTimeZone(max(event_time), {tz:String}) AS last
FROM
(
    SELECT
        event_time, domain, sender, session,
        arrayFirst(x -> x != toIPv6('::'), check_client_ips) AS any_ip,
        arrayFirst(x -> x != '', check_client_names) AS any_name,
        arrayFilter(i -> if(recipient_codes[i] != 0, recipient_codes[i] >= 400, match(checks[i], '^(rejected|no auth|must auth|mbx overquota|intrusion)')), arrayEnumerate(recipients)) AS refused,
        arrayJoin(multiIf(
            notEmpty(refused), arrayMap(i -> (
                if(checks[i] != '' AND NOT match(checks[i], '^(accepted|relaying)'), checks[i], concat(toString(recipient_codes[i]), ' ', recipient_replies[i])),
                if(check_client_ips[i] != toIPv6('::'), check_client_ips[i], any_ip),
                if(check_client_names[i] != '', check_client_names[i], any_name),
                recipients[i]), refused),
            accepted = 1, [],
            [(multiIf(sender_code >= 400, concat(toString(sender_code), ' ', sender_reply), code >= 400, concat(toString(code), ' ', reply), 'no reply'), any_ip, any_name, '')])) AS refusal
    FROM smtp_transactions
    WHERE event_time >= {since:DateTime('UTC')} AND event_time < {until:DateTime('UTC')}
        AND ({domain:String} = '' OR domain IN splitByChar(',', {domain:String}))
        AND ({direction:String} = '' OR has(splitByChar(',', {direction:String}), direction))
)
GROUP BY reason, who
ORDER BY refusals DESC, reason, who
LIMIT {limit:UInt32}
