-- Return the time bounds of the spans of some traces, one row for each row of `traces`.
--
-- `trace_ids` are separated by commas: an array of that size takes longer to parse than to split.
-- The result may include another trace whose ID has the same hash: comparing IDs as well would take
-- half as long again.

SELECT
    p.trace_id,
    p.start_time,
    p.end_time
FROM traces AS p
-- As a subquery: an array of constants would be searched for each row read.
PREWHERE cityHash64(p.trace_id) IN
(
    SELECT cityHash64(unhex(arrayJoin(splitByChar(',', {trace_ids:String}))))
)
-- Callers that list the latest traces repeat the query, and decompression is half of its time.
SETTINGS max_threads = 1, query_plan_enable_optimizations = 0, use_uncompressed_cache = 1;
