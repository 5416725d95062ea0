-- title: Who sends most spam, from the counts of each hour
-- description: What top_spammers answers, at once and for months: it reads what was counted of each hour and not the messages. Spam is what was rejected or quarantined. Hours are whole: the one that since lies in counts, and each that begins before until.
-- description: The counts are a minute behind, and recipients are an estimate where there are many. Of senders each hour knows the thousand with the most messages, and the thousand with the most spam; of identities, users and domains all.
-- param: since DateTime('UTC') = -24h | hours with this time and later
-- param: until DateTime('UTC') = now | that begin before this
-- param: domain String = | only these domains, with commas; empty: all
-- param: direction String = outgoing | incoming, outgoing, unknown, with commas; empty: all
-- choice: group_by = sender, identity, auth_user, domain | what a row is
-- param: tz String = UTC | zone of the times
-- param: limit UInt32 = 50 | rows
-- needs: column sender of kind message when group_by = sender | template variable %(sender)s
-- needs: column identity of kind message when group_by = identity | template variable %(identity)s
-- needs: column auth_user of kind message when group_by = auth_user | template variable %(auth_user)s
SELECT
    who,
    sum(n_rejected + n_quarantined) AS spam_messages,
    sum(n_messages) AS messages,
    round(100 * spam_messages / messages, 1) AS percent,
    sum(n_rejected) AS rejected,
    sum(n_quarantined) AS quarantined,
    sum(n_invalid_senders) AS invalid_senders,
    uniqCombinedMerge(12)(n_recipients) AS recipients,
    toTimeZone(maxIf(hour, n_rejected + n_quarantined > 0), {tz:String}) AS last_hour,
    {{targets(groupUniqArrayIf((domain, auth_user), direction = 'outgoing' AND n_rejected + n_quarantined > 0))}} AS targets
FROM
(
    -- when group_by = sender
    SELECT if(sender = '', '<>', sender) AS who, hour, domain, auth_user, direction, messages AS n_messages, rejected AS n_rejected, quarantined AS n_quarantined,
        invalid_senders AS n_invalid_senders, recipients AS n_recipients
    FROM senders_hourly
    -- otherwise
    SELECT multiIf({group_by:String} = 'identity', identity, {group_by:String} = 'auth_user', auth_user, domain) AS who, hour, domain, auth_user, direction, messages AS n_messages,
        if(class_group = 'rejected', messages, 0) AS n_rejected, if(class_group = 'quarantined', messages, 0) AS n_quarantined, invalid_senders AS n_invalid_senders,
        recipients AS n_recipients
    FROM messages_hourly
    -- end
    WHERE hour >= toStartOfHour({since:DateTime('UTC')}) AND hour < {until:DateTime('UTC')}
)
WHERE ({domain:String} = '' OR domain IN splitByChar(',', {domain:String}))
    AND ({direction:String} = '' OR has(splitByChar(',', {direction:String}), direction))
GROUP BY who
HAVING spam_messages > 0
ORDER BY spam_messages DESC, who
LIMIT {limit:UInt32}
