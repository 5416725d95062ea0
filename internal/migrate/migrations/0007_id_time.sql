-- A message's own second is kept for each granule: a part of another week is passed over, where the key alone reads one granule of it.
-- Parts that are there get the index in the background; until then they are read as before.
-- server: 24.8

ALTER TABLE `{{database}}`.`message_events`{{on_cluster}} ADD INDEX IF NOT EXISTS i_id_time id_time TYPE minmax;
ALTER TABLE `{{database}}`.`status_events`{{on_cluster}} ADD INDEX IF NOT EXISTS i_id_time id_time TYPE minmax;
ALTER TABLE `{{database}}`.`message_events`{{on_cluster}} MATERIALIZE INDEX i_id_time;
ALTER TABLE `{{database}}`.`status_events`{{on_cluster}} MATERIALIZE INDEX i_id_time;
