WITH
    ({{touched}}) AS touched,
    touched.1 AS hours,
    arrayMin(hours) - toIntervalDay(1) AS since
SELECT hour, direction, domain, auth_user, identity, sender, messages, accepted, rejected, temporarily_rejected, quarantined, bytes, recipients, invalid_recipients, invalid_senders,
    content, events, now64(3, 'UTC') AS computed_at, deleted
FROM
(
    SELECT hour, direction, domain, auth_user, identity, sender, sum(n_messages) AS messages, sum(n_accepted) AS accepted, sum(n_rejected) AS rejected,
        sum(n_temporarily_rejected) AS temporarily_rejected, sum(n_quarantined) AS quarantined, sum(n_bytes) AS bytes,
        uniqCombinedMergeState(12)(n_recipients) AS recipients, sum(n_invalid_recipients) AS invalid_recipients, sum(n_invalid_senders) AS invalid_senders,
        sum(now_content) AS content, toUInt64(0) AS events, toUInt8(max(is_now) = 0) AS deleted
    FROM
    (
        SELECT hour, direction, domain, auth_user, identity, low_sender AS sender, n_messages, n_accepted, n_rejected, n_temporarily_rejected, n_quarantined, n_bytes,
            n_recipients, n_invalid_recipients, n_invalid_senders, now_content, toUInt64(0) AS then_content, 1 AS is_now, 0 AS is_then
        FROM
        (
            SELECT *, row_number() OVER (PARTITION BY hour, direction ORDER BY n_messages DESC, domain, auth_user, identity, low_sender) AS by_messages,
                row_number() OVER (PARTITION BY hour, direction ORDER BY n_rejected + n_quarantined DESC, n_messages DESC, domain, auth_user, identity, low_sender) AS by_spam
            FROM
            (
                SELECT toStartOfHour(id_time) AS hour, direction, domain, auth_user, identity, lower(sender) AS low_sender, count() AS n_messages,
                    countIf(class_group = 'accepted') AS n_accepted, countIf(class_group = 'rejected') AS n_rejected,
                    countIf(class_group = 'temporarily-rejected') AS n_temporarily_rejected, countIf(class_group = 'quarantined') AS n_quarantined,
                    sum(incoming_size) AS n_bytes, uniqCombinedState(12)(lower(recipient)) AS n_recipients,
                    countIf({{invalid_recipient}}) AS n_invalid_recipients, countIf({{invalid_sender}}) AS n_invalid_senders,
                    sum(cityHash64(id_time, id, recipient, filtering_host, incoming_size, class_group, {{invalid_recipient}}, {{invalid_sender}})) AS now_content
                FROM
                (
                    {{messages}}
                )
                WHERE has_message = 1 AND has(hours, toStartOfHour(id_time))
                GROUP BY hour, direction, domain, auth_user, identity, low_sender
            )
        )
        WHERE by_messages <= {{top}} OR by_spam <= {{top}} AND n_rejected + n_quarantined > 0
        UNION ALL
        SELECT hour, toString(direction), domain, auth_user, identity, sender, 0, 0, 0, 0, 0, 0, uniqCombinedStateIf(12)(domain, false), 0, 0,
            toUInt64(0), argMax(content, computed_at), 0, toUInt8(argMax(deleted, computed_at) = 0)
        FROM {{home}}.`senders_hourly_rows`
        WHERE hour IN hours AND direction != ''
        GROUP BY hour, direction, domain, auth_user, identity, sender
    )
    GROUP BY hour, direction, domain, auth_user, identity, sender
    HAVING max(is_now) != max(is_then) OR max(now_content) != max(then_content)
    UNION ALL
    SELECT hour_of.1, '', '', '', '', '', 0, 0, 0, 0, 0, 0, uniqCombinedStateIf(12)('', false), 0, 0, 0, max(hour_of.2), 0
    FROM (SELECT arrayJoin(touched) AS hour_of)
    GROUP BY hour_of.1
)
ORDER BY direction = ''
SETTINGS max_bytes_before_external_group_by = 536870912, max_bytes_before_external_sort = 536870912
