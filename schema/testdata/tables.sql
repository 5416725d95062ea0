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
    source LowCardinality(String),
    source_offset UInt64 CODEC(Delta, Default),
    source_path LowCardinality(String),
    k_topic LowCardinality(String),
    k_epoch UInt16,
    k_part UInt16,
    k_off UInt64 CODEC(Delta, Default),
    revision UInt8,
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
SETTINGS non_replicated_deduplication_window = 10000, fsync_after_insert = 1, fsync_part_directory = 1, replicated_deduplication_window = 20000, replicated_deduplication_window_seconds = 86400;
ALTER TABLE `millrace`.`message_events` MODIFY TTL toDateTime(toMonday(received_at)) + toIntervalDay(7) + toIntervalDay(7) RECOMPRESS CODEC(ZSTD(3)), toDateTime(toMonday(received_at)) + toIntervalDay(7) + toIntervalSecond(34560000);
ALTER TABLE `millrace`.`message_events` MODIFY COLUMN raw String TTL toDateTime(toMonday(received_at)) + toIntervalDay(7) + toIntervalSecond(2592000);

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
    source LowCardinality(String),
    source_offset UInt64 CODEC(Delta, Default),
    source_path LowCardinality(String),
    k_topic LowCardinality(String),
    k_epoch UInt16,
    k_part UInt16,
    k_off UInt64 CODEC(Delta, Default),
    revision UInt8,
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
SETTINGS non_replicated_deduplication_window = 10000, fsync_after_insert = 1, fsync_part_directory = 1, replicated_deduplication_window = 20000, replicated_deduplication_window_seconds = 86400;
ALTER TABLE `millrace`.`status_events` MODIFY TTL toDateTime(toMonday(received_at)) + toIntervalDay(7) + toIntervalDay(7) RECOMPRESS CODEC(ZSTD(3)), toDateTime(toMonday(received_at)) + toIntervalDay(7) + toIntervalSecond(34560000);
ALTER TABLE `millrace`.`status_events` MODIFY COLUMN raw String TTL toDateTime(toMonday(received_at)) + toIntervalDay(7) + toIntervalSecond(2592000);

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
ENGINE = MergeTree
PARTITION BY toMonday(received_at)
ORDER BY (domain, event_time)
SETTINGS non_replicated_deduplication_window = 10000, fsync_after_insert = 1, fsync_part_directory = 1, replicated_deduplication_window = 20000, replicated_deduplication_window_seconds = 86400;
ALTER TABLE `millrace`.`smtp_transactions` MODIFY TTL toDateTime(toMonday(received_at)) + toIntervalDay(7) + toIntervalDay(7) RECOMPRESS CODEC(ZSTD(3)), toDateTime(toMonday(received_at)) + toIntervalDay(7) + toIntervalSecond(34560000);
ALTER TABLE `millrace`.`smtp_transactions` MODIFY COLUMN raw String TTL toDateTime(toMonday(received_at)) + toIntervalDay(7) + toIntervalSecond(2592000);

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
ENGINE = MergeTree
PARTITION BY toMonday(received_at)
ORDER BY (domain, event_time)
SETTINGS non_replicated_deduplication_window = 10000, fsync_after_insert = 1, fsync_part_directory = 1, replicated_deduplication_window = 20000, replicated_deduplication_window_seconds = 86400;
ALTER TABLE `millrace`.`delivery_attempts` MODIFY TTL toDateTime(toMonday(received_at)) + toIntervalDay(7) + toIntervalDay(7) RECOMPRESS CODEC(ZSTD(3)), toDateTime(toMonday(received_at)) + toIntervalDay(7) + toIntervalSecond(34560000);
ALTER TABLE `millrace`.`delivery_attempts` MODIFY COLUMN raw String TTL toDateTime(toMonday(received_at)) + toIntervalDay(7) + toIntervalSecond(2592000);

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
ENGINE = MergeTree
PARTITION BY toMonday(received_at)
ORDER BY (domain, event_time)
SETTINGS non_replicated_deduplication_window = 10000, fsync_after_insert = 1, fsync_part_directory = 1, replicated_deduplication_window = 20000, replicated_deduplication_window_seconds = 86400;
ALTER TABLE `millrace`.`spamdyke_verdicts` MODIFY TTL toDateTime(toMonday(received_at)) + toIntervalDay(7) + toIntervalDay(7) RECOMPRESS CODEC(ZSTD(3)), toDateTime(toMonday(received_at)) + toIntervalDay(7) + toIntervalSecond(34560000);
ALTER TABLE `millrace`.`spamdyke_verdicts` MODIFY COLUMN raw String TTL toDateTime(toMonday(received_at)) + toIntervalDay(7) + toIntervalSecond(2592000);

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
ENGINE = MergeTree
PARTITION BY toMonday(received_at)
ORDER BY (log, event_time)
SETTINGS non_replicated_deduplication_window = 10000, fsync_after_insert = 1, fsync_part_directory = 1, replicated_deduplication_window = 20000, replicated_deduplication_window_seconds = 86400;
ALTER TABLE `millrace`.`generic_lines` MODIFY TTL toDateTime(toMonday(received_at)) + toIntervalDay(7) + toIntervalDay(7) RECOMPRESS CODEC(ZSTD(3)), toDateTime(toMonday(received_at)) + toIntervalDay(7) + toIntervalSecond(34560000);
ALTER TABLE `millrace`.`generic_lines` MODIFY COLUMN raw String TTL toDateTime(toMonday(received_at)) + toIntervalDay(7) + toIntervalSecond(2592000);

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
    source LowCardinality(String),
    source_offset UInt64 CODEC(Delta, Default),
    source_path LowCardinality(String),
    k_topic LowCardinality(String),
    k_epoch UInt16,
    k_part UInt16,
    k_off UInt64 CODEC(Delta, Default),
    revision UInt8,
    reason LowCardinality(String),
    detail String,
    frame_bytes UInt64,
    INDEX i_off k_off TYPE minmax
)
ENGINE = MergeTree
PARTITION BY toMonday(received_at)
ORDER BY (reason, received_at)
SETTINGS non_replicated_deduplication_window = 10000, fsync_after_insert = 1, fsync_part_directory = 1, replicated_deduplication_window = 20000, replicated_deduplication_window_seconds = 86400;
ALTER TABLE `millrace`.`rejects` MODIFY TTL toDateTime(toMonday(received_at)) + toIntervalDay(7) + toIntervalDay(7) RECOMPRESS CODEC(ZSTD(3)), toDateTime(toMonday(received_at)) + toIntervalDay(7) + toIntervalSecond(34560000);
ALTER TABLE `millrace`.`rejects` MODIFY COLUMN raw String TTL toDateTime(toMonday(received_at)) + toIntervalDay(7) + toIntervalSecond(2592000);

