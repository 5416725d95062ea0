CREATE DATABASE IF NOT EXISTS `millrace` ON CLUSTER `main`;

CREATE TABLE IF NOT EXISTS `millrace`.`schema_migrations` ON CLUSTER `main`
(
    version UInt32,
    name String,
    checksum String,
    applied_at DateTime64(3, 'UTC'),
    binary_version String
)
ENGINE = MergeTree
ORDER BY version
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1;

-- 0001_events
CREATE TABLE IF NOT EXISTS `millrace`.`message_events` ON CLUSTER `main`
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
ENGINE = MergeTree
PARTITION BY toMonday(received_at)
ORDER BY (domain, id_time, id)
SETTINGS non_replicated_deduplication_window = 10000, fsync_after_insert = 1, fsync_part_directory = 1;
CREATE TABLE IF NOT EXISTS `millrace`.`status_events` ON CLUSTER `main`
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
ENGINE = MergeTree
PARTITION BY toMonday(received_at)
ORDER BY (domain, id_time, id)
SETTINGS non_replicated_deduplication_window = 10000, fsync_after_insert = 1, fsync_part_directory = 1;
CREATE TABLE IF NOT EXISTS `millrace`.`rejects` ON CLUSTER `main`
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
ENGINE = MergeTree
PARTITION BY toMonday(received_at)
ORDER BY (reason, received_at)
SETTINGS non_replicated_deduplication_window = 10000, fsync_after_insert = 1, fsync_part_directory = 1;

-- 0002_revision
ALTER TABLE `millrace`.`message_events` ON CLUSTER `main` ADD COLUMN IF NOT EXISTS revision UInt8 AFTER k_off;
ALTER TABLE `millrace`.`status_events` ON CLUSTER `main` ADD COLUMN IF NOT EXISTS revision UInt8 AFTER k_off;
ALTER TABLE `millrace`.`rejects` ON CLUSTER `main` ADD COLUMN IF NOT EXISTS revision UInt8 AFTER k_off;

-- 0003_replicated_windows
ALTER TABLE `millrace`.`message_events` ON CLUSTER `main` MODIFY SETTING replicated_deduplication_window = 20000, replicated_deduplication_window_seconds = 86400;
ALTER TABLE `millrace`.`status_events` ON CLUSTER `main` MODIFY SETTING replicated_deduplication_window = 20000, replicated_deduplication_window_seconds = 86400;
ALTER TABLE `millrace`.`rejects` ON CLUSTER `main` MODIFY SETTING replicated_deduplication_window = 20000, replicated_deduplication_window_seconds = 86400;

-- 0004_logs
ALTER TABLE `millrace`.`message_events` ON CLUSTER `main`
    ADD COLUMN IF NOT EXISTS source LowCardinality(String) AFTER extra,
    ADD COLUMN IF NOT EXISTS source_offset UInt64 CODEC(Delta, Default) AFTER source,
    ADD COLUMN IF NOT EXISTS source_path LowCardinality(String) AFTER source_offset;
ALTER TABLE `millrace`.`status_events` ON CLUSTER `main`
    ADD COLUMN IF NOT EXISTS source LowCardinality(String) AFTER extra,
    ADD COLUMN IF NOT EXISTS source_offset UInt64 CODEC(Delta, Default) AFTER source,
    ADD COLUMN IF NOT EXISTS source_path LowCardinality(String) AFTER source_offset;
ALTER TABLE `millrace`.`rejects` ON CLUSTER `main`
    ADD COLUMN IF NOT EXISTS source LowCardinality(String) AFTER extra,
    ADD COLUMN IF NOT EXISTS source_offset UInt64 CODEC(Delta, Default) AFTER source,
    ADD COLUMN IF NOT EXISTS source_path LowCardinality(String) AFTER source_offset;
