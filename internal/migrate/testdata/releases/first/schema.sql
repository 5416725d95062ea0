-- The tables of release first (commit 0057938bd6a1980faa70fb402a9d1ff318e68537).

CREATE TABLE millrace.message_events
(
    `received_at` DateTime64(3, 'UTC') CODEC(Delta(8), Default),
    `event_time` DateTime64(3, 'UTC') CODEC(Delta(8), Default),
    `event_time_source` LowCardinality(String),
    `id_time` DateTime('UTC') CODEC(Delta(4), Default),
    `listener` LowCardinality(String),
    `transport` LowCardinality(String),
    `peer_ip` IPv6,
    `facility` UInt8,
    `severity` UInt8,
    `syslog_host` LowCardinality(String),
    `syslog_app` LowCardinality(String),
    `syslog_pid` String,
    `structured_data` Map(String, String),
    `format` LowCardinality(String),
    `direction` LowCardinality(String),
    `flags` Array(LowCardinality(String)),
    `bad_fields` Array(LowCardinality(String)),
    `raw` String TTL (toDateTime(toMonday(received_at)) + toIntervalDay(7)) + toIntervalSecond(1728000000),
    `extra` Map(String, String),
    `k_topic` LowCardinality(String),
    `k_epoch` UInt16,
    `k_part` UInt16,
    `k_off` UInt64 CODEC(Delta(8), Default),
    `id` String,
    `filtering_host` LowCardinality(String),
    `domain` String,
    `sender` String,
    `recipient` String,
    `timestamp` DateTime64(3, 'UTC') CODEC(Delta(8), Default),
    `sender_host` String,
    `sender_ip` IPv6,
    `sender_location` LowCardinality(String),
    `helo` String,
    `incoming_size` UInt64,
    `outgoing_size` UInt64,
    `bandwidth` UInt64,
    `from_header` String,
    `to_header` String,
    `cc_header` String,
    `subject_header` String,
    `status` LowCardinality(String),
    `status_norm` LowCardinality(String),
    `classification` String,
    `classification_details` String,
    `classification_code` LowCardinality(String),
    `main_class` LowCardinality(String),
    `sub_class` LowCardinality(String),
    `extra_class` String,
    `class_norm` LowCardinality(String),
    `auth_user` String,
    `identity` String,
    INDEX i_id id TYPE bloom_filter(0.01) GRANULARITY 1,
    INDEX i_event_time event_time TYPE minmax GRANULARITY 1,
    INDEX i_off k_off TYPE minmax GRANULARITY 1
)
ENGINE = MergeTree
PARTITION BY toMonday(received_at)
ORDER BY (domain, id_time, id)
TTL (toDateTime(toMonday(received_at)) + toIntervalDay(7)) + toIntervalDay(7) RECOMPRESS CODEC(ZSTD(3)), (toDateTime(toMonday(received_at)) + toIntervalDay(7)) + toIntervalSecond(1728000000)
SETTINGS non_replicated_deduplication_window = 10000, fsync_after_insert = 1, fsync_part_directory = 1, index_granularity = 8192;

