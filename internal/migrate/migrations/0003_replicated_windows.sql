-- What replicated tables remember of their INSERTs: 20,000 of them, for a day. Tables without copies keep their own window.
-- server: 24.8

ALTER TABLE `{{database}}`.`message_events`{{on_cluster}} MODIFY SETTING replicated_deduplication_window = 20000, replicated_deduplication_window_seconds = 86400;
ALTER TABLE `{{database}}`.`status_events`{{on_cluster}} MODIFY SETTING replicated_deduplication_window = 20000, replicated_deduplication_window_seconds = 86400;
ALTER TABLE `{{database}}`.`rejects`{{on_cluster}} MODIFY SETTING replicated_deduplication_window = 20000, replicated_deduplication_window_seconds = 86400;
