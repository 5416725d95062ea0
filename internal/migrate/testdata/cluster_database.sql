CREATE DATABASE IF NOT EXISTS `millrace` ON CLUSTER `main` ENGINE = Replicated('/clickhouse/databases/millrace', '{shard}', '{replica}');

CREATE TABLE IF NOT EXISTS `millrace`.`schema_migrations`
(
    version UInt32,
    name String,
    checksum String,
    applied_at DateTime64(3, 'UTC'),
    binary_version String
)
ENGINE = ReplicatedMergeTree
ORDER BY version
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1;

-- 0001_events
CREATE TABLE IF NOT EXISTS `millrace`.`message_events`
(
    received_at DateTime64(3, 'UTC') CODEC(Delta, Default),
    event_time DateTime64(3, 'UTC') CODEC(Delta, Default),
    event_time_source LowCardinality(String),
    id_time DateTime('UTC') CODEC(Delta, Default),
    listener LowCardinality(String),
    transport LowCardinality(String),
    peer_ip IPv6,
    facility UInt8,
    severity UInt8,
    syslog_host LowCardinality(String),
    syslog_app LowCardinality(String),
    syslog_pid String,
    structured_data Map(String, String),
    format LowCardinality(String),
    direction LowCardinality(String),
    flags Array(LowCardinality(String)),
    bad_fields Array(LowCardinality(String)),
    raw String,
    extra Map(String, String),
    k_topic LowCardinality(String),
    k_epoch UInt16,
    k_part UInt16,
    k_off UInt64 CODEC(Delta, Default),
    id String,
    filtering_host LowCardinality(String),
    domain String,
    sender String,
    recipient String,
    timestamp DateTime64(3, 'UTC') CODEC(Delta, Default),
    sender_host String,
    sender_ip IPv6,
    sender_location LowCardinality(String),
    helo String,
    incoming_size UInt64,
    outgoing_size UInt64,
    bandwidth UInt64,
    from_header String,
    to_header String,
    cc_header String,
    subject_header String,
    status LowCardinality(String),
    status_norm LowCardinality(String),
    classification String,
    classification_details String,
    classification_code LowCardinality(String),
    main_class LowCardinality(String),
    sub_class LowCardinality(String),
    extra_class String,
    class_norm LowCardinality(String),
    auth_user String,
    identity String,
    INDEX i_id id TYPE bloom_filter(0.01),
    INDEX i_event_time event_time TYPE minmax,
    INDEX i_off k_off TYPE minmax
)
ENGINE = ReplicatedMergeTree
PARTITION BY toMonday(received_at)
ORDER BY (domain, id_time, id)
SETTINGS non_replicated_deduplication_window = 10000, fsync_after_insert = 1, fsync_part_directory = 1;
CREATE TABLE IF NOT EXISTS `millrace`.`status_events`
(
    received_at DateTime64(3, 'UTC') CODEC(Delta, Default),
    event_time DateTime64(3, 'UTC') CODEC(Delta, Default),
    event_time_source LowCardinality(String),
    id_time DateTime('UTC') CODEC(Delta, Default),
    listener LowCardinality(String),
    transport LowCardinality(String),
    peer_ip IPv6,
    facility UInt8,
    severity UInt8,
    syslog_host LowCardinality(String),
    syslog_app LowCardinality(String),
    syslog_pid String,
    structured_data Map(String, String),
    format LowCardinality(String),
    direction LowCardinality(String),
    flags Array(LowCardinality(String)),
    bad_fields Array(LowCardinality(String)),
    raw String,
    extra Map(String, String),
    k_topic LowCardinality(String),
    k_epoch UInt16,
    k_part UInt16,
    k_off UInt64 CODEC(Delta, Default),
    id String,
    filtering_host LowCardinality(String),
    domain String,
    recipient String,
    status LowCardinality(String),
    status_norm LowCardinality(String),
    delivery_date DateTime64(3, 'UTC') CODEC(Delta, Default),
    delivery_ip IPv6,
    delivery_port UInt16,
    delivery_fqdn String,
    delivery_interface String,
    delivery_data String,
    INDEX i_id id TYPE bloom_filter(0.01),
    INDEX i_event_time event_time TYPE minmax,
    INDEX i_off k_off TYPE minmax
)
ENGINE = ReplicatedMergeTree
PARTITION BY toMonday(received_at)
ORDER BY (domain, id_time, id)
SETTINGS non_replicated_deduplication_window = 10000, fsync_after_insert = 1, fsync_part_directory = 1;
CREATE TABLE IF NOT EXISTS `millrace`.`rejects`
(
    received_at DateTime64(3, 'UTC') CODEC(Delta, Default),
    event_time DateTime64(3, 'UTC') CODEC(Delta, Default),
    event_time_source LowCardinality(String),
    id_time DateTime('UTC') CODEC(Delta, Default),
    listener LowCardinality(String),
    transport LowCardinality(String),
    peer_ip IPv6,
    facility UInt8,
    severity UInt8,
    syslog_host LowCardinality(String),
    syslog_app LowCardinality(String),
    syslog_pid String,
    structured_data Map(String, String),
    format LowCardinality(String),
    direction LowCardinality(String),
    flags Array(LowCardinality(String)),
    bad_fields Array(LowCardinality(String)),
    raw String,
    extra Map(String, String),
    k_topic LowCardinality(String),
    k_epoch UInt16,
    k_part UInt16,
    k_off UInt64 CODEC(Delta, Default),
    reason LowCardinality(String),
    detail String,
    frame_bytes UInt64,
    INDEX i_off k_off TYPE minmax
)
ENGINE = ReplicatedMergeTree
PARTITION BY toMonday(received_at)
ORDER BY (reason, received_at)
SETTINGS non_replicated_deduplication_window = 10000, fsync_after_insert = 1, fsync_part_directory = 1;

-- 0002_revision
ALTER TABLE `millrace`.`message_events` ADD COLUMN IF NOT EXISTS revision UInt8 AFTER k_off;
ALTER TABLE `millrace`.`status_events` ADD COLUMN IF NOT EXISTS revision UInt8 AFTER k_off;
ALTER TABLE `millrace`.`rejects` ADD COLUMN IF NOT EXISTS revision UInt8 AFTER k_off;

-- 0003_replicated_windows
ALTER TABLE `millrace`.`message_events` MODIFY SETTING replicated_deduplication_window = 20000, replicated_deduplication_window_seconds = 86400;
ALTER TABLE `millrace`.`status_events` MODIFY SETTING replicated_deduplication_window = 20000, replicated_deduplication_window_seconds = 86400;
ALTER TABLE `millrace`.`rejects` MODIFY SETTING replicated_deduplication_window = 20000, replicated_deduplication_window_seconds = 86400;

-- 0004_logs
ALTER TABLE `millrace`.`message_events`
    ADD COLUMN IF NOT EXISTS source LowCardinality(String) AFTER extra,
    ADD COLUMN IF NOT EXISTS source_offset UInt64 CODEC(Delta, Default) AFTER source,
    ADD COLUMN IF NOT EXISTS source_path LowCardinality(String) AFTER source_offset;
ALTER TABLE `millrace`.`status_events`
    ADD COLUMN IF NOT EXISTS source LowCardinality(String) AFTER extra,
    ADD COLUMN IF NOT EXISTS source_offset UInt64 CODEC(Delta, Default) AFTER source,
    ADD COLUMN IF NOT EXISTS source_path LowCardinality(String) AFTER source_offset;
ALTER TABLE `millrace`.`rejects`
    ADD COLUMN IF NOT EXISTS source LowCardinality(String) AFTER extra,
    ADD COLUMN IF NOT EXISTS source_offset UInt64 CODEC(Delta, Default) AFTER source,
    ADD COLUMN IF NOT EXISTS source_path LowCardinality(String) AFTER source_offset;
