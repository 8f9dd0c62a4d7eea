-- Find the first matching spans after a place in the order, each once, however often it was sent.
--
-- Where it makes no difference, `first` sorts by the key's minute before anything else, so that the
-- engine reads the newest parts first and stops when it has enough.

SELECT
    s.trace_id AS id,
    s.span_id AS span,
    toUnixTimestamp64Nano(s.start_time) AS start_ns,
    /*?place*/ tuple(toString(toUnixTimestamp64Nano(s.start_time))) /*place?*/ AS place
FROM spans AS s
WHERE /*?where*/ 1 /*where?*/
    AND /*?after*/ 1 /*after?*/
ORDER BY /*?first*/ toStartOfMinute(s.start_time) DESC, /*first?*/ /*?order*/ s.start_time DESC, s.trace_id, s.span_id /*order?*/
LIMIT 1 BY s.trace_id, s.span_id
LIMIT {wanted:UInt64}
SETTINGS max_execution_time = 20, max_memory_usage = 2000000000;
