-- What is counted by the hour. The views that fill these tables are the configuration's: see schema apply.
-- Refreshable views that append are in 24.9, and no experiment any more since 24.10.
-- server: 24.10

CREATE TABLE IF NOT EXISTS `{{database}}`.`rollup_hours`{{on_cluster}}
(
    rollup LowCardinality(String),
    hour DateTime('UTC'),
    events UInt64,
    computed_at DateTime64(3, 'UTC')
)
ENGINE = {{replacing}}computed_at)
PARTITION BY toYear(hour)
ORDER BY (rollup, hour);

CREATE TABLE IF NOT EXISTS `{{database}}`.`messages_hourly_rows`{{on_cluster}}
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
ENGINE = {{replacing}}computed_at, deleted)
PARTITION BY toMonday(hour)
ORDER BY (domain, hour, direction, auth_user, identity, class_norm, status_norm);

CREATE TABLE IF NOT EXISTS `{{database}}`.`senders_hourly_rows`{{on_cluster}}
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
ENGINE = {{replacing}}computed_at, deleted)
PARTITION BY toMonday(hour)
ORDER BY (hour, direction, domain, auth_user, identity, sender);
