-- Return when traces of two versions started. One row per version, with its minutes since 1970 and,
-- for each, how many traces of the version and how many of any version started in it.
--
-- Uses the version's entry spans, which are an eighth of the rows and all in one small table; or
-- its spans, for a version of a service that is only called by others. Rows outside the time in
-- which either version was live are not read.

SELECT
    t.side = 2 AS is_candidate,
    toUInt64(sum(t.ever)) AS ever_count,
    groupArrayIf(t.minute, t.trace_count > 0) AS minutes,
    groupArrayIf(t.trace_count, t.trace_count > 0) AS trace_counts,
    groupArrayIf(t.total_count, t.trace_count > 0) AS total_counts
FROM
(
    SELECT
        m.side AS side,
        m.minute AS minute,
        m.ever AS ever,
        m.trace_count AS trace_count,
        sum(m.trace_count) OVER (PARTITION BY m.minute) AS total_count
    FROM
    (
        SELECT
            multiIf(
                {service_name:String} != '' AND r.root.service_name != {service_name:String}, 0,
                {environment:String} != '' AND r.root.environment != {environment:String}, 0,
                r.root.version = {baseline_version:String}, 1,
                r.root.version = {candidate_version:String}, 2,
                0) AS side,
            toUInt32(intDiv(toUnixTimestamp64Nano(r.start_time), 60000000000)) AS minute,
            count() AS ever,
            countIf(r.start_time >= fromUnixTimestamp64Nano({from_ns:Int64}, 'UTC')
                AND r.start_time <= fromUnixTimestamp64Nano({until_ns:Int64}, 'UTC')) AS trace_count
        FROM trace_roots AS r
        WHERE {by_root:Bool}
            AND r.root.rank < 2
            AND r.experiment = {experiment:String}
            AND r.start_time >= fromUnixTimestamp64Nano({live_from_ns:Int64}, 'UTC')
            AND r.start_time <= fromUnixTimestamp64Nano({live_until_ns:Int64}, 'UTC')
        GROUP BY side, minute
        UNION ALL
        SELECT
            multiIf(
                {service_name:String} != '' AND s.service_name != {service_name:String}, 0,
                {environment:String} != '' AND s.environment != {environment:String}, 0,
                s.version = {baseline_version:String}, 1,
                s.version = {candidate_version:String}, 2,
                0) AS side,
            toUInt32(intDiv(toUnixTimestamp64Nano(s.start_time), 60000000000)) AS minute,
            0 AS ever,
            uniq(s.trace_id) AS trace_count
        FROM spans AS s
        WHERE NOT {by_root:Bool}
            AND s.experiment = {experiment:String}
            AND s.start_time >= fromUnixTimestamp64Nano(greatest({live_from_ns:Int64}, {from_ns:Int64}), 'UTC')
            AND s.start_time <= fromUnixTimestamp64Nano(least({live_until_ns:Int64}, {until_ns:Int64}), 'UTC')
            AND toStartOfMinute(s.start_time) >= toStartOfMinute(fromUnixTimestamp64Nano(greatest({live_from_ns:Int64}, {from_ns:Int64}), 'UTC'))
            AND toStartOfMinute(s.start_time) <= toStartOfMinute(fromUnixTimestamp64Nano(least({live_until_ns:Int64}, {until_ns:Int64}), 'UTC'))
        GROUP BY side, minute
    ) AS m
) AS t
WHERE t.side > 0
GROUP BY is_candidate
ORDER BY is_candidate
SETTINGS max_execution_time = 60, max_memory_usage = 2000000000;
