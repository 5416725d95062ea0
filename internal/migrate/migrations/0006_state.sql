-- The audit trail: what people and rules have decided, copied from the topic of state. No retention: it is small.
-- server: 24.8

CREATE TABLE IF NOT EXISTS `{{database}}`.`state_changes`{{on_cluster}}
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
ENGINE = {{replacing}}copied_at)
ORDER BY (epoch, offset)
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1;
