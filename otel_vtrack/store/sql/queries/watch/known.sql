-- Which of these events are stored already?

SELECT DISTINCT e.event_id AS event_id
FROM watch_events AS e
WHERE e.event_id IN ({event_ids:Array(String)});
