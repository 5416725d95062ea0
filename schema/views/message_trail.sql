SELECT event_time, 'message' AS kind, toString(filtering_host) AS host, id, toDateTime(0, 'UTC') AS qmail_time, toUInt64(0) AS qp, domain, sender, [recipient] AS recipients, sender_ip AS client,
    concat(status, if(main_class = '', '', concat(' ', main_class)), if(subject_header = '', '', concat(': ', subject_header))) AS what, toString(listener) AS listener, received_at
FROM {{database}}.`message_events`
UNION ALL
SELECT event_time, 'status', toString(filtering_host), id, toDateTime(0, 'UTC'), toUInt64(0), domain, '', [recipient], delivery_ip,
    concat(status, if(delivery_fqdn = '', '', concat(' ', delivery_fqdn)), if(delivery_data = '', '', concat(': ', delivery_data))), toString(listener), received_at
FROM {{database}}.`status_events`
UNION ALL
SELECT event_time, 'spamdyke', toString(syslog_host), '', qmail_time, qp, domain, sender, [recipient], origin_ip,
    concat(code, if(reason = '', '', concat(': ', reason))), toString(listener), received_at
FROM {{database}}.`spamdyke_verdicts`
UNION ALL
SELECT event_time, 'smtp', toString(syslog_host), '', qmail_time, qp, domain, sender, recipients, arrayFirst(x -> x != toIPv6('::'), check_client_ips),
    concat(if(accepted = 1, 'accepted', 'not accepted'), if(reply = '', '', concat(': ', reply))), toString(listener), received_at
FROM {{database}}.`smtp_transactions`
UNION ALL
SELECT event_time, 'delivery', toString(syslog_host), '', toDateTime(0, 'UTC'), qp, domain, sender, [recipient], remote_ip,
    concat(if(outcome = '', 'no result', outcome), if(channel = '', '', concat(' ', channel)), if(text = '', '', concat(': ', text))), toString(listener), received_at
FROM {{database}}.`delivery_attempts`
UNION ALL
SELECT event_time, 'feedback', '', id, toDateTime(0, 'UTC'), toUInt64(0), domain, sender, recipients, source_ip,
    concat('report', if(feedback_type = '', '', concat(' ', feedback_type)), if(user_agent = '', '', concat(' by ', user_agent)), if(subject_header = '', '', concat(': ', subject_header))), toString(listener), received_at
FROM {{database}}.`feedback_reports`
UNION ALL
SELECT event_time, 'quarantine', toString(server), id, toDateTime(0, 'UTC'), toUInt64(0), domain, if(auth_sender = '', from_header, auth_sender), [to_header], toIPv6OrDefault(client),
    concat('kept in ', folder, if(evidence = '', '', concat(': ', evidence))), toString(listener), received_at
FROM {{database}}.`quarantine_messages`