CREATE TABLE IF NOT EXISTS `millrace`.`smtp_transactions` ON CLUSTER `main`
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
ENGINE = MergeTree
PARTITION BY toMonday(received_at)
ORDER BY (domain, event_time)
SETTINGS non_replicated_deduplication_window = 10000, fsync_after_insert = 1, fsync_part_directory = 1, replicated_deduplication_window = 20000, replicated_deduplication_window_seconds = 86400;
CREATE TABLE IF NOT EXISTS `millrace`.`delivery_attempts` ON CLUSTER `main`
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
ENGINE = MergeTree
PARTITION BY toMonday(received_at)
ORDER BY (domain, event_time)
SETTINGS non_replicated_deduplication_window = 10000, fsync_after_insert = 1, fsync_part_directory = 1, replicated_deduplication_window = 20000, replicated_deduplication_window_seconds = 86400;
CREATE TABLE IF NOT EXISTS `millrace`.`spamdyke_verdicts` ON CLUSTER `main`
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
ENGINE = MergeTree
PARTITION BY toMonday(received_at)
ORDER BY (domain, event_time)
SETTINGS non_replicated_deduplication_window = 10000, fsync_after_insert = 1, fsync_part_directory = 1, replicated_deduplication_window = 20000, replicated_deduplication_window_seconds = 86400;
CREATE TABLE IF NOT EXISTS `millrace`.`generic_lines` ON CLUSTER `main`
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
ENGINE = MergeTree
PARTITION BY toMonday(received_at)
ORDER BY (log, event_time)
SETTINGS non_replicated_deduplication_window = 10000, fsync_after_insert = 1, fsync_part_directory = 1, replicated_deduplication_window = 20000, replicated_deduplication_window_seconds = 86400;
CREATE TABLE IF NOT EXISTS `millrace`.`feedback_reports` ON CLUSTER `main`
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
ENGINE = MergeTree
PARTITION BY toMonday(received_at)
ORDER BY (domain, event_time)
SETTINGS non_replicated_deduplication_window = 10000, fsync_after_insert = 1, fsync_part_directory = 1, replicated_deduplication_window = 20000, replicated_deduplication_window_seconds = 86400;
CREATE TABLE IF NOT EXISTS `millrace`.`quarantine_messages` ON CLUSTER `main`
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
ENGINE = MergeTree
PARTITION BY toMonday(received_at)
ORDER BY (domain, event_time)
SETTINGS non_replicated_deduplication_window = 10000, fsync_after_insert = 1, fsync_part_directory = 1, replicated_deduplication_window = 20000, replicated_deduplication_window_seconds = 86400;
CREATE VIEW IF NOT EXISTS `millrace`.`message_trail` ON CLUSTER `main` AS
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

-- 0005_state
CREATE TABLE IF NOT EXISTS `millrace`.`state_changes` ON CLUSTER `main`
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
ENGINE = ReplacingMergeTree(copied_at)
ORDER BY (epoch, offset)
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1;

