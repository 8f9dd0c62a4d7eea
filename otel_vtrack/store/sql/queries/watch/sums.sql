-- Return the sums for the means of two sides and their variances, adjusted for routes. One row per
-- side; the candidate's traces are those since it was put live.
--
-- `trace_roots` yields the traces without reading the rest of the table. Of each period starting at
-- `since_ns`, it samples one in so many by their hash, so that a trace once in the sample stays in
-- it. Then all rows of these traces are merged.
--
-- A route is the name of the root: the most frequent ones of the baseline, and all others as one. A
-- trace is slow if it takes as long as the slowest twentieth of the baseline's on that route. Means
-- and their difference weight routes by n0 n1 / (n0 + n1), which is least squares with a level for
-- each route. `squares` are those of the scores of clusters, which are sessions, or single traces
-- without one. A route that one side lacks has no weight. If hardly any of the candidate's traces
-- is on a route of the baseline, all routes count as one. A trace counts as many times as its
-- adjusted count; `trace_count`, `cluster_count` and `compared_count` are of stored traces.

SELECT
    c.of_candidate AS of_candidate,
    toUInt64(sum(c.trace_count)) AS trace_count,
    countIf(c.compared_count > 0) AS cluster_count,
    toUInt64(sum(c.compared_count)) AS compared_count,
    any(c.route_count) AS route_count,
    any(c.routes_pooled) AS routes_pooled,
    any(c.effective_count) AS effective_count,
    any(c.means) AS means,
    sumForEach(arrayMap(score -> score * score, c.scores)) AS squares
