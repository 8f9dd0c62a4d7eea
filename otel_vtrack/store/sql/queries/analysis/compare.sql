-- How long did traces of two versions take, and how many failed? One row.
--
-- Versions are told by the root, so rows of a trace are put together before they are chosen.
-- Rows outside of a day around the time range are not read: no trace lasts that long.

WITH
    -- What quantiles need of n sorted values: up to 1,000 all, for analysis.statistics to choose
    -- from; above, of p50, p95 and p99 each the least value that as many are at or below, and
    -- the two that bound it with 95 % confidence. The number of values below a quantile is
    -- binomial, whatever the distribution, and so many that it is normal.
    (sorted -> if(length(sorted) <= 1000, sorted, arrayFlatten(arrayMap(p -> [
        sorted[toInt64(ceil(round(length(sorted) * p, 6)))],
        sorted[toInt64(floor(length(sorted) * p - 1.959964 * sqrt(length(sorted) * p * (1 - p))))],
        sorted[toInt64(ceil(length(sorted) * p + 1.959964 * sqrt(length(sorted) * p * (1 - p)))) + 1]],
        [0.5, 0.95, 0.99])))) AS ranked,
    (n -> lgamma(n + 1)) AS log_factorial,
    ((n, k) -> log_factorial(n) - log_factorial(k) - log_factorial(n - k)) AS log_choose
SELECT
    n[1] AS baseline_count,
    n[2] AS candidate_count,
    failed[1] AS baseline_errors,
    failed[2] AS candidate_errors,
    unfinished[1] AS baseline_in_progress,
    unfinished[2] AS candidate_in_progress,
    firsts[1] AS baseline_first_ns,
    firsts[2] AS candidate_first_ns,
    lasts[1] AS baseline_last_ns,
    lasts[2] AS candidate_last_ns,
    ranked(a) AS baseline_latency,
    ranked(b) AS candidate_latency,
    -- The test refuses an empty sample: it gets one value of each then, and says nothing.
    empty(a) OR empty(b) AS one_sided,
    arrayReduce(
        'mannWhitneyUTest(\'two-sided\')',
        if(one_sided, [0., 1.], arrayConcat(a, b)),
        if(one_sided, [0, 1], arrayConcat(arrayWithConstant(length(a), 0), arrayWithConstant(length(b), 1)))) AS rank_test,
    -- Pairs in which the baseline's trace has the greater value, of all pairs.
    if(one_sided, nan, rank_test.1) AS u_statistic,
    if(one_sided, nan, rank_test.2) AS latency_p_value,
    least(toFloat64(m), toFloat64(total - m)) * least(n[1], n[2]) / total < 5 AS small_counts,
    proportionsZTest(failed[2], failed[1], n[2], n[1], 0.95, 'pooled').2 AS errors_z_p_value,
    -- Fisher's exact test, two-sided: tables as likely as the one seen, or less.
    arrayMap(
        k -> log_choose(n[1], k) + log_choose(n[2], m - k) - log_choose(total, m),
        range(
            if(small_counts, toUInt64(greatest(0, toInt64(m) - toInt64(n[2]))), 0),
            if(small_counts, least(m, n[1]) + 1, 0))) AS tables,
    arraySum(arrayMap(
        l -> if(l <= tables[toInt64(failed[1]) - greatest(0, toInt64(m) - toInt64(n[2])) + 1] + 1e-7, exp(l), 0),
        tables)) AS errors_exact_p_value
FROM
(
    SELECT
        *,
        arraySum(failed) AS m,
        arraySum(n) AS total
    FROM
    (
        SELECT
            [countIf(r.4 = 1 AND r.1 < 2), countIf(r.4 = 2 AND r.1 < 2)] AS n,
            [countIf(r.4 = 1 AND r.1 < 2 AND r.5), countIf(r.4 = 2 AND r.1 < 2 AND r.5)] AS failed,
            [countIf(r.4 = 1 AND r.1 = 2), countIf(r.4 = 2 AND r.1 = 2)] AS unfinished,
            [toUnixTimestamp64Nano(minIf(r.2, r.4 = 1 AND r.1 < 2)), toUnixTimestamp64Nano(minIf(r.2, r.4 = 2 AND r.1 < 2))] AS firsts,
            [toUnixTimestamp64Nano(maxIf(r.2, r.4 = 1 AND r.1 < 2)), toUnixTimestamp64Nano(maxIf(r.2, r.4 = 2 AND r.1 < 2))] AS lasts,
            arraySort(groupArrayIf(ms, r.4 = 1 AND r.1 < 2)) AS a,
            arraySort(groupArrayIf(ms, r.4 = 2 AND r.1 < 2)) AS b
        FROM
        (
            SELECT
            -- The least tuple is the root's, so what follows its first three fields is, too.
            min((
                root.rank,
                root.start_time,
                root.span_id,
                multiIf(
                    {service_name:String} != '' AND root.service_name != {service_name:String}, 0,
                    {environment:String} != '' AND root.environment != {environment:String}, 0,
                    root.version = {baseline_version:String}, 1,
                    root.version = {candidate_version:String}, 2,
                    0),
                root.status_code = 2)) AS r,
            greatest(toUnixTimestamp64Nano(max(end_time)) - toUnixTimestamp64Nano(min(start_time)), 0) / 1e6 AS ms
        FROM traces
        WHERE cityHash64(trace_id) <= intDiv(0xFFFFFFFFFFFFFFFF, {one_in:UInt64})
            AND start_time >= fromUnixTimestamp64Nano({rows_from_ns:Int64}, 'UTC')
            AND start_time <= fromUnixTimestamp64Nano({rows_until_ns:Int64}, 'UTC')
            AND ({experiment:String} = '' OR experiment = {experiment:String})
        -- A number groups faster than a LowCardinality text.
        GROUP BY trace_id, cityHash64(experiment)
        HAVING r.4 > 0
            AND r.2 >= fromUnixTimestamp64Nano({from_ns:Int64}, 'UTC')
            AND r.2 <= fromUnixTimestamp64Nano({until_ns:Int64}, 'UTC')
        )
    )
);