CREATE TABLE IF NOT EXISTS `millrace`.`smtp_transactions`
(
    received_at DateTime64(3, 'UTC') CODEC(Delta, Default),
    event_time DateTime64(3, 'UTC') CODEC(Delta, Default),
    event_time_source LowCardinality(String),
    id_time DateTime('UTC') CODEC(Delta, Default),
    listener LowCardinality(String),
    transport LowCardinality(String),
    peer_ip IPv6,
    facility UInt8,
    severity UInt8,
    syslog_host LowCardinality(String),
    syslog_app LowCardinality(String),
    syslog_pid String,
    structured_data Map(String, String),
    format LowCardinality(String),
    direction LowCardinality(String),
    flags Array(LowCardinality(String)),
    bad_fields Array(LowCardinality(String)),
    raw String,
    extra Map(String, String),
    source LowCardinality(String),
    source_offset UInt64 CODEC(Delta, Default),
    source_path LowCardinality(String),
    k_topic LowCardinality(String),
    k_epoch UInt16,
    k_part UInt16,
    k_off UInt64 CODEC(Delta, Default),
    revision UInt8,
    port UInt16,
    session LowCardinality(String),
    domain String,
    sender String,
    sender_code UInt16,
    sender_reply String,
    recipients Array(String),
    recipient_codes Array(UInt16),
    recipient_replies Array(String),
    checks Array(String),
    check_client_names Array(String),
    check_client_ips Array(IPv6),
    check_recipients Array(String),
    check_details Array(String),
    size UInt64,
    code UInt16,
    reply String,
    accepted UInt8,
    qmail_time DateTime('UTC'),
    qp UInt64,
    INDEX i_qp qp TYPE bloom_filter(0.01),
    INDEX i_event_time event_time TYPE minmax,
    INDEX i_off k_off TYPE minmax
)
ENGINE = ReplicatedMergeTree
PARTITION BY toMonday(received_at)
ORDER BY (domain, event_time)
SETTINGS non_replicated_deduplication_window = 10000, fsync_after_insert = 1, fsync_part_directory = 1, replicated_deduplication_window = 20000, replicated_deduplication_window_seconds = 86400;
CREATE TABLE IF NOT EXISTS `millrace`.`delivery_attempts`
(
    received_at DateTime64(3, 'UTC') CODEC(Delta, Default),
    event_time DateTime64(3, 'UTC') CODEC(Delta, Default),
    event_time_source LowCardinality(String),
    id_time DateTime('UTC') CODEC(Delta, Default),
    listener LowCardinality(String),
    transport LowCardinality(String),
    peer_ip IPv6,
    facility UInt8,
    severity UInt8,
    syslog_host LowCardinality(String),
    syslog_app LowCardinality(String),
    syslog_pid String,
    structured_data Map(String, String),
    format LowCardinality(String),
    direction LowCardinality(String),
    flags Array(LowCardinality(String)),
    bad_fields Array(LowCardinality(String)),
    raw String,
    extra Map(String, String),
    source LowCardinality(String),
    source_offset UInt64 CODEC(Delta, Default),
    source_path LowCardinality(String),
    k_topic LowCardinality(String),
    k_epoch UInt16,
    k_part UInt16,
    k_off UInt64 CODEC(Delta, Default),
    revision UInt8,
    domain String,
    sender String,
    delivery_number UInt64,
    channel LowCardinality(String),
    recipient String,
    outcome LowCardinality(String),
    text String,
    files UInt64,
    forwards UInt64,
    programs UInt64,
    smtp_auth UInt8,
    remote_host String,
    remote_ip IPv6,
    code UInt16,
    enhanced_code LowCardinality(String),
    reply String,
    started DateTime64(3, 'UTC') CODEC(Delta, Default),
    message_number UInt64,
    size UInt64,
    qp UInt64,
    uid UInt64,
    INDEX i_qp qp TYPE bloom_filter(0.01),
    INDEX i_event_time event_time TYPE minmax,
    INDEX i_off k_off TYPE minmax
)
ENGINE = ReplicatedMergeTree
PARTITION BY toMonday(received_at)
ORDER BY (domain, event_time)
SETTINGS non_replicated_deduplication_window = 10000, fsync_after_insert = 1, fsync_part_directory = 1, replicated_deduplication_window = 20000, replicated_deduplication_window_seconds = 86400;
CREATE TABLE IF NOT EXISTS `millrace`.`spamdyke_verdicts`
(
    received_at DateTime64(3, 'UTC') CODEC(Delta, Default),
    event_time DateTime64(3, 'UTC') CODEC(Delta, Default),
    event_time_source LowCardinality(String),
    id_time DateTime('UTC') CODEC(Delta, Default),
    listener LowCardinality(String),
    transport LowCardinality(String),
    peer_ip IPv6,
    facility UInt8,
    severity UInt8,
    syslog_host LowCardinality(String),
    syslog_app LowCardinality(String),
    syslog_pid String,
    structured_data Map(String, String),
    format LowCardinality(String),
    direction LowCardinality(String),
    flags Array(LowCardinality(String)),
    bad_fields Array(LowCardinality(String)),
    raw String,
    extra Map(String, String),
    source LowCardinality(String),
    source_offset UInt64 CODEC(Delta, Default),
    source_path LowCardinality(String),
    k_topic LowCardinality(String),
    k_epoch UInt16,
    k_part UInt16,
    k_off UInt64 CODEC(Delta, Default),
    revision UInt8,
    code LowCardinality(String),
    verdict LowCardinality(String),
    domain String,
    sender String,
    recipient String,
    origin_ip IPv6,
    origin_rdns String,
    auth_user String,
    encryption LowCardinality(String),
    reason String,
    qmail_time DateTime('UTC'),
    qp UInt64,
    INDEX i_qp qp TYPE bloom_filter(0.01),
    INDEX i_event_time event_time TYPE minmax,
    INDEX i_off k_off TYPE minmax
)
ENGINE = ReplicatedMergeTree
PARTITION BY toMonday(received_at)
ORDER BY (domain, event_time)
SETTINGS non_replicated_deduplication_window = 10000, fsync_after_insert = 1, fsync_part_directory = 1, replicated_deduplication_window = 20000, replicated_deduplication_window_seconds = 86400;
CREATE TABLE IF NOT EXISTS `millrace`.`generic_lines`
(
    received_at DateTime64(3, 'UTC') CODEC(Delta, Default),
    event_time DateTime64(3, 'UTC') CODEC(Delta, Default),
    event_time_source LowCardinality(String),
    id_time DateTime('UTC') CODEC(Delta, Default),
    listener LowCardinality(String),
    transport LowCardinality(String),
    peer_ip IPv6,
    facility UInt8,
    severity UInt8,
    syslog_host LowCardinality(String),
    syslog_app LowCardinality(String),
    syslog_pid String,
    structured_data Map(String, String),
    format LowCardinality(String),
    direction LowCardinality(String),
    flags Array(LowCardinality(String)),
    bad_fields Array(LowCardinality(String)),
    raw String,
    extra Map(String, String),
    source LowCardinality(String),
    source_offset UInt64 CODEC(Delta, Default),
    source_path LowCardinality(String),
    k_topic LowCardinality(String),
    k_epoch UInt16,
    k_part UInt16,
    k_off UInt64 CODEC(Delta, Default),
    revision UInt8,
    log LowCardinality(String),
    program LowCardinality(String),
    level LowCardinality(String),
    key LowCardinality(String),
    text String,
    INDEX i_off k_off TYPE minmax
)
ENGINE = ReplicatedMergeTree
PARTITION BY toMonday(received_at)
ORDER BY (log, event_time)
SETTINGS non_replicated_deduplication_window = 10000, fsync_after_insert = 1, fsync_part_directory = 1, replicated_deduplication_window = 20000, replicated_deduplication_window_seconds = 86400;
CREATE TABLE IF NOT EXISTS `millrace`.`feedback_reports`
(
    received_at DateTime64(3, 'UTC') CODEC(Delta, Default),
    event_time DateTime64(3, 'UTC') CODEC(Delta, Default),
    event_time_source LowCardinality(String),
    id_time DateTime('UTC') CODEC(Delta, Default),
    listener LowCardinality(String),
    transport LowCardinality(String),
    peer_ip IPv6,
    facility UInt8,
    severity UInt8,
    syslog_host LowCardinality(String),
    syslog_app LowCardinality(String),
    syslog_pid String,
    structured_data Map(String, String),
    format LowCardinality(String),
    direction LowCardinality(String),
    flags Array(LowCardinality(String)),
    bad_fields Array(LowCardinality(String)),
    raw String,
    extra Map(String, String),
    source LowCardinality(String),
    source_offset UInt64 CODEC(Delta, Default),
    source_path LowCardinality(String),
    k_topic LowCardinality(String),
    k_epoch UInt16,
    k_part UInt16,
    k_off UInt64 CODEC(Delta, Default),
    revision UInt8,
    domain String,
    feedback_type LowCardinality(String),
    user_agent String,
    version LowCardinality(String),
    sender String,
    recipients Array(String),
    reported_domains Array(String),
    reported_uris Array(String),
    envelope_id String,
    arrival_date DateTime64(3, 'UTC') CODEC(Delta, Default),
    reporting_mta String,
    source_ip IPv6,
    source_port UInt16,
    incidents UInt64,
    authentication_results Array(String),
    auth_user String,
    auth_failure LowCardinality(String),
    delivery_result LowCardinality(String),
    identity_alignment String,
    report_from String,
    report_to String,
    report_subject String,
    report_id String,
    description String,
    id String,
    message_id String,
    from_header String,
    to_header String,
    subject_header String,
    filter_domain String,
    filter_username String,
    filter_class LowCardinality(String),
    filter_evidence String,
    headers String,
    body String,
    INDEX i_id id TYPE bloom_filter(0.01),
    INDEX i_event_time event_time TYPE minmax,
    INDEX i_off k_off TYPE minmax
)
ENGINE = ReplicatedMergeTree
PARTITION BY toMonday(received_at)
ORDER BY (domain, event_time)
SETTINGS non_replicated_deduplication_window = 10000, fsync_after_insert = 1, fsync_part_directory = 1, replicated_deduplication_window = 20000, replicated_deduplication_window_seconds = 86400;
CREATE TABLE IF NOT EXISTS `millrace`.`quarantine_messages`
(
    received_at DateTime64(3, 'UTC') CODEC(Delta, Default),
    event_time DateTime64(3, 'UTC') CODEC(Delta, Default),
    event_time_source LowCardinality(String),
    id_time DateTime('UTC') CODEC(Delta, Default),
    listener LowCardinality(String),
    transport LowCardinality(String),
    peer_ip IPv6,
    facility UInt8,
    severity UInt8,
    syslog_host LowCardinality(String),
    syslog_app LowCardinality(String),
    syslog_pid String,
    structured_data Map(String, String),
    format LowCardinality(String),
    direction LowCardinality(String),
    flags Array(LowCardinality(String)),
    bad_fields Array(LowCardinality(String)),
    raw String,
    extra Map(String, String),
    source LowCardinality(String),
    source_offset UInt64 CODEC(Delta, Default),
    source_path LowCardinality(String),
    k_topic LowCardinality(String),
    k_epoch UInt16,
    k_part UInt16,
    k_off UInt64 CODEC(Delta, Default),
    revision UInt8,
    domain String,
    from_header String,
    to_header String,
    reply_to_header String,
    qmail_uid String,
    invoked_for String,
    client String,
    evidence String,
    php_script String,
    auth_sender String,
    auth_user String,
    auth_email String,
    subject_header String,
    message_id String,
    id String,
    size UInt64,
    folder LowCardinality(String),
    uid_validity UInt64,
    uid UInt64,
    server LowCardinality(String),
    account LowCardinality(String),
    INDEX i_id id TYPE bloom_filter(0.01),
    INDEX i_event_time event_time TYPE minmax,
    INDEX i_off k_off TYPE minmax
)
ENGINE = ReplicatedMergeTree
PARTITION BY toMonday(received_at)
ORDER BY (domain, event_time)
SETTINGS non_replicated_deduplication_window = 10000, fsync_after_insert = 1, fsync_part_directory = 1, replicated_deduplication_window = 20000, replicated_deduplication_window_seconds = 86400;
CREATE VIEW IF NOT EXISTS `millrace`.`message_trail` AS
SELECT event_time, 'message' AS kind, toString(filtering_host) AS host, id, toDateTime(0, 'UTC') AS qmail_time, toUInt64(0) AS qp, domain, sender, [recipient] AS recipients, sender_ip AS client,
    concat(status, if(main_class = '', '', concat(' ', main_class)), if(subject_header = '', '', concat(': ', subject_header))) AS what, toString(listener) AS listener, received_at
FROM `millrace`.`message_events`
UNION ALL
SELECT event_time, 'status', toString(filtering_host), id, toDateTime(0, 'UTC'), toUInt64(0), domain, '', [recipient], delivery_ip,
    concat(status, if(delivery_fqdn = '', '', concat(' ', delivery_fqdn)), if(delivery_data = '', '', concat(': ', delivery_data))), toString(listener), received_at
FROM `millrace`.`status_events`
UNION ALL
SELECT event_time, 'spamdyke', toString(syslog_host), '', qmail_time, qp, domain, sender, [recipient], origin_ip,
    concat(code, if(reason = '', '', concat(': ', reason))), toString(listener), received_at
FROM `millrace`.`spamdyke_verdicts`
UNION ALL
SELECT event_time, 'smtp', toString(syslog_host), '', qmail_time, qp, domain, sender, recipients, arrayFirst(x -> x != toIPv6('::'), check_client_ips),
    concat(if(accepted = 1, 'accepted', 'not accepted'), if(reply = '', '', concat(': ', reply))), toString(listener), received_at
FROM `millrace`.`smtp_transactions`
UNION ALL
SELECT event_time, 'delivery', toString(syslog_host), '', toDateTime(0, 'UTC'), qp, domain, sender, [recipient], remote_ip,
    concat(if(outcome = '', 'no result', outcome), if(channel = '', '', concat(' ', channel)), if(text = '', '', concat(': ', text))), toString(listener), received_at
FROM `millrace`.`delivery_attempts`
UNION ALL
SELECT event_time, 'feedback', '', id, toDateTime(0, 'UTC'), toUInt64(0), domain, sender, recipients, source_ip,
    concat('report', if(feedback_type = '', '', concat(' ', feedback_type)), if(user_agent = '', '', concat(' by ', user_agent)), if(subject_header = '', '', concat(': ', subject_header))), toString(listener), received_at
FROM `millrace`.`feedback_reports`
UNION ALL
SELECT event_time, 'quarantine', toString(server), id, toDateTime(0, 'UTC'), toUInt64(0), domain, if(auth_sender = '', from_header, auth_sender), [to_header], toIPv6OrDefault(client),
    concat('kept in ', folder, if(evidence = '', '', concat(': ', evidence))), toString(listener), received_at
FROM `millrace`.`quarantine_messages`;

-- 0005_rollups
CREATE TABLE IF NOT EXISTS `millrace`.`rollup_hours`
(
    rollup LowCardinality(String),
    hour DateTime('UTC'),
    events UInt64,
    computed_at DateTime64(3, 'UTC')
)
ENGINE = ReplicatedReplacingMergeTree(computed_at)
PARTITION BY toYear(hour)
ORDER BY (rollup, hour);
CREATE TABLE IF NOT EXISTS `millrace`.`messages_hourly_rows`
(
    hour DateTime('UTC'),
    direction LowCardinality(String),
    domain String,
    auth_user String,
    identity String,
    class_norm LowCardinality(String),
    status_norm LowCardinality(String),
    messages UInt64,
    bytes UInt64,
    recipients AggregateFunction(uniqCombined(12), String),
    invalid_recipients UInt64,
    invalid_senders UInt64,
    content UInt64,
    events UInt64,
    computed_at DateTime64(3, 'UTC'),
    deleted UInt8
)
ENGINE = ReplicatedReplacingMergeTree(computed_at, deleted)
PARTITION BY toMonday(hour)
ORDER BY (domain, hour, direction, auth_user, identity, class_norm, status_norm);
CREATE TABLE IF NOT EXISTS `millrace`.`senders_hourly_rows`
(
    hour DateTime('UTC'),
    direction LowCardinality(String),
    domain String,
    auth_user String,
    identity String,
    sender String,
    messages UInt64,
    accepted UInt64,
    rejected UInt64,
    temporarily_rejected UInt64,
    quarantined UInt64,
    bytes UInt64,
    recipients AggregateFunction(uniqCombined(12), String),
    invalid_recipients UInt64,
    invalid_senders UInt64,
    content UInt64,
    events UInt64,
    computed_at DateTime64(3, 'UTC'),
    deleted UInt8
)
ENGINE = ReplicatedReplacingMergeTree(computed_at, deleted)
PARTITION BY toMonday(hour)
ORDER BY (hour, direction, domain, auth_user, identity, sender);

-- 0006_state
CREATE TABLE IF NOT EXISTS `millrace`.`state_changes`
(
    epoch UInt64,
    offset UInt64 CODEC(Delta, Default),
    time DateTime64(3, 'UTC') CODEC(Delta, Default),
    actor LowCardinality(String),
    how LowCardinality(String),
    kind LowCardinality(String),
    parts Array(String),
    action LowCardinality(String),
    reason String,
    effect LowCardinality(String),
    term UInt64,
    before String,
    after String,
    record String,
    copied_at DateTime64(3, 'UTC')
)
ENGINE = ReplicatedReplacingMergeTree(copied_at)
ORDER BY (epoch, offset)
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1;

-- 0007_id_time
ALTER TABLE `millrace`.`message_events` ADD INDEX IF NOT EXISTS i_id_time id_time TYPE minmax;
ALTER TABLE `millrace`.`status_events` ADD INDEX IF NOT EXISTS i_id_time id_time TYPE minmax;
ALTER TABLE `millrace`.`message_events` MATERIALIZE INDEX i_id_time;
ALTER TABLE `millrace`.`status_events` MATERIALIZE INDEX i_id_time;

-- views
CREATE OR REPLACE VIEW `millrace`.`message_trail` AS
SELECT event_time, 'message' AS kind, toString(filtering_host) AS host, id, toDateTime(0, 'UTC') AS qmail_time, toUInt64(0) AS qp, domain, sender, [recipient] AS recipients, sender_ip AS client,
    concat(status, if(main_class = '', '', concat(' ', main_class)), if(subject_header = '', '', concat(': ', subject_header))) AS what, toString(listener) AS listener, received_at
FROM `millrace`.`message_events`
UNION ALL
SELECT event_time, 'status', toString(filtering_host), id, toDateTime(0, 'UTC'), toUInt64(0), domain, '', [recipient], delivery_ip,
    concat(status, if(delivery_fqdn = '', '', concat(' ', delivery_fqdn)), if(delivery_data = '', '', concat(': ', delivery_data))), toString(listener), received_at
FROM `millrace`.`status_events`
UNION ALL
SELECT event_time, 'spamdyke', toString(syslog_host), '', qmail_time, qp, domain, sender, [recipient], origin_ip,
    concat(code, if(reason = '', '', concat(': ', reason))), toString(listener), received_at