FROM
(
    SELECT
        each.1 AS of_candidate,
        each.2 AS cluster,
        count() AS trace_count,
        countIf(a.weight > 0) AS compared_count,
        any(a.route_count) AS route_count,
        any(a.routes_pooled) AS routes_pooled,
        any(if(a.route_count > 0, 1 / if(of_candidate, a.candidate_part, a.baseline_part), 0)) AS effective_count,
        any(if(of_candidate, a.candidate_means, a.baseline_means)) AS means,
        sumForEach(arrayMap(
            (value, total, baseline_mean, candidate_mean) -> if(a.weight > 0, each.5 * a.weight / a.weights / if(of_candidate, a.candidate_count, a.baseline_count) * (
                -- The level of the route, if the difference is the same on each.
                value - (total - a.candidate_count * (candidate_mean - baseline_mean)) / (a.baseline_count + a.candidate_count)
                - of_candidate * (candidate_mean - baseline_mean)), 0),
            [toFloat64(each.3), log(each.4), toFloat64(each.4 >= a.slow_ms)],
            a.totals,
            a.baseline_means,
            a.candidate_means)) AS scores
    FROM
    (
        SELECT
            r.traces AS traces,
            r.slow_ms AS slow_ms,
            r.routes_pooled AS routes_pooled,
            r.baseline_count AS baseline_count,
            r.candidate_count AS candidate_count,
            arrayMap((b, c) -> b + c, r.baseline_totals, r.candidate_totals) AS totals,
            baseline_count * candidate_count / (baseline_count + candidate_count) AS weight,
            -- It is at least this if any route is shared.
            greatest(sum(weight) OVER (), 0.5) AS weights,
            sum(toUInt64(weight > 0)) OVER () AS route_count,
            -- The variance of a mean with these weights, if a trace has a variance of one.
            sum(weight * candidate_count / (baseline_count + candidate_count) * r.baseline_squares / greatest(baseline_count, 1)) OVER () / weights / weights AS baseline_part,
            sum(weight * baseline_count / (baseline_count + candidate_count) * r.candidate_squares / greatest(candidate_count, 1)) OVER () / weights / weights AS candidate_part,
            arrayMap(total -> total / weights, sumForEach(arrayMap(total -> total * candidate_count / (baseline_count + candidate_count), r.baseline_totals)) OVER ()) AS baseline_means,
            arrayMap(total -> total / weights, sumForEach(arrayMap(total -> total * baseline_count / (baseline_count + candidate_count), r.candidate_totals)) OVER ()) AS candidate_means
        FROM
        (
            SELECT
                multiIf(n.routes_pooled, 1, n.number <= {most_routes:UInt64} AND n.baseline_count > 0, n.number, 0) AS route,
                any(n.routes_pooled) AS routes_pooled,
                groupArrayArray(n.traces) AS traces,
                arrayFilter(each -> NOT each.1, traces) AS of_baseline,
                arrayFilter(each -> each.1, traces) AS of_candidate,
                arraySum(each -> each.5, of_baseline) AS baseline_count,
                arraySum(each -> each.5, of_candidate) AS candidate_count,
                arraySum(each -> each.5 * each.5, of_baseline) AS baseline_squares,
                arraySum(each -> each.5 * each.5, of_candidate) AS candidate_squares,
                arraySort(each -> each.4, of_baseline) AS sorted,
                sorted[arrayFirstIndex(reached -> reached > 0.95 * baseline_count, arrayCumSum(each -> each.5, sorted))].4 AS slow_ms,
                arrayMap(values -> arraySum(values), [
                    arrayMap(each -> each.5 * each.3, of_baseline),
                    arrayMap(each -> each.5 * log(each.4), of_baseline),
                    arrayMap(each -> each.5 * (each.4 >= slow_ms), of_baseline)]) AS baseline_totals,
                arrayMap(values -> arraySum(values), [
                    arrayMap(each -> each.5 * each.3, of_candidate),
                    arrayMap(each -> each.5 * log(each.4), of_candidate),
                    arrayMap(each -> each.5 * (each.4 >= slow_ms), of_candidate)]) AS candidate_totals
            FROM
            (
                SELECT
                    name,
                    groupArray((of_candidate, cluster, failed, ms, adjusted_count)) AS traces,
                    sumIf(adjusted_count, NOT of_candidate) AS baseline_count,
                    sumIf(adjusted_count, of_candidate) AS candidate_count,
                    row_number() OVER (ORDER BY baseline_count DESC, name) AS number,
                    sum(if(baseline_count > 0, candidate_count, 0)) OVER () < {fewest_shared:Float64} * sum(candidate_count) OVER () AS routes_pooled
                FROM
                (
                    SELECT
                        min(t.root) AS r,
                        r.version = {candidate_version:String}
                            AND ({candidate_deployment_id:String} = '' OR r.deployment_id = {candidate_deployment_id:String})
                            AND r.start_time >= fromUnixTimestamp64Nano({start_ns:Int64}, 'UTC') AS of_candidate,
                        if(r.session_id != '', r.session_id, max(t.session_id)) AS session,
                        if(session != '', cityHash64(session), cityHash64(t.trace_id)) AS cluster,
                        r.name AS name,
                        r.status_code = 2 AS failed,
                        toFloat64(max(t.adjusted_count)) AS adjusted_count,
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
                            AND ((r.root.version = {candidate_version:String}
                                    AND ({candidate_deployment_id:String} = '' OR r.root.deployment_id = {candidate_deployment_id:String})
                                    AND r.start_time >= fromUnixTimestamp64Nano({start_ns:Int64}, 'UTC') AS is_candidate)
                                OR (r.root.version = {baseline_version:String} AND ({baseline_deployment_id:String} = '' OR r.root.deployment_id = {baseline_deployment_id:String})))
                            -- Rows outside all periods may be tested before the conditions on time
                            -- above.
                            AND cityHash64(r.trace_id) <= intDiv(0xFFFFFFFFFFFFFFFF, greatest(1, if(
                                is_candidate,
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
                        AND (of_candidate
                            OR (r.version = {baseline_version:String} AND ({baseline_deployment_id:String} = '' OR r.deployment_id = {baseline_deployment_id:String})))
                        AND r.start_time >= fromUnixTimestamp64Nano({from_ns:Int64}, 'UTC')
                        AND r.start_time <= fromUnixTimestamp64Nano({until_ns:Int64}, 'UTC')
                )
                GROUP BY name
            ) AS n
            GROUP BY route
        ) AS r
    ) AS a
    ARRAY JOIN a.traces AS each
    GROUP BY of_candidate, cluster
) AS c
GROUP BY of_candidate
SETTINGS max_execution_time = 20, max_memory_usage = 2000000000, max_threads = 1;
