-- Count the traces whose root started before a time, the log records older than it, and the traces
-- with any part from before it.

SELECT
    countIf(c.root_time < fromUnixTimestamp64Nano({until_ns:Int64}, 'UTC')) AS trace_count,
    count() AS candidate_count,
    (SELECT count() FROM log_records AS l FINAL WHERE l.time < fromUnixTimestamp64Nano({until_ns:Int64}, 'UTC')) AS log_record_count
FROM
(
    SELECT t.trace_id, min((t.root.rank, t.root.start_time)).2 AS root_time
    FROM traces AS t
    WHERE t.trace_id GLOBAL IN (SELECT s.trace_id FROM traces AS s WHERE s.start_time < fromUnixTimestamp64Nano({until_ns:Int64}, 'UTC'))
    GROUP BY t.trace_id
) AS c;