FROM `millrace`.`spamdyke_verdicts`
UNION ALL
SELECT event_time, 'smtp', toString(syslog_host), '', qmail_time, qp, domain, sender, recipients, arrayFirst(x -> x != toIPv6('::'), check_client_ips),
    concat(if(accepted = 1, 'accepted', 'not accepted'), if(reply = '', '', concat(': ', reply))), toString(listener), received_at
FROM `millrace`.`smtp_transactions`
UNION ALL
SELECT event_time, 'delivery', toString(syslog_host), '', toDateTime(0, 'UTC'), qp, domain, sender, [recipient], remote_ip,
    concat(if(outcome = '', 'no result', outcome), if(channel = '', '', concat(' ', channel)), if(text = '', '', concat(': ', text))), toString(listener), received_at
FROM `millrace`.`delivery_attempts`
UNION ALL
SELECT event_time, 'feedback', '', id, toDateTime(0, 'UTC'), toUInt64(0), domain, sender, recipients, source_ip,
    concat('report', if(feedback_type = '', '', concat(' ', feedback_type)), if(user_agent = '', '', concat(' by ', user_agent)), if(subject_header = '', '', concat(': ', subject_header))), toString(listener), received_at
FROM `millrace`.`feedback_reports`
UNION ALL
SELECT event_time, 'quarantine', toString(server), id, toDateTime(0, 'UTC'), toUInt64(0), domain, if(auth_sender = '', from_header, auth_sender), [to_header], toIPv6OrDefault(client),
    concat('kept in ', folder, if(evidence = '', '', concat(': ', evidence))), toString(listener), received_at
FROM `millrace`.`quarantine_messages`
COMMENT 'made by millrace schema apply, definition c319a8b9b17982d6';
CREATE OR REPLACE VIEW `millrace`.`classes` AS
SELECT c.1 AS word, c.2 AS class, c.3 AS `group`, c.4 AS meaning, c.5 AS advice, c.6 AS own
FROM
(
    SELECT arrayJoin([
        ('not-spam', 'not-spam', 'accepted', 'nothing speaks against it', 'none; report it as spam if it was', toUInt8(0)),
        ('ham', 'not-spam', 'accepted', 'nothing speaks against it', 'none; report it as spam if it was', toUInt8(0)),
        ('notspam', 'not-spam', 'accepted', 'nothing speaks against it', 'none; report it as spam if it was', toUInt8(0)),
        ('clean', 'not-spam', 'accepted', 'nothing speaks against it', 'none; report it as spam if it was', toUInt8(0)),
        ('allow-list', 'allow-list', 'accepted', 'an allow list names its sender or recipient', 'if it was spam, look in extra_class for the list and shorten it', toUInt8(0)),
        ('whitelisted', 'allow-list', 'accepted', 'an allow list names its sender or recipient', 'if it was spam, look in extra_class for the list and shorten it', toUInt8(0)),
        ('whitelist', 'allow-list', 'accepted', 'an allow list names its sender or recipient', 'if it was spam, look in extra_class for the list and shorten it', toUInt8(0)),
        ('white-list', 'allow-list', 'accepted', 'an allow list names its sender or recipient', 'if it was spam, look in extra_class for the list and shorten it', toUInt8(0)),
        ('allowlist', 'allow-list', 'accepted', 'an allow list names its sender or recipient', 'if it was spam, look in extra_class for the list and shorten it', toUInt8(0)),
        ('allowlisted', 'allow-list', 'accepted', 'an allow list names its sender or recipient', 'if it was spam, look in extra_class for the list and shorten it', toUInt8(0)),
        ('allow-listed', 'allow-list', 'accepted', 'an allow list names its sender or recipient', 'if it was spam, look in extra_class for the list and shorten it', toUInt8(0)),
        ('unsure', 'unsure', 'accepted', 'neither clearly spam nor clearly not', 'train the filter with it in the direction that is right', toUInt8(0)),
        ('spam', 'spam', 'rejected', 'its content or its origin is that of spam', 'outgoing: find out which account sent it and lock its identity; incoming: release and train if it was none', toUInt8(0)),
        ('phish', 'phish', 'rejected', 'it asks for passwords or money under a false name', 'outgoing: lock the identity, and take its web site down; never release without a look', toUInt8(0)),
        ('phishing', 'phish', 'rejected', 'it asks for passwords or money under a false name', 'outgoing: lock the identity, and take its web site down; never release without a look', toUInt8(0)),
        ('virus', 'virus', 'rejected', 'it carries malware, or an attachment that is not let through', 'outgoing: the sender\'s machine or web site is broken into; lock the identity and clean it', toUInt8(0)),
        ('block-list', 'block-list', 'rejected', 'a block list names its sender, recipient, client or attachment', 'look in sub_class and extra_class for the list; take the entry off if it is wrong', toUInt8(0)),
        ('blacklisted', 'block-list', 'rejected', 'a block list names its sender, recipient, client or attachment', 'look in sub_class and extra_class for the list; take the entry off if it is wrong', toUInt8(0)),
        ('blacklist', 'block-list', 'rejected', 'a block list names its sender, recipient, client or attachment', 'look in sub_class and extra_class for the list; take the entry off if it is wrong', toUInt8(0)),
        ('black-list', 'block-list', 'rejected', 'a block list names its sender, recipient, client or attachment', 'look in sub_class and extra_class for the list; take the entry off if it is wrong', toUInt8(0)),
        ('blocklist', 'block-list', 'rejected', 'a block list names its sender, recipient, client or attachment', 'look in sub_class and extra_class for the list; take the entry off if it is wrong', toUInt8(0)),
        ('blocklisted', 'block-list', 'rejected', 'a block list names its sender, recipient, client or attachment', 'look in sub_class and extra_class for the list; take the entry off if it is wrong', toUInt8(0)),
        ('block-listed', 'block-list', 'rejected', 'a block list names its sender, recipient, client or attachment', 'look in sub_class and extra_class for the list; take the entry off if it is wrong', toUInt8(0)),
        ('oversize', 'oversize', 'rejected', 'it is larger than is allowed', 'raise the limit of the domain, or send a link', toUInt8(0)),
        ('locked', 'locked', 'rejected', 'its outgoing user or identity is locked', 'clean the account first, then unlock it', toUInt8(0)),
        ('error', 'error', 'rejected', 'it could not be taken: an address that is wrong or unknown, a rule of the protocol broken', 'look in sub_class and extra_class for what was wrong', toUInt8(0)),
        ('deferred', 'deferred', 'temporarily-rejected', 'refused for now: greylisting, a rate limit, a destination that does not answer', 'none, its sender tries again; if it stays so, look in sub_class for the limit', toUInt8(0)),
        ('unknown', 'unknown', '', 'the filter has not said', 'look at the status; add the variables of the class to the template if it is always so', toUInt8(0))]) AS c
)
COMMENT 'made by millrace schema apply, definition 496148e48d3aaa14';
CREATE OR REPLACE VIEW `millrace`.`messages` AS
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
    argMaxIf(m_class_norm, at, is_message) AS class_norm, multiIf(status_norm IN ('not-accepted', 'rejected'), 'rejected', status_norm IN ('temporarily-rejected'), 'temporarily-rejected', status_norm IN ('quarantined', 'quarantine-expired', 'quarantine-removed'), 'quarantined', class_norm IN ('allow-list', 'not-spam', 'unsure'), 'accepted', class_norm IN ('block-list', 'error', 'locked', 'oversize', 'phish', 'spam', 'virus'), 'rejected', class_norm IN ('deferred'), 'temporarily-rejected', status_norm IN ('queued', 'queue-frozen', 'accepted', 'released', 'auto-released', 'delivery-failed', 'queue-expired', 'queue-removed', 'queue-bounced', 'blackholed', 'bounced', 'delivered'), 'accepted', '') AS class_group, argMaxIf(m_auth_user, at, is_message) AS auth_user,
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
        ((toInt256((toUnixTimestamp64Milli(event_time) + 4398046511104) * 256 + transform(toString(status_norm), ['queued', 'temporarily-rejected', 'queue-frozen', 'quarantined', 'accepted', 'released', 'auto-released', 'not-accepted', 'rejected', 'delivery-failed', 'queue-expired', 'queue-removed', 'queue-bounced', 'quarantine-expired', 'quarantine-removed', 'blackholed', 'bounced', 'delivered'], [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18], 0)) * 35184372088832 + ((toUnixTimestamp64Milli(received_at) + 4398046511104) * 2 + 0)) * 4294967296 + (k_epoch * 65536 + k_part)) * 4294967296 * 4294967296 + k_off AS at, event_time AS happened,
        true AS is_message, toString(status) AS word, toString(status_norm) AS word_norm, toString(direction) AS way, toString(listener) AS heard,
        sender AS m_sender, sender_host AS m_sender_host, sender_ip AS m_sender_ip, toString(sender_location) AS m_sender_location, helo AS m_helo,
        incoming_size AS m_incoming_size, outgoing_size AS m_outgoing_size, bandwidth AS m_bandwidth, from_header AS m_from_header,
        to_header AS m_to_header, cc_header AS m_cc_header, subject_header AS m_subject_header, classification AS m_classification,
        classification_details AS m_classification_details, toString(classification_code) AS m_classification_code,
        toString(main_class) AS m_main_class, toString(sub_class) AS m_sub_class, extra_class AS m_extra_class, toString(class_norm) AS m_class_norm,
        auth_user AS m_auth_user, identity AS m_identity, extra AS m_extra,
        toDateTime64(0, 3, 'UTC') AS s_delivery_date, toIPv6('::') AS s_delivery_ip, toUInt16(0) AS s_delivery_port, '' AS s_delivery_fqdn,
        '' AS s_delivery_interface, '' AS s_delivery_data
    FROM `millrace`.`message_events`
    UNION ALL
    SELECT domain, id_time, id, recipient, toString(filtering_host), if(id = '', concat(toString(k_topic), ' ', toString(k_epoch), ' ', toString(k_part), ' ', toString(k_off)), ''),
        ((toInt256((toUnixTimestamp64Milli(event_time) + 4398046511104) * 256 + transform(toString(status_norm), ['queued', 'temporarily-rejected', 'queue-frozen', 'quarantined', 'accepted', 'released', 'auto-released', 'not-accepted', 'rejected', 'delivery-failed', 'queue-expired', 'queue-removed', 'queue-bounced', 'quarantine-expired', 'quarantine-removed', 'blackholed', 'bounced', 'delivered'], [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18], 0)) * 35184372088832 + ((toUnixTimestamp64Milli(received_at) + 4398046511104) * 2 + 1)) * 4294967296 + (k_epoch * 65536 + k_part)) * 4294967296 * 4294967296 + k_off, event_time,
        false, toString(status), toString(status_norm), toString(direction), toString(listener),
        '', '', toIPv6('::'), '', '', toUInt64(0), toUInt64(0), toUInt64(0), '', '', '', '', '', '', '', '', '', '', '', '', '', CAST(map(), 'Map(String, String)'),
        delivery_date, delivery_ip, delivery_port, delivery_fqdn, delivery_interface, delivery_data
    FROM `millrace`.`status_events`
)
GROUP BY domain, id_time, id, recipient, host, own
COMMENT 'made by millrace schema apply, definition 2ff763d5a5461ca9';
CREATE OR REPLACE VIEW `millrace`.`locks` AS
SELECT parts[2] AS domain, parts[3] AS user, if(parts[1] = 'identity', parts[4], '') AS identity,
    toUInt8(JSONExtractBool(state, 'locked') AND (until = toDateTime64(0, 3, 'UTC') OR until > now64(3))) AS locked,
    parseDateTime64BestEffortOrZero(JSONExtractString(state, 'until'), 3, 'UTC') AS until,
    JSONExtractString(state, 'code') AS code, JSONExtractString(state, 'rule') AS rule,
    reason, actor, how, since
FROM
(
    SELECT parts, argMax(after, offset) AS state, argMax(reason, offset) AS reason, toString(argMax(actor, offset)) AS actor,
        toString(argMax(how, offset)) AS how, argMax(time, offset) AS since
    FROM `millrace`.`state_changes`
    WHERE kind = 'lock' AND effect IN ('applied', 'repaired') AND epoch = (SELECT max(epoch) FROM `millrace`.`state_changes`)
    GROUP BY parts
)
WHERE state != ''
COMMENT 'made by millrace schema apply, definition 4b0dec242214b2a1';
CREATE OR REPLACE VIEW `millrace`.`messages_hourly` AS
SELECT hour, direction, domain, auth_user, identity, class_norm, status_norm, messages, bytes, recipients, invalid_recipients, invalid_senders, multiIf(status_norm IN ('not-accepted', 'rejected'), 'rejected', status_norm IN ('temporarily-rejected'), 'temporarily-rejected', status_norm IN ('quarantined', 'quarantine-expired', 'quarantine-removed'), 'quarantined', class_norm IN ('allow-list', 'not-spam', 'unsure'), 'accepted', class_norm IN ('block-list', 'error', 'locked', 'oversize', 'phish', 'spam', 'virus'), 'rejected', class_norm IN ('deferred'), 'temporarily-rejected', status_norm IN ('queued', 'queue-frozen', 'accepted', 'released', 'auto-released', 'delivery-failed', 'queue-expired', 'queue-removed', 'queue-bounced', 'blackholed', 'bounced', 'delivered'), 'accepted', '') AS class_group, computed_at
FROM `millrace`.`messages_hourly_rows` FINAL
WHERE direction != ''
COMMENT 'made by millrace schema apply, definition e9ec5820b9eba1d1';
CREATE OR REPLACE VIEW `millrace`.`senders_hourly` AS
SELECT hour, direction, domain, auth_user, identity, sender, messages, accepted, rejected, temporarily_rejected, quarantined, bytes, recipients, invalid_recipients, invalid_senders, computed_at
FROM `millrace`.`senders_hourly_rows` FINAL
WHERE direction != ''
COMMENT 'made by millrace schema apply, definition a4002103438bd0e3';

