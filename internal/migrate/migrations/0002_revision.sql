-- Which decoding of its frame a row is of: `millrace replay --kind` counts it up.
-- server: 24.8

ALTER TABLE `{{database}}`.`message_events`{{on_cluster}} ADD COLUMN IF NOT EXISTS revision UInt8 AFTER k_off;

ALTER TABLE `{{database}}`.`status_events`{{on_cluster}} ADD COLUMN IF NOT EXISTS revision UInt8 AFTER k_off;

ALTER TABLE `{{database}}`.`rejects`{{on_cluster}} ADD COLUMN IF NOT EXISTS revision UInt8 AFTER k_off;
