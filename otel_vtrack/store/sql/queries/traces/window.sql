-- Return since when the last `candidates` traces started, by their root, and the time bounds of all
-- their spans. See traces/find for the marked places.

WITH
    (
        SELECT (count(), min(c.start))
        FROM
        (
            SELECT /*?start*/ t.start_time /*start?*/ AS start
            FROM /*?table*/ trace_roots /*table?*/ AS t
            WHERE /*?row*/ 1 /*row?*/ AND /*?row_after*/ 1 /*row_after?*/
            ORDER BY start DESC
            LIMIT {candidates:UInt64}
        ) AS c
    ) AS newest
SELECT
    newest.1 AS looked_at,
    toUnixTimestamp64Nano(newest.2) AS since_ns,
    toUnixTimestamp64Nano(min(p.start_time)) AS earliest_ns,
    toUnixTimestamp64Nano(max(p.end_time)) AS latest_ns
FROM traces AS p
WHERE (cityHash64(p.trace_id), p.trace_id) IN
(
    SELECT cityHash64(t.trace_id), t.trace_id
    FROM /*?table*/ trace_roots /*table?*/ AS t
    WHERE /*?start*/ t.start_time /*start?*/ >= newest.2 AND /*?row*/ 1 /*row?*/ AND /*?row_after*/ 1 /*row_after?*/
)
SETTINGS max_execution_time = 20, max_memory_usage = 2000000000;
