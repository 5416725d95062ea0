-- title: What Spamdyke denied, by code
-- description: Recipients that Spamdyke denied, timed out or failed, by its code. Much of DENIED_GRAYLISTED is normal; much of one code from one client of your own is a customer who cannot send.
-- param: since DateTime('UTC') = -24h | events of this time and later
-- param: until DateTime('UTC') = now | and before this
-- param: domain String = | only these domains, with commas; empty: all
-- param: direction String = | incoming, outgoing, unknown, with commas; empty: all
-- choice: group_by = code, client, client_name, sender, sender_domain, domain, auth_user, reason | what a row is, with the code; code: nothing else
-- param: tz String = UTC | zone of the times
-- param: limit UInt32 = 100 | rows
-- needs: column origin_ip of kind spamdyke when group_by = client | a Spamdyke log with origin_ip
-- needs: column auth_user of kind spamdyke when group_by = auth_user | a Spamdyke log with auth
SELECT
    code,
    multiIf({group_by:String} = 'code', '', {group_by:String} = 'client', replaceOne(if(origin_ip = toIPv6('::'), '', toString(origin_ip)), '::ffff:', ''), {group_by:String} = 'client_name', lower(origin_rdns),
        {group_by:String} = 'sender', if(sender = '', '<>', lower(sender)), {group_by:String} = 'sender_domain', lower(splitByChar('@', sender)[-1]), {group_by:String} = 'domain', domain, {group_by:String} = 'auth_user', auth_user, reason) AS who,
    any(verdict) AS result,
    count() AS denials,
    round(100 * denials / sum(denials) OVER (), 1) AS percent,
    uniqExact(origin_ip) AS clients,
    uniqExact(lower(sender)) AS senders,
    uniqExact(lower(recipient)) AS recipients,
    toTimeZone(max(event_time), {tz:String}) AS last
FROM spamdyke_verdicts
WHERE event_time >= {since:DateTime('UTC')} AND event_time < {until:DateTime('UTC')}
    AND ({domain:String} = '' OR domain IN splitByChar(',', {domain:String}))
    AND ({direction:String} = '' OR has(splitByChar(',', {direction:String}), direction))
    AND verdict != 'allowed'
GROUP BY code, who
ORDER BY denials DESC, code, who
LIMIT {limit:UInt32}
