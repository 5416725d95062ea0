WITH
    ({{touched}}) AS touched,
    touched.1 AS hours,
    arrayMin(hours) - toIntervalDay(1) AS since
SELECT hour, direction, domain, auth_user, identity, class_norm, status_norm, messages, bytes, recipients, invalid_recipients, invalid_senders,
    content, events, now64(3, 'UTC') AS computed_at, deleted
FROM
(
    SELECT hour, direction, domain, auth_user, identity, class_norm, status_norm, sum(n_messages) AS messages, sum(n_bytes) AS bytes,
        uniqCombinedMergeState(12)(n_recipients) AS recipients, sum(n_invalid_recipients) AS invalid_recipients, sum(n_invalid_senders) AS invalid_senders,
        sum(now_content) AS content, toUInt64(0) AS events, toUInt8(max(is_now) = 0) AS deleted
    FROM
    (
        SELECT toStartOfHour(id_time) AS hour, direction, domain, auth_user, identity, class_norm, status_norm, count() AS n_messages, sum(incoming_size) AS n_bytes,
            uniqCombinedState(12)(lower(recipient)) AS n_recipients, countIf({{invalid_recipient}}) AS n_invalid_recipients, countIf({{invalid_sender}}) AS n_invalid_senders,
            sum(cityHash64(id_time, id, recipient, filtering_host, incoming_size, {{invalid_recipient}}, {{invalid_sender}})) AS now_content, toUInt64(0) AS then_content, 1 AS is_now, 0 AS is_then
        FROM
        (
            {{messages}}
        )
        WHERE has_message = 1 AND has(hours, toStartOfHour(id_time))
        GROUP BY hour, direction, domain, auth_user, identity, class_norm, status_norm
        UNION ALL
        SELECT hour, toString(direction), domain, auth_user, identity, toString(class_norm), toString(status_norm), 0, 0, uniqCombinedStateIf(12)(domain, false), 0, 0,
            toUInt64(0), argMax(content, computed_at), 0, toUInt8(argMax(deleted, computed_at) = 0)
        FROM {{home}}.`messages_hourly_rows`
        WHERE hour IN hours AND direction != ''
        GROUP BY hour, direction, domain, auth_user, identity, class_norm, status_norm
    )
    GROUP BY hour, direction, domain, auth_user, identity, class_norm, status_norm
    HAVING max(is_now) != max(is_then) OR max(now_content) != max(then_content)
    UNION ALL
    SELECT hour_of.1, '', '', '', '', '', '', 0, 0, uniqCombinedStateIf(12)('', false), 0, 0, 0, max(hour_of.2), 0
    FROM (SELECT arrayJoin(touched) AS hour_of)
    GROUP BY hour_of.1
)
ORDER BY direction = ''
SETTINGS max_bytes_before_external_group_by = 536870912, max_bytes_before_external_sort = 536870912
