-- What do means and their variances need of the traces of two versions? One row a version: sums
-- over clusters, which are sessions, or single traces where none is told.
--
-- `trace_roots` tells which traces there are, without the rest of the table: of each period that
-- begins at `since_ns` one in so many, by their hash, so that a trace once in the sample stays.
-- Then all rows of these traces are put together. Slow is what takes longer than 95 % of the
-- baseline's.

SELECT
    s.of_candidate AS of_candidate,
    toUInt64(sum(s.n)) AS trace_count,
    count() AS cluster_count,
    sum(s.n * s.n) AS count_squares,
    [sum(s.errors), sum(s.logs), sum(s.slow)] AS totals,
    [sum(s.errors * s.errors), sum(s.logs * s.logs), sum(s.slow * s.slow)] AS squares,
    [sum(s.errors * s.n), sum(s.logs * s.n), sum(s.slow * s.n)] AS products
FROM
(
    SELECT
        each.1 AS of_candidate,
        each.2 AS cluster,
        toFloat64(count()) AS n,
        toFloat64(countIf(each.3)) AS errors,
        sum(log(each.4)) AS logs,
        toFloat64(countIf(each.4 > p.slow_ms)) AS slow
    FROM
    (
        SELECT
            groupArray((of_candidate, cluster, failed, ms)) AS traces,
            quantileExactIf(0.95)(ms, NOT of_candidate) AS slow_ms
        FROM
        (
            SELECT
                min(t.root) AS r,
                r.version = {candidate_version:String} AS of_candidate,
                if(r.session_id != '', r.session_id, max(t.session_id)) AS session,
                if(session != '', cityHash64(session), cityHash64(t.trace_id)) AS cluster,
                r.status_code = 2 AS failed,
                greatest(toUnixTimestamp64Nano(max(t.end_time)) - toUnixTimestamp64Nano(min(t.start_time)), 1) / 1e6 AS ms
            FROM traces AS t
            WHERE (cityHash64(t.trace_id), t.trace_id) GLOBAL IN
            (
                SELECT cityHash64(r.trace_id), r.trace_id
                FROM trace_roots AS r
                WHERE r.start_time >= fromUnixTimestamp64Nano({from_ns:Int64}, 'UTC')
                    AND r.start_time <= fromUnixTimestamp64Nano({until_ns:Int64}, 'UTC')
                    AND r.experiment = {experiment:String}
                    AND r.root.rank < 2
                    AND r.root.service_name = {service_name:String}
                    AND r.root.environment = {environment:String}
                    AND r.root.version IN ({baseline_version:String}, {candidate_version:String})
                    -- Rows of no period may be asked before the times above are.
                    AND cityHash64(r.trace_id) <= intDiv(0xFFFFFFFFFFFFFFFF, greatest(1, if(
                        r.root.version = {candidate_version:String},
                        {candidate_one_in:Array(UInt64)},
                        {baseline_one_in:Array(UInt64)})[arrayCount(since -> since <= toUnixTimestamp64Nano(r.start_time), {since_ns:Array(Int64)})]))
            )
                AND t.experiment = {experiment:String}
                AND t.start_time >= fromUnixTimestamp64Nano({rows_from_ns:Int64}, 'UTC')
                AND t.start_time <= fromUnixTimestamp64Nano({rows_until_ns:Int64}, 'UTC')
            GROUP BY t.trace_id
            HAVING r.rank < 2
                AND r.service_name = {service_name:String}
                AND r.environment = {environment:String}
                AND r.version IN ({baseline_version:String}, {candidate_version:String})
                AND r.start_time >= fromUnixTimestamp64Nano({from_ns:Int64}, 'UTC')
                AND r.start_time <= fromUnixTimestamp64Nano({until_ns:Int64}, 'UTC')
        )
    ) AS p
    ARRAY JOIN p.traces AS each
    GROUP BY of_candidate, cluster
) AS s
GROUP BY of_candidate
SETTINGS max_execution_time = 20, max_memory_usage = 2000000000, max_threads = 1;