CREATE TABLE millrace.status_events
(
    `received_at` DateTime64(3, 'UTC') CODEC(Delta(8), Default),
    `event_time` DateTime64(3, 'UTC') CODEC(Delta(8), Default),
    `event_time_source` LowCardinality(String),
    `id_time` DateTime('UTC') CODEC(Delta(4), Default),
    `listener` LowCardinality(String),
    `transport` LowCardinality(String),
    `peer_ip` IPv6,
    `facility` UInt8,
    `severity` UInt8,
    `syslog_host` LowCardinality(String),
    `syslog_app` LowCardinality(String),
    `syslog_pid` String,
    `structured_data` Map(String, String),
    `format` LowCardinality(String),
    `direction` LowCardinality(String),
    `flags` Array(LowCardinality(String)),
    `bad_fields` Array(LowCardinality(String)),
    `raw` String TTL (toDateTime(toMonday(received_at)) + toIntervalDay(7)) + toIntervalSecond(1728000000),
    `extra` Map(String, String),
    `k_topic` LowCardinality(String),
    `k_epoch` UInt16,
    `k_part` UInt16,
    `k_off` UInt64 CODEC(Delta(8), Default),
    `id` String,
    `filtering_host` LowCardinality(String),
    `domain` String,
    `recipient` String,
    `status` LowCardinality(String),
    `status_norm` LowCardinality(String),
    `delivery_date` DateTime64(3, 'UTC') CODEC(Delta(8), Default),
    `delivery_ip` IPv6,
    `delivery_port` UInt16,
    `delivery_fqdn` String,
    `delivery_interface` String,
    `delivery_data` String,
    INDEX i_id id TYPE bloom_filter(0.01) GRANULARITY 1,
    INDEX i_event_time event_time TYPE minmax GRANULARITY 1,
    INDEX i_off k_off TYPE minmax GRANULARITY 1
)
ENGINE = MergeTree
PARTITION BY toMonday(received_at)
ORDER BY (domain, id_time, id)
TTL (toDateTime(toMonday(received_at)) + toIntervalDay(7)) + toIntervalDay(7) RECOMPRESS CODEC(ZSTD(3)), (toDateTime(toMonday(received_at)) + toIntervalDay(7)) + toIntervalSecond(1728000000)
SETTINGS non_replicated_deduplication_window = 10000, fsync_after_insert = 1, fsync_part_directory = 1, index_granularity = 8192;

CREATE TABLE millrace.rejects
(
    `received_at` DateTime64(3, 'UTC') CODEC(Delta(8), Default),
    `event_time` DateTime64(3, 'UTC') CODEC(Delta(8), Default),
    `event_time_source` LowCardinality(String),
    `id_time` DateTime('UTC') CODEC(Delta(4), Default),
    `listener` LowCardinality(String),
    `transport` LowCardinality(String),
    `peer_ip` IPv6,
    `facility` UInt8,
    `severity` UInt8,
    `syslog_host` LowCardinality(String),
    `syslog_app` LowCardinality(String),
    `syslog_pid` String,
    `structured_data` Map(String, String),
    `format` LowCardinality(String),
    `direction` LowCardinality(String),
    `flags` Array(LowCardinality(String)),
    `bad_fields` Array(LowCardinality(String)),
    `raw` String TTL (toDateTime(toMonday(received_at)) + toIntervalDay(7)) + toIntervalSecond(1728000000),
    `extra` Map(String, String),
    `k_topic` LowCardinality(String),
    `k_epoch` UInt16,
    `k_part` UInt16,
    `k_off` UInt64 CODEC(Delta(8), Default),
    `reason` LowCardinality(String),
    `detail` String,
    `frame_bytes` UInt64,
    INDEX i_off k_off TYPE minmax GRANULARITY 1
)
ENGINE = MergeTree
PARTITION BY toMonday(received_at)
ORDER BY (reason, received_at)
TTL (toDateTime(toMonday(received_at)) + toIntervalDay(7)) + toIntervalDay(7) RECOMPRESS CODEC(ZSTD(3)), (toDateTime(toMonday(received_at)) + toIntervalDay(7)) + toIntervalSecond(1728000000)
SETTINGS non_replicated_deduplication_window = 10000, fsync_after_insert = 1, fsync_part_directory = 1, index_granularity = 8192;

CREATE TABLE millrace.schema_migrations
(
    `version` UInt32,
    `name` String,
    `checksum` String,
    `applied_at` DateTime64(3, 'UTC'),
    `binary_version` String
)
ENGINE = MergeTree
ORDER BY version
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1, index_granularity = 8192;

INSERT INTO millrace.schema_migrations VALUES (1, '0001_events', '863a15603ca62854ac90321cb4e9e590a31d04a4460283fee687b22a322b8bbb', '2026-11-27 07:52:44.159', 'devel');