-- retention
ALTER TABLE `millrace`.`message_events` ON CLUSTER `main` MODIFY TTL toDateTime(toMonday(received_at)) + toIntervalDay(7) + toIntervalDay(7) RECOMPRESS CODEC(ZSTD(3)), toDateTime(toMonday(received_at)) + toIntervalDay(7) + toIntervalSecond(34560000);
ALTER TABLE `millrace`.`message_events` ON CLUSTER `main` MODIFY COLUMN raw String TTL toDateTime(toMonday(received_at)) + toIntervalDay(7) + toIntervalSecond(2592000);
ALTER TABLE `millrace`.`status_events` ON CLUSTER `main` MODIFY TTL toDateTime(toMonday(received_at)) + toIntervalDay(7) + toIntervalDay(7) RECOMPRESS CODEC(ZSTD(3)), toDateTime(toMonday(received_at)) + toIntervalDay(7) + toIntervalSecond(34560000);
ALTER TABLE `millrace`.`status_events` ON CLUSTER `main` MODIFY COLUMN raw String TTL toDateTime(toMonday(received_at)) + toIntervalDay(7) + toIntervalSecond(2592000);
ALTER TABLE `millrace`.`smtp_transactions` ON CLUSTER `main` MODIFY TTL toDateTime(toMonday(received_at)) + toIntervalDay(7) + toIntervalDay(7) RECOMPRESS CODEC(ZSTD(3)), toDateTime(toMonday(received_at)) + toIntervalDay(7) + toIntervalSecond(34560000);
ALTER TABLE `millrace`.`smtp_transactions` ON CLUSTER `main` MODIFY COLUMN raw String TTL toDateTime(toMonday(received_at)) + toIntervalDay(7) + toIntervalSecond(2592000);
ALTER TABLE `millrace`.`delivery_attempts` ON CLUSTER `main` MODIFY TTL toDateTime(toMonday(received_at)) + toIntervalDay(7) + toIntervalDay(7) RECOMPRESS CODEC(ZSTD(3)), toDateTime(toMonday(received_at)) + toIntervalDay(7) + toIntervalSecond(34560000);
ALTER TABLE `millrace`.`delivery_attempts` ON CLUSTER `main` MODIFY COLUMN raw String TTL toDateTime(toMonday(received_at)) + toIntervalDay(7) + toIntervalSecond(2592000);
ALTER TABLE `millrace`.`spamdyke_verdicts` ON CLUSTER `main` MODIFY TTL toDateTime(toMonday(received_at)) + toIntervalDay(7) + toIntervalDay(7) RECOMPRESS CODEC(ZSTD(3)), toDateTime(toMonday(received_at)) + toIntervalDay(7) + toIntervalSecond(34560000);
ALTER TABLE `millrace`.`spamdyke_verdicts` ON CLUSTER `main` MODIFY COLUMN raw String TTL toDateTime(toMonday(received_at)) + toIntervalDay(7) + toIntervalSecond(2592000);
ALTER TABLE `millrace`.`generic_lines` ON CLUSTER `main` MODIFY TTL toDateTime(toMonday(received_at)) + toIntervalDay(7) + toIntervalDay(7) RECOMPRESS CODEC(ZSTD(3)), toDateTime(toMonday(received_at)) + toIntervalDay(7) + toIntervalSecond(34560000);
ALTER TABLE `millrace`.`generic_lines` ON CLUSTER `main` MODIFY COLUMN raw String TTL toDateTime(toMonday(received_at)) + toIntervalDay(7) + toIntervalSecond(2592000);
ALTER TABLE `millrace`.`feedback_reports` ON CLUSTER `main` MODIFY TTL toDateTime(toMonday(received_at)) + toIntervalDay(7) + toIntervalDay(7) RECOMPRESS CODEC(ZSTD(3)), toDateTime(toMonday(received_at)) + toIntervalDay(7) + toIntervalSecond(34560000);
ALTER TABLE `millrace`.`feedback_reports` ON CLUSTER `main` MODIFY COLUMN raw String TTL toDateTime(toMonday(received_at)) + toIntervalDay(7) + toIntervalSecond(2592000);
ALTER TABLE `millrace`.`quarantine_messages` ON CLUSTER `main` MODIFY TTL toDateTime(toMonday(received_at)) + toIntervalDay(7) + toIntervalDay(7) RECOMPRESS CODEC(ZSTD(3)), toDateTime(toMonday(received_at)) + toIntervalDay(7) + toIntervalSecond(34560000);
ALTER TABLE `millrace`.`quarantine_messages` ON CLUSTER `main` MODIFY COLUMN raw String TTL toDateTime(toMonday(received_at)) + toIntervalDay(7) + toIntervalSecond(2592000);
ALTER TABLE `millrace`.`rejects` ON CLUSTER `main` MODIFY TTL toDateTime(toMonday(received_at)) + toIntervalDay(7) + toIntervalDay(7) RECOMPRESS CODEC(ZSTD(3)), toDateTime(toMonday(received_at)) + toIntervalDay(7) + toIntervalSecond(34560000);
ALTER TABLE `millrace`.`rejects` ON CLUSTER `main` MODIFY COLUMN raw String TTL toDateTime(toMonday(received_at)) + toIntervalDay(7) + toIntervalSecond(2592000);

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
FROM `millrace_all`.`quarantine_messages`;
