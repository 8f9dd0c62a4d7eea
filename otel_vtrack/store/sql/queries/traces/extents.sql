-- Between which times do all spans of these traces lie? A row for each row of `traces`.
--
-- `trace_ids` have commas between: an array of as many takes longer to read than to split.
-- One of another trace whose id has the same hash may be among them: to compare ids as well would
-- take half as long again.

SELECT
    p.trace_id,
    p.start_time,
    p.end_time
FROM traces AS p
-- By a subquery: an array of constants would be looked through for each row that is read.
PREWHERE cityHash64(p.trace_id) IN
(
    SELECT cityHash64(unhex(arrayJoin(splitByChar(',', {trace_ids:String}))))
)
-- Whoever looks at the last traces looks again, and unpacking is half of the time.
SETTINGS max_threads = 1, query_plan_enable_optimizations = 0, use_uncompressed_cache = 1;
