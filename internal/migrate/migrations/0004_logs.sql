-- The logs of qmail-based servers, and of each row that is from a file its place there.
-- server: 24.8

ALTER TABLE `{{database}}`.`message_events`{{on_cluster}}
    ADD COLUMN IF NOT EXISTS source LowCardinality(String) AFTER extra,
    ADD COLUMN IF NOT EXISTS source_offset UInt64 CODEC(Delta, Default) AFTER source,
    ADD COLUMN IF NOT EXISTS source_path LowCardinality(String) AFTER source_offset;
ALTER TABLE `{{database}}`.`status_events`{{on_cluster}}
    ADD COLUMN IF NOT EXISTS source LowCardinality(String) AFTER extra,
    ADD COLUMN IF NOT EXISTS source_offset UInt64 CODEC(Delta, Default) AFTER source,
    ADD COLUMN IF NOT EXISTS source_path LowCardinality(String) AFTER source_offset;
ALTER TABLE `{{database}}`.`rejects`{{on_cluster}}
    ADD COLUMN IF NOT EXISTS source LowCardinality(String) AFTER extra,
    ADD COLUMN IF NOT EXISTS source_offset UInt64 CODEC(Delta, Default) AFTER source,
    ADD COLUMN IF NOT EXISTS source_path LowCardinality(String) AFTER source_offset;

CREATE TABLE IF NOT EXISTS `{{database}}`.`smtp_transactions`{{on_cluster}}
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
ENGINE = {{engine}}
PARTITION BY toMonday(received_at)
ORDER BY (domain, event_time)
SETTINGS non_replicated_deduplication_window = 10000, fsync_after_insert = 1, fsync_part_directory = 1, replicated_deduplication_window = 20000, replicated_deduplication_window_seconds = 86400;

CREATE TABLE IF NOT EXISTS `{{database}}`.`delivery_attempts`{{on_cluster}}
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
ENGINE = {{engine}}
PARTITION BY toMonday(received_at)
ORDER BY (domain, event_time)
SETTINGS non_replicated_deduplication_window = 10000, fsync_after_insert = 1, fsync_part_directory = 1, replicated_deduplication_window = 20000, replicated_deduplication_window_seconds = 86400;

CREATE TABLE IF NOT EXISTS `{{database}}`.`spamdyke_verdicts`{{on_cluster}}
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
ENGINE = {{engine}}
PARTITION BY toMonday(received_at)
ORDER BY (domain, event_time)
SETTINGS non_replicated_deduplication_window = 10000, fsync_after_insert = 1, fsync_part_directory = 1, replicated_deduplication_window = 20000, replicated_deduplication_window_seconds = 86400;

CREATE TABLE IF NOT EXISTS `{{database}}`.`generic_lines`{{on_cluster}}
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
ENGINE = {{engine}}
PARTITION BY toMonday(received_at)
ORDER BY (log, event_time)
SETTINGS non_replicated_deduplication_window = 10000, fsync_after_insert = 1, fsync_part_directory = 1, replicated_deduplication_window = 20000, replicated_deduplication_window_seconds = 86400;
