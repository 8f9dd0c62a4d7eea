-- Count matching and failed traces by the start of their root, each as many times as it represents.
--
-- `width` is the width of a bucket in seconds; 0 chooses a round one for about 60 buckets. See
-- traces/find for the marked places.

SELECT
    f.width AS bucket_width,
    f.began - positiveModulo(f.began, f.width) AS bucket_start,
    toUInt64(round(sum(f.adjusted_count))) AS trace_count,
    toUInt64(round(sumIf(f.adjusted_count, f.failed))) AS error_count
FROM
(
    SELECT
        m.began AS began,
        m.failed AS failed,
        m.adjusted_count AS adjusted_count,
        multiIf(
            {width:UInt64} > 0, {width:UInt64},
            arrayFirst(
                seconds -> seconds * 60 >= max(m.began) OVER () - min(m.began) OVER (),
                [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10800, 21600, 43200, 86400, 172800, 604800, 1209600, 2592000, 7776000, 31536000, 315360000]))::Int64 AS width
    FROM
    (
        SELECT
            intDiv(toUnixTimestamp64Nano(t.root.start_time) - if(t.root.start_time < toDateTime64(0, 9, 'UTC'), 999999999, 0), 1000000000) AS began,
            t.root.rank < 2 AND t.root.status_code = 2 AS failed,
            t.adjusted_count AS adjusted_count
        FROM /*?from*/ whole_traces AS t /*from?*/
        WHERE /*?whole*/ 1 /*whole?*/
    ) AS m
) AS f
GROUP BY bucket_width, bucket_start
ORDER BY bucket_start
LIMIT 10001
-- See traces/wholes.
SETTINGS max_execution_time = 20, max_memory_usage = 2000000000, query_plan_merge_expressions = 0;