-- retention
ALTER TABLE `millrace`.`message_events` MODIFY TTL toDateTime(toMonday(received_at)) + toIntervalDay(7) + toIntervalDay(7) RECOMPRESS CODEC(ZSTD(3)), toDateTime(toMonday(received_at)) + toIntervalDay(7) + toIntervalSecond(34560000);
ALTER TABLE `millrace`.`message_events` MODIFY COLUMN raw String TTL toDateTime(toMonday(received_at)) + toIntervalDay(7) + toIntervalSecond(2592000);
ALTER TABLE `millrace`.`status_events` MODIFY TTL toDateTime(toMonday(received_at)) + toIntervalDay(7) + toIntervalDay(7) RECOMPRESS CODEC(ZSTD(3)), toDateTime(toMonday(received_at)) + toIntervalDay(7) + toIntervalSecond(34560000);
ALTER TABLE `millrace`.`status_events` MODIFY COLUMN raw String TTL toDateTime(toMonday(received_at)) + toIntervalDay(7) + toIntervalSecond(2592000);
ALTER TABLE `millrace`.`smtp_transactions` MODIFY TTL toDateTime(toMonday(received_at)) + toIntervalDay(7) + toIntervalDay(7) RECOMPRESS CODEC(ZSTD(3)), toDateTime(toMonday(received_at)) + toIntervalDay(7) + toIntervalSecond(34560000);
ALTER TABLE `millrace`.`smtp_transactions` MODIFY COLUMN raw String TTL toDateTime(toMonday(received_at)) + toIntervalDay(7) + toIntervalSecond(2592000);
ALTER TABLE `millrace`.`delivery_attempts` MODIFY TTL toDateTime(toMonday(received_at)) + toIntervalDay(7) + toIntervalDay(7) RECOMPRESS CODEC(ZSTD(3)), toDateTime(toMonday(received_at)) + toIntervalDay(7) + toIntervalSecond(34560000);
ALTER TABLE `millrace`.`delivery_attempts` MODIFY COLUMN raw String TTL toDateTime(toMonday(received_at)) + toIntervalDay(7) + toIntervalSecond(2592000);
ALTER TABLE `millrace`.`spamdyke_verdicts` MODIFY TTL toDateTime(toMonday(received_at)) + toIntervalDay(7) + toIntervalDay(7) RECOMPRESS CODEC(ZSTD(3)), toDateTime(toMonday(received_at)) + toIntervalDay(7) + toIntervalSecond(34560000);
ALTER TABLE `millrace`.`spamdyke_verdicts` MODIFY COLUMN raw String TTL toDateTime(toMonday(received_at)) + toIntervalDay(7) + toIntervalSecond(2592000);
ALTER TABLE `millrace`.`generic_lines` MODIFY TTL toDateTime(toMonday(received_at)) + toIntervalDay(7) + toIntervalDay(7) RECOMPRESS CODEC(ZSTD(3)), toDateTime(toMonday(received_at)) + toIntervalDay(7) + toIntervalSecond(34560000);
ALTER TABLE `millrace`.`generic_lines` MODIFY COLUMN raw String TTL toDateTime(toMonday(received_at)) + toIntervalDay(7) + toIntervalSecond(2592000);
ALTER TABLE `millrace`.`feedback_reports` MODIFY TTL toDateTime(toMonday(received_at)) + toIntervalDay(7) + toIntervalDay(7) RECOMPRESS CODEC(ZSTD(3)), toDateTime(toMonday(received_at)) + toIntervalDay(7) + toIntervalSecond(34560000);
ALTER TABLE `millrace`.`feedback_reports` MODIFY COLUMN raw String TTL toDateTime(toMonday(received_at)) + toIntervalDay(7) + toIntervalSecond(2592000);
ALTER TABLE `millrace`.`quarantine_messages` MODIFY TTL toDateTime(toMonday(received_at)) + toIntervalDay(7) + toIntervalDay(7) RECOMPRESS CODEC(ZSTD(3)), toDateTime(toMonday(received_at)) + toIntervalDay(7) + toIntervalSecond(34560000);
ALTER TABLE `millrace`.`quarantine_messages` MODIFY COLUMN raw String TTL toDateTime(toMonday(received_at)) + toIntervalDay(7) + toIntervalSecond(2592000);
ALTER TABLE `millrace`.`rejects` MODIFY TTL toDateTime(toMonday(received_at)) + toIntervalDay(7) + toIntervalDay(7) RECOMPRESS CODEC(ZSTD(3)), toDateTime(toMonday(received_at)) + toIntervalDay(7) + toIntervalSecond(34560000);
ALTER TABLE `millrace`.`rejects` MODIFY COLUMN raw String TTL toDateTime(toMonday(received_at)) + toIntervalDay(7) + toIntervalSecond(2592000);
ALTER TABLE `millrace`.`rollup_hours` MODIFY TTL toDateTime(toMonday(hour)) + toIntervalDay(7) + toIntervalSecond(157680000);
ALTER TABLE `millrace`.`messages_hourly_rows` MODIFY TTL toDateTime(toMonday(hour)) + toIntervalDay(7) + toIntervalSecond(157680000);
ALTER TABLE `millrace`.`senders_hourly_rows` MODIFY TTL toDateTime(toMonday(hour)) + toIntervalDay(7) + toIntervalSecond(157680000);

-- reading from all shards
CREATE DATABASE IF NOT EXISTS `millrace_all` ON CLUSTER `main`;
CREATE OR REPLACE TABLE `millrace_all`.`message_events` ON CLUSTER `main` AS `millrace`.`message_events` ENGINE = Distributed(`main`, `millrace`, `message_events`);
CREATE OR REPLACE TABLE `millrace_all`.`status_events` ON CLUSTER `main` AS `millrace`.`status_events` ENGINE = Distributed(`main`, `millrace`, `status_events`);
CREATE OR REPLACE TABLE `millrace_all`.`smtp_transactions` ON CLUSTER `main` AS `millrace`.`smtp_transactions` ENGINE = Distributed(`main`, `millrace`, `smtp_transactions`);
CREATE OR REPLACE TABLE `millrace_all`.`delivery_attempts` ON CLUSTER `main` AS `millrace`.`delivery_attempts` ENGINE = Distributed(`main`, `millrace`, `delivery_attempts`);
CREATE OR REPLACE TABLE `millrace_all`.`spamdyke_verdicts` ON CLUSTER `main` AS `millrace`.`spamdyke_verdicts` ENGINE = Distributed(`main`, `millrace`, `spamdyke_verdicts`);
CREATE OR REPLACE TABLE `millrace_all`.`generic_lines` ON CLUSTER `main` AS `millrace`.`generic_lines` ENGINE = Distributed(`main`, `millrace`, `generic_lines`);
CREATE OR REPLACE TABLE `millrace_all`.`feedback_reports` ON CLUSTER `main` AS `millrace`.`feedback_reports` ENGINE = Distributed(`main`, `millrace`, `feedback_reports`);
CREATE OR REPLACE TABLE `millrace_all`.`quarantine_messages` ON CLUSTER `main` AS `millrace`.`quarantine_messages` ENGINE = Distributed(`main`, `millrace`, `quarantine_messages`);
CREATE OR REPLACE TABLE `millrace_all`.`rejects` ON CLUSTER `main` AS `millrace`.`rejects` ENGINE = Distributed(`main`, `millrace`, `rejects`);
CREATE OR REPLACE TABLE `millrace_all`.`state_changes` ON CLUSTER `main` AS `millrace`.`state_changes` ENGINE = Distributed(`main`, `millrace`, `state_changes`);
CREATE OR REPLACE VIEW `millrace_all`.`message_trail` ON CLUSTER `main` AS
SELECT event_time, 'message' AS kind, toString(filtering_host) AS host, id, toDateTime(0, 'UTC') AS qmail_time, toUInt64(0) AS qp, domain, sender, [recipient] AS recipients, sender_ip AS client,
    concat(status, if(main_class = '', '', concat(' ', main_class)), if(subject_header = '', '', concat(': ', subject_header))) AS what, toString(listener) AS listener, received_at
FROM `millrace_all`.`message_events`
UNION ALL
SELECT event_time, 'status', toString(filtering_host), id, toDateTime(0, 'UTC'), toUInt64(0), domain, '', [recipient], delivery_ip,
    concat(status, if(delivery_fqdn = '', '', concat(' ', delivery_fqdn)), if(delivery_data = '', '', concat(': ', delivery_data))), toString(listener), received_at
FROM `millrace_all`.`status_events`
UNION ALL
SELECT event_time, 'spamdyke', toString(syslog_host), '', qmail_time, qp, domain, sender, [recipient], origin_ip,
    concat(code, if(reason = '', '', concat(': ', reason))), toString(listener), received_at
FROM `millrace_all`.`spamdyke_verdicts`
UNION ALL
SELECT event_time, 'smtp', toString(syslog_host), '', qmail_time, qp, domain, sender, recipients, arrayFirst(x -> x != toIPv6('::'), check_client_ips),
    concat(if(accepted = 1, 'accepted', 'not accepted'), if(reply = '', '', concat(': ', reply))), toString(listener), received_at
FROM `millrace_all`.`smtp_transactions`
UNION ALL
SELECT event_time, 'delivery', toString(syslog_host), '', toDateTime(0, 'UTC'), qp, domain, sender, [recipient], remote_ip,
    concat(if(outcome = '', 'no result', outcome), if(channel = '', '', concat(' ', channel)), if(text = '', '', concat(': ', text))), toString(listener), received_at
FROM `millrace_all`.`delivery_attempts`
UNION ALL
SELECT event_time, 'feedback', '', id, toDateTime(0, 'UTC'), toUInt64(0), domain, sender, recipients, source_ip,
    concat('report', if(feedback_type = '', '', concat(' ', feedback_type)), if(user_agent = '', '', concat(' by ', user_agent)), if(subject_header = '', '', concat(': ', subject_header))), toString(listener), received_at
FROM `millrace_all`.`feedback_reports`
UNION ALL
SELECT event_time, 'quarantine', toString(server), id, toDateTime(0, 'UTC'), toUInt64(0), domain, if(auth_sender = '', from_header, auth_sender), [to_header], toIPv6OrDefault(client),
    concat('kept in ', folder, if(evidence = '', '', concat(': ', evidence))), toString(listener), received_at
