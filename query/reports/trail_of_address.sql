-- title: Everything that an address sent or received, in order
-- param: address String = - | sender or recipient
-- param: since DateTime('UTC') = 1970-01-01 00:00:00 | events since, UTC
-- param: until DateTime('UTC') = 2106-02-07 06:28:15 | and before, UTC
-- param: limit UInt32 = 1000 | how many events
SELECT event_time, kind, 'address' AS link, host, sender, recipients, client, what
FROM message_trail
WHERE {address:String} != '' AND (lower(sender) = lower({address:String}) OR has(arrayMap(x -> lower(x), recipients), lower({address:String})))
    AND event_time >= {since:DateTime('UTC')} AND event_time < {until:DateTime('UTC')}
ORDER BY event_time, indexOf(['spamdyke', 'smtp', 'delivery', 'message', 'status', 'quarantine', 'feedback'], kind)
LIMIT {limit:UInt32}
