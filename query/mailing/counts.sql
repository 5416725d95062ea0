SELECT auth_domain, name, who,
    countIf(class_norm = 'spam') AS spam,
    countIf(class_norm = 'phish') AS phish,
    countIf(class_norm = 'virus') AS virus,
    countIf(invalid) AS invalid_senders,
    countIf(class_group = 'accepted') AS accepted
FROM
(
    SELECT
        lowerUTF8(if(position(auth_user, '@') = 0, domain, splitByChar('@', auth_user)[-1])) AS auth_domain,
        if(position(auth_user, '@') = 0, auth_user, substring(auth_user, 1, length(auth_user) - length(splitByChar('@', auth_user)[-1]) - 1)) AS name,
        if({by_identity:UInt8} = 1, identity, '') AS who,
        class_norm, class_group,
        arrayExists((s, c, b) -> s IN ('', status_norm) AND c IN ('', class_norm) AND b IN ('', trimBoth(replaceRegexpAll(lower(sub_class), '[ _\\t-]+', '-'), '-')),
            {invalid_status:Array(String)}, {invalid_class:Array(String)}, {invalid_sub_class:Array(String)}) AS invalid
    FROM messages
    WHERE id_time >= {since:DateTime('UTC')} AND id_time < {until:DateTime('UTC')} AND has_message AND direction = 'outgoing'
)
WHERE has({domains:Array(String)}, auth_domain)
GROUP BY auth_domain, name, who