FROM `millrace_all`.`quarantine_messages`
COMMENT 'made by millrace schema apply, definition c319a8b9b17982d6';
CREATE OR REPLACE VIEW `millrace_all`.`classes` ON CLUSTER `main` AS
SELECT c.1 AS word, c.2 AS class, c.3 AS `group`, c.4 AS meaning, c.5 AS advice, c.6 AS own
FROM
(
    SELECT arrayJoin([
        ('not-spam', 'not-spam', 'accepted', 'nothing speaks against it', 'none; report it as spam if it was', toUInt8(0)),
        ('ham', 'not-spam', 'accepted', 'nothing speaks against it', 'none; report it as spam if it was', toUInt8(0)),
        ('notspam', 'not-spam', 'accepted', 'nothing speaks against it', 'none; report it as spam if it was', toUInt8(0)),
        ('clean', 'not-spam', 'accepted', 'nothing speaks against it', 'none; report it as spam if it was', toUInt8(0)),
        ('allow-list', 'allow-list', 'accepted', 'an allow list names its sender or recipient', 'if it was spam, look in extra_class for the list and shorten it', toUInt8(0)),
        ('whitelisted', 'allow-list', 'accepted', 'an allow list names its sender or recipient', 'if it was spam, look in extra_class for the list and shorten it', toUInt8(0)),
        ('whitelist', 'allow-list', 'accepted', 'an allow list names its sender or recipient', 'if it was spam, look in extra_class for the list and shorten it', toUInt8(0)),
        ('white-list', 'allow-list', 'accepted', 'an allow list names its sender or recipient', 'if it was spam, look in extra_class for the list and shorten it', toUInt8(0)),
        ('allowlist', 'allow-list', 'accepted', 'an allow list names its sender or recipient', 'if it was spam, look in extra_class for the list and shorten it', toUInt8(0)),
        ('allowlisted', 'allow-list', 'accepted', 'an allow list names its sender or recipient', 'if it was spam, look in extra_class for the list and shorten it', toUInt8(0)),
        ('allow-listed', 'allow-list', 'accepted', 'an allow list names its sender or recipient', 'if it was spam, look in extra_class for the list and shorten it', toUInt8(0)),
        ('unsure', 'unsure', 'accepted', 'neither clearly spam nor clearly not', 'train the filter with it in the direction that is right', toUInt8(0)),
        ('spam', 'spam', 'rejected', 'its content or its origin is that of spam', 'outgoing: find out which account sent it and lock its identity; incoming: release and train if it was none', toUInt8(0)),
        ('phish', 'phish', 'rejected', 'it asks for passwords or money under a false name', 'outgoing: lock the identity, and take its web site down; never release without a look', toUInt8(0)),
        ('phishing', 'phish', 'rejected', 'it asks for passwords or money under a false name', 'outgoing: lock the identity, and take its web site down; never release without a look', toUInt8(0)),
        ('virus', 'virus', 'rejected', 'it carries malware, or an attachment that is not let through', 'outgoing: the sender\'s machine or web site is broken into; lock the identity and clean it', toUInt8(0)),
        ('block-list', 'block-list', 'rejected', 'a block list names its sender, recipient, client or attachment', 'look in sub_class and extra_class for the list; take the entry off if it is wrong', toUInt8(0)),
        ('blacklisted', 'block-list', 'rejected', 'a block list names its sender, recipient, client or attachment', 'look in sub_class and extra_class for the list; take the entry off if it is wrong', toUInt8(0)),
        ('blacklist', 'block-list', 'rejected', 'a block list names its sender, recipient, client or attachment', 'look in sub_class and extra_class for the list; take the entry off if it is wrong', toUInt8(0)),
        ('black-list', 'block-list', 'rejected', 'a block list names its sender, recipient, client or attachment', 'look in sub_class and extra_class for the list; take the entry off if it is wrong', toUInt8(0)),
        ('blocklist', 'block-list', 'rejected', 'a block list names its sender, recipient, client or attachment', 'look in sub_class and extra_class for the list; take the entry off if it is wrong', toUInt8(0)),
        ('blocklisted', 'block-list', 'rejected', 'a block list names its sender, recipient, client or attachment', 'look in sub_class and extra_class for the list; take the entry off if it is wrong', toUInt8(0)),
        ('block-listed', 'block-list', 'rejected', 'a block list names its sender, recipient, client or attachment', 'look in sub_class and extra_class for the list; take the entry off if it is wrong', toUInt8(0)),
        ('oversize', 'oversize', 'rejected', 'it is larger than is allowed', 'raise the limit of the domain, or send a link', toUInt8(0)),
        ('locked', 'locked', 'rejected', 'its outgoing user or identity is locked', 'clean the account first, then unlock it', toUInt8(0)),
        ('error', 'error', 'rejected', 'it could not be taken: an address that is wrong or unknown, a rule of the protocol broken', 'look in sub_class and extra_class for what was wrong', toUInt8(0)),
        ('deferred', 'deferred', 'temporarily-rejected', 'refused for now: greylisting, a rate limit, a destination that does not answer', 'none, its sender tries again; if it stays so, look in sub_class for the limit', toUInt8(0)),
        ('unknown', 'unknown', '', 'the filter has not said', 'look at the status; add the variables of the class to the template if it is always so', toUInt8(0))]) AS c
)
COMMENT 'made by millrace schema apply, definition 496148e48d3aaa14';
CREATE OR REPLACE VIEW `millrace_all`.`messages` ON CLUSTER `main` AS
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
    argMaxIf(m_class_norm, at, is_message) AS class_norm, multiIf(status_norm IN ('not-accepted', 'rejected'), 'rejected', status_norm IN ('temporarily-rejected'), 'temporarily-rejected', status_norm IN ('quarantined', 'quarantine-expired', 'quarantine-removed'), 'quarantined', class_norm IN ('allow-list', 'not-spam', 'unsure'), 'accepted', class_norm IN ('block-list', 'error', 'locked', 'oversize', 'phish', 'spam', 'virus'), 'rejected', class_norm IN ('deferred'), 'temporarily-rejected', status_norm IN ('queued', 'queue-frozen', 'accepted', 'released', 'auto-released', 'delivery-failed', 'queue-expired', 'queue-removed', 'queue-bounced', 'blackholed', 'bounced', 'delivered'), 'accepted', '') AS class_group, argMaxIf(m_auth_user, at, is_message) AS auth_user,
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
        ((toInt256((toUnixTimestamp64Milli(event_time) + 4398046511104) * 256 + transform(toString(status_norm), ['queued', 'temporarily-rejected', 'queue-frozen', 'quarantined', 'accepted', 'released', 'auto-released', 'not-accepted', 'rejected', 'delivery-failed', 'queue-expired', 'queue-removed', 'queue-bounced', 'quarantine-expired', 'quarantine-removed', 'blackholed', 'bounced', 'delivered'], [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18], 0)) * 35184372088832 + ((toUnixTimestamp64Milli(received_at) + 4398046511104) * 2 + 0)) * 4294967296 + (k_epoch * 65536 + k_part)) * 4294967296 * 4294967296 + k_off AS at, event_time AS happened,
        true AS is_message, toString(status) AS word, toString(status_norm) AS word_norm, toString(direction) AS way, toString(listener) AS heard,
        sender AS m_sender, sender_host AS m_sender_host, sender_ip AS m_sender_ip, toString(sender_location) AS m_sender_location, helo AS m_helo,
        incoming_size AS m_incoming_size, outgoing_size AS m_outgoing_size, bandwidth AS m_bandwidth, from_header AS m_from_header,
        to_header AS m_to_header, cc_header AS m_cc_header, subject_header AS m_subject_header, classification AS m_classification,
        classification_details AS m_classification_details, toString(classification_code) AS m_classification_code,
        toString(main_class) AS m_main_class, toString(sub_class) AS m_sub_class, extra_class AS m_extra_class, toString(class_norm) AS m_class_norm,
        auth_user AS m_auth_user, identity AS m_identity, extra AS m_extra,
        toDateTime64(0, 3, 'UTC') AS s_delivery_date, toIPv6('::') AS s_delivery_ip, toUInt16(0) AS s_delivery_port, '' AS s_delivery_fqdn,
        '' AS s_delivery_interface, '' AS s_delivery_data
    FROM `millrace_all`.`message_events`
    UNION ALL
    SELECT domain, id_time, id, recipient, toString(filtering_host), if(id = '', concat(toString(k_topic), ' ', toString(k_epoch), ' ', toString(k_part), ' ', toString(k_off)), ''),
        ((toInt256((toUnixTimestamp64Milli(event_time) + 4398046511104) * 256 + transform(toString(status_norm), ['queued', 'temporarily-rejected', 'queue-frozen', 'quarantined', 'accepted', 'released', 'auto-released', 'not-accepted', 'rejected', 'delivery-failed', 'queue-expired', 'queue-removed', 'queue-bounced', 'quarantine-expired', 'quarantine-removed', 'blackholed', 'bounced', 'delivered'], [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18], 0)) * 35184372088832 + ((toUnixTimestamp64Milli(received_at) + 4398046511104) * 2 + 1)) * 4294967296 + (k_epoch * 65536 + k_part)) * 4294967296 * 4294967296 + k_off, event_time,
        false, toString(status), toString(status_norm), toString(direction), toString(listener),
        '', '', toIPv6('::'), '', '', toUInt64(0), toUInt64(0), toUInt64(0), '', '', '', '', '', '', '', '', '', '', '', '', '', CAST(map(), 'Map(String, String)'),
        delivery_date, delivery_ip, delivery_port, delivery_fqdn, delivery_interface, delivery_data
    FROM `millrace_all`.`status_events`
)
GROUP BY domain, id_time, id, recipient, host, own
COMMENT 'made by millrace schema apply, definition 2ff763d5a5461ca9';
CREATE OR REPLACE VIEW `millrace_all`.`locks` ON CLUSTER `main` AS
SELECT parts[2] AS domain, parts[3] AS user, if(parts[1] = 'identity', parts[4], '') AS identity,
    toUInt8(JSONExtractBool(state, 'locked') AND (until = toDateTime64(0, 3, 'UTC') OR until > now64(3))) AS locked,
    parseDateTime64BestEffortOrZero(JSONExtractString(state, 'until'), 3, 'UTC') AS until,
    JSONExtractString(state, 'code') AS code, JSONExtractString(state, 'rule') AS rule,
    reason, actor, how, since
FROM
(
    SELECT parts, argMax(after, offset) AS state, argMax(reason, offset) AS reason, toString(argMax(actor, offset)) AS actor,
        toString(argMax(how, offset)) AS how, argMax(time, offset) AS since
    FROM `millrace_all`.`state_changes`
    WHERE kind = 'lock' AND effect IN ('applied', 'repaired') AND epoch = (SELECT max(epoch) FROM `millrace_all`.`state_changes`)
    GROUP BY parts
)
WHERE state != ''
COMMENT 'made by millrace schema apply, definition 4b0dec242214b2a1';
CREATE OR REPLACE VIEW `millrace_all`.`messages_hourly` ON CLUSTER `main` AS
SELECT hour, direction, domain, auth_user, identity, class_norm, status_norm, messages, bytes, recipients, invalid_recipients, invalid_senders, multiIf(status_norm IN ('not-accepted', 'rejected'), 'rejected', status_norm IN ('temporarily-rejected'), 'temporarily-rejected', status_norm IN ('quarantined', 'quarantine-expired', 'quarantine-removed'), 'quarantined', class_norm IN ('allow-list', 'not-spam', 'unsure'), 'accepted', class_norm IN ('block-list', 'error', 'locked', 'oversize', 'phish', 'spam', 'virus'), 'rejected', class_norm IN ('deferred'), 'temporarily-rejected', status_norm IN ('queued', 'queue-frozen', 'accepted', 'released', 'auto-released', 'delivery-failed', 'queue-expired', 'queue-removed', 'queue-bounced', 'blackholed', 'bounced', 'delivered'), 'accepted', '') AS class_group, computed_at
FROM `millrace`.`messages_hourly_rows` FINAL
WHERE direction != ''
COMMENT 'made by millrace schema apply, definition e9ec5820b9eba1d1';
CREATE OR REPLACE VIEW `millrace_all`.`senders_hourly` ON CLUSTER `main` AS
SELECT hour, direction, domain, auth_user, identity, sender, messages, accepted, rejected, temporarily_rejected, quarantined, bytes, recipients, invalid_recipients, invalid_senders, computed_at
FROM `millrace`.`senders_hourly_rows` FINAL
WHERE direction != ''
COMMENT 'made by millrace schema apply, definition a4002103438bd0e3';

