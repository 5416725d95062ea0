SELECT domain, id_time, id, recipient, host AS filtering_host, own AS event_key, min(happened) AS first_time, max(happened) AS last_time,
    argMax(word, at) AS status, argMax(word_norm, at) AS status_norm, toUInt8(max(is_message)) AS has_message,
    uniqExactIf((happened, word, s_delivery_data), NOT is_message AND (s_delivery_data != '' OR s_delivery_ip != toIPv6('::'))) AS attempts,
    argMaxIf(m_sender, at, is_message) AS sender, argMaxIf(m_sender_host, at, is_message) AS sender_host,
    argMaxIf(m_sender_ip, at, is_message) AS sender_ip, argMaxIf(m_sender_location, at, is_message) AS sender_location,
    argMaxIf(m_helo, at, is_message) AS helo, argMaxIf(m_incoming_size, at, is_message) AS incoming_size,
    argMaxIf(m_outgoing_size, at, is_message) AS outgoing_size, argMaxIf(m_bandwidth, at, is_message) AS bandwidth,
    argMaxIf(m_from_header, at, is_message) AS from_header, argMaxIf(m_to_header, at, is_message) AS to_header,
    argMaxIf(m_cc_header, at, is_message) AS cc_header, argMaxIf(m_subject_header, at, is_message) AS subject_header,
    argMaxIf(m_classification, at, is_message) AS classification, argMaxIf(m_classification_details, at, is_message) AS classification_details,
    argMaxIf(m_classification_code, at, is_message) AS classification_code, argMaxIf(m_main_class, at, is_message) AS main_class,
    argMaxIf(m_sub_class, at, is_message) AS sub_class, argMaxIf(m_extra_class, at, is_message) AS extra_class,
    argMaxIf(m_class_norm, at, is_message) AS class_norm, {{class_group}} AS class_group, argMaxIf(m_auth_user, at, is_message) AS auth_user,
    argMaxIf(m_identity, at, is_message) AS identity, argMaxIf(m_extra, at, is_message) AS extra, if(argMaxIf(heard, at, is_message) != '', argMaxIf(heard, at, is_message), argMax(heard, at)) AS listener,
    multiIf(auth_user != '' OR identity != '', 'outgoing', argMaxIf(way, at, is_message) != '', argMaxIf(way, at, is_message), argMax(way, at) != '', argMax(way, at), 'unknown') AS direction,
    argMaxIf(s_delivery_date, at, NOT is_message) AS delivery_date, argMaxIf(s_delivery_ip, at, NOT is_message) AS delivery_ip,
    argMaxIf(s_delivery_port, at, NOT is_message) AS delivery_port, argMaxIf(s_delivery_fqdn, at, NOT is_message) AS delivery_fqdn,
    argMaxIf(s_delivery_interface, at, NOT is_message) AS delivery_interface, argMaxIf(s_delivery_data, at, NOT is_message) AS delivery_data,
    toUInt16OrZero(extract(delivery_data, '(?:^|[ :"])([245][0-9][0-9])[ -]')) AS delivery_code,
    extract(delivery_data, '(?:^|[ :"#-])([245]\\.[0-9]{1,3}\\.[0-9]{1,3})(?:[^0-9.]|$)') AS delivery_enhanced,
    lower(extract(delivery_data, '(?:after|in response to) (?:pipelined )?(end of data|initial connection|[A-Z]+(?: (?:FROM|TO))?)')) AS delivery_phase
FROM
(
    SELECT domain, id_time, id, recipient, toString(filtering_host) AS host, if(id = '', concat(toString(k_topic), ' ', toString(k_epoch), ' ', toString(k_part), ' ', toString(k_off)), '') AS own,
        {{order_of_message}} AS at, event_time AS happened,
        true AS is_message, toString(status) AS word, toString(status_norm) AS word_norm, toString(direction) AS way, toString(listener) AS heard,
        sender AS m_sender, sender_host AS m_sender_host, sender_ip AS m_sender_ip, toString(sender_location) AS m_sender_location, helo AS m_helo,
        incoming_size AS m_incoming_size, outgoing_size AS m_outgoing_size, bandwidth AS m_bandwidth, from_header AS m_from_header,
        to_header AS m_to_header, cc_header AS m_cc_header, subject_header AS m_subject_header, classification AS m_classification,
        classification_details AS m_classification_details, toString(classification_code) AS m_classification_code,
        toString(main_class) AS m_main_class, toString(sub_class) AS m_sub_class, extra_class AS m_extra_class, {{class}} AS m_class_norm,
        auth_user AS m_auth_user, identity AS m_identity, extra AS m_extra,
        toDateTime64(0, 3, 'UTC') AS s_delivery_date, toIPv6('::') AS s_delivery_ip, toUInt16(0) AS s_delivery_port, '' AS s_delivery_fqdn,
        '' AS s_delivery_interface, '' AS s_delivery_data
    FROM {{database}}.`message_events`{{where}}
    UNION ALL
    SELECT domain, id_time, id, recipient, toString(filtering_host), if(id = '', concat(toString(k_topic), ' ', toString(k_epoch), ' ', toString(k_part), ' ', toString(k_off)), ''),
        {{order_of_status}}, event_time,
        false, toString(status), toString(status_norm), toString(direction), toString(listener),
        '', '', toIPv6('::'), '', '', toUInt64(0), toUInt64(0), toUInt64(0), '', '', '', '', '', '', '', '', '', '', '', '', '', CAST(map(), 'Map(String, String)'),
        delivery_date, delivery_ip, delivery_port, delivery_fqdn, delivery_interface, delivery_data
    FROM {{database}}.`status_events`{{where}}
)
GROUP BY domain, id_time, id, recipient, host, own
