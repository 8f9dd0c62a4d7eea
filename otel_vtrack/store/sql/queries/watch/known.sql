-- Return which of these events are already stored.

SELECT DISTINCT e.event_id AS event_id
FROM watch_events AS e
WHERE e.event_id IN ({event_ids:Array(String)});