-- counting by the hour
DROP VIEW IF EXISTS `millrace`.`messages_hourly_noted`;
CREATE MATERIALIZED VIEW IF NOT EXISTS `millrace`.`messages_hourly_noted` TO `millrace`.`rollup_hours` AS
SELECT 'messages_hourly' AS rollup, hour, max(events) AS events, max(computed_at) AS computed_at
FROM `millrace`.`messages_hourly_rows`
WHERE direction = ''
GROUP BY hour
COMMENT 'made by millrace schema apply, definition 3efa7de09c3780db';
DROP VIEW IF EXISTS `millrace`.`messages_hourly_refresh`;
CREATE MATERIALIZED VIEW IF NOT EXISTS `millrace`.`messages_hourly_refresh` REFRESH EVERY 1 MINUTE APPEND TO `millrace`.`messages_hourly_rows` EMPTY AS
WITH
    (SELECT groupArray((hour, n))
    FROM
    (
        SELECT hour, n, sum(n) OVER grown AS upto, row_number() OVER grown AS place
        FROM
        (
            SELECT hour, sum(live) AS n, sum(kept) AS stored
            FROM
            (
                SELECT toStartOfHour(id_time) AS hour, sum(1 + revision) AS live, 0 AS kept FROM `millrace_all`.`message_events` WHERE received_at >= now64(3) - toIntervalDay(3) AND id_time >= toStartOfHour(now64(3) - toIntervalDay(2)) AND received_at >= id_time - toIntervalDay(1) AND id_time >= now() - toIntervalSecond(157680000) AND toStartOfHour(id_time) GLOBAL IN (
SELECT toStartOfHour(id_time) FROM `millrace_all`.`message_events` WHERE received_at >= now64(3) - toIntervalDay(3) AND received_at >= (SELECT max(computed_at) FROM `millrace`.`rollup_hours` WHERE rollup = 'messages_hourly') - toIntervalMinute(10) UNION ALL SELECT toStartOfHour(id_time) FROM `millrace_all`.`status_events` WHERE received_at >= now64(3) - toIntervalDay(3) AND received_at >= (SELECT max(computed_at) FROM `millrace`.`rollup_hours` WHERE rollup = 'messages_hourly') - toIntervalMinute(10)) GROUP BY hour
                UNION ALL
                SELECT toStartOfHour(id_time) AS hour, sum(1 + revision), 0 FROM `millrace_all`.`status_events` WHERE received_at >= now64(3) - toIntervalDay(3) AND id_time >= toStartOfHour(now64(3) - toIntervalDay(2)) AND received_at >= id_time - toIntervalDay(1) AND id_time >= now() - toIntervalSecond(157680000) AND toStartOfHour(id_time) GLOBAL IN (
SELECT toStartOfHour(id_time) FROM `millrace_all`.`message_events` WHERE received_at >= now64(3) - toIntervalDay(3) AND received_at >= (SELECT max(computed_at) FROM `millrace`.`rollup_hours` WHERE rollup = 'messages_hourly') - toIntervalMinute(10) UNION ALL SELECT toStartOfHour(id_time) FROM `millrace_all`.`status_events` WHERE received_at >= now64(3) - toIntervalDay(3) AND received_at >= (SELECT max(computed_at) FROM `millrace`.`rollup_hours` WHERE rollup = 'messages_hourly') - toIntervalMinute(10)) GROUP BY hour
                UNION ALL
                SELECT hour, 0, argMax(events, computed_at) FROM `millrace`.`rollup_hours` WHERE rollup = 'messages_hourly' GROUP BY hour
            )
            GROUP BY hour
            HAVING n > stored
        )
        WINDOW grown AS (ORDER BY (n - stored) / n DESC, hour DESC ROWS UNBOUNDED PRECEDING)
    )
    WHERE upto <= 5000000 OR place = 1) AS touched,
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
            uniqCombinedState(12)(lower(recipient)) AS n_recipients, countIf((trimBoth(replaceRegexpAll(lower(sub_class), '[ _\t-]+', '-'), '-') = 'invalid-recipient' OR trimBoth(replaceRegexpAll(lower(sub_class), '[ _\t-]+', '-'), '-') = 'unknown-recipient' OR trimBoth(replaceRegexpAll(lower(sub_class), '[ _\t-]+', '-'), '-') = 'recipient-invalid' OR trimBoth(replaceRegexpAll(lower(sub_class), '[ _\t-]+', '-'), '-') = 'recipient-unknown' OR trimBoth(replaceRegexpAll(lower(sub_class), '[ _\t-]+', '-'), '-') = 'unknown-user' OR trimBoth(replaceRegexpAll(lower(sub_class), '[ _\t-]+', '-'), '-') = 'no-such-user')) AS n_invalid_recipients, countIf((trimBoth(replaceRegexpAll(lower(sub_class), '[ _\t-]+', '-'), '-') = 'invalid-sender' OR trimBoth(replaceRegexpAll(lower(sub_class), '[ _\t-]+', '-'), '-') = 'unknown-sender' OR trimBoth(replaceRegexpAll(lower(sub_class), '[ _\t-]+', '-'), '-') = 'sender-invalid' OR trimBoth(replaceRegexpAll(lower(sub_class), '[ _\t-]+', '-'), '-') = 'sender-unknown' OR trimBoth(replaceRegexpAll(lower(sub_class), '[ _\t-]+', '-'), '-') = 'sender-verify' OR trimBoth(replaceRegexpAll(lower(sub_class), '[ _\t-]+', '-'), '-') = 'sender-verification')) AS n_invalid_senders,
            sum(cityHash64(id_time, id, recipient, filtering_host, incoming_size, (trimBoth(replaceRegexpAll(lower(sub_class), '[ _\t-]+', '-'), '-') = 'invalid-recipient' OR trimBoth(replaceRegexpAll(lower(sub_class), '[ _\t-]+', '-'), '-') = 'unknown-recipient' OR trimBoth(replaceRegexpAll(lower(sub_class), '[ _\t-]+', '-'), '-') = 'recipient-invalid' OR trimBoth(replaceRegexpAll(lower(sub_class), '[ _\t-]+', '-'), '-') = 'recipient-unknown' OR trimBoth(replaceRegexpAll(lower(sub_class), '[ _\t-]+', '-'), '-') = 'unknown-user' OR trimBoth(replaceRegexpAll(lower(sub_class), '[ _\t-]+', '-'), '-') = 'no-such-user'), (trimBoth(replaceRegexpAll(lower(sub_class), '[ _\t-]+', '-'), '-') = 'invalid-sender' OR trimBoth(replaceRegexpAll(lower(sub_class), '[ _\t-]+', '-'), '-') = 'unknown-sender' OR trimBoth(replaceRegexpAll(lower(sub_class), '[ _\t-]+', '-'), '-') = 'sender-invalid' OR trimBoth(replaceRegexpAll(lower(sub_class), '[ _\t-]+', '-'), '-') = 'sender-unknown' OR trimBoth(replaceRegexpAll(lower(sub_class), '[ _\t-]+', '-'), '-') = 'sender-verify' OR trimBoth(replaceRegexpAll(lower(sub_class), '[ _\t-]+', '-'), '-') = 'sender-verification'))) AS now_content, toUInt64(0) AS then_content, 1 AS is_now, 0 AS is_then
        FROM
        (
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
    argMaxIf(m_class_norm, at, is_message) AS class_norm, multiIf(status_norm IN ('not-accepted', 'rejected'), 'rejected', status_norm IN ('temporarily-rejected'), 'temporarily-rejected', status_norm IN ('quarantined', 'quarantine-expired', 'quarantine-removed'), 'quarantined', class_norm IN ('allow-list', 'not-spam', 'unsure'), 'accepted', class_norm IN ('block-list', 'error', 'locked', 'oversize', 'phish', 'spam', 'virus'), 'rejected', class_norm IN ('deferred'), 'temporarily-rejected', status_norm IN ('queued', 'queue-frozen', 'accepted', 'released', 'auto-released', 'delivery-failed', 'queue-expired', 'queue-removed', 'queue-bounced', 'blackholed', 'bounced', 'delivered'), 'accepted', '') AS class_group, argMaxIf(m_auth_user, at, is_message) AS auth_user,
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
        ((toInt256((toUnixTimestamp64Milli(event_time) + 4398046511104) * 256 + transform(toString(status_norm), ['queued', 'temporarily-rejected', 'queue-frozen', 'quarantined', 'accepted', 'released', 'auto-released', 'not-accepted', 'rejected', 'delivery-failed', 'queue-expired', 'queue-removed', 'queue-bounced', 'quarantine-expired', 'quarantine-removed', 'blackholed', 'bounced', 'delivered'], [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18], 0)) * 35184372088832 + ((toUnixTimestamp64Milli(received_at) + 4398046511104) * 2 + 0)) * 4294967296 + (k_epoch * 65536 + k_part)) * 4294967296 * 4294967296 + k_off AS at, event_time AS happened,
        true AS is_message, toString(status) AS word, toString(status_norm) AS word_norm, toString(direction) AS way, toString(listener) AS heard,
        sender AS m_sender, sender_host AS m_sender_host, sender_ip AS m_sender_ip, toString(sender_location) AS m_sender_location, helo AS m_helo,
        incoming_size AS m_incoming_size, outgoing_size AS m_outgoing_size, bandwidth AS m_bandwidth, from_header AS m_from_header,
        to_header AS m_to_header, cc_header AS m_cc_header, subject_header AS m_subject_header, classification AS m_classification,
        classification_details AS m_classification_details, toString(classification_code) AS m_classification_code,
        toString(main_class) AS m_main_class, toString(sub_class) AS m_sub_class, extra_class AS m_extra_class, toString(class_norm) AS m_class_norm,
        auth_user AS m_auth_user, identity AS m_identity, extra AS m_extra,
        toDateTime64(0, 3, 'UTC') AS s_delivery_date, toIPv6('::') AS s_delivery_ip, toUInt16(0) AS s_delivery_port, '' AS s_delivery_fqdn,
        '' AS s_delivery_interface, '' AS s_delivery_data
    FROM `millrace_all`.`message_events`
                    WHERE received_at >= since AND received_at >= id_time - toIntervalDay(1)
    UNION ALL
    SELECT domain, id_time, id, recipient, toString(filtering_host), if(id = '', concat(toString(k_topic), ' ', toString(k_epoch), ' ', toString(k_part), ' ', toString(k_off)), ''),
        ((toInt256((toUnixTimestamp64Milli(event_time) + 4398046511104) * 256 + transform(toString(status_norm), ['queued', 'temporarily-rejected', 'queue-frozen', 'quarantined', 'accepted', 'released', 'auto-released', 'not-accepted', 'rejected', 'delivery-failed', 'queue-expired', 'queue-removed', 'queue-bounced', 'quarantine-expired', 'quarantine-removed', 'blackholed', 'bounced', 'delivered'], [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18], 0)) * 35184372088832 + ((toUnixTimestamp64Milli(received_at) + 4398046511104) * 2 + 1)) * 4294967296 + (k_epoch * 65536 + k_part)) * 4294967296 * 4294967296 + k_off, event_time,
        false, toString(status), toString(status_norm), toString(direction), toString(listener),
        '', '', toIPv6('::'), '', '', toUInt64(0), toUInt64(0), toUInt64(0), '', '', '', '', '', '', '', '', '', '', '', '', '', CAST(map(), 'Map(String, String)'),
        delivery_date, delivery_ip, delivery_port, delivery_fqdn, delivery_interface, delivery_data
    FROM `millrace_all`.`status_events`
                    WHERE received_at >= since AND received_at >= id_time - toIntervalDay(1)
)
GROUP BY domain, id_time, id, recipient, host, own
        )
        WHERE has_message = 1 AND has(hours, toStartOfHour(id_time))
        GROUP BY hour, direction, domain, auth_user, identity, class_norm, status_norm
        UNION ALL
        SELECT hour, toString(direction), domain, auth_user, identity, toString(class_norm), toString(status_norm), 0, 0, uniqCombinedStateIf(12)(domain, false), 0, 0,
            toUInt64(0), argMax(content, computed_at), 0, toUInt8(argMax(deleted, computed_at) = 0)
        FROM `millrace`.`messages_hourly_rows`
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
COMMENT 'made by millrace schema apply, definition 510b0722b8aa88bd';
DROP VIEW IF EXISTS `millrace`.`messages_hourly_heal`;
CREATE MATERIALIZED VIEW IF NOT EXISTS `millrace`.`messages_hourly_heal` REFRESH EVERY 1 HOUR OFFSET 20 MINUTE APPEND TO `millrace`.`messages_hourly_rows` EMPTY AS
WITH
    (SELECT groupArray((hour, n))
    FROM
    (
        SELECT hour, n, sum(n) OVER grown AS upto, row_number() OVER grown AS place
        FROM
        (
            SELECT hour, sum(live) AS n, sum(kept) AS stored
            FROM
            (
                SELECT toStartOfHour(id_time) AS hour, sum(1 + revision) AS live, 0 AS kept FROM `millrace_all`.`message_events` WHERE received_at >= id_time - toIntervalDay(1) AND id_time >= now() - toIntervalSecond(157680000) GROUP BY hour
                UNION ALL
                SELECT toStartOfHour(id_time) AS hour, sum(1 + revision), 0 FROM `millrace_all`.`status_events` WHERE received_at >= id_time - toIntervalDay(1) AND id_time >= now() - toIntervalSecond(157680000) GROUP BY hour
                UNION ALL
                SELECT hour, 0, argMax(events, computed_at) FROM `millrace`.`rollup_hours` WHERE rollup = 'messages_hourly' GROUP BY hour
            )
            GROUP BY hour
            HAVING n > stored
        )
        WINDOW grown AS (ORDER BY (n - stored) / n DESC, hour DESC ROWS UNBOUNDED PRECEDING)
    )
    WHERE upto <= 5000000 OR place = 1) AS touched,
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
            uniqCombinedState(12)(lower(recipient)) AS n_recipients, countIf((trimBoth(replaceRegexpAll(lower(sub_class), '[ _\t-]+', '-'), '-') = 'invalid-recipient' OR trimBoth(replaceRegexpAll(lower(sub_class), '[ _\t-]+', '-'), '-') = 'unknown-recipient' OR trimBoth(replaceRegexpAll(lower(sub_class), '[ _\t-]+', '-'), '-') = 'recipient-invalid' OR trimBoth(replaceRegexpAll(lower(sub_class), '[ _\t-]+', '-'), '-') = 'recipient-unknown' OR trimBoth(replaceRegexpAll(lower(sub_class), '[ _\t-]+', '-'), '-') = 'unknown-user' OR trimBoth(replaceRegexpAll(lower(sub_class), '[ _\t-]+', '-'), '-') = 'no-such-user')) AS n_invalid_recipients, countIf((trimBoth(replaceRegexpAll(lower(sub_class), '[ _\t-]+', '-'), '-') = 'invalid-sender' OR trimBoth(replaceRegexpAll(lower(sub_class), '[ _\t-]+', '-'), '-') = 'unknown-sender' OR trimBoth(replaceRegexpAll(lower(sub_class), '[ _\t-]+', '-'), '-') = 'sender-invalid' OR trimBoth(replaceRegexpAll(lower(sub_class), '[ _\t-]+', '-'), '-') = 'sender-unknown' OR trimBoth(replaceRegexpAll(lower(sub_class), '[ _\t-]+', '-'), '-') = 'sender-verify' OR trimBoth(replaceRegexpAll(lower(sub_class), '[ _\t-]+', '-'), '-') = 'sender-verification')) AS n_invalid_senders,
            sum(cityHash64(id_time, id, recipient, filtering_host, incoming_size, (trimBoth(replaceRegexpAll(lower(sub_class), '[ _\t-]+', '-'), '-') = 'invalid-recipient' OR trimBoth(replaceRegexpAll(lower(sub_class), '[ _\t-]+', '-'), '-') = 'unknown-recipient' OR trimBoth(replaceRegexpAll(lower(sub_class), '[ _\t-]+', '-'), '-') = 'recipient-invalid' OR trimBoth(replaceRegexpAll(lower(sub_class), '[ _\t-]+', '-'), '-') = 'recipient-unknown' OR trimBoth(replaceRegexpAll(lower(sub_class), '[ _\t-]+', '-'), '-') = 'unknown-user' OR trimBoth(replaceRegexpAll(lower(sub_class), '[ _\t-]+', '-'), '-') = 'no-such-user'), (trimBoth(replaceRegexpAll(lower(sub_class), '[ _\t-]+', '-'), '-') = 'invalid-sender' OR trimBoth(replaceRegexpAll(lower(sub_class), '[ _\t-]+', '-'), '-') = 'unknown-sender' OR trimBoth(replaceRegexpAll(lower(sub_class), '[ _\t-]+', '-'), '-') = 'sender-invalid' OR trimBoth(replaceRegexpAll(lower(sub_class), '[ _\t-]+', '-'), '-') = 'sender-unknown' OR trimBoth(replaceRegexpAll(lower(sub_class), '[ _\t-]+', '-'), '-') = 'sender-verify' OR trimBoth(replaceRegexpAll(lower(sub_class), '[ _\t-]+', '-'), '-') = 'sender-verification'))) AS now_content, toUInt64(0) AS then_content, 1 AS is_now, 0 AS is_then
        FROM
        (
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
    argMaxIf(m_class_norm, at, is_message) AS class_norm, multiIf(status_norm IN ('not-accepted', 'rejected'), 'rejected', status_norm IN ('temporarily-rejected'), 'temporarily-rejected', status_norm IN ('quarantined', 'quarantine-expired', 'quarantine-removed'), 'quarantined', class_norm IN ('allow-list', 'not-spam', 'unsure'), 'accepted', class_norm IN ('block-list', 'error', 'locked', 'oversize', 'phish', 'spam', 'virus'), 'rejected', class_norm IN ('deferred'), 'temporarily-rejected', status_norm IN ('queued', 'queue-frozen', 'accepted', 'released', 'auto-released', 'delivery-failed', 'queue-expired', 'queue-removed', 'queue-bounced', 'blackholed', 'bounced', 'delivered'), 'accepted', '') AS class_group, argMaxIf(m_auth_user, at, is_message) AS auth_user,
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
        ((toInt256((toUnixTimestamp64Milli(event_time) + 4398046511104) * 256 + transform(toString(status_norm), ['queued', 'temporarily-rejected', 'queue-frozen', 'quarantined', 'accepted', 'released', 'auto-released', 'not-accepted', 'rejected', 'delivery-failed', 'queue-expired', 'queue-removed', 'queue-bounced', 'quarantine-expired', 'quarantine-removed', 'blackholed', 'bounced', 'delivered'], [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18], 0)) * 35184372088832 + ((toUnixTimestamp64Milli(received_at) + 4398046511104) * 2 + 0)) * 4294967296 + (k_epoch * 65536 + k_part)) * 4294967296 * 4294967296 + k_off AS at, event_time AS happened,
        true AS is_message, toString(status) AS word, toString(status_norm) AS word_norm, toString(direction) AS way, toString(listener) AS heard,
        sender AS m_sender, sender_host AS m_sender_host, sender_ip AS m_sender_ip, toString(sender_location) AS m_sender_location, helo AS m_helo,
        incoming_size AS m_incoming_size, outgoing_size AS m_outgoing_size, bandwidth AS m_bandwidth, from_header AS m_from_header,
        to_header AS m_to_header, cc_header AS m_cc_header, subject_header AS m_subject_header, classification AS m_classification,
        classification_details AS m_classification_details, toString(classification_code) AS m_classification_code,
        toString(main_class) AS m_main_class, toString(sub_class) AS m_sub_class, extra_class AS m_extra_class, toString(class_norm) AS m_class_norm,
        auth_user AS m_auth_user, identity AS m_identity, extra AS m_extra,
        toDateTime64(0, 3, 'UTC') AS s_delivery_date, toIPv6('::') AS s_delivery_ip, toUInt16(0) AS s_delivery_port, '' AS s_delivery_fqdn,
        '' AS s_delivery_interface, '' AS s_delivery_data
    FROM `millrace_all`.`message_events`
                    WHERE received_at >= since AND received_at >= id_time - toIntervalDay(1)
    UNION ALL
    SELECT domain, id_time, id, recipient, toString(filtering_host), if(id = '', concat(toString(k_topic), ' ', toString(k_epoch), ' ', toString(k_part), ' ', toString(k_off)), ''),
        ((toInt256((toUnixTimestamp64Milli(event_time) + 4398046511104) * 256 + transform(toString(status_norm), ['queued', 'temporarily-rejected', 'queue-frozen', 'quarantined', 'accepted', 'released', 'auto-released', 'not-accepted', 'rejected', 'delivery-failed', 'queue-expired', 'queue-removed', 'queue-bounced', 'quarantine-expired', 'quarantine-removed', 'blackholed', 'bounced', 'delivered'], [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18], 0)) * 35184372088832 + ((toUnixTimestamp64Milli(received_at) + 4398046511104) * 2 + 1)) * 4294967296 + (k_epoch * 65536 + k_part)) * 4294967296 * 4294967296 + k_off, event_time,
        false, toString(status), toString(status_norm), toString(direction), toString(listener),
        '', '', toIPv6('::'), '', '', toUInt64(0), toUInt64(0), toUInt64(0), '', '', '', '', '', '', '', '', '', '', '', '', '', CAST(map(), 'Map(String, String)'),
        delivery_date, delivery_ip, delivery_port, delivery_fqdn, delivery_interface, delivery_data
    FROM `millrace_all`.`status_events`
                    WHERE received_at >= since AND received_at >= id_time - toIntervalDay(1)
)
GROUP BY domain, id_time, id, recipient, host, own
        )
        WHERE has_message = 1 AND has(hours, toStartOfHour(id_time))
        GROUP BY hour, direction, domain, auth_user, identity, class_norm, status_norm
        UNION ALL
        SELECT hour, toString(direction), domain, auth_user, identity, toString(class_norm), toString(status_norm), 0, 0, uniqCombinedStateIf(12)(domain, false), 0, 0,
            toUInt64(0), argMax(content, computed_at), 0, toUInt8(argMax(deleted, computed_at) = 0)
        FROM `millrace`.`messages_hourly_rows`
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
COMMENT 'made by millrace schema apply, definition 3c0637e265a37991';
DROP VIEW IF EXISTS `millrace`.`senders_hourly_noted`;
CREATE MATERIALIZED VIEW IF NOT EXISTS `millrace`.`senders_hourly_noted` TO `millrace`.`rollup_hours` AS
SELECT 'senders_hourly' AS rollup, hour, max(events) AS events, max(computed_at) AS computed_at
FROM `millrace`.`senders_hourly_rows`
WHERE direction = ''
GROUP BY hour
COMMENT 'made by millrace schema apply, definition de6448ddf5668818';
DROP VIEW IF EXISTS `millrace`.`senders_hourly_refresh`;
CREATE MATERIALIZED VIEW IF NOT EXISTS `millrace`.`senders_hourly_refresh` REFRESH EVERY 1 MINUTE APPEND TO `millrace`.`senders_hourly_rows` EMPTY AS
WITH
    (SELECT groupArray((hour, n))
    FROM
    (
        SELECT hour, n, sum(n) OVER grown AS upto, row_number() OVER grown AS place
        FROM
        (
            SELECT hour, sum(live) AS n, sum(kept) AS stored
            FROM
            (
                SELECT toStartOfHour(id_time) AS hour, sum(1 + revision) AS live, 0 AS kept FROM `millrace_all`.`message_events` WHERE received_at >= now64(3) - toIntervalDay(3) AND id_time >= toStartOfHour(now64(3) - toIntervalDay(2)) AND received_at >= id_time - toIntervalDay(1) AND id_time >= now() - toIntervalSecond(157680000) AND toStartOfHour(id_time) GLOBAL IN (
SELECT toStartOfHour(id_time) FROM `millrace_all`.`message_events` WHERE received_at >= now64(3) - toIntervalDay(3) AND received_at >= (SELECT max(computed_at) FROM `millrace`.`rollup_hours` WHERE rollup = 'senders_hourly') - toIntervalMinute(10) UNION ALL SELECT toStartOfHour(id_time) FROM `millrace_all`.`status_events` WHERE received_at >= now64(3) - toIntervalDay(3) AND received_at >= (SELECT max(computed_at) FROM `millrace`.`rollup_hours` WHERE rollup = 'senders_hourly') - toIntervalMinute(10)) GROUP BY hour
                UNION ALL
                SELECT toStartOfHour(id_time) AS hour, sum(1 + revision), 0 FROM `millrace_all`.`status_events` WHERE received_at >= now64(3) - toIntervalDay(3) AND id_time >= toStartOfHour(now64(3) - toIntervalDay(2)) AND received_at >= id_time - toIntervalDay(1) AND id_time >= now() - toIntervalSecond(157680000) AND toStartOfHour(id_time) GLOBAL IN (
SELECT toStartOfHour(id_time) FROM `millrace_all`.`message_events` WHERE received_at >= now64(3) - toIntervalDay(3) AND received_at >= (SELECT max(computed_at) FROM `millrace`.`rollup_hours` WHERE rollup = 'senders_hourly') - toIntervalMinute(10) UNION ALL SELECT toStartOfHour(id_time) FROM `millrace_all`.`status_events` WHERE received_at >= now64(3) - toIntervalDay(3) AND received_at >= (SELECT max(computed_at) FROM `millrace`.`rollup_hours` WHERE rollup = 'senders_hourly') - toIntervalMinute(10)) GROUP BY hour
                UNION ALL
                SELECT hour, 0, argMax(events, computed_at) FROM `millrace`.`rollup_hours` WHERE rollup = 'senders_hourly' GROUP BY hour
            )
            GROUP BY hour
            HAVING n > stored
        )
        WINDOW grown AS (ORDER BY (n - stored) / n DESC, hour DESC ROWS UNBOUNDED PRECEDING)
    )
    WHERE upto <= 5000000 OR place = 1) AS touched,
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
                    countIf((trimBoth(replaceRegexpAll(lower(sub_class), '[ _\t-]+', '-'), '-') = 'invalid-recipient' OR trimBoth(replaceRegexpAll(lower(sub_class), '[ _\t-]+', '-'), '-') = 'unknown-recipient' OR trimBoth(replaceRegexpAll(lower(sub_class), '[ _\t-]+', '-'), '-') = 'recipient-invalid' OR trimBoth(replaceRegexpAll(lower(sub_class), '[ _\t-]+', '-'), '-') = 'recipient-unknown' OR trimBoth(replaceRegexpAll(lower(sub_class), '[ _\t-]+', '-'), '-') = 'unknown-user' OR trimBoth(replaceRegexpAll(lower(sub_class), '[ _\t-]+', '-'), '-') = 'no-such-user')) AS n_invalid_recipients, countIf((trimBoth(replaceRegexpAll(lower(sub_class), '[ _\t-]+', '-'), '-') = 'invalid-sender' OR trimBoth(replaceRegexpAll(lower(sub_class), '[ _\t-]+', '-'), '-') = 'unknown-sender' OR trimBoth(replaceRegexpAll(lower(sub_class), '[ _\t-]+', '-'), '-') = 'sender-invalid' OR trimBoth(replaceRegexpAll(lower(sub_class), '[ _\t-]+', '-'), '-') = 'sender-unknown' OR trimBoth(replaceRegexpAll(lower(sub_class), '[ _\t-]+', '-'), '-') = 'sender-verify' OR trimBoth(replaceRegexpAll(lower(sub_class), '[ _\t-]+', '-'), '-') = 'sender-verification')) AS n_invalid_senders,
                    sum(cityHash64(id_time, id, recipient, filtering_host, incoming_size, class_group, (trimBoth(replaceRegexpAll(lower(sub_class), '[ _\t-]+', '-'), '-') = 'invalid-recipient' OR trimBoth(replaceRegexpAll(lower(sub_class), '[ _\t-]+', '-'), '-') = 'unknown-recipient' OR trimBoth(replaceRegexpAll(lower(sub_class), '[ _\t-]+', '-'), '-') = 'recipient-invalid' OR trimBoth(replaceRegexpAll(lower(sub_class), '[ _\t-]+', '-'), '-') = 'recipient-unknown' OR trimBoth(replaceRegexpAll(lower(sub_class), '[ _\t-]+', '-'), '-') = 'unknown-user' OR trimBoth(replaceRegexpAll(lower(sub_class), '[ _\t-]+', '-'), '-') = 'no-such-user'), (trimBoth(replaceRegexpAll(lower(sub_class), '[ _\t-]+', '-'), '-') = 'invalid-sender' OR trimBoth(replaceRegexpAll(lower(sub_class), '[ _\t-]+', '-'), '-') = 'unknown-sender' OR trimBoth(replaceRegexpAll(lower(sub_class), '[ _\t-]+', '-'), '-') = 'sender-invalid' OR trimBoth(replaceRegexpAll(lower(sub_class), '[ _\t-]+', '-'), '-') = 'sender-unknown' OR trimBoth(replaceRegexpAll(lower(sub_class), '[ _\t-]+', '-'), '-') = 'sender-verify' OR trimBoth(replaceRegexpAll(lower(sub_class), '[ _\t-]+', '-'), '-') = 'sender-verification'))) AS now_content
                FROM
                (
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
    argMaxIf(m_class_norm, at, is_message) AS class_norm, multiIf(status_norm IN ('not-accepted', 'rejected'), 'rejected', status_norm IN ('temporarily-rejected'), 'temporarily-rejected', status_norm IN ('quarantined', 'quarantine-expired', 'quarantine-removed'), 'quarantined', class_norm IN ('allow-list', 'not-spam', 'unsure'), 'accepted', class_norm IN ('block-list', 'error', 'locked', 'oversize', 'phish', 'spam', 'virus'), 'rejected', class_norm IN ('deferred'), 'temporarily-rejected', status_norm IN ('queued', 'queue-frozen', 'accepted', 'released', 'auto-released', 'delivery-failed', 'queue-expired', 'queue-removed', 'queue-bounced', 'blackholed', 'bounced', 'delivered'), 'accepted', '') AS class_group, argMaxIf(m_auth_user, at, is_message) AS auth_user,
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
        ((toInt256((toUnixTimestamp64Milli(event_time) + 4398046511104) * 256 + transform(toString(status_norm), ['queued', 'temporarily-rejected', 'queue-frozen', 'quarantined', 'accepted', 'released', 'auto-released', 'not-accepted', 'rejected', 'delivery-failed', 'queue-expired', 'queue-removed', 'queue-bounced', 'quarantine-expired', 'quarantine-removed', 'blackholed', 'bounced', 'delivered'], [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18], 0)) * 35184372088832 + ((toUnixTimestamp64Milli(received_at) + 4398046511104) * 2 + 0)) * 4294967296 + (k_epoch * 65536 + k_part)) * 4294967296 * 4294967296 + k_off AS at, event_time AS happened,
        true AS is_message, toString(status) AS word, toString(status_norm) AS word_norm, toString(direction) AS way, toString(listener) AS heard,
        sender AS m_sender, sender_host AS m_sender_host, sender_ip AS m_sender_ip, toString(sender_location) AS m_sender_location, helo AS m_helo,
        incoming_size AS m_incoming_size, outgoing_size AS m_outgoing_size, bandwidth AS m_bandwidth, from_header AS m_from_header,
        to_header AS m_to_header, cc_header AS m_cc_header, subject_header AS m_subject_header, classification AS m_classification,
        classification_details AS m_classification_details, toString(classification_code) AS m_classification_code,
        toString(main_class) AS m_main_class, toString(sub_class) AS m_sub_class, extra_class AS m_extra_class, toString(class_norm) AS m_class_norm,
        auth_user AS m_auth_user, identity AS m_identity, extra AS m_extra,
        toDateTime64(0, 3, 'UTC') AS s_delivery_date, toIPv6('::') AS s_delivery_ip, toUInt16(0) AS s_delivery_port, '' AS s_delivery_fqdn,
        '' AS s_delivery_interface, '' AS s_delivery_data
    FROM `millrace_all`.`message_events`
                    WHERE received_at >= since AND received_at >= id_time - toIntervalDay(1)
    UNION ALL
    SELECT domain, id_time, id, recipient, toString(filtering_host), if(id = '', concat(toString(k_topic), ' ', toString(k_epoch), ' ', toString(k_part), ' ', toString(k_off)), ''),
        ((toInt256((toUnixTimestamp64Milli(event_time) + 4398046511104) * 256 + transform(toString(status_norm), ['queued', 'temporarily-rejected', 'queue-frozen', 'quarantined', 'accepted', 'released', 'auto-released', 'not-accepted', 'rejected', 'delivery-failed', 'queue-expired', 'queue-removed', 'queue-bounced', 'quarantine-expired', 'quarantine-removed', 'blackholed', 'bounced', 'delivered'], [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18], 0)) * 35184372088832 + ((toUnixTimestamp64Milli(received_at) + 4398046511104) * 2 + 1)) * 4294967296 + (k_epoch * 65536 + k_part)) * 4294967296 * 4294967296 + k_off, event_time,
        false, toString(status), toString(status_norm), toString(direction), toString(listener),
        '', '', toIPv6('::'), '', '', toUInt64(0), toUInt64(0), toUInt64(0), '', '', '', '', '', '', '', '', '', '', '', '', '', CAST(map(), 'Map(String, String)'),
        delivery_date, delivery_ip, delivery_port, delivery_fqdn, delivery_interface, delivery_data
    FROM `millrace_all`.`status_events`
                    WHERE received_at >= since AND received_at >= id_time - toIntervalDay(1)
)
GROUP BY domain, id_time, id, recipient, host, own
                )
                WHERE has_message = 1 AND has(hours, toStartOfHour(id_time))
                GROUP BY hour, direction, domain, auth_user, identity, low_sender
            )
        )
        WHERE by_messages <= 1000 OR by_spam <= 1000 AND n_rejected + n_quarantined > 0
        UNION ALL
        SELECT hour, toString(direction), domain, auth_user, identity, sender, 0, 0, 0, 0, 0, 0, uniqCombinedStateIf(12)(domain, false), 0, 0,
            toUInt64(0), argMax(content, computed_at), 0, toUInt8(argMax(deleted, computed_at) = 0)
        FROM `millrace`.`senders_hourly_rows`
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
COMMENT 'made by millrace schema apply, definition 65bc9ed072242556';
DROP VIEW IF EXISTS `millrace`.`senders_hourly_heal`;
CREATE MATERIALIZED VIEW IF NOT EXISTS `millrace`.`senders_hourly_heal` REFRESH EVERY 1 HOUR OFFSET 20 MINUTE APPEND TO `millrace`.`senders_hourly_rows` EMPTY AS
WITH
    (SELECT groupArray((hour, n))
    FROM
    (
        SELECT hour, n, sum(n) OVER grown AS upto, row_number() OVER grown AS place
        FROM
        (
            SELECT hour, sum(live) AS n, sum(kept) AS stored
            FROM
            (
                SELECT toStartOfHour(id_time) AS hour, sum(1 + revision) AS live, 0 AS kept FROM `millrace_all`.`message_events` WHERE received_at >= id_time - toIntervalDay(1) AND id_time >= now() - toIntervalSecond(157680000) GROUP BY hour
                UNION ALL
                SELECT toStartOfHour(id_time) AS hour, sum(1 + revision), 0 FROM `millrace_all`.`status_events` WHERE received_at >= id_time - toIntervalDay(1) AND id_time >= now() - toIntervalSecond(157680000) GROUP BY hour
                UNION ALL
                SELECT hour, 0, argMax(events, computed_at) FROM `millrace`.`rollup_hours` WHERE rollup = 'senders_hourly' GROUP BY hour
            )
            GROUP BY hour
            HAVING n > stored
        )
        WINDOW grown AS (ORDER BY (n - stored) / n DESC, hour DESC ROWS UNBOUNDED PRECEDING)
    )
    WHERE upto <= 5000000 OR place = 1) AS touched,
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
                    countIf((trimBoth(replaceRegexpAll(lower(sub_class), '[ _\t-]+', '-'), '-') = 'invalid-recipient' OR trimBoth(replaceRegexpAll(lower(sub_class), '[ _\t-]+', '-'), '-') = 'unknown-recipient' OR trimBoth(replaceRegexpAll(lower(sub_class), '[ _\t-]+', '-'), '-') = 'recipient-invalid' OR trimBoth(replaceRegexpAll(lower(sub_class), '[ _\t-]+', '-'), '-') = 'recipient-unknown' OR trimBoth(replaceRegexpAll(lower(sub_class), '[ _\t-]+', '-'), '-') = 'unknown-user' OR trimBoth(replaceRegexpAll(lower(sub_class), '[ _\t-]+', '-'), '-') = 'no-such-user')) AS n_invalid_recipients, countIf((trimBoth(replaceRegexpAll(lower(sub_class), '[ _\t-]+', '-'), '-') = 'invalid-sender' OR trimBoth(replaceRegexpAll(lower(sub_class), '[ _\t-]+', '-'), '-') = 'unknown-sender' OR trimBoth(replaceRegexpAll(lower(sub_class), '[ _\t-]+', '-'), '-') = 'sender-invalid' OR trimBoth(replaceRegexpAll(lower(sub_class), '[ _\t-]+', '-'), '-') = 'sender-unknown' OR trimBoth(replaceRegexpAll(lower(sub_class), '[ _\t-]+', '-'), '-') = 'sender-verify' OR trimBoth(replaceRegexpAll(lower(sub_class), '[ _\t-]+', '-'), '-') = 'sender-verification')) AS n_invalid_senders,
                    sum(cityHash64(id_time, id, recipient, filtering_host, incoming_size, class_group, (trimBoth(replaceRegexpAll(lower(sub_class), '[ _\t-]+', '-'), '-') = 'invalid-recipient' OR trimBoth(replaceRegexpAll(lower(sub_class), '[ _\t-]+', '-'), '-') = 'unknown-recipient' OR trimBoth(replaceRegexpAll(lower(sub_class), '[ _\t-]+', '-'), '-') = 'recipient-invalid' OR trimBoth(replaceRegexpAll(lower(sub_class), '[ _\t-]+', '-'), '-') = 'recipient-unknown' OR trimBoth(replaceRegexpAll(lower(sub_class), '[ _\t-]+', '-'), '-') = 'unknown-user' OR trimBoth(replaceRegexpAll(lower(sub_class), '[ _\t-]+', '-'), '-') = 'no-such-user'), (trimBoth(replaceRegexpAll(lower(sub_class), '[ _\t-]+', '-'), '-') = 'invalid-sender' OR trimBoth(replaceRegexpAll(lower(sub_class), '[ _\t-]+', '-'), '-') = 'unknown-sender' OR trimBoth(replaceRegexpAll(lower(sub_class), '[ _\t-]+', '-'), '-') = 'sender-invalid' OR trimBoth(replaceRegexpAll(lower(sub_class), '[ _\t-]+', '-'), '-') = 'sender-unknown' OR trimBoth(replaceRegexpAll(lower(sub_class), '[ _\t-]+', '-'), '-') = 'sender-verify' OR trimBoth(replaceRegexpAll(lower(sub_class), '[ _\t-]+', '-'), '-') = 'sender-verification'))) AS now_content
                FROM
                (
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
    argMaxIf(m_class_norm, at, is_message) AS class_norm, multiIf(status_norm IN ('not-accepted', 'rejected'), 'rejected', status_norm IN ('temporarily-rejected'), 'temporarily-rejected', status_norm IN ('quarantined', 'quarantine-expired', 'quarantine-removed'), 'quarantined', class_norm IN ('allow-list', 'not-spam', 'unsure'), 'accepted', class_norm IN ('block-list', 'error', 'locked', 'oversize', 'phish', 'spam', 'virus'), 'rejected', class_norm IN ('deferred'), 'temporarily-rejected', status_norm IN ('queued', 'queue-frozen', 'accepted', 'released', 'auto-released', 'delivery-failed', 'queue-expired', 'queue-removed', 'queue-bounced', 'blackholed', 'bounced', 'delivered'), 'accepted', '') AS class_group, argMaxIf(m_auth_user, at, is_message) AS auth_user,
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
        ((toInt256((toUnixTimestamp64Milli(event_time) + 4398046511104) * 256 + transform(toString(status_norm), ['queued', 'temporarily-rejected', 'queue-frozen', 'quarantined', 'accepted', 'released', 'auto-released', 'not-accepted', 'rejected', 'delivery-failed', 'queue-expired', 'queue-removed', 'queue-bounced', 'quarantine-expired', 'quarantine-removed', 'blackholed', 'bounced', 'delivered'], [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18], 0)) * 35184372088832 + ((toUnixTimestamp64Milli(received_at) + 4398046511104) * 2 + 0)) * 4294967296 + (k_epoch * 65536 + k_part)) * 4294967296 * 4294967296 + k_off AS at, event_time AS happened,
        true AS is_message, toString(status) AS word, toString(status_norm) AS word_norm, toString(direction) AS way, toString(listener) AS heard,
        sender AS m_sender, sender_host AS m_sender_host, sender_ip AS m_sender_ip, toString(sender_location) AS m_sender_location, helo AS m_helo,
        incoming_size AS m_incoming_size, outgoing_size AS m_outgoing_size, bandwidth AS m_bandwidth, from_header AS m_from_header,
        to_header AS m_to_header, cc_header AS m_cc_header, subject_header AS m_subject_header, classification AS m_classification,
        classification_details AS m_classification_details, toString(classification_code) AS m_classification_code,
        toString(main_class) AS m_main_class, toString(sub_class) AS m_sub_class, extra_class AS m_extra_class, toString(class_norm) AS m_class_norm,
        auth_user AS m_auth_user, identity AS m_identity, extra AS m_extra,
        toDateTime64(0, 3, 'UTC') AS s_delivery_date, toIPv6('::') AS s_delivery_ip, toUInt16(0) AS s_delivery_port, '' AS s_delivery_fqdn,
        '' AS s_delivery_interface, '' AS s_delivery_data
    FROM `millrace_all`.`message_events`
                    WHERE received_at >= since AND received_at >= id_time - toIntervalDay(1)
    UNION ALL
    SELECT domain, id_time, id, recipient, toString(filtering_host), if(id = '', concat(toString(k_topic), ' ', toString(k_epoch), ' ', toString(k_part), ' ', toString(k_off)), ''),
        ((toInt256((toUnixTimestamp64Milli(event_time) + 4398046511104) * 256 + transform(toString(status_norm), ['queued', 'temporarily-rejected', 'queue-frozen', 'quarantined', 'accepted', 'released', 'auto-released', 'not-accepted', 'rejected', 'delivery-failed', 'queue-expired', 'queue-removed', 'queue-bounced', 'quarantine-expired', 'quarantine-removed', 'blackholed', 'bounced', 'delivered'], [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18], 0)) * 35184372088832 + ((toUnixTimestamp64Milli(received_at) + 4398046511104) * 2 + 1)) * 4294967296 + (k_epoch * 65536 + k_part)) * 4294967296 * 4294967296 + k_off, event_time,
        false, toString(status), toString(status_norm), toString(direction), toString(listener),
        '', '', toIPv6('::'), '', '', toUInt64(0), toUInt64(0), toUInt64(0), '', '', '', '', '', '', '', '', '', '', '', '', '', CAST(map(), 'Map(String, String)'),
        delivery_date, delivery_ip, delivery_port, delivery_fqdn, delivery_interface, delivery_data
    FROM `millrace_all`.`status_events`
                    WHERE received_at >= since AND received_at >= id_time - toIntervalDay(1)
)
GROUP BY domain, id_time, id, recipient, host, own
                )
                WHERE has_message = 1 AND has(hours, toStartOfHour(id_time))
                GROUP BY hour, direction, domain, auth_user, identity, low_sender
            )
        )
        WHERE by_messages <= 1000 OR by_spam <= 1000 AND n_rejected + n_quarantined > 0
        UNION ALL
        SELECT hour, toString(direction), domain, auth_user, identity, sender, 0, 0, 0, 0, 0, 0, uniqCombinedStateIf(12)(domain, false), 0, 0,
            toUInt64(0), argMax(content, computed_at), 0, toUInt8(argMax(deleted, computed_at) = 0)
        FROM `millrace`.`senders_hourly_rows`
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
COMMENT 'made by millrace schema apply, definition 4983d3298de42fa2';
